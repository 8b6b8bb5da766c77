//! Transactions: several operations on KV and catalog, all or none.
//!
//! Holds true: operations run in order and see what earlier ones did; when any fails, all that fail are
//! reported and nothing is applied. A transaction that only reads runs on any consistent view.
//! Source: `docs/reference/http-1.md` section 3.

use rusqlite::Connection;

use super::node::{self, lower};
use super::tx::{Cmd, Fail, Pending, Tx};
use super::{Read, check, kvs, service};
use crate::store::error::StoreError;
use crate::store::watch::WatchSet;
use crate::structs::go::{Bytes, quote};
use crate::structs::{
    DirEntry, HealthCheck, Node, NodeService, TxnCheckOp, TxnError, TxnKVOp, TxnNodeOp, TxnOp,
    TxnReadResponse, TxnResponse, TxnResult, TxnServiceOp, kv_op,
};

/// Most results of one transaction; beyond, a `get-tree` would hold the whole store in memory.
const MAX_RESULTS: usize = 1 << 20;

fn kv_result(entry: DirEntry) -> TxnResult {
    TxnResult {
        kv: Some(entry),
        ..TxnResult::default()
    }
}

/// Writes answer with the entry without its value.
fn written(mut entry: DirEntry) -> TxnResult {
    entry.value = Bytes::default();
    kv_result(entry)
}

fn stale(what: &str) -> String {
    format!("failed to {what}, index is stale")
}

/// Turns the false of a compare-and-set into its refusal.
fn applied(done: bool, refusal: impl FnOnce() -> String) -> Cmd<()> {
    if done {
        Ok(())
    } else {
        Fail::refuse(refusal())
    }
}

/// One operation on KV.
fn kv(tx: &mut Tx<'_>, op: &TxnKVOp, out: &mut Vec<TxnResult>) -> Cmd<()> {
    let mut e = op.dir_ent.clone();
    let key = quote(&e.key);
    match op.verb.as_str() {
        kv_op::SET => {
            tx.kvs_set(&mut e, false)?;
            out.push(written(e));
        }
        kv_op::DELETE => tx.kvs_delete(&e.key)?,
        kv_op::DELETE_CAS => {
            let done = tx.kvs_delete_cas(&e.key, e.modify_index)?;
            applied(done, || stale(&format!("delete key {key}")))?;
        }
        kv_op::DELETE_TREE => tx.kvs_delete_tree(&e.key)?,
        kv_op::CAS => {
            let done = tx.kvs_cas(&mut e)?;
            applied(done, || stale(&format!("set key {key}")))?;
            out.push(written(e));
        }
        kv_op::LOCK => {
            let done = tx.kvs_lock(&mut e)?;
            applied(done, || {
                format!("failed to lock key {key}, lock is already held")
            })?;
            out.push(written(e));
        }
        kv_op::UNLOCK => {
            let done = tx.kvs_unlock(&mut e)?;
            applied(done, || {
                format!(
                    "failed to unlock key {key}, lock isn't held, or is held by another session"
                )
            })?;
            out.push(written(e));
        }
        _ => kv_read(tx.conn, op, out)?,
    }
    Ok(())
}

/// One operation on KV that changes nothing.
fn kv_read(conn: &Connection, op: &TxnKVOp, out: &mut Vec<TxnResult>) -> Cmd<()> {
    let e = &op.dir_ent;
    let key = quote(&e.key);
    match op.verb.as_str() {
        kv_op::GET => match kvs::get(conn, &e.key)? {
            Some(found) => out.push(kv_result(found)),
            None => return Fail::refuse(format!("key {key} doesn't exist")),
        },
        kv_op::GET_TREE => out.extend(kvs::list(conn, &e.key)?.into_iter().map(kv_result)),
        kv_op::CHECK_SESSION => match kvs::get(conn, &e.key)? {
            None => {
                return Fail::refuse(format!("failed to check session, key {key} doesn't exist"));
            }
            Some(found) if found.session != e.session => {
                return Fail::refuse(format!(
                    "failed session check for key {key}, current session {} != {}",
                    quote(&found.session),
                    quote(&e.session)
                ));
            }
            Some(found) => out.push(written(found)),
        },
        kv_op::CHECK_INDEX => match kvs::get(conn, &e.key)? {
            None => {
                return Fail::refuse(format!("failed to check index, key {key} doesn't exist"));
            }
            Some(found) if found.modify_index != e.modify_index => {
                return Fail::refuse(format!(
                    "failed index check for key {key}, current modify index {} != {}",
                    found.modify_index, e.modify_index
                ));
            }
            Some(found) => out.push(written(found)),
        },
        kv_op::CHECK_NOT_EXISTS => {
            if kvs::get(conn, &e.key)?.is_some() {
                return Fail::refuse(format!("key {key} exists"));
            }
        }
        other => return Fail::refuse(format!("unknown KV verb {}", quote(other))),
    }
    Ok(())
}

fn node_result(node: Option<Node>, out: &mut Vec<TxnResult>) {
    out.extend(node.map(|node| TxnResult {
        node: Some(node),
        ..TxnResult::default()
    }));
}

fn node_op(tx: &mut Tx<'_>, op: &TxnNodeOp, out: &mut Vec<TxnResult>) -> Cmd<()> {
    let mut n = op.node.clone();
    let name = quote(&n.node);
    match op.verb.as_str() {
        "get" => return node_read(tx.conn, op, out),
        "set" => tx.ensure_node(&mut n)?,
        "cas" => {
            let done = tx.ensure_node_cas(&mut n)?;
            applied(done, || stale(&format!("set node {name}")))?;
        }
        "delete" => return tx.delete_node(&n.node),
        "delete-cas" => {
            let found = node::get(tx.conn, &lower(&n.node))?;
            let done = found.is_some_and(|f| f.modify_index == n.modify_index);
            applied(done, || stale(&format!("delete node {name}")))?;
            return tx.delete_node(&n.node);
        }
        other => return Fail::refuse(format!("unknown Node verb {}", quote(other))),
    }
    node_result(node::txn_node(tx.conn, &n)?, out);
    Ok(())
}

fn node_read(conn: &Connection, op: &TxnNodeOp, out: &mut Vec<TxnResult>) -> Cmd<()> {
    let found = node::txn_node(conn, &op.node)?;
    if found.is_none() {
        return Fail::refuse(format!("node {} doesn't exist", quote(&op.node.node)));
    }
    node_result(found, out);
    Ok(())
}

fn service_result(service: Option<NodeService>, out: &mut Vec<TxnResult>) {
    out.extend(service.map(|service| TxnResult {
        service: Some(service),
        ..TxnResult::default()
    }));
}

fn service_op(tx: &mut Tx<'_>, op: &TxnServiceOp, out: &mut Vec<TxnResult>) -> Cmd<()> {
    let (s, node) = (&op.service, lower(&op.node));
    let what = || format!("service {} on node {}", quote(&s.id), quote(&op.node));
    match op.verb.as_str() {
        "get" => return service_read(tx.conn, op, out),
        "set" => tx.ensure_service(&node, s)?,
        "cas" => {
            let done = tx.ensure_service_cas(&node, s)?;
            applied(done, || stale(&format!("set {}", what())))?;
        }
        "delete" => return tx.delete_service(&node, &s.id),
        "delete-cas" => {
            let found = service::get(tx.conn, &node, &s.id)?;
            let done = found.is_some_and(|f| f.modify_index == s.modify_index);
            applied(done, || stale(&format!("delete {}", what())))?;
            return tx.delete_service(&node, &s.id);
        }
        other => return Fail::refuse(format!("unknown Service verb {}", quote(other))),
    }
    service_result(service::get(tx.conn, &node, &s.id)?, out);
    Ok(())
}

fn service_read(conn: &Connection, op: &TxnServiceOp, out: &mut Vec<TxnResult>) -> Cmd<()> {
    let found = service::get(conn, &lower(&op.node), &op.service.id)?;
    if found.is_none() {
        let (id, node) = (quote(&op.service.id), quote(&op.node));
        return Fail::refuse(format!("service {id} on node {node} doesn't exist"));
    }
    service_result(found, out);
    Ok(())
}

fn check_result(check: Option<HealthCheck>, out: &mut Vec<TxnResult>) {
    out.extend(check.map(|check| TxnResult {
        check: Some(check),
        ..TxnResult::default()
    }));
}

fn check_op(tx: &mut Tx<'_>, op: &TxnCheckOp, out: &mut Vec<TxnResult>) -> Cmd<()> {
    let mut c = op.check.clone();
    let node = lower(&c.node);
    let what = format!("check {} on node {}", quote(&c.check_id), quote(&c.node));
    match op.verb.as_str() {
        "get" => return check_read(tx.conn, op, out),
        "set" => tx.ensure_check(&mut c)?,
        "cas" => {
            let done = tx.ensure_check_cas(&mut c)?;
            applied(done, || stale(&format!("set {what}")))?;
        }
        "delete" => return tx.delete_check(&node, &c.check_id),
        "delete-cas" => {
            let found = check::get(tx.conn, &node, &c.check_id)?;
            let done = found.is_some_and(|f| f.modify_index == c.modify_index);
            applied(done, || stale(&format!("delete {what}")))?;
            return tx.delete_check(&node, &c.check_id);
        }
        other => return Fail::refuse(format!("unknown Check verb {}", quote(other))),
    }
    check_result(check::get(tx.conn, &node, &c.check_id)?, out);
    Ok(())
}

fn check_read(conn: &Connection, op: &TxnCheckOp, out: &mut Vec<TxnResult>) -> Cmd<()> {
    let c = &op.check;
    let found = check::get(conn, &lower(&c.node), &c.check_id)?;
    if found.is_none() {
        let (id, node) = (quote(&c.check_id), quote(&c.node));
        return Fail::refuse(format!("check {id} on node {node} doesn't exist"));
    }
    check_result(found, out);
    Ok(())
}

fn operation(tx: &mut Tx<'_>, op: &TxnOp, out: &mut Vec<TxnResult>) -> Cmd<()> {
    if let Some(op) = &op.kv {
        kv(tx, op, out)
    } else if let Some(op) = &op.node {
        node_op(tx, op, out)
    } else if let Some(op) = &op.service {
        service_op(tx, op, out)
    } else if let Some(op) = &op.check {
        check_op(tx, op, out)
    } else if let Some(op) = &op.session {
        match op.verb.as_str() {
            "delete" => tx.txn_session_delete(&op.session.id),
            other => Fail::refuse(format!("unknown session verb {}", quote(other))),
        }
    } else if op.intention.is_some() {
        Fail::refuse("intentions are not supported by this server in a transaction")
    } else {
        Ok(())
    }
}

fn read_operation(conn: &Connection, op: &TxnOp, out: &mut Vec<TxnResult>) -> Cmd<()> {
    let verb = |kind: &str, verb: &str| format!("unknown {kind} verb {}", quote(verb));
    if let Some(op) = &op.kv {
        kv_read(conn, op, out)
    } else if let Some(op) = &op.node {
        match op.verb.as_str() {
            "get" => node_read(conn, op, out),
            v => Fail::refuse(verb("Node", v)),
        }
    } else if let Some(op) = &op.service {
        match op.verb.as_str() {
            "get" => service_read(conn, op, out),
            v => Fail::refuse(verb("Service", v)),
        }
    } else if let Some(op) = &op.check {
        match op.verb.as_str() {
            "get" => check_read(conn, op, out),
            v => Fail::refuse(verb("Check", v)),
        }
    } else {
        Ok(())
    }
}

/// Runs all operations, gathering what each yields and why each failed.
fn run_all(
    ops: &[TxnOp],
    mut run: impl FnMut(&TxnOp, &mut Vec<TxnResult>) -> Cmd<()>,
) -> Cmd<TxnResponse> {
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for (i, op) in ops.iter().enumerate() {
        match run(op, &mut results) {
            Ok(()) if results.len() <= MAX_RESULTS => {}
            Ok(()) => {
                return Fail::refuse(format!("transaction has more than {MAX_RESULTS} results"));
            }
            Err(Fail::Refused(what)) => errors.push(TxnError {
                op_index: i as i64,
                what,
            }),
            Err(other) => return Err(other),
        }
    }
    Ok(if errors.is_empty() {
        TxnResponse {
            results: node::nil_if_empty(results),
            errors: None,
        }
    } else {
        TxnResponse {
            results: None,
            errors: Some(errors),
        }
    })
}

/// Applies a transaction within the current savepoint. The caller undoes it when there are errors.
pub fn apply(
    conn: &Connection,
    index: u64,
    pending: &mut Pending,
    ops: &[TxnOp],
) -> Cmd<TxnResponse> {
    let mut tx = Tx {
        conn,
        index,
        pending,
    };
    run_all(ops, |op, out| operation(&mut tx, op, out))
}

impl Read {
    /// Runs a transaction that only reads; a verb that writes is refused as unknown. The answer's meta is
    /// left to the caller.
    ///
    /// # Errors
    /// The disk's.
    pub fn txn(&self, ops: &[TxnOp]) -> Result<TxnReadResponse, StoreError> {
        self.run(&mut WatchSet::new(), |conn, _| {
            let done = run_all(ops, |op, out| read_operation(conn, op, out))?;
            Ok(TxnReadResponse {
                results: done.results,
                errors: done.errors,
                ..TxnReadResponse::default()
            })
        })
    }
}
