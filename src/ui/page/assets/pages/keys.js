// Keys: one folder at a time, with new keys, import, export and deletion; a key itself is `key.js`.
//
// Import and export use the format of `consul kv import` and `consul kv export`.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { get, pathOf, remove, send } from '../lib/api.js';
import { fromBase64, sizeOf } from '../lib/bytes.js';
import { goTo, linkTo } from '../lib/view.js';
import { allowed, ask, button, filterBar, header, instead, link, refused, rows, save, say, searchField } from '../lib/parts.js';
import key from './key.js';

// Limits of a transaction: operations, and bytes well below what an agent takes.
const MAX_OPERATIONS = 64;
const MAX_BATCH = 192 << 10;

export default function keys(view) {
  const path = view.route.rest.join('/');
  if (view.route.query.new !== undefined) return key(view, path, true);
  if (path && !path.endsWith('/')) return key(view, path, false);
  const list = view.follow(`kv/${pathOf(path)}`, { keys: true, separator: '/' });
  const wanted = { q: view.route.query.q ?? '' };
  const work = { error: null, busy: '' };
  const changed = () => { view.remember(wanted); view.redraw(); };
  return () => {
    const all = (list.data ?? []).filter((name) => name !== path);
    const text = wanted.q.toLowerCase();
    const shown = all.filter((name) => name.slice(path.length).toLowerCase().includes(text))
      .sort((a, b) => b.endsWith('/') - a.endsWith('/') || a.localeCompare(b));
    return [
      trailOf(path),
      header(path ? path.slice(0, -1).split('/').pop() : T.pages.kv, actions(view, path, all, work)),
      refused(work.error),
      work.busy ? h('p', { role: 'status' }, work.busy) : null,
      all.length > 8 ? filterBar(searchField(wanted, 'q', T.searchKeys, changed)) : null,
      instead(list, path ? T.emptyFolder : T.noKeys, all.length, ['key'])
        ?? rows(shown, (name) => row(name, path), 'rows plain'),
    ];
  };
}

// The way down to a folder or key.
export function trailOf(path) {
  const names = path.split('/').slice(0, path.endsWith('/') ? -2 : -1);
  const steps = path ? [[[], T.pages.kv], ...names.map((name, n) => [[`${names.slice(0, n + 1).join('/')}/`], name])] : [];
  return steps.length ? h('nav', { class: 'trail', 'aria-label': T.trail },
    steps.map(([rest, text]) => h('a', { href: linkTo(['kv', ...rest]) }, text))) : null;
}

function row(name, path) {
  const folder = name.endsWith('/');
  const short = name.slice(path.length).replace(/\/$/, '');
  return h('li', { key: name, class: 'row link' },
    h('svg', { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true' },
      h('path', { d: folder ? 'M1.5 4h5l1.5 2h6.5v7h-13z' : 'M4 1.5h5.5L12.5 5v9.5h-8.5zM9 1.5V5.5h3.5' })),
    h('span', { class: 'name' }, link(['kv', name], short || T.namelessKey, folder ? h('span', { class: 'unseen' }, ` (${T.folder})`) : null)));
}

function actions(view, path, all, work) {
  const write = view.may('key', 'write', path);
  return [
    allowed(write, h('a', { class: 'button main', href: linkTo(['kv', path], { new: '1' }) }, T.newKey)),
    allowed(write, h('label', { class: 'button' }, T.import, h('input', {
      type: 'file', class: 'unseen', accept: '.json,application/json', onchange: (event) => importFile(view, event.target, work),
    }))),
    all.length ? button(T.export, () => exportFolder(view, path, work)) : null,
    all.length ? allowed(write, button(path ? T.deleteFolder : T.deleteAll, () => deleteFolder(view, path, work), { kind: 'danger' })) : null,
  ];
}

// A string as Go's encoder writes it.
function goJson(text) {
  return JSON.stringify(text).replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

export function exported(entries) {
  if (!entries.length) return '[]\n';
  const objects = entries.map((e) => `\t{\n\t\t"key": ${goJson(e.Key)},\n\t\t"flags": ${e.Flags},\n\t\t"value": "${e.Value ?? ''}"\n\t}`);
  return `[\n${objects.join(',\n')}\n]\n`;
}

async function exportFolder(view, path, work) {
  work.error = await view.attempt(async () => {
    const entries = await get(`kv/${pathOf(path)}`, { recurse: true });
    save(`${path.replaceAll('/', '-') || 'kv-'}export.json`, [exported(entries)], 'application/json');
    say(T.exportedKeys(entries.length));
  });
}

// Entries of an export as operations of transactions; throws when it is none.
export function operations(text) {
  const list = JSON.parse(text.replace(/"flags":\s*(\d{16,})/g, '"flags":"$1"'));
  if (!Array.isArray(list)) throw new Error(T.notAnExport);
  return list.map((entry) => {
    if (typeof entry?.key !== 'string' || typeof (entry.value ?? '') !== 'string') throw new Error(T.notAnExport);
    const flags = String(entry.flags ?? 0);
    if (!/^\d+$/.test(flags)) throw new Error(T.notAnExport);
    return { key: entry.key, value: entry.value ?? '', flags };
  });
}

// Groups operations so that each group fits into one transaction.
function* batches(list) {
  let batch = [];
  let size = 0;
  for (const entry of list) {
    const own = entry.value.length + entry.key.length + 100;
    if (batch.length && (batch.length === MAX_OPERATIONS || size + own > MAX_BATCH)) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(entry);
    size += own;
  }
  if (batch.length) yield batch;
}

// Flags are written as they are, digit by digit.
function transaction(batch) {
  const each = batch.map((e) => `{"KV":{"Verb":"set","Key":${JSON.stringify(e.key)},"Value":${JSON.stringify(e.value)},"Flags":${e.flags}}}`);
  return `[${each.join(',')}]`;
}

// A value may be as long as an agent takes only when it comes alone.
async function write(batch) {
  if (batch.length > 1) await send('PUT', 'txn', { body: transaction(batch) });
  else await send('PUT', `kv/${pathOf(batch[0].key)}`, { query: { flags: batch[0].flags }, body: fromBase64(batch[0].value) });
}

async function importFile(view, control, work) {
  const file = control.files[0];
  control.value = '';
  if (!file) return;
  work.error = await view.attempt(async () => {
    const list = operations(await file.text());
    const bytes = list.reduce((sum, entry) => sum + entry.value.length * 0.75, 0);
    const text = T.importText(list.length, sizeOf(Math.round(bytes)), list.slice(0, 5).map((e) => e.key));
    if (!list.length || !await ask({ title: T.importTitle, text, action: T.import })) return;
    let done = 0;
    try {
      for (const batch of batches(list)) {
        await write(batch);
        done += batch.length;
        work.busy = T.importing(done, list.length);
        view.redraw();
      }
    } finally {
      work.busy = '';
      if (done) say(T.importedKeys(done));
    }
  });
  view.redraw();
}

async function deleteFolder(view, path, work) {
  const word = path || T.allKeysWord;
  let count = 0;
  work.error = await view.attempt(async () => {
    count = (await get(`kv/${pathOf(path)}`, { keys: true })).length;
  });
  if (work.error || !await ask({ title: T.deleteFolderTitle, text: T.deleteFolderText(path, count), action: T.deleteKeys(count), word })) return;
  work.error = await view.attempt(() => remove(`kv/${pathOf(path)}`, { recurse: true }));
  if (work.error) return;
  say(T.deletedKeys(count));
  if (path) goTo(linkTo(['kv', `${path.split('/').slice(0, -2).join('/')}/`.replace(/^\/$/, '')]));
}
