//! `KVS.*`: the key/value store.
//!
//! Source: `docs/reference/http-1.md` section 2.

use crate::acl::{self, Ask, Authorizer, Resource};
use crate::drive;
use crate::server::Server;
use crate::server::acl::retain;
use crate::store::ApplyReply;
use crate::structs::{
    self, Error, IndexedDirEntries, IndexedKeyList, KVSRequest, KeyListRequest, KeyRequest, Result,
    command, kv_op,
};
use crate::telemetry::{Timed, metrics};

impl Server {
    /// `KVS.Apply`: true only where the operation can fail (cas, delete-cas, lock, unlock) and did not.
    pub(crate) async fn kvs_apply(&self, request: KVSRequest) -> Result<bool> {
        self.check_datacenter(&request.datacenter)?;
        let _timed = Timed::start(&metrics::KVS_APPLY);
        let authorizer = self.authorizer(&request.token)?;
        if !self.kvs_may_apply(&authorizer, &request).await? {
            return Ok(false);
        }
        let (index, reply) = self.apply(command::KVS, &request).await?;
        if matches!(
            request.op.as_str(),
            kv_op::DELETE | kv_op::DELETE_CAS | kv_op::DELETE_TREE
        ) {
            self.tombstones.hint(drive::now(), index);
        }
        Ok(matches!(reply, ApplyReply::Bool(true)))
    }

    /// What is decided before Raft because it needs a clock: the lock-delay. False when it forbids.
    pub(super) async fn kvs_may_apply(
        &self,
        authorizer: &Authorizer,
        request: &KVSRequest,
    ) -> Result<bool> {
        if request.dir_ent.key.is_empty() && request.op != kv_op::DELETE_TREE {
            return Err(Error::new("Must provide key"));
        }
        let key = request.dir_ent.key.as_str();
        match request.op.as_str() {
            kv_op::DELETE_TREE => acl::require(authorizer, Ask::KeyWritePrefix(key))?,
            // What a transaction reads is left out of its results instead.
            kv_op::GET | kv_op::GET_TREE => {}
            kv_op::CHECK_SESSION | kv_op::CHECK_INDEX => {
                acl::require(authorizer, Ask::Read(Resource::Key, key))?;
            }
            _ => acl::require(authorizer, Ask::Write(Resource::Key, key))?,
        }
        if request.op != kv_op::LOCK {
            return Ok(true);
        }
        self.wait_for_leader().await?;
        let now = drive::now() - self.options.clock;
        let delayed = !self.state.lock_delay(now, &request.dir_ent.key).is_zero();
        if delayed {
            log::warn!(
                target: "agent.server.kvs",
                key = request.dir_ent.key.as_str(); "Rejecting lock of key due to lock-delay"
            );
        }
        Ok(!delayed)
    }

    /// Where listing is guarded of its own.
    pub(super) fn may_list(&self, authorizer: &Authorizer, prefix: &str) -> Result<()> {
        if !self.options.acl.enable_key_list_policy {
            return Ok(());
        }
        acl::require(authorizer, Ask::KeyList(prefix))
    }

    /// `KVS.Get`.
    pub(crate) async fn kvs_get(&self, request: KeyRequest) -> Result<IndexedDirEntries> {
        self.check_datacenter(&request.datacenter)?;
        let may = |acl: &Authorizer| acl::require(acl, Ask::Read(Resource::Key, &request.key));
        let hot = |acl: &Authorizer| {
            may(acl)?;
            let entry = self.state.hot_key(&request.key);
            Ok(entry.map(|e| (e.modify_index, Some((*e).clone()))))
        };
        let (meta, entry) = self
            .read_known(&request.options, hot, |state, watch, acl| {
                may(acl)?;
                let (index, entry) = state.kvs_get(watch, &request.key)?;
                // What exists answers with its own index.
                Ok((entry.as_ref().map_or(index, |e| e.modify_index), entry))
            })
            .await?;
        Ok(IndexedDirEntries {
            entries: entry.map(|e| vec![e]),
            meta,
        })
    }

    /// `KVS.List`.
    pub(crate) async fn kvs_list(&self, request: KeyRequest) -> Result<IndexedDirEntries> {
        self.check_datacenter(&request.datacenter)?;
        let (meta, entries) = self
            .read(&request.options, |state, watch, acl| {
                self.may_list(acl, &request.key)?;
                let (index, mut entries) = state.kvs_list(watch, &request.key)?;
                retain(&mut entries, acl);
                Ok((index, entries))
            })
            .await?;
        let entries = Some(entries).filter(|list| !list.is_empty());
        Ok(IndexedDirEntries { entries, meta })
    }

    /// `KVS.ListKeys`.
    pub(crate) async fn kvs_list_keys(&self, request: KeyListRequest) -> Result<IndexedKeyList> {
        self.check_datacenter(&request.datacenter)?;
        let (meta, keys) = self
            .read(&request.options, |state, watch, acl| {
                self.may_list(acl, &request.prefix)?;
                let (index, mut keys) =
                    state.kvs_list_keys(watch, &request.prefix, &request.seperator)?;
                keys.retain(|key| acl.reads(Resource::Key, key));
                Ok((index, keys))
            })
            .await?;
        let keys = Some(keys).filter(|list| !list.is_empty());
        Ok(IndexedKeyList { keys, meta })
    }
}

/// What a lock refused by the lock-delay is called in a transaction.
pub(super) fn lock_delay_error(key: &str) -> String {
    format!(
        "failed to lock key {} due to lock delay",
        structs::go::quote(key)
    )
}
