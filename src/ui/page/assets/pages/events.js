// Events: what this agent has seen lately, and firing one.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { pathOf, send } from '../lib/api.js';
import { asText, fromBase64, sizeOf, toHex } from '../lib/bytes.js';
import { area, facts, field, header, input, instead, notice, refused, say, section } from '../lib/parts.js';

const MAX_SHOWN = 400;

export default function events(view) {
  const list = view.follow('event/list');
  const fresh = { name: '', payload: '', node: '', service: '', tag: '', error: null };
  const changed = () => view.redraw();
  const fire = async (event) => {
    event.preventDefault();
    const { name, payload, node, service, tag } = fresh;
    fresh.error = await view.attempt(() => send('PUT', `event/fire/${pathOf(name)}`, { query: { node, service, tag }, body: payload || undefined }));
    if (!fresh.error) say(T.fired(name));
  };
  const draw = (may) => [
    header(T.pages.events),
    h('p', { class: 'quiet' }, T.eventsAre),
    instead(list, T.noEvents, list.data?.length, ['event'])
      ?? h('ul', { class: 'cards' }, [...list.data].reverse().map((e) => h('li', { key: e.ID, class: 'card' },
        h('div', { class: 'line' }, h('span', { class: 'name' }, e.Name), h('span', { class: 'quiet' }, T.lamport(e.LTime)), h('code', { class: 'quiet' }, e.ID)),
        payloadOf(e), facts([[T.filterNode, e.NodeFilter], [T.filterService, e.ServiceFilter], [T.filterTag, e.TagFilter]])))),
    section(T.fire, may === false && fresh.name ? notice(T.mayNotFire) : null,
      h('form', { class: 'edit', onsubmit: fire },
        field(fresh, 'name', T.name, input(fresh, 'name', changed, { required: true })),
        field(fresh, 'payload', T.payload, area(fresh, 'payload', changed, { rows: 3, class: 'mono' }), { hint: T.payloadHint }),
        h('div', { class: 'side' },
          field(fresh, 'node', T.filterNode, input(fresh, 'node', changed)),
          field(fresh, 'service', T.filterService, input(fresh, 'service', changed)),
          field(fresh, 'tag', T.filterTag, input(fresh, 'tag', changed))),
        refused(fresh.error),
        h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'main', disabled: !may }, T.fire)))),
  ];
  return () => draw(view.mayTyped('event', 'write', fresh.name));
}

function payloadOf(event) {
  if (!event.Payload) return null;
  const bytes = fromBase64(event.Payload);
  const text = asText(bytes);
  const shown = text ? text.text : `${sizeOf(bytes.length)}: ${toHex(bytes.slice(0, 64))}`;
  return h('pre', { class: 'output', tabindex: '0', 'aria-label': T.payload }, shown.slice(0, MAX_SHOWN));
}
