// Intentions: which service may connect to which; create and delete.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { pathOf, put, remove } from '../lib/api.js';
import { allowed, ask, button, field, header, input, instead, refused, say, section, select } from '../lib/parts.js';

export default function intentions(view) {
  const list = view.follow('connect/intentions');
  const fresh = { SourceName: '*', DestinationName: '', Action: 'allow', Description: '', error: null };
  const create = async (event) => {
    event.preventDefault();
    const { error, ...body } = fresh;
    fresh.error = await view.attempt(() => put('connect/intentions', { ...body, SourceType: 'consul' }, {}, 'POST'));
    if (!fresh.error) say(T.saved);
  };
  const drop = async (i) => {
    if (!await ask({ title: T.deleteTitle(`${i.SourceName} → ${i.DestinationName}`), text: T.deleteText, action: T.delete })) return;
    fresh.error = await view.attempt(() => remove(`connect/intentions/${pathOf(i.ID)}`));
    if (!fresh.error) say(T.deleted);
  };
  const draw = (may) => [
    header(T.pages.intentions),
    instead(list, T.noIntentions, list.data?.length, ['intention']) ?? h('ul', { class: 'rows' }, list.data.map((i) => h('li', { key: i.ID, class: 'row' },
      h('span', { class: `tag ${i.Action}` }, T.actions[i.Action] ?? i.Action),
      h('span', { class: 'name' }, `${i.SourceName} → ${i.DestinationName}`),
      h('span', { class: 'cell wide quiet' }, i.Description),
      allowed(view.may('intention', 'write', i.DestinationName), button(T.delete, () => drop(i), { kind: 'danger small' }))))),
    section(T.newIntention, h('form', { class: 'edit', onsubmit: create },
      h('div', { class: 'side' },
        field(fresh, 'source', T.source, input(fresh, 'SourceName', view.redraw.bind(view), { required: true })),
        field(fresh, 'destination', T.destination, input(fresh, 'DestinationName', view.redraw.bind(view), { required: true })),
        field(fresh, 'action', T.action, select(fresh, 'Action', Object.entries(T.actions), view.redraw.bind(view)))),
      field(fresh, 'description', T.description, input(fresh, 'Description', view.redraw.bind(view))),
      refused(fresh.error),
      fresh.DestinationName && may === false ? h('p', { class: 'quiet' }, T.mayNotIntend)
        : h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'main', disabled: !may || !fresh.DestinationName }, T.create)))),
  ];
  return () => draw(view.mayTyped('intention', 'write', fresh.DestinationName));
}
