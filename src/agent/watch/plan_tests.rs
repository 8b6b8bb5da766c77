//! Plans and their progress, fed with answers by hand.
//!
//! Source: requests and results recorded of 1.8.7.

use super::*;

fn plan(pairs: &[(&str, &str)]) -> Plan {
    let pairs = pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), Any::String((*v).to_owned())));
    Plan::parse(&mut Params(pairs.collect())).unwrap()
}

fn answer(index: u64, body: &str) -> Answer {
    Answer {
        status: 200,
        index: index.to_string(),
        hash: String::new(),
        body: body.as_bytes().to_vec(),
    }
}

fn told(progress: &mut Progress, plan: &Plan, answer: &Answer) -> Option<(u64, String)> {
    let news = progress.take(plan, answer).unwrap()?;
    Some((news.index, String::from_utf8(news.json).unwrap()))
}

#[test]
fn every_type_asks_its_own_question() {
    for (pairs, target) in [
        (vec![("type", "key"), ("key", "/a b/c")], "/v1/kv/a%20b/c"),
        (
            vec![("type", "keyprefix"), ("prefix", "a/"), ("datacenter", "d")],
            "/v1/kv/a/?dc=d&recurse=",
        ),
        (vec![("type", "services")], "/v1/catalog/services"),
        (vec![("type", "nodes")], "/v1/catalog/nodes"),
        (
            vec![("type", "service"), ("service", "w"), ("tag", "t 1")],
            "/v1/health/service/w?tag=t+1",
        ),
        (vec![("type", "checks")], "/v1/health/state/any"),
        (
            vec![("type", "checks"), ("state", "passing")],
            "/v1/health/state/passing",
        ),
        (
            vec![("type", "checks"), ("service", "w")],
            "/v1/health/checks/w",
        ),
        (
            vec![("type", "event"), ("name", "e")],
            "/v1/event/list?name=e",
        ),
        (
            vec![("type", "agent_service"), ("service_id", "w1")],
            "/v1/agent/service/w1",
        ),
    ] {
        assert_eq!(plan(&pairs).query(&Progress::default()).target(), target);
    }
}

#[test]
fn only_what_is_new_is_told() {
    let plan = plan(&[("type", "key"), ("key", "k")]);
    let mut progress = Progress::default();
    let absent = Answer {
        status: 404,
        ..answer(5, "")
    };
    assert_eq!(
        told(&mut progress, &plan, &absent),
        Some((5, "null".to_owned()))
    );
    assert_eq!(plan.query(&progress).target(), "/v1/kv/k?index=5");
    // The same index is a wait that ran out; a new index with the same result is none of ours.
    assert_eq!(told(&mut progress, &plan, &absent), None);
    let absent = Answer {
        index: "7".to_owned(),
        ..absent
    };
    assert_eq!(told(&mut progress, &plan, &absent), None);
    let set = answer(
        8,
        r#"[{"LockIndex":0,"Key":"k","Flags":0,"Value":"MQ==","CreateIndex":8,"ModifyIndex":8}]"#,
    );
    let json = r#"{"Key":"k","CreateIndex":8,"ModifyIndex":8,"LockIndex":0,"Flags":0,"Value":"MQ==","Session":""}"#;
    assert_eq!(told(&mut progress, &plan, &set), Some((8, json.to_owned())));
    // A restored snapshot may set the index back: ask from the beginning.
    let set = Answer {
        index: "3".to_owned(),
        ..set
    };
    assert_eq!(told(&mut progress, &plan, &set), None);
    assert_eq!(plan.query(&progress).target(), "/v1/kv/k");
}

#[test]
fn events_are_told_once() {
    let plan = plan(&[("type", "event")]);
    let mut progress = Progress::default();
    let event = |id: &str| {
        format!(
            r#"{{"ID":"{id}","Name":"e","Payload":null,"NodeFilter":"","ServiceFilter":"","TagFilter":"","Version":1,"LTime":2}}"#
        )
    };
    let (one, two) = (
        event("87373892-fd7d-4a20-33b7-8be3766cba80"),
        event("cf42a82f-04b5-f71c-5ed7-d68299ff8380"),
    );
    let first = answer(13006593024091877536, &format!("[{one}]"));
    assert_eq!(
        told(&mut progress, &plan, &first),
        Some((13006593024091877536, format!("[{one}]")))
    );
    // A digest below the last one is not an index that went backwards.
    let second = answer(10490430191162782876, &format!("[{one},{two}]"));
    assert_eq!(
        told(&mut progress, &plan, &second),
        Some((10490430191162782876, format!("[{two}]")))
    );
}

#[test]
fn failures_pause_longer_each_time_and_begin_again() {
    let plan = plan(&[("type", "services")]);
    let mut progress = Progress::default();
    let ok = answer(9, r#"{"consul":[]}"#);
    assert!(told(&mut progress, &plan, &ok).is_some());
    let bad = Answer {
        status: 500,
        body: b"No path to datacenter".to_vec(),
        ..Answer::default()
    };
    let text = progress.take(&plan, &bad).map_err(|e| e.text().to_owned());
    assert_eq!(
        text,
        Err("Unexpected response code: 500 (No path to datacenter)".to_owned())
    );
    let pauses: Vec<u64> = (0..8).map(|_| progress.failed().as_secs()).collect();
    assert_eq!(pauses, [5, 20, 45, 80, 125, 180, 180, 180]);
    assert_eq!(plan.query(&progress).target(), "/v1/catalog/services");
    // What was told before the failure is not told again.
    assert_eq!(told(&mut progress, &plan, &ok), None);
}

#[test]
fn a_service_has_the_fields_of_the_go_client() {
    let plan = plan(&[("type", "service"), ("service", "web")]);
    // Both recorded.
    let http = r#"[{"Node":{"ID":"25b1a648-46fc-ba65-7a9f-8dbdc24c2152","Node":"vm","Address":"127.0.7.1","Datacenter":"dc1","TaggedAddresses":{"lan":"127.0.7.1"},"Meta":{},"CreateIndex":11,"ModifyIndex":12},"Service":{"ID":"w1","Service":"web","Tags":["a"],"Address":"1.2.3.4","TaggedAddresses":{"lan":{"Address":"1.1.1.1","Port":8}},"Meta":{"k":"v"},"Port":80,"Weights":{"Passing":2,"Warning":3},"EnableTagOverride":true,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":13,"ModifyIndex":13},"Checks":[{"Node":"vm","CheckID":"serfHealth","Name":"Serf Health Status","Status":"passing","Notes":"","Output":"Agent alive and reachable","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Definition":{},"CreateIndex":11,"ModifyIndex":11}]}]"#;
    let want = r#"[{"Node":{"ID":"25b1a648-46fc-ba65-7a9f-8dbdc24c2152","Node":"vm","Address":"127.0.7.1","Datacenter":"dc1","TaggedAddresses":{"lan":"127.0.7.1"},"Meta":{},"CreateIndex":11,"ModifyIndex":12},"Service":{"ID":"w1","Service":"web","Tags":["a"],"Meta":{"k":"v"},"Port":80,"Address":"1.2.3.4","TaggedAddresses":{"lan":{"Address":"1.1.1.1","Port":8}},"Weights":{"Passing":2,"Warning":3},"EnableTagOverride":true,"CreateIndex":13,"ModifyIndex":13,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{}},"Checks":[{"Node":"vm","CheckID":"serfHealth","Name":"Serf Health Status","Status":"passing","Notes":"","Output":"Agent alive and reachable","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Definition":{"Interval":"0s","Timeout":"0s","DeregisterCriticalServiceAfter":"0s","HTTP":"","Header":null,"Method":"","Body":"","TLSSkipVerify":false,"TCP":""},"CreateIndex":11,"ModifyIndex":11}]}]"#;
    assert_eq!(
        told(&mut Progress::default(), &plan, &answer(13, http)),
        Some((13, want.to_owned()))
    );
}
