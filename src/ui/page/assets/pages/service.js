// One service: its instances with checks, tags and metadata, and how to reach it over DNS.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { pathOf, place } from '../lib/api.js';
import { badge, checks, copyable, facts, filterBar, header, instead, link, metadata, notice, rank, rows, searchField, section, select, tags, trail, worst } from '../lib/parts.js';

const DNS_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;

export default function service(view, name) {
  const list = view.follow(`health/service/${pathOf(name)}`);
  const self = view.load('agent/self');
  const wanted = { q: '', health: '', ...view.route.query };
  const changed = () => { view.remember(wanted); view.redraw(); };
  const opened = new Set();
  return () => {
    const all = (list.data ?? []).map((i) => ({ ...i, state: worst(i.Checks) }))
      .sort((a, b) => rank(a.state) - rank(b.state) || a.Node.Node.localeCompare(b.Node.Node) || a.Service.ID.localeCompare(b.Service.ID));
    const shown = all.filter((i) => fits(i, wanted));
    const known = [...new Set(all.flatMap((i) => i.Service.Tags ?? []))].sort();
    return [
      trail([['services'], T.pages.services]),
      header(name, all.length ? badge(worst(all.flatMap((i) => i.Checks))) : null),
      instead(list, T.noInstances, all.length, ['service', 'node']) ?? [
        all.length > 5 ? filterBar(searchField(wanted, 'q', T.searchInstances, changed),
          select(wanted, 'health', [['', T.anyHealth], ...Object.entries(T.states)], changed, { 'aria-label': T.health })) : null,
        section(T.instances(all.length), rows(shown, (i) => instance(i, opened, view), 'cards')),
        section(T.reach, reach(name, known, self)),
      ],
    ];
  };
}

function fits(i, { q, health }) {
  const text = q.toLowerCase();
  const words = [i.Node.Node, i.Service.ID, i.Service.Address || i.Node.Address, ...(i.Service.Tags ?? [])];
  return (!text || words.some((word) => word.toLowerCase().includes(text))) && (!health || i.state === health);
}

function instance(i, opened, view) {
  const id = `${i.Node.Node}/${i.Service.ID}`;
  // What does not pass is open from the start, so that its reason is seen at once.
  const open = opened.has(id) !== (i.state !== 'passing');
  const toggle = (event) => {
    event.preventDefault();
    if (opened.has(id)) opened.delete(id);
    else opened.add(id);
    view.redraw();
  };
  const address = i.Service.Address || i.Node.Address;
  return h('li', { key: id }, h('details', { class: 'card', open },
    h('summary', { onclick: toggle }, badge(i.state, undefined, true), h('span', { class: 'name' }, i.Service.ID),
      h('span', { class: 'cell mono' }, i.Service.Port ? `${address}:${i.Service.Port}` : address),
      h('span', { class: 'cell' }, i.Node.Node), tags(i.Service.Tags)),
    h('div', { class: 'inside' },
      h('h3', {}, T.checks), checks(i.Checks),
      facts([[T.node, link(['nodes', i.Node.Node], i.Node.Node)], [T.nodeAddress, h('code', {}, i.Node.Address)],
        [T.weights, `${i.Service.Weights?.Passing ?? 1} / ${i.Service.Weights?.Warning ?? 1}`],
        [T.kind, i.Service.Kind], [T.proxyFor, i.Service.Proxy?.DestinationServiceName]]),
      Object.keys(i.Service.Meta ?? {}).length ? [h('h3', {}, T.metadata), metadata(i.Service.Meta)] : null)));
}

function reach(name, known, self) {
  if (!DNS_NAME.test(name)) return notice(T.notInDns(name));
  const domain = (self.data?.DebugConfig?.DNSDomain ?? 'consul.').replace(/\.$/, '');
  const local = !place.dc || place.dc === place.datacenters[0];
  const end = `service.${local ? '' : `${place.dc}.`}${domain}`;
  const inDns = known.filter((tag) => DNS_NAME.test(tag)).slice(0, 6);
  return facts([
    [T.dnsAddress, copyable(`${name}.${end}`)],
    [T.dnsService, copyable(`_${name}._tcp.${end}`)],
    ...inDns.map((tag) => [T.dnsTag(tag), copyable(`${tag}.${name}.${end}`)]),
    [T.dnsPort, self.data?.DebugConfig?.DNSPort > 0 ? String(self.data.DebugConfig.DNSPort) : null],
  ]);
}
