//! Recorded bytes of a real Consul 1.8.7 against our codecs: every RPC message and every FSM command.
//!
//! `vectors/rpc/METHOD.{req,resp}.bin` hold header and body, `vectors/raft/fsm-KIND.bin` a log entry's
//! data (one type byte, then the command); the JSON file beside each is what an independent decoder
//! says about it. `vectors/gossip` holds datagrams and streams of gossip. Go writes the keys of its maps
//! in random order, so those are put in order first.

mod allocated;
mod bodies;
mod every_file;
mod expected;
mod gossip;
mod hostile;
mod mutations;
mod raft_messages;
mod refusals;
mod through_structs;
mod through_values;
mod vectors;
