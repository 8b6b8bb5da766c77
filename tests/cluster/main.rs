//! Agents that speak to each other over the wire, ours and the real Consul's.

mod beside_consul;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod datacenter;
// The comparison with Consul looks at more of a message than is asked for here.
#[allow(dead_code)]
#[path = "../compat/dns.rs"]
mod dns;
mod faults;
mod federation;
mod fleet;
mod gossip;
mod hostile;
mod hosts;
mod losses;
mod mixed;
mod rounds;
mod rpc;
mod servers;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut tests = rpc::tests();
    tests.extend(client::tests());
    tests.extend(mixed::tests());
    tests.extend(federation::tests());
    tests.extend(servers::tests());
    tests.extend(rounds::tests());
    tests.extend(losses::tests());
    tests.extend(beside_consul::tests());
    tests.extend(gossip::tests());
    tests.extend(faults::tests());
    tests.extend(hostile::tests());
    common::harness::main(tests)
}
