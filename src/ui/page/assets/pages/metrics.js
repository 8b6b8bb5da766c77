// Metrics: small plots of what tells most about an agent, and a table of everything it counts.
//
// An agent sums its metrics up over ten seconds and cannot say when they change, so they are read once for
// each interval while the page is looked at.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { get } from '../lib/api.js';
import { sizeOf } from '../lib/bytes.js';
import { filterBar, header, instead, searchField, section } from '../lib/parts.js';
import { line } from '../lib/plot.js';

const INTERVAL = 10_000;
const POINTS = 60;
const MAX_ROWS = 200;
const number = (value) => (Math.abs(value) >= 100 ? Math.round(value).toLocaleString() : String(+value.toFixed(2)));
const perSecond = (value) => T.perSecond(number(value));
const milliseconds = (value) => T.milliseconds(number(value));

// Each plot: its name, how its value is read, and how it is written.
const PLOTS = [
  ['http', (m) => m.rate('Samples', /\.http\.|\.api\.http$/), perSecond],
  ['httpTime', (m) => m.mean(/\.http\.(?!.*event)|\.api\.http$/), milliseconds],
  ['rpc', (m) => m.rate('Counters', /\.client\.rpc$/), perSecond],
  ['commit', (m) => m.mean(/\.raft\.commitTime$/), milliseconds],
  ['apply', (m) => m.rate('Counters', /\.raft\.apply$/), perSecond],
  ['gossipOut', (m) => m.rate('Counters', /\.memberlist\.udp\.sent$/, 'Sum'), (v) => T.perSecond(sizeOf(Math.round(v)))],
  ['gossipIn', (m) => m.rate('Counters', /\.memberlist\.udp\.received$/, 'Sum'), (v) => T.perSecond(sizeOf(Math.round(v)))],
  ['memory', (m) => m.gauge(/\.runtime\.alloc_bytes$/), (v) => sizeOf(Math.round(v))],
];

// One interval's metrics, read by pattern.
class Metrics {
  constructor(data) {
    this.data = data;
  }

  matching(kind, pattern) {
    return (this.data[kind] ?? []).filter((m) => pattern.test(m.Name));
  }

  rate(kind, pattern, what = 'Count') {
    return this.matching(kind, pattern).reduce((sum, m) => sum + m[what], 0) / (INTERVAL / 1000);
  }

  mean(pattern) {
    const found = this.matching('Samples', pattern);
    const count = found.reduce((sum, m) => sum + m.Count, 0);
    return count ? found.reduce((sum, m) => sum + m.Sum, 0) / count : null;
  }

  gauge(pattern) {
    return this.matching('Gauges', pattern)[0]?.Value ?? null;
  }
}

// What was seen stays for when the page is looked at again; a pause is a gap.
const history = PLOTS.map(() => []);
const seen = { at: 0, timestamp: '' };

function remember(values) {
  const missed = seen.at ? Math.min(POINTS, Math.round((Date.now() - seen.at) / INTERVAL) - 1) : 0;
  history.forEach((all, n) => {
    for (let gap = 0; gap < missed; gap += 1) all.push(null);
    all.push(values ? values[n] : null);
    all.splice(0, all.length - POINTS);
  });
  seen.at = Date.now();
}

export default function metrics(view) {
  const wanted = { q: '', ...view.route.query };
  const latest = { state: 'loading', data: null, error: null };
  const changed = () => { view.remember(wanted); view.redraw(); };
  read(view, latest);
  return () => [
    header(T.pages.metrics),
    instead(latest, T.noMetrics, 1) ?? [
      h('p', { class: 'quiet' }, T.metricsAre(latest.data.Timestamp)),
      h('div', { class: 'plots' }, PLOTS.map(([name, , write], n) => plot(name, history[n], write))),
      section(T.allMetrics, filterBar(searchField(wanted, 'q', T.searchMetrics, changed)), table(latest.data, wanted.q.toLowerCase())),
    ],
  ];
}

async function read(view, latest) {
  if (view.closed) return;
  if (!document.hidden) {
    try {
      const data = await get('agent/metrics', {}, { signal: view.control.signal });
      if (data.Timestamp !== seen.timestamp) {
        const reader = new Metrics(data);
        seen.timestamp = data.Timestamp;
        remember(PLOTS.map(([, value]) => value(reader)));
      }
      Object.assign(latest, { data, state: 'live', error: null });
    } catch (error) {
      if (view.closed) return;
      Object.assign(latest, { state: error.kind ?? 'failed', error });
      remember(null);
    }
    view.redraw();
  }
  setTimeout(() => read(view, latest), INTERVAL);
}

function plot(name, values, write) {
  const last = values.findLast((value) => value !== null);
  const text = last === undefined ? T.noValue : write(last);
  return h('figure', { key: name }, h('figcaption', {}, h('span', { class: 'label' }, T.plots[name]), h('span', { class: 'value' }, text)),
    line([...Array(Math.max(0, POINTS - values.length)).fill(null), ...values], T.plotIs(T.plots[name], text)));
}

function table(data, text) {
  const rows = [
    ...(data.Gauges ?? []).map((m) => [m, number(m.Value)]),
    ...(data.Counters ?? []).map((m) => [m, T.counted(m.Count, number(m.Sum))]),
    ...(data.Samples ?? []).map((m) => [m, T.sampled(m.Count, number(m.Mean), number(m.Max))]),
  ].map(([m, value]) => [m.Name + Object.entries(m.Labels ?? {}).map(([k, v]) => ` ${k}=${v}`).join(''), value])
    .filter(([name]) => name.toLowerCase().includes(text)).sort((a, b) => a[0].localeCompare(b[0]));
  return [
    h('dl', { class: 'facts tight' }, rows.slice(0, MAX_ROWS).map(([name, value]) => h('div', { key: name }, h('dt', { class: 'mono' }, name), h('dd', {}, value)))),
    rows.length > MAX_ROWS ? h('p', { class: 'quiet' }, T.more(rows.length - MAX_ROWS)) : null,
  ];
}
