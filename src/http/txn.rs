//! `/v1/txn`: several operations at once, all or none.
//!
//! Source: `docs/reference/http-1.md` section 3; what is taken from each operation as a running Consul
//! 1.8.7 shows it.

use hyper::StatusCode;

use super::context::Ctx;
use super::conventions::{set_contact, write};
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use super::txn_body::{self as body, TxnOp};
use crate::structs::go::List;
use crate::structs::rpc::method;
use crate::structs::{
    self, DirEntry, HealthCheck, NodeService, TxnCheckOp, TxnKVOp, TxnNodeOp, TxnReadRequest,
    TxnRequest, TxnServiceOp, Weights, kv_op,
};
use crate::wire::json;

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/txn" [PUT] txn;
};

/// Most operations of one transaction.
const MAX_OPS: usize = 64;

async fn txn(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let ops = ops(ctx, req).await?;
    if ops.iter().any(writes) {
        let args = TxnRequest {
            datacenter: req.datacenter(ctx),
            ops: Some(ops),
            token: req.token(ctx),
        };
        let mut done = write::<method::TxnApply>(ctx, args).await?;
        let failed = settle(&mut done.results, &mut done.errors);
        return Ok(Response::json(&done)?.with_status(status(failed)));
    }
    let options = req.query_options(ctx)?;
    let args = TxnReadRequest {
        datacenter: req.datacenter(ctx),
        ops: Some(ops),
        options,
    };
    let mut done = write::<method::TxnRead>(ctx, args).await?;
    let failed = settle(&mut done.results, &mut done.errors);
    let mut answer = Response::json(&done)?.with_status(status(failed));
    set_contact(&mut answer.headers, &done.meta);
    Ok(answer)
}

fn status(failed: bool) -> StatusCode {
    if failed {
        StatusCode::CONFLICT
    } else {
        StatusCode::OK
    }
}

/// Exactly one of the two lists is `null`; true when there are errors.
fn settle<R, E>(results: &mut List<R>, errors: &mut List<E>) -> bool {
    let failed = errors.as_ref().is_some_and(|e| !e.is_empty());
    if failed {
        *results = None;
    } else {
        *errors = None;
        results.get_or_insert_with(Vec::new);
    }
    failed
}

/// Reads and checks the body.
async fn ops(ctx: &Ctx, req: &mut Request) -> Result<Vec<structs::TxnOp>, HttpError> {
    let value_limit = ctx.settings.kv_max_value_size;
    let limit = value_limit.max(ctx.settings.txn_max_req_len);
    let text = req.limited_body(limit, "txn_max_req_len").await?;
    let ops: List<TxnOp> = json::from_slice_strict(&text, "api.TxnOps")
        .map_err(|e| HttpError::bad_request(format!("Failed to parse body: {e}")))?;
    let ops = ops.unwrap_or_default();
    if ops.len() > MAX_OPS {
        let text = format!(
            "Transaction contains too many operations ({} > {MAX_OPS})",
            ops.len()
        );
        return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    for kv in ops.iter().filter_map(|op| op.kv.as_ref()) {
        if kv.value.len() > value_limit {
            let text = format!(
                "Value for key {} is too large ({} > {value_limit} bytes)",
                structs::go::quote(&kv.key),
                kv.value.len()
            );
            return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
    }
    let mut ops: Vec<structs::TxnOp> = ops.into_iter().filter_map(op).collect();
    for op in ops.iter_mut().filter_map(|op| op.node.as_mut()) {
        if op.node.datacenter.is_empty() {
            op.node.datacenter.clone_from(&ctx.settings.datacenter);
        }
    }
    Ok(ops)
}

/// Whether an operation needs the log. An unknown verb on a key does not: reading finds it out.
fn writes(op: &structs::TxnOp) -> bool {
    if let Some(kv) = &op.kv {
        let verb = kv.verb.as_str();
        return [
            kv_op::SET,
            kv_op::CAS,
            kv_op::LOCK,
            kv_op::UNLOCK,
            kv_op::DELETE,
            kv_op::DELETE_CAS,
            kv_op::DELETE_TREE,
        ]
        .contains(&verb);
    }
    let verb = (op.node.as_ref().map(|n| &n.verb))
        .or(op.service.as_ref().map(|s| &s.verb))
        .or(op.check.as_ref().map(|c| &c.verb));
    verb.is_some_and(|verb| verb != kv_op::GET)
}

/// What the servers are sent; `None` for an operation without content.
fn op(op: TxnOp) -> Option<structs::TxnOp> {
    let mut out = structs::TxnOp::default();
    match op {
        TxnOp { kv: Some(kv), .. } => out.kv = Some(kv_op(kv)),
        TxnOp {
            node: Some(node), ..
        } => {
            out.node = Some(TxnNodeOp {
                verb: node.verb.0,
                node: node.node,
            });
        }
        TxnOp {
            service: Some(service),
            ..
        } => out.service = Some(service_op(service)),
        TxnOp {
            check: Some(check), ..
        } => out.check = Some(check_op(check)),
        TxnOp { .. } => return None,
    }
    Some(out)
}

fn kv_op(kv: body::KVTxnOp) -> TxnKVOp {
    TxnKVOp {
        verb: kv.verb.0,
        dir_ent: DirEntry {
            key: kv.key,
            value: kv.value,
            flags: kv.flags,
            session: kv.session,
            modify_index: kv.index,
            ..DirEntry::default()
        },
    }
}

/// Consul 1.8 takes no tagged addresses, proxy and Connect settings in transactions.
fn service_op(op: body::ServiceTxnOp) -> TxnServiceOp {
    let service = op.service;
    TxnServiceOp {
        verb: op.verb.0,
        node: op.node,
        service: NodeService {
            id: service.id,
            service: service.service,
            tags: service.tags,
            address: service.address,
            meta: service.meta,
            port: service.port,
            weights: Some(Weights {
                passing: service.weights.passing,
                warning: service.weights.warning,
            }),
            enable_tag_override: service.enable_tag_override,
            modify_index: service.modify_index,
            ..NodeService::default()
        },
    }
}

fn check_op(op: body::CheckTxnOp) -> TxnCheckOp {
    let check = op.check;
    TxnCheckOp {
        verb: op.verb.0,
        check: HealthCheck {
            node: check.node,
            check_id: check.check_id,
            name: check.name,
            status: check.status,
            notes: check.notes,
            output: check.output,
            service_id: check.service_id,
            service_name: check.service_name,
            service_tags: check.service_tags,
            definition: check.definition.into(),
            modify_index: check.modify_index,
            ..HealthCheck::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<structs::TxnOp>, String> {
        let ops: List<TxnOp> =
            json::from_slice_strict(text.as_bytes(), "api.TxnOps").map_err(|e| e.to_string())?;
        Ok(ops.unwrap_or_default().into_iter().filter_map(op).collect())
    }

    #[test]
    fn what_writes() {
        for (text, want) in [
            (r#"[{"KV":{"Verb":"set","Key":"a"}}]"#, true),
            (r#"[{"kv":{"verb":"get","key":"a"}}]"#, false),
            (r#"[{"KV":{"Verb":"bogus"}}]"#, false),
            (r#"[{"KV":{"Verb":"check-not-exists"}}]"#, false),
            (r#"[{"Node":{"Verb":"get"}}]"#, false),
            (r#"[{"Service":{"Verb":"bogus"}}]"#, true),
            (r#"[{"Check":{"Verb":"delete-cas"}}]"#, true),
            (r#"[{"KV":{"Verb":"get"},"Node":{"Verb":"set"}}]"#, false),
        ] {
            assert_eq!(parse(text).unwrap().iter().any(writes), want, "{text}");
        }
    }

    #[test]
    fn empty_operations_are_passed_over() {
        for text in ["null", "[]", "[{}]", r#"[{"KV":null}]"#, "[null]"] {
            assert_eq!(parse(text).unwrap(), [], "{text}");
        }
    }

    #[test]
    fn errors_are_in_gos_words() {
        for (text, want) in [
            (
                "{}",
                "json: cannot unmarshal object into Go value of type api.TxnOps",
            ),
            (
                "[5]",
                "json: cannot unmarshal number into Go value of type api.TxnOp",
            ),
            (
                r#"[{"KV":{"Flags":"x"}}]"#,
                "json: cannot unmarshal string into Go struct field KVTxnOp.KV.Flags of type uint64",
            ),
            (
                r#"[{"KV":{"Verb":1}}]"#,
                "json: cannot unmarshal number into Go struct field KVTxnOp.KV.Verb of type api.KVOp",
            ),
            (
                r#"[{"Node":{"Node":{"Node":1}}}]"#,
                "json: cannot unmarshal number into Go struct field Node.Node.Node.Node of type string",
            ),
            (
                r#"[{"Service":{"Service":{"Weights":{"Passing":"x"}}}}]"#,
                "json: cannot unmarshal string into Go struct field AgentWeights.Service.Service.Weights.Passing of type int",
            ),
            (
                r#"[{"Check":{"Check":{"Definition":{"Interval":"x"}}}}]"#,
                "time: invalid duration \"x\"",
            ),
            (
                r#"[{"KV":{"Value":"%%"}}]"#,
                "illegal base64 data at input byte 0",
            ),
            (r#"[{"Session":{}}]"#, "json: unknown field \"Session\""),
        ] {
            assert_eq!(parse(text).unwrap_err(), want, "{text}");
        }
    }

    #[test]
    fn both_spellings_of_durations() {
        let ops = parse(
            r#"[{"Check":{"Check":{"Definition":{"IntervalDuration":"5s","Timeout":3,"Foo":1}}}}]"#,
        );
        let definition = ops.unwrap().remove(0).check.unwrap().check.definition;
        assert_eq!(definition.interval.0, 5_000_000_000);
        assert_eq!(definition.timeout.0, 3);
    }
}
