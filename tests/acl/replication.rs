//! The copying of ACLs from the primary datacenter: ours from ours, ours from a real one, a real one from ours. Many
//! objects, names that are exchanged, deletions, a primary that is restored or away, a token that may not, another leader.

use std::path::Path;
use std::time::Duration;

use crate::common::agent::{Agent, Plan, SERF_LAN, SERF_WAN};
use crate::common::harness::{Outcome, Test};
use crate::common::json::Json;
use crate::common::{Loopback, consul_lite, oracle, try_until};
use crate::secondary::status;
use crate::{Api, MASTER, field};

/// Limit of everything that takes agents a while: Consul waits up to 64 seconds after failures.
const PATIENCE: Duration = Duration::from_secs(180);
/// So many policies and tokens that they are fetched and written in several batches.
const MANY: usize = 80;

pub fn tests() -> Vec<Test> {
    let case = |name: &str, real_primary: bool, real_secondary: bool| {
        Test::new(format!("replication::{name}"), move || {
            let real = match oracle::find() {
                Ok(path) => path,
                Err(why) if real_primary || real_secondary => return Outcome::Skipped(why),
                Err(_) => consul_lite(),
            };
            let of = |is_real: bool| if is_real { real.clone() } else { consul_lite() };
            life(&of(real_primary), &of(real_secondary), !real_secondary);
            Outcome::Passed
        })
    };
    vec![
        case("ours_of_ours", false, false),
        case("ours_of_a_real_primary", true, false),
        case("a_real_one_of_our_primary", false, true),
        Test::new("replication::another_leader", || {
            another_leader(&consul_lite());
            Outcome::Passed
        }),
    ]
}

fn start(binary: &Path, net: &Loopback, host: u8, role: &str, acl: &str) -> Agent {
    let role = format!("\"node_id\": \"00000000-0000-4000-8000-0000000000{host:02x}\", {role}");
    let acl = format!("{{\"acl\":{{\"enabled\":true,\"default_policy\":\"deny\",{acl}}}}}");
    let plan = Plan {
        binary,
        ip: net.ip(host),
        node: &format!("n{host}"),
        config: vec![("50-acl.json".to_owned(), acl)],
    };
    Agent::start_as(&plan, &role)
}

fn start_primary(binary: &Path, net: &Loopback) -> Agent {
    let role = "\"server\": true, \"bootstrap_expect\": 1,";
    let acl = format!("\"tokens\":{{\"master\":\"{MASTER}\",\"agent\":\"{MASTER}\"}}");
    let agent = start(binary, net, 1, role, &acl);
    Api::new(&agent).wait_modern(&agent);
    agent
}

/// Servers of the other datacenter, on hosts 11 and so on.
fn start_secondary(binary: &Path, net: &Loopback, servers: u8) -> Vec<Agent> {
    let seeds: Vec<String> = (11..11 + servers)
        .map(|host| format!("\"{}:{SERF_LAN}\"", net.ip(host)))
        .collect();
    let role = format!(
        "\"server\": true, \"bootstrap_expect\": {servers}, \"datacenter\": \"dc2\", \
         \"primary_datacenter\": \"dc1\", \"retry_join_wan\": [\"{}:{SERF_WAN}\"], \"retry_interval_wan\": \"1s\", \
         \"retry_join\": [{}], \"retry_interval\": \"1s\",",
        net.ip(1),
        seeds.join(", ")
    );
    let acl = format!(
        "\"enable_token_replication\":true,\"tokens\":{{\"agent\":\"{MASTER}\",\"replication\":\"{MASTER}\"}}"
    );
    let hosts = 11..11 + servers;
    hosts
        .map(|host| start(binary, net, host, &role, &acl))
        .collect()
}

fn start_client(binary: &Path, net: &Loopback) -> Agent {
    let role = format!(
        "\"datacenter\": \"dc2\", \"primary_datacenter\": \"dc1\", \"retry_join\": [\"{}:{SERF_LAN}\"], \
         \"retry_interval\": \"1s\",",
        net.ip(11)
    );
    let acl = format!("\"tokens\":{{\"agent\":\"{MASTER}\"}}");
    start(binary, net, 50, &role, &acl)
}

fn until<T>(what: &str, agent: &Agent, ready: impl FnMut() -> Option<T>) -> T {
    match try_until(PATIENCE, ready) {
        Some(value) => value,
        None => panic!("not within {PATIENCE:?}: {what}\n{}", agent.log_tail(40)),
    }
}

/// Everything of a list that both datacenters say alike.
pub fn listed(api: &mut Api, target: &str) -> Option<Vec<String>> {
    let (200, text) = api.ask(MASTER, "GET", target, "") else {
        return None;
    };
    let Some(Json::List(list)) = Json::parse(&text) else {
        return None;
    };
    let text = |one: &Json, path: &str| one.at(path).map(Json::compact).unwrap_or_default();
    let global = list.iter().filter(|one| text(one, ".Local") != "true");
    let mut all: Vec<String> = global
        .map(|one| {
            let fields = [
                ".ID",
                ".AccessorID",
                ".Name",
                ".Description",
                ".Hash",
                ".Policies",
                ".Roles",
            ];
            fields.map(|path| text(one, path)).join(" ")
        })
        .collect();
    all.sort();
    Some(all)
}

/// Waits until the secondary datacenter has what the primary has, and nothing else.
fn wait_same(primary: &Agent, secondary: &Agent) {
    let (mut there, mut here) = (Api::new(primary), Api::new(secondary));
    for target in ["/v1/acl/policies", "/v1/acl/roles", "/v1/acl/tokens"] {
        until(&format!("{target} are the same"), secondary, || {
            let wanted = listed(&mut there, target)?;
            (listed(&mut here, target)? == wanted).then_some(())
        });
    }
}

fn policy(api: &mut Api, name: &str) -> String {
    let rules = "key_prefix \\\"\\\" { policy = \\\"write\\\" }";
    let body = format!("{{\"Name\":\"{name}\",\"Rules\":\"{rules}\"}}");
    field(&api.must("PUT", "/v1/acl/policy", &body), "ID")
}

fn token(api: &mut Api, policy: &str) -> (String, String) {
    let body = format!("{{\"Policies\":[{{\"Name\":\"{policy}\"}}]}}");
    let made = api.must("PUT", "/v1/acl/token", &body);
    (field(&made, "AccessorID"), field(&made, "SecretID"))
}

/// Waits until a secret may write keys at an agent, or no longer.
fn wait_may(agent: &Agent, secret: &str, may: bool) {
    let mut api = Api::new(agent);
    until(&format!("may write: {may}"), agent, || {
        let (status, _) = api.ask(secret, "PUT", "/v1/kv/x", "1");
        (status == if may { 200 } else { 403 }).then_some(())
    });
}

fn life(primary_binary: &Path, secondary_binary: &Path, ours: bool) {
    let net = Loopback::claim();
    let mut primary = start_primary(primary_binary, &net);
    let mut there = Api::new(&primary);
    let secondary = start_secondary(secondary_binary, &net, 1).remove(0);
    let mut here = Api::new(&secondary);
    here.wait_ready(&secondary);
    wait_same(&primary, &secondary);
    let client = start_client(secondary_binary, &net);
    Api::new(&client).wait_ready(&client);
    for n in 0..MANY {
        policy(&mut there, &format!("many-{n}"));
        token(&mut there, &format!("many-{n}"));
    }
    wait_same(&primary, &secondary);
    if ours {
        // Consul tries in vain for ever.
        exchange(&mut there, &primary, &secondary);
    }
    let mut there_too = Api::new(&client);
    written_at(&mut there_too, &primary, &secondary, &client);
    deleted(&mut there, &primary, &secondary);
    let kept = restored(&mut there, &primary, &secondary, ours);
    refused(&mut here, &secondary, ours);
    away(&mut primary, &secondary, &client, &kept);
}

/// Names change hands.
fn exchange(there: &mut Api, primary: &Agent, secondary: &Agent) {
    for kind in ["policy", "role"] {
        let target = format!("/v1/acl/{kind}");
        let [a, b] = ["a", "b"].map(|name| {
            let body = format!("{{\"Name\":\"{kind}-{name}\"}}");
            field(&there.must("PUT", &target, &body), "ID")
        });
        wait_same(primary, secondary);
        for (id, name) in [(&a, "c"), (&b, "a"), (&a, "b")] {
            let body = format!("{{\"Name\":\"{kind}-{name}\"}}");
            there.must("PUT", &format!("{target}/{id}"), &body);
        }
        wait_same(primary, secondary);
    }
}

/// What is written in the secondary datacenter, at a client agent, gets to where it belongs.
fn written_at(api: &mut Api, primary: &Agent, secondary: &Agent, client: &Agent) {
    policy(api, "from-here");
    wait_same(primary, secondary);
    let (_, secret) = token(api, "from-here");
    for agent in [primary, secondary, client] {
        wait_may(agent, &secret, true);
    }
    let body = "{\"Local\":true,\"Policies\":[{\"Name\":\"from-here\"}]}";
    let secret = field(&api.must("PUT", "/v1/acl/token", body), "SecretID");
    for agent in [secondary, client] {
        wait_may(agent, &secret, true);
    }
    let (status, text) = Api::new(primary).ask(&secret, "PUT", "/v1/kv/x", "1");
    assert_eq!((status, text.as_str()), (403, "ACL not found"));
}

fn deleted(there: &mut Api, primary: &Agent, secondary: &Agent) {
    let id = policy(there, "short-lived");
    let (accessor, secret) = token(there, "short-lived");
    wait_may(secondary, &secret, true);
    there.must("DELETE", &format!("/v1/acl/policy/{id}"), "");
    wait_may(secondary, &secret, false);
    there.must("DELETE", &format!("/v1/acl/token/{accessor}"), "");
    wait_same(primary, secondary);
    let (_, text) = Api::new(secondary).ask(&secret, "PUT", "/v1/kv/x", "1");
    assert_eq!(text, "ACL not found");
}

/// A restored primary's indexes go back: everything is compared. A secret that still counts.
fn restored(there: &mut Api, primary: &Agent, secondary: &Agent, ours: bool) -> String {
    policy(there, "kept");
    let (_, kept) = token(there, "kept");
    wait_may(secondary, &kept, true);
    let (status, archive) = there.raw("GET", "/v1/snapshot", b"");
    assert_eq!(status, 200);
    for n in 0..3 {
        policy(there, &format!("after-{n}"));
    }
    let (_, lost) = token(there, "after-0");
    wait_may(secondary, &lost, true);
    let (status, text) = there.raw("PUT", "/v1/snapshot", &archive);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&text));
    if !ours {
        // Consul waits five minutes for an index that is not reached any more, if it asks just then.
        policy(there, "again");
        token(there, "again");
    }
    wait_may(secondary, &lost, false);
    wait_same(primary, secondary);
    wait_may(secondary, &kept, true);
    kept
}

/// The index of the last entry of a server's log.
fn last_log_index(api: &mut Api) -> String {
    let text = api.must("GET", "/v1/agent/self", "");
    let about = Json::parse(&text);
    let index = about.and_then(|j| {
        j.at(".Stats.raft.last_log_index")
            .and_then(Json::scalar)
            .map(str::to_owned)
    });
    index.expect("a log index")
}

/// A secret that the primary does not know: that is told, nothing is lost, and once the right one is back everything is
/// compared and nothing is written.
fn refused(here: &mut Api, secondary: &Agent, ours: bool) {
    let target = "/v1/agent/token/replication";
    until("a full comparison writes nothing", secondary, || {
        let before = last_log_index(here);
        let all = listed(here, "/v1/acl/policies");
        let wrong = "{\"Token\":\"eeeeeeee-0000-4000-8000-000000000001\"}";
        let (error, success) = (status(here, "LastError"), status(here, "LastSuccess"));
        here.must("PUT", target, wrong);
        if !ours {
            // Consul does not end its blocked queries for that.
            policy(here, "wakes-the-queries");
        }
        until("the failure is told", secondary, || {
            (status(here, "LastError") != error).then_some(())
        });
        if ours {
            assert_eq!(listed(here, "/v1/acl/policies"), all, "nothing is lost");
        }
        here.must("PUT", target, &format!("{{\"Token\":\"{MASTER}\"}}"));
        until("it goes well again", secondary, || {
            (status(here, "LastSuccess") != success).then_some(())
        });
        (!ours || last_log_index(here) == before).then_some(())
    });
}

/// Without the primary everything stays as it is, and comes up to date once it is back.
fn away(primary: &mut Agent, secondary: &Agent, client: &Agent, kept: &str) {
    let mut here = Api::new(secondary);
    wait_same(primary, secondary);
    let all = listed(&mut here, "/v1/acl/policies");
    let error = status(&mut here, "LastError");
    primary.kill();
    until("the failure is told", secondary, || {
        (status(&mut here, "LastError") != error).then_some(())
    });
    assert_eq!(status(&mut here, "Running"), "true");
    assert_eq!(listed(&mut here, "/v1/acl/policies"), all);
    for agent in [secondary, client] {
        wait_may(agent, kept, true);
    }
    let (status, text) = here.ask(MASTER, "PUT", "/v1/acl/policy", "{\"Name\":\"away\"}");
    assert_eq!(status, 500, "{text}");
    let body = "{\"Local\":true,\"Policies\":[{\"Name\":\"kept\"}]}";
    let secret = field(&here.must("PUT", "/v1/acl/token", body), "SecretID");
    wait_may(client, &secret, true);
    primary.restart();
    let mut there = Api::new(primary);
    there.wait_modern(primary);
    policy(&mut there, "back");
    wait_same(primary, secondary);
}

/// Another leader of the secondary datacenter goes on.
fn another_leader(binary: &Path) {
    let net = Loopback::claim();
    let primary = start_primary(binary, &net);
    let mut there = Api::new(&primary);
    let mut servers = start_secondary(binary, &net, 3);
    for agent in &servers {
        Api::new(agent).wait_ready(agent);
    }
    policy(&mut there, "first");
    for agent in &servers {
        wait_same(&primary, agent);
    }
    let leader = until("a leader", &servers[0], || {
        let (_, address) = Api::new(&servers[0]).ask("", "GET", "/v1/status/leader", "");
        (0..3u8).find(|n| address.contains(&format!("\"{}:", net.ip(11 + n))))
    });
    let mut gone = servers.remove(usize::from(leader));
    gone.kill();
    policy(&mut there, "second");
    let (_, secret) = token(&mut there, "second");
    for agent in &servers {
        wait_may(agent, &secret, true);
        wait_same(&primary, agent);
        let mut api = Api::new(agent);
        until("the new leader tells", agent, || {
            let index = there.index(MASTER, "/v1/acl/policies")?;
            let told = status(&mut api, "ReplicatedIndex") == index.to_string();
            (told && status(&mut api, "Running") == "true").then_some(())
        });
    }
    // The old one comes back as a follower and has all of it.
    gone.restart();
    Api::new(&gone).wait_ready(&gone);
    wait_may(&gone, &secret, true);
}
