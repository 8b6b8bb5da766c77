//! The servers that a client agent knows: one list, whose front serves every call.
//!
//! Holds true: a server that failed goes to the end; from time to time the list is shuffled, so that the
//! clients of a datacenter stay spread over its servers, and costs at most one ping then.
//! Leaves to others: who the servers are (gossip), calling them (`net`), trying again (`forward`).
//! Source: `docs/reference/rpc.md` section 9.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Servers kept at most.
const MAX_SERVERS: usize = 1024;
/// Shortest time between two shuffles, before the random part.
const REBALANCE: Duration = Duration::from_secs(120);
/// Longest random part of it.
const REBALANCE_JITTER: Duration = Duration::from_secs(60);
/// New connections per second that each server shall see from all clients together, at most.
const CONNECTIONS_PER_SECOND: f64 = 64.0;

/// A server as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Node name.
    pub name: String,
    /// Where its RPC port is.
    pub address: SocketAddr,
}

/// The servers of the datacenter.
#[derive(Default)]
pub struct Servers(Mutex<Vec<Known>>);

impl Servers {
    /// Takes in a server, or its new address. A new one gets a random place, so that clients that start
    /// together do not all begin with the same one. The address that is no longer right, if it has moved.
    pub fn put(&self, name: &str, address: SocketAddr) -> Option<SocketAddr> {
        let mut list = self.lock();
        if let Some(known) = list.iter_mut().find(|s| s.name == name) {
            let old = std::mem::replace(&mut known.address, address);
            return Some(old).filter(|old| *old != address);
        }
        if list.len() >= MAX_SERVERS {
            log::warn!(
                target: "agent.client",
                "adding server by name declined: {MAX_SERVERS} servers are known already: server={name}"
            );
            return None;
        }
        let place = fastrand::usize(..=list.len());
        let name = name.to_owned();
        list.insert(place, Known { name, address });
        None
    }

    /// Whether a server of this name is known.
    pub fn knows(&self, name: &str) -> bool {
        self.lock().iter().any(|s| s.name == name)
    }

    /// Forgets all servers but those of these names; the forgotten ones.
    pub fn keep(&self, names: &[String]) -> Vec<Known> {
        let mut list = self.lock();
        let (kept, gone) = std::mem::take(&mut *list)
            .into_iter()
            .partition(|s| names.contains(&s.name));
        *list = kept;
        gone
    }

    /// The server that calls go to.
    pub fn front(&self) -> Option<Known> {
        self.lock().first().cloned()
    }

    /// A call to this server failed: the next one goes to another.
    pub fn failed(&self, address: SocketAddr) {
        let mut list = self.lock();
        if list.first().is_some_and(|s| s.address == address) {
            list.rotate_left(1);
        }
    }

    /// How many servers there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// How long to use the front in a pool of `members`: longer when many clients share few servers.
    pub fn rebalance_interval(&self, members: usize) -> Duration {
        let servers = self.len().max(1) as f64;
        let spread = members as f64 / (servers * CONNECTIONS_PER_SECOND);
        let least = REBALANCE + REBALANCE_JITTER.mul_f64(fastrand::f64());
        least.max(Duration::from_secs_f64(spread))
    }

    /// Shuffles the servers and puts one that answers in front. When none does the order stays new: the next
    /// call tries anyway.
    pub async fn rebalance<F: Future<Output = bool>>(&self, ping: impl Fn(SocketAddr) -> F) {
        let count = {
            let mut list = self.lock();
            fastrand::shuffle(&mut list);
            list.len()
        };
        if count < 2 {
            return;
        }
        for _ in 0..count {
            let Some(front) = self.front() else { return };
            if ping(front.address).await {
                log::debug!(
                    target: "agent.router.manager",
                    "Rebalanced servers, new active server: number_of_servers={count} active_server={}",
                    front.name
                );
                return;
            }
            log::debug!(
                target: "agent.router.manager",
                "pinging server failed: server={}", front.name
            );
            self.failed(front.address);
        }
        log::debug!(
            target: "agent.router.manager",
            "No healthy servers during rebalance, aborting"
        );
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn address(n: u8) -> SocketAddr {
        ([127, 0, 0, n], 8300).into()
    }

    fn servers(count: u8) -> Servers {
        let servers = Servers::default();
        for n in 1..=count {
            servers.put(&format!("s{n}"), address(n));
        }
        servers
    }

    #[test]
    fn a_failed_server_goes_to_the_end() {
        let servers = servers(3);
        let first = servers.front().unwrap();
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let front = servers.front().unwrap();
            seen.insert(front.address);
            servers.failed(front.address);
            // One that is not in front has been moved already.
            servers.failed(front.address);
        }
        assert_eq!(seen.len(), 3);
        assert_eq!(servers.front(), Some(first));
    }

    #[test]
    fn members_come_move_and_go() {
        let servers = servers(2);
        assert_eq!(servers.put("s1", address(1)), None);
        assert_eq!(servers.put("s1", address(9)), Some(address(1)));
        assert!(servers.knows("s1") && !servers.knows("s3"));
        assert_eq!(servers.len(), 2);
        let gone = servers.keep(&["s2".to_owned()]);
        assert_eq!(gone.len(), 1);
        assert_eq!((gone[0].name.as_str(), gone[0].address), ("s1", address(9)));
        assert_eq!(servers.keep(&[]).len(), 1);
        assert_eq!((servers.len(), servers.front()), (0, None));
    }

    #[test]
    fn many_clients_with_few_servers_move_less_often() {
        let interval = |servers_: u8, members| servers(servers_).rebalance_interval(members);
        for _ in 0..100 {
            let few = interval(3, 10);
            assert!((120..=180).contains(&few.as_secs()), "{few:?}");
        }
        assert_eq!(interval(5, 100_000).as_secs(), 100_000 / (5 * 64));
    }

    #[test]
    fn rebalancing_ends_at_a_server_that_answers() {
        let servers = servers(5);
        for alive in 1..=5 {
            crate::net::block_on(servers.rebalance(|to| async move { to == address(alive) }));
            assert_eq!(servers.front().unwrap().address, address(alive));
        }
        crate::net::block_on(servers.rebalance(|_| async { false }));
        assert_eq!(servers.len(), 5);
    }

    #[test]
    fn clients_start_with_different_servers() {
        let fronts: HashSet<_> = (0..200)
            .map(|_| servers(3).front().unwrap().address)
            .collect();
        assert_eq!(fronts.len(), 3);
    }
}
