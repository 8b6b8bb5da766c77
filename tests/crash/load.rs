//! Writers that remember what was acknowledged to them, and the ledger that sums it up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::common::http::{Client, Response};
use crate::common::json::Json;

/// Reads whose index is followed.
pub const WATCHED: [&str; 4] = [
    "/v1/kv/?keys",
    "/v1/session/list",
    "/v1/catalog/nodes",
    "/v1/catalog/services",
];

const WRITERS: u64 = 6;

/// What must be there: the last acknowledged state, and states that may have followed it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Key {
    /// `None`: deleted, or never acknowledged.
    value: Option<String>,
    modify_index: Option<u64>,
    session: Option<String>,
    /// A write was sent whose answer never came: its result may show or not.
    pending: Vec<Option<String>>,
    /// Some write to the key was acknowledged.
    known: bool,
}

/// All that was acknowledged, over all rounds.
#[derive(Default)]
pub struct Ledger {
    keys: BTreeMap<String, Key>,
    sessions: BTreeSet<String>,
    destroyed: BTreeSet<String>,
    /// Sessions whose end was asked for without an answer.
    doubtful: BTreeSet<String>,
    indexes: BTreeMap<String, u64>,
    acknowledged: u64,
}

impl Ledger {
    /// How many writes were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The greatest index seen for a path.
    pub fn index(&self, path: &str) -> u64 {
        self.indexes.get(path).copied().unwrap_or(0)
    }

    /// Remembers an index.
    pub fn saw(&mut self, path: &str, index: u64) {
        let known = self.indexes.entry(path.to_string()).or_default();
        *known = index.max(*known);
    }

    fn take(&mut self, other: Ledger) {
        self.keys.extend(other.keys);
        self.sessions.extend(other.sessions);
        self.destroyed.extend(other.destroyed);
        self.doubtful.extend(other.doubtful);
        for (path, index) in other.indexes {
            self.saw(&path, index);
        }
        self.acknowledged += other.acknowledged;
    }

    /// Compares with what the agent has. Writes without an answer are settled by what is found.
    pub fn check(&mut self, kv: &Json, sessions: &Json) -> Result<(), String> {
        let there = ids(sessions);
        let wanted = self.sessions.difference(&self.doubtful);
        if let Some(lost) = wanted.into_iter().find(|s| !there.contains(*s)) {
            return Err(format!("session {lost} was acknowledged and is gone"));
        }
        if let Some(back) = self.destroyed.iter().find(|s| there.contains(*s)) {
            return Err(format!("session {back} was destroyed and is back"));
        }
        self.sessions.retain(|s| there.contains(s));
        self.doubtful.clear();
        let found = entries(kv);
        for (name, key) in &mut self.keys {
            let entry = found.get(name);
            let value = entry.map(|e| e.value.clone());
            let settled = key.pending.is_empty();
            if value != key.value && !key.pending.contains(&value) && (key.known || !settled) {
                return Err(format!("{name}: wanted {key:?}, found {value:?}"));
            }
            if let (Some(entry), true, Some(index)) = (entry, settled, key.modify_index)
                && entry.modify_index != index
            {
                let is = entry.modify_index;
                return Err(format!("{name}: ModifyIndex was {index}, is {is}"));
            }
            if let (Some(entry), true, Some(session)) = (entry, settled, &key.session)
                && entry.session.as_ref() != Some(session)
            {
                return Err(format!(
                    "{name}: held by {session}, now {:?}",
                    entry.session
                ));
            }
            *key = Key {
                value,
                modify_index: entry.map(|e| e.modify_index),
                session: entry.and_then(|e| e.session.clone()),
                pending: Vec::new(),
                known: true,
            };
        }
        Ok(())
    }
}

/// Shows that the ledger sees a loss: what was acknowledged is compared with less, older or other.
pub fn ledger_sees_losses() -> Result<(), String> {
    let kv = r#"[{"Key":"a","Value":"MQ==","ModifyIndex":5},{"Key":"l","Value":"MQ==","Session":"s","ModifyIndex":6}]"#;
    let sessions = r#"[{"ID":"s"}]"#;
    let ledger = || {
        let mut l = Ledger::default();
        for (name, index, session) in [("a", 5, None), ("l", 6, Some("s".to_string()))] {
            let key = Key {
                value: Some("1".into()),
                modify_index: Some(index),
                session,
                known: true,
                ..Key::default()
            };
            l.keys.insert(name.into(), key);
        }
        let gone = Key {
            known: true,
            ..Key::default()
        };
        l.keys.insert("gone".into(), gone);
        l.sessions.insert("s".into());
        l.destroyed.insert("d".into());
        l
    };
    let check = |kv: &str, sessions: &str| {
        let parse = |t: &str| Json::parse(t).ok_or(format!("not JSON: {t}"));
        ledger().check(&parse(kv)?, &parse(sessions)?)
    };
    check(kv, sessions)?;
    let altered = [
        (kv.replace("\"a\"", "\"b\""), sessions.to_string()),
        (kv.replace("MQ==", "Mg=="), sessions.to_string()),
        (kv.replace("5}", "4}"), sessions.to_string()),
        (kv.replace(",\"Session\":\"s\"", ""), sessions.to_string()),
        (kv.replace("\"a\"", "\"gone\""), sessions.to_string()),
        (kv.to_string(), "[]".to_string()),
        (kv.to_string(), r#"[{"ID":"s"},{"ID":"d"}]"#.to_string()),
    ];
    for (kv, sessions) in altered {
        if check(&kv, &sessions).is_ok() {
            return Err(format!("not seen: {kv} {sessions}"));
        }
    }
    Ok(())
}

struct Entry {
    value: String,
    modify_index: u64,
    session: Option<String>,
}

fn entries(kv: &Json) -> BTreeMap<String, Entry> {
    let Json::List(list) = kv else {
        return BTreeMap::new();
    };
    let text = |j: &Json, path: &str| j.at(path).and_then(Json::scalar).map(str::to_string);
    let entry = |j: &Json| {
        let bytes = text(j, ".Value").and_then(|v| {
            let decoded = data_encoding::BASE64.decode(v.as_bytes());
            decoded.ok()
        });
        let value = String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
        let modify_index = text(j, ".ModifyIndex")?.parse().ok()?;
        let session = text(j, ".Session");
        Some((
            text(j, ".Key")?,
            Entry {
                value,
                modify_index,
                session,
            },
        ))
    };
    list.iter().filter_map(entry).collect()
}

fn ids(sessions: &Json) -> BTreeSet<String> {
    let Json::List(list) = sessions else {
        return BTreeSet::new();
    };
    let id = |j: &Json| j.at(".ID").and_then(Json::scalar).map(str::to_string);
    list.iter().filter_map(id).collect()
}

/// Running writers and one reader.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Ledger>>,
}

impl Load {
    /// Starts them; each draws its writes from the seed.
    pub fn start(addr: SocketAddr, round: u64, seed: u64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for n in 0..WRITERS {
            let stop = stop.clone();
            threads.push(std::thread::spawn(move || {
                let mut writer = Writer {
                    client: Client::new(addr, Duration::from_secs(5)),
                    random: fastrand::Rng::with_seed(seed ^ (n + 1)),
                    name: format!("{round}/{n}"),
                    counter: 0,
                    ledger: Ledger::default(),
                };
                while !stop.load(Ordering::Relaxed) && writer.step().is_some() {}
                writer.ledger
            }));
        }
        let reader_stop = stop.clone();
        threads.push(std::thread::spawn(move || read(addr, &reader_stop)));
        Load { stop, threads }
    }

    /// Ends them after the agent was killed; how many writes were acknowledged in this round.
    pub fn stop(self, ledger: &mut Ledger) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let before = ledger.acknowledged;
        for thread in self.threads {
            if let Ok(part) = thread.join() {
                ledger.take(part);
            }
        }
        ledger.acknowledged - before
    }
}

fn read(addr: SocketAddr, stop: &AtomicBool) -> Ledger {
    let mut ledger = Ledger::default();
    let mut client = Client::new(addr, Duration::from_secs(5));
    while !stop.load(Ordering::Relaxed) {
        for path in WATCHED {
            match client.get(path) {
                Ok(r) => ledger.saw(path, r.index().unwrap_or(0)),
                Err(_) => return ledger,
            }
        }
    }
    ledger
}

/// One connection's writes, all under names of its own.
struct Writer {
    client: Client,
    random: fastrand::Rng,
    name: String,
    counter: u64,
    ledger: Ledger,
}

impl Writer {
    /// One write; `None` when the agent is gone.
    fn step(&mut self) -> Option<()> {
        self.counter += 1;
        let fresh = format!("new/{}/{}", self.name, self.counter);
        match self.random.u8(0..10) {
            0..=4 => self.put(&fresh),
            5 | 6 => self.put(&format!("own/{}", self.name)),
            7 => self.cas(&format!("cas/{}", self.name)),
            8 => self.delete(),
            _ => self.session(),
        }
    }

    fn value(&mut self) -> String {
        let length = self.random.usize(0..200);
        let n = self.counter;
        format!("{}-{n}-{}", self.name, "v".repeat(length))
    }

    fn send(&mut self, path: &str, body: &[u8]) -> Option<Response> {
        let answer = self.client.put(path, body).ok()?;
        (answer.status == 200).then_some(answer)
    }

    fn key(&mut self, name: &str) -> &mut Key {
        self.ledger.keys.entry(name.to_string()).or_default()
    }

    fn put(&mut self, name: &str) -> Option<()> {
        let value = self.value();
        self.key(name).pending.push(Some(value.clone()));
        let answer = self.send(&format!("/v1/kv/{name}"), value.as_bytes())?;
        if answer.text() == "true" {
            self.acknowledge(name, Some(value), None);
        }
        self.look(name)
    }

    fn acknowledge(&mut self, name: &str, value: Option<String>, session: Option<String>) {
        *self.key(name) = Key {
            value,
            session,
            known: true,
            ..Key::default()
        };
        self.ledger.acknowledged += 1;
    }

    /// Now and then reads the key back, to know its index.
    fn look(&mut self, name: &str) -> Option<()> {
        if self.random.u8(0..8) == 0 {
            let answer = self.client.get(&format!("/v1/kv/{name}")).ok()?;
            let json = Json::parse(&answer.text())?;
            let index = json.at("[0].ModifyIndex")?.scalar()?.parse().ok();
            self.key(name).modify_index = index;
        }
        Some(())
    }

    fn cas(&mut self, name: &str) -> Option<()> {
        let answer = self.client.get(&format!("/v1/kv/{name}")).ok()?;
        let index = match Json::parse(&answer.text()) {
            Some(json) => json.at("[0].ModifyIndex")?.scalar()?.to_string(),
            None => "0".to_string(),
        };
        let value = self.value();
        self.key(name).pending.push(Some(value.clone()));
        let answer = self.send(&format!("/v1/kv/{name}?cas={index}"), value.as_bytes())?;
        if answer.text() == "true" {
            self.acknowledge(name, Some(value), None);
        }
        Some(())
    }

    fn delete(&mut self) -> Option<()> {
        let names: Vec<String> = self.ledger.keys.keys().cloned().collect();
        let Some(name) = self.random.choice(&names).cloned() else {
            return Some(());
        };
        self.key(&name).pending.push(None);
        let path = format!("/v1/kv/{name}");
        let answer = self.client.request("DELETE", &path, &[], b"").ok()?;
        if answer.status == 200 {
            self.acknowledge(&name, None, None);
        }
        Some(())
    }

    fn session(&mut self) -> Option<()> {
        let answer = self.send("/v1/session/create", br#"{"LockDelay": "0s"}"#)?;
        let json = Json::parse(&answer.text())?;
        let id = json.at(".ID")?.scalar()?.to_string();
        self.ledger.sessions.insert(id.clone());
        self.ledger.acknowledged += 1;
        let name = format!("lock/{}/{}", self.name, self.counter);
        self.key(&name).pending.push(Some("held".into()));
        let answer = self.send(&format!("/v1/kv/{name}?acquire={id}"), b"held")?;
        if answer.text() == "true" {
            self.acknowledge(&name, Some("held".into()), Some(id.clone()));
        }
        if self.random.bool() {
            self.ledger.doubtful.insert(id.clone());
            // The release of the lock may show although its answer never comes.
            let held = self.key(&name).value.clone();
            self.key(&name).pending.push(held);
            self.send(&format!("/v1/session/destroy/{id}"), b"")?;
            self.ledger.sessions.remove(&id);
            self.ledger.doubtful.remove(&id);
            self.ledger.destroyed.insert(id);
            self.acknowledge(&name, Some("held".into()), None);
        }
        Some(())
    }
}
