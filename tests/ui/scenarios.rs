//! The scenarios: which agents each needs and what they hold before it begins.

use std::path::{Path, PathBuf};

use crate::agents::{
    Backend, READY, TOKEN, backend_of, connections, fill, guarded, is_ours, ours, put, resident,
    wait_guarded,
};
use crate::browser::{self, shots};
use crate::common::agent::{Agent, Plan, SERF_LAN, SERF_WAN};
use crate::common::harness::{Outcome, Test};
use crate::common::{Loopback, consul_lite, oracle, project_dir, wait_until};

/// The program, or why there is none.
type Binary = Result<PathBuf, String>;
type Scenario = fn(&Binary) -> Outcome;

/// All scenarios.
pub fn all() -> Vec<Test> {
    let both: [(&str, Scenario); 5] = [
        ("pages_of_access", pages_of_access),
        ("access", access),
        ("login", login),
        ("features", features),
        ("cluster", cluster),
    ];
    let mut all = vec![
        Test::new("job", job),
        Test::new("pages", pages),
        Test::new("pages_signed_out", pages_signed_out),
        Test::new("keys", keys),
        Test::new("live", live),
        Test::new("plots", plots),
        Test::new("proxy", proxy),
        Test::new("cost", cost),
    ];
    for (name, run) in both {
        all.push(Test::new(name, move || run(&Ok(consul_lite()))));
        let of_consul = format!("{name}_of_consul");
        all.push(Test::new(of_consul, move || run(&oracle::find())));
    }
    all
}

/// The arguments of every scenario, with further members.
fn args(agent: &Agent, path: &str, more: &str) -> String {
    let api = format!("http://{}", agent.http());
    let dir = agent.dir().display();
    let cli = consul_lite();
    let (cli, shots) = (cli.display(), shots());
    format!(
        r#"{{"api": "{api}", "url": "{api}{path}", "path": "{path}", "dir": "{dir}", "cli": "{cli}",
 "shots": "{}", "node": "n1" {more}}}"#,
        shots.display()
    )
}

fn nothing(wish: &str) -> Result<String, String> {
    Err(format!("nobody can {wish}"))
}

/// The further arguments of who is signed in.
fn with_token() -> String {
    format!(r#", "token": "{TOKEN}""#)
}

/// All that the page is for, from signing in on, while a backend stops.
fn job() -> Outcome {
    let net = Loopback::claim();
    let servers = guarded(&consul_lite(), &net, true);
    let mut backend = None;
    browser::run("job", &args(&servers[0], "/ui/", &with_token()), |wish| {
        backend = switched(&net, wish)?;
        Ok(String::new())
    })
}

/// The backend as it is wished to be.
fn switched(net: &Loopback, wish: &str) -> Result<Option<Backend>, String> {
    match wish {
        "stop backend" => Ok(None),
        "start backend" => Ok(Some(Backend::start(backend_of(net)))),
        _ => Err(format!("nobody can {wish}")),
    }
}

fn pages() -> Outcome {
    let net = Loopback::claim();
    let servers = guarded(&consul_lite(), &net, true);
    fill(&servers[0]);
    let paths = r#", "paths": ["dc1/overview", "dc1/services", "dc1/services/web", "dc1/services/sensor", "dc1/nodes",
 "dc1/nodes/n1", "dc1/nodes/edge-4", "dc1/kv", "dc1/kv/app/", "dc1/kv/app/config.yaml", "dc1/kv/app/certificate.der",
 "dc1/kv/app/?new=1", "dc1/intentions", "dc1/events", "dc1/metrics", "dc1/services/none"]"#;
    let more = format!("{}{paths}", with_token());
    browser::run("pages", &args(&servers[0], "/ui/", &more), nothing)
}

fn pages_signed_out() -> Outcome {
    let net = Loopback::claim();
    let servers = guarded(&consul_lite(), &net, false);
    let paths = r#", "prefix": "out-", "paths": ["dc1/overview", "dc1/services", "dc1/nodes/n1", "dc1/kv", "dc1/tokens",
 "dc1/metrics", "dc1/sign-in", "dc1/sign-in?method=staff"]"#;
    browser::run("pages", &args(&servers[0], "/ui/", paths), nothing)
}

fn keys() -> Outcome {
    let net = Loopback::claim();
    let servers = guarded(&consul_lite(), &net, false);
    browser::run("keys", &args(&servers[0], "/ui/", &with_token()), nothing)
}

fn live() -> Outcome {
    let net = Loopback::claim();
    let mut backend = Some(Backend::start(backend_of(&net)));
    let mut servers = guarded(&consul_lite(), &net, true);
    let args = args(&servers[0], "/ui/", &with_token());
    browser::run("live", &args, |wish| {
        match wish {
            "kill agent" => servers[0].kill(),
            "start agent" => {
                servers[0].restart();
                wait_guarded(&servers[0]);
            }
            _ => backend = switched(&net, wish)?,
        }
        Ok(String::new())
    })
}

fn plots() -> Outcome {
    let net = Loopback::claim();
    let agent = ours(&net, r#", "ui": true"#);
    fill(&agent);
    browser::run("plots", &args(&agent, "/ui/", ""), nothing)
}

fn proxy() -> Outcome {
    let net = Loopback::claim();
    let agent = ours(
        &net,
        r#", "ui_config": {"enabled": true, "content_path": "/my/own-ui"}"#,
    );
    browser::run("proxy", &args(&agent, "/my/own-ui/", ""), nothing)
}

fn cost() -> Outcome {
    let net = Loopback::claim();
    let mut agent = ours(&net, r#", "ui": true"#);
    let pid = agent.process().pid();
    let http = agent.http();
    let paths = r#", "paths": ["dc1/services", "dc1/services/web", "dc1/nodes", "dc1/nodes/n1", "dc1/kv", "dc1/kv/x?new=1",
 "dc1/tokens", "dc1/policies", "dc1/roles", "dc1/auth-methods", "dc1/intentions", "dc1/queries", "dc1/events",
 "dc1/metrics", "dc1/sign-in"]"#;
    browser::run("cost", &args(&agent, "/ui/", paths), |wish| match wish {
        "memory" => resident(pid).ok_or_else(|| "no memory to be read".to_owned()),
        "connections" => Ok(connections(http).to_string()),
        _ => nothing(wish),
    })
}

fn access(binary: &Binary) -> Outcome {
    let binary = match binary {
        Ok(binary) => binary,
        Err(why) => return Outcome::Skipped(why.clone()),
    };
    let net = Loopback::claim();
    let servers = guarded(binary, &net, false);
    let agent = &servers[0];
    browser::run("access", &args(agent, "/ui/", &with_token()), nothing)
}

fn pages_of_access(binary: &Binary) -> Outcome {
    let binary = match binary {
        Ok(binary) => binary,
        Err(why) => return Outcome::Skipped(why.clone()),
    };
    let net = Loopback::claim();
    let servers = guarded(binary, &net, false);
    let agent = &servers[0];
    let id = "aaaaaaaa-2222-3333-4444-555555555555";
    put(
        agent,
        "/v1/acl/policy",
        r#"{"Name": "web-read", "Description": "read services", "Rules": "service_prefix \"\" {\n  policy = \"read\"\n}\n"}"#,
    );
    put(
        agent,
        "/v1/acl/token",
        &format!(
            r#"{{"AccessorID": "{id}", "Description": "web of team 7", "Policies": [{{"Name": "web-read"}}]}}"#
        ),
    );
    put(
        agent,
        "/v1/acl/auth-method",
        r#"{"Name": "staff", "Type": "jwt", "Description": "who works here", "Config": {"JWKSURL": "", "OIDCDiscoveryURL": "",
 "JWTValidationPubKeys": ["-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+q9NGm8pOUktXf6+uDvO7ftRFsxG\nyDd5mQg/VI73p2C3fQMadHSFZPv0ywHO6cSmgt6Xo1odxmwN7oJ/BIwcOw==\n-----END PUBLIC KEY-----"],
 "ClaimMappings": {"team": "team"}}}"#,
    );
    put(
        agent,
        "/v1/acl/binding-rule",
        r#"{"AuthMethod": "staff", "BindType": "service", "BindName": "${value.team}", "Selector": "value.team != \"guests\""}"#,
    );
    put(
        agent,
        "/v1/acl/role",
        r#"{"Name": "web-role", "Policies": [{"Name": "web-read"}]}"#,
    );
    let more = format!(
        r#", "token": "{TOKEN}", "prefix": "{}acl-", "paths": ["dc1/tokens", "dc1/tokens/{id}", "dc1/tokens/new", "dc1/policies",
 "dc1/policies/00000000-0000-0000-0000-000000000001", "dc1/policies/new", "dc1/roles", "dc1/roles/new", "dc1/auth-methods",
 "dc1/auth-methods/new", "dc1/auth-methods/staff", "dc1/intentions", "dc1/queries/new", "dc1/sign-in"]"#,
        prefix(binary)
    );
    browser::run("pages", &args(agent, "/ui/", &more), nothing)
}

/// Signing in through an auth method.
fn login(binary: &Binary) -> Outcome {
    let binary = match binary {
        Ok(binary) => binary,
        Err(why) => return Outcome::Skipped(why.clone()),
    };
    let net = Loopback::claim();
    let servers = guarded(binary, &net, false);
    let more = format!(r#", "token": "{TOKEN}", "prefix": "{}""#, prefix(binary));
    browser::run("login", &args(&servers[0], "/ui/", &more), nothing)
}

/// What only some agents' API has.
fn features(binary: &Binary) -> Outcome {
    let binary = match binary {
        Ok(binary) => binary,
        Err(why) => return Outcome::Skipped(why.clone()),
    };
    let net = Loopback::claim();
    let servers = guarded(binary, &net, false);
    let has = !is_ours(binary);
    let more = format!(r#", "token": "{TOKEN}", "has": {has}"#);
    browser::run("features", &args(&servers[0], "/ui/", &more), nothing)
}

/// What screenshots of a program's page begin with.
fn prefix(binary: &Path) -> &'static str {
    if binary == consul_lite() {
        ""
    } else {
        "consul-"
    }
}

/// Three servers of one datacenter and one of another.
fn cluster(binary: &Binary) -> Outcome {
    let binary = match binary {
        Ok(binary) => binary,
        Err(why) => return Outcome::Skipped(why.clone()),
    };
    let net = Loopback::claim();
    let page = project_dir().join("src/ui/page").display().to_string();
    let start = |host: u8, node: &str, rest: &str| {
        let config = format!(
            r#"{{"node_id": "8f20b1c4-5a1d-4c07-9f6e-00000000000{host}", "ui_dir": "{page}",
 "retry_join_wan": ["{}:{SERF_WAN}"], {rest}}}"#,
            net.ip(1)
        );
        Agent::start(&Plan {
            binary,
            ip: net.ip(host),
            node,
            config: vec![("10-ui.json".into(), config)],
        })
    };
    let three = format!(
        r#""bootstrap_expect": 3, "retry_join": ["{}:{SERF_LAN}", "{}:{SERF_LAN}"]"#,
        net.ip(1),
        net.ip(2)
    );
    let mut servers: Vec<Agent> = (1..=3)
        .map(|host| start(host, &format!("n{host}"), &three))
        .collect();
    let _far = start(4, "far", r#""datacenter": "dc2""#);
    servers
        .iter_mut()
        .for_each(|server| server.wait_ready(READY));
    wait_until(READY, "all datacenters and voters are known", || {
        let mut client = servers[0].client();
        let mut has = |target: &str, text: &str| {
            let answer = client.get(target);
            answer.is_ok_and(|a| a.status == 200 && a.text().contains(text))
        };
        let other = has("/v1/catalog/datacenters", "dc2")
            && has("/v1/catalog/nodes?dc=dc2", "far")
            && has("/v1/operator/autopilot/health?dc=dc2", "\"Healthy\":true");
        (other && has("/v1/operator/autopilot/health", "\"FailureTolerance\":1")).then_some(())
    });
    let more = format!(r#", "prefix": "{}""#, prefix(binary));
    let args = args(&servers[0], "/ui/", &more);
    browser::run("cluster", &args, |wish| {
        match wish {
            "stop two" => servers[1..].iter_mut().for_each(Agent::kill),
            "start two" => servers[1..].iter_mut().for_each(Agent::restart),
            _ => return nothing(wish),
        }
        Ok(String::new())
    })
}
