//! Joining a pool: once, or again and again until somebody answers.
//!
//! Holds true: an agent that starts together with the others finds them within moments, one whose others
//! are away for long asks only every `retry_interval`, and one that has found somebody asks no more.
//! Source: `docs/reference/config.md` section 21.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::resolve::resolve;
use super::{Area, discover};
use crate::config;
use crate::drive::{self, gossip::GossipHandle};
use crate::structs::go::GoDuration;
use crate::structs::{Error, MemberStatus, Result, error_list};

/// Pause between the first attempts, and for how long they are made.
const QUICK: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(6));
/// Pause between those that follow, each twice the one before until `retry_interval`.
const SLOWER: Duration = Duration::from_secs(1);

/// A pool to join members into.
#[derive(Clone)]
pub struct Joiner {
    /// Which one.
    pub area: Area,
    /// The member.
    pub pool: GossipHandle,
    /// Port of addresses without one.
    pub port: u16,
}

impl Joiner {
    /// Joins through addresses: how many were reached.
    ///
    /// # Errors
    /// Consul's error list when there were none.
    pub async fn join(&self, addresses: &[String]) -> Result<usize> {
        let word = self.area.word();
        match self.area {
            Area::Lan => {
                log::info!(target: "agent", lan_addresses:? = addresses; "({word}) joining");
            }
            Area::Wan => {
                log::info!(target: "agent", wan_addresses:? = addresses; "({word}) joining");
            }
        }
        let joined = self.join_quietly(addresses).await;
        match &joined {
            Ok(reached) => {
                log::info!(target: "agent", number_of_nodes = *reached; "({word}) joined");
            }
            Err(error) => {
                log::warn!(target: "agent", number_of_nodes = 0, error = error.text(); "({word}) couldn't join");
            }
        }
        joined
    }

    /// As [`Joiner::join`], without a word.
    ///
    /// # Errors
    /// Consul's error list when nobody was reached.
    pub async fn join_quietly(&self, addresses: &[String]) -> Result<usize> {
        super::join(&self.pool, addresses, self.port).await
    }

    async fn resolve(&self, addresses: &[String]) -> (Vec<SocketAddr>, Vec<String>) {
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for address in addresses {
            match resolve(address, self.port).await {
                Ok(addrs) => found.extend(addrs),
                Err(why) => errors.push(why),
            }
        }
        (found, errors)
    }

    /// Lets this member be found in the ways by which it looks for others, until dropped.
    pub async fn announce(&self, join: &config::Join) {
        if let Some(own) = self.pool.local() {
            discover::announce(&join.retry_join, &own.name, own.addr).await;
        }
    }

    /// Joins through `retry_join`, until somebody was reached: how many were.
    ///
    /// # Errors
    /// When it was tried for as long as `retry_max` allows.
    pub async fn retry(&self, join: &config::Join) -> Result<usize> {
        let word = self.area.word();
        log::info!(target: "agent", cluster = word, discovery_methods = discover::METHODS;
            "Retry join is supported for the following discovery methods");
        log::info!(target: "agent", cluster = word; "Joining cluster...");
        let start = drive::now();
        let mut pauses = Pauses::new(join.retry_interval);
        let mut said = String::new();
        loop {
            let error = match self.attempt(&join.retry_join).await {
                Ok(reached) => {
                    log::info!(target: "agent", cluster = word, num_agents = reached;
                        "Join cluster completed. Synced with initial agents");
                    return Ok(reached);
                }
                Err(error) => error,
            };
            let (tried, interval) = (start.elapsed(), join.retry_interval);
            let most = u32::try_from(join.retry_max).unwrap_or(u32::MAX);
            if most > 0 && tried >= interval.saturating_mul(most) {
                return Err(Error::new(format!(
                    "agent: max join {word} retry exhausted, exiting"
                )));
            }
            // The quick attempts are told of once.
            if error.text() != said || pauses.is_slow() {
                error.text().clone_into(&mut said);
                log::warn!(target: "agent", cluster = word, retry_interval = GoDuration::from(interval).to_string().as_str(),
                    error = error.text(); "Join cluster failed, will retry");
            }
            drive::sleep(pauses.next(tried)).await;
        }
    }

    /// One attempt at all addresses that are not our own.
    async fn attempt(&self, addresses: &[String]) -> Result<usize> {
        let own = self.pool.local().map(|own| own.addr);
        let own_ip = own.map_or(Ipv4Addr::UNSPECIFIED.into(), |own| own.ip());
        let mut plain = Vec::new();
        let mut discovering = false;
        for address in addresses {
            if !discover::is_provider(address) {
                plain.push(address.clone());
                continue;
            }
            discovering = true;
            match discover::addresses(address, own_ip).await {
                Ok(found) => plain.extend(found),
                Err(why) => {
                    log::error!(target: "agent", cluster = self.area.word(), address = address.as_str(), error = why.as_str();
                        "Cannot discover address");
                }
            }
        }
        if plain.is_empty() {
            return Err(Error::new("No servers to join"));
        }
        let (mut found, mut errors) = self.resolve(&plain).await;
        // Who lists all servers of a cluster lists itself, and whoever finds itself has found nobody.
        let only_own = !found.is_empty() && found.iter().all(|addr| Some(*addr) == own);
        if only_own && errors.is_empty() && !discovering {
            return Ok(1);
        }
        found.retain(|addr| Some(*addr) != own);
        if found.is_empty() && errors.is_empty() {
            return Err(Error::new("No servers to join"));
        }
        let members = self.pool.members();
        let is_there = |addr: &SocketAddr| {
            let alive = |m: &crate::gossip::Member| m.status == MemberStatus::Alive;
            members.iter().any(|m| m.addr == *addr && alive(m))
        };
        let there = found.iter().filter(|addr| is_there(addr)).count();
        if there > 0 {
            // They have been quicker.
            found.retain(|addr| !is_there(addr));
        }
        let (reached, failed) = self.pool.join(found).await;
        errors.extend(
            failed
                .iter()
                .map(|(addr, why)| format!("Failed to join {}: {why}", addr.ip())),
        );
        match error_list(&errors) {
            Some(error) if reached + there == 0 => Err(error),
            _ => Ok(reached + there),
        }
    }
}

/// The pauses between attempts.
struct Pauses {
    most: Duration,
    next: Duration,
}

impl Pauses {
    fn new(most: Duration) -> Self {
        Self {
            most,
            next: SLOWER.min(most),
        }
    }

    /// Whether the pauses have reached their full length.
    fn is_slow(&self) -> bool {
        self.next >= self.most
    }

    /// The pause after having tried for so long.
    fn next(&mut self, tried: Duration) -> Duration {
        let (quick, until) = QUICK;
        if tried < until {
            return quick.min(self.most);
        }
        let pause = self.next;
        self.next = (pause * 2).min(self.most);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_quick_at_first_and_then_rare() {
        let mut pauses = Pauses::new(Duration::from_secs(30));
        let mut tried = Duration::ZERO;
        let mut attempts = 0;
        while tried < Duration::from_secs(6) {
            let pause = pauses.next(tried);
            assert!(pause <= Duration::from_millis(300));
            tried += pause;
            attempts += 1;
        }
        assert_eq!(attempts, 20);
        let seconds: Vec<u64> = (0..7).map(|_| pauses.next(tried).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        assert!(pauses.is_slow());
        let mut short = Pauses::new(Duration::from_millis(50));
        assert_eq!(short.next(Duration::ZERO), Duration::from_millis(50));
        assert_eq!(short.next(tried), Duration::from_millis(50));
    }
}
