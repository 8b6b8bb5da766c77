//! `keygen`: a new key for the encryption of gossip.

use super::command::{Command, Invocation, OK, say};
use super::simple;
use crate::config::flags::FlagSet;

/// Bytes of a key: the longest that gossip takes.
const KEY_BYTES: usize = 32;

pub const COMMAND: Command = simple(
    "keygen",
    "Makes a new encryption key",
    "Usage: consul keygen

  Makes a random key, in base64, for the setting 'encrypt' that protects the gossip between agents.",
    FlagSet::new,
    run,
);

fn run(call: &Invocation) -> u8 {
    let mut key = [0; KEY_BYTES];
    if let Err(why) = getrandom::fill(&mut key) {
        return call.fail(format!("Error reading random data: {why}"));
    }
    say(crate::codec::base64::encode(&key));
    OK
}
