//! Agents in one LAN pool, real processes on addresses of their own: how they find each other, fail, leave, hear
//! of events and change keys; among ourselves and with the real Consul.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::agent::{Agent, Plan, SERF_LAN};
use crate::common::harness::{Outcome, Test};
use crate::common::{Loopback, consul_lite, oracle, try_until, wait_until};

/// What takes longer has failed; the machine may be slow.
const LIMIT: Duration = Duration::from_secs(90);
/// A member that is alive, left, or failed, as the HTTP API numbers it.
const ALIVE: u8 = 1;
const LEFT: u8 = 3;
const FAILED: u8 = 4;
const OLD_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";
const NEW_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER_KEY: &str = "AgICAgICAgICAgICAgICAg==";

pub fn tests() -> Vec<Test> {
    let mixed = |name: &str, server_is_ours: bool| {
        Test::new(name, move || match oracle::find() {
            Err(why) => Outcome::Skipped(why),
            Ok(real) => {
                let ours = consul_lite();
                let (server, client) = match server_is_ours {
                    true => (ours, real),
                    false => (real, ours),
                };
                with_consul(&server, &client)
            }
        })
    };
    vec![
        Test::new("gossip::members_come_fail_return_and_leave", come_and_go),
        Test::new("gossip::keys_change_and_events_arrive", keys_and_events),
        Test::new("gossip::who_does_not_belong_stays_out", strangers),
        mixed("gossip::a_real_client_in_our_pool", true),
        mixed("gossip::our_client_in_a_real_pool", false),
    ]
}

/// Where test agents live, and how they are started.
struct Ground {
    net: Loopback,
    encrypt: Option<&'static str>,
    /// `retry_interval` of client agents.
    retry: Duration,
}

impl Ground {
    fn new(encrypt: Option<&'static str>) -> Self {
        let net = Loopback::claim();
        let retry = Duration::from_secs(5);
        Self {
            net,
            encrypt,
            retry,
        }
    }

    fn place(&self, host: u8) -> String {
        format!("{}:{SERF_LAN}", self.net.ip(host))
    }

    /// Settings that every agent has.
    fn common(&self, encrypt: Option<&str>) -> String {
        let key = encrypt.map_or(String::new(), |key| format!(r#""encrypt": "{key}","#));
        // Failures are noticed sooner, so that tests are short. Not so gossip: queries have a time of some intervals,
        // and all members are to be quick enough to answer them on a busy machine.
        format!(
            r#"{key} "log_level": "DEBUG",
 "gossip_lan": {{"probe_interval": "300ms", "probe_timeout": "150ms", "suspicion_mult": 2}},"#
        )
    }

    fn start(&self, binary: &Path, host: u8, node: &str, role: &str) -> Agent {
        let plan = Plan {
            binary,
            ip: self.net.ip(host),
            node,
            config: Vec::new(),
        };
        Agent::start_as(&plan, role)
    }

    fn server(&self, binary: &Path, host: u8, node: &str) -> Agent {
        let common = self.common(self.encrypt);
        let role = format!(r#"{common} "server": true, "bootstrap_expect": 1,"#);
        self.start(binary, host, node, &role)
    }

    /// A client agent that looks for the agent on `of`.
    fn client(&self, binary: &Path, host: u8, node: &str, of: u8) -> Agent {
        self.client_with(binary, host, node, of, self.encrypt, "")
    }

    fn client_with(
        &self,
        binary: &Path,
        host: u8,
        node: &str,
        of: u8,
        encrypt: Option<&str>,
        more: &str,
    ) -> Agent {
        let (common, join) = (self.common(encrypt), self.place(of));
        let retry = self.retry.as_secs();
        let role =
            format!(r#"{common} {more} "retry_join": ["{join}"], "retry_interval": "{retry}s","#);
        self.start(binary, host, node, &role)
    }
}

fn get(agent: &Agent, path: &str) -> Option<String> {
    let answer = agent.client().get(path).ok()?;
    (answer.status == 200).then(|| answer.text())
}

fn put(agent: &Agent, path: &str) {
    let answer = agent.client().put(path, b"").expect("an answer");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
}

/// Has an agent leave, and waits until its process ends, which may be before it has answered.
fn leave(agent: &mut Agent) {
    if let Ok(answer) = agent.client().put("/v1/agent/leave", b"") {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    agent.process().wait(LIMIT);
}

/// How an agent sees a member.
fn seen(agent: &Agent, node: &str) -> Option<u8> {
    let members = get(agent, "/v1/agent/members")?;
    let wanted = format!("{node}\"");
    let mut all = members.split("\"Name\":\"").skip(1);
    let member = all.find(|member| member.starts_with(&wanted))?;
    let (_, status) = member.split_once("\"Status\":")?;
    status.chars().next()?.to_digit(10).map(|n| n as u8)
}

fn until_seen(agent: &Agent, node: &str, status: Option<u8>) {
    let what = format!("{node} is seen as {status:?} by {}", agent.http());
    wait_until(LIMIT, &what, || (seen(agent, node) == status).then_some(()));
}

fn all_see_each_other(agents: &[(&Agent, &str)]) {
    for (agent, _) in agents {
        for (_, node) in agents {
            until_seen(agent, node, Some(ALIVE));
        }
    }
}

fn log_of(agent: &Agent) -> String {
    String::from_utf8_lossy(&fs::read(agent.dir().join("log")).unwrap_or_default()).into_owned()
}

fn until_logged(agent: &Agent, text: &str) {
    let what = format!("{} logs {text:?}", agent.http());
    wait_until(LIMIT, &what, || log_of(agent).contains(text).then_some(()));
}

/// What a command says about an agent.
fn run(binary: &Path, agent: &Agent, args: &[&str]) -> (bool, String) {
    let (command, rest) = args.split_first().expect("a command");
    let out = Command::new(binary)
        .arg(command)
        .arg(format!("-http-addr={}", agent.http()))
        .args(rest)
        .output()
        .expect("the command runs");
    let text = [out.stdout, out.stderr].concat();
    (
        out.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn run_ok(binary: &Path, agent: &Agent, args: &[&str]) -> String {
    let (ok, text) = run(binary, agent, args);
    assert!(ok, "{args:?}: {text}");
    text
}

fn come_and_go() -> Outcome {
    let ours = consul_lite();
    let mut ground = Ground::new(None);
    ground.retry = Duration::from_secs(60);
    // Clients first: their server does not exist yet.
    let mut b = ground.client(&ours, 2, "b", 1);
    let mut c = ground.client(&ours, 3, "c", 1);
    until_logged(&b, "Join cluster failed, will retry");
    let mut a = ground.server(&ours, 1, "a");
    until_logged(&a, "EventMemberJoin: a ");
    let started = Instant::now();
    until_seen(&a, "b", Some(ALIVE));
    let took = started.elapsed();
    // Without quick attempts at first it would be a whole retry_interval.
    assert!(took < ground.retry / 2, "found after {took:?}");
    all_see_each_other(&[(&a, "a"), (&b, "b"), (&c, "c")]);
    until_logged(&b, "Join cluster completed. Synced with initial agents");

    let snapshot = c.dir().join("data/serf/local.snapshot");
    wait_until(LIMIT, "the snapshot names the server", || {
        let text = fs::read_to_string(&snapshot).unwrap_or_default();
        text.contains("alive: a ").then_some(())
    });

    // A process that is killed is seen to fail, and finds back by its snapshot alone.
    c.kill();
    until_seen(&a, "c", Some(FAILED));
    until_seen(&b, "c", Some(FAILED));
    until_logged(&a, "serf: EventMemberFailed: c ");
    let config = c.dir().join("config/00-base.json");
    let text = fs::read_to_string(&config).expect("the configuration");
    let place = ground.place(1);
    let without = text.replace(&format!(r#""retry_join": ["{place}"],"#), "");
    assert_ne!(text, without);
    fs::write(&config, without).expect("the configuration is written");
    c.restart();
    all_see_each_other(&[(&a, "a"), (&b, "b"), (&c, "c")]);
    until_logged(&c, "serf: Attempting re-join to previously known node");

    // One that leaves has left, and is pruned on request.
    leave(&mut b);
    until_seen(&a, "b", Some(LEFT));
    until_seen(&c, "b", Some(LEFT));
    let left = fs::read_to_string(b.dir().join("data/serf/local.snapshot")).expect("a snapshot");
    assert!(left.ends_with("leave\n"), "{left}");
    run_ok(&ours, &a, &["force-leave", "-prune", "b"]);
    until_seen(&a, "b", None);
    until_seen(&c, "b", None);
    c.kill();
    until_seen(&a, "c", Some(FAILED));
    run_ok(&ours, &a, &["force-leave", "c"]);
    until_seen(&a, "c", Some(LEFT));
    let (ok, text) = run(&ours, &a, &["force-leave", "nobody"]);
    assert!(
        !ok && text.contains("No node found with name 'nobody'"),
        "{text}"
    );
    a.kill();
    Outcome::Passed
}

/// How many members have a key, by what `keyring -list` says of the LAN pool.
fn holders(listed: &str, key: &str) -> Option<String> {
    let (_, lan) = listed.split_once("(LAN):")?;
    let line = lan.lines().find(|line| line.contains(key))?;
    Some(line.rsplit_once('[')?.1.trim_end_matches(']').to_owned())
}

/// Waits until that many members say that they have a key. Nobody answers for one that is just taken for failed.
fn until_held(commands: &Path, server: &Agent, key: &str, by: Option<usize>) {
    let wanted = by.map(|n| format!("{n}/{n}"));
    wait_until(LIMIT, &format!("{key} is held by {wanted:?}"), || {
        let (listed, text) = run(commands, server, &["keyring", "-list"]);
        (listed && holders(&text, key) == wanted).then_some(())
    });
}

/// Runs a command about keys until all members have answered in time; another time changes nothing.
fn until_done(commands: &Path, server: &Agent, what: &str) {
    let mut said = String::new();
    let done = try_until(LIMIT, || {
        let (done, text) = run(commands, server, &["keyring", what]);
        said = text;
        done.then_some(())
    });
    assert!(done.is_some(), "{what}: {said}");
}

/// Replaces the old key by the new one, one command after the other at the agents given.
fn rotate(commands: &Path, server: &Agent, members: usize) {
    until_held(commands, server, OLD_KEY, Some(members));
    until_done(commands, server, &format!("-install={NEW_KEY}"));
    until_held(commands, server, NEW_KEY, Some(members));
    until_done(commands, server, &format!("-use={NEW_KEY}"));
    wait_until(LIMIT, "the primary key cannot be removed", || {
        let remove = format!("-remove={NEW_KEY}");
        let (ok, text) = run(commands, server, &["keyring", &remove]);
        assert!(!ok, "{text}");
        let why = "emoving the primary key is not allowed";
        text.contains(why).then_some(())
    });
    until_done(commands, server, &format!("-remove={OLD_KEY}"));
    until_held(commands, server, OLD_KEY, None);
    until_held(commands, server, NEW_KEY, Some(members));
}

fn until_event(agent: &Agent, name: &str) {
    let what = format!("the event {name} at {}", agent.http());
    wait_until(LIMIT, &what, || {
        let events = get(agent, "/v1/event/list")?;
        let wanted = format!("\"Name\":\"{name}\"");
        events.contains(&wanted).then_some(())
    });
}

fn keys_and_events() -> Outcome {
    let ours = consul_lite();
    let ground = Ground::new(Some(OLD_KEY));
    let a = ground.server(&ours, 1, "a");
    let b = ground.client(&ours, 2, "b", 1);
    let mut c = ground.client(&ours, 3, "c", 1);
    let all = [(&a, "a"), (&b, "b"), (&c, "c")];
    all_see_each_other(&all);
    // Through any agent to all, and to those a filter names.
    for (agent, name) in [(&a, "by-server"), (&b, "by-client")] {
        wait_until(LIMIT, "an event can be fired", || {
            let fired = agent.client().put(&format!("/v1/event/fire/{name}"), b"x");
            fired.ok().filter(|answer| answer.status == 200)
        });
        for (agent, _) in all {
            until_event(agent, name);
        }
    }
    put(&a, "/v1/event/fire/only-b?node=%5Eb%24");
    until_event(&b, "only-b");
    put(&a, "/v1/event/fire/after");
    until_event(&c, "after");
    assert!(
        !get(&c, "/v1/event/list")
            .unwrap_or_default()
            .contains("only-b")
    );

    // A stranger with another key, and one with none.
    let wrong = ground.client_with(&ours, 4, "wrong", 1, Some(OTHER_KEY), "");
    let plain = ground.client_with(&ours, 5, "plain", 1, None, "");
    until_logged(&a, "No installed keys could decrypt the message");
    until_logged(
        &a,
        "Encryption is configured but remote state is not encrypted",
    );
    for (agent, _) in all {
        assert_eq!((seen(agent, "wrong"), seen(agent, "plain")), (None, None));
    }
    drop((wrong, plain));

    rotate(&ours, &a, 3);
    // The file has the new key and wins over the configuration, which still says the old one.
    c.kill();
    until_seen(&a, "c", Some(FAILED));
    let keyring = fs::read_to_string(c.dir().join("data/serf/local.keyring")).expect("a keyring");
    assert_eq!(keyring, format!("[\n  \"{NEW_KEY}\"\n]"));
    c.restart();
    until_seen(&a, "c", Some(ALIVE));
    until_logged(
        &c,
        "keyring doesn't include key provided with -encrypt, using keyring",
    );
    Outcome::Passed
}

fn strangers() -> Outcome {
    let ours = consul_lite();
    let ground = Ground::new(None);
    let id = r#""node_id": "11111111-2222-4333-8444-555555555555","#;
    let a = ground.server(&ours, 1, "a");
    let b = ground.client_with(&ours, 2, "b", 1, None, id);
    let all = [(&a, "a"), (&b, "b")];
    all_see_each_other(&all);
    let same_id = ground.client_with(&ours, 3, "same-id", 1, None, id);
    let elsewhere = ground.client_with(&ours, 4, "elsewhere", 1, None, r#""datacenter": "dc9","#);
    let same_name = ground.client(&ours, 5, "b", 1);
    until_logged(
        &a,
        "Member 'same-id' has conflicting node ID '11111111-2222-4333-8444-555555555555'",
    );
    until_logged(&a, "Member 'elsewhere' part of wrong datacenter 'dc9'");
    until_logged(&a, "serf: Name conflict for 'b'");
    for (agent, _) in all {
        assert_eq!(seen(agent, "same-id"), None);
        assert_eq!(seen(agent, "elsewhere"), None);
    }
    all_see_each_other(&all);
    let members = get(&a, "/v1/agent/members").unwrap_or_default();
    let first = format!("\"Addr\":\"{}\"", ground.net.ip(2));
    assert!(members.contains(&first), "{members}");
    drop((same_id, elsewhere, same_name));
    Outcome::Passed
}

/// The lines of `members` without the order and the columns' widths.
fn member_lines(binary: &Path, agent: &Agent) -> Vec<String> {
    let text = run_ok(binary, agent, &["members"]);
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = text.lines().map(squeezed).collect();
    lines.sort();
    lines
}

/// A server of one kind, a client agent of the other.
fn with_consul(server: &Path, client: &Path) -> Outcome {
    let ground = Ground::new(Some(OLD_KEY));
    let mut a = ground.server(server, 1, "a");
    let mut b = ground.client(client, 2, "b", 1);
    all_see_each_other(&[(&a, "a"), (&b, "b")]);
    a.wait_ready(LIMIT);
    // A member that was late with an answer may look failed to one of them for a moment.
    wait_until(LIMIT, "both programs show the same at both", || {
        let lines = member_lines(server, &a);
        let mut others = [(server, &b), (client, &a), (client, &b)].into_iter();
        others
            .all(|(binary, agent)| member_lines(binary, agent) == lines)
            .then_some(())
    });
    for (agent, name) in [(&a, "by-server"), (&b, "by-client")] {
        wait_until(LIMIT, "an event can be fired", || {
            let fired = agent.client().put(&format!("/v1/event/fire/{name}"), b"");
            fired.ok().filter(|answer| answer.status == 200)
        });
        until_event(&a, name);
        until_event(&b, name);
    }
    rotate(client, &a, 2);
    b.kill();
    until_seen(&a, "b", Some(FAILED));
    b.restart();
    until_seen(&a, "b", Some(ALIVE));
    until_seen(&b, "a", Some(ALIVE));
    leave(&mut b);
    until_seen(&a, "b", Some(LEFT));
    a.kill();
    Outcome::Passed
}
