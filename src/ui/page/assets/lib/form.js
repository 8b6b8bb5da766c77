// Forms from tables: a field for each `[name, kind, options]`, bound to an object. What the object holds beside
// stays as it is, and a field that is left empty is left out of it.
//
// Kinds: text, long (text of several lines), number, check, choice, words (a list), pems (a list of PEM blocks),
// map (one `name value` a line).

import { h } from './vdom.js';
import { T } from './text.js';
import { area, field, input, select } from './parts.js';

const lines = (text) => text.split('\n').map((line) => line.trim()).filter(Boolean);
const pair = (line) => [line.split(/\s+/, 1)[0], line.replace(/^\S+\s*/, '')];

// How each kind is written as text and read again.
const KINDS = {
  text: [(value) => value ?? '', (text) => text],
  number: [(value) => String(value ?? 0), (text) => Number(text) || 0],
  words: [(value) => (value ?? []).join(' '), (text) => text.split(/[\s,]+/).filter(Boolean)],
  pems: [(value) => (value ?? []).join('\n'), (text) => text.match(/-----BEGIN[^]*?-----END[^\n]*/g) ?? lines(text)],
  map: [(value) => Object.entries(value ?? {}).map(([name, to]) => `${name} ${to}`).join('\n'), (text) => Object.fromEntries(lines(text).map(pair))],
};
KINDS.long = KINDS.text;

// What is being typed, for as long as the object is the one that is edited.
const drafts = new WeakMap();

// `texts` has the labels by name, and hints by name with `Hint` behind.
export function fieldsOf(object, table, texts, changed, readonly) {
  if (!drafts.has(object)) drafts.set(object, {});
  const draft = drafts.get(object);
  return h('div', { class: 'fields' }, table.map(([name, kind = 'text', options = []]) => {
    const named = (control) => field(object, name, texts[name], control, { hint: texts[`${name}Hint`] });
    if (kind === 'check') return named(input(object, name, changed, { type: 'checkbox', disabled: readonly }));
    if (kind === 'choice') {
      object[name] ||= options[0];
      return named(select(object, name, options.map((option) => [option, T.choices[option] ?? option]), changed, { disabled: readonly }));
    }
    const [write, read] = KINDS[kind];
    draft[name] ??= write(object[name]);
    const taken = () => {
      const value = read(draft[name]);
      const empty = value === '' || (typeof value === 'object' && !Object.keys(value).length);
      if (empty) delete object[name];
      else object[name] = value;
      changed();
    };
    if (kind === 'text' || kind === 'words' || kind === 'number') {
      return named(input(draft, name, taken, { readonly, inputmode: kind === 'number' ? 'numeric' : null, required: options === true }));
    }
    return named(area(draft, name, taken, { readonly, rows: 3, class: 'mono' }));
  }));
}
