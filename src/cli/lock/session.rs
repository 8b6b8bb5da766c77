//! The session that a lock is held by.

use std::time::Duration;

use crate::cli::client::{Client, Reply};
use crate::codec::{Deserialize, Serialize};
use crate::wire::json;
use hyper::Method;

/// How long the lock outlives a holder that says nothing.
const TTL: &str = "15s";
/// How often the holder says something.
const RENEW: Duration = Duration::from_millis(7500);
/// Pause after a renewal that failed.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Create<'a> {
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "TTL")]
    ttl: &'a str,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

/// A session of this process.
pub struct Session {
    /// Its id.
    pub id: String,
}

impl Session {
    /// Makes one.
    pub async fn create(client: &Client, name: &str) -> Result<Self, String> {
        let body = json::to_vec(&Create { name, ttl: TTL }).map_err(|e| e.to_string())?;
        let answer = client
            .ask(Method::PUT, "/v1/session/create", &[], body)
            .await?
            .ok()?;
        let created: Created = json::from_slice_lenient(&answer).map_err(|e| e.to_string())?;
        Ok(Self { id: created.id })
    }

    /// Renews it until it is gone.
    pub async fn keep_alive(&self, client: &Client) {
        let path = format!("/v1/session/renew/{}", self.id);
        loop {
            crate::drive::sleep(RENEW).await;
            loop {
                match client.ask(Method::PUT, &path, &[], Vec::new()).await {
                    Ok(Reply { status, .. }) if status == hyper::StatusCode::NOT_FOUND => return,
                    Ok(reply) if reply.status.is_success() => break,
                    Ok(_) | Err(_) => crate::drive::sleep(RETRY).await,
                }
            }
        }
    }

    /// Ends it.
    pub async fn destroy(&self, client: &Client) {
        let path = format!("/v1/session/destroy/{}", self.id);
        // If nobody hears it, the session ends by its time.
        let _ = client.ask(Method::PUT, &path, &[], Vec::new()).await;
    }
}
