//! The tutorial's datacenter, with the old keys in `acl.json`: servers of one kind and a client agent of the other.

use std::path::Path;
use std::time::Duration;

use crate::common::agent::{Agent, Plan, SERF_LAN};
use crate::common::harness::{Outcome, Test};
use crate::common::{Loopback, consul_lite, oracle, try_until};
use crate::{Api, MASTER, field};

/// Limit of everything that takes the cluster a while.
const PATIENCE: Duration = Duration::from_secs(90);

pub fn tests() -> Vec<Test> {
    let case = |name: &str, servers: u8, real_servers: bool, real_client: bool| {
        Test::new(format!("tutorial::{name}"), move || {
            let consul = match oracle::find() {
                Ok(path) => path,
                Err(why) if real_servers || real_client => return Outcome::Skipped(why),
                Err(_) => consul_lite(),
            };
            let of = |real: bool| if real { consul.clone() } else { consul_lite() };
            life(servers, &of(real_servers), &of(real_client));
            Outcome::Passed
        })
    };
    vec![
        case("our_server_and_our_client", 1, false, false),
        case("our_server_and_a_real_client", 1, false, true),
        case("a_real_server_and_our_client", 1, true, false),
        case("three_real_servers_and_our_client", 3, true, false),
        case("three_of_our_servers_and_our_client", 3, false, false),
        case("three_of_our_servers_and_a_real_client", 3, false, true),
    ]
}

fn acl(with_token: bool) -> (String, String) {
    let token = match with_token {
        true => format!(", \"acl_token\": \"{MASTER}\""),
        false => String::new(),
    };
    let text = format!(
        "{{\"acl_datacenter\": \"dc1\", \"acl_master_token\": \"{MASTER}\", \"acl_default_policy\": \"deny\", \
         \"acl_down_policy\": \"extend-cache\"{token}}}"
    );
    ("acl.json".to_owned(), text)
}

fn start(
    binary: &Path,
    net: &Loopback,
    host: u8,
    servers: u8,
    role: &str,
    with_token: bool,
) -> Agent {
    let seeds: Vec<String> = (1..=servers)
        .map(|n| format!("\"{}:{SERF_LAN}\"", net.ip(n)))
        .collect();
    let join = format!(
        "\"node_id\": \"00000000-0000-4000-8000-0000000000{host:02x}\", {role} \"retry_join\": [{}], \
         \"retry_interval\": \"1s\",",
        seeds.join(", ")
    );
    let plan = Plan {
        binary,
        ip: net.ip(host),
        node: &format!("n{host}"),
        config: vec![acl(with_token)],
    };
    Agent::start_as(&plan, &join)
}

fn until<T>(what: &str, agent: &Agent, ready: impl FnMut() -> Option<T>) -> T {
    match try_until(PATIENCE, ready) {
        Some(value) => value,
        None => panic!("not within {PATIENCE:?}: {what}\n{}", agent.log_tail(30)),
    }
}

fn life(servers: u8, server_binary: &Path, client_binary: &Path) {
    let net = Loopback::claim();
    let role = format!("\"server\": true, \"bootstrap_expect\": {servers},");
    let mut running: Vec<Agent> = (1..=servers)
        .map(|host| start(server_binary, &net, host, servers, &role, false))
        .collect();
    let mut server = Api::new(&running[0]);
    server.wait_ready(&running[0]);
    let client_agent = start(client_binary, &net, 50, servers, "", true);
    let mut client = Api::new(&client_agent);
    client.wait_ready(&client_agent);
    keys(&mut server, &mut client);
    catalog(&mut server, &mut client, &client_agent);
    policies(&mut server, &mut client, &client_agent);
    // Without servers what is remembered still holds.
    let known = client.ask(MASTER, "GET", "/v1/agent/services", "");
    assert_eq!(known.0, 200, "{}", known.1);
    running.iter_mut().for_each(Agent::kill);
    let (status, text) = client.ask(MASTER, "GET", "/v1/agent/services", "");
    assert_eq!(status, 200, "{text}");
}

fn keys(server: &mut Api, client: &mut Api) {
    for method in ["GET", "PUT", "DELETE"] {
        let (status, text) = server.ask("", method, "/v1/kv/a", "1");
        // A follower relays what the leader says.
        assert_eq!(status, 403, "{method}");
        assert!(text.ends_with("Permission denied"), "{text}");
    }
    // The client has a token for requests without one.
    let (status, text) = client.ask("", "PUT", "/v1/kv/a", "1");
    assert_eq!((status, text.trim()), (200, "true"));
    let (status, _) = client.ask(MASTER, "GET", "/v1/kv/a", "");
    assert_eq!(status, 200);
    let (status, text) = client.ask("nobody", "GET", "/v1/kv/a", "");
    assert_eq!(status, 403);
    assert!(text.contains("ACL not found"), "{text}");
}

/// The client's own registration and its services get into the catalog with its token.
fn catalog(server: &mut Api, client: &mut Api, agent: &Agent) {
    let service = "{\"Name\":\"web\",\"ID\":\"web1\",\"Port\":80}";
    let (status, text) = client.ask("", "PUT", "/v1/agent/service/register", service);
    assert_eq!(status, 200, "{text}");
    until("the service is in the catalog", agent, || {
        let (_, text) = server.ask(MASTER, "GET", "/v1/health/service/web", "");
        text.contains("\"web1\"").then_some(())
    });
    let (status, text) = server.ask("", "GET", "/v1/health/service/web", "");
    assert_eq!((status, text.as_str()), (200, "[]"));
    let (status, text) = server.ask("", "GET", "/v1/catalog/nodes", "");
    assert_eq!((status, text.as_str()), (200, "[]"));
    until("the client's node has its metadata", agent, || {
        let (_, text) = server.ask(MASTER, "GET", "/v1/catalog/node/n50", "");
        text.contains("consul-network-segment").then_some(())
    });
}

/// A token with little rights, at the client: in calls to servers and at the agent itself.
fn policies(server: &mut Api, client: &mut Api, agent: &Agent) {
    let rules = "key_prefix \\\"app/\\\" { policy = \\\"write\\\" } service \\\"web\\\" { policy = \\\"read\\\" }";
    let body = format!("{{\"Name\":\"app\",\"Rules\":\"{rules}\"}}");
    // Real servers that have just started still count with agents of before 1.4, each until it has seen otherwise.
    let modern = |api: &mut Api, method: &str, target: &str, body: &str| {
        let (status, text) = until("servers have left legacy mode", agent, || {
            let answer = api.ask(MASTER, method, target, body);
            (!answer.1.contains("legacy mode")).then_some(answer)
        });
        assert_eq!(status, 200, "{text}");
        text
    };
    modern(client, "PUT", "/v1/acl/policy", &body);
    let role = "{\"Name\":\"apps\",\"Policies\":[{\"Name\":\"app\"}]}";
    modern(client, "PUT", "/v1/acl/role", role);
    let body = "{\"Roles\":[{\"Name\":\"apps\"}]}";
    let made = modern(client, "PUT", "/v1/acl/token", body);
    let (secret, accessor) = (field(&made, "SecretID"), field(&made, "AccessorID"));
    let (status, text) = client.ask(&secret, "PUT", "/v1/kv/app/x", "1");
    assert_eq!((status, text.trim()), (200, "true"));
    let (status, text) = client.ask(&secret, "PUT", "/v1/kv/other", "1");
    assert_eq!(status, 403);
    assert!(text.contains("Permission denied"), "{text}");
    // Consul's agents believe at first that servers are of before 1.4.
    until("the agent itself knows the token", agent, || {
        let (_, text) = client.ask(&secret, "GET", "/v1/agent/services", "");
        text.contains("web1").then_some(())
    });
    let (status, text) = client.ask(&secret, "GET", "/v1/agent/self", "");
    assert_eq!((status, text.as_str()), (403, "Permission denied"));
    let service = "{\"Name\":\"db\"}";
    let (status, text) = client.ask(&secret, "PUT", "/v1/agent/service/register", service);
    let want = "Permission denied: Missing service:write on db";
    assert_eq!((status, text.as_str()), (403, want));
    // Servers forget at once.
    let target = format!("/v1/acl/token/{accessor}");
    modern(server, "DELETE", &target, "");
    until("the deleted token is refused", agent, || {
        (client.ask(&secret, "GET", "/v1/kv/app/x", "").0 == 403).then_some(())
    });
}
