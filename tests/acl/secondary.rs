//! A datacenter whose ACLs are another one's, beside Consul: what its servers and client agents answer while all copies
//! are up to date, with the primary's tokens copied and without, and what they do while the primary is away.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::beside::{self, Side, told};
use crate::common::agent::Agent;
use crate::common::harness::Test;
use crate::common::json::Json;
use crate::common::try_until;
use crate::jwt::Signer;
use crate::replication::listed;
use crate::{Api, MASTER, field};

/// Limit of everything that takes agents a while.
const PATIENCE: Duration = Duration::from_secs(180);
/// Counts in the primary alone.
const THERE: &str = "dddddddd-0000-4000-8000-000000000001";
/// Nobody's.
const NOBODY: &str = "dddddddd-0000-4000-8000-000000000002";

pub fn tests() -> Vec<Test> {
    vec![
        beside::test("secondary::with_tokens", |side| lines(side, true)),
        beside::test("secondary::without_tokens", |side| lines(side, false)),
    ]
}

fn acl(more: &str) -> String {
    format!("\"enabled\":true,\"default_policy\":\"deny\",{more}")
}

/// Waits for what takes agents a while.
pub fn until(what: &str, agent: &Agent, mut ready: impl FnMut() -> bool) {
    let done = try_until(PATIENCE, || ready().then_some(()));
    assert!(done.is_some(), "not {what}:\n{}", agent.log_tail(40));
}

/// A number of the state of the replication.
pub fn status(api: &mut Api, name: &str) -> String {
    let (_, text) = api.ask("", "GET", "/v1/acl/replication", "");
    let found = Json::parse(&text);
    let value = found.and_then(|j| {
        j.at(&format!(".{name}"))
            .and_then(Json::scalar)
            .map(str::to_owned)
    });
    value.unwrap_or_default()
}

/// The agents of one side.
struct World {
    primary: Agent,
    server: Agent,
    client: Agent,
    tokens: bool,
}

impl World {
    fn start(side: &Side, tokens: bool) -> World {
        let primary = side.server(&acl(&format!(
            "\"tokens\":{{\"master\":\"{MASTER}\",\"agent\":\"{MASTER}\"}}"
        )));
        Api::new(&primary).wait_modern(&primary);
        let more = format!(
            "\"enable_token_replication\":{tokens},\"tokens\":{{\"agent\":\"{MASTER}\",\"replication\":\"{MASTER}\"}}"
        );
        let server = side.secondary(&acl(&more));
        let ready = format!("\"tokens\":{{\"agent\":\"{MASTER}\"}}");
        let client = side.secondary_client(&acl(&ready));
        let world = World {
            primary,
            server,
            client,
            tokens,
        };
        world.settle();
        for agent in [&world.server, &world.client] {
            let mut api = Api::new(agent);
            until("known to the agent", agent, || {
                let self_known = api.ask(MASTER, "GET", "/v1/agent/self", "").0 == 200;
                let (_, nodes) = api.ask(MASTER, "GET", "/v1/catalog/nodes", "");
                self_known && nodes.contains("\"c2\"") && nodes.contains("\"f1\"")
            });
        }
        world
    }

    /// Waits until all that the primary has is here.
    fn settle(&self) {
        let (mut there, mut here) = (Api::new(&self.primary), Api::new(&self.server));
        let tokens = self.tokens.then_some("/v1/acl/tokens");
        for target in ["/v1/acl/policies", "/v1/acl/roles"]
            .into_iter()
            .chain(tokens)
        {
            until(target, &self.server, || {
                let wanted = listed(&mut there, target);
                wanted.is_some() && listed(&mut here, target) == wanted
            });
        }
    }
}

struct Teller<'a> {
    world: &'a World,
    who: &'a str,
    api: Api,
    lines: &'a mut Vec<String>,
}

impl Teller<'_> {
    fn tell(&mut self, token: (&str, &str), method: &str, target: &str, body: &str) {
        let line = told(&mut self.api, token, method, target, body);
        self.lines.push(format!("{}: {line}", self.who));
    }

    fn master(&mut self, method: &str, target: &str, body: &str) {
        self.tell(("master", MASTER), method, target, body);
    }

    /// Asks, tells, and waits until what came of it is copied; a field of the answer.
    fn make(&mut self, target: &str, body: &str, name: &str) -> String {
        let (status, text) = self.api.ask(MASTER, "PUT", target, body);
        let text_plain = crate::matrix::plain(&text, "no address");
        self.lines.push(format!(
            "{}: {target} {body}: {status} {text_plain}",
            self.who
        ));
        self.world.settle();
        field(&text, name)
    }

    /// Tells an answer under another name than its target, which has an ID.
    fn tell_as(&mut self, name: &str, method: &str, target: &str, body: &str) {
        let (status, text) = self.api.ask(MASTER, method, target, body);
        let text = crate::matrix::plain(&text, "no address");
        self.lines.push(format!(
            "{}: {method} {name} {body}: {status} {text}",
            self.who
        ));
    }
}

fn lines(side: &Side, tokens: bool) -> Vec<String> {
    let world = World::start(side, tokens);
    let mut there = Api::new(&world.primary);
    let rules = "{\"Name\":\"all\",\"Rules\":\"key_prefix \\\"\\\" { policy = \\\"write\\\" }\"}";
    there.must("PUT", "/v1/acl/policy", rules);
    let body =
        format!("{{\"SecretID\":\"{THERE}\",\"Local\":true,\"Policies\":[{{\"Name\":\"all\"}}]}}");
    there.must("PUT", "/v1/acl/token", &body);
    world.settle();
    let mut lines = Vec::new();
    for (at, who) in ["server", "client"].into_iter().enumerate() {
        let agent = if at == 0 {
            &world.server
        } else {
            &world.client
        };
        let mut teller = Teller {
            world: &world,
            who,
            api: Api::new(agent),
            lines: &mut lines,
        };
        replication(&mut teller);
        objects(&mut teller);
        tokens_of_all(&mut teller, at);
        tokens_of_one(&mut teller, at);
        logins(&mut teller);
        old_tokens(&mut teller);
    }
    let mut teller = Teller {
        world: &world,
        who: "primary",
        api: Api::new(&world.primary),
        lines: &mut lines,
    };
    for target in ["/v1/acl/policies", "/v1/acl/roles", "/v1/acl/tokens"] {
        teller.master("GET", target, "");
    }
    lines
}

fn replication(teller: &mut Teller) {
    teller.master("PUT", "/v1/acl/bootstrap", "");
    for target in [
        "/v1/acl/replication",
        "/v1/acl/replication?stale",
        "/v1/acl/replication?dc=dc1",
    ] {
        let (status, text) = teller.api.ask("", "GET", target, "");
        let (plain, times) = text
            .split_once("\"ReplicatedIndex\"")
            .unwrap_or((&text, ""));
        let never = times.contains("\"LastSuccess\":\"0001-01-01T00:00:00Z\"");
        teller.lines.push(format!(
            "{}: {target}: {status} {plain} never: {never}",
            teller.who
        ));
    }
}

fn objects(teller: &mut Teller) {
    let name = teller.who.to_owned();
    let rules = "key_prefix \\\"\\\" { policy = \\\"write\\\" }";
    let body = format!("{{\"Name\":\"p-{name}\",\"Rules\":\"{rules}\"}}");
    let id = teller.make("/v1/acl/policy", &body, "ID");
    teller.master("PUT", "/v1/acl/policy", &body);
    teller.master("GET", &format!("/v1/acl/policy/name/p-{name}"), "");
    let body = format!("{{\"Name\":\"q-{name}\",\"Rules\":\"{rules}\"}}");
    teller.tell_as("policy", "PUT", &format!("/v1/acl/policy/{id}"), &body);
    teller.world.settle();
    teller.tell_as("policy", "GET", &format!("/v1/acl/policy/{id}"), "");
    let bad = format!("{{\"Name\":\"bad-{name}\",\"Rules\":\"key \\\"\\\" {{\"}}");
    teller.master("PUT", "/v1/acl/policy", &bad);
    let body = format!("{{\"Name\":\"r-{name}\",\"Policies\":[{{\"Name\":\"q-{name}\"}}]}}");
    let role = teller.make("/v1/acl/role", &body, "ID");
    teller.tell_as("role", "GET", &format!("/v1/acl/role/{role}"), "");
    let body = format!("{{\"Name\":\"gone-{name}\"}}");
    for kind in ["policy", "role"] {
        let id = teller.make(&format!("/v1/acl/{kind}"), &body, "ID");
        teller.tell_as(kind, "DELETE", &format!("/v1/acl/{kind}/{id}"), "");
        teller.world.settle();
        teller.master("GET", &format!("/v1/acl/{kind}/name/gone-{name}"), "");
    }
    // A policy that holds in the primary alone.
    let body =
        format!("{{\"Name\":\"there-{name}\",\"Rules\":\"{rules}\",\"Datacenters\":[\"dc1\"]}}");
    teller.make("/v1/acl/policy", &body, "ID");
    for target in [
        "/v1/acl/policies",
        "/v1/acl/roles",
        "/v1/acl/policies?dc=dc1",
    ] {
        teller.master("GET", target, "");
    }
    teller.tell(("none", ""), "GET", "/v1/acl/policies", "");
    teller.tell(("nobody", NOBODY), "GET", "/v1/acl/policies", "");
}

fn tokens_of_all(teller: &mut Teller, at: usize) {
    let name = teller.who.to_owned();
    let secret = format!("dddddddd-0000-4000-8000-00000000001{at}");
    let body = format!(
        "{{\"SecretID\":\"{secret}\",\"Description\":\"g-{name}\",\"Roles\":[{{\"Name\":\"r-{name}\"}}]}}"
    );
    let accessor = teller.make("/v1/acl/token", &body, "AccessorID");
    let own = format!("/v1/acl/token/{accessor}");
    let limited = format!("dddddddd-0000-4000-8000-00000000003{at}");
    let body =
        format!("{{\"SecretID\":\"{limited}\",\"Policies\":[{{\"Name\":\"there-{name}\"}}]}}");
    teller.make("/v1/acl/token", &body, "AccessorID");
    let identity = format!("dddddddd-0000-4000-8000-00000000004{at}");
    let body = format!(
        "{{\"SecretID\":\"{identity}\",\"NodeIdentities\":[{{\"NodeName\":\"f1\",\"Datacenter\":\"dc2\"}}],\
         \"ServiceIdentities\":[{{\"ServiceName\":\"web\"}}]}}"
    );
    teller.make("/v1/acl/token", &body, "AccessorID");
    for (who, secret) in [
        ("global", secret.as_str()),
        ("limited", limited.as_str()),
        ("identity", identity.as_str()),
        ("there", THERE),
        ("nobody", NOBODY),
        ("none", ""),
    ] {
        if who == "there" {
            // Consul lets whoever has it do anything until the primary's answer is remembered.
            let _ = teller.api.ask(secret, "GET", "/v1/kv/x?raw", "");
        }
        teller.tell((who, secret), "PUT", "/v1/kv/x", "1");
        teller.tell((who, secret), "GET", "/v1/kv/x?raw", "");
        teller.tell((who, secret), "GET", "/v1/kv/?keys", "");
        teller.tell((who, secret), "PUT", "/v1/kv/y?dc=dc1", "1");
        teller.tell((who, secret), "GET", "/v1/acl/token/self", "");
        let ask = "[{\"Resource\":\"key\",\"Segment\":\"a\",\"Access\":\"write\"},\
                    {\"Resource\":\"node\",\"Segment\":\"f1\",\"Access\":\"write\"},\
                    {\"Resource\":\"service\",\"Segment\":\"web\",\"Access\":\"write\"}]";
        if !matches!(who, "there" | "nobody") {
            // Consul's client agents have words of their own for secrets that nobody knows.
            teller.tell((who, secret), "POST", "/v1/internal/acl/authorize", ask);
        }
        teller.tell((who, secret), "GET", "/v1/snapshot?dc=dc9", "");
    }
    teller.tell_as("global", "GET", &own, "");
    teller.tell_as("global of dc1", "GET", &format!("{own}?dc=dc1"), "");
    let body = format!("{{\"Description\":\"h-{name}\",\"Roles\":[{{\"Name\":\"r-{name}\"}}]}}");
    teller.tell_as("global", "PUT", &own, &body);
    teller.world.settle();
    teller.tell_as("global", "GET", &own, "");
    let local = "{\"Local\":true}";
    let (status, _) = teller.api.ask(MASTER, "PUT", &own, local);
    teller.lines.push(format!("{name}: to local: {status}"));
    let (_, copy) = teller.api.ask(MASTER, "PUT", &format!("{own}/clone"), "{}");
    teller.world.settle();
    let copy = format!("/v1/acl/token/{}", field(&copy, "AccessorID"));
    teller.tell_as("copy", "GET", &copy, "");
    teller.tell_as("copy", "DELETE", &copy, "");
    teller.world.settle();
    teller.tell_as("copy", "GET", &copy, "");
    let unknown = format!("/v1/acl/token/{NOBODY}");
    teller.master("GET", &unknown, "");
    teller.master("PUT", &unknown, "{}");
    teller.master("PUT", &format!("{unknown}/clone"), "{}");
    teller.master("DELETE", &unknown, "");
    teller.master("DELETE", "/v1/acl/token/x", "");
    let bad = "{\"Policies\":[{\"Name\":\"nope\"}]}";
    teller.master("PUT", "/v1/acl/token", bad);
    for target in ["/v1/acl/tokens", "/v1/acl/tokens?dc=dc1"] {
        teller.master("GET", target, "");
    }
}

fn tokens_of_one(teller: &mut Teller, at: usize) {
    let name = teller.who.to_owned();
    let secret = format!("dddddddd-0000-4000-8000-00000000002{at}");
    let body = format!(
        "{{\"SecretID\":\"{secret}\",\"Description\":\"l-{name}\",\"Local\":true,\
         \"Policies\":[{{\"Name\":\"q-{name}\"}}]}}"
    );
    let accessor = teller.make("/v1/acl/token", &body, "AccessorID");
    let bad = "{\"Local\":true,\"Policies\":[{\"Name\":\"nope\"}]}";
    teller.master("PUT", "/v1/acl/token", bad);
    let token = ("local", secret.as_str());
    teller.tell(token, "PUT", "/v1/kv/x", "1");
    teller.tell(token, "PUT", "/v1/kv/y?dc=dc1", "1");
    teller.tell(token, "GET", "/v1/acl/token/self", "");
    if accessor.is_empty() {
        return;
    }
    let own = format!("/v1/acl/token/{accessor}");
    teller.tell_as("local", "GET", &own, "");
    teller.tell_as("local of dc1", "GET", &format!("{own}?dc=dc1"), "");
    let (status, _) = teller.api.ask(MASTER, "PUT", &own, "{}");
    teller.lines.push(format!("{name}: to global: {status}"));
    teller.tell_as("local", "PUT", &own, "{\"Local\":true}");
    let (_, copy) = teller.api.ask(MASTER, "PUT", &format!("{own}/clone"), "{}");
    let copy = format!("/v1/acl/token/{}", field(&copy, "AccessorID"));
    teller.tell_as("local copy", "GET", &copy, "");
    teller.tell_as("local copy", "DELETE", &copy, "");
    teller.tell_as("local copy", "GET", &copy, "");
}

fn logins(teller: &mut Teller) {
    let signer = Signer::fresh("ES256");
    let pem = signer.pem().replace('\n', "\\n");
    let name = teller.who.to_owned();
    let method = |name: &str, locality: &str| {
        format!(
            "{{\"Name\":\"{name}\",\"Type\":\"jwt\",\"TokenLocality\":\"{locality}\",\
             \"Config\":{{\"JWTValidationPubKeys\":[\"{pem}\"],\"BoundAudiences\":[\"consul\"],\
             \"ClaimMappings\":{{\"name\":\"user\"}}}}}}"
        )
    };
    for locality in ["local", "global"] {
        let body = method(&format!("m-{name}-{locality}"), locality);
        let (status, text) = teller.api.ask(MASTER, "PUT", "/v1/acl/auth-method", &body);
        // The key is another one on each side.
        let text = if status == 200 { "made" } else { &text };
        teller
            .lines
            .push(format!("{name}: method {locality}: {status} {text}"));
    }
    for target in ["/v1/acl/auth-methods", "/v1/acl/auth-methods?dc=dc1"] {
        teller.master("GET", target, "");
    }
    teller.master("GET", "/v1/acl/auth-method/none", "");
    let rule = format!(
        "{{\"AuthMethod\":\"m-{name}-local\",\"BindType\":\"role\",\"BindName\":\"r-{name}\"}}"
    );
    teller.master("PUT", "/v1/acl/binding-rule", &rule);
    teller.master("GET", "/v1/acl/binding-rules", "");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let jwt = signer.sign(&format!(
        "{{\"aud\":\"consul\",\"name\":\"bob\",\"exp\":{},\"nbf\":{}}}",
        now + 3600,
        now - 60
    ));
    for locality in ["local", "global"] {
        let body = format!("{{\"AuthMethod\":\"m-{name}-{locality}\",\"BearerToken\":\"{jwt}\"}}");
        let (status, text) = teller.api.ask("", "POST", "/v1/acl/login", &body);
        let plain = crate::matrix::plain(&text, "no address");
        teller
            .lines
            .push(format!("{name}: login {locality}: {status} {plain}"));
        if status == 200 {
            let secret = field(&text, "SecretID");
            teller.tell(("login", &secret), "PUT", "/v1/kv/x", "1");
            teller.tell(("login", &secret), "GET", "/v1/acl/token/self", "");
            teller.tell(("login", &secret), "POST", "/v1/acl/logout", "");
            teller.tell(("login", &secret), "POST", "/v1/acl/logout", "");
        }
    }
    teller.tell(("nobody", NOBODY), "POST", "/v1/acl/logout", "");
    teller.master("POST", "/v1/acl/logout", "");
    teller.master("DELETE", &format!("/v1/acl/auth-method/m-{name}-local"), "");
    teller.master("DELETE", "/v1/acl/auth-method/none", "");
    teller.master("DELETE", &format!("/v1/acl/binding-rule/{NOBODY}"), "");
}

fn old_tokens(teller: &mut Teller) {
    let name = teller.who.to_owned();
    let id = format!("old-{name}");
    let body = format!(
        "{{\"ID\":\"{id}\",\"Name\":\"o\",\"Rules\":\"key \\\"\\\" {{ policy = \\\"read\\\" }}\"}}"
    );
    teller.master("PUT", "/v1/acl/create", &body);
    let server = &teller.world.server;
    let api = &mut teller.api;
    until("the old token is known", server, || {
        api.ask(&id, "GET", "/v1/kv/x?raw", "").0 == 200
    });
    teller.tell(("old", &id), "PUT", "/v1/kv/x", "1");
    for target in [format!("/v1/acl/info/{id}"), "/v1/acl/list".to_owned()] {
        teller.master("GET", &target, "");
    }
    let (status, copy) = teller
        .api
        .ask(MASTER, "PUT", &format!("/v1/acl/clone/{id}"), "");
    teller.lines.push(format!("{name}: clone: {status}"));
    let copy = field(&copy, "ID");
    teller.tell_as("old copy", "PUT", &format!("/v1/acl/destroy/{copy}"), "");
    teller.master("PUT", &format!("/v1/acl/destroy/{id}"), "");
    teller.master("GET", &format!("/v1/acl/info/{id}"), "");
    teller.master("PUT", "/v1/acl/clone/none", "");
    let rules = "key \"a\" { policy = \"read\" }";
    teller.master("POST", "/v1/acl/rules/translate", rules);
}
