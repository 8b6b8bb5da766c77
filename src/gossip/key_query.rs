//! Changing the keyrings of all members: one query each for install, use, remove and list.
//!
//! Holds true: the file is to be rewritten after each change; lists are cut to what an answer may hold.
//! Source: `docs/reference/gossip.md` sections 9 and 12.4.

use std::time::Duration;

use super::codec::serf::{KeyRequest, KeyResponse, SerfMessage};
use super::output::{KeyOutcome, Output};
use super::query::{Purpose, QueryOptions};
use super::{Error, Pool};
use crate::codec::base64;
use crate::structs::go::Bytes;

/// What to do with all keyrings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOperation {
    /// Add a key to decrypt with.
    Install(Vec<u8>),
    /// Encrypt with this key from now on.
    Use(Vec<u8>),
    /// Forget a key.
    Remove(Vec<u8>),
    /// Say which keys there are.
    List,
}

impl KeyOutcome {
    /// Counts an answer.
    pub(super) fn add(&mut self, from: &str, payload: &[u8]) {
        self.responses += 1;
        let answer = match SerfMessage::decode(payload) {
            Ok(SerfMessage::KeyResponse(answer)) => answer,
            Ok(_) => KeyResponse {
                message: "Invalid key query response type".to_owned(),
                ..KeyResponse::default()
            },
            Err(e) => KeyResponse {
                message: format!("Failed to decode key query response: {e}"),
                ..KeyResponse::default()
            },
        };
        if !answer.result {
            self.errors += 1;
        }
        if !answer.result || !answer.message.is_empty() {
            self.messages.insert(from.to_owned(), answer.message);
        }
        for key in answer.keys.into_iter().flatten() {
            *self.keys.entry(key).or_default() += 1;
        }
        if !answer.primary_key.is_empty() {
            *self.primary_keys.entry(answer.primary_key).or_default() += 1;
        }
    }
}

impl Pool {
    /// Asks all members to change or list their keyrings; `Event::Keys` comes with the number returned.
    ///
    /// # Errors
    /// Those of a query.
    pub fn key_operation(
        &mut self,
        now: Duration,
        operation: KeyOperation,
        relay_factor: u8,
    ) -> Result<u32, Error> {
        self.input(now);
        let (name, key) = match operation {
            KeyOperation::Install(key) => ("_serf_install-key", key),
            KeyOperation::Use(key) => ("_serf_use-key", key),
            KeyOperation::Remove(key) => ("_serf_remove-key", key),
            KeyOperation::List => ("_serf_list-keys", Vec::new()),
        };
        let key = Some(Bytes(key)).filter(|key| !key.is_empty());
        let payload = SerfMessage::KeyRequest(KeyRequest { key }).encode()?;
        let options = QueryOptions {
            relay_factor,
            ..QueryOptions::default()
        };
        let outcome = KeyOutcome {
            nodes: self.alive(),
            ..KeyOutcome::default()
        };
        self.ask(name, &payload, &options, Purpose::Keys(outcome))
    }

    /// Does what a query about keys asks for.
    pub(super) fn key_answer(
        &mut self,
        operation: &str,
        payload: &[u8],
        query: (u64, u32),
    ) -> SerfMessage {
        let failed = |message: &str| {
            SerfMessage::KeyResponse(KeyResponse {
                message: message.to_owned(),
                ..KeyResponse::default()
            })
        };
        let listing = operation == "list-keys";
        let Some(keyring) = &mut self.envelope.keyring else {
            return failed(if listing {
                "Keyring is empty (encryption not enabled)"
            } else {
                "No keyring to modify (encryption not enabled)"
            });
        };
        if listing {
            return self.list_keys(query);
        }
        let request = match SerfMessage::decode(payload) {
            Ok(SerfMessage::KeyRequest(request)) => request,
            Ok(_) => return failed("Invalid key request"),
            Err(e) => return failed(&e.to_string()),
        };
        let key = request.key.unwrap_or_default();
        let result = match operation {
            "install-key" => keyring.install(&key),
            "use-key" => keyring.use_key(&key),
            _ => keyring.remove(&key),
        };
        match result {
            Ok(()) => {
                let keys = keyring.keys().map(<[u8]>::to_vec).collect();
                self.output(Output::Keyring(keys));
                SerfMessage::KeyResponse(KeyResponse {
                    result: true,
                    ..KeyResponse::default()
                })
            }
            Err(e) => {
                log::error!(target: &self.config.loggers[1], "serf: Failed to {operation}: {e}");
                failed(&e.to_string())
            }
        }
    }

    /// As many keys as an answer may hold.
    fn list_keys(&self, query: (u64, u32)) -> SerfMessage {
        let Some(keyring) = &self.envelope.keyring else {
            return SerfMessage::KeyResponse(KeyResponse::default());
        };
        let keys: Vec<String> = keyring.keys().map(base64::encode).collect();
        let all = keys.len();
        let mut response = KeyResponse {
            result: true,
            message: String::new(),
            keys: Some(keys),
            primary_key: base64::encode(keyring.primary().bytes()),
        };
        for most in (1..=all).rev() {
            if most < all {
                response.message =
                    format!("truncated key list response, showing first {most} of {all} keys");
                response.keys.get_or_insert_default().truncate(most);
            }
            let message = SerfMessage::KeyResponse(response.clone());
            let bytes = message.encode();
            if bytes.is_ok_and(|b| self.encode_answer(query, 0, Some(b)).is_ok()) {
                break;
            }
        }
        SerfMessage::KeyResponse(response)
    }

    /// The keys of this member, the primary first.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        let keyring = self.envelope.keyring.iter();
        keyring
            .flat_map(|ring| ring.keys().map(<[u8]>::to_vec))
            .collect()
    }
}
