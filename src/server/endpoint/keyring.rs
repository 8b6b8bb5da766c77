//! `Internal.KeyringOperation`: the gossip keys of the WAN pool and of the LAN pools of all datacenters.
//!
//! Holds true: every pool answers, with what went wrong where something did.
//! Source: `docs/reference/http-1.md` section 10.3, `docs/reference/gossip.md` sections 9 and 12.4.

use std::collections::BTreeMap;

use crate::acl::{Ask, Scalar};
use crate::codec::base64;
use crate::drive::gossip::GossipHandle;
use crate::gossip::{KeyOperation, KeyOutcome};
use crate::server::Server;
use crate::sorted::IntoMap;
use crate::structs::rpc::{Reply, Request};
use crate::structs::{
    Error, KeyringRequest, KeyringResponse, KeyringResponses, QueryMeta, Result, keyring_op,
};

impl Server {
    /// `Internal.KeyringOperation`.
    pub(crate) async fn internal_keyring_operation(
        &self,
        request: KeyringRequest,
    ) -> Result<KeyringResponses> {
        let ask = match request.operation.as_str() {
            keyring_op::LIST => Ask::ReadScalar(Scalar::Keyring),
            _ => Ask::WriteScalar(Scalar::Keyring),
        };
        self.require(&request.options.token, ask)?;
        if request.local_only && request.operation != keyring_op::LIST {
            return Err(Error::new(
                "argument 'LocalOnly' can only be used for list requests",
            ));
        }
        let mut responses = Vec::new();
        if !request.forwarded && !request.local_only {
            if let Some(wan) = &self.pools.wan {
                responses.push(self.keyring_of(wan, true, &request).await);
            }
            responses.extend(self.keyrings_elsewhere(&request).await);
        }
        // Behind the WAN pool, in front of other datacenters.
        let at = usize::from(responses.first().is_some_and(|first| first.wan));
        responses.insert(at, self.keyring_of(&self.pools.lan, false, &request).await);
        Ok(KeyringResponses {
            responses: Some(responses),
            meta: QueryMeta::default(),
        })
    }

    /// Has one pool carry it out.
    async fn keyring_of(
        &self,
        pool: &GossipHandle,
        wan: bool,
        request: &KeyringRequest,
    ) -> KeyringResponse {
        let (error, outcome) = match operation(request) {
            Err(why) => (why, KeyOutcome::default()),
            Ok(operation) => match pool.keys(operation, request.relay_factor).await {
                Ok(outcome) => (fault(&outcome), outcome),
                Err(why) => (why.to_string(), KeyOutcome::default()),
            },
        };
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let counts = |map: BTreeMap<String, usize>| {
            Some(map.into_iter().map(|(key, n)| (key, count(n))).into_map())
        };
        KeyringResponse {
            wan,
            datacenter: self.options.datacenter.clone(),
            segment: String::new(),
            messages: Some(outcome.messages).filter(|m| !m.is_empty()),
            keys: counts(outcome.keys),
            primary_keys: counts(outcome.primary_keys),
            num_nodes: count(outcome.nodes),
            error,
        }
    }

    /// Has the LAN pools of the other datacenters carry it out.
    async fn keyrings_elsewhere(&self, request: &KeyringRequest) -> Vec<KeyringResponse> {
        let mut found = Vec::new();
        for (datacenter, server) in self.one_of_each_elsewhere() {
            let request = Request::InternalKeyringOperation(KeyringRequest {
                datacenter: datacenter.clone(),
                forwarded: true,
                ..request.clone()
            });
            match self.peers.call(server, &request).await {
                Ok(Reply::InternalKeyringOperation(reply)) => {
                    found.extend(reply.responses.into_iter().flatten());
                }
                answer => {
                    let error = match answer {
                        Err(why) => why.relayed().text().to_owned(),
                        Ok(_) => "rpc: unexpected reply".to_owned(),
                    };
                    found.push(KeyringResponse {
                        datacenter,
                        error,
                        ..KeyringResponse::default()
                    });
                }
            }
        }
        found
    }
}

/// What is to be done, in the pool's terms.
fn operation(request: &KeyringRequest) -> std::result::Result<KeyOperation, String> {
    let key = || base64::decode(request.key.as_bytes()).map_err(|e| e.to_string());
    Ok(match request.operation.as_str() {
        keyring_op::LIST => KeyOperation::List,
        keyring_op::INSTALL => KeyOperation::Install(key()?),
        keyring_op::USE => KeyOperation::Use(key()?),
        keyring_op::REMOVE => KeyOperation::Remove(key()?),
        other => return Err(format!("Invalid keyring operation: {other}")),
    })
}

/// What went wrong with a pool as a whole, in Serf's words.
fn fault(outcome: &KeyOutcome) -> String {
    let (nodes, responses) = (outcome.nodes, outcome.responses);
    if outcome.errors > 0 {
        return format!("{}/{nodes} nodes reported failure", outcome.errors);
    }
    if responses != nodes {
        return format!("{responses}/{nodes} nodes reported success");
    }
    String::new()
}
