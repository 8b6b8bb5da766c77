//! One side of the comparison: an agent, its address, its variables, its background steps. Carries out
//! a case's steps in order and writes down the answers with what belongs to this side (addresses,
//! directories) replaced by names, so that both sides' answers are written in the same words.

use std::collections::HashMap;
use std::io::Read;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::backend::{self, Backend};
use crate::case::{Action, Case, Step, Until};
use crate::common::agent::{Agent, DNS, HTTP, Plan, SERF_LAN, without_own_settings};
use crate::common::http::{Client, Response};
use crate::common::json::Json;
use crate::common::{TempDir, try_until, wait_until};
use crate::dns;
use crate::grpc::{self, Grpc};

/// What came back, in words that do not depend on the side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// HTTP status, exit code, or nothing.
    pub code: Option<i32>,
    /// Header names in lower case, sorted.
    pub headers: Vec<(String, String)>,
    /// Parts by name: `body`, or `stdout` and `stderr`, or `message` (DNS).
    pub parts: Vec<(String, String)>,
    /// Whether a background request waited its time out.
    pub waited: Option<bool>,
    /// DNS message size in octets.
    pub size: Option<usize>,
    /// No answer at all: why.
    pub failed: Option<String>,
}

impl Answer {
    fn failed(why: String) -> Answer {
        Answer {
            failed: Some(why),
            ..Answer::default()
        }
    }

    fn text(&self) -> String {
        let parts: Vec<&str> = self.parts.iter().map(|p| p.1.as_str()).collect();
        parts.join("\n")
    }
}

struct Background {
    thread: JoinHandle<Answer>,
    pid: Option<u32>,
}

/// A running side.
pub struct Side {
    agent: Agent,
    /// The server behind it, when it is a client agent.
    server: Option<Agent>,
    ip: Ipv4Addr,
    program: PathBuf,
    work: TempDir,
    vars: HashMap<String, String>,
    background: HashMap<String, Background>,
    client: Client,
    backend: (Backend, Grpc),
}

/// The server behind a client agent: the program, and its address.
pub struct Behind {
    pub binary: PathBuf,
    pub ip: Ipv4Addr,
}

/// A single server that started in the usual order. What one that did not has told others is to be forgotten.
fn usual_server(plan: &Plan, forget: impl Fn()) -> Agent {
    // Consul's start is a race; a start in the rarer order would be compared with ours in the usual one.
    let agent = (0..MAX_STARTS).find_map(|_| {
        forget();
        let mut agent = Agent::start(plan);
        agent.wait_ready(Duration::from_secs(60));
        let usual = agent.leader_came_first() && !acls_written_twice(&agent, plan);
        let ours = plan.binary.canonicalize().ok() == crate::subject().canonicalize().ok();
        assert!(usual || !ours, "ours has one order");
        usual.then_some(agent)
    });
    agent.expect("a start in the usual order")
}

/// Whether the start wrote the same ACLs twice, as Consul's does when two of its routines find them missing at the same
/// time; their indexes then tell of a change that was none.
fn acls_written_twice(agent: &Agent, plan: &Plan) -> bool {
    let mut texts = plan.config.iter().map(|(_, text)| text);
    let master = texts.find_map(|text| text.split_once("\"master\": \"")?.1.split_once('"'));
    let Some((master, _)) = master else {
        return false;
    };
    let header = [("X-Consul-Token".to_owned(), master.to_owned())];
    let changed = |target: &str| {
        let answer = agent.client().request("GET", target, &header, b"");
        let Some(Json::List(all)) = answer.ok().and_then(|a| Json::parse(&a.text())) else {
            return false;
        };
        let index = |one: &Json, name: &str| one.at(name).and_then(Json::scalar).map(str::to_owned);
        all.iter()
            .any(|one| index(one, ".CreateIndex") != index(one, ".ModifyIndex"))
    };
    changed("/v1/acl/policies") || changed("/v1/acl/tokens")
}

/// A client agent that has found its server, in the usual order, which is a race with its leader's.
fn client_and_server(plan: &Plan, behind: &Behind) -> (Agent, Agent) {
    let usual = (0..MAX_STARTS).find_map(|_| {
        let (client, server) = joined(plan, behind);
        let created = |target: &str, at: &str| {
            let answer = client.client().get(target).ok()?;
            Json::parse(&answer.text())?
                .at(at)?
                .scalar()
                .map(str::to_owned)
        };
        let node = created("/v1/catalog/node/n1", ".Node.CreateIndex");
        let check = created("/v1/health/node/n1", "[0].CreateIndex");
        (node.is_some() && node == check).then_some((client, server))
    });
    usual.expect("a start in the usual order")
}

/// A client agent that has joined its server. Nothing writes but the steps: no coordinates.
fn joined(plan: &Plan, behind: &Behind) -> (Agent, Agent) {
    let quiet = (
        "90-quiet.json".to_owned(),
        r#"{"disable_coordinates": true}"#.to_owned(),
    );
    let server = Plan {
        binary: &behind.binary,
        ip: behind.ip,
        node: "s1",
        config: vec![quiet.clone()],
    };
    let server = usual_server(&server, || ());
    let mut config = plan.config.clone();
    config.push(quiet);
    let role = r#""node_id": "8f20b1c4-5a1d-4c07-9f6e-0123456789ac","#;
    let mut client = Agent::start_as(&Plan { config, ..*plan }, role);
    let join = format!("/v1/agent/join/{}:{SERF_LAN}", behind.ip);
    let limit = Duration::from_secs(60);
    wait_until(limit, "the client agent joins", || {
        let joined = client.client().put(&join, b"").ok()?;
        (joined.status == 200).then_some(())
    });
    client.wait_client_ready(limit);
    (client, server)
}

/// Starts of the real Consul until one is in the usual order (about four in five are).
const MAX_STARTS: usize = 20;

/// `->` as Go writes it in JSON.
const ARROW: &str = r"-\u003e";

/// A text without the port that a connection was made from: `read tcp 127.0.0.1:40000->...`.
fn without_own_port(text: &str) -> String {
    let parts = text.split(ARROW).map(|part| {
        let host = part.trim_end_matches(|c: char| c.is_ascii_digit());
        match part.rsplit_once(' ') {
            Some((before, _)) if before.ends_with("read tcp") && host.ends_with(':') => host,
            _ => part,
        }
    });
    parts.collect::<Vec<_>>().join(ARROW)
}

/// Headers whose value is the moment's, or says how the body was framed.
const UNCOMPARED: [&str; 3] = ["date", "content-length", "transfer-encoding"];

impl Side {
    /// Starts `binary` on `ip` with the files of `profile`, and waits until it has settled. It is a client agent
    /// when there is to be a server `behind` it.
    pub fn start(binary: &Path, ip: Ipv4Addr, profile: &Path, behind: Option<&Behind>) -> Side {
        let vars = variables(ip);
        let mut config = Vec::new();
        let mut files: Vec<PathBuf> = std::fs::read_dir(profile)
            .unwrap_or_else(|e| panic!("{}: {e}", profile.display()))
            .filter_map(|f| f.ok().map(|f| f.path()))
            .collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a profile's file");
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            config.push((name.into_owned(), fill(&text, &vars)));
        }
        let work = TempDir::new("side");
        // Both run under the same name, so that usage texts can be compared.
        let program = work.path().join("consul");
        std::os::unix::fs::symlink(binary, &program).expect("a link to the program");
        let backend = (Backend::start(ip), Grpc::start(ip));
        let plan = Plan {
            binary: &program,
            ip,
            node: "n1",
            config,
        };
        let (agent, server) = match behind {
            None => (usual_server(&plan, || backend.0.forget()), None),
            Some(server) => {
                let (agent, server) = client_and_server(&plan, server);
                (agent, Some(server))
            }
        };
        std::fs::create_dir_all(work.path().join("cwd")).expect("a directory for commands");
        let mut side = Side {
            client: agent.client(),
            agent,
            server,
            ip,
            program,
            work,
            vars,
            background: HashMap::new(),
            backend,
        };
        let dir = side.work.path().join("cwd").display().to_string();
        side.vars.insert("dir".into(), dir);
        side
    }

    /// Runs all steps; one answer for each.
    pub fn run(&mut self, case: &Case) -> Vec<Answer> {
        let mut answers = Vec::new();
        for step in &case.steps {
            answers.push(self.step(step));
            if self.agent.process().ended().is_some() {
                let log = self.agent.log_tail(15);
                answers.push(Answer::failed(format!("the agent ended; its log:\n{log}")));
                break;
            }
        }
        answers
    }

    fn step(&mut self, step: &Step) -> Answer {
        let body = unescape_if_raw(step, fill(&step.body, &self.vars));
        let patience = Duration::from_secs(match (step.options.slow, step.options.patient) {
            (_, true) => 180,
            (true, false) => 120,
            (false, false) => 60,
        });
        if step.options.until.is_empty() {
            let answer = self.act(step, &step.action, &body);
            return self.neutral(answer);
        }
        let mut last = Answer::default();
        let good = try_until(patience, || {
            last = self.act(step, &step.action, &body);
            let text = last.text();
            let holds = |u: &Until| match u {
                Until::Contains(t) => text.contains(t.as_str()),
                Until::Lacks(t) => !text.contains(t.as_str()),
                Until::Status(s) => last.code == Some(i32::from(*s)),
            };
            step.options.until.iter().all(holds).then_some(())
        });
        let mut answer = self.neutral(last);
        if good.is_none() {
            answer.failed = Some(format!("never came true: {:?}", step.options.until));
        }
        answer
    }

    fn act(&mut self, step: &Step, action: &Action, body: &str) -> Answer {
        match action {
            Action::Http(method, target) => {
                let target = fill(target, &self.vars);
                let headers = self.headers(step);
                let r = self
                    .client
                    .request(method, &target, &headers, body.as_bytes());
                if let Ok(r) = &r {
                    self.capture(step, r);
                }
                http_answer(r)
            }
            Action::Raw => {
                let mut client = Client::new(self.agent.http(), Duration::from_secs(10));
                http_answer(client.send_raw(&latin1(body), false))
            }
            Action::Dns(words) => {
                let words: Vec<String> = words.iter().map(|w| fill(w, &self.vars)).collect();
                match dns::ask((self.ip, DNS).into(), &words) {
                    Ok(a) => Answer {
                        parts: vec![("message".into(), a.lines.join("\n"))],
                        size: Some(a.size),
                        ..Answer::default()
                    },
                    Err(e) => Answer::failed(e),
                }
            }
            Action::Cli(args) => {
                let (mut command, stdin) = self.command(args, body);
                run_command(&mut command, &stdin, |_| {})
            }
            Action::File(name) => {
                let path = self
                    .work
                    .path()
                    .join("cwd")
                    .join(fill(name, &self.vars).trim_start_matches('/'));
                write_file(&path, body)
            }
            Action::Config(name) => {
                let path = self.agent.dir().join("config").join(name);
                if body.is_empty() {
                    let _ = std::fs::remove_file(path);
                    return Answer::default();
                }
                write_file(&path, body)
            }
            Action::Got(name) => {
                let file = || std::fs::read_to_string(self.agent.dir().join(name)).ok();
                let given = match name.starts_with('/') {
                    true => self.backend.0.given(name),
                    false => file(),
                };
                Answer {
                    parts: vec![("given".into(), given.unwrap_or_default())],
                    ..Answer::default()
                }
            }
            Action::Spawn(name, what) => self.spawn(step, name, what, body),
            Action::Join(name) => self.join(name),
            Action::Signal(name, signal) => self.signal(name, signal),
        }
    }

    fn headers(&self, step: &Step) -> Vec<(String, String)> {
        let fill_one = |h: &(String, String)| (h.0.clone(), fill(&h.1, &self.vars));
        step.headers.iter().map(fill_one).collect()
    }

    fn command(&self, args: &[String], stdin: &str) -> (Command, String) {
        let mut command = Command::new(&self.program);
        command
            .args(args.iter().map(|a| fill(a, &self.vars)))
            .current_dir(self.work.path().join("cwd"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        without_own_settings(&mut command);
        command.env("CONSUL_HTTP_ADDR", format!("{}:{HTTP}", self.ip));
        command.env("SHELL", "/bin/sh");
        (command, stdin.to_string())
    }

    fn spawn(&mut self, step: &Step, name: &str, what: &Action, body: &str) -> Answer {
        let mut pid = None;
        let thread = match what {
            Action::Http(method, target) => {
                let target = fill(target, &self.vars);
                let wait = wait_of(&target);
                let (method, headers) = (method.clone(), self.headers(step));
                let mut client = Client::new(self.agent.http(), Duration::from_secs(90));
                let body = body.as_bytes().to_vec();
                let sent = client.when_sent();
                let started = Instant::now();
                let thread = std::thread::spawn(move || {
                    let answer = http_answer(client.request(&method, &target, &headers, &body));
                    // Lateness within the jitter that Consul adds is of no interest.
                    let waited = wait.map(|wait| started.elapsed() >= wait);
                    Answer { waited, ..answer }
                });
                // What goes wrong stands in the answer.
                let _ = sent.recv_timeout(Duration::from_secs(10));
                thread
            }
            Action::Cli(args) => {
                let (mut command, stdin) = self.command(args, body);
                let (tell, told) = std::sync::mpsc::channel();
                let thread = std::thread::spawn(move || {
                    run_command(&mut command, &stdin, |id| {
                        let _ = tell.send(id);
                    })
                });
                pid = told.recv_timeout(Duration::from_secs(10)).ok();
                thread
            }
            _ => return Answer::failed("only HTTP and CLI run in the background".into()),
        };
        // The request is on its way; what follows on another connection comes after it in practice,
        // and a late one gives the same answer, only sooner.
        for _ in 0..5 {
            let _ = self.client.get("/v1/status/leader");
        }
        let background = Background { thread, pid };
        self.background.insert(name.to_string(), background);
        Answer::default()
    }

    fn join(&mut self, name: &str) -> Answer {
        let Some(b) = self.background.remove(name) else {
            return Answer::failed(format!("no background step {name}"));
        };
        b.thread
            .join()
            .unwrap_or_else(|_| Answer::failed("the background step broke".into()))
    }

    fn signal(&mut self, name: &str, signal: &str) -> Answer {
        let pid = if name == "agent" {
            Some(self.agent.process().pid())
        } else {
            self.background.get(name).and_then(|b| b.pid)
        };
        let number = match signal {
            "INT" => libc::SIGINT,
            "TERM" => libc::SIGTERM,
            "HUP" => libc::SIGHUP,
            _ => return Answer::failed(format!("unknown signal {signal}")),
        };
        match pid {
            Some(pid) => {
                // SAFETY: kill(2) takes no pointers; the child is reaped only by its joining thread.
                unsafe { libc::kill(pid as i32, number) };
            }
            None => return Answer::failed(format!("no process {name}")),
        }
        Answer::default()
    }

    fn capture(&mut self, step: &Step, r: &Response) {
        for (name, source) in &step.captures {
            let value = match source.strip_prefix("header ") {
                Some(header) => r.header(header).map(str::to_string),
                None => Json::parse(&r.text())
                    .and_then(|j| j.at(source).and_then(Json::scalar).map(str::to_string)),
            };
            let value = value.unwrap_or_else(|| format!("no-{name}"));
            self.vars.insert(name.clone(), value);
        }
    }

    /// Replaces what is this side's own by names.
    fn neutral(&self, mut answer: Answer) -> Answer {
        let mut pairs: Vec<(String, &str)> = vec![
            (self.work.path().display().to_string(), "<work>"),
            (self.agent.dir().display().to_string(), "<agent>"),
        ];
        for (name, mark) in [("ip", "<ip>"), ("hexip", "<hexip>"), ("ptr", "<ptr>")] {
            if let Some(value) = self.vars.get(name) {
                pairs.push((value.clone(), mark));
            }
        }
        if let Some(server) = &self.server {
            // First: it may begin like the client's.
            pairs.insert(0, (server.dns().ip().to_string(), "<server>"));
        }
        let swap = |text: &mut String| {
            for (from, to) in &pairs {
                if text.contains(from.as_str()) {
                    *text = text.replace(from.as_str(), to);
                }
            }
            *text = without_own_port(text);
        };
        answer.headers.iter_mut().for_each(|h| swap(&mut h.1));
        answer.parts.iter_mut().for_each(|p| swap(&mut p.1));
        answer.failed.iter_mut().for_each(&swap);
        answer
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        for (_, b) in self.background.drain() {
            if let (Some(pid), false) = (b.pid, b.thread.is_finished()) {
                // SAFETY: kill(2) takes no pointers; the child's own thread has not reaped it yet.
                unsafe { libc::kill(pid as i32, libc::SIGKILL) };
                let _ = b.thread.join();
            }
        }
    }
}

fn variables(ip: Ipv4Addr) -> HashMap<String, String> {
    let o = ip.octets();
    let hex = format!("{:02x}{:02x}{:02x}{:02x}", o[0], o[1], o[2], o[3]);
    let ptr = format!("{}.{}.{}.{}.in-addr.arpa", o[3], o[2], o[1], o[0]);
    [
        ("ip", ip.to_string()),
        ("hexip", hex),
        ("ptr", ptr),
        ("http", format!("{ip}:{HTTP}")),
        ("backend", format!("{ip}:{}", backend::PORT)),
        ("grpc", format!("{ip}:{}", grpc::PORT)),
        ("grpctls", format!("{ip}:{}", grpc::TLS_PORT)),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_string(), v))
    .collect()
}

/// Puts variables in; a `$` before no known name stays.
fn fill(text: &str, vars: &HashMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let end = tail
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(tail.len());
        match vars.get(&tail[..end]) {
            Some(value) => {
                out.push_str(value);
                rest = &tail[end..];
            }
            None => {
                out.push('$');
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The duration in a target's `wait=` of whole seconds or milliseconds.
fn wait_of(target: &str) -> Option<Duration> {
    let value = target
        .split(['?', '&'])
        .find_map(|p| p.strip_prefix("wait="))?;
    if let Some(ms) = value.strip_suffix("ms") {
        return ms.parse().ok().map(Duration::from_millis);
    }
    let seconds = value.strip_suffix('s')?;
    seconds.parse().ok().map(Duration::from_secs)
}

fn write_file(path: &Path, text: &str) -> Answer {
    let parent = path.parent().unwrap_or(Path::new("/"));
    match std::fs::create_dir_all(parent).and_then(|()| std::fs::write(path, latin1(text))) {
        Ok(()) => Answer::default(),
        Err(e) => Answer::failed(format!("{}: {e}", path.display())),
    }
}

/// Bytes of a text whose characters below 256 that came from `\xNN` stand for bytes.
fn latin1(text: &str) -> Vec<u8> {
    if text.chars().any(|c| ('\u{80}'..='\u{ff}').contains(&c)) {
        text.chars().map(|c| c as u32 as u8).collect()
    } else {
        text.as_bytes().to_vec()
    }
}

fn unescape_if_raw(step: &Step, text: String) -> String {
    if step.action != Action::Raw {
        return text;
    }
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('r') => out.push('\r'),
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('x') => {
                let hex: String = chars.by_ref().take(2).collect();
                let byte = u8::from_str_radix(&hex, 16).unwrap_or(b'?');
                out.push(char::from(byte));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

fn http_answer(r: std::io::Result<Response>) -> Answer {
    let r = match r {
        Ok(r) => r,
        Err(e) => return Answer::failed(format!("no answer: {:?}", e.kind())),
    };
    let mut headers: Vec<(String, String)> = r
        .headers
        .iter()
        .map(|(n, v)| (n.to_ascii_lowercase(), v.clone()))
        .filter(|(n, _)| !UNCOMPARED.contains(&n.as_str()))
        .collect();
    headers.sort();
    let body = if r.header("Content-Encoding") == Some("gzip") {
        let mut text = Vec::new();
        match flate2::read::GzDecoder::new(&r.body[..]).read_to_end(&mut text) {
            Ok(_) => String::from_utf8_lossy(&text).into_owned(),
            Err(e) => format!("<bad gzip: {e}>"),
        }
    } else {
        r.text()
    };
    Answer {
        code: Some(i32::from(r.status)),
        headers,
        parts: vec![("body".into(), body)],
        ..Answer::default()
    }
}

fn run_command(command: &mut Command, stdin: &str, started: impl FnOnce(u32)) -> Answer {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return Answer::failed(format!("does not start: {e}")),
    };
    started(child.id());
    if let Some(mut pipe) = child.stdin.take() {
        let _ = std::io::Write::write_all(&mut pipe, stdin.as_bytes());
    }
    let pid = child.id() as i32;
    let (done, over) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let late = over.recv_timeout(Duration::from_secs(180)).is_err();
        if late {
            // SAFETY: kill(2) takes no pointers; the child is not reaped before `done` is sent.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        late
    });
    let out = child.wait_with_output();
    let _ = done.send(());
    let late = watchdog.join().unwrap_or(true);
    match out {
        Ok(_) if late => Answer::failed("did not end within three minutes".into()),
        Ok(out) => Answer {
            code: out.status.code(),
            parts: vec![
                (
                    "stdout".into(),
                    String::from_utf8_lossy(&out.stdout).into_owned(),
                ),
                (
                    "stderr".into(),
                    String::from_utf8_lossy(&out.stderr).into_owned(),
                ),
            ],
            ..Answer::default()
        },
        Err(e) => Answer::failed(format!("no output: {e}")),
    }
}
