// One list that follows its changes by a blocking query: one request open at a time, ended when the page is
// left, slowed down when the list changes without pause or the agent does not answer.
//
// A tab that nobody looks at ends its queries after a while and starts them again when it is looked at.

import { ApiError, parse, send } from './api.js';

// A server that lost its leader lets a query wait on: how long the page may look well by mistake.
const WAIT = 20;
const SLACK = 20;
// Not more often than this, however fast the list changes.
const PAUSE = 700;
const FIRST_RETRY = 1000;
const LAST_RETRY = 15_000;
// What the token may not see, or the agent does not have, seldom changes.
const REFUSED_RETRY = 30_000;
const HIDDEN_AFTER = 30_000;

// `state` is loading, live, or the kind of an ApiError; `data` stays what it was last.
export class Live {
  constructor(path, query, changed) {
    Object.assign(this, { path, query, changed, state: 'loading', data: null, error: null });
    Object.assign(this, { index: 0, failures: 0, retryAt: 0, hidden: false, closed: false });
    this.visible = () => this.look();
    this.again = () => this.restart();
    document.addEventListener('visibilitychange', this.visible);
    addEventListener('online', this.again);
    this.start();
  }

  start() {
    this.control = new AbortController();
    this.run(this.control.signal);
  }

  close() {
    this.closed = true;
    this.control.abort();
    clearTimeout(this.hiding);
    document.removeEventListener('visibilitychange', this.visible);
    removeEventListener('online', this.again);
  }

  // Asks at once, without waiting for a change.
  restart() {
    if (this.closed) return;
    this.control.abort();
    this.index = 0;
    this.failures = 0;
    this.start();
  }

  look() {
    clearTimeout(this.hiding);
    if (document.hidden) this.hiding = setTimeout(() => this.control.abort(), HIDDEN_AFTER);
    else if (this.control.signal.aborted && !this.closed) this.restart();
  }

  async run(signal) {
    while (!signal.aborted) {
      const began = Date.now();
      try {
        await this.ask(signal);
        if (this.index === 0) return;
        await rest(Math.max(0, PAUSE - (Date.now() - began)), signal);
      } catch (error) {
        if (signal.aborted) return;
        this.fail(error);
        await rest(this.retryAt - Date.now(), signal);
      }
    }
  }

  async ask(signal) {
    const blocking = this.index > 0 && this.failures === 0;
    const query = { ...this.query, ...(blocking && { index: this.index, wait: `${WAIT}s` }) };
    let state = 'live';
    let data = null;
    let headers;
    try {
      const response = await send('GET', this.path, { query, signal, timeout: (WAIT + SLACK) * 1000 });
      data = await parse(response);
      headers = response.headers;
    } catch (error) {
      // Nothing there is an answer too, and one that can change.
      if (error.kind !== 'missing' || !error.headers.has('X-Consul-Index')) throw error;
      state = 'missing';
      headers = error.headers;
    }
    const index = Number(headers.get('X-Consul-Index') ?? 0);
    // An index that goes back belongs to another server's state: begin anew.
    this.index = index < this.index ? 1 : index;
    this.failures = 0;
    this.hidden = headers.get('X-Consul-Results-Filtered-By-ACLs') === 'true';
    if (state === 'live' && headers.get('X-Consul-Knownleader') === 'false') state = 'leader';
    this.take(state, data, null);
  }

  take(state, data, error) {
    Object.assign(this, { state, data, error });
    this.changed(this);
  }

  fail(error) {
    this.failures += 1;
    const kind = error instanceof ApiError ? error.kind : 'failed';
    const settled = !['lost', 'leader', 'failed'].includes(kind);
    const delay = settled ? REFUSED_RETRY : Math.min(LAST_RETRY, FIRST_RETRY * 2 ** (this.failures - 1));
    this.retryAt = Date.now() + delay * (0.75 + Math.random() / 2);
    this.take(kind, settled ? null : this.data, error);
  }
}

function rest(time, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, time);
    signal.addEventListener('abort', () => { clearTimeout(timer); done(); }, { once: true });
  });
}
