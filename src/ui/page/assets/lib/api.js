// Calls to the HTTP API: where it is, the token, and errors by what they mean for the reader.
//
// The token lives in this tab's session storage and nowhere else. Paths are relative to the page, so that
// the page also works behind a proxy that serves the agent under a path of its own.

const TOKEN = 'consul-lite.token';
const REQUEST_TIMEOUT = 20_000;

// How many folders the page lies below the agent's root.
const contentPath = document.documentElement.dataset.contentPath;
const depth = contentPath.startsWith('/') ? contentPath.split('/').length - 2 : 1;
export const home = document.baseURI.split('#')[0];
const root = new URL('../'.repeat(depth) || './', home);

// What the page knows of where it looks: the datacenters, and which one is shown.
export const place = { datacenters: [], dc: '' };

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? '',
  set(secret) {
    if (secret) sessionStorage.setItem(TOKEN, secret);
    else sessionStorage.removeItem(TOKEN);
  },
};

// `kind` is one of: lost (no answer), leader (no leader), denied, unknown (token), missing (404), off
// (feature is switched off), unsupported, failed.
export class ApiError extends Error {
  constructor(kind, message, status = 0, headers = null) {
    super(message);
    Object.assign(this, { kind, status, headers });
  }
}

function kindOf(status, text) {
  if (status === 401) return 'off';
  if (status === 403) return text.includes('ACL not found') ? 'unknown' : 'denied';
  if (status === 404) return 'missing';
  if (status === 501) return 'unsupported';
  if (status === 502 || status === 503 || status === 504) return 'lost';
  if (text.includes('No cluster leader') || text.includes('leadership lost')) return 'leader';
  if (text.includes('Permission denied')) return 'denied';
  return 'failed';
}

// Percent-encodes the names of a path; slashes inside a key stay slashes.
export const pathOf = (...names) => names
  .map((name) => name.split('/').map(encodeURIComponent).join('/')).join('/');

export function urlOf(path, query = {}) {
  const url = new URL(`v1/${path}`, root);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') url.searchParams.set(name, value === true ? '' : value);
  }
  return url;
}

// Sends a request and gives the whole response; throws an ApiError unless it succeeded.
export async function send(method, path, { query, body, signal, secret, timeout = REQUEST_TIMEOUT } = {}) {
  // The agent keeps connections of a page that does not ask shorter than those of programs.
  const headers = { 'X-Consul-Lite-Page': '1' };
  const own = secret ?? token.get();
  if (own) headers['X-Consul-Token'] = own;
  const local = place.dc && place.dc === place.datacenters[0];
  const url = urlOf(path, { dc: local ? '' : place.dc, ...query });
  const signals = [AbortSignal.timeout(timeout)];
  if (signal) signals.push(signal);
  let response;
  try {
    response = await fetch(url, {
      method, headers, body, cache: 'no-store', credentials: 'same-origin', signal: anyOf(signals),
    });
    if (!response.ok) {
      const text = (await response.text()).trim();
      const message = text || `HTTP ${response.status}`;
      throw new ApiError(kindOf(response.status, text), message, response.status, response.headers);
    }
    return response;
  } catch (error) {
    if (error instanceof ApiError || signal?.aborted) throw error;
    throw new ApiError('lost', error.message);
  }
}

function anyOf(signals) {
  if (AbortSignal.any) return AbortSignal.any(signals);
  const either = new AbortController();
  for (const signal of signals) signal.addEventListener('abort', () => either.abort(), { once: true });
  return either.signal;
}

// Parses an answer; flags of keys beyond what a number holds exactly come as text.
export async function parse(response) {
  const text = await response.text();
  return JSON.parse(text.replace(/"Flags":\s*(\d{16,})/g, '"Flags":"$1"'));
}

export async function get(path, query, options) {
  return parse(await send('GET', path, { query, ...options }));
}

// A write with a JSON body; the answer as JSON where there is one.
export async function put(path, value, query, method = 'PUT') {
  const body = value === undefined ? undefined : JSON.stringify(value);
  const text = await (await send(method, path, { query, body })).text();
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return text;
  }
}

export const remove = (path, query) => put(path, undefined, query, 'DELETE');
