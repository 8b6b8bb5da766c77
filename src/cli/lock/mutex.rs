//! A lock that one may hold: a key that a session has acquired.

use std::time::Duration;

use hyper::{Method, StatusCode};

use super::Cleanup;
use super::session::Session;
use crate::cli::client::{Client, Query};
use crate::structs::DirEntry;
use crate::wire::json;

/// The flags of a key that is a lock.
const FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;
/// How long one look at a lock that is held waits for its end.
const WAIT: &str = "15000ms";
/// Pause before trying again when nobody holds a lock and it cannot be had: the lock-delay.
const DELAY: Duration = Duration::from_secs(5);

/// A lock.
pub struct Mutex {
    key: String,
}

impl Mutex {
    /// The lock of a prefix.
    pub fn new(prefix: &str) -> Self {
        let key = match prefix.is_empty() || prefix.ends_with('/') {
            true => format!("{prefix}.lock"),
            false => format!("{prefix}/.lock"),
        };
        Self { key }
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The entry now, or after it changed from `index`.
    async fn look(
        &self,
        client: &Client,
        index: u64,
        consistent: bool,
    ) -> Result<(u64, Option<DirEntry>), String> {
        let mut query: Query = vec![("wait", WAIT.to_owned())];
        if index > 0 {
            query.push(("index", index.to_string()));
        }
        if consistent {
            query.push(("consistent", String::new()));
        }
        let reply = client
            .ask(Method::GET, &super::path(&self.key), &query, Vec::new())
            .await?;
        match reply.status {
            StatusCode::OK => {
                let found: Vec<DirEntry> =
                    json::from_slice_lenient(&reply.body).map_err(|e| e.to_string())?;
                Ok((reply.index, found.into_iter().next()))
            }
            StatusCode::NOT_FOUND => Ok((reply.index, None)),
            other => Err(format!("Unexpected response code: {}", other.as_u16())),
        }
    }

    pub async fn acquire(&self, client: &Client, session: &Session) -> Result<(), String> {
        let failed = |why: String| format!("failed to read lock: {why}");
        let mut index = 0;
        loop {
            let (seen, entry) = self.look(client, index, false).await.map_err(failed)?;
            let entry = entry.unwrap_or_default();
            if !entry.key.is_empty() && entry.flags != FLAGS {
                return Err("Existing key does not match lock use".to_owned());
            }
            if entry.session == session.id {
                return Ok(());
            }
            if !entry.session.is_empty() {
                index = seen;
                continue;
            }
            if self.take(client, session).await? {
                return Ok(());
            }
            let (seen, entry) = self.look(client, 0, false).await.map_err(failed)?;
            match entry {
                // Somebody was quicker.
                Some(entry) if !entry.session.is_empty() => index = seen,
                _ => {
                    index = 0;
                    crate::drive::sleep(DELAY).await;
                }
            }
        }
    }

    async fn take(&self, client: &Client, session: &Session) -> Result<bool, String> {
        let query = [
            ("acquire", session.id.clone()),
            ("flags", FLAGS.to_string()),
        ];
        let body = client
            .ask(Method::PUT, &super::path(&self.key), &query, Vec::new())
            .await
            .and_then(crate::cli::client::Reply::ok)
            .map_err(|why| format!("failed to acquire lock: {why}"))?;
        Ok(body.trim_ascii() == b"true")
    }

    /// Waits for a change after this index: the index, if the session still has the lock.
    pub async fn held(
        &self,
        client: &Client,
        session: &Session,
        index: u64,
    ) -> Result<Option<u64>, String> {
        let (seen, entry) = self.look(client, index, true).await?;
        let ours = entry.is_some_and(|entry| entry.session == session.id);
        Ok(ours.then_some(seen))
    }

    pub async fn release(&self, client: &Client, session: &Session) -> Result<(), String> {
        let query = [
            ("flags", FLAGS.to_string()),
            ("release", session.id.clone()),
        ];
        client
            .ask(Method::PUT, &super::path(&self.key), &query, Vec::new())
            .await?
            .ok()
            .map_err(|why| format!("failed to release lock: {why}"))?;
        Ok(())
    }

    /// Removes the key unless somebody has it.
    pub async fn clean_up(&self, client: &Client) -> Result<Cleanup, String> {
        let (_, entry) = self
            .look(client, 0, false)
            .await
            .map_err(|why| format!("failed to read lock: {why}"))?;
        let Some(entry) = entry else {
            return Ok(Cleanup::Done);
        };
        if !entry.session.is_empty() {
            return Ok(Cleanup::InUse);
        }
        super::remove(client, &entry).await
    }
}
