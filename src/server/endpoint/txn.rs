//! `Txn.*`: several operations, all or none.
//!
//! Source: `docs/reference/http-1.md` section 3.

use super::kvs::lock_delay_error;
use crate::drive;
use crate::server::Server;
use crate::store::ApplyReply;
use crate::structs::{
    Error, KVSRequest, Result, TxnError, TxnOp, TxnReadRequest, TxnReadResponse, TxnRequest,
    TxnResponse, command, kv_op,
};

impl Server {
    /// `Txn.Apply`.
    pub(crate) async fn txn_apply(&self, request: TxnRequest) -> Result<TxnResponse> {
        self.check_datacenter(&request.datacenter)?;
        let errors = self
            .txn_check(request.ops.as_deref().unwrap_or(&[]))
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
            ApplyReply::Txn(response) => Ok(response),
            _ => Err(Error::new("unexpected return type from the state machine")),
        }
    }

    /// `Txn.Read`.
    pub(crate) async fn txn_read(&self, request: TxnReadRequest) -> Result<TxnReadResponse> {
        self.check_datacenter(&request.datacenter)?;
        let ops = request.ops.as_deref().unwrap_or(&[]);
        let errors = self.txn_check(ops).await?;
        if !errors.is_empty() {
            let meta = self.meta(0);
            return Ok(TxnReadResponse {
                results: None,
                errors: Some(errors),
                meta,
            });
        }
        let (mut meta, response) = self
            .read(&request.options, |state, _| Ok((0, state.txn(ops)?)))
            .await?;
        meta.index = 0;
        Ok(TxnReadResponse {
            results: response.results,
            errors: response.errors,
            meta,
        })
    }

    /// What is checked before Raft, for every operation: keys and the lock-delay.
    async fn txn_check(&self, ops: &[TxnOp]) -> Result<Vec<TxnError>> {
        let mut errors = Vec::new();
        for (at, op) in ops.iter().enumerate() {
            let Some(kv) = &op.kv else { continue };
            let request = KVSRequest {
                op: kv.verb.clone(),
                dir_ent: crate::structs::DirEntry {
                    key: kv.dir_ent.key.clone(),
                    ..Default::default()
                },
                ..KVSRequest::default()
            };
            let what = match self.kvs_may_apply(&request).await {
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
