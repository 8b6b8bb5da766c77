// ACL tokens: the list, and a form for one; its secret is shown only when asked for.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { pathOf, put, token } from '../lib/api.js';
import { goTo, linkTo } from '../lib/view.js';
import { drop, followObject, identities, links, listHeader, listOrForm, objectForm, picker, write } from '../lib/acl.js';
import { button, copyable, facts, field, filterBar, input, instead, link, notice, rows, say, searchField, timeOf } from '../lib/parts.js';

const ANONYMOUS = '00000000-0000-0000-0000-000000000002';

export default (view) => listOrForm(view, list, form);

function list(view) {
  const tokens = view.follow('acl/tokens');
  const wanted = { q: '', ...view.route.query };
  const changed = () => { view.remember(wanted); view.redraw(); };
  return () => {
    const text = wanted.q.toLowerCase();
    const words = (t) => [t.AccessorID, t.Description, ...(t.Policies ?? []).map((p) => p.Name), ...(t.Roles ?? []).map((r) => r.Name)].join(' ').toLowerCase();
    const shown = (tokens.data ?? []).filter((t) => words(t).includes(text))
      .sort((a, b) => (a.Description || a.AccessorID).localeCompare(b.Description || b.AccessorID));
    return [
      listHeader(view, 'tokens'),
      instead(tokens, T.noTokens, tokens.data?.length) ?? [
        filterBar(searchField(wanted, 'q', T.searchTokens, changed)),
        rows(shown, (t) => h('li', { key: t.AccessorID || t.Hash, class: 'row link' },
          h('span', { class: 'name' }, t.AccessorID ? link(['tokens', t.AccessorID], t.Description || T.noDescription) : t.Description || T.legacyToken,
            t.Local ? h('span', { class: 'tag' }, T.local) : null, t.Legacy ? h('span', { class: 'tag' }, T.legacy) : null),
          h('span', { class: 'cell id mono quiet' }, t.AccessorID),
          links([...(t.Policies ?? []), ...(t.Roles ?? []), ...(t.ServiceIdentities ?? []).map((i) => ({ Name: T.serviceIdentity(i.ServiceName) })),
            ...(t.NodeIdentities ?? []).map((i) => ({ Name: T.nodeIdentity(i.NodeName) }))]),
          t.ExpirationTime ? h('span', { class: 'cell' }, T.expires(timeOf(t.ExpirationTime))) : null)),
      ],
    ];
  };
}

function form(view, id) {
  const state = { object: id ? null : { Description: '', Policies: [], Roles: [], Local: false }, ttl: '', secret: false, touched: false, error: null };
  const live = id ? followObject(view, `acl/token/${pathOf(id)}`, state) : null;
  const policies = view.load('acl/policies');
  const roles = view.load('acl/roles');
  const changed = () => { state.touched = true; view.redraw(); };
  const save = () => {
    const { object } = state;
    return write('token', id, { ...object, ...(!id && state.ttl && { ExpirationTTL: state.ttl }) });
  };
  return () => objectForm(view, {
    page: 'tokens', live, form: state, write: save, discard: () => drop('token', id),
    title: id ? state.object?.Description || T.token : T.newToken,
    extra: id ? [button(T.clone, () => clone(view, id, state)), use(state)] : null,
    body: (readonly) => [
      id ? about(state, view) : null,
      id === ANONYMOUS ? notice(T.anonymous) : null,
      field(state, 'description', T.description, input(state.object, 'Description', changed, { readonly, autofocus: !id })),
      picker(state, 'Policies', T.pages.policies, state.object, policies, changed, readonly),
      picker(state, 'Roles', T.pages.roles, state.object, roles, changed, readonly),
      identities(state, state, 'ServiceIdentities', changed, readonly),
      identities(state, state, 'NodeIdentities', changed, readonly),
      id ? null : [
        field(state, 'ttl', T.expiresAfter, input(state, 'ttl', changed), { hint: T.ttlHint }),
        field(state, 'local', T.localToken, input(state.object, 'Local', changed, { type: 'checkbox' })),
      ],
    ],
  });
}

function about(state, view) {
  const { object } = state;
  const reveal = () => { state.secret = !state.secret; view.redraw(); };
  return facts([
    [T.accessor, copyable(object.AccessorID)],
    [T.secret, object.SecretID ? h('span', { class: 'line' }, state.secret ? copyable(object.SecretID) : h('code', {}, '••••••••'),
      button(state.secret ? T.hide : T.reveal, reveal, { kind: 'small' })) : T.secretHidden],
    [T.scope, object.Local ? T.local : T.global], [T.created, timeOf(object.CreateTime)],
    [T.expiresAt, object.ExpirationTime ? timeOf(object.ExpirationTime) : null], [T.pages['auth-methods'], object.AuthMethod],
  ]);
}

async function clone(view, id, state) {
  state.error = await view.attempt(async () => {
    const made = await put(`acl/token/${pathOf(id)}/clone`, { Description: T.cloneOf(state.object.Description || id) });
    say(T.saved);
    goTo(linkTo(['tokens', made.AccessorID]));
  });
}

function use(state) {
  const { SecretID } = state.object ?? {};
  if (!SecretID || SecretID === '<hidden>' || SecretID === token.get()) return null;
  return button(T.useToken, () => {
    token.set(SecretID);
    dispatchEvent(new Event('signed'));
    goTo(linkTo(['overview']));
  });
}
