// ACL roles: the list, and a form for one.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { pathOf } from '../lib/api.js';
import { drop, followObject, identities, links, listHeader, listOrForm, objectForm, picker, write } from '../lib/acl.js';
import { facts, field, input, instead, link } from '../lib/parts.js';

export default (view) => listOrForm(view, list, form);

function list(view) {
  const roles = view.follow('acl/roles');
  return () => [
    listHeader(view, 'roles'),
    instead(roles, T.noRoles, roles.data?.length)
      ?? h('ul', { class: 'rows' }, [...roles.data].sort((a, b) => a.Name.localeCompare(b.Name)).map((r) => h('li', { key: r.ID, class: 'row link' },
        h('span', { class: 'name' }, link(['roles', r.ID], r.Name)), h('span', { class: 'cell wide quiet' }, r.Description),
        links([...(r.Policies ?? []), ...(r.ServiceIdentities ?? []).map((i) => ({ Name: T.serviceIdentity(i.ServiceName) }))])))),
  ];
}

function form(view, id) {
  const state = { object: id ? null : { Name: '', Description: '', Policies: [] }, touched: false, error: null };
  const live = id ? followObject(view, `acl/role/${pathOf(id)}`, state) : null;
  const policies = view.load('acl/policies');
  const changed = () => { state.touched = true; view.redraw(); };
  return () => objectForm(view, {
    page: 'roles', live, form: state, write: () => write('role', id, state.object), discard: () => drop('role', id),
    title: id ? state.object?.Name ?? T.role : T.newRole,
    body: (readonly) => [
      id ? facts([[T.id, h('code', {}, id)]]) : null,
      field(state, 'name', T.name, input(state.object, 'Name', changed, { readonly, required: true, autofocus: !id })),
      field(state, 'description', T.description, input(state.object, 'Description', changed, { readonly })),
      picker(state, 'Policies', T.pages.policies, state.object, policies, changed, readonly),
      identities(state, state, 'ServiceIdentities', changed, readonly),
      identities(state, state, 'NodeIdentities', changed, readonly),
    ],
  });
}
