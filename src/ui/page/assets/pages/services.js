// Services: the list with search, health and tag; below it, at `services/<name>`, one service.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { badge, filterBar, header, instead, link, rows, searchField, select, rank, tags } from '../lib/parts.js';
import service from './service.js';

const state = (s) => (s.ChecksCritical ? 'critical' : s.ChecksWarning ? 'warning' : 'passing');

export default function services(view) {
  if (view.route.rest[0]) return service(view, view.route.rest[0]);
  const list = view.follow('internal/ui/services');
  const wanted = { q: '', health: '', tag: '', ...view.route.query };
  const changed = () => { view.remember(wanted); view.redraw(); };
  return () => {
    const all = list.data ?? [];
    const known = [...new Set(all.flatMap((s) => s.Tags ?? []))].sort();
    const shown = all.filter((s) => fits(s, wanted))
      .sort((a, b) => rank(state(a)) - rank(state(b)) || a.Name.localeCompare(b.Name));
    return [
      header(T.pages.services),
      filterBar(
        searchField(wanted, 'q', T.searchServices, changed),
        select(wanted, 'health', [['', T.anyHealth], ...Object.entries(T.states)], changed, { 'aria-label': T.health }),
        known.length ? select(wanted, 'tag', [['', T.anyTag], ...known.map((t) => [t, t])], changed, { 'aria-label': T.tag }) : null,
      ),
      instead(list, T.noServices, all.length, ['service', 'node']) ?? (shown.length ? null : h('p', { class: 'quiet' }, T.nothingFits)),
      rows(shown, row),
      all.length ? h('p', { class: 'quiet count', 'aria-live': 'polite' }, T.shown(shown.length, all.length)) : null,
    ];
  };
}

function fits(s, { q, health, tag }) {
  const text = q.toLowerCase();
  return (!text || s.Name.toLowerCase().includes(text) || s.Tags?.some((t) => t.toLowerCase().includes(text)))
    && (!health || state(s) === health) && (!tag || s.Tags?.includes(tag));
}

function row(s) {
  const bad = [s.ChecksCritical && T.criticalChecks(s.ChecksCritical), s.ChecksWarning && T.warningChecks(s.ChecksWarning)];
  return h('li', { key: s.Name, class: 'row link' },
    badge(state(s), undefined, true),
    h('span', { class: 'name' }, link(['services', s.Name], s.Name), s.Kind ? h('span', { class: 'tag' }, s.Kind) : null),
    h('span', { class: 'cell' }, T.instances(s.InstanceCount)),
    h('span', { class: `cell ${state(s)}` }, bad.filter(Boolean).join(', ') || T.allPassing(s.ChecksPassing)),
    tags(s.Tags));
}
