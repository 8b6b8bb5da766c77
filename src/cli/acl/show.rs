//! How tokens, policies, roles, auth methods and binding rules are shown.
//!
//! Source: `docs/reference/cli.md` section 18.

use std::fmt::Write;

use crate::codec::Serialize;
use crate::structs::go::{Bytes, GoTime, List};
use crate::structs::{
    ACLAuthMethod, ACLAuthMethodListStub, ACLBindingRule, ACLLink, ACLNodeIdentity, ACLPolicy,
    ACLPolicyListStub, ACLRole, ACLServiceIdentity, ACLToken, ACLTokenListStub,
};
use crate::wire::json;

/// JSON as Consul's commands print it: the indexes first, four spaces an indent.
///
/// # Errors
/// When the value cannot be written.
pub fn json(value: &dyn Serialize) -> Result<String, String> {
    let compact = json::to_vec(value).map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&json::pretty(&compact)).into_owned();
    let is_list = text.starts_with('[');
    let indent = if is_list { "        " } else { "    " };
    let open = if is_list { "    {" } else { "{" };
    let mut out: Vec<String> = Vec::new();
    let mut first = 0;
    for line in text.lines() {
        let field = line.strip_prefix(indent);
        let index =
            field.filter(|f| f.starts_with("\"CreateIndex\"") || f.starts_with("\"ModifyIndex\""));
        match index {
            Some(_) => {
                out.insert(first, format!("{},", line.trim_end_matches(',')));
                first += 1;
            }
            None => out.push(line.to_owned()),
        }
        if line == open {
            first = out.len();
        }
    }
    // What stood before the indexes is now the last member.
    let last = |line: &str| line.trim_start().starts_with('}');
    for at in 1..out.len() {
        if last(&out[at]) && out[at - 1].ends_with(',') && !last(&out[at - 1]) {
            let kept = out[at - 1].trim_end_matches(',').to_owned();
            out[at - 1] = kept;
        }
    }
    Ok(out.join("\n"))
}

/// A time as Go prints it.
pub fn time(t: GoTime) -> String {
    let text = t.to_string();
    format!(
        "{} +0000 UTC",
        text.trim_end_matches('Z').replacen('T', " ", 1)
    )
}

fn meta(out: &mut String, hash: Option<&Bytes>, create: u64, modify: u64, indent: &str) {
    if let Some(hash) = hash {
        let _ = writeln!(
            out,
            "{indent}Hash:{}{}",
            pad("Hash:", indent),
            crate::codec::base64::hex(hash)
        );
    }
    let _ = writeln!(
        out,
        "{indent}Create Index:{}{create}",
        pad("Create Index:", indent)
    );
    let _ = writeln!(
        out,
        "{indent}Modify Index:{}{modify}",
        pad("Modify Index:", indent)
    );
}

/// Fills a label up to the values' column of policies, roles and lists.
fn pad(label: &str, _indent: &str) -> String {
    " ".repeat(14usize.saturating_sub(label.len()))
}

fn links(out: &mut String, title: &str, links: &List<ACLLink>, indent: &str) {
    if links.iter().flatten().next().is_none() {
        return;
    }
    let _ = writeln!(out, "{indent}{title}:");
    for link in links.iter().flatten() {
        let _ = writeln!(out, "{indent}   {} - {}", link.id, link.name);
    }
}

fn identities(
    out: &mut String,
    services: &List<ACLServiceIdentity>,
    nodes: &List<ACLNodeIdentity>,
    indent: &str,
) {
    if services.iter().flatten().next().is_some() {
        let _ = writeln!(out, "{indent}Service Identities:");
    }
    for one in services.iter().flatten() {
        let at = match &one.datacenters {
            Some(list) if !list.is_empty() => list.join(", "),
            _ => "all".to_owned(),
        };
        let _ = writeln!(out, "{indent}   {} (Datacenters: {at})", one.service_name);
    }
    if nodes.iter().flatten().next().is_some() {
        let _ = writeln!(out, "{indent}Node Identities:");
    }
    for one in nodes.iter().flatten() {
        let _ = writeln!(
            out,
            "{indent}   {} (Datacenter: {})",
            one.node_name, one.datacenter
        );
    }
}

/// A whole token.
pub fn token(t: &ACLToken, with_meta: bool) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "AccessorID:       {}", t.accessor_id);
    let _ = writeln!(out, "SecretID:         {}", t.secret_id);
    let _ = writeln!(out, "Description:      {}", t.description);
    let _ = writeln!(out, "Local:            {}", t.local);
    if !t.auth_method.is_empty() {
        let _ = writeln!(out, "Auth Method:      {}", t.auth_method);
    }
    let _ = writeln!(out, "Create Time:      {}", time(t.create_time));
    if let Some(end) = t.expiration_time.filter(|end| !end.is_zero()) {
        let _ = writeln!(out, "Expiration Time:  {}", time(end));
    }
    if with_meta {
        let _ = writeln!(
            out,
            "Hash:             {}",
            crate::codec::base64::hex(&t.hash)
        );
        let _ = writeln!(out, "Create Index:     {}", t.create_index);
        let _ = writeln!(out, "Modify Index:     {}", t.modify_index);
    }
    links(&mut out, "Policies", &t.policies, "");
    links(&mut out, "Roles", &t.roles, "");
    identities(&mut out, &t.service_identities, &t.node_identities, "");
    if !t.rules.is_empty() {
        let _ = writeln!(out, "Rules:\n{}", t.rules);
    }
    out
}

/// Tokens in a list.
pub fn tokens(list: &[ACLTokenListStub], with_meta: bool) -> String {
    let one = |t: &ACLTokenListStub| {
        let mut out = String::new();
        let _ = writeln!(out, "AccessorID:       {}", t.accessor_id);
        let _ = writeln!(out, "Description:      {}", t.description);
        let _ = writeln!(out, "Local:            {}", t.local);
        if !t.auth_method.is_empty() {
            let _ = writeln!(out, "Auth Method:      {}", t.auth_method);
        }
        let _ = writeln!(out, "Create Time:      {}", time(t.create_time));
        if let Some(end) = t.expiration_time.filter(|end| !end.is_zero()) {
            let _ = writeln!(out, "Expiration Time:  {}", time(end));
        }
        let _ = writeln!(out, "Legacy:           {}", t.legacy);
        if with_meta {
            let _ = writeln!(
                out,
                "Hash:             {}",
                crate::codec::base64::hex(&t.hash)
            );
            let _ = writeln!(out, "Create Index:     {}", t.create_index);
            let _ = writeln!(out, "Modify Index:     {}", t.modify_index);
        }
        links(&mut out, "Policies", &t.policies, "");
        links(&mut out, "Roles", &t.roles, "");
        identities(&mut out, &t.service_identities, &t.node_identities, "");
        out
    };
    list.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// A whole policy.
pub fn policy(p: &ACLPolicy, with_meta: bool) -> String {
    let mut out = String::new();
    let datacenters = p.datacenters.clone().unwrap_or_default().join(", ");
    let _ = writeln!(out, "ID:           {}", p.id);
    let _ = writeln!(out, "Name:         {}", p.name);
    let _ = writeln!(out, "Description:  {}", p.description);
    let _ = writeln!(out, "Datacenters:  {datacenters}");
    if with_meta {
        meta(&mut out, Some(&p.hash), p.create_index, p.modify_index, "");
    }
    let _ = writeln!(out, "Rules:\n{}", p.rules);
    out
}

/// Policies in a list.
pub fn policies(list: &[ACLPolicyListStub], with_meta: bool) -> String {
    let mut out = String::new();
    for p in list {
        let datacenters = p.datacenters.clone().unwrap_or_default().join(", ");
        let _ = writeln!(out, "{}:", p.name);
        let _ = writeln!(out, "   ID:           {}", p.id);
        let _ = writeln!(out, "   Description:  {}", p.description);
        let _ = writeln!(out, "   Datacenters:  {datacenters}");
        if with_meta {
            meta(
                &mut out,
                Some(&p.hash),
                p.create_index,
                p.modify_index,
                "   ",
            );
        }
    }
    out
}

/// A whole role.
pub fn role(r: &ACLRole, with_meta: bool) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "ID:           {}", r.id);
    let _ = writeln!(out, "Name:         {}", r.name);
    let _ = writeln!(out, "Description:  {}", r.description);
    if with_meta {
        meta(&mut out, Some(&r.hash), r.create_index, r.modify_index, "");
    }
    links(&mut out, "Policies", &r.policies, "");
    identities(&mut out, &r.service_identities, &r.node_identities, "");
    out
}

/// Roles in a list.
pub fn roles(list: &[ACLRole], with_meta: bool) -> String {
    let mut out = String::new();
    for r in list {
        let _ = writeln!(out, "{}:", r.name);
        let _ = writeln!(out, "   ID:           {}", r.id);
        let _ = writeln!(out, "   Description:  {}", r.description);
        if with_meta {
            meta(
                &mut out,
                Some(&r.hash),
                r.create_index,
                r.modify_index,
                "   ",
            );
        }
        links(&mut out, "Policies", &r.policies, "   ");
        identities(&mut out, &r.service_identities, &r.node_identities, "   ");
    }
    out
}

/// A whole auth method.
///
/// # Errors
/// When its configuration cannot be written.
pub fn method(m: &ACLAuthMethod, with_meta: bool) -> Result<String, String> {
    let mut out = String::new();
    let _ = writeln!(out, "Name:          {}", m.name);
    let _ = writeln!(out, "Type:          {}", m.kind);
    if !m.display_name.is_empty() {
        let _ = writeln!(out, "DisplayName:   {}", m.display_name);
    }
    let _ = writeln!(out, "Description:   {}", m.description);
    if m.max_token_ttl.0 > 0 {
        let _ = writeln!(out, "MaxTokenTTL:   {}", m.max_token_ttl);
    }
    if !m.token_locality.is_empty() {
        let _ = writeln!(out, "TokenLocality: {}", m.token_locality);
    }
    if with_meta {
        let _ = writeln!(out, "Create Index:  {}", m.create_index);
        let _ = writeln!(out, "Modify Index:  {}", m.modify_index);
    }
    let compact = json::to_vec(&m.config).map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&json::pretty(&compact)).into_owned();
    out.push_str("Config:\n");
    for line in text.lines() {
        let deep = line.len() - line.trim_start().len();
        let _ = writeln!(out, "{}{}", " ".repeat(deep / 2), line.trim_start());
    }
    Ok(out)
}

/// Auth methods in a list.
pub fn methods(list: &[ACLAuthMethodListStub], with_meta: bool) -> String {
    let mut out = String::new();
    for m in list {
        let _ = writeln!(out, "{}:", m.name);
        let _ = writeln!(out, "   Type:         {}", m.kind);
        if !m.display_name.is_empty() {
            let _ = writeln!(out, "   DisplayName:  {}", m.display_name);
        }
        let _ = writeln!(out, "   Description:  {}", m.description);
        if with_meta {
            meta(&mut out, None, m.create_index, m.modify_index, "   ");
        }
    }
    out
}

/// A binding rule; in a list its ID is the head line.
pub fn rule(r: &ACLBindingRule, with_meta: bool, listed: bool) -> String {
    let mut out = String::new();
    let indent = if listed { "   " } else { "" };
    let width = if listed { 14 } else { 15 };
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(out, "{indent}{label:width$}{value}");
    };
    if !listed {
        line("ID:", &r.id);
    }
    line("AuthMethod:", &r.auth_method);
    line("Description:", &r.description);
    line("BindType:", &r.bind_type);
    line("BindName:", &r.bind_name);
    line("Selector:", &r.selector);
    if with_meta {
        line("Create Index:", &r.create_index.to_string());
        line("Modify Index:", &r.modify_index.to_string());
    }
    match listed {
        true => format!("{}:\n{out}", r.id),
        false => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_begins_with_the_indexes() {
        let policy = ACLPolicy {
            id: "i".to_owned(),
            datacenters: Some(vec!["dc1".to_owned()]),
            create_index: 3,
            modify_index: 4,
            ..ACLPolicy::default()
        };
        let want = "{\n    \"CreateIndex\": 3,\n    \"ModifyIndex\": 4,\n    \"ID\": \"i\",\n    \"Name\": \"\",\n    \
                    \"Description\": \"\",\n    \"Rules\": \"\",\n    \"Datacenters\": [\n        \"dc1\"\n    ],\n    \
                    \"Hash\": null\n}";
        assert_eq!(json(&policy).as_deref(), Ok(want));
        let list = json(&vec![policy.clone(), policy]).unwrap();
        assert_eq!(
            list.matches("    {\n        \"CreateIndex\": 3,\n        \"ModifyIndex\": 4,\n")
                .count(),
            2
        );
        assert!(!list.contains(",\n    }"), "{list}");
    }
}
