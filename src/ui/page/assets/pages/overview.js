// Overview: what fails comes first, then the servers with their Raft state, then the members of the pool.
//
// One blocking query on all checks carries the page; what cannot be followed (members, Raft) is asked again
// whenever a check changes, since a node that comes, fails or goes changes its serfHealth check.

import { h } from '../lib/vdom.js';
import { T } from '../lib/text.js';
import { place } from '../lib/api.js';
import { badge, check, copyable, denied, header, instead, link, notice, rank, refused, section } from '../lib/parts.js';

const AGAIN_AFTER = 2000;
const MAX_SHOWN = 50;
const MEMBER = { 1: 'alive', 2: 'leaving', 3: 'left', 4: 'failed' };

export default function overview(view) {
  let asked = Date.now();
  let timer;
  const servers = view.load('operator/autopilot/health', {}, unhealthy);
  const leader = view.load('status/leader');
  // The agent's own pool, or for another datacenter what the WAN pool knows of it: its servers.
  const pool = {};
  const members = view.load('agent/members', pool, () => {
    if (pool.wan || !members.data?.some((m) => m.Tags.dc !== place.dc)) return;
    pool.wan = '1';
    Object.assign(members, { data: null, state: 'loading' });
    members.restart();
  });
  const here = () => ({ ...members, data: members.data?.filter((m) => m.Tags.dc === place.dc).map((m) => ({ ...m, Name: pool.wan ? m.Name.split('.')[0] : m.Name })) ?? null });
  const all = view.follow('health/state/any', {}, () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (view.closed) return;
      asked = Date.now();
      [servers, leader, members].forEach((once) => once.restart());
    }, Math.max(200, AGAIN_AFTER - (Date.now() - asked)));
  });
  return () => (servers.state === 'denied' && all.data && !all.data.length ? [header(T.pages.overview), denied()] : [
    header(T.pages.overview),
    summary(all, servers, here(), leader),
    section(T.failing, instead(all, T.nothingFails, 1) ?? failing(all.data)),
    section(T.servers, serverList(servers, leader)),
    section(T.members, memberList(here())),
  ]);
}

// An unhealthy cluster is answered with 429 and the same body.
function unhealthy(once) {
  if (once.error?.status !== 429) return;
  try {
    Object.assign(once, { data: JSON.parse(once.error.message), state: 'live', error: null });
  } catch {
    // The text stays an error.
  }
}

function summary(all, servers, members, leader) {
  const list = all.data ?? [];
  const count = (of, state) => new Set(list.filter((c) => of(c) && c.Status === state).map(of)).size;
  const service = (c) => c.ServiceName;
  const tile = (names, label, value, state, note) => h('a', { class: `tile ${state}`, href: link(names).props.href, key: label },
    h('span', { class: 'label' }, label), h('span', { class: 'value' }, value), h('span', { class: 'note' }, note));
  const criticalServices = count(service, 'critical');
  const warningServices = count(service, 'warning');
  const alive = members.data?.filter((m) => m.Status === 1).length;
  const failed = members.data?.filter((m) => m.Status === 4).length ?? 0;
  const critical = list.filter((c) => c.Status === 'critical').length;
  const warning = list.filter((c) => c.Status === 'warning').length;
  const health = servers.data;
  return h('div', { class: 'tiles' },
    tile(['services'], T.pages.services, all.data ? criticalServices + warningServices : '–',
      criticalServices ? 'critical' : warningServices ? 'warning' : 'passing', T.servicesFailing),
    tile(['nodes'], T.pages.nodes, alive ?? '–', failed ? 'critical' : 'passing', failed ? T.membersFailed(failed) : T.membersAlive),
    tile(['services'], T.checks, all.data ? list.length - critical - warning : '–',
      critical ? 'critical' : warning ? 'warning' : 'passing', T.checksFailing(critical, warning)),
    tile(['metrics'], T.leader, health ? ((health.Servers ?? []).find((s) => s.Leader)?.Name ?? T.noLeader) : (leader.data || '–'),
      health && !health.Healthy ? 'warning' : 'passing', health ? T.tolerance(health.FailureTolerance) : place.dc));
}

function failing(list) {
  const bad = list.filter((c) => c.Status !== 'passing')
    .sort((a, b) => rank(a.Status) - rank(b.Status) || a.Node.localeCompare(b.Node) || a.CheckID.localeCompare(b.CheckID));
  if (!bad.length) return list.length ? h('p', { class: 'fine' }, badge('passing', T.nothingFails)) : notice(T.nothingSeen);
  return [
    h('ul', { class: 'checks' }, bad.slice(0, MAX_SHOWN).map((c) => check(c, h('span', { class: 'where' },
      c.ServiceName ? link(['services', c.ServiceName], c.ServiceName) : null, link(['nodes', c.Node], c.Node))))),
    bad.length > MAX_SHOWN ? h('p', { class: 'quiet' }, T.more(bad.length - MAX_SHOWN)) : null,
  ];
}

function serverList(servers, leader) {
  if (servers.state === 'denied') {
    return [denied(), leader.data ? h('p', {}, `${T.leader}: `, copyable(leader.data)) : null];
  }
  if (!servers.data) return instead(servers, T.none, 0);
  return [
    servers.error ? refused(servers.error) : null,
    h('ul', { class: 'rows' }, (servers.data.Servers ?? []).map((s) => h('li', { key: s.ID, class: 'row' },
      badge(s.Healthy ? 'passing' : 'critical', s.Healthy ? T.healthy : T.unhealthy, true),
      h('span', { class: 'name' }, link(['nodes', s.Name], s.Name), s.Leader ? h('span', { class: 'tag strong' }, T.leader) : null,
        s.Voter ? null : h('span', { class: 'tag' }, T.nonVoter)),
      h('span', { class: 'cell mono' }, s.Address),
      h('span', { class: 'cell' }, T.raftIndex(s.LastIndex, s.LastTerm)),
      h('span', { class: 'cell' }, s.Leader ? '' : T.lastContact(s.LastContact)),
      h('span', { class: 'cell last quiet' }, s.Version)))),
  ];
}

function memberList(members) {
  const blocked = instead(members, T.noMembers, members.data?.length);
  if (blocked) return blocked;
  const state = (m) => (m.Status === 1 ? 'passing' : m.Status === 4 ? 'critical' : 'warning');
  const sorted = [...members.data].sort((a, b) => rank(state(a)) - rank(state(b)) || a.Name.localeCompare(b.Name));
  return h('ul', { class: 'rows' }, sorted.map((m) => h('li', { key: m.Name, class: 'row' },
    badge(state(m), T.member[MEMBER[m.Status]] ?? T.member.unknown, true),
    h('span', { class: 'name' }, link(['nodes', m.Name], m.Name), h('span', { class: 'tag' }, m.Tags.role === 'consul' ? T.server : T.client)),
    h('span', { class: 'cell mono' }, `${m.Addr}:${m.Port}`),
    h('span', { class: 'cell' }, T.member[MEMBER[m.Status]] ?? T.member.unknown),
    h('span', { class: 'cell last quiet' }, (m.Tags.build ?? '').split(':')[0]))));
}
