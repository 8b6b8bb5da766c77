// Parts that pages are made of: badges, fields, buttons, the states of a list, questions and messages.

import { h, render } from './vdom.js';
import { T } from './text.js';
import { may } from './may.js';
import { token } from './api.js';
import { linkTo } from './view.js';

const MAX_ROWS = 1000;
const WORST = ['critical', 'warning', 'passing'];

// The worst state of checks; a thing without checks passes.
export function worst(checks) {
  const states = (checks ?? []).map((check) => check.Status);
  return WORST.find((state) => states.includes(state)) ?? 'passing';
}

export const rank = (state) => WORST.indexOf(state);

const MARKS = { passing: 'M3 8.5l3.2 3.2L13 5', warning: 'M8 3v6M8 12.2v.3', critical: 'M4 4l8 8M12 4l-8 8' };

// A state as form, colour and word; `quiet` leaves the word to screen readers.
export function badge(state, word = T.states[state] ?? state, quiet = false) {
  return h('span', { class: `badge ${state}` },
    h('svg', { viewBox: '0 0 16 16', 'aria-hidden': 'true' },
      h('path', { d: MARKS[state] ?? 'M4 8h8' })),
    h('span', { class: quiet ? 'unseen' : null }, word));
}

export const tags = (list) => h('span', { class: 'tags' }, (list ?? []).map((tag) => h('span', { class: 'tag' }, tag)));

export const link = (names, ...children) => h('a', { href: linkTo(names) }, ...children);

export function header(title, ...actions) {
  return h('header', { class: 'page' }, h('h1', { tabindex: '-1' }, title),
    actions.length ? h('div', { class: 'actions' }, actions) : null);
}

export function section(title, ...children) {
  return h('section', { key: title, 'aria-label': title }, h('h2', {}, title), children);
}

export function trail(...steps) {
  return h('nav', { class: 'trail', 'aria-label': T.trail },
    steps.map(([names, text]) => h('a', { href: linkTo(names) }, text)));
}

export function button(text, onclick, { kind = '', disabled = false, title, ...rest } = {}) {
  return h('button', { type: 'button', class: kind || null, disabled, title, onclick, ...rest }, text);
}

// A button for what needs a permission: not there unless the token is known to have it.
export const allowed = (answer, ...parts) => (answer ? parts : null);

let fields = 0;
const ids = new WeakMap();

// A control with its label; `control` is one described element.
export function field(owner, name, label, control, { hint, error } = {}) {
  if (!ids.has(owner)) ids.set(owner, (fields += 1));
  const id = `f${ids.get(owner)}-${name}`;
  const notes = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ');
  Object.assign(control.props, { id, 'aria-describedby': notes || null, 'aria-invalid': error ? 'true' : null });
  const checkbox = control.props.type === 'checkbox';
  const text = h('label', { for: id }, label);
  return h('div', { class: checkbox ? 'field check' : 'field', key: name }, checkbox ? [control, text] : [text, control],
    hint ? h('p', { class: 'hint', id: `${id}-hint` }, hint) : null,
    error ? h('p', { class: 'wrong', id: `${id}-error`, role: 'alert' }, error) : null);
}

export function input(object, name, changed, props = {}) {
  const checkbox = props.type === 'checkbox';
  const read = (event) => {
    object[name] = checkbox ? event.target.checked : event.target.value;
    changed();
  };
  return h('input', {
    autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', ...props,
    [checkbox ? 'checked' : 'value']: object[name], oninput: read,
  });
}

export function area(object, name, changed, props = {}) {
  return h('textarea', {
    spellcheck: 'false', autocapitalize: 'off', autocomplete: 'off', rows: 12, ...props, value: object[name],
    oninput: (event) => { object[name] = event.target.value; changed(); },
  });
}

export function select(object, name, options, changed, props = {}) {
  return h('select', { ...props, value: object[name], onchange: (event) => { object[name] = event.target.value; changed(); } },
    options.map(([value, text]) => h('option', { value, key: value }, text)));
}

// The rows of a list that anything may have made long: what is beyond is found by searching.
export function rows(list, row, kind = 'rows') {
  return [h('ul', { class: kind }, list.slice(0, MAX_ROWS).map((each) => row(each))), list.length > MAX_ROWS ? h('p', { class: 'quiet' }, T.more(list.length - MAX_ROWS)) : null];
}

// The bar above a list: a search field and selections, remembered in the address.
export function filterBar(...children) {
  return h('form', { class: 'filter', role: 'search', onsubmit: (event) => event.preventDefault() }, children);
}

export function searchField(object, name, label, changed) {
  return input(object, name, changed, { type: 'search', placeholder: label, 'aria-label': label, 'data-search': true });
}

export function refused(error) {
  if (!error) return null;
  const text = T.errors[error.kind];
  const detail = error.message && text !== error.message ? error.message : '';
  return h('div', { class: 'notice wrong', role: 'alert' }, text ? h('strong', {}, text) : null,
    detail && error.kind !== 'lost' ? h('p', { class: 'mono' }, detail) : null);
}

// What stands in a list's place while it has nothing to show; `null` when it has. `needs` names what a token
// must be able to read to see all of it: an agent leaves out what may not be seen without saying so.
export function instead(query, empty, count, needs = []) {
  if (query.data === null && query.state === 'loading') return h('p', { class: 'waiting', 'aria-busy': 'true' }, T.loading);
  if (query.state === 'denied') return denied();
  if (query.state === 'unknown') return notice(T.unknownToken, [signIn()]);
  if (query.state === 'off') return notice(T.aclOff);
  if (query.state === 'unsupported') return notice(T.unsupported, query.error.message);
  if (query.data === null && query.state !== 'missing') return refused(query.error);
  if (query.data === null || !count) {
    const unseen = needs.map((resource) => may(resource, 'read')).includes(false);
    if (!query.hidden && !unseen) return notice(empty);
    return notice(empty, token.get() ? T.partlyHidden : [T.maybeHidden, signIn()]);
  }
  return null;
}

export const signIn = () => h('a', { class: 'button', href: linkTo(['sign-in']) }, T.signIn);

export const denied = () => notice(T.denied, token.get() ? T.deniedWithToken : [T.deniedWithout, signIn()]);

export function notice(title, ...more) {
  return h('div', { class: 'notice' }, h('strong', {}, title), more.flat().filter(Boolean)
    .map((part) => (part.tag ? part : h('p', {}, part))));
}

export function facts(pairs) {
  return h('dl', { class: 'facts' }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => h('div', { key: name }, h('dt', {}, name), h('dd', {}, value))));
}

export const metadata = (map) => (Object.keys(map ?? {}).length
  ? facts(Object.entries(map).sort().map(([name, value]) => [name, value || h('span', { class: 'quiet' }, T.emptyValue)])) : h('p', { class: 'quiet' }, T.none));

export function copyable(text) {
  const copy = async (event) => {
    const { target } = event;
    await navigator.clipboard?.writeText(text).catch(() => {});
    target.textContent = T.copied;
    setTimeout(() => { target.textContent = T.copy; }, 1500);
  };
  const can = Boolean(globalThis.navigator?.clipboard);
  return h('span', { class: 'copyable' }, h('code', {}, text),
    can ? h('button', { type: 'button', class: 'small', 'aria-label': T.copyThis(text), onclick: copy }, T.copy) : null);
}

// One check with its output.
export function check(check, where = null) {
  return h('li', { class: 'check', key: `${check.Node}/${check.CheckID}` },
    h('div', { class: 'line' }, badge(check.Status), h('strong', {}, check.Name || check.CheckID),
      h('span', { class: 'quiet' }, check.Type || null), where),
    check.Notes ? h('p', { class: 'quiet' }, check.Notes) : null,
    check.Output ? h('pre', { class: 'output', tabindex: '0', 'aria-label': T.outputOf(check.Name || check.CheckID) }, check.Output) : null);
}

export function checks(list, none = T.noChecks) {
  if (!list?.length) return h('p', { class: 'quiet' }, none);
  const sorted = [...list].sort((a, b) => rank(a.Status) - rank(b.Status) || a.Name.localeCompare(b.Name));
  return h('ul', { class: 'checks' }, sorted.map((each) => check(each)));
}

// Asks before something is done that cannot be undone; with `word` that word must be typed.
export function ask({ title, text, action, word }) {
  return new Promise((answer) => {
    const dialog = document.createElement('dialog');
    const typed = { text: '' };
    const close = (yes) => { dialog.close(); dialog.remove(); answer(yes); };
    const draw = () => render(dialog, h('form', {
      method: 'dialog', onsubmit: (event) => { event.preventDefault(); if (!word || typed.text === word) close(true); },
    },
    h('h2', {}, title), h('p', {}, text),
    word ? field(dialog, 'word', T.typeToConfirm(word), input(typed, 'text', draw)) : null,
    h('div', { class: 'actions' }, button(T.cancel, () => close(false)),
      h('button', { type: 'submit', class: 'danger', disabled: Boolean(word) && typed.text !== word }, action))));
    draw();
    dialog.setAttribute('aria-label', title);
    dialog.addEventListener('cancel', (event) => { event.preventDefault(); close(false); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

let clearing;

// A short message that a screen reader also says.
export function say(text, kind = '') {
  const line = document.getElementById('said');
  line.className = kind;
  line.textContent = text;
  clearTimeout(clearing);
  clearing = setTimeout(() => { line.textContent = ''; }, 6000);
}

export function timeOf(text) {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) || time.getFullYear() < 1970 ? '' : time.toLocaleString();
}

// Go's duration in nanoseconds as people write it.
export function duration(nanoseconds) {
  const seconds = nanoseconds / 1e9;
  return seconds >= 1 || seconds === 0 ? T.seconds(+seconds.toFixed(2)) : T.milliseconds(+(seconds * 1000).toFixed(2));
}

// Gives a file to the browser's downloads.
export function save(name, parts, type) {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  const anchor = Object.assign(document.createElement('a'), { href: url, download: name });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
