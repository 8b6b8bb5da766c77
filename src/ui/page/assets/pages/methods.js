// Auth methods: the list, and a form for one as JSON, with the binding rules that belong to it.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { pathOf } from '../lib/api.js';
import { checkJson } from '../lib/yaml.js';
import { drop, followObject, listHeader, listOrForm, objectForm, write } from '../lib/acl.js';
import { area, facts, field, instead, link, section } from '../lib/parts.js';

const NEW = { Name: '', Type: 'jwt', Description: '', MaxTokenTTL: '', Config: { JWTValidationPubKeys: [], BoundIssuer: '' } };

export default (view) => listOrForm(view, list, form);

function list(view) {
  const methods = view.follow('acl/auth-methods');
  return () => [
    listHeader(view, 'auth-methods'),
    instead(methods, T.noMethods, methods.data?.length)
      ?? h('ul', { class: 'rows' }, methods.data.map((m) => h('li', { key: m.Name, class: 'row link' },
        h('span', { class: 'name' }, link(['auth-methods', m.Name], m.DisplayName || m.Name), h('span', { class: 'tag' }, m.Type)),
        h('span', { class: 'cell wide quiet' }, m.Description)))),
  ];
}

function form(view, id) {
  const state = { object: id ? null : NEW, text: null, touched: false, error: null };
  const live = id ? followObject(view, `acl/auth-method/${pathOf(id)}`, state) : null;
  const rules = id ? view.follow('acl/binding-rules', { authmethod: id }) : null;
  const changed = () => { state.touched = true; view.redraw(); };
  const indexes = ['CreateIndex', 'ModifyIndex', 'Namespace'];
  return () => {
    if (state.object && (state.text === null || !state.touched)) {
      state.text = JSON.stringify(state.object, (name, value) => (indexes.includes(name) ? undefined : value), 2);
    }
    const wrong = state.text && checkJson(state.text);
    return [
      objectForm(view, {
        page: 'auth-methods', live, form: state, title: id ?? T.newMethod,
        write: () => write('auth-method', id, JSON.parse(state.text)), discard: () => drop('auth-method', id),
        body: (readonly) => field(state, 'json', T.definition, area(state, 'text', changed, { class: 'mono', rows: 18, readonly }),
          { error: wrong ? T.invalid('JSON', wrong.line, wrong.detail) : '' }),
      }),
      rules ? section(T.bindingRules, instead(rules, T.noBindingRules, rules.data?.length)
        ?? h('ul', { class: 'cards' }, rules.data.map((r) => h('li', { key: r.ID, class: 'card' },
          facts([[T.bindType, r.BindType], [T.bindName, h('code', {}, r.BindName)], [T.selector, r.Selector ? h('code', {}, r.Selector) : T.always], [T.description, r.Description]]))))) : null,
    ];
  };
}
