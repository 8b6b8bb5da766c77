// Prepared queries: the list, and a form for one as JSON, with its execution.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { get, pathOf, put, remove } from '../lib/api.js';
import { checkJson } from '../lib/yaml.js';
import { listHeader, listOrForm, objectForm } from '../lib/acl.js';
import { area, badge, button, field, instead, link, section, worst } from '../lib/parts.js';

const NEW = { Name: '', Service: { Service: '', OnlyPassing: true, Failover: { NearestN: 0, Datacenters: [] } }, DNS: { TTL: '' } };
const OWN = ['CreateIndex', 'ModifyIndex', 'ID'];

export default (view) => listOrForm(view, list, form);

function list(view) {
  const queries = view.follow('query');
  return () => [
    listHeader(view, 'queries', 'query'),
    instead(queries, T.noQueries, queries.data?.length, ['query'])
      ?? h('ul', { class: 'rows' }, queries.data.map((q) => h('li', { key: q.ID, class: 'row link' },
        h('span', { class: 'name' }, link(['queries', q.ID], q.Name || T.unnamed)),
        h('span', { class: 'cell' }, q.Service?.Service), h('span', { class: 'cell id mono quiet' }, q.ID)))),
  ];
}

function form(view, id) {
  const state = { object: id ? null : NEW, text: null, touched: false, error: null, result: null };
  const live = id ? view.follow(`query/${pathOf(id)}`, {}, (self) => { if (self.data?.[0] && !state.touched) [state.object] = self.data; }) : null;
  const changed = () => { state.touched = true; view.redraw(); };
  const run = async () => {
    state.error = await view.attempt(async () => { state.result = await get(`query/${pathOf(id)}/execute`); });
  };
  return () => {
    if (state.object && (state.text === null || !state.touched)) {
      state.text = JSON.stringify(state.object, (name, value) => (OWN.includes(name) && name !== 'ID' ? undefined : value), 2);
    }
    const wrong = state.text && checkJson(state.text);
    return [
      objectForm(view, {
        page: 'queries', live, form: state, resource: 'query', title: id ? state.object?.Name || T.query : T.newQuery,
        write: async () => (id ? put(`query/${pathOf(id)}`, JSON.parse(state.text)) : put('query', JSON.parse(state.text), {}, 'POST')),
        discard: () => remove(`query/${pathOf(id)}`),
        extra: id ? button(T.execute, run) : null,
        body: (readonly) => field(state, 'json', T.definition, area(state, 'text', changed, { class: 'mono', rows: 18, readonly }),
          { error: wrong ? T.invalid('JSON', wrong.line, wrong.detail) : '' }),
      }),
      state.result ? section(T.result(state.result.Nodes?.length ?? 0, state.result.Datacenter), h('ul', { class: 'rows' },
        (state.result.Nodes ?? []).map((n) => h('li', { class: 'row', key: `${n.Node.Node}/${n.Service.ID}` }, badge(worst(n.Checks), undefined, true),
          h('span', { class: 'name' }, link(['nodes', n.Node.Node], n.Node.Node)),
          h('span', { class: 'cell mono' }, `${n.Service.Address || n.Node.Address}:${n.Service.Port}`))))) : null,
    ];
  };
}
