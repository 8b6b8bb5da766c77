//! How tokens, policies, roles, auth methods and binding rules are shown: each says what there is to show, and one
//! function lays it out, alone or in a list.
//!
//! Source: `docs/reference/cli.md` section 18; a running Consul 1.8.7.

use std::fmt::Write;

use crate::codec::Serialize;

use crate::structs::go::{Bytes, GoTime, List};
use crate::structs::{
    ACLAuthMethod, ACLAuthMethodListStub, ACLBindingRule, ACLLink, ACLNodeIdentity, ACLPolicy,
    ACLPolicyListStub, ACLRole, ACLServiceIdentity, ACLToken, ACLTokenListStub,
};
use crate::wire::json;

/// What there is to show of something.
#[derive(Default)]
pub struct Shown {
    /// The column of the values when it is shown alone.
    width: usize,
    /// Which field stands above the others in a list.
    heading: Option<&'static str>,
    fields: Vec<(&'static str, String)>,
    /// Shown with `-meta` only.
    meta: Vec<(&'static str, String)>,
    sections: Vec<(&'static str, Vec<String>)>,
    /// What ends it when it is shown alone.
    tail: String,
}

impl Shown {
    /// Fields, with their values in this column when it is shown alone, and what stands above the others in a list.
    fn new(
        width: usize,
        heading: Option<&'static str>,
        fields: Vec<(&'static str, String)>,
    ) -> Self {
        Self {
            width,
            heading,
            fields,
            ..Self::default()
        }
    }

    fn indexes(mut self, hash: Option<&Bytes>, create: u64, modify: u64) -> Self {
        if let Some(hash) = hash {
            let hash = crate::codec::base64::hex(hash);
            self.meta.push(("Hash", hash));
        }
        self.meta.push(("Create Index", create.to_string()));
        self.meta.push(("Modify Index", modify.to_string()));
        self
    }

    fn links(mut self, title: &'static str, links: &List<ACLLink>) -> Self {
        let lines = links.iter().flatten();
        let lines = lines.map(|link| format!("{} - {}", link.id, link.name));
        self.sections.push((title, lines.collect()));
        self
    }

    fn identities(
        mut self,
        services: &List<ACLServiceIdentity>,
        nodes: &List<ACLNodeIdentity>,
    ) -> Self {
        let at = |one: &ACLServiceIdentity| match &one.datacenters {
            Some(list) if !list.is_empty() => list.join(", "),
            _ => "all".to_owned(),
        };
        let services = services.iter().flatten();
        let services = services.map(|s| format!("{} (Datacenters: {})", s.service_name, at(s)));
        let nodes = nodes.iter().flatten();
        let nodes = nodes.map(|n| format!("{} (Datacenter: {})", n.node_name, n.datacenter));
        self.sections
            .push(("Service Identities", services.collect()));
        self.sections.push(("Node Identities", nodes.collect()));
        self
    }

    /// The text, alone or as one of a list.
    pub fn text(&self, with_meta: bool, listed: bool) -> String {
        let mut out = String::new();
        let (mut indent, mut width) = ("", self.width);
        let heading = self.heading.filter(|_| listed);
        if let Some(name) = heading {
            let found = self.fields.iter().find(|(label, _)| *label == name);
            let _ = writeln!(out, "{}:", found.map_or("", |(_, value)| value));
            (indent, width) = ("   ", 14);
        }
        let meta = self.meta.iter().filter(|_| with_meta);
        for (label, value) in self.fields.iter().chain(meta) {
            if heading != Some(*label) {
                let label = format!("{label}:");
                let _ = writeln!(out, "{indent}{label:width$}{value}");
            }
        }
        for (title, lines) in self.sections.iter().filter(|(_, lines)| !lines.is_empty()) {
            let _ = writeln!(out, "{indent}{title}:");
            for line in lines {
                let _ = writeln!(out, "{indent}   {line}");
            }
        }
        if !listed {
            out.push_str(&self.tail);
        }
        out
    }
}

/// How the JSON of commands differs from that of the API.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Not at all.
    Api,
    /// Datacenters are there also when there are none.
    Policy,
    /// The indexes come first, the rules last.
    Token,
}

/// Something that can be shown.
pub trait Show {
    /// How its JSON is laid out.
    const LAYOUT: Layout = Layout::Api;

    /// What there is to show.
    fn shown(&self) -> Shown;
}

/// JSON as Consul's commands print it, four spaces an indent.
///
/// # Errors
/// When the value cannot be written.
pub fn json(value: &dyn Serialize, layout: Layout) -> Result<String, String> {
    let compact = json::to_vec(value).map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&json::pretty(&compact)).into_owned();
    let text = text.trim_end();
    let none = "\n    \"Datacenters\":";
    Ok(match layout {
        Layout::Token => token_order(text),
        Layout::Policy if !text.contains(none) => text.replacen(
            "\n    \"Hash\":",
            &format!("{none} null,\n    \"Hash\":"),
            1,
        ),
        Layout::Policy | Layout::Api => text.to_owned(),
    })
}

/// Tokens as Consul's commands know them: the indexes first, the rules last, and in lists whether it is of before 1.4.
fn token_order(text: &str) -> String {
    let listed = text.starts_with('[');
    let (indent, open) = match listed {
        true => ("        ", "    {"),
        false => ("    ", "{"),
    };
    let close = open.replace('{', "}");
    let mut out: Vec<String> = Vec::new();
    let (mut first, mut rules) = (0, None);
    for line in text.lines() {
        let field = line.strip_prefix(indent).unwrap_or_default();
        let bare = line.trim_end_matches(',');
        if field.starts_with("\"CreateIndex\"") || field.starts_with("\"ModifyIndex\"") {
            out.insert(first, format!("{bare},"));
            first += 1;
            continue;
        }
        if field.starts_with("\"Rules\"") {
            rules = Some(bare.to_owned());
            continue;
        }
        if bare == close {
            // What stood before the indexes is not always the last member now.
            let last = out.pop().unwrap_or_default();
            let last = last.trim_end_matches(',').to_owned();
            let more = rules.take().or_else(|| {
                let unsaid = listed && !last.contains("\"Legacy\"");
                unsaid.then(|| format!("{indent}\"Legacy\": false"))
            });
            match more {
                Some(more) => out.extend([format!("{last},"), more]),
                None => out.push(last),
            }
        }
        out.push(line.to_owned());
        if line == open {
            first = out.len();
        }
    }
    out.join("\n")
}

/// A time as Go prints it.
fn time(t: GoTime) -> String {
    let text = t.to_string();
    let text = text.trim_end_matches('Z').replacen('T', " ", 1);
    format!("{text} +0000 UTC")
}

impl Show for ACLTokenListStub {
    const LAYOUT: Layout = Layout::Token;

    fn shown(&self) -> Shown {
        let mut fields = vec![
            ("AccessorID", self.accessor_id.clone()),
            ("Description", self.description.clone()),
            ("Local", self.local.to_string()),
        ];
        if !self.auth_method.is_empty() {
            fields.push(("Auth Method", self.auth_method.clone()));
        }
        fields.push(("Create Time", time(self.create_time)));
        if let Some(end) = self.expiration_time.filter(|end| !end.is_zero()) {
            fields.push(("Expiration Time", time(end)));
        }
        fields.push(("Legacy", self.legacy.to_string()));
        Shown::new(18, None, fields)
            .indexes(Some(&self.hash), self.create_index, self.modify_index)
            .links("Policies", &self.policies)
            .links("Roles", &self.roles)
            .identities(&self.service_identities, &self.node_identities)
    }
}

impl Show for ACLToken {
    const LAYOUT: Layout = Layout::Token;

    fn shown(&self) -> Shown {
        let mut shown = ACLTokenListStub::from(self.clone()).shown();
        shown.fields.retain(|(label, _)| *label != "Legacy");
        shown.fields.insert(1, ("SecretID", self.secret_id.clone()));
        if !self.rules.is_empty() {
            shown.tail = format!("Rules:\n{}\n", self.rules);
        }
        shown
    }
}

impl Show for ACLPolicyListStub {
    fn shown(&self) -> Shown {
        let datacenters = self.datacenters.as_deref().unwrap_or_default();
        let fields = vec![
            ("ID", self.id.clone()),
            ("Name", self.name.clone()),
            ("Description", self.description.clone()),
            ("Datacenters", datacenters.join(", ")),
        ];
        Shown::new(14, Some("Name"), fields).indexes(
            Some(&self.hash),
            self.create_index,
            self.modify_index,
        )
    }
}

impl Show for ACLPolicy {
    const LAYOUT: Layout = Layout::Policy;

    fn shown(&self) -> Shown {
        Shown {
            tail: format!("Rules:\n{}", self.rules),
            ..ACLPolicyListStub::from(self.clone()).shown()
        }
    }
}

impl Show for ACLRole {
    fn shown(&self) -> Shown {
        let fields = vec![
            ("ID", self.id.clone()),
            ("Name", self.name.clone()),
            ("Description", self.description.clone()),
        ];
        Shown::new(14, Some("Name"), fields)
            .indexes(Some(&self.hash), self.create_index, self.modify_index)
            .links("Policies", &self.policies)
            .identities(&self.service_identities, &self.node_identities)
    }
}

impl Show for ACLAuthMethodListStub {
    fn shown(&self) -> Shown {
        let mut fields = vec![("Name", self.name.clone()), ("Type", self.kind.clone())];
        if !self.display_name.is_empty() {
            fields.push(("DisplayName", self.display_name.clone()));
        }
        fields.push(("Description", self.description.clone()));
        Shown::new(15, Some("Name"), fields).indexes(None, self.create_index, self.modify_index)
    }
}

impl Show for ACLAuthMethod {
    fn shown(&self) -> Shown {
        let mut shown = ACLAuthMethodListStub::from(self.clone()).shown();
        if self.max_token_ttl.0 > 0 {
            let ttl = self.max_token_ttl.to_string();
            shown.fields.push(("MaxTokenTTL", ttl));
        }
        if !self.token_locality.is_empty() {
            let locality = self.token_locality.clone();
            shown.fields.push(("TokenLocality", locality));
        }
        let compact = json::to_vec(&self.config).unwrap_or_default();
        let text = json::pretty(&compact);
        shown.tail.push_str("Config:");
        for line in String::from_utf8_lossy(&text).trim_end().lines() {
            let inner = line.trim_start();
            let deep = (line.len() - inner.len()) / 2;
            let _ = write!(shown.tail, "\n{:deep$}{inner}", "");
        }
        shown
    }
}

impl Show for ACLBindingRule {
    fn shown(&self) -> Shown {
        let fields = vec![
            ("ID", self.id.clone()),
            ("AuthMethod", self.auth_method.clone()),
            ("Description", self.description.clone()),
            ("BindType", self.bind_type.clone()),
            ("BindName", self.bind_name.clone()),
            ("Selector", self.selector.clone()),
        ];
        Shown::new(14, Some("ID"), fields).indexes(None, self.create_index, self.modify_index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_tokens_begins_with_the_indexes() {
        let stub = ACLTokenListStub {
            accessor_id: "i".to_owned(),
            create_index: 3,
            modify_index: 4,
            ..ACLTokenListStub::default()
        };
        let want = "{\n    \"CreateIndex\": 3,\n    \"ModifyIndex\": 4,\n    \"AccessorID\": \"i\",\n    \
                    \"Description\": \"\",\n    \"Local\": false,\n    \
                    \"CreateTime\": \"0001-01-01T00:00:00Z\",\n    \"Hash\": null\n}";
        assert_eq!(json(&stub, Layout::Token).as_deref(), Ok(want));
        let old = ACLTokenListStub {
            legacy: true,
            ..stub.clone()
        };
        let list = json(&vec![stub, old], Layout::Token).unwrap();
        let head = "    {\n        \"CreateIndex\": 3,\n        \"ModifyIndex\": 4,\n";
        assert_eq!(list.matches(head).count(), 2, "{list}");
        for end in ["false\n    },", "true\n    }\n]"] {
            assert!(list.contains(&format!("\"Legacy\": {end}")), "{list}");
        }
    }
}
