//! A lock with several slots: a key per contender, and one that lists who holds a slot.

use std::collections::BTreeMap;

use super::Cleanup;
use super::session::Session;
use crate::cli::client::{Client, Query, Reply};
use crate::codec::{Deserialize, Serialize};
use crate::structs::DirEntry;
use crate::wire::json;
use hyper::{Method, StatusCode};

/// The flags of keys that belong to a semaphore.
const FLAGS: u64 = 0xe0f6_9a2b_aa41_4de0;
/// How long one look at a semaphore without a free slot waits for one.
const WAIT: &str = "15000ms";

/// Who holds a slot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Slots {
    #[serde(rename = "Limit")]
    limit: i64,
    #[serde(rename = "Holders")]
    holders: BTreeMap<String, bool>,
}

/// A semaphore.
pub struct Semaphore {
    prefix: String,
    limit: i64,
}

/// What the keys of a semaphore say.
struct Seen {
    index: u64,
    slots: Slots,
    /// Of the key with the slots; 0 if there is none.
    modify_index: u64,
    entry: Option<DirEntry>,
}

impl Semaphore {
    /// The semaphore of a prefix with so many slots.
    pub fn new(prefix: &str, limit: i64) -> Self {
        Self {
            prefix: prefix.trim_end_matches('/').to_owned(),
            limit,
        }
    }

    /// How many slots it has.
    pub fn limit(&self) -> i64 {
        self.limit
    }

    fn slots_key(&self) -> String {
        format!("{}/.lock", self.prefix)
    }

    fn own_key(&self, session: &Session) -> String {
        format!("{}/{}", self.prefix, session.id)
    }

    /// Reads all keys; holders whose session is gone do not count.
    async fn look(&self, client: &Client, index: u64, consistent: bool) -> Result<Seen, String> {
        let mut query: Query = vec![("recurse", String::new()), ("wait", WAIT.to_owned())];
        if index > 0 {
            query.push(("index", index.to_string()));
        }
        if consistent {
            query.push(("consistent", String::new()));
        }
        let reply = client
            .ask(Method::GET, &super::path(&self.prefix), &query, Vec::new())
            .await?;
        let entries: Vec<DirEntry> = match reply.status {
            StatusCode::OK => json::from_slice_lenient(&reply.body).map_err(|e| e.to_string())?,
            StatusCode::NOT_FOUND => Vec::new(),
            other => return Err(format!("Unexpected response code: {}", other.as_u16())),
        };
        let slots_key = self.slots_key();
        let alive = |id: &String| entries.iter().any(|e| e.session == *id);
        let entry = entries.iter().find(|e| e.key == slots_key).cloned();
        let mut slots = match &entry {
            Some(entry) if entry.flags != FLAGS => {
                return Err("Existing key does not match semaphore use".to_owned());
            }
            Some(entry) => json::from_slice_lenient::<Slots>(&entry.value)
                .map_err(|why| format!("lock decoding failed: {why}"))?,
            None => Slots {
                limit: self.limit,
                ..Slots::default()
            },
        };
        slots.holders.retain(|id, _| alive(id));
        Ok(Seen {
            index: reply.index,
            slots,
            modify_index: entry.as_ref().map_or(0, |e| e.modify_index),
            entry,
        })
    }

    pub async fn acquire(&self, client: &Client, session: &Session) -> Result<(), String> {
        let query = [
            ("acquire", session.id.clone()),
            ("flags", FLAGS.to_string()),
        ];
        let contender = client
            .ask(
                Method::PUT,
                &super::path(&self.own_key(session)),
                &query,
                Vec::new(),
            )
            .await
            .and_then(Reply::ok);
        match contender {
            Ok(body) if body.trim_ascii() == b"true" => {}
            Ok(_) => return Err("failed to make contender entry".to_owned()),
            Err(why) => return Err(format!("failed to make contender entry: {why}")),
        }
        let mut index = 0;
        loop {
            let seen = self
                .look(client, index, false)
                .await
                .map_err(|why| format!("failed to read prefix: {why}"))?;
            if seen.slots.limit != self.limit {
                return Err(format!(
                    "semaphore limit conflict (lock: {}, local: {})",
                    seen.slots.limit, self.limit
                ));
            }
            if seen.slots.holders.len() as i64 >= self.limit {
                index = seen.index;
                continue;
            }
            let mut slots = seen.slots;
            slots.holders.insert(session.id.clone(), true);
            if self.store(client, &slots, seen.modify_index).await? {
                return Ok(());
            }
            index = 0;
        }
    }

    /// Writes the holders unless somebody else did meanwhile.
    async fn store(&self, client: &Client, slots: &Slots, index: u64) -> Result<bool, String> {
        let body = json::to_vec(slots).map_err(|e| e.to_string())?;
        let query = [("cas", index.to_string()), ("flags", FLAGS.to_string())];
        let answer = client
            .ask(Method::PUT, &super::path(&self.slots_key()), &query, body)
            .await
            .and_then(Reply::ok)
            .map_err(|why| format!("failed to update lock: {why}"))?;
        Ok(answer.trim_ascii() == b"true")
    }

    /// Waits for a change after this index: the index, if the session still has a slot.
    pub async fn held(
        &self,
        client: &Client,
        session: &Session,
        index: u64,
    ) -> Result<Option<u64>, String> {
        let seen = self.look(client, index, true).await?;
        let ours = seen.slots.holders.contains_key(&session.id);
        Ok(ours.then_some(seen.index))
    }

    pub async fn release(&self, client: &Client, session: &Session) -> Result<(), String> {
        loop {
            let seen = self.look(client, 0, false).await?;
            let mut slots = seen.slots;
            if slots.holders.remove(&session.id).is_none()
                || self.store(client, &slots, seen.modify_index).await?
            {
                break;
            }
        }
        let key = super::path(&self.own_key(session));
        client
            .ask(Method::DELETE, &key, &[], Vec::new())
            .await?
            .ok()?;
        Ok(())
    }

    /// Removes the list of holders unless there are some.
    pub async fn clean_up(&self, client: &Client) -> Result<Cleanup, String> {
        let seen = self.look(client, 0, false).await?;
        match seen.entry {
            None => Ok(Cleanup::Done),
            Some(_) if !seen.slots.holders.is_empty() => Ok(Cleanup::InUse),
            Some(entry) => super::remove(client, &entry).await,
        }
    }
}
