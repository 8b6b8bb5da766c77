//! Every expression here was asked of Consul 1.8.7 over the two instances built below.

use std::collections::BTreeMap;

use super::*;
use crate::structs::{
    CheckServiceNode, ConnectProxyConfig, HealthCheck, MeshGatewayConfig, Node, NodeInfo,
    NodeService, ServiceAddress, ServiceNode, Upstream, Weights,
};

fn text_map(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    Some(pairs.iter().map(owned).collect())
}

fn upstream(name: &str, port: i64, mode: &str) -> Upstream {
    Upstream {
        destination_name: name.into(),
        local_bind_port: port,
        mesh_gateway: MeshGatewayConfig { mode: mode.into() },
        ..Upstream::default()
    }
}

fn check(id: &str, name: &str, status: &str) -> HealthCheck {
    HealthCheck {
        node: "ext".into(),
        check_id: id.into(),
        name: name.into(),
        status: status.into(),
        service_id: "r1".into(),
        service_name: "redis".into(),
        service_tags: Some(vec!["a".into(), "B".into()]),
        ..HealthCheck::default()
    }
}

fn instances() -> Option<Vec<CheckServiceNode>> {
    let weights = Some(Weights {
        passing: 1,
        warning: 1,
    });
    let lan = ServiceAddress {
        address: "4.4.4.4".into(),
        port: 1,
    };
    let first = CheckServiceNode {
        node: Some(Node {
            node: "ext".into(),
            address: "1.2.3.5".into(),
            datacenter: "dc1".into(),
            tagged_addresses: text_map(&[("lan", "1.2.3.6")]),
            meta: text_map(&[("rack", "r1"), ("a-b", "x y")]),
            ..Node::default()
        }),
        service: Some(NodeService {
            id: "r1".into(),
            service: "redis".into(),
            tags: Some(vec!["a".into(), "B".into()]),
            address: "5.5.5.5".into(),
            port: 6379,
            meta: text_map(&[("k", "v")]),
            tagged_addresses: Some(BTreeMap::from([("lan".to_owned(), lan)])),
            weights: weights.clone(),
            proxy: ConnectProxyConfig {
                destination_service_name: "zz".into(),
                upstreams: Some(vec![upstream("up1", 99, "")]),
                ..ConnectProxyConfig::default()
            },
            ..NodeService::default()
        }),
        checks: Some(vec![
            check("c3", "nm", "passing"),
            check("c4", "other", "critical"),
        ]),
    };
    let second = CheckServiceNode {
        node: Some(Node {
            node: "ext2".into(),
            address: "1.2.3.7".into(),
            datacenter: "dc1".into(),
            ..Node::default()
        }),
        service: Some(NodeService {
            id: "r2".into(),
            service: "redis".into(),
            port: 1,
            weights,
            proxy: ConnectProxyConfig {
                upstreams: Some(vec![upstream("a", 1, "local"), upstream("b", 2, "")]),
                ..ConnectProxyConfig::default()
            },
            ..NodeService::default()
        }),
        checks: None,
    };
    Some(vec![first, second])
}

/// The recorded lines of one kind: expression and answer.
fn recorded(kind: &str) -> Vec<(String, String)> {
    let plain = |s: &str| s.replace('␊', "\n").replace('␉', "\t");
    include_str!("recorded.txt")
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, '\t');
            (parts.next()? == kind).then_some(())?;
            Some((plain(parts.next()?), plain(parts.next()?)))
        })
        .collect()
}

#[test]
fn errors_are_consuls() {
    let mut wrong = Vec::new();
    for (expression, detail) in recorded("error") {
        let wanted = format!("Failed to create boolean expression evaluator: {detail}");
        let got = Filter::<CheckServiceNode>::parse(&expression);
        let got = got.map(|_| ()).map_err(|e| e.text().to_owned());
        if got != Err(wanted.clone()) {
            wrong.push(format!("{expression}\n  wanted {wanted}\n  got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn matches_are_consuls() {
    let recorded = recorded("match");
    assert!(recorded.len() > 80);
    for (expression, wanted) in recorded {
        let mut list = instances();
        retain(&expression, &mut list).unwrap_or_else(|e| panic!("{expression}: {e}"));
        let ids = list.into_iter().flatten();
        let ids: Vec<_> = ids.filter_map(|i| i.service.map(|s| s.id)).collect();
        assert_eq!(ids.join(","), wanted, "{expression}");
    }
}

#[test]
fn every_type_has_its_selectors() {
    let fails = |result: Result<()>, wanted: &str| {
        let text = result
            .err()
            .map(|e| e.text().to_owned())
            .unwrap_or_default();
        assert!(text.ends_with(wanted), "{text}");
    };
    let node = Filter::<Node>::parse("Meta.rack == r1 and Datacenter == dc1");
    assert!(node.is_ok_and(|f| {
        let list = instances().unwrap_or_default();
        list[0].node.as_ref().is_some_and(|n| f.matches(n))
            && !list[1].node.as_ref().is_some_and(|n| f.matches(n))
    }));
    fails(
        Filter::<Node>::parse("ModifyIndex == 1").map(|_| ()),
        "Selector \"ModifyIndex\" is not valid",
    );
    fails(
        Filter::<NodeInfo>::parse("Datacenter == 1").map(|_| ()),
        "Selector \"Datacenter\" is not valid",
    );
    fails(
        Filter::<HealthCheck>::parse("Definition.HTTP == 1").map(|_| ()),
        "Selector \"Definition\" is not valid",
    );
    fails(
        Filter::<ServiceNode>::parse("ServiceConnect == 1").map(|_| ()),
        "Invalid match operator \"Equal\" for selector \"ServiceConnect\"",
    );
    assert!(Filter::<NodeInfo>::parse("Services.Tags contains x and Checks.Status == y").is_ok());
    assert!(Filter::<NodeService>::parse("Proxy.Expose.Paths.ListenerPort == 80").is_ok());
}

#[test]
fn depth_and_length_have_a_maximum() {
    for open in ["(", "not "] {
        let deep = |n: usize| {
            let close = if open == "(" { ")" } else { "" };
            format!("{}Service.ID == r1{}", open.repeat(n), close.repeat(n))
        };
        assert!(Filter::<CheckServiceNode>::parse(&deep(MAX_DEPTH - 1)).is_ok());
        let error = Filter::<CheckServiceNode>::parse(&deep(20_000 / open.len())).err();
        assert!(error.is_some_and(|e| e.is("nests deeper than 128 levels")));
    }
    let long = vec!["Service.ID == r1"; MAX_LENGTH / 8].join(" or ");
    let error = Filter::<CheckServiceNode>::parse(&long).err();
    assert!(error.is_some_and(|e| e.is("longer than 65536 bytes")));
    let wide = vec!["Service.ID == r9"; 3000].join(" or ");
    let mut list = instances();
    assert!(retain(&wide, &mut list).is_ok());
    assert_eq!(list, Some(vec![]));
}

#[test]
fn garbage_never_panics() {
    let pieces = [
        "(",
        ")",
        "not",
        "and",
        "or",
        " ",
        "Service.ID",
        "==",
        "!=",
        "\"",
        "`",
        "\\",
        "[",
        "]",
        ".",
        "é",
        "3",
        "-",
        "in",
        "is",
        "empty",
        "contains",
        "matches",
        "\n",
        "\u{0}",
    ];
    let mut seed = 1u32;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push_str(pieces[(seed >> 16) as usize % pieces.len()]);
        }
        let _ = Filter::<CheckServiceNode>::parse(&text);
        let _ = regexp::compile(&text);
    }
}
