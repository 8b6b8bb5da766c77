// Signing in and out: a token is tried before it is kept, and kept for this tab only.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { get, token } from '../lib/api.js';
import { acl, may } from '../lib/may.js';
import { goTo, linkTo } from '../lib/view.js';
import { links } from '../lib/acl.js';
import { button, facts, field, header, input, notice, say, timeOf } from '../lib/parts.js';

export default function signIn(view) {
  const state = { secret: '', error: '', busy: false };
  const self = token.get() ? view.load('acl/token/self') : null;
  may('acl', 'read');
  const changed = () => { state.error = ''; view.redraw(); };
  const submit = async (event) => {
    event.preventDefault();
    const secret = state.secret.trim();
    Object.assign(state, { busy: true, error: '' });
    view.redraw();
    try {
      await get('acl/token/self', {}, { secret });
      enter(secret);
    } catch (error) {
      if (error.kind === 'denied') enter(secret);
      else state.error = error.kind === 'unknown' ? T.unknownToken : T.errors[error.kind] ?? error.message;
    }
    state.busy = false;
    view.redraw();
  };
  return () => [
    header(T.pages['sign-in']),
    acl.enabled === false ? notice(T.aclOff) : null,
    self ? signedIn(self) : h('form', { class: 'edit narrow', onsubmit: submit },
      field(state, 'token', T.token, input(state, 'secret', changed, { type: 'password', autofocus: true, required: true, autocomplete: 'current-password' }),
        { hint: T.tokenHint, error: state.error }),
      h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'main', disabled: !state.secret.trim() || state.busy }, T.signIn))),
  ];
}

function enter(secret) {
  token.set(secret);
  dispatchEvent(new Event('signed'));
  say(T.welcome);
  goTo(linkTo(['overview']));
}

function signedIn(self) {
  const leave = () => {
    token.set('');
    dispatchEvent(new Event('signed'));
    goTo(linkTo(['overview']));
  };
  const known = self.data;
  return [
    self.state === 'unknown' ? notice(T.unknownToken) : null,
    known ? facts([[T.description, known.Description || T.noDescription], [T.accessor, h('code', {}, known.AccessorID)],
      [T.pages.policies, known.Policies?.length ? links(known.Policies) : null], [T.pages.roles, known.Roles?.length ? links(known.Roles) : null],
      [T.expiresAt, known.ExpirationTime ? timeOf(known.ExpirationTime) : null]]) : null,
    h('p', { class: 'quiet' }, T.tokenKept),
    h('div', { class: 'actions' }, button(T.signOut, leave, { kind: 'main' })),
  ];
}
