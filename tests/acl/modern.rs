//! A cluster the present way: three servers and a client agent that refuse by default, the first token by the command
//! `acl bootstrap`, then policies, a role, a token for each agent and one for each service, all by commands.

use std::process::Command;
use std::time::Duration;

use crate::common::agent::{Agent, Plan, SERF_LAN};
use crate::common::harness::{Outcome, Test};
use crate::common::{Loopback, consul_lite, try_until};
use crate::{Api, field};

/// Limit of everything that takes the cluster a while.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where the client agent is among the addresses.
const CLIENT: u8 = 50;

pub fn tests() -> Vec<Test> {
    vec![Test::new("modern::three_servers_and_a_client", || {
        cluster();
        Outcome::Passed
    })]
}

/// The secret of an agent's own token, as its configuration holds it before there is such a token.
fn agent_token(host: u8) -> String {
    format!("aaaaaaaa-0000-4000-8000-0000000000{host:02x}")
}

fn start(net: &Loopback, host: u8, role: &str) -> Agent {
    let seeds: Vec<String> = (1..=3)
        .map(|n| format!("\"{}:{SERF_LAN}\"", net.ip(n)))
        .collect();
    let role = format!(
        "\"node_id\": \"00000000-0000-4000-8000-0000000000{host:02x}\", {role} \"retry_join\": [{}], \
         \"retry_interval\": \"1s\",",
        seeds.join(", ")
    );
    let acl = format!(
        "acl {{\n  enabled = true\n  default_policy = \"deny\"\n  tokens {{\n    agent = \"{}\"\n  }}\n}}\n",
        agent_token(host)
    );
    let plan = Plan {
        binary: &consul_lite(),
        ip: net.ip(host),
        node: &format!("n{host}"),
        config: vec![("acl.hcl".to_owned(), acl)],
    };
    Agent::start_as(&plan, &role)
}

/// Runs a command against an agent; its output, and whether it ended well.
fn run(agent: &Agent, token: &str, args: &[&str]) -> (bool, String) {
    let out = Command::new(consul_lite())
        .args(args)
        .env("CONSUL_HTTP_ADDR", format!("http://{}", agent.http()))
        .env("CONSUL_HTTP_TOKEN", token)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    (out.status.success(), text.into_owned())
}

fn must(agent: &Agent, token: &str, args: &[&str]) -> String {
    let (well, text) = run(agent, token, args);
    assert!(well, "{args:?}: {text}");
    text
}

fn until<T>(what: &str, agents: &[Agent], ready: impl FnMut() -> Option<T>) -> T {
    match try_until(PATIENCE, ready) {
        Some(value) => value,
        None => {
            let logs: Vec<String> = agents.iter().map(|a| a.log_tail(12)).collect();
            panic!("not within {PATIENCE:?}: {what}\n{}", logs.join("\n--\n"));
        }
    }
}

/// The value of a line `Name:   value`.
fn line(text: &str, name: &str) -> String {
    let found = text.lines().find_map(|l| l.strip_prefix(name));
    found.unwrap_or_default().trim().to_owned()
}

fn cluster() {
    let net = Loopback::claim();
    let role = "\"server\": true, \"bootstrap_expect\": 3,";
    let mut agents: Vec<Agent> = (1..=3).map(|host| start(&net, host, role)).collect();
    agents.push(start(&net, CLIENT, ""));
    let made = until("the first token", &agents, || {
        let (well, text) = run(&agents[0], "", &["acl", "bootstrap"]);
        well.then_some(text)
    });
    assert!(
        made.contains("Bootstrap Token (Global Management)"),
        "{made}"
    );
    let root = line(&made, "SecretID:");
    let text = until("the second one's answer", &agents, || {
        let (well, text) = run(&agents[1], "", &["acl", "bootstrap"]);
        assert!(!well, "{text}");
        (!text.contains("No cluster leader")).then_some(text)
    });
    let refused = "Failed ACL bootstrapping: Unexpected response code: 403 (Permission denied: ACL bootstrap no longer \
                   allowed (reset index: ";
    assert!(
        text.replace("rpc error making call: ", "")
            .starts_with(refused),
        "{text}"
    );
    nothing_without_a_token(&agents);
    agents_get_tokens(&agents, &root);
    let (web, app) = services_get_tokens(&agents, &root);
    service(&agents, &root, &web);
    keys(&agents, &app);
    names(&agents, &root);
    agents[0].kill();
    until("one server less changes nothing", &agents[1..], || {
        let (well, _) = run(&agents[3], &app, &["kv", "put", "app/after", "1"]);
        well.then_some(())
    });
    until("nobody may more than before", &agents[1..], || {
        let (well, text) = run(&agents[3], "", &["kv", "put", "app/after", "2"]);
        assert!(!well, "{text}");
        text.contains("Permission denied").then_some(())
    });
}

/// On servers and on the client: calls are refused, lists are empty.
fn nothing_without_a_token(agents: &[Agent]) {
    for agent in agents {
        // The client may not have found its servers yet, nor a server its leader.
        let text = until("who answers knows a server", agents, || {
            let (well, text) = run(agent, "", &["kv", "put", "a", "1"]);
            assert!(!well, "{text}");
            let not_yet = ["No known Consul servers", "No cluster leader"];
            let knows = !not_yet.iter().any(|why| text.contains(why));
            knows.then_some(text)
        });
        assert!(text.contains("Permission denied"), "{text}");
        for args in [
            &["info"][..],
            &["reload"],
            &["leave"],
            &["acl", "token", "list"],
            &["operator", "raft", "list-peers"],
            &["snapshot", "save", "/dev/null"],
        ] {
            let (well, text) = run(agent, "", args);
            assert!(
                !well && text.contains("Permission denied"),
                "{args:?}: {text}"
            );
        }
        assert_eq!(run(agent, "", &["members"]), (false, String::new()));
        let mut api = Api::new(agent);
        for target in [
            "/v1/catalog/nodes",
            "/v1/agent/members",
            "/v1/health/state/any",
        ] {
            assert_eq!(api.ask("", "GET", target, ""), (200, "[]".to_owned()));
        }
        let (status, text) = api.ask("", "PUT", "/v1/agent/service/register", "{\"Name\":\"x\"}");
        let want = "Permission denied: Missing service:write on x";
        assert_eq!((status, text.as_str()), (403, want));
    }
}

/// Each agent's token gets its rights; then the agents register themselves.
fn agents_get_tokens(agents: &[Agent], root: &str) {
    let rules = "node_prefix \"\" { policy = \"read\" } service_prefix \"\" { policy = \"read\" }";
    let text = must(
        &agents[0],
        root,
        &[
            "acl", "policy", "create", "-name", "agents", "-rules", rules,
        ],
    );
    assert_eq!(line(&text, "Name:"), "agents");
    let mut api = Api::new(&agents[0]);
    let (_, node) = api.ask(root, "GET", "/v1/catalog/node/n50", "");
    assert!(
        !node.contains("consul-network-segment"),
        "it has no token yet: {node}"
    );
    for host in [1, 2, 3, CLIENT] {
        let secret = agent_token(host);
        let identity = format!("n{host}:dc1");
        let args = [
            "acl",
            "token",
            "create",
            "-policy-name",
            "agents",
            "-node-identity",
            &identity,
            "-secret",
            &secret,
        ];
        let text = must(&agents[2], root, &args);
        assert_eq!(line(&text, "SecretID:"), secret);
    }
    for host in [1, 2, 3, CLIENT] {
        until(
            "agents are in the catalog by their own doing",
            agents,
            || {
                let target = format!("/v1/catalog/node/n{host}");
                let (_, text) = api.ask(root, "GET", &target, "");
                text.contains("consul-network-segment").then_some(())
            },
        );
    }
    // An agent's token is for that agent.
    let (status, text) = api.ask(
        &agent_token(CLIENT),
        "PUT",
        "/v1/catalog/register",
        "{\"Node\":\"n1\",\"Address\":\"1.1.1.1\"}",
    );
    assert_eq!(status, 403, "{text}");
    // The agent may remember for a while that there was no such token.
    until("the agent knows its token", agents, || {
        let (well, text) = run(&agents[3], &agent_token(CLIENT), &["members"]);
        (well && text.contains("n50")).then_some(())
    });
}

/// A role with the identity of a service, and a policy for keys; a token of each.
fn services_get_tokens(agents: &[Agent], root: &str) -> (String, String) {
    let role = [
        "acl",
        "role",
        "create",
        "-name",
        "web",
        "-service-identity",
        "web",
    ];
    assert_eq!(line(&must(&agents[3], root, &role), "Name:"), "web");
    let web = must(
        &agents[3],
        root,
        &[
            "acl",
            "token",
            "create",
            "-role-name",
            "web",
            "-description",
            "web",
        ],
    );
    let rules =
        "key_prefix \"app/\" { policy = \"write\" } session_prefix \"\" { policy = \"write\" }";
    must(
        &agents[3],
        root,
        &["acl", "policy", "create", "-name", "app", "-rules", rules],
    );
    let app = must(
        &agents[3],
        root,
        &["acl", "token", "create", "-policy-name", "app"],
    );
    (line(&web, "SecretID:"), line(&app, "SecretID:"))
}

/// A service is registered with its own token, which is also what brings it into the catalog.
fn service(agents: &[Agent], root: &str, web: &str) {
    let (mut client, mut server) = (Api::new(&agents[3]), Api::new(&agents[0]));
    let body = format!("{{\"Name\":\"web\",\"ID\":\"web1\",\"Port\":80,\"Token\":\"{web}\"}}");
    until("the agent knows the token", agents, || {
        let (status, _) = client.ask(web, "PUT", "/v1/agent/service/register", &body);
        (status == 200).then_some(())
    });
    until("the service is in the catalog", agents, || {
        let (_, text) = server.ask(root, "GET", "/v1/health/service/web", "");
        text.contains("\"web1\"").then_some(())
    });
    let (status, text) = client.ask(
        web,
        "PUT",
        "/v1/agent/service/register",
        "{\"Name\":\"db\"}",
    );
    let want = "Permission denied: Missing service:write on db";
    assert_eq!((status, text.as_str()), (403, want));
    let (_, text) = server.ask("", "GET", "/v1/health/service/web", "");
    assert_eq!(text, "[]");
    let (_, text) = server.ask(web, "GET", "/v1/health/service/web", "");
    assert!(text.contains("\"web1\""), "{text}");
}

fn keys(agents: &[Agent], app: &str) {
    for agent in agents {
        must(agent, app, &["kv", "put", "app/x", "1"]);
        assert_eq!(must(agent, app, &["kv", "get", "app/x"]), "1\n");
        let (well, text) = run(agent, app, &["kv", "put", "other", "1"]);
        assert!(!well && text.contains("Permission denied"), "{text}");
        let (well, text) = run(
            agent,
            "bbbbbbbb-0000-4000-8000-000000000000",
            &["kv", "get", "app/x"],
        );
        assert!(!well && text.contains("403"), "{text}");
    }
    // Its node has been registered by itself; the check of its health is the leader's doing.
    let text = until("a session", agents, || {
        let (status, text) = Api::new(&agents[3]).ask(app, "PUT", "/v1/session/create", "{}");
        (status == 200).then_some(text)
    });
    assert_eq!(field(&text, "ID").len(), 36);
}

/// Names are found by whom the anonymous token lets see them.
fn names(agents: &[Agent], root: &str) {
    let found = |agent: &Agent| {
        let answer = crate::names::addresses(agent.dns(), "web.service.consul");
        answer.is_ok_and(|found| found > 0)
    };
    assert!(
        !found(&agents[0]) && !found(&agents[3]),
        "names without a token"
    );
    let rules = "node_prefix \"\" { policy = \"read\" } service \"web\" { policy = \"read\" }";
    must(
        &agents[0],
        root,
        &["acl", "policy", "create", "-name", "names", "-rules", rules],
    );
    must(
        &agents[0],
        root,
        &[
            "acl",
            "token",
            "update",
            "-id",
            "anonymous",
            "-policy-name",
            "names",
        ],
    );
    for agent in agents {
        until("the name is found", agents, || found(agent).then_some(()));
    }
}
