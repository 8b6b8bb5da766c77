// Nodes: the list with search and health; below it, at `nodes/<name>`, one node.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { badge, filterBar, header, instead, link, rank, rows, searchField, select, worst } from '../lib/parts.js';
import node from './node.js';

export default function nodes(view) {
  if (view.route.rest[0]) return node(view, view.route.rest[0]);
  const list = view.follow('internal/ui/nodes');
  const wanted = { q: '', health: '', ...view.route.query };
  const changed = () => { view.remember(wanted); view.redraw(); };
  return () => {
    const all = (list.data ?? []).map((n) => ({ ...n, state: worst(n.Checks) }));
    const text = wanted.q.toLowerCase();
    const shown = all.filter((n) => (!text || `${n.Node} ${n.Address}`.toLowerCase().includes(text)) && (!wanted.health || n.state === wanted.health))
      .sort((a, b) => rank(a.state) - rank(b.state) || a.Node.localeCompare(b.Node));
    return [
      header(T.pages.nodes),
      filterBar(searchField(wanted, 'q', T.searchNodes, changed),
        select(wanted, 'health', [['', T.anyHealth], ...Object.entries(T.states)], changed, { 'aria-label': T.health })),
      instead(list, T.noNodes, all.length, ['node']) ?? (shown.length ? null : h('p', { class: 'quiet' }, T.nothingFits)),
      rows(shown, row),
      all.length ? h('p', { class: 'quiet count', 'aria-live': 'polite' }, T.shown(shown.length, all.length)) : null,
    ];
  };
}

function row(n) {
  const bad = (n.Checks ?? []).filter((c) => c.Status !== 'passing').length;
  return h('li', { key: n.Node, class: 'row link' },
    badge(n.state, undefined, true),
    h('span', { class: 'name' }, link(['nodes', n.Node], n.Node)),
    h('span', { class: 'cell mono' }, n.Address),
    h('span', { class: 'cell' }, T.services(n.Services?.length ?? 0)),
    h('span', { class: `cell ${n.state}` }, bad ? T.badChecks(bad) : T.allPassing(n.Checks?.length ?? 0)));
}
