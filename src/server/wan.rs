//! The other datacenters: which there are, how far they are, and having a call answered by one of their servers.
//!
//! Holds true: a call for another datacenter is never answered from this one's state; one that may have been carried
//! out there is sent again only if it changes nothing; a token that counts only here does not leave.
//! Leaves to others: what happens to a call in its own datacenter (`forward`), how servers find each other (`serf`).
//! Source: `docs/reference/rpc.md` section 8, `docs/reference/http-2.md` section 7.3; texts are those of a running
//! Consul 1.8.7.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use smol::channel::Receiver;

use super::{Server, rtt};
use crate::drive;
use crate::drive::gossip::GossipHandle;
use crate::gossip::{Change, Event, Member};
use crate::net::pool::CallError;
use crate::net::snapshot;
use crate::serf::ServerMeta;
use crate::sorted;
use crate::structs::rpc::{Class, Reply, Request};
use crate::structs::{
    self, Coordinate, Error, MemberStatus, Position, Result, SnapshotRequest, SnapshotResponse,
};
use crate::telemetry;

/// Whose turn it is among the servers of another datacenter: the same one's until it fails.
pub(super) struct Turn(AtomicUsize);

impl Default for Turn {
    fn default() -> Self {
        // Servers that start together do not all ask the same one.
        Self(AtomicUsize::new(fastrand::usize(..1024)))
    }
}

/// Takes in what happens in the WAN pool until it ends: a server that is gone has the calls to it ended at once.
pub(super) async fn follow(server: std::sync::Arc<Server>, events: Receiver<Event>) {
    while let Ok(event) = events.recv().await {
        if let Event::Member(change, member) = event {
            server.wan_event(change, &member);
        }
    }
}

impl Server {
    fn wan_event(&self, change: Change, member: &Member) {
        let Some(meta) = ServerMeta::of(member) else {
            return;
        };
        let event = match change {
            Change::Join => "member-join",
            Change::Update => "member-update",
            Change::Failed => "member-failed",
            Change::Leave => "member-leave",
            Change::Reap => "member-reap",
        };
        log::info!(
            target: "agent.server",
            "Handled event for server in area: event={event} server={} area=wan", meta.name
        );
        let gone = matches!(change, Change::Failed | Change::Leave | Change::Reap);
        if gone && self.is_elsewhere(&meta.datacenter) {
            self.peers.close(meta.rpc);
        }
        let came = matches!(change, Change::Join | Change::Update);
        if came && meta.datacenter == self.options.acl.primary_datacenter {
            self.replication.begin_anew();
            self.remote.forget_without_primary();
        }
    }

    /// Whether a datacenter that a request names is another one; empty means this one.
    pub(super) fn is_elsewhere(&self, datacenter: &str) -> bool {
        !datacenter.is_empty() && datacenter != self.options.datacenter
    }

    /// All servers of all datacenters that have not left.
    fn wan_servers(&self) -> Vec<ServerMeta> {
        let wan = self.pools.wan.as_ref();
        let members = wan.map(GossipHandle::members).unwrap_or_default();
        let servers = members.iter().filter_map(ServerMeta::of);
        servers.filter(|s| s.status != MemberStatus::Left).collect()
    }

    /// The servers of another datacenter that are there, the one whose turn it is first.
    ///
    /// # Errors
    /// `No path to datacenter` when nobody knows it; another when none of its servers is there.
    fn servers_of(&self, datacenter: &str) -> Result<Vec<SocketAddr>> {
        let mut known = self.wan_servers();
        known.retain(|s| s.datacenter == datacenter);
        if known.is_empty() {
            return Err(Error::new(structs::NO_PATH_TO_DATACENTER));
        }
        known.retain(ServerMeta::is_alive);
        if known.is_empty() {
            return Err(Error::new(structs::DATACENTER_UNREACHABLE));
        }
        sorted::sort_by(&mut known, |a, b| a.name.cmp(&b.name));
        let turn = self.turn.0.load(Ordering::Relaxed) % known.len();
        known.rotate_left(turn);
        Ok(known.iter().map(|s| s.rpc).collect())
    }

    fn next_turn(&self) {
        self.turn.0.fetch_add(1, Ordering::Relaxed);
    }

    /// As [`Server::call_elsewhere`], for callers who have no time but this.
    ///
    /// # Errors
    /// Those of [`Server::call_elsewhere`], and that the time is over.
    pub(super) async fn call_elsewhere_within(
        &self,
        request: Request,
        time: Duration,
    ) -> Result<Reply> {
        drive::timeout(time, self.call_elsewhere(request))
            .await
            .unwrap_or_else(|_| Err(Error::new("rpc error making call: i/o deadline reached")))
    }

    /// Has a call answered in the datacenter that it names.
    ///
    /// # Errors
    /// That there is no way there, or what became of the last try.
    pub(super) async fn call_elsewhere(&self, mut request: Request) -> Result<Reply> {
        let datacenter = request.routed().datacenter().to_owned();
        let servers = self
            .servers_of(&datacenter)
            .inspect_err(|_| log_no_path(&datacenter, request.name()))?;
        self.keep_local_token(&mut request)?;
        let labels = [("datacenter", datacenter.as_str())];
        if let Some(counter) = telemetry::counter(&["rpc.cross-dc"], &labels) {
            counter.incr();
        }
        let mut last = Error::new(structs::DATACENTER_UNREACHABLE);
        for server in servers {
            let error = match self.peers.call(server, &request).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            last = error.relayed();
            log::error!(
                target: "agent.server.rpc",
                "RPC failed to server in DC: server={server} datacenter={datacenter} method={} error=\"{last}\"",
                request.name()
            );
            let elsewhere = match error {
                CallError::Unreachable(_) => true,
                CallError::Broken(_) => request.class() == Class::Read,
                CallError::Remote(_) => return Err(last),
            };
            self.next_turn();
            if !elsewhere {
                break;
            }
        }
        Err(last)
    }

    /// A token that counts only in this datacenter is not sent to others, which take the call for anonymous.
    fn keep_local_token(&self, request: &mut Request) -> Result<()> {
        let token = request.routed().token();
        // What the primary says of a token it says of one that counts everywhere.
        if !self.options.acl.enabled || token.is_empty() || self.asks_primary()? {
            return Ok(());
        }
        if self.valid_token(token)?.is_some_and(|token| token.local) {
            request.routed_mut().set_token(String::new());
        }
        Ok(())
    }

    /// Saves a snapshot of another datacenter.
    pub(super) async fn save_snapshot_elsewhere(
        &self,
        request: &SnapshotRequest,
    ) -> Result<(SnapshotResponse, File)> {
        let server = self.snapshot_server(request)?;
        let file = snapshot::unnamed_file(&self.options.temp_dir)
            .map_err(|e| Error::new(format!("Raft error when taking snapshot: {e}")))?;
        let saved = snapshot::save(server, self.peers.source(), request, file).await;
        saved.map_err(|e| self.snapshot_error(&e))
    }

    /// Restores a snapshot in another datacenter.
    pub(super) async fn restore_snapshot_elsewhere(
        &self,
        request: &SnapshotRequest,
        file: File,
    ) -> Result<SnapshotResponse> {
        let server = self.snapshot_server(request)?;
        let restored = snapshot::restore(server, self.peers.source(), request, file).await;
        restored.map_err(|e| self.snapshot_error(&e))
    }

    fn snapshot_server(&self, request: &SnapshotRequest) -> Result<SocketAddr> {
        let servers = self.servers_of(&request.datacenter)?;
        let first = servers.first().copied();
        first.ok_or_else(|| Error::new(structs::NO_PATH_TO_DATACENTER))
    }

    fn snapshot_error(&self, error: &CallError) -> Error {
        if !matches!(error, CallError::Remote(_)) {
            self.next_turn();
        }
        error.plain()
    }

    /// One server that is there of each other datacenter.
    pub(super) fn one_of_each_elsewhere(&self) -> BTreeMap<String, SocketAddr> {
        let mut found = BTreeMap::new();
        for server in self.wan_servers() {
            if server.is_alive() && self.is_elsewhere(&server.datacenter) {
                found.insert(server.datacenter, server.rpc);
            }
        }
        found
    }

    /// Coordinates of the servers of each datacenter, as far as they are known.
    pub(super) fn wan_coordinates(&self) -> BTreeMap<String, Vec<Coordinate>> {
        let mut datacenters: BTreeMap<String, Vec<Coordinate>> = BTreeMap::new();
        let Some(wan) = &self.pools.wan else {
            return datacenters;
        };
        let own = wan.local();
        for server in self.wan_servers() {
            let is_own = own.as_ref().is_some_and(|own| own.name == server.name);
            let coord = match is_own {
                true => Some(wan.coordinate()),
                false => wan.coordinate_of(&server.name),
            };
            let node = server.node_name().to_owned();
            let list = datacenters.entry(server.datacenter).or_default();
            list.extend(coord.map(|coord| Coordinate {
                node,
                segment: String::new(),
                coord: Some(coord),
            }));
        }
        datacenters
    }

    /// All datacenters, this one first, then by distance.
    pub(super) fn datacenters(&self) -> Vec<String> {
        let here = &self.options.datacenter;
        let own = self.pools.wan.as_ref().map(GossipHandle::coordinate);
        let mut known = self.wan_coordinates();
        known.remove(here);
        let mut found = vec![here.clone()];
        found.extend(nearest_first(own.as_ref(), known));
        found
    }
}

/// Datacenters by the median distance of their servers; those without coordinates last, equals by name.
fn nearest_first(
    from: Option<&Position>,
    datacenters: BTreeMap<String, Vec<Coordinate>>,
) -> Vec<String> {
    let distance = |servers: &[Coordinate]| {
        let positions = servers.iter().filter_map(|c| c.coord.as_ref());
        let mut seconds: Vec<f64> = positions
            .filter_map(|to| Some(rtt::distance(from?, to)))
            .collect();
        sorted::sort_by(&mut seconds, f64::total_cmp);
        seconds
            .get(seconds.len() / 2)
            .copied()
            .unwrap_or(f64::INFINITY)
    };
    let mut found: Vec<(f64, String)> = datacenters
        .into_iter()
        .map(|(name, servers)| (distance(&servers), name))
        .collect();
    sorted::sort_by(&mut found, |a, b| a.0.total_cmp(&b.0));
    found.into_iter().map(|(_, name)| name).collect()
}

fn log_no_path(datacenter: &str, method: &str) {
    let datacenter: Cow<'_, str> = match datacenter.len() {
        0..=64 => datacenter.into(),
        _ => "(a long name)".into(),
    };
    log::warn!(
        target: "agent.server.rpc",
        "RPC request for DC is currently failing as no path was found: datacenter={datacenter} method={method}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64) -> Position {
        Position {
            vec: Some(vec![x, 0.0]),
            error: 1.5,
            adjustment: 0.0,
            height: 0.0,
        }
    }

    #[test]
    fn datacenters_come_by_their_median_distance() {
        let servers = |places: &[f64]| -> Vec<Coordinate> {
            let coordinate = |x: &f64| Coordinate {
                node: "s".to_owned(),
                segment: String::new(),
                coord: Some(at(*x)),
            };
            places.iter().map(coordinate).collect()
        };
        let known = BTreeMap::from([
            ("a-unknown".to_owned(), servers(&[])),
            // One server is near by: the median counts.
            ("far".to_owned(), servers(&[0.001, 0.3, 0.4])),
            ("near".to_owned(), servers(&[0.5, 0.02, 0.01])),
            ("z-unknown".to_owned(), servers(&[])),
        ]);
        let from = at(0.0);
        let sorted = nearest_first(Some(&from), known.clone());
        assert_eq!(sorted, ["near", "far", "a-unknown", "z-unknown"]);
        let unsorted = nearest_first(None, known);
        assert_eq!(unsorted, ["a-unknown", "far", "near", "z-unknown"]);
    }
}
