//! A server in its pools: who is there, what members bring and take, user events, the WAN pool filling itself.
//!
//! Holds true: the other servers are reached where their members say; every server of this datacenter is in
//! the WAN pool sooner or later; a server that is alone waits for nothing.
//! Leaves to others: the catalog (`leader`), how pools work (`gossip`), what members mean (`serf`).
//! Source: `docs/reference/gossip.md` sections 15.4, 15.5 and 15.8, `docs/reference/http-2.md` section 5.

use std::sync::Arc;
use std::time::Duration;

use event_listener::Event as Changed;
use smol::channel::Receiver;
use smol::future::FutureExt;

use super::{Server, wan};
use crate::drive::gossip::{GossipDriver, GossipHandle};
use crate::drive::{self, Handle, Shutdown, Task};
use crate::gossip::{Change, Event, Member};
use crate::serf::event::{self, Meaning};
use crate::serf::join::Joiner;
use crate::serf::settings::{ServerPools, start_error};
use crate::serf::{Area, Notice, ServerMeta};
use crate::structs::{self, Error, MemberStatus, Result};

/// How often servers missing in the WAN pool are looked for.
const FLOOD_INTERVAL: Duration = Duration::from_secs(60);

/// The pools of a server.
pub struct Pools {
    /// The agents of its datacenter.
    pub lan: GossipHandle,
    /// The servers of all datacenters.
    pub wan: Option<GossipHandle>,
    /// Tells of every change of a member of the LAN pool.
    pub(super) lan_changed: Changed,
}

/// What runs the pools.
pub(super) struct PoolDrivers {
    lan: GossipDriver,
    wan: Option<GossipDriver>,
}

impl PoolDrivers {
    /// Starts the pools.
    pub fn start(runtime: &Handle, shutdown: &Shutdown, settings: ServerPools) -> Result<Self> {
        let wan = settings
            .wan
            .map(|wan| GossipDriver::start(runtime, shutdown.clone(), wan))
            .transpose()
            .map_err(|e| start_error(Area::Wan, &e))?;
        let lan = GossipDriver::start(runtime, shutdown.clone(), settings.lan)
            .map_err(|e| start_error(Area::Lan, &e))?;
        Ok(Self { lan, wan })
    }

    /// What the server asks of them.
    pub fn pools(&self) -> Pools {
        Pools {
            lan: self.lan.handle(),
            wan: self.wan.as_ref().map(GossipDriver::handle),
            lan_changed: Changed::new(),
        }
    }

    /// The tasks that take in what happens in the pools; they end with the pools.
    pub fn follow(&self, server: &Arc<Server>, runtime: &Handle) -> Vec<Task<()>> {
        let mut tasks = vec![runtime.spawn(follow_lan(server.clone(), self.lan.events()))];
        if let Some(wan) = &self.wan {
            tasks.push(runtime.spawn(wan::follow(server.clone(), wan.events())));
            tasks.push(runtime.spawn(flood_wan(server.clone(), wan.handle())));
        }
        tasks
    }

    /// Waits for their end after shutdown was triggered.
    pub async fn join(self) {
        self.lan.join().await;
        if let Some(wan) = self.wan {
            wan.join().await;
        }
    }
}

/// Takes in what happens in the LAN pool.
async fn follow_lan(server: Arc<Server>, events: Receiver<Event>) {
    while let Ok(event) = events.recv().await {
        match event {
            Event::Member(change, member) => {
                server.member_changed(change, &member);
                server.lan_event(change, &member).await;
                server.pools.lan_changed.notify(usize::MAX);
            }
            Event::User {
                ltime,
                name,
                payload,
                ..
            } => {
                server.user_event(ltime, &name, payload);
            }
            _ => {}
        }
    }
}

/// Sees to it that all servers of the LAN pool are in the WAN pool.
async fn flood_wan(server: Arc<Server>, wan: GossipHandle) {
    loop {
        let changed = server.pools.lan_changed.listen();
        let missing = server.missing_in_wan(&wan);
        if missing.is_empty() {
            changed.await;
            continue;
        }
        let joiner = server.joiner(Area::Wan);
        if let Some(joiner) = joiner {
            match joiner.join_quietly(&missing).await {
                Ok(n) => {
                    log::debug!(target: "agent.server", servers = n; "Successfully performed flood-join for servers");
                }
                Err(error) => {
                    log::debug!(target: "agent.server", error = error.text(); "Failed to flood-join servers");
                }
            }
        }
        let wait = async {
            drive::sleep(FLOOD_INTERVAL).await;
        };
        changed.or(wait).await;
    }
}

impl Server {
    /// Names and WAN addresses of the servers that are alive here and not in the WAN pool.
    fn missing_in_wan(&self, wan: &GossipHandle) -> Vec<String> {
        let members = self.pools.lan.members();
        let servers = members.iter().filter_map(ServerMeta::of);
        servers
            .filter(|s| s.is_alive() && s.name != self.options.node_name)
            .filter_map(|s| {
                let name = format!("{}.{}", s.name, s.datacenter);
                let there = wan.member(&name);
                let place = std::net::SocketAddr::new(s.serf.ip(), s.wan_join_port?);
                let absent = there.is_none_or(|m| m.status != MemberStatus::Alive);
                absent.then(|| format!("{name}/{place}"))
            })
            .collect()
    }

    /// A member of the LAN pool is another than before.
    fn member_changed(&self, change: Change, member: &Member) {
        let Some(meta) = ServerMeta::of(member) else {
            return;
        };
        let name = meta.name.as_str();
        match change {
            Change::Join => {
                if name != self.options.node_name {
                    log::info!(target: "agent.server", server:% = server_text(&meta); "Adding LAN server");
                }
            }
            Change::Update | Change::Failed => {}
            Change::Leave | Change::Reap => {
                log::info!(target: "agent.server", server:% = server_text(&meta); "Removing LAN server");
            }
        }
    }

    /// A user event has come.
    fn user_event(&self, ltime: u64, name: &str, payload: Vec<u8>) {
        match event::meaning(name) {
            Meaning::User(name) => {
                log::debug!(target: "agent.server", event = name; "User event");
                self.notice(Notice::UserEvent { ltime, payload });
            }
            Meaning::NewLeader => {
                let leader = String::from_utf8_lossy(&payload);
                log::info!(target: "agent.server", payload:% = leader; "New leader elected");
                self.notice(Notice::ServerUp);
            }
            Meaning::Other => {
                log::warn!(target: "agent.server", event = name; "Unhandled local event");
            }
        }
    }

    /// Tells the agent something.
    fn notice(&self, notice: Notice) {
        // The receiver ends with the agent, and is bounded: events are best effort.
        if self.notices.try_send(notice).is_err() {
            log::warn!(target: "agent.server", "user event dropped: too many are waiting");
        }
    }

    /// Tells the datacenter that this server leads.
    pub(super) async fn announce_leadership(&self) {
        let payload = self.options.node_name.clone().into_bytes();
        let fired = self.pools.lan.user_event(event::NEW_LEADER, payload, false);
        if let Err(error) = fired.await {
            log::error!(target: "agent.server", error:%; "failed to broadcast new leader event");
        }
    }

    /// The members of a pool; nothing where there is none.
    pub(super) fn pool_members(&self, area: Area) -> Vec<structs::Member> {
        let pool = match area {
            Area::Lan => Some(&self.pools.lan),
            Area::Wan => self.pools.wan.as_ref(),
        };
        let members = pool.map(GossipHandle::members).unwrap_or_default();
        members.iter().map(structs::Member::from).collect()
    }

    /// What joins members into a pool; nothing where there is none.
    pub fn joiner(&self, area: Area) -> Option<Joiner> {
        let (pool, port) = match area {
            Area::Lan => (self.pools.lan.clone(), self.options.serf_lan_port),
            Area::Wan => (self.pools.wan.clone()?, self.options.serf_wan_port?),
        };
        Some(Joiner { area, pool, port })
    }

    /// Joins through addresses that a user gave.
    pub(super) async fn join_pool(&self, addresses: &[String], area: Area) -> Result<usize> {
        let joiner = self.joiner(area);
        let joiner = joiner.ok_or_else(|| Error::new("WAN Federation is disabled"))?;
        joiner.join(addresses).await
    }

    /// Makes a failed member of either pool one that left.
    pub(super) async fn remove_failed(&self, node: &str, prune: bool) -> Result<()> {
        log::info!(target: "agent", node = node; "Force leaving node");
        let own = &self.options.node_name;
        let suffix = format!(".{}", self.options.datacenter);
        let wan_name = match node.ends_with(&suffix) {
            true => node.to_owned(),
            false => format!("{node}{suffix}"),
        };
        let mut found = false;
        let pools = [
            (Some(&self.pools.lan), node),
            (self.pools.wan.as_ref(), &wan_name),
        ];
        for (pool, name) in pools {
            let Some(pool) = pool.filter(|pool| pool.member(name).is_some()) else {
                continue;
            };
            found = true;
            // A member that is alive refutes its own leaving.
            if name == own || name.strip_suffix(&suffix) == Some(own) {
                continue;
            }
            pool.force_leave(name, prune)
                .await
                .map_err(|e| Error::new(e.to_string()))?;
        }
        match found {
            true => Ok(()),
            false => Err(Error::new(format!(
                "agent: No node found with name '{node}'"
            ))),
        }
    }

    /// Leaves the pools, WAN first, and gives calls under way the time to end.
    pub(super) async fn leave_pools(&self) {
        let with_company = self
            .pools
            .lan
            .members()
            .iter()
            .any(|m| m.status == MemberStatus::Alive && m.name != self.options.node_name);
        if let Some(wan) = &self.pools.wan {
            wan.leave().await;
        }
        self.pools.lan.leave().await;
        if with_company && !self.options.leave_drain_time.is_zero() {
            let drain = structs::go::GoDuration::from(self.options.leave_drain_time).to_string();
            log::info!(target: "agent.server", drain_time = drain.as_str(); "Waiting to drain RPC traffic");
            drive::sleep(self.options.leave_drain_time).await;
        }
    }
}

/// A server in logs, as Consul names it.
fn server_text(meta: &ServerMeta) -> String {
    format!(
        "{} (Addr: tcp/{}) (DC: {})",
        meta.node_name(),
        meta.rpc,
        meta.datacenter
    )
}
