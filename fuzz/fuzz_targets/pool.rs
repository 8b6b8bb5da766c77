//! A whole gossip pool: packets, streams and answers from anybody, with time passing between them.

#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use consul_lite::gossip::{Config, Output, Pool};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let addr = SocketAddr::from(([10, 0, 0, 1], 8301));
    let config = Config::lan("us", addr, Default::default());
    let mut pool = Pool::new(Duration::ZERO, config).expect("a sound configuration");
    let mut now = Duration::ZERO;
    let mut rest = bytes;
    let mut dialed = Vec::new();
    // Each input: what it is, how much time has passed, how long it is.
    while let Some(([what, passed, high, low], after)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (input, after) = after.split_at(length);
        rest = after;
        now += Duration::from_millis(u64::from(*passed) * 20);
        let from = SocketAddr::from(([10, 0, 0, *what], 8301));
        match what % 4 {
            0 | 1 => pool.handle_packet(now, from, input),
            2 => drop(pool.handle_stream(now, from, input)),
            _ => {
                if let Some(stream) = dialed.pop() {
                    pool.stream_answered(now, stream, input);
                }
            }
        }
        pool.tick(now);
        while let Some(output) = pool.poll() {
            if let Output::Dial { stream, .. } = output {
                dialed.push(stream);
            }
        }
    }
});
