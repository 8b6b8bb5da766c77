//! Simulations on virtual time: everything that happens follows from a seed.
//!
//! `SIM_SEEDS=n` runs that many seeds, `SIM_SEED=n` replays one of them step by step, printing each.

mod raft;
