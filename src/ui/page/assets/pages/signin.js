// Signing in, with a token or through an auth method, and out: a token is tried before it is kept, and kept for
// this tab only. One that a login made is destroyed when its owner signs out.
//
// An address can name the auth method: `#/dc1/sign-in?method=NAME`.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { get, put, token } from '../lib/api.js';
import { acl } from '../lib/may.js';
import { goTo, linkTo } from '../lib/view.js';
import { links } from '../lib/acl.js';
import { area, button, facts, field, header, input, instead, notice, refused, say, select, timeOf } from '../lib/parts.js';

export default function signIn(view) {
  const { method = '' } = view.route.query;
  const state = { how: method ? 'method' : 'token', secret: '', method, bearer: '', error: '', busy: false };
  const self = token.get() ? view.load('acl/token/self') : null;
  let methods = null;
  const changed = () => { state.error = ''; view.redraw(); };
  const submit = async (event) => {
    event.preventDefault();
    Object.assign(state, { busy: true, error: '' });
    view.redraw();
    const asked = state.how === 'token' ? byToken(state.secret.trim()) : byMethod(state);
    state.error = await asked.then(enter, (error) => error.message);
    state.busy = false;
    view.redraw();
  };
  return () => {
    if (acl.enabled === false) return [header(T.pages['sign-in']), notice(T.aclOff)];
    if (self) return [header(T.signedIn), signedIn(view, self, state)];
    // Without a token their names are usually not to be seen, and then have to be typed.
    if (view.may('acl', 'read')) methods ??= view.load('acl/auth-methods');
    return [header(T.pages['sign-in']), h('form', { class: 'edit narrow', onsubmit: submit },
      field(state, 'how', T.signInWith, select(state, 'how', [['token', T.token], ['method', T.authMethod]], changed)),
      state.how === 'token' ? withToken(state, changed) : withMethod(state, changed, methods?.data ?? []),
      h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'main', disabled: state.busy }, T.signIn)))];
  };
}

function withToken(state, changed) {
  return field(state, 'token', T.token, input(state, 'secret', changed, { type: 'password', autofocus: true, required: true, autocomplete: 'current-password' }),
    { hint: T.tokenHint, error: state.error });
}

function withMethod(state, changed, known) {
  return [
    field(state, 'method', T.authMethod, input(state, 'method', changed, { required: true, list: known.length ? 'methods' : null }), { hint: T.authMethodHint }),
    h('datalist', { id: 'methods' }, known.map((m) => h('option', { value: m.Name, key: m.Name }, m.DisplayName || m.Name))),
    field(state, 'bearer', T.bearerToken, area(state, 'bearer', changed, { required: true, rows: 5, class: 'mono' }), { hint: T.bearerTokenHint, error: state.error }),
  ];
}

// Gives the secret, or fails with what is to be read.
async function byToken(secret) {
  try {
    await get('acl/token/self', {}, { secret });
  } catch (error) {
    if (error.kind !== 'denied') throw new Error(error.kind === 'unknown' ? T.unknownToken : T.errors[error.kind] ?? error.message);
  }
  return secret;
}

async function byMethod({ method, bearer }) {
  try {
    const made = await put('acl/login', { AuthMethod: method.trim(), BearerToken: bearer.trim() }, {}, 'POST');
    return made.SecretID;
  } catch (error) {
    throw new Error(T.loginErrors[error.kind] ?? T.errors[error.kind] ?? error.message);
  }
}

function enter(secret) {
  token.set(secret);
  dispatchEvent(new Event('signed'));
  say(T.welcome);
  goTo(linkTo(['overview']));
  return '';
}

function signedIn(view, self, state) {
  const leave = () => {
    token.set('');
    dispatchEvent(new Event('signed'));
    goTo(linkTo(['overview']));
  };
  const known = self.data;
  const destroy = async () => {
    state.failed = await view.attempt(() => put('acl/logout', undefined, {}, 'POST'));
    // One that is gone already needs no destroying.
    if (!state.failed || state.failed.kind === 'unknown') {
      say(T.destroyed);
      leave();
    }
  };
  return [
    self.state === 'unknown' ? notice(T.unknownToken) : known ? null : instead(self, '', 1),
    known ? facts([[T.description, known.Description || T.noDescription], [T.accessor, h('code', {}, known.AccessorID)],
      [T.authMethod, known.AuthMethod], [T.pages.policies, known.Policies?.length ? links(known.Policies) : null],
      [T.pages.roles, known.Roles?.length ? links(known.Roles) : null],
      [T.ServiceIdentities, known.ServiceIdentities?.map((i) => i.ServiceName).join(', ')], [T.NodeIdentities, known.NodeIdentities?.map((i) => i.NodeName).join(', ')],
      [T.expiresAt, known.ExpirationTime ? timeOf(known.ExpirationTime) : null]]) : null,
    h('p', { class: 'quiet' }, known?.AuthMethod ? T.loginKept : T.tokenKept),
    refused(state.failed),
    h('div', { class: 'actions' }, button(T.signOut, known?.AuthMethod ? destroy : leave, { kind: 'main', disabled: self.state === 'loading' }),
      state.failed ? button(T.forgetOnly, leave) : null),
  ];
}
