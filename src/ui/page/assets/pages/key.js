// One key: its value as text or hex, flags and lock; saved only over the version that was read.
//
// Bytes stay exact: a value that was not changed is never written back in another form, and what an editor
// for text would alter is edited as hex or replaced by a file.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { get, pathOf, remove, send } from '../lib/api.js';
import { asText, fromBase64, fromHex, fromText, same, sizeOf, toHex } from '../lib/bytes.js';
import { checkJson, checkYaml } from '../lib/yaml.js';
import { goTo, linkTo } from '../lib/view.js';
import { allowed, area, ask, button, facts, field, header, input, instead, link, notice, refused, save, say, select } from '../lib/parts.js';
import { trailOf } from './keys.js';
import { invalidate } from './node.js';

const MAX_HEX = 64 << 10;
const CHECK_AFTER = 200;
const MAX_FLAGS = (1n << 64n) - 1n;

export default function key(view, path, isNew) {
  // `read` is the entry that is edited; `file` holds bytes that no editor shows.
  const edit = {
    name: '', read: null, mode: 'text', text: '', crlf: false, flags: '0', format: '', file: null, touched: false, error: null, verdict: null,
  };
  let timer;
  const touched = () => {
    edit.touched = true;
    clearTimeout(timer);
    timer = setTimeout(() => { edit.verdict = verdict(edit, view.route.rest); view.redraw(); }, CHECK_AFTER);
    view.redraw();
  };
  const take = (entry) => {
    Object.assign(edit, { read: entry, touched: false, flags: String(entry.Flags), error: null });
    show(edit, fromBase64(entry.Value));
    edit.verdict = verdict(edit, view.route.rest);
  };
  const live = isNew ? null : view.follow(`kv/${pathOf(path)}`, {}, (self) => {
    const entry = self.data?.[0];
    if (entry && (!edit.read || (!edit.touched && entry.ModifyIndex > edit.read.ModifyIndex))) take(entry);
  });
  return () => {
    const full = isNew ? path + edit.name : path;
    const latest = live?.data?.[0];
    const blocked = live && !edit.read ? instead(live, T.noKey, 1) : null;
    return [
      trailOf(full || path),
      header(isNew ? T.newKey : path.split('/').pop() || T.namelessKey,
        latest ? allowed(view.may('key', 'write', path), button(T.delete, () => discard(view, path, edit), { kind: 'danger' })) : null),
      blocked ?? [
        isNew ? null : facts([[T.keyPath, h('code', {}, path)], [T.size, sizeOf(current(edit)?.length ?? 0)],
          [T.modifyIndex, String(edit.read.ModifyIndex)]]),
        latest?.Session ? lock(view, latest, edit) : null,
        gone(edit, live, latest, take, view),
        form(view, full, edit, isNew, touched, latest, take),
      ],
    ];
  };
}

// Chooses the editor that gives the same bytes back.
function show(edit, bytes) {
  const text = asText(bytes);
  if (text) Object.assign(edit, { mode: 'text', text: text.text, crlf: text.crlf, file: null });
  else if (bytes.length <= MAX_HEX) Object.assign(edit, { mode: 'hex', text: toHex(bytes), file: null });
  else Object.assign(edit, { mode: 'file', text: '', file: bytes });
}

// The bytes as edited, `null` when they are no hex.
function current(edit) {
  if (edit.mode === 'file') return edit.file;
  return edit.mode === 'hex' ? fromHex(edit.text) : fromText(edit.text, edit.crlf);
}

function verdict(edit, rest) {
  if (edit.mode !== 'text' || !edit.text.trim()) return null;
  const name = (edit.name || rest.at(-1) || '').toLowerCase();
  let { format } = edit;
  if (!format) {
    if (/^\s*[[{]/.test(edit.text) || name.endsWith('.json')) format = 'json';
    else if (/\.ya?ml$/.test(name) || /^(---\s*$|[\w."'-]+:(\s|$)|- \S)/m.test(edit.text)) format = 'yaml';
    else return null;
  }
  if (format === 'text') return null;
  const wrong = format === 'json' ? checkJson(edit.text) : checkYaml(edit.text);
  return { format, wrong };
}

// Who holds the key; whoever may end that session can do so here.
function lock(view, entry, edit) {
  if (edit.holder?.id !== entry.Session) edit.holder = { id: entry.Session, info: view.load(`session/info/${pathOf(entry.Session)}`) };
  const session = edit.holder.info.data?.[0];
  return notice(T.locked, T.lockedBy(entry.LockIndex), h('p', {}, h('code', {}, entry.Session), session ? ` ${session.Name} ` : null, session ? link(['nodes', session.Node], session.Node) : null),
    session ? allowed(view.may('session', 'write', session.Node), button(T.invalidate, () => invalidate(view, session, edit), { kind: 'danger' })) : null);
}

// What happened to the key while it was edited.
function gone(edit, live, latest, take, view) {
  if (!live || !edit.read || edit.saving) return null;
  if (live.state === 'missing') return notice(T.keyGone);
  if (!latest || latest.ModifyIndex <= edit.read.ModifyIndex) return null;
  return notice(T.keyChanged, h('div', { class: 'actions' },
    button(T.loadNew, () => { take(latest); view.redraw(); }),
    button(T.keepMine, () => { edit.read = latest; view.redraw(); })));
}

function form(view, full, edit, isNew, touched, latest) {
  const may = view.mayTyped('key', 'write', full);
  const bytes = current(edit);
  const readonly = !may;
  const submit = (event) => { event.preventDefault(); store(view, full, edit, isNew); };
  const unchanged = !isNew && edit.read && view.queries[0].state !== 'missing' && bytes && same(bytes, fromBase64(edit.read.Value)) && edit.flags === String(edit.read.Flags);
  const badFlags = !/^\d+$/.test(edit.flags) || BigInt(edit.flags) > MAX_FLAGS;
  return h('form', { class: 'edit', onsubmit: submit },
    isNew ? field(edit, 'name', T.keyName, input(edit, 'name', touched, { autofocus: true, required: true }), { hint: T.keyNameHint(full.slice(0, full.length - edit.name.length)) }) : null,
    editor(view, edit, touched, readonly, bytes),
    h('div', { class: 'side' },
      edit.mode === 'text' ? field(edit, 'format', T.format, select(edit, 'format', [['', T.formatAuto], ['text', T.formatText], ['json', 'JSON'], ['yaml', 'YAML']], touched)) : null,
      field(edit, 'flags', T.flags, input(edit, 'flags', touched, { inputmode: 'numeric', readonly }), { error: badFlags ? T.flagsWrong : '' })),
    refused(edit.error),
    may === false ? notice(T.readOnly) : h('div', { class: 'actions' },
      h('button', { type: 'submit', class: 'main', disabled: !may || unchanged || !bytes || badFlags || (isNew && !edit.name) }, T.save),
      h('label', { class: 'button' }, T.fromFile, h('input', { type: 'file', class: 'unseen', onchange: (event) => fromDisk(view, edit, event.target, touched) })),
      bytes ? button(T.download, () => save(full.split('/').pop() || 'value', [bytes], 'application/octet-stream')) : null));
}

function editor(view, edit, touched, readonly, bytes) {
  if (edit.mode === 'file') return notice(T.tooLargeForHex(sizeOf(edit.file.length)));
  const hex = edit.mode === 'hex';
  const toText = () => { const text = bytes && asText(bytes); if (text) { Object.assign(edit, { mode: 'text', text: text.text, crlf: text.crlf }); view.redraw(); } };
  const intoHex = () => { Object.assign(edit, { mode: 'hex', text: toHex(bytes) }); view.redraw(); };
  const lines = Math.min(28, Math.max(6, edit.text.split('\n').length + 1));
  return [
    field(edit, 'value', hex ? T.valueHex : T.value, area(edit, 'text', touched, { class: hex ? 'mono hex' : 'mono', rows: lines, readonly, wrap: hex ? null : 'off' }), {
      hint: hex ? T.hexHint : edit.crlf ? T.crlfHint : '', error: bytes ? '' : T.hexWrong,
    }),
    h('div', { class: 'line' }, validity(edit.verdict),
      hex && bytes && asText(bytes) ? button(T.asText, toText, { kind: 'small' }) : null,
      !hex && bytes.length <= MAX_HEX ? button(T.asHex, intoHex, { kind: 'small' }) : null),
  ];
}

function validity(verdict) {
  if (!verdict) return null;
  const { format, wrong } = verdict;
  const name = format.toUpperCase();
  const text = wrong ? T.invalid(name, wrong.line, wrong.detail ?? T.yaml[wrong.why]) : T.valid(name);
  return h('p', { class: wrong ? 'validity bad' : 'validity good', role: 'status' }, text);
}

async function fromDisk(view, edit, control, touched) {
  const file = control.files[0];
  control.value = '';
  if (!file) return;
  show(edit, new Uint8Array(await file.arrayBuffer()));
  touched();
}

async function store(view, full, edit, isNew) {
  const bytes = current(edit);
  const fresh = isNew || view.queries[0].state === 'missing';
  const query = { cas: fresh ? '0' : edit.read.ModifyIndex, flags: edit.flags };
  edit.saving = true;
  edit.error = await view.attempt(async () => {
    const answer = await (await send('PUT', `kv/${pathOf(full)}`, { query, body: bytes })).text();
    if (answer.trim() !== 'true') throw new Error(fresh ? T.keyExists : T.keyChanged);
    say(T.saved);
    edit.touched = false;
    if (isNew) goTo(linkTo(['kv', full]));
    else {
      // The next save is over this version, which the query may bring only later.
      const [latest] = await get(`kv/${pathOf(full)}`);
      if (same(fromBase64(latest.Value), bytes)) edit.read = latest;
    }
  });
  edit.saving = false;
  view.redraw();
}

async function discard(view, path, edit) {
  if (!await ask({ title: T.deleteKeyTitle, text: T.deleteKeyText(path), action: T.delete })) return;
  edit.error = await view.attempt(async () => {
    await remove(`kv/${pathOf(path)}`);
    say(T.deletedKeys(1));
    goTo(linkTo(['kv', path.split('/').slice(0, -1).map((name) => `${name}/`).join('')]));
  });
}
