//! Compares what two sides answered, field by field. What cannot be equal is compared by how it relates:
//! Raft indexes by order (two values equal, greater or smaller on one side must be so on the other),
//! UUIDs and content hashes by identity (the same on one side, the same on the other), times and versions
//! by being such.

use std::collections::BTreeMap;

use regex_lite::Regex;

use crate::case::Step;
use crate::common::json::Json;
use crate::dns;
use crate::side::Answer;

/// One difference.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Line of the step in its file.
    pub line: usize,
    /// The step's text.
    pub step: String,
    /// Where in the answer.
    pub path: String,
    /// What the real Consul answered there.
    pub oracle: String,
    /// What ours did.
    pub ours: String,
}

/// What has been learned about the two sides so far.
pub struct Relations {
    indexes: BTreeMap<u64, u64>,
    uuids: BTreeMap<String, String>,
    uuids_back: BTreeMap<String, String>,
    special: Regex,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Uuid,
    Time,
    Version,
    Index,
}

impl Relations {
    /// Nothing known yet.
    pub fn new() -> Relations {
        let own = regex_escape(env!("CARGO_PKG_VERSION"));
        let pattern = format!(
            r#"(?P<uuid>[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}|\b[0-9a-f]{{64}}\b)|(?P<time>\d{{4}}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| \+0000 UTC|[+-]\d\d:?\d\d)?)|(?P<version>\b(?:1\.8\.7|{own})\b)|(?:(?:CreateIndex|ModifyIndex|Create Index|Modify Index|modify index|to index|reset index)"?:? *)(?P<index>\d+)"#
        );
        Relations {
            indexes: BTreeMap::new(),
            uuids: BTreeMap::new(),
            uuids_back: BTreeMap::new(),
            special: Regex::new(&pattern).expect("the pattern is a constant"),
        }
    }

    /// Whether `(oracle, ours)` fits all pairs of indexes seen before; remembers it if so.
    fn index(&mut self, oracle: u64, ours: u64) -> bool {
        // 0 and 1 are values of their own: no index, and the index of an empty table.
        if oracle <= 1 || ours <= 1 {
            return oracle == ours;
        }
        if let Some(known) = self.indexes.get(&oracle) {
            return *known == ours;
        }
        let below = self.indexes.range(..oracle).next_back().map(|p| *p.1);
        let above = self.indexes.range(oracle..).next().map(|p| *p.1);
        if below.is_some_and(|b| b >= ours) || above.is_some_and(|a| a <= ours) {
            return false;
        }
        self.indexes.insert(oracle, ours);
        true
    }

    fn uuid(&mut self, oracle: &str, ours: &str) -> bool {
        match (self.uuids.get(oracle), self.uuids_back.get(ours)) {
            (Some(known), _) => known == ours,
            (None, Some(_)) => false,
            (None, None) => {
                self.uuids.insert(oracle.into(), ours.into());
                self.uuids_back.insert(ours.into(), oracle.into());
                true
            }
        }
    }

    /// Cuts a text into plain stretches and special values.
    fn cut<'t>(&self, text: &'t str) -> (Vec<&'t str>, Vec<(Kind, &'t str)>) {
        let (mut plain, mut special) = (Vec::new(), Vec::new());
        let mut at = 0;
        for c in self.special.captures_iter(text) {
            let kinds = [
                ("uuid", Kind::Uuid),
                ("time", Kind::Time),
                ("version", Kind::Version),
                ("index", Kind::Index),
            ];
            for (name, kind) in kinds {
                if let Some(m) = c.name(name) {
                    plain.push(&text[at..m.start()]);
                    special.push((kind, m.as_str()));
                    at = m.end();
                }
            }
        }
        plain.push(&text[at..]);
        (plain, special)
    }

    /// Whether two texts say the same.
    fn same_text(&mut self, oracle: &str, ours: &str) -> bool {
        if oracle == ours && !self.special.is_match(oracle) {
            return true;
        }
        let (plain_a, special_a) = self.cut(oracle);
        let (plain_b, special_b) = self.cut(ours);
        if plain_a != plain_b || special_a.len() != special_b.len() {
            return false;
        }
        special_a.iter().zip(&special_b).all(|(a, b)| {
            a.0 == b.0
                && match a.0 {
                    Kind::Uuid => self.uuid(a.1, b.1),
                    Kind::Time => a.1.starts_with("0001-") == b.1.starts_with("0001-"),
                    Kind::Version => true,
                    Kind::Index => {
                        let n = |t: &str| t.parse().unwrap_or(0);
                        self.index(n(a.1), n(b.1))
                    }
                }
        })
    }

    /// The text to sort by: special values masked, but for ids that are known, which are written as
    /// the real Consul's on both sides.
    fn masked(&self, text: &str, ours: bool) -> String {
        let (plain, special) = self.cut(text);
        let mut out = String::new();
        for (i, stretch) in plain.iter().enumerate() {
            out.push_str(stretch);
            let Some((kind, value)) = special.get(i) else {
                continue;
            };
            let known = match kind {
                Kind::Uuid if ours => self.uuids_back.get(*value).cloned(),
                Kind::Uuid => self.uuids.get_key_value(*value).map(|p| p.0.clone()),
                Kind::Time | Kind::Version | Kind::Index => None,
            };
            out.push_str(&known.unwrap_or_else(|| "\u{1}".into()));
        }
        out
    }
}

fn regex_escape(text: &str) -> String {
    text.replace('.', "\\.")
}

/// Compares all answers of a case.
pub fn transcripts(steps: &[Step], oracle: &[Answer], ours: &[Answer]) -> Vec<Difference> {
    let mut relations = Relations::new();
    let mut all = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let (Some(a), Some(b)) = (oracle.get(i), ours.get(i)) else {
            let tail = |t: &[Answer]| t.last().and_then(|a| a.failed.clone()).unwrap_or_default();
            all.push(Difference {
                line: step.line,
                step: step.text.clone(),
                path: "run".into(),
                oracle: tail(oracle),
                ours: tail(ours),
            });
            break;
        };
        let mut pass = Pass {
            step,
            relations: &mut relations,
            found: Vec::new(),
        };
        pass.answers(a, b);
        all.append(&mut pass.found);
    }
    all
}

struct Pass<'a> {
    step: &'a Step,
    relations: &'a mut Relations,
    found: Vec<Difference>,
}

impl Pass<'_> {
    fn differ(&mut self, path: &str, oracle: impl Into<String>, ours: impl Into<String>) {
        self.found.push(Difference {
            line: self.step.line,
            step: self.step.text.clone(),
            path: path.to_string(),
            oracle: oracle.into(),
            ours: ours.into(),
        });
    }

    fn ignored(&self, path: &str) -> bool {
        self.step.options.ignore.iter().any(|i| i == path)
    }

    fn answers(&mut self, a: &Answer, b: &Answer) {
        if let Some(why) = &a.failed {
            // A step to which the real one has no answer shows nothing.
            self.differ("case", why.clone(), b.failed.clone().unwrap_or_default());
        }
        if a.failed != b.failed {
            let text = |x: &Answer| x.failed.clone().unwrap_or_else(|| "an answer".into());
            self.differ("answer", text(a), text(b));
            if a.failed.is_some() != b.failed.is_some() && a.parts.is_empty() != b.parts.is_empty()
            {
                return;
            }
        }
        if a.code != b.code {
            let show = |x: &Answer| {
                let body = x.parts.iter().map(|p| p.1.as_str()).collect::<String>();
                let body: String = body.chars().take(160).collect();
                format!("{} {body}", x.code.map_or("none".into(), |c| c.to_string()))
            };
            // The rest of an answer of another status differs for that reason only.
            return self.differ("status", show(a), show(b));
        }
        if a.waited != b.waited {
            let show = |w: Option<bool>| match w {
                Some(true) => "waited its time out",
                Some(false) => "came before its time was over",
                None => "-",
            };
            self.differ("waited", show(a.waited), show(b.waited));
        }
        if self.step.options.size && a.size != b.size {
            self.differ("size", format!("{:?}", a.size), format!("{:?}", b.size));
        }
        self.headers(a, b);
        for ((name, x), (_, y)) in a.parts.iter().zip(&b.parts) {
            self.part(name, x, y);
        }
    }

    fn headers(&mut self, a: &Answer, b: &Answer) {
        let mut names: Vec<&String> = a.headers.iter().chain(&b.headers).map(|h| &h.0).collect();
        names.sort();
        names.dedup();
        for name in names {
            if self.ignored(name) {
                continue;
            }
            let values = |x: &Answer| {
                let all: Vec<&str> = x
                    .headers
                    .iter()
                    .filter(|h| &h.0 == name)
                    .map(|h| h.1.as_str())
                    .collect();
                (!all.is_empty()).then(|| all.join(" + "))
            };
            let (x, y) = (values(a), values(b));
            let same = match (&x, &y) {
                (Some(x), Some(y)) if name == "x-consul-index" => {
                    let n = |t: &str| t.parse::<u64>().ok();
                    match (n(x), n(y)) {
                        _ if self.step.options.opaque_index => true,
                        (Some(x), Some(y)) => self.relations.index(x, y),
                        _ => x == y,
                    }
                }
                (Some(x), Some(y)) if name == "x-consul-contenthash" => self.relations.uuid(x, y),
                (Some(x), Some(y)) => self.relations.same_text(x, y),
                _ => x == y,
            };
            if !same {
                let show = |v: Option<String>| v.unwrap_or_else(|| "absent".into());
                self.differ(name, show(x), show(y));
            }
        }
    }

    fn part(&mut self, name: &str, x: &str, y: &str) {
        if self.ignored(name) {
            return;
        }
        if name == "message" {
            return self.lines(name, x, y, self.step.options.counts);
        }
        match (Json::parse(x), Json::parse(y)) {
            (Some(a), Some(b)) if !matches!(a, Json::Word(_)) || !matches!(b, Json::Word(_)) => {
                let style = |j: &Json, text: &str| {
                    if j.compact() == text {
                        "compact"
                    } else if j.compact() + "\n" == text {
                        "compact with a newline"
                    } else if j.pretty() == text {
                        "indented with a newline"
                    } else if j.pretty().trim_end() == text {
                        "indented"
                    } else {
                        "otherwise"
                    }
                };
                let (s, t) = (style(&a, x), style(&b, y));
                if s != t {
                    self.differ("layout", s, t);
                }
                self.json("", &a, &b);
            }
            _ => self.lines(name, x, y, false),
        }
    }

    fn lines(&mut self, name: &str, x: &str, y: &str, counts: bool) {
        let take = |text: &str, ours: bool| -> Vec<String> {
            let lines = text.split('\n').map(str::to_string);
            let keep = |l: &String| {
                let hit = |i: &String| l.trim_start().starts_with(i.as_str());
                !self.step.options.ignore.iter().any(hit)
            };
            let mut lines: Vec<String> = lines.filter(keep).collect();
            if counts {
                lines = dns::counted(&lines);
            }
            if self.step.options.sort {
                lines.sort_by_key(|l| self.relations.masked(l, ours));
            }
            lines
        };
        let (mut a, mut b) = (take(x, false), take(y, true));
        if let (Some(p), Some(q)) = (usage(&a), usage(&b)) {
            (a, b) = (p, q);
        }
        if self.step.options.shape {
            (a, b) = (shape_of(&a), shape_of(&b));
        }
        if self.relations.same_text(&a.join("\n"), &b.join("\n")) {
            return;
        }
        // Say only what differs of long texts.
        let only = |p: &[String], q: &[String]| -> Vec<String> {
            p.iter().filter(|l| !q.contains(l)).cloned().collect()
        };
        let (p, q) = (only(&a, &b), only(&b, &a));
        if p.is_empty() && q.is_empty() {
            self.differ(name, x, y);
        } else {
            self.differ(name, p.join("\n"), q.join("\n"));
        }
    }

    fn json(&mut self, path: &str, a: &Json, b: &Json) {
        if self.ignored(path) {
            return;
        }
        match (a, b) {
            (Json::Object(x), Json::Object(y)) => self.objects(path, x, y),
            (Json::List(x), Json::List(y)) => self.lists(path, x, y),
            (Json::Word(_), Json::Word(_)) | (Json::Text(_), Json::Text(_))
                if self.step.options.shape => {}
            (Json::Word(x), Json::Word(y)) => {
                let leaf = path.rsplit('.').next().unwrap_or_default();
                let same = if matches!(leaf, "CreateIndex" | "ModifyIndex") {
                    match (x.parse(), y.parse()) {
                        (Ok(x), Ok(y)) => self.relations.index(x, y),
                        _ => x == y,
                    }
                } else {
                    x == y
                };
                if !same {
                    self.differ(path, x, y);
                }
            }
            (Json::Text(x), Json::Text(y))
                if path.ends_with(".ContentHash") || path.ends_with(".Hash") =>
            {
                if !self.relations.uuid(x, y) {
                    self.differ(path, format!("\"{x}\""), format!("\"{y}\""));
                }
            }
            (Json::Text(x), Json::Text(y)) => {
                if !self.relations.same_text(x, y) {
                    self.differ(path, format!("\"{x}\""), format!("\"{y}\""));
                }
            }
            _ => self.differ(path, short(a), short(b)),
        }
    }

    fn objects(&mut self, path: &str, x: &[(String, Json)], y: &[(String, Json)]) {
        let names = |m: &[(String, Json)]| -> Vec<String> {
            let keep = |n: &&(String, Json)| !self.ignored(&format!("{path}.{}", n.0));
            m.iter().filter(keep).map(|m| m.0.clone()).collect()
        };
        let (p, q) = (names(x), names(y));
        // Keys that are ids differ by nature: pair them in order.
        let same_names = p.len() == q.len()
            && p.iter()
                .zip(&q)
                .all(|(a, b)| self.relations.same_text(a, b));
        if same_names {
            for name in &p {
                let at = p.iter().position(|n| n == name).unwrap_or(0);
                let find = |m: &[(String, Json)], name: &str| {
                    m.iter().find(|m| m.0 == name).map(|m| m.1.clone())
                };
                if let (Some(a), Some(b)) = (find(x, name), find(y, &q[at])) {
                    self.json(&format!("{path}.{name}"), &a, &b);
                }
            }
            return;
        }
        let (mut p_sorted, mut q_sorted) = (p.clone(), q.clone());
        p_sorted.sort();
        q_sorted.sort();
        if p_sorted == q_sorted {
            self.differ(
                &format!("{path} order of members"),
                p.join(","),
                q.join(","),
            );
        } else {
            let only = |a: &[String], b: &[String]| -> String {
                let rest: Vec<&str> = a.iter().filter(|n| !b.contains(n)).map(|n| &**n).collect();
                format!("also {{{}}}", rest.join(","))
            };
            self.differ(&format!("{path} members"), only(&p, &q), only(&q, &p));
        }
        for name in p.iter().filter(|n| q.contains(n)) {
            let find = |m: &[(String, Json)]| m.iter().find(|m| &m.0 == name).map(|m| m.1.clone());
            if let (Some(a), Some(b)) = (find(x), find(y)) {
                self.json(&format!("{path}.{name}"), &a, &b);
            }
        }
    }

    fn lists(&mut self, path: &str, x: &[Json], y: &[Json]) {
        if x.len() != y.len() {
            if self.step.options.shape && !x.is_empty() && !y.is_empty() {
                return self.json(&format!("{path}[0]"), &x[0], &y[0]);
            }
            let show = |l: &[Json]| {
                let all: Vec<String> = l.iter().map(short).collect();
                format!("{} of them: {}", l.len(), all.join(" ; "))
            };
            return self.differ(path, show(x), show(y));
        }
        let order = |l: &[Json], ours: bool| -> Vec<Json> {
            let mut l = l.to_vec();
            if self.step.options.sort {
                l.sort_by_key(|j| self.relations.masked(&j.compact(), ours));
            }
            l
        };
        let (p, q) = (order(x, false), order(y, true));
        for (i, (a, b)) in p.iter().zip(&q).enumerate() {
            self.json(&format!("{path}[{i}]"), a, b);
        }
    }
}

/// What counts of a help text: all before it, its first line, and which flags it names. Its sentences
/// are each program's own. `None` when there is no help text.
fn usage(lines: &[String]) -> Option<Vec<String>> {
    let at = lines.iter().position(|l| l.starts_with("Usage:"))?;
    let mut out = lines[..=at].to_vec();
    let flag = |l: &String| {
        // Deeper lines are sentences, which may begin with the name of another flag.
        let l = l.strip_prefix("  ").filter(|l| l.starts_with('-'))?;
        let name = l.split(['=', ' ', ',', '\t']).next().unwrap_or_default();
        (name.len() > 1).then(|| name.to_string())
    };
    let mut flags: Vec<String> = lines[at + 1..].iter().filter_map(flag).collect();
    flags.sort();
    flags.dedup();
    out.append(&mut flags);
    Some(out)
}

/// What counts of a text of measured values: the names before ` = `, and words without digits.
fn shape_of(lines: &[String]) -> Vec<String> {
    let word = |w: &str| {
        if w.chars().any(|c| c.is_ascii_digit()) {
            "#".to_string()
        } else {
            w.to_string()
        }
    };
    let line = |l: &String| match l.split_once(" = ") {
        Some((name, _)) => name.to_string(),
        None if !l.contains(' ') => l.len().to_string(),
        None => l.split(' ').map(word).collect::<Vec<_>>().join(" "),
    };
    lines.iter().map(line).collect()
}

fn short(j: &Json) -> String {
    let text = j.compact();
    if text.chars().count() > 200 {
        let head: String = text.chars().take(200).collect();
        format!("{head}...")
    } else {
        text
    }
}
