//! `Txn.*`: several operations, all or none.
//!
//! Source: `docs/reference/http-1.md` section 3.

use super::catalog::{check_node_id, complete_check, complete_service};
use super::kvs::lock_delay_error;
use crate::acl::Authorizer;
use crate::drive;
use crate::server::Server;
use crate::server::acl::Visible;
use crate::store::ApplyReply;
use crate::structs::{
    Error, KVSRequest, Result, TxnError, TxnOp, TxnReadRequest, TxnReadResponse, TxnRequest,
    TxnResponse, TxnResult, command, go::List, kv_op,
};
use crate::telemetry::{Timed, metrics};

impl Server {
    /// `Txn.Apply`.
    pub(crate) async fn txn_apply(&self, mut request: TxnRequest) -> Result<TxnResponse> {
        self.check_datacenter(&request.datacenter)?;
        let _timed = Timed::start(&metrics::TXN_APPLY);
        self.wait_for_leader().await?;
        let authorizer = self.authorizer(&request.token)?;
        let errors = self
            .txn_check(&authorizer, request.ops.as_deref_mut().unwrap_or(&mut []))
            .await?;
        if !errors.is_empty() {
            return Ok(TxnResponse {
                results: None,
                errors: Some(errors),
            });
        }
        let (index, reply) = self.apply(command::TXN, &request).await?;
        // Deletions among the operations leave tombstones.
        self.tombstones.hint(drive::now(), index);
        match reply {
            ApplyReply::Txn(mut response) => {
                response.results = seen(response.results, &authorizer);
                Ok(response)
            }
            _ => Err(Error::new("unexpected return type from the state machine")),
        }
    }

    /// `Txn.Read`.
    pub(crate) async fn txn_read(&self, mut request: TxnReadRequest) -> Result<TxnReadResponse> {
        self.check_datacenter(&request.datacenter)?;
        let _timed = Timed::start(&metrics::TXN_READ);
        self.make_consistent(&request.options).await?;
        let authorizer = self.authorizer(&request.options.token)?;
        let ops = request.ops.as_deref_mut().unwrap_or(&mut []);
        let errors = self.txn_check(&authorizer, ops).await?;
        if !errors.is_empty() {
            let meta = self.meta(0);
            return Ok(TxnReadResponse {
                results: None,
                errors: Some(errors),
                meta,
            });
        }
        let (mut meta, response) = self
            .read(&request.options, |state, _, acl| {
                let mut response = state.txn(ops)?;
                response.results = seen(response.results, acl);
                Ok((0, response))
            })
            .await?;
        meta.index = 0;
        Ok(TxnReadResponse {
            results: response.results,
            errors: response.errors,
            meta,
        })
    }

    /// What is checked and filled in before Raft, for every operation.
    async fn txn_check(&self, authorizer: &Authorizer, ops: &mut [TxnOp]) -> Result<Vec<TxnError>> {
        let mut errors = Vec::new();
        for (at, op) in ops.iter_mut().enumerate() {
            if let Err(error) = complete(op).and_then(|()| self.may_change_catalog(authorizer, op))
            {
                errors.push(TxnError {
                    op_index: at as i64,
                    what: error.to_string(),
                });
            }
            let Some(kv) = &op.kv else { continue };
            let request = KVSRequest {
                op: kv.verb.clone(),
                dir_ent: crate::structs::DirEntry {
                    key: kv.dir_ent.key.clone(),
                    ..Default::default()
                },
                ..KVSRequest::default()
            };
            let what = match self.kvs_may_apply(authorizer, &request).await {
                Ok(true) => continue,
                Ok(false) if kv.verb == kv_op::LOCK => lock_delay_error(&kv.dir_ent.key),
                Ok(false) => "refused".to_owned(),
                Err(error) => error.to_string(),
            };
            errors.push(TxnError {
                op_index: at as i64,
                what,
            });
        }
        Ok(errors)
    }
}

/// The results that may be seen; the others are left out without a word.
fn seen(results: List<TxnResult>, acl: &Authorizer) -> List<TxnResult> {
    let may = |r: &TxnResult| {
        r.kv.as_ref().is_none_or(|kv| kv.visible(acl))
            && r.node.as_ref().is_none_or(|node| node.visible(acl))
            && r.service
                .as_ref()
                .is_none_or(|service| service.visible(acl))
            && r.check.as_ref().is_none_or(|check| check.visible(acl))
    };
    Some(results?.into_iter().filter(may).collect())
}

/// Fills in and checks a catalog operation as a registration is; a read is taken as it is.
fn complete(op: &mut TxnOp) -> Result<()> {
    if let Some(op) = op.node.as_ref().filter(|op| op.verb != kv_op::GET) {
        if op.node.node.is_empty() {
            return Err(Error::new("Must provide node"));
        }
        check_node_id(&op.node.id)?;
    }
    if let Some(op) = op.service.as_mut().filter(|op| op.verb != kv_op::GET) {
        complete_service(&mut op.service)?;
    }
    if let Some(op) = op.check.as_mut().filter(|op| op.verb != kv_op::GET) {
        complete_check(&mut op.check, "");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structs::{Node, NodeService, TxnNodeOp, TxnServiceOp};

    fn node(verb: &str, id: &str) -> TxnOp {
        let node = Node {
            id: id.to_owned(),
            node: "n".to_owned(),
            ..Node::default()
        };
        TxnOp {
            node: Some(TxnNodeOp {
                verb: verb.to_owned(),
                node,
            }),
            ..TxnOp::default()
        }
    }

    #[test]
    fn catalog_operations_are_checked_unless_they_read() {
        let text = complete(&mut node("set", "bad")).unwrap_err().to_string();
        assert_eq!(text, "Bad node ID: uuid string is wrong length");
        assert!(complete(&mut node("get", "bad")).is_ok());
        let mut op = TxnOp {
            service: Some(TxnServiceOp {
                verb: "set".to_owned(),
                service: NodeService {
                    service: "web".to_owned(),
                    ..NodeService::default()
                },
                ..TxnServiceOp::default()
            }),
            ..TxnOp::default()
        };
        complete(&mut op).unwrap();
        assert_eq!(op.service.unwrap().service.id, "web");
    }
}
