// Begins the application: the frame around the pages, the router, the datacenter and who is signed in.
//
// An address is `#/<datacenter>/<page>/...`. Addresses of Consul's own interface (`/ui/dc1/services/web`)
// are understood too.

import { h, render } from './lib/vdom.js';
import { T } from './lib/text.js';
import { get, home, place, token } from './lib/api.js';
import { acl, forget, may, onAnswer } from './lib/may.js';
import { View, goTo, linkTo } from './lib/view.js';

const PAGES = {
  overview: 'overview', services: 'services', nodes: 'nodes', kv: 'keys', tokens: 'tokens', policies: 'policies',
  roles: 'roles', 'auth-methods': 'methods', intentions: 'intentions', queries: 'queries', events: 'events',
  metrics: 'metrics', 'sign-in': 'signin',
};
const NAVIGATION = [
  ['overview', 'services', 'nodes', 'kv'],
  ['tokens', 'policies', 'roles', 'auth-methods'],
  ['intentions', 'queries', 'events', 'metrics'],
];

// What this agent's API does not have.
const absent = (document.documentElement.dataset.absent ?? '').split(' ');

let current = null;
let announced = null;
const root = document.getElementById('root');
// The page brings a first sight of the frame along.
root.replaceChildren();

// `{ dc, page, rest, query }` of the address.
function route() {
  const [path, search] = location.hash.replace(/^#\/?/, '').split('?');
  const names = path.split('/').map((name) => {
    try {
      return decodeURIComponent(name);
    } catch {
      return name;
    }
  });
  const dc = names[0] in PAGES ? '' : names.shift();
  const page = names.shift() || 'overview';
  return { dc, page, rest: names, query: Object.fromEntries(new URLSearchParams(search ?? '')) };
}

// An address of Consul's own interface, as one of this application.
function translated() {
  const base = new URL(home);
  const rest = location.pathname.startsWith(base.pathname) ? location.pathname.slice(base.pathname.length) : '';
  if (!rest || location.hash) return false;
  const path = rest.replace(/\/(edit|instances|create)\/?$/, '').replace('/acls/', '/')
    .replace(/\/health-checks$/, '');
  history.replaceState(null, '', `${base.pathname}#/${path}`);
  return true;
}

function navigation(page) {
  const item = (name) => h('li', { key: name }, h('a', {
    href: linkTo([name]), 'aria-current': name === page ? 'page' : null,
  }, T.pages[name]));
  return h('nav', { class: 'main', 'aria-label': T.navigation },
    NAVIGATION.filter((_, n) => n !== 1 || acl.enabled).map((group) => h('ul', { key: group[0] }, group.filter((name) => !absent.includes(name)).map(item))));
}

function datacenters() {
  const known = place.datacenters.includes(place.dc) || !place.dc ? place.datacenters : [...place.datacenters, place.dc];
  if (known.length < 2) return h('span', { class: 'dc' }, place.dc);
  const change = (event) => goTo(linkTo([route().page], {}, event.target.value));
  return h('select', { class: 'dc', 'aria-label': T.datacenter, value: place.dc, onchange: change },
    known.map((dc) => h('option', { value: dc, key: dc }, dc)));
}

function whoIsThere() {
  if (!acl.enabled && !token.get()) return null;
  return h('a', { class: 'who', href: linkTo(['sign-in']) }, token.get() ? T.signedIn : T.signIn);
}

// The worst state of the open queries, said once above the page.
function trouble() {
  const states = current?.queries.map((query) => query.state) ?? [];
  const kind = ['lost', 'leader'].find((state) => states.includes(state));
  if (!kind) return null;
  const again = () => current.queries.forEach((query) => query.restart());
  return h('div', { class: `trouble ${kind}`, role: 'alert', key: kind },
    h('strong', {}, T.trouble[kind]), h('span', {}, T.troubleMore[kind]),
    h('button', { type: 'button', class: 'small', onclick: again }, T.tryNow));
}

function frame() {
  const { page } = route();
  render(root,
    h('a', { class: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); heading(); } }, T.skip),
    h('header', { class: 'top' },
      h('a', { class: 'brand', href: linkTo(['overview']) },
        h('svg', { viewBox: '0 0 32 32', 'aria-hidden': 'true' },
          h('path', { d: 'M22.6 10.2a8.6 8.6 0 1 0 0 11.6' }), h('circle', { cx: 16, cy: 16, r: 2.6 })), T.brand),
      datacenters(), whoIsThere()),
    navigation(page),
    h('main', { id: 'main' }, trouble(), h('div', { id: 'page' })),
    h('div', { id: 'said', role: 'status', 'aria-live': 'polite' }));
}

function heading() {
  document.querySelector('#page h1')?.focus();
}

// Called after each drawing: title, state of the connection, and the heading for who cannot see it.
function drawn(view) {
  if (view !== current) return;
  frame();
  const title = document.querySelector('#page h1')?.textContent ?? '';
  document.title = title ? `${title} · ${T.brand}` : T.brand;
  if (title && announced !== view) {
    if (announced && !document.querySelector('#page [autofocus]')) heading();
    announced = view;
  }
}

// Stands for a page that this agent's API has nothing for.
const without = ({ route: { page } }) => () => [h('h1', { tabindex: '-1' }, T.pages[page]), h('div', { class: 'notice' }, T.unsupported)];

let turn = 0;

async function show() {
  const asked = route();
  const own = (turn += 1);
  place.dc = asked.dc || place.datacenters[0] || '';
  current?.close();
  current = null;
  frame();
  const name = PAGES[asked.page];
  if (!name) {
    goTo(linkTo(['overview']), true);
    return;
  }
  let module;
  try {
    module = absent.includes(asked.page) ? { default: without } : await import(`./pages/${name}.js`);
  } catch (error) {
    if (own === turn) render(document.getElementById('page'), h('div', { class: 'notice wrong', role: 'alert' }, T.noPage(error.message)));
    return;
  }
  if (own !== turn) return;
  scrollTo(0, 0);
  document.querySelector('nav.main [aria-current]')?.scrollIntoView({ inline: 'center', block: 'nearest' });
  const view = new View(document.getElementById('page'), asked, drawn);
  current = view;
  view.draw = module.default(view);
  view.redraw();
}

// The slash goes to the search field, as in many applications.
function keys(event) {
  const typing = event.target.closest?.('input, textarea, select, [contenteditable]');
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const search = document.querySelector('[data-search]');
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
}

async function begin() {
  translated();
  onAnswer(() => { frame(); current?.redraw(); });
  addEventListener('hashchange', () => { if (location.hash.startsWith('#/') || !location.hash) show(); });
  addEventListener('signed', () => { forget(); may('acl', 'read'); frame(); });
  addEventListener('offline', () => current?.queries.forEach((query) => query.restart()));
  addEventListener('keydown', keys);
  may('acl', 'read');
  frame();
  const list = get('catalog/datacenters', {}, { timeout: 4000 }).catch(() => []);
  // A page whose address names its datacenter need not wait for the list.
  if (route().dc) show();
  place.datacenters = await list;
  if (!current && turn === 0) show();
  else frame();
}

begin();
