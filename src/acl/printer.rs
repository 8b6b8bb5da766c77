//! Legacy rules in the present language, laid out as Consul lays them out.
//!
//! Holds true: only the names of resources change; what is written otherwise stays, comments too.
//! Source: `docs/reference/http-1.md` section 11.9; a running Consul 1.8.7.

use super::level::Resource;
use crate::structs::go::quote;
use crate::structs::{Error, Result};
use crate::wire::hcl::{self, Comment, Item, Node, Pos};
use crate::wire::{Value, json};

/// Turns rules of before 1.4, which are all about prefixes, into such that say so.
///
/// # Errors
/// `Failed to parse rules: At 1:9: ...`.
pub fn translate(rules: &str) -> Result<String> {
    let failed = |error: hcl::Error| Error::new(format!("Failed to parse rules: {error}"));
    let mut out = String::new();
    if hcl::is_json(rules.as_bytes()) {
        let value = hcl::decode_json(rules.as_bytes()).map_err(failed)?;
        print_json(&value, &mut out);
        return Ok(out);
    }
    let (items, comments) = hcl::parse_all(rules.as_bytes()).map_err(failed)?;
    let mut printer = Printer {
        notes: Notes::new(&items, comments),
        out,
    };
    printer.items(&items, 0, None);
    Ok(printer.out)
}

fn rename(key: &mut String) {
    if Resource::RULED.iter().any(|r| r.name() == key) {
        key.push_str("_prefix");
    }
}

/// A key as it has to be written: labels in quotes.
fn written(key: &hcl::Key) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if key.quoted || key.text.is_empty() || !key.text.chars().all(bare) {
        quote(&key.text)
    } else {
        key.text.clone()
    }
}

fn start(item: &Item) -> Pos {
    item.keys.first().map_or(item.pos, |key| key.pos)
}

/// Comments by where they belong.
struct Notes {
    /// Above an item, which begins there.
    leads: Vec<(Pos, String)>,
    /// Behind an item, whose last token is there.
    lines: Vec<(Pos, String)>,
    /// By themselves, in the order of the text.
    alone: std::collections::VecDeque<(Pos, String)>,
}

impl Notes {
    fn new(items: &[Item], comments: Vec<Comment>) -> Self {
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        places(items, &mut starts, &mut ends);
        ends.sort_unstable();
        let mut notes = Notes {
            leads: Vec::new(),
            lines: Vec::new(),
            alone: std::collections::VecDeque::new(),
        };
        let mut comments = comments.into_iter().peekable();
        while let Some(Comment {
            mut text,
            pos,
            after,
            before,
        }) = comments.next()
        {
            let last = |text: &str| pos.line + text.matches('\n').count() as u32;
            let behind = pos.line == after.line && before.line > last(&text);
            let end = ends.iter().find(|end| **end >= after);
            if let (true, Some(end)) = (behind, end) {
                notes.lines.push((*end, text));
                continue;
            }
            while let Some(next) = comments
                .next_if(|next| next.pos.line == last(&text) + 1 && next.pos.line > next.after.line)
            {
                text = format!("{text}\n{}", next.text);
            }
            let is_lead = before.line == last(&text) + 1 && starts.contains(&before);
            match is_lead {
                true => notes.leads.push((before, text)),
                false => notes.alone.push_back((pos, text)),
            }
        }
        notes
    }
}

fn places(items: &[Item], starts: &mut Vec<Pos>, ends: &mut Vec<Pos>) {
    for item in items {
        starts.push(start(item));
        ends.push(item.end);
        if let Node::Object(inner) = &item.node {
            places(inner, starts, ends);
        }
    }
}

fn at(list: &[(Pos, String)], pos: Pos) -> Option<&str> {
    let found = list.iter().find(|(known, _)| *known == pos);
    found.map(|(_, text)| text.as_str())
}

struct Printer {
    notes: Notes,
    out: String,
}

impl Printer {
    /// Comments that stand by themselves before a place.
    fn alone(&mut self, before: Option<Pos>, indent: &str, apart: &mut &'static str) {
        let is_due = |(pos, _): &(Pos, String)| before.is_none_or(|before| *pos < before);
        while self.notes.alone.front().is_some_and(is_due) {
            let Some((_, text)) = self.notes.alone.pop_front() else {
                return;
            };
            self.out.push_str(apart);
            self.comment(&text, indent);
            *apart = "\n\n";
        }
    }

    fn comment(&mut self, text: &str, indent: &str) {
        for (n, line) in text.split('\n').enumerate() {
            if n > 0 {
                self.out.push('\n');
            }
            let own = line.starts_with(['#', '/']);
            self.out.push_str(if own { indent } else { "" });
            self.out.push_str(line);
        }
    }

    /// The items of an object that ends at `end`, or of the whole text.
    fn items(&mut self, items: &[Item], depth: usize, end: Option<Pos>) {
        let indent = "  ".repeat(depth);
        let mut apart = "";
        let mut rest = items;
        while let Some(first) = rest.first() {
            self.alone(Some(start(first)), &indent, &mut apart);
            self.out.push_str(apart);
            apart = "\n\n";
            if let Some(lead) = at(&self.notes.leads, start(first)).map(str::to_owned) {
                self.comment(&lead, &indent);
                self.out.push('\n');
            }
            let run = aligned(rest, depth);
            let (now, later) = rest.split_at(run);
            rest = later;
            self.run(now, depth, &indent);
        }
        let before = self.out.len();
        self.alone(end, &indent, &mut apart);
        if end.is_none() && self.out.len() > before {
            self.out.push('\n');
        }
    }

    /// Items on lines that follow each other, with their signs and comments below each other.
    fn run(&mut self, items: &[Item], depth: usize, indent: &str) {
        let keys = |item: &Item| {
            let mut keys: Vec<String> = item.keys.iter().map(written).collect();
            if let Some(first) = keys.first_mut().filter(|_| depth == 0) {
                rename(first);
            }
            keys.join(" ")
        };
        let wide = items.iter().map(|item| keys(item).len()).max();
        let wide = wide.unwrap_or_default();
        let mut lines: Vec<(String, Option<String>)> = Vec::new();
        for item in items {
            let begun = std::mem::take(&mut self.out);
            self.node(&item.node, depth, item.end);
            let value = std::mem::replace(&mut self.out, begun);
            let line = match item.node {
                Node::Object(_) => format!("{indent}{} {value}", keys(item)),
                _ => format!("{indent}{:wide$} = {value}", keys(item)),
            };
            let comment = at(&self.notes.lines, item.end).map(str::to_owned);
            lines.push((line, comment));
        }
        let wide = lines.iter().map(|(line, _)| line.chars().count()).max();
        let wide = if lines.len() > 1 { wide } else { None };
        for (n, (line, comment)) in lines.iter().enumerate() {
            self.out.push_str(if n > 0 { "\n" } else { "" });
            self.out.push_str(line);
            if let Some(comment) = comment {
                let gap = wide
                    .unwrap_or_default()
                    .saturating_sub(line.chars().count());
                self.out.push_str(&format!("{:gap$} {comment}", ""));
            }
        }
    }

    fn node(&mut self, node: &Node, depth: usize, end: Pos) {
        match node {
            Node::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Node::Int(text) | Node::Float(text) => self.out.push_str(text),
            Node::Str(text) => self.out.push_str(&quote(text)),
            Node::List(list) => {
                self.out.push('[');
                for (n, one) in list.iter().enumerate() {
                    self.out.push_str(if n > 0 { ", " } else { "" });
                    self.node(one, depth, end);
                }
                self.out.push(']');
            }
            Node::Object(items) => {
                self.out.push('{');
                let empty = self.out.len();
                self.items(items, depth + 1, Some(end));
                if self.out.len() > empty {
                    self.out.insert(empty, '\n');
                    self.out.push('\n');
                    self.out.push_str(&"  ".repeat(depth));
                }
                self.out.push('}');
            }
        }
    }
}

/// How many items at the beginning are written below each other without a line between.
fn aligned(items: &[Item], depth: usize) -> usize {
    let single =
        |item: &Item| !matches!(item.node, Node::Object(_)) && item.end.line == start(item).line;
    let follows = |pair: &&[Item]| {
        let [one, next] = pair else { return false };
        single(one) && single(next) && start(next).line == start(one).line + 1
    };
    match depth {
        0 => 1,
        _ => 1 + items.windows(2).take_while(follows).count(),
    }
}

/// JSON rules: each label becomes a block of its own.
fn print_json(value: &Value<'_>, out: &mut String) {
    let Value::Map(resources) = value else { return };
    let name = |key: &Value<'_>| key.as_str().unwrap_or_default().to_owned();
    for (key, value) in resources {
        let mut resource = name(key);
        match value {
            Value::Map(labels) => {
                rename(&mut resource);
                print_labels(&resource, labels, out);
            }
            Value::Array(list) => {
                rename(&mut resource);
                for one in list {
                    if let Value::Map(labels) = one {
                        print_labels(&resource, labels, out);
                    }
                }
            }
            scalar => {
                apart(out);
                out.push_str(&format!("{} = {}", quote(&resource), json_text(scalar)));
            }
        }
    }
}

fn apart(out: &mut String) {
    if !out.is_empty() {
        out.push_str("\n\n");
    }
}

fn print_labels(resource: &str, labels: &[(Value<'_>, Value<'_>)], out: &mut String) {
    for (label, fields) in labels {
        apart(out);
        let label = quote(label.as_str().unwrap_or_default());
        out.push_str(&format!("{resource} {label} {{\n"));
        let Value::Map(fields) = fields else {
            out.push('}');
            continue;
        };
        let lines: Vec<String> = fields
            .iter()
            .map(|(k, v)| {
                let key = k.as_str().unwrap_or_default();
                // Only this one is set anew by Consul, and so without quotes.
                let key = match key {
                    "policy" => key.to_owned(),
                    other => quote(other),
                };
                format!("  {key} = {}\n", json_text(v))
            })
            .collect();
        out.push_str(&lines.join("\n"));
        out.push('}');
    }
}

fn json_text(value: &Value<'_>) -> String {
    match value {
        Value::Str(text) => quote(&String::from_utf8_lossy(text)),
        other => json::to_vec(other)
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::translate;

    /// Rules and what Consul 1.8.7 makes of them.
    const CASES: &[(&str, &str)] = &[
        (
            "key \"a\" { policy = \"read\" } key \"b\" { policy = \"deny\" }",
            "key_prefix \"a\" {\n  policy = \"read\"\n}\n\nkey_prefix \"b\" {\n  policy = \"deny\"\n}",
        ),
        (
            "service \"web\" { \n policy = \"write\" # p\n intentions = \"read\" # i\n}",
            "service_prefix \"web\" {\n  policy     = \"write\" # p\n  intentions = \"read\"  # i\n}",
        ),
        (
            "service \"web\" { policy = \"write\" intentions = \"read\" }",
            "service_prefix \"web\" {\n  policy = \"write\"\n\n  intentions = \"read\"\n}",
        ),
        (
            "# one\n\n# two\nkey \"a\" { policy = \"read\" }\n# three\n\nkey \"b\" { policy = \"read\" } # four\nkey \"c\" {\n # inside\n}\n# end\n",
            "# one\n\n# two\nkey_prefix \"a\" {\n  policy = \"read\"\n}\n\n# three\n\nkey_prefix \"b\" {\n  policy = \"read\"\n} # four\n\nkey_prefix \"c\" {\n  # inside\n}\n\n# end\n",
        ),
        (
            "key \"a\" {\n  # first\n\n  # second\n  policy = \"read\"\n  # tail\n}\n",
            "key_prefix \"a\" {\n  # first\n\n  # second\n  policy = \"read\"\n\n  # tail\n}",
        ),
        (
            "operator = \"read\" # why",
            "operator = \"read\"\n\n# why\n",
        ),
        ("acl = \"read\" # why\n", "acl = \"read\" # why"),
        ("# only a comment\n", "# only a comment\n"),
        (
            "key \"x\" {\n  /* block\n     more */\n  policy = \"read\"\n}\n",
            "key_prefix \"x\" {\n  /* block\n     more */\n  policy = \"read\"\n}",
        ),
        (
            "service \"x\" {\n  policy = \"read\" # 1\n  intentions = \"write\"\n # 2\n foo = \"longer\" # 3\n b = 1 # 4\n}",
            "service_prefix \"x\" {\n  policy     = \"read\"  # 1\n  intentions = \"write\"\n\n  # 2\n  foo = \"longer\" # 3\n  b   = 1        # 4\n}",
        ),
        (
            "{\"operator\":\"read\", \"service\":{\"a\":{\"policy\":\"read\",\"intentions\":\"write\",}},}",
            "\"operator\" = \"read\"\n\nservice_prefix \"a\" {\n  policy = \"read\"\n\n  \"intentions\" = \"write\"\n}",
        ),
    ];

    #[test]
    fn rules_are_laid_out_as_consul_lays_them_out() {
        for (rules, want) in CASES {
            assert_eq!(translate(rules).as_deref(), Ok(*want), "{rules}");
        }
    }
}
