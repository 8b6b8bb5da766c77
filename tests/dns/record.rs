//! Reading and rewriting `recorded.txt`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::common::agent::{Agent, Plan};
use crate::common::{oracle, project_dir};
use crate::{PROFILES, ask, stub};

const FILE: &str = "tests/dns/recorded.txt";

/// Asks one question; the answer's lines and its size. With `+counted`, records count, but do not show:
/// which ones are sent is left to chance.
pub fn lines(server: SocketAddr, words: &[String]) -> Vec<String> {
    let words: Vec<String> = words.iter().filter(|w| !w.is_empty()).cloned().collect();
    match ask::ask(server, &words) {
        Ok(answer) => {
            let counted = words.iter().any(|w| w == "+counted");
            let mut lines = if counted {
                ask::counted(&answer.lines)
            } else {
                answer.lines
            };
            // The names that are chosen by chance differ in length.
            if !counted {
                lines.push(format!("size {}", answer.size));
            }
            lines
        }
        Err(error) => vec![error],
    }
}

/// The recorded questions of a profile with their answers.
pub fn recorded(profile: &str) -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(project_dir().join(FILE)).expect("the recordings");
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    let mut ours = false;
    for line in text.lines() {
        if let Some(question) = line.strip_prefix("? ") {
            let (of, question) = question.split_once(' ').expect("profile and question");
            ours = of == profile;
            if ours {
                out.push((question.to_owned(), Vec::new()));
            }
        } else if let (true, Some((_, lines))) = (ours, out.last_mut()) {
            lines.push(line.to_owned());
        }
    }
    out
}

/// Asks the real Consul every question again.
pub fn record() {
    let binary = oracle::find().expect("the real Consul");
    let mut answers = BTreeMap::new();
    for (profile, config) in PROFILES {
        let alt = if *profile == "plain" {
            r#""alt_domain": "alt.example.","#
        } else {
            ""
        };
        let config = format!(
            r#"{{{alt} "dns_config": {{{config} "node_ttl": "7s",
                "service_ttl": {{"web": "10s", "we*": "20s", "*": "3500ms"}}}}}}"#
        );
        let mut agent = Agent::start(&Plan {
            binary: &binary,
            ip: Ipv4Addr::new(127, 60, 0, 1),
            node: "Srv1",
            config: vec![("dns.json".into(), config)],
        });
        agent.wait_ready(Duration::from_secs(30));
        let mut client = agent.client();
        for line in stub::CATALOG.lines() {
            let reply = client.put("/v1/catalog/register", line.as_bytes());
            let reply = reply.expect("a reply");
            assert_eq!(reply.status, 200, "{line}: {}", reply.text());
        }
        for (question, _) in recorded(profile) {
            let words: Vec<String> = question.split(' ').map(str::to_owned).collect();
            let answer = lines(agent.dns(), &words);
            answers.insert(format!("{profile} {question}"), answer);
        }
    }
    let path = project_dir().join(FILE);
    let text = std::fs::read_to_string(&path).expect("the recordings");
    let mut out = String::new();
    for question in text.lines().filter_map(|line| line.strip_prefix("? ")) {
        out.push_str(&format!("? {question}\n"));
        for line in answers.get(question).into_iter().flatten() {
            out.push_str(&format!("{line}\n"));
        }
    }
    std::fs::write(path, out).expect("the recordings are written");
}
