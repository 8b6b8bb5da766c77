//! What users ask of an agent's pool, whatever the agent's role: joining, making members leave, figures.
//!
//! Source: `docs/reference/http-2.md` sections 5.1 and 5.9.

use std::collections::BTreeMap;

use super::resolve::resolve;
use crate::drive::gossip::GossipHandle;
use crate::sorted::IntoMap;
use crate::structs::{Error, Result, error_list};

/// Addresses of one request to join at most.
const MAX_ADDRESSES: usize = 1024;

/// Joins the pool through these addresses; how many were reached.
///
/// # Errors
/// Consul's error list, when none was reached.
pub async fn join(pool: &GossipHandle, addresses: &[String], default_port: u16) -> Result<usize> {
    let mut errors = Vec::new();
    let mut found = Vec::new();
    for address in addresses.iter().take(MAX_ADDRESSES) {
        match resolve(address, default_port).await {
            Ok(resolved) => found.extend(resolved),
            Err(why) => errors.push(why),
        }
    }
    let (reached, failed) = pool.join(found).await;
    let why =
        |(to, why): &(std::net::SocketAddr, String)| format!("Failed to join {}: {why}", to.ip());
    errors.extend(failed.iter().map(why));
    match error_list(&errors) {
        Some(error) if reached == 0 => Err(error),
        _ => Ok(reached),
    }
}

/// Makes a failed member one that left; with `prune` it is also forgotten.
///
/// # Errors
/// When there is no such member.
pub async fn force_leave(pool: &GossipHandle, node: &str, prune: bool) -> Result<()> {
    if pool.member(node).is_none() {
        return Err(Error::new(format!(
            "agent: No node found with name '{node}'"
        )));
    }
    let left = pool.force_leave(node, prune).await;
    left.map_err(|e| Error::new(e.to_string()))
}

/// The pool's figures in `consul info`.
pub fn stats(pool: &GossipHandle) -> BTreeMap<String, String> {
    let shown = |(name, figure): (&str, u64)| {
        let figure = match name {
            "encrypted" => (figure != 0).to_string(),
            _ => figure.to_string(),
        };
        (name.to_owned(), figure)
    };
    pool.stats().into_iter().map(shown).into_map()
}
