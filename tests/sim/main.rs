//! Simulations on virtual time: everything that happens follows from a seed.
//!
//! `SIM_SEEDS=n` runs that many seeds, `SIM_SEED=n` replays one of them step by step, printing each.

mod gossip;
mod raft;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
