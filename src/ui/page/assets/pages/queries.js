// Prepared queries: the list, and a form for one, with its execution.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { get, pathOf, put, remove } from '../lib/api.js';
import { listHeader, listOrForm, objectForm } from '../lib/acl.js';
import { badge, button, facts, instead, link, section, worst } from '../lib/parts.js';
import { fieldsOf } from '../lib/form.js';

const QUERY = [['Name'], ['Session'], ['Token']];
const SERVICE = [['Service', 'text', true], ['OnlyPassing', 'check'], ['Tags', 'words'], ['NodeMeta', 'map'], ['ServiceMeta', 'map'], ['Near']];
const FAILOVER = [['NearestN', 'number'], ['Datacenters', 'words']];
const DNS = [['TTL']];
const TEMPLATE = [['Type', 'choice', ['', 'name_prefix_match']], ['Regexp']];

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
  const state = { object: id ? null : { Service: { OnlyPassing: true } }, touched: false, error: null, result: null };
  const live = id ? view.follow(`query/${pathOf(id)}`, {}, (self) => { if (self.data?.[0] && !state.touched) state.object = structuredClone(self.data[0]); }) : null;
  const changed = () => { state.touched = true; view.redraw(); };
  const run = async () => {
    state.error = await view.attempt(async () => { state.result = await get(`query/${pathOf(id)}/execute`); });
  };
  return () => [
    objectForm(view, {
      page: 'queries', live, form: state, resource: 'query', title: id ? state.object?.Name || T.query : T.newQuery,
      write: () => (id ? put(`query/${pathOf(id)}`, state.object) : put('query', state.object, {}, 'POST')),
      discard: () => remove(`query/${pathOf(id)}`),
      extra: id ? button(T.execute, run) : null,
      body: (readonly) => {
        const { object } = state;
        object.Service.Failover ??= {};
        object.DNS ??= {};
        object.Template ??= {};
        return [
          id ? facts([[T.id, h('code', {}, id)]]) : null,
          [[object, QUERY], [object.Service, SERVICE], [object.Service.Failover, FAILOVER], [object.DNS, DNS], [object.Template, TEMPLATE]]
            .map(([part, table]) => fieldsOf(part, table, T.queryFields, changed, readonly)),
        ];
      },
    }),
    state.result ? section(T.result(state.result.Nodes?.length ?? 0, state.result.Datacenter), h('ul', { class: 'rows' },
      (state.result.Nodes ?? []).map((n) => h('li', { class: 'row', key: `${n.Node.Node}/${n.Service.ID}` }, badge(worst(n.Checks), undefined, true),
        h('span', { class: 'name' }, link(['nodes', n.Node.Node], n.Node.Node)),
        h('span', { class: 'cell mono' }, `${n.Service.Address || n.Node.Address}:${n.Service.Port}`))))) : null,
  ];
}
