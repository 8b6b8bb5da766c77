//! What kind of world a seed makes: its size, its faults, its servers' settings.
//!
//! Each kind of fault is drawn separately, so that some worlds are nearly calm and some have everything:
//! a fault that always comes with all others hides what it alone would find.

use std::time::Duration;

use consul_lite::raft::{Config, ServerId};
use fastrand::Rng;

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What may go wrong, or be done by an operator, while the cluster works.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Crash,
    CrashMost,
    Cut,
    SlowDisk,
    FullDisk,
    BadReads,
    Compaction,
    Membership,
    Transfer,
}

#[derive(Clone, Debug)]
pub struct Plan {
    /// Voters at the start.
    pub voters: usize,
    /// Further servers that may be added.
    pub spares: usize,
    /// How long faults last.
    pub safety: Duration,
    /// The heartbeat and election timeout; the others follow from it.
    pub timeout: Duration,
    /// Servers crash just after they gave a vote or won an election, and come back soon.
    pub storm: bool,
    pub loss: f64,
    pub duplication: f64,
    /// Share of messages that take up to seconds.
    pub stragglers: f64,
    pub latency: Duration,
    pub cuts: bool,
    pub crashes: bool,
    /// Whether a crash may keep writes that were not synced.
    pub keeps_unsynced: bool,
    /// How much faster or slower a clock may run.
    pub drift: f64,
    pub fsync: Duration,
    pub slow_disk: bool,
    pub full_disk: bool,
    pub bad_reads: bool,
    pub compaction: bool,
    pub membership: bool,
    pub transfers: bool,
    pub clients: usize,
    pub pre_vote: bool,
    /// So many of the voters, the last ones, are older than pre-votes.
    pub old: usize,
    pub max_append_entries: usize,
    pub max_append_bytes: usize,
    pub max_inflight: usize,
    pub max_tail_bytes: usize,
}

impl Plan {
    pub fn draw(rng: &mut Rng) -> Plan {
        let half = |rng: &mut Rng| rng.bool();
        let some = |rng: &mut Rng, most: f64| if rng.bool() { rng.f64() * most } else { 0.0 };
        let pick = |rng: &mut Rng, of: &[usize]| of[rng.usize(..of.len())];
        let storm = rng.u8(..3) == 0;
        let membership = rng.u8(..3) == 0;
        let timeout = pick(rng, &[1_000, 1_000, 400, 200]) as u64;
        let voters = pick(rng, &[1, 3, 3, 3, 5, 5, 7]);
        let old = if rng.u8(..4) == 0 {
            rng.usize(..=voters)
        } else {
            0
        };
        Plan {
            voters,
            old,
            spares: if membership { rng.usize(1..3) } else { 0 },
            safety: ms(rng.u64(4_000..20_000)),
            timeout: ms(timeout),
            storm,
            loss: some(rng, if storm { 0.4 } else { 0.2 }),
            duplication: some(rng, 0.2),
            stragglers: some(rng, if storm { 0.2 } else { 0.05 }),
            latency: ms(rng.u64(1..timeout / if storm { 5 } else { 25 })),
            cuts: half(rng),
            crashes: half(rng),
            keeps_unsynced: half(rng),
            drift: some(rng, 0.15),
            fsync: ms(rng.u64(1..timeout / 30)),
            slow_disk: half(rng),
            full_disk: half(rng),
            bad_reads: rng.u8(..4) == 0,
            compaction: half(rng),
            membership,
            transfers: half(rng),
            clients: rng.usize(1..5),
            pre_vote: rng.u8(..4) > 0,
            max_append_entries: pick(rng, &[1, 4, 64, 64]),
            max_append_bytes: pick(rng, &[400, 1 << 20]),
            max_inflight: pick(rng, &[1, 4, 128]),
            max_tail_bytes: pick(rng, &[0, 1_000, 1 << 20]),
        }
    }

    /// A world of some voters with Consul's timings at `raft_multiplier` 1, in which nothing goes wrong.
    pub fn calm(voters: usize) -> Plan {
        Plan {
            voters,
            old: 0,
            spares: 0,
            safety: Duration::ZERO,
            timeout: ms(1_000),
            storm: false,
            loss: 0.0,
            duplication: 0.0,
            stragglers: 0.0,
            latency: ms(2),
            cuts: false,
            crashes: false,
            keeps_unsynced: true,
            drift: 0.0,
            fsync: ms(5),
            slow_disk: false,
            full_disk: false,
            bad_reads: false,
            compaction: false,
            membership: false,
            transfers: false,
            clients: 4,
            pre_vote: true,
            max_append_entries: 64,
            max_append_bytes: 1 << 20,
            max_inflight: 128,
            max_tail_bytes: 1 << 20,
        }
    }

    /// Whether a server knows nothing of pre-votes.
    pub fn is_old(&self, server: usize) -> bool {
        server < self.voters && server + self.old >= self.voters
    }

    /// The kinds of fault of this world.
    pub fn faults(&self) -> Vec<Fault> {
        let kinds = [
            (self.crashes, Fault::Crash),
            (self.crashes, Fault::CrashMost),
            (self.cuts, Fault::Cut),
            (self.slow_disk, Fault::SlowDisk),
            (self.full_disk, Fault::FullDisk),
            (self.bad_reads, Fault::BadReads),
            (self.compaction, Fault::Compaction),
            (self.membership, Fault::Membership),
            (self.transfers, Fault::Transfer),
        ];
        let chosen = kinds.into_iter().filter(|(on, _)| *on);
        chosen.map(|(_, kind)| kind).collect()
    }

    pub fn config(&self, server: usize, id: ServerId, seed: u64) -> Config {
        Config {
            heartbeat_timeout: self.timeout,
            election_timeout: self.timeout,
            lease_timeout: self.timeout / 2,
            commit_timeout: self.timeout / 20,
            rpc_timeout: self.timeout * 2,
            max_append_entries: self.max_append_entries,
            max_append_bytes: self.max_append_bytes,
            max_inflight: self.max_inflight,
            max_tail_bytes: self.max_tail_bytes,
            max_apply_bytes: 2_000,
            pre_vote: self.pre_vote && !self.is_old(server),
            ..Config::new(id, 1, seed)
        }
    }
}
