// Auth methods: the list, and a form for one, with the binding rules that belong to it.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { pathOf } from '../lib/api.js';
import { drop, followObject, listHeader, listOrForm, objectForm, write } from '../lib/acl.js';
import { allowed, ask, button, facts, instead, link, refused, say, section } from '../lib/parts.js';
import { fieldsOf } from '../lib/form.js';

const METHOD = [['Name', 'text', true], ['DisplayName'], ['Description'], ['Type', 'choice', ['jwt', 'kubernetes']],
  ['TokenLocality', 'choice', ['local', 'global']], ['MaxTokenTTL']];
const CONFIG = {
  jwt: [['JWTValidationPubKeys', 'pems'], ['JWKSURL'], ['JWKSCACert', 'long'], ['OIDCDiscoveryURL'], ['OIDCDiscoveryCACert', 'long'],
    ['BoundIssuer'], ['BoundAudiences', 'words'], ['JWTSupportedAlgs', 'words'], ['ClaimMappings', 'map'], ['ListClaimMappings', 'map']],
  kubernetes: [['Host'], ['CACert', 'long'], ['ServiceAccountJWT', 'long']],
};
const RULE = [['BindType', 'choice', ['service', 'node', 'role']], ['BindName', 'text', true], ['Selector'], ['Description']];

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
  const state = { object: id ? null : { Type: 'jwt' }, touched: false, error: null };
  const live = id ? followObject(view, `acl/auth-method/${pathOf(id)}`, state) : null;
  const rules = id ? view.follow('acl/binding-rules', { authmethod: id }) : null;
  const rule = { object: {}, error: null };
  const changed = () => { state.touched = true; view.redraw(); };
  return () => [
    objectForm(view, {
      page: 'auth-methods', live, form: state, title: id ?? T.newMethod,
      write: () => write('auth-method', id, state.object), discard: () => drop('auth-method', id),
      body: (readonly) => {
        state.object.Config ??= {};
        return [
          fieldsOf(state.object, id ? METHOD.filter(([name]) => name !== 'Name' && name !== 'Type') : METHOD, T.method, changed, readonly),
          fieldsOf(state.object.Config, CONFIG[state.object.Type] ?? [], T.config, changed, readonly),
        ];
      },
    }),
    rules ? section(T.bindingRules, bindingRules(view, rules, rule, id)) : null,
  ];
}

function bindingRules(view, rules, rule, method) {
  const may = view.may('acl', 'write');
  const edit = (object) => { Object.assign(rule, { object, error: null }); view.redraw(); };
  const discard = async (r) => {
    if (!await ask({ title: T.deleteTitle(r.BindName), text: T.deleteText, action: T.delete })) return;
    rule.error = await view.attempt(() => drop('binding-rule', r.ID));
    if (!rule.error) say(T.deleted);
    if (rule.object.ID === r.ID) edit({});
  };
  const save = async (event) => {
    event.preventDefault();
    rule.error = await view.attempt(() => write('binding-rule', rule.object.ID, { ...rule.object, AuthMethod: method }));
    if (rule.error) return;
    say(T.saved);
    edit({});
  };
  return [
    instead(rules, T.noBindingRules, rules.data?.length) ?? h('ul', { class: 'cards' }, rules.data.map((r) => h('li', { key: r.ID, class: 'card' },
      facts([[T.rule.BindType, T.choices[r.BindType] ?? r.BindType], [T.rule.BindName, h('code', {}, r.BindName)],
        [T.rule.Selector, r.Selector ? h('code', {}, r.Selector) : T.always], [T.description, r.Description]]),
      allowed(may, h('div', { class: 'actions' }, button(T.edit, () => edit(structuredClone(r)), { kind: 'small' }),
        button(T.delete, () => discard(r), { kind: 'danger small' })))))),
    allowed(may, h('form', { class: 'edit', onsubmit: save, 'aria-label': rule.object.ID ? T.editRule : T.newRule },
      h('h3', {}, rule.object.ID ? T.editRule : T.newRule),
      fieldsOf(rule.object, RULE, T.rule, view.redraw.bind(view)), refused(rule.error),
      h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'main' }, rule.object.ID ? T.save : T.create),
        rule.object.ID ? button(T.cancel, () => edit({})) : null))),
  ];
}
