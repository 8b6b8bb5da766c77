// Small plots as SVG: a line over time, and round-trip times on a scale.

import { h } from './vdom.js';

const WIDTH = 240;
const HEIGHT = 56;

// A line of the last values; `null` is a gap. `label` says what a screen reader reads instead.
export function line(values, label) {
  const known = values.filter((value) => value !== null);
  const top = Math.max(...known, 0) || 1;
  const step = WIDTH / Math.max(values.length - 1, 1);
  const y = (value) => HEIGHT - 3 - (value / top) * (HEIGHT - 8);
  let path = '';
  let pen = false;
  values.forEach((value, n) => {
    if (value === null) pen = false;
    else {
      path += `${pen ? 'L' : 'M'}${(n * step).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = true;
    }
  });
  const last = values.at(-1);
  return h('svg', { class: 'plot', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    h('path', { class: 'ground', d: `M0 ${HEIGHT - 3}H${WIDTH}` }),
    h('path', { class: 'curve', d: path || 'M0 0' }),
    last === null || last === undefined ? null
      : h('path', { class: 'point', d: `M${WIDTH} ${y(last).toFixed(1)}h.01` }));
}

// Round-trip time between two coordinates in milliseconds (Vivaldi with height and adjustment).
export function roundTrip(a, b) {
  const square = a.Vec.reduce((sum, value, n) => sum + (value - b.Vec[n]) ** 2, 0);
  const raw = Math.sqrt(square) + a.Height + b.Height;
  const adjusted = raw + a.Adjustment + b.Adjustment;
  return (adjusted > 0 ? adjusted : raw) * 1000;
}

// A bar per node, longest last.
export function bars(rows, format, label) {
  const top = Math.max(...rows.map(([, value]) => value), 0) || 1;
  return h('ul', { class: 'bars', 'aria-label': label }, rows.map(([name, value, content]) => h('li', { key: name },
    h('span', { class: 'name' }, content ?? name),
    h('svg', { viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      h('rect', { width: Math.max(1, (value / top) * 100), height: 8, rx: 1 })),
    h('span', { class: 'number' }, format(value)))));
}
