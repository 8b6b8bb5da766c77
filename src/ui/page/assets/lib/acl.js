// What tokens, policies, roles and auth methods share: choosing linked objects, identities, and the shape of
// a list with a form behind each row.

import { h } from './vdom.js';
import { T } from './text.js';
import { pathOf, put, remove } from './api.js';
import { goTo, linkTo } from './view.js';
import { allowed, area, ask, button, field, header, instead, refused, say, tags, trail } from './parts.js';

// A page with a list at its root and a form at `<page>/<id>` or `<page>/new`.
export function listOrForm(view, list, form) {
  const [id] = view.route.rest;
  return id ? form(view, id === 'new' ? null : id) : list(view);
}

export function listHeader(view, page, resource = 'acl') {
  return header(T.pages[page], allowed(view.may(resource, 'write'), h('a', { class: 'button main', href: linkTo([page, 'new']) }, T.create)));
}

// Follows one object into `form.object`; a change made elsewhere is taken over while nothing is edited.
export function followObject(view, path, form) {
  return view.follow(path, {}, (self) => {
    if (self.data && !form.touched) form.object = structuredClone(self.data);
  });
}

// The frame of a form: title, body, save and delete. `write` gives the saved object.
export function objectForm(view, { page, title, live, form, body, write, discard, resource = 'acl', extra = null }) {
  const blocked = live && !form.object ? instead(live, T.gone, 1) : null;
  const may = view.may(resource, 'write');
  const save = async (event) => {
    event.preventDefault();
    form.error = await view.attempt(async () => {
      const saved = await write();
      form.touched = false;
      say(T.saved);
      if (!live) goTo(linkTo([page, saved.AccessorID ?? saved.ID ?? saved.Name]));
      else live.restart?.();
    });
    view.redraw();
  };
  const drop = async () => {
    if (!await ask({ title: T.deleteTitle(title), text: T.deleteText, action: T.delete })) return;
    form.error = await view.attempt(async () => {
      await discard();
      say(T.deleted);
      goTo(linkTo([page]));
    });
  };
  return [
    trail([[page], T.pages[page]]),
    header(title, live && form.object && discard ? allowed(may, button(T.delete, drop, { kind: 'danger' })) : null),
    blocked ?? h('form', { class: 'edit', onsubmit: save }, body(!may), refused(form.error),
      may === false ? h('p', { class: 'quiet' }, T.readOnly) : allowed(may, h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'main' }, T.save), extra))),
  ];
}

// Links to policies or roles: what is chosen, and a selection of the rest.
export function picker(owner, name, label, object, options, changed, readonly) {
  const chosen = object[name] ?? [];
  const rest = (options.data ?? []).filter((option) => !chosen.some((link) => link.ID === option.ID));
  const add = (event) => {
    const found = rest.find((option) => option.ID === event.target.value);
    if (found) object[name] = [...chosen, { ID: found.ID, Name: found.Name }];
    changed();
  };
  const without = (link) => { object[name] = chosen.filter((other) => other.ID !== link.ID); changed(); };
  return h('fieldset', { key: name }, h('legend', {}, label),
    h('ul', { class: 'chips' }, chosen.map((link) => h('li', { key: link.ID, class: 'tag' }, link.Name || link.ID,
      readonly ? null : button('×', () => without(link), { kind: 'small', 'aria-label': T.removeThis(link.Name || link.ID) })))),
    readonly ? null : field(owner, name, T.add, h('select', { value: '', onchange: add },
      h('option', { value: '' }, rest.length ? T.choose : T.nothingToAdd), rest.map((option) => h('option', { value: option.ID, key: option.ID }, option.Name)))));
}

// Identities, one a line: `name` and, for services, the datacenters; for nodes, the datacenter.
export function identities(owner, form, kind, changed, readonly) {
  const node = kind === 'NodeIdentities';
  const text = `${kind}Text`;
  form[text] ??= (form.object[kind] ?? []).map((i) => (node ? `${i.NodeName} ${i.Datacenter}` : [i.ServiceName, ...(i.Datacenters ?? [])].join(' '))).join('\n');
  const read = () => {
    const lines = form[text].split('\n').map((line) => line.trim().split(/[\s,]+/)).filter(([name]) => name);
    form.object[kind] = lines.map(([name, ...rest]) => (node ? { NodeName: name, Datacenter: rest[0] ?? '' } : { ServiceName: name, Datacenters: rest.length ? rest : null }));
    changed();
  };
  return field(owner, kind, T[kind], area(form, text, read, { rows: 2, readonly }), { hint: T[`${kind}Hint`] });
}

export const links = (list) => tags((list ?? []).map((link) => link.Name ?? link.ID));

export const write = (kind, id, object) => put(`acl/${kind}${id ? `/${pathOf(id)}` : ''}`, object);

export const drop = (kind, id) => remove(`acl/${kind}/${pathOf(id)}`);
