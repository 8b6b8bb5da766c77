//! How a member of a pool behaves: Consul's values for LAN and WAN, and memberlist's for one machine.
//!
//! Source: `docs/reference/gossip.md` section 8.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::codec::message::Versions;
use super::codec::tags::Tags;
use super::merge_filter::MergeFilter;
use super::snapshot::Replayed;
use super::{Keyring, codec::crypt::NONCE};

/// The versions that Consul 1.8 announces.
pub const CONSUL_VERSIONS: Versions = [1, 5, 2, 2, 5, 4];

/// Everything that a member needs to know beforehand. All members of a pool should agree on the timings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Node name; on the WAN pool `node.datacenter`.
    pub name: String,
    /// Where others reach this member, over UDP and TCP.
    pub addr: SocketAddr,
    /// What others are to know about this member.
    pub tags: Tags,
    /// The protocols announced.
    pub versions: Versions,
    /// Names of the loggers of the two layers.
    pub loggers: [String; 2],

    /// A stream is given up after this.
    pub tcp_timeout: Duration,
    /// How many members are asked to probe one that does not answer.
    pub indirect_checks: usize,
    /// News are passed on this many times the digits of the pool's size.
    pub retransmit_mult: u32,
    /// A suspect is dead after this many probe intervals times the digits of the pool's size.
    pub suspicion_mult: u32,
    /// How many times longer that may take while few agree.
    pub suspicion_max_timeout_mult: u32,
    /// Time between two exchanges of everything.
    pub push_pull_interval: Duration,
    /// Time between two probes.
    pub probe_interval: Duration,
    /// How long a direct answer is waited for.
    pub probe_timeout: Duration,
    /// The health score stays below this.
    pub awareness_max: u32,
    /// How many members are told at a time.
    pub gossip_nodes: usize,
    /// Time between two rounds of telling.
    pub gossip_interval: Duration,
    /// Dead members are told for this long, so that they learn of it when they were not.
    pub gossip_to_the_dead: Duration,
    /// A dead member's name may be taken over by another address after this; never when zero.
    pub dead_node_reclaim: Duration,
    /// Probe over TCP too when UDP gets no answer.
    pub tcp_pings: bool,

    /// How long a leaving member waits for its message to spread.
    pub broadcast_timeout: Duration,
    /// How long it then still stays.
    pub leave_propagate_delay: Duration,
    /// How many times of events and of queries are remembered.
    pub buffer: u64,
    /// Time between two looks for members to forget.
    pub reap_interval: Duration,
    /// Intents about unknown members are remembered for this long.
    pub recent_intent_timeout: Duration,
    /// Time between two attempts to reach a failed member.
    pub reconnect_interval: Duration,
    /// A failed member is forgotten after this.
    pub reconnect_timeout: Duration,
    /// A member that left is forgotten after this.
    pub tombstone_timeout: Duration,
    /// A query waits this many gossip intervals times the digits of the pool's size.
    pub query_timeout_mult: u32,
    /// Most bytes of a query.
    pub query_size_limit: usize,
    /// Most bytes of an answer.
    pub query_response_size_limit: usize,
    /// Most bytes of a user event.
    pub user_event_size_limit: usize,
    /// A queue of Serf's holds at least this many messages.
    pub min_queue_depth: usize,
    /// Ask the others who is right when somebody else has our name.
    pub conflict_resolution: bool,
    /// The snapshot's members are joined again even after leaving.
    pub rejoin_after_leave: bool,

    /// The name of the pool in every packet; empty in Consul.
    pub label: Vec<u8>,
    /// The keys, when messages are encrypted.
    pub keyring: Option<Keyring>,
    /// Refuse plaintext when there are keys.
    pub verify_incoming: bool,
    /// Encrypt what is sent when there are keys.
    pub verify_outgoing: bool,
    /// Compress what is sent.
    pub compress: bool,
    /// Who may be in the pool.
    pub filter: MergeFilter,
    /// The blocks that members' addresses must be in, as first address and number of leading bits; anywhere when
    /// empty.
    pub allowed: Vec<(IpAddr, u8)>,

    /// What a former process of this member knew.
    pub previous: Replayed,
    /// Seed of all that is random; should differ from member to member.
    pub seed: u64,
    /// Where nonces begin: must be drawn from the system's randomness for each process.
    pub nonce: [u8; NONCE],
}

impl Config {
    /// Consul's LAN pool.
    pub fn lan(name: &str, addr: SocketAddr, tags: Tags) -> Self {
        let ms = Duration::from_millis;
        let s = Duration::from_secs;
        Self {
            name: name.to_owned(),
            addr,
            tags,
            versions: CONSUL_VERSIONS,
            loggers: ["agent.memberlist.lan", "agent.serf.lan"].map(str::to_owned),
            tcp_timeout: s(10),
            indirect_checks: 3,
            retransmit_mult: 4,
            suspicion_mult: 4,
            suspicion_max_timeout_mult: 6,
            push_pull_interval: s(30),
            probe_interval: s(1),
            probe_timeout: ms(500),
            awareness_max: 8,
            gossip_nodes: 3,
            gossip_interval: ms(200),
            gossip_to_the_dead: s(30),
            dead_node_reclaim: s(30),
            tcp_pings: true,
            broadcast_timeout: s(5),
            leave_propagate_delay: s(3),
            buffer: 512,
            reap_interval: s(15),
            recent_intent_timeout: s(300),
            reconnect_interval: s(30),
            reconnect_timeout: s(72 * 3600),
            tombstone_timeout: s(24 * 3600),
            query_timeout_mult: 16,
            query_size_limit: 1024,
            query_response_size_limit: 1024,
            user_event_size_limit: 512,
            min_queue_depth: 4096,
            conflict_resolution: true,
            rejoin_after_leave: false,
            label: Vec::new(),
            keyring: None,
            verify_incoming: true,
            verify_outgoing: true,
            compress: true,
            filter: MergeFilter::Anybody,
            allowed: Vec::new(),
            previous: Replayed::default(),
            seed: 0,
            nonce: [0; NONCE],
        }
    }

    /// Consul's WAN pool.
    pub fn wan(name: &str, addr: SocketAddr, tags: Tags) -> Self {
        let s = Duration::from_secs;
        Self {
            loggers: ["agent.server.memberlist.wan", "agent.server.serf.wan"].map(str::to_owned),
            tcp_timeout: s(30),
            suspicion_mult: 6,
            push_pull_interval: s(60),
            probe_interval: s(5),
            probe_timeout: s(3),
            gossip_interval: Duration::from_millis(500),
            gossip_to_the_dead: s(60),
            ..Self::lan(name, addr, tags)
        }
    }

    /// Memberlist's values for members on one machine.
    pub fn local(name: &str, addr: SocketAddr, tags: Tags) -> Self {
        let ms = Duration::from_millis;
        Self {
            tcp_timeout: ms(1000),
            indirect_checks: 1,
            retransmit_mult: 2,
            suspicion_mult: 3,
            push_pull_interval: ms(15_000),
            probe_timeout: ms(200),
            gossip_interval: ms(100),
            gossip_to_the_dead: ms(15_000),
            dead_node_reclaim: ms(0),
            ..Self::lan(name, addr, tags)
        }
    }

    /// Whether members may have an address.
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|block| is_within(*block, ip))
    }
}

fn is_within((first, bits): (IpAddr, u8), ip: IpAddr) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let shift = width.saturating_sub(u32::from(bits));
        shift >= width || a >> shift == b >> shift
    };
    match (first, ip.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

/// The decimal digits of a pool's size, which many limits grow with: `ceil(log10(n + 1))`.
pub(super) fn digits(n: usize) -> u32 {
    let mut digits = 0;
    let mut power = 1;
    while power < n + 1 {
        power *= 10;
        digits += 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_outside_of_the_allowed_blocks_are_known() {
        let addr = "10.0.0.1:8301".parse().unwrap();
        let mut config = Config::lan("a", addr, Tags::new());
        assert!(config.allows("1.2.3.4".parse().unwrap()));
        config.allowed = vec![
            ("10.0.0.0".parse().unwrap(), 8),
            ("fd00::".parse().unwrap(), 16),
        ];
        for (ip, allowed) in [
            ("10.255.0.1", true),
            ("::ffff:10.0.0.9", true),
            ("11.0.0.1", false),
            ("fd00:1::2", true),
            ("fe80::1", false),
        ] {
            assert_eq!(config.allows(ip.parse().unwrap()), allowed, "{ip}");
        }
    }

    #[test]
    fn digits_are_those_of_the_logarithm() {
        for (n, wanted) in [
            (0, 0),
            (1, 1),
            (9, 1),
            (10, 2),
            (99, 2),
            (100, 3),
            (16_384, 5),
        ] {
            assert_eq!(digits(n), wanted, "{n}");
        }
    }
}
