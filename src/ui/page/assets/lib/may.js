// What the token may do, asked from the agent (`/v1/internal/acl/authorize`) and remembered for the token.
//
// Answers are `true`, `false`, or `undefined` while unknown, when nothing is offered yet. Where ACLs are off, or
// the agent cannot tell, everything is offered: the agent decides in the end.

import { place, put, token } from './api.js';

const MAX_AT_ONCE = 64;
// An agent that does not answer is asked again after this.
const RETRY = 3000;
const known = new Map();
let waiting = new Map();
let listener = () => {};

// `enabled` is undefined until the agent has been asked once.
export const acl = { enabled: undefined };

export function onAnswer(changed) {
  listener = changed;
}

export function forget() {
  known.clear();
  waiting = new Map();
  acl.enabled = undefined;
}

export function may(resource, access, segment = '') {
  if (acl.enabled === false) return true;
  const id = JSON.stringify([token.get(), place.dc, resource, access, segment]);
  if (known.has(id)) return known.get(id);
  if (!waiting.size) queueMicrotask(flush);
  waiting.set(id, { Resource: resource, Access: access, Segment: segment });
  return undefined;
}

async function flush() {
  const all = [...waiting];
  for (const [id] of all) known.set(id, undefined);
  waiting = new Map();
  for (let at = 0; at < all.length; at += MAX_AT_ONCE) {
    const part = all.slice(at, at + MAX_AT_ONCE);
    try {
      const answers = await put('internal/acl/authorize', part.map(([, asked]) => asked), {}, 'POST');
      acl.enabled = true;
      part.forEach(([id], n) => known.set(id, answers[n]?.Allow === true));
    } catch (error) {
      const { kind } = error;
      if (kind === 'off') acl.enabled = false;
      else if (kind === 'lost' || kind === 'leader') {
        setTimeout(() => {
          part.forEach(([id]) => known.delete(id));
          listener();
        }, RETRY);
      } else {
        acl.enabled = true;
        part.forEach(([id]) => known.set(id, kind !== 'unknown'));
      }
    }
  }
  listener();
}
