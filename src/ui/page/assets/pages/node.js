// One node: health, services, sessions, metadata, and how far it is from the others.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { pathOf, put } from '../lib/api.js';
import { allowed, ask, badge, button, checks, copyable, duration, facts, header, instead, link, metadata, refused, say, section, tags, trail, worst } from '../lib/parts.js';
import { bars, roundTrip } from '../lib/plot.js';

const MAX_BARS = 24;

export default function node(view, name) {
  const own = view.follow(`internal/ui/node/${pathOf(name)}`);
  const sessions = view.follow(`session/node/${pathOf(name)}`);
  const coordinates = view.load('coordinate/nodes');
  const shown = { error: null };
  return () => [
    trail([['nodes'], T.pages.nodes]),
    header(name, own.data ? badge(worst(own.data.Checks)) : null),
    instead(own, T.noNode, 1, ['node']) ?? [
      facts([[T.address, copyable(own.data.Address)], [T.id, own.data.ID ? h('code', {}, own.data.ID) : null],
        ...Object.entries(own.data.TaggedAddresses ?? {}).filter(([kind]) => !kind.includes('_')).map(([kind, address]) => [T.taggedAddress(kind), h('code', {}, address)])]),
      section(T.healthChecks, checks((own.data.Checks ?? []).filter((c) => !c.ServiceID))),
      section(T.pages.services, services(own.data)),
      section(T.roundTrips, distances(name, coordinates)),
      section(T.sessions, sessionList(view, sessions, name, shown)),
      section(T.metadata, metadata(own.data.Meta)),
    ],
  ];
}

function services(own) {
  if (!own.Services?.length) return h('p', { class: 'quiet' }, T.noServices);
  const of = (s) => (own.Checks ?? []).filter((c) => c.ServiceID === s.ID);
  return h('ul', { class: 'cards' }, own.Services.map((s) => {
    const state = worst(of(s));
    return h('li', { key: s.ID }, h('details', { class: 'card', open: state !== 'passing' },
      h('summary', {}, badge(state, undefined, true), h('span', { class: 'name' }, s.ID === s.Service ? s.Service : `${s.Service} (${s.ID})`),
        h('span', { class: 'cell mono' }, s.Port ? `${s.Address || own.Address}:${s.Port}` : s.Address || ''), tags(s.Tags)),
      h('div', { class: 'inside' }, checks(of(s)), h('p', {}, link(['services', s.Service], T.openService)))));
  }));
}

function distances(name, coordinates) {
  const blocked = instead(coordinates, T.noCoordinates, coordinates.data?.length);
  if (blocked) return blocked;
  const here = coordinates.data.find((c) => c.Node === name);
  if (!here) return h('p', { class: 'quiet' }, T.noCoordinates);
  const rows = coordinates.data.filter((c) => c.Node !== name && c.Segment === here.Segment)
    .map((c) => [c.Node, roundTrip(here.Coord, c.Coord), link(['nodes', c.Node], c.Node)])
    .sort((a, b) => a[1] - b[1]);
  if (!rows.length) return h('p', { class: 'quiet' }, T.onlyNode);
  const middle = rows[Math.floor((rows.length - 1) / 2)][1];
  return [
    h('p', {}, T.roundTripSummary(rows[0][1].toFixed(2), middle.toFixed(2), rows.at(-1)[1].toFixed(2))),
    bars(rows.slice(0, MAX_BARS), (value) => T.milliseconds(value.toFixed(2)), T.roundTrips),
    rows.length > MAX_BARS ? h('p', { class: 'quiet' }, T.more(rows.length - MAX_BARS)) : null,
  ];
}

// Ends a session when it is confirmed; what went wrong goes to `shown.error`.
export async function invalidate(view, session, shown) {
  if (!await ask({ title: T.invalidateTitle, text: T.invalidateText(session.Name || session.ID, session.Behavior), action: T.invalidate })) return;
  shown.error = await view.attempt(() => put(`session/destroy/${pathOf(session.ID)}`));
  if (!shown.error) say(T.invalidated);
}

function sessionList(view, sessions, name, shown) {
  const blocked = instead(sessions, T.noSessions, sessions.data?.length, ['session']);
  if (blocked) return blocked;
  return [refused(shown.error), h('ul', { class: 'cards' }, sessions.data.map((s) => h('li', { key: s.ID, class: 'card' },
    h('div', { class: 'line' }, h('span', { class: 'name' }, s.Name || T.unnamed), h('code', {}, s.ID),
      allowed(view.may('session', 'write', name), button(T.invalidate, () => invalidate(view, s, shown), { kind: 'danger small' }))),
    facts([[T.behavior, s.Behavior], [T.ttl, s.TTL], [T.lockDelay, duration(s.LockDelay)],
      [T.checks, [...(s.NodeChecks ?? []), ...(s.ServiceChecks ?? []).map((c) => c.ID)].join(', ') || (s.Checks ?? []).join(', ')]]))))];
}
