// ACL policies: the list, and a form with an editor for rules; the servers check the rules and their words
// are shown.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { pathOf } from '../lib/api.js';
import { drop, followObject, listHeader, listOrForm, objectForm, write } from '../lib/acl.js';
import { area, button, facts, field, filterBar, input, instead, link, notice, rows, searchField, tags } from '../lib/parts.js';

const MANAGEMENT = '00000000-0000-0000-0000-000000000001';
// Beginnings of rules to write on from.
const SNIPPETS = {
  service: 'service "web" {\n  policy = "write"\n}\nservice_prefix "" {\n  policy = "read"\n}\nnode_prefix "" {\n  policy = "read"\n}\n',
  agent: 'node "name" {\n  policy = "write"\n}\nagent "name" {\n  policy = "write"\n}\nservice_prefix "" {\n  policy = "read"\n}\n',
  keys: 'key_prefix "app/" {\n  policy = "write"\n}\nsession_prefix "" {\n  policy = "write"\n}\n',
  operator: 'operator = "read"\nagent_prefix "" {\n  policy = "read"\n}\nnode_prefix "" {\n  policy = "read"\n}\nservice_prefix "" {\n  policy = "read"\n}\n',
};

export default (view) => listOrForm(view, list, form);

function list(view) {
  const policies = view.follow('acl/policies');
  const wanted = { q: '', ...view.route.query };
  const changed = () => { view.remember(wanted); view.redraw(); };
  return () => {
    const shown = (policies.data ?? []).filter((p) => `${p.Name} ${p.Description}`.toLowerCase().includes(wanted.q.toLowerCase()))
      .sort((a, b) => a.Name.localeCompare(b.Name));
    return [
      listHeader(view, 'policies'),
      instead(policies, T.noPolicies, policies.data?.length) ?? [
        filterBar(searchField(wanted, 'q', T.searchPolicies, changed)),
        rows(shown, (p) => h('li', { key: p.ID, class: 'row link' },
          h('span', { class: 'name' }, link(['policies', p.ID], p.Name)), h('span', { class: 'cell wide quiet' }, p.Description), tags(p.Datacenters))),
      ],
    ];
  };
}

function form(view, id) {
  const state = { object: id ? null : { Name: '', Description: '', Rules: '' }, dcs: null, touched: false, error: null };
  const live = id ? followObject(view, `acl/policy/${pathOf(id)}`, state) : null;
  const changed = () => { state.touched = true; view.redraw(); };
  const save = () => {
    const list = (state.dcs ?? '').split(/[\s,]+/).filter(Boolean);
    return write('policy', id, { ...state.object, Datacenters: list.length ? list : null });
  };
  return () => {
    if (state.object && (state.dcs === null || !state.touched)) state.dcs = (state.object.Datacenters ?? []).join(' ');
    return objectForm(view, {
      page: 'policies', live, form: state, write: save, discard: id === MANAGEMENT ? null : () => drop('policy', id),
      title: id ? state.object?.Name ?? T.policy : T.newPolicy,
      body: (readonly) => [
        id ? facts([[T.id, h('code', {}, id)]]) : null,
        id === MANAGEMENT ? notice(T.management) : null,
        field(state, 'name', T.name, input(state.object, 'Name', changed, { readonly, required: true, autofocus: !id }), { hint: T.policyNameHint }),
        field(state, 'description', T.description, input(state.object, 'Description', changed, { readonly })),
        field(state, 'rules', T.rules, area(state.object, 'Rules', changed, { class: 'mono', readonly: readonly || id === MANAGEMENT, rows: 14 }), { hint: T.rulesHint }),
        readonly || id === MANAGEMENT ? null : h('div', { class: 'line' }, h('span', { class: 'quiet' }, T.insert),
          Object.entries(SNIPPETS).map(([name, text]) => button(T.snippets[name], () => {
            state.object.Rules += (state.object.Rules && !state.object.Rules.endsWith('\n') ? '\n' : '') + text;
            changed();
          }, { kind: 'small' }))),
        field(state, 'dcs', T.validIn, input(state, 'dcs', changed, { readonly }), { hint: T.validInHint }),
      ],
    });
  };
}
