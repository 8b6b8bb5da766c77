//! The same calls over port 8300 to the real Consul and to ours: the answers are the same but for indexes
//! and ids that each makes itself.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use consul_lite::drive::{self, Runtime};
use consul_lite::net::pool::{CallError, Pool};
use consul_lite::structs::rpc::{Reply, Request};
use consul_lite::structs::{
    DCSpecificRequest, DirEntry, HealthCheck, KVSRequest, KeyListRequest, KeyRequest, NodeService,
    QueryOptions, RegisterRequest, ServiceSpecificRequest, Session, SessionRequest, TxnKVOp, TxnOp,
    TxnRequest,
};
use consul_lite::wire::rpc;

use crate::common::agent::{Agent, SERVER};
use crate::common::harness::{Outcome, Test};
use crate::common::{Loopback, consul_lite, oracle, try_until};
use crate::hostile::resident;

const READY: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(60);

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("rpc::calls_are_answered_as_consul_answers_them", compare),
        Test::new("rpc::many_calls_share_a_connection", many),
        Test::new("rpc::large_listings_are_those_of_consul", large),
        Test::new("rpc::callers_that_take_nothing_hold_little", slow_callers),
    ]
}

/// An agent and the address of its RPC port; the address block stays claimed with it.
fn start(binary: &Path) -> (Agent, Loopback, SocketAddr) {
    let net = Loopback::claim();
    let ip = net.ip(1);
    let agent = Agent::ready(binary, ip, READY);
    (agent, net, (ip, SERVER).into())
}

/// A server of the real Consul and one of ours; why not, where there is no real one.
fn both() -> Result<[(Agent, Loopback, SocketAddr); 2], String> {
    Ok([start(&oracle::find()?), start(&consul_lite())])
}

fn pool(runtime: &Runtime) -> Arc<Pool> {
    let handle = runtime.handle();
    Arc::new(Pool::new(
        Arc::new(move |future| handle.spawn(future)),
        Some(Ipv4Addr::LOCALHOST.into()),
    ))
}

/// One call; its answer or error as text without what each server makes itself.
async fn ask(pool: &Pool, to: SocketAddr, request: &Request) -> String {
    match drive::timeout(ANSWER, pool.call(to, request)).await {
        Ok(Ok(reply)) => plain(&format!("{reply:?}")),
        Ok(Err(CallError::Remote(error))) => format!("error: {error}"),
        Ok(Err(other)) => panic!("{} to {to}: {other:?}", request.name()),
        Err(_) => panic!("{} to {to}: no answer within {ANSWER:?}", request.name()),
    }
}

/// Blanks indexes, addresses and UUIDs.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    let flush = |word: &mut String, out: &mut String| {
        let uuid = word.len() == 36 && word.matches('-').count() == 4;
        let address = word.starts_with("127.");
        let index = out.ends_with("index: ") || out.ends_with("last_contact: GoDuration(");
        match (uuid, address, index) {
            (false, false, false) => out.push_str(word),
            _ => out.push('*'),
        }
        word.clear();
    };
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || "-._".contains(c) {
            word.push(c);
        } else {
            flush(&mut word, &mut out);
            out.push(c);
        }
    }
    flush(&mut word, &mut out);
    out
}

fn kv(op: &str, key: &str, value: &str) -> Request {
    Request::KvsApply(KVSRequest {
        datacenter: "dc1".to_owned(),
        op: op.to_owned(),
        dir_ent: DirEntry {
            key: key.to_owned(),
            value: value.as_bytes().to_vec().into(),
            ..DirEntry::default()
        },
        ..KVSRequest::default()
    })
}

fn key(key: &str) -> KeyRequest {
    KeyRequest {
        datacenter: "dc1".to_owned(),
        key: key.to_owned(),
        ..KeyRequest::default()
    }
}

fn register(node: &str) -> Request {
    Request::CatalogRegister(Box::new(RegisterRequest {
        datacenter: "dc1".to_owned(),
        node: node.to_owned(),
        address: "10.1.2.3".to_owned(),
        service: Some(NodeService {
            id: "web1".to_owned(),
            service: "web".to_owned(),
            port: 80,
            ..NodeService::default()
        }),
        check: Some(HealthCheck {
            node: node.to_owned(),
            check_id: "c1".into(),
            name: "alive".to_owned(),
            status: "passing".to_owned(),
            ..HealthCheck::default()
        }),
        ..RegisterRequest::default()
    }))
}

fn calls() -> Vec<Request> {
    let dc = || DCSpecificRequest {
        datacenter: "dc1".to_owned(),
        ..DCSpecificRequest::default()
    };
    let far = DCSpecificRequest {
        datacenter: "nowhere".to_owned(),
        ..DCSpecificRequest::default()
    };
    let session = SessionRequest {
        datacenter: "dc1".to_owned(),
        op: "create".to_owned(),
        session: Session {
            node: "ghost".to_owned(),
            ..Session::default()
        },
        ..SessionRequest::default()
    };
    let txn = TxnRequest {
        datacenter: "dc1".to_owned(),
        ops: vec![TxnOp {
            kv: Some(TxnKVOp {
                verb: "cas".to_owned(),
                dir_ent: DirEntry {
                    key: "a/b".to_owned(),
                    modify_index: 1,
                    ..DirEntry::default()
                },
            }),
            ..TxnOp::default()
        }]
        .into(),
        ..TxnRequest::default()
    };
    let web = ServiceSpecificRequest {
        datacenter: "dc1".to_owned(),
        service_name: "web".to_owned(),
        ..ServiceSpecificRequest::default()
    };
    vec![
        Request::StatusPing(()),
        Request::StatusLeader(dc()),
        Request::StatusPeers(dc()),
        kv("set", "a/b", "one"),
        kv("cas", "a/b", "two"),
        Request::KvsGet(key("a/b")),
        Request::KvsGet(key("missing")),
        Request::KvsList(key("a/")),
        register("web-node"),
        Request::HealthServiceNodes(web.clone()),
        Request::CatalogServiceNodes(web),
        Request::CatalogListServices(dc()),
        Request::CatalogListNodes(far),
        register(""),
        Request::SessionApply(session),
        Request::TxnApply(txn),
    ]
}

fn compare() -> Outcome {
    let [(_real, _real_net, real), (_ours, _our_net, ours)] = match both() {
        Ok(both) => both,
        Err(why) => return Outcome::Skipped(why),
    };
    let runtime = Runtime::new().expect("threads");
    let pool = pool(&runtime);
    runtime.run(async {
        for request in calls() {
            let expected = ask(&pool, real, &request).await;
            let found = ask(&pool, ours, &request).await;
            assert_eq!(found, expected, "answer to {}", request.name());
        }
    });
    Outcome::Passed
}

/// A hundred blocked queries and the write that ends them, on one connection, to each kind of server.
fn many() -> Outcome {
    let mut servers = vec![start(&consul_lite())];
    if let Ok(theirs) = oracle::find() {
        servers.push(start(&theirs));
    }
    let runtime = Runtime::new().expect("threads");
    for (_agent, _net, to) in &servers {
        let pool = pool(&runtime);
        let handle = runtime.handle();
        runtime.run(async {
            ask(&pool, *to, &kv("set", "wait", "0")).await;
            let before = pool.call(*to, &Request::KvsGet(key("wait"))).await;
            let Ok(Reply::KvsGet(before)) = before else {
                panic!("{before:?}");
            };
            let blocked: Vec<_> = (0..100)
                .map(|_| {
                    let (pool, to) = (pool.clone(), *to);
                    let mut wait = key("wait");
                    wait.options = QueryOptions {
                        min_query_index: before.meta.index,
                        ..QueryOptions::default()
                    };
                    handle.spawn(async move { ask(&pool, to, &Request::KvsGet(wait)).await })
                })
                .collect();
            // Values that are written while the queries arrive wake those that are there already.
            ask(&pool, *to, &kv("set", "wait", "1")).await;
            for query in blocked {
                assert!(query.await.contains("key: \"wait\""));
            }
        });
    }
    Outcome::Passed
}

/// The key that one of the large entries has.
fn large_key(n: usize) -> String {
    format!("large/{n:03}/{}", n % 7)
}

/// Writes so many entries of so many bytes.
async fn fill(pool: &Pool, to: SocketAddr, entries: usize, bytes: usize) {
    for n in 0..entries {
        let value = char::from(b'a' + (n % 26) as u8).to_string().repeat(bytes);
        let done = ask(pool, to, &kv("set", &large_key(n), &value)).await;
        assert!(done.starts_with("KvsApply("), "{done}");
    }
}

/// Answers that are larger than what is kept in memory of them.
fn large() -> Outcome {
    let [(_real, _real_net, real), (_ours, _our_net, ours)] = match both() {
        Ok(both) => both,
        Err(why) => return Outcome::Skipped(why),
    };
    let runtime = Runtime::new().expect("threads");
    let pool = pool(&runtime);
    runtime.run(async {
        for to in [real, ours] {
            fill(&pool, to, 60, 20_000).await;
        }
        let keys = |prefix: &str, seperator: &str| KeyListRequest {
            datacenter: "dc1".to_owned(),
            prefix: prefix.to_owned(),
            seperator: seperator.to_owned(),
            ..KeyListRequest::default()
        };
        for request in [
            Request::KvsList(key("large/")),
            Request::KvsList(key("")),
            Request::KvsList(key("large/05")),
            Request::KvsListKeys(keys("large/", "/")),
            Request::KvsListKeys(keys("", "")),
            Request::KvsList(key("nothing/")),
            Request::KvsListKeys(keys("nothing/", "")),
        ] {
            let expected = ask(&pool, real, &request).await;
            let found = ask(&pool, ours, &request).await;
            assert!(
                found == expected,
                "answer to {}:\n{}\nConsul: {}",
                request.name(),
                found.chars().take(300).collect::<String>(),
                expected.chars().take(300).collect::<String>()
            );
        }
        // Keys alone that are more than a page.
        for n in 0..700 {
            let name = format!("{n:04}/{}", "k".repeat(500));
            ask(&pool, ours, &kv("set", &name, "")).await;
        }
        let all = pool.call(ours, &Request::KvsListKeys(keys("0", ""))).await;
        let Ok(Reply::KvsListKeys(all)) = all else {
            panic!("{all:?}");
        };
        let all = all.keys.unwrap_or_default();
        assert_eq!(all.len(), 700);
        assert!(all.is_sorted() && all[699].starts_with("0699/"));
    });
    Outcome::Passed
}

/// Callers that ask for everything and take nothing.
fn slow_callers() -> Outcome {
    const CALLERS: usize = 30;
    /// Bytes of all entries.
    const ALL: usize = 64 * ENTRY;
    const ENTRY: usize = 500_000;
    let (mut agent, _net, to) = start(&consul_lite());
    let runtime = Runtime::new().expect("threads");
    let pool = pool(&runtime);
    runtime.run(fill(&pool, to, 64, ENTRY));
    let pid = agent.process().pid();
    let before = resident(pid);
    let call = rpc::request(1, &Request::KvsList(key(""))).expect("a call");
    let mut held: Vec<TcpStream> = (0..CALLERS)
        .map(|_| {
            let mut stream = TcpStream::connect(to).expect("a connection");
            // The first byte of a connection for calls, one at a time.
            stream.write_all(&[0]).expect("written");
            stream.write_all(&call).expect("written");
            stream
        })
        .collect();
    // The first ones are being answered, as far as the system takes it for them.
    let started = try_until(ANSWER, || {
        let mut byte = [0];
        let asked = held
            .iter()
            .filter(|s| s.peek(&mut byte).is_ok_and(|n| n > 0));
        (asked.take(4).count() == 4).then_some(())
    });
    assert!(started.is_some(), "nobody is answered");
    let mut most = 0;
    runtime.run(async {
        for n in 0..50 {
            let value = n.to_string();
            ask(&pool, to, &kv("set", "calm", &value)).await;
            let got = ask(&pool, to, &Request::KvsGet(key("calm"))).await;
            assert!(got.contains("calm"), "{got}");
            most = most.max(resident(pid));
        }
    });
    println!(
        "{CALLERS} callers that take nothing of {ALL} bytes: resident {} KiB before, {} KiB at most",
        before >> 10,
        most >> 10
    );
    // Some pages of those that are read; with one whole answer it would be more.
    assert!(most < before + ALL / 2, "{before} bytes became {most}");
    // The agent's own listings do not wait for them.
    let own = agent.client().get("/v1/kv/?recurse").expect("an answer");
    assert!(own.status == 200 && own.body.len() > ALL);
    // Who gives up makes room for who comes later.
    held.clear();
    let whole = runtime.run(async { pool.call(to, &Request::KvsList(key("large/"))).await });
    let Ok(Reply::KvsList(whole)) = whole else {
        panic!("{whole:?}");
    };
    assert_eq!(whole.entries.map_or(0, |all| all.len()), 64);
    Outcome::Passed
}
