//! The same life on Consul and on ours, side by side: what each tells of it must be the same.

use std::path::Path;

use crate::Api;
use crate::common::agent::{Agent, Plan, SERF_LAN, SERF_WAN};
use crate::common::harness::{Outcome, Test};
use crate::common::{Loopback, consul_lite, oracle};

/// One side: its program, and the addresses of its agents.
pub struct Side<'a> {
    /// The program.
    pub binary: &'a Path,
    /// Whether it is ours.
    pub ours: bool,
    net: &'a Loopback,
    first: u8,
}

impl Side<'_> {
    /// Starts a server that is alone, with members of the `acl` object.
    pub fn server(&self, acl: &str) -> Agent {
        Agent::start(&self.plan(0, "n1", acl))
    }

    /// Starts a client agent of that server.
    pub fn client(&self, acl: &str) -> Agent {
        let join = format!(
            "\"node_id\": \"00000000-0000-4000-8000-000000000002\", \"retry_join\": [\"{}:{SERF_LAN}\"], \
             \"retry_interval\": \"1s\",",
            self.net.ip(self.first)
        );
        Agent::start_as(&self.plan(1, "c1", acl), &join)
    }

    /// Starts the only server of a datacenter whose ACLs are that server's, which it joins over the WAN.
    pub fn secondary(&self, acl: &str) -> Agent {
        let role = format!(
            "\"node_id\": \"00000000-0000-4000-8000-000000000003\", \"server\": true, \"bootstrap_expect\": 1, \
             \"datacenter\": \"dc2\", \"primary_datacenter\": \"dc1\", \
             \"retry_join_wan\": [\"{}:{SERF_WAN}\"], \"retry_interval_wan\": \"1s\",",
            self.net.ip(self.first)
        );
        Agent::start_as(&self.plan(2, "f1", acl), &role)
    }

    /// Starts a client agent of that datacenter.
    pub fn secondary_client(&self, acl: &str) -> Agent {
        let join = format!(
            "\"node_id\": \"00000000-0000-4000-8000-000000000004\", \"datacenter\": \"dc2\", \
             \"primary_datacenter\": \"dc1\", \"retry_join\": [\"{}:{SERF_LAN}\"], \"retry_interval\": \"1s\",",
            self.net.ip(self.first + 2)
        );
        Agent::start_as(&self.plan(3, "c2", acl), &join)
    }

    /// Starts the only server of another datacenter, which joins that server's over the WAN.
    pub fn server_of(&self, datacenter: &str, acl: &str) -> Agent {
        let role = format!(
            "\"node_id\": \"00000000-0000-4000-8000-000000000003\", \"server\": true, \"bootstrap_expect\": 1, \
             \"datacenter\": \"{datacenter}\", \"retry_join_wan\": [\"{}:{SERF_WAN}\"], \
             \"retry_interval_wan\": \"1s\",",
            self.net.ip(self.first)
        );
        Agent::start_as(&self.plan(2, "f1", acl), &role)
    }

    fn plan<'b>(&'b self, host: u8, node: &'b str, acl: &str) -> Plan<'b> {
        Plan {
            binary: self.binary,
            ip: self.net.ip(self.first + host),
            node,
            config: vec![("50-acl.json".to_owned(), format!("{{\"acl\":{{{acl}}}}}"))],
        }
    }
}

/// A test that both sides live through and tell of, line by line.
pub fn test(name: &str, life: impl Fn(&Side) -> Vec<String> + Send + Sync + 'static) -> Test {
    Test::new(name, move || {
        let consul = match oracle::find() {
            Ok(path) => path,
            Err(why) => return Outcome::Skipped(why),
        };
        let (own, net) = (consul_lite(), Loopback::claim());
        let side = |binary, ours, first| {
            let (net, life) = (&net, &life);
            move || {
                life(&Side {
                    binary,
                    ours,
                    net,
                    first,
                })
            }
        };
        let (theirs, ours) = std::thread::scope(|scope| {
            let theirs = scope.spawn(side(&consul, false, 101));
            let ours = scope.spawn(side(&own, true, 201));
            (theirs.join(), ours.join())
        });
        let (theirs, ours) = match (theirs, ours) {
            (Ok(theirs), Ok(ours)) => (theirs, ours),
            (Err(cause), _) => std::panic::resume_unwind(cause),
            (_, Err(cause)) => std::panic::resume_unwind(cause),
        };
        if std::env::var_os("ACL_SHOW").is_some() {
            println!("{}", theirs.join("\n"));
        }
        let pairs = theirs.iter().zip(&ours).filter(|(a, b)| a != b);
        let mut wrong: Vec<String> = pairs
            .map(|(a, b)| format!("Consul: {a}\nours:   {b}"))
            .collect();
        if theirs.len() != ours.len() {
            wrong.push(format!("{} lines, ours {}", theirs.len(), ours.len()));
        }
        match wrong.is_empty() && !theirs.is_empty() {
            true => Outcome::Passed,
            false => Outcome::Failed(wrong.join("\n")),
        }
    })
}

/// What was asked and what came back, without what is random.
pub fn told(api: &mut Api, token: (&str, &str), method: &str, target: &str, body: &str) -> String {
    let (name, secret) = token;
    let (status, text) = api.ask(secret, method, target, body);
    let text = crate::matrix::plain(&text, "no address");
    format!("{name}: {method} {target} {body}: {status} {text}")
}
