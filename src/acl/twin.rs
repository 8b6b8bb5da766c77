//! The authorizer beside a twin that is slow and obvious, on random policies; and the rule language beside what a
//! Consul 1.8.7 said.

use fastrand::Rng;

use super::*;

/// Decides by looking at every rule.
struct Twin {
    rules: Vec<Rule>,
    scalars: Vec<(Scalar, Level)>,
    default: Default,
}

impl Twin {
    fn new(policies: &[Rules], default: Default) -> Twin {
        Twin {
            rules: policies.iter().flat_map(|p| p.rules.clone()).collect(),
            scalars: policies.iter().flat_map(|p| p.scalars.clone()).collect(),
            default,
        }
    }

    fn strongest(levels: impl Iterator<Item = Level>) -> Option<Level> {
        let all: Vec<Level> = levels.collect();
        [Level::Deny, Level::Write, Level::List, Level::Read]
            .into_iter()
            .find(|l| all.contains(l))
    }

    /// Rules of one name and form, as one.
    fn said(&self, resource: Resource, prefix: bool, name: &str) -> Option<Level> {
        let same = |r: &&Rule| r.prefix == prefix && r.name == name;
        if resource != Resource::Intention {
            let own = self.rules.iter().filter(|r| r.resource == resource);
            return Self::strongest(own.filter(same).map(|r| r.level));
        }
        let services = || {
            let own = self
                .rules
                .iter()
                .filter(|r| r.resource == Resource::Service);
            own.filter(same)
        };
        let level = Self::strongest(services().map(|r| r.level))?;
        let said = Self::strongest(services().filter_map(|r| r.intentions));
        Some(said.unwrap_or(match level {
            Level::Deny => Level::Deny,
            _ => Level::Read,
        }))
    }

    fn level(&self, resource: Resource, name: &str) -> Option<Level> {
        if let Some(level) = self.said(resource, false, name) {
            return Some(level);
        }
        self.covering(resource, name)
    }

    fn covering(&self, resource: Resource, name: &str) -> Option<Level> {
        (0..=name.len())
            .rev()
            .filter(|n| name.is_char_boundary(*n))
            .find_map(|n| self.said(resource, true, &name[..n]))
    }

    fn allows(&self, ask: Ask<'_>) -> bool {
        let by_default = self.default != Default::Deny;
        match ask {
            Ask::Read(r, name) => self.level(r, name).map_or(by_default, |l| l != Level::Deny),
            Ask::Write(r, name) => self
                .level(r, name)
                .map_or(by_default, |l| l == Level::Write),
            Ask::KeyList(name) => self
                .level(Resource::Key, name)
                .map_or(by_default, |l| l == Level::Write || l == Level::List),
            Ask::KeyWritePrefix(prefix) => {
                let inside = self
                    .rules
                    .iter()
                    .filter(|r| r.resource == Resource::Key && r.name.starts_with(prefix));
                let denied = inside
                    .clone()
                    .any(|r| self.said(Resource::Key, r.prefix, &r.name) != Some(Level::Write));
                let over = self.covering(Resource::Key, prefix);
                !denied && over.map_or(by_default, |l| l == Level::Write)
            }
            Ask::ReadScalar(s) | Ask::WriteScalar(s) => {
                let own = self.scalars.iter().filter(|(o, _)| *o == s);
                match (Self::strongest(own.map(|(_, l)| *l)), ask) {
                    (None, _) if s == Scalar::Acl => self.default == Default::Manage,
                    (None, _) => by_default,
                    (Some(l), Ask::ReadScalar(_)) => l != Level::Deny,
                    (Some(l), _) => l == Level::Write,
                }
            }
        }
    }
}

fn name(rng: &mut Rng) -> String {
    let letters = ["a", "b", "/", "é", "A"];
    (0..rng.usize(0..5))
        .map(|_| letters[rng.usize(0..letters.len())])
        .collect()
}

fn policy(rng: &mut Rng) -> Rules {
    let mut text = String::new();
    for _ in 0..rng.usize(0..8) {
        let resource = Resource::RULED[rng.usize(0..Resource::RULED.len())];
        let words: &[&str] = match resource {
            Resource::Key => &["read", "list", "write", "deny"],
            _ => &["read", "write", "deny"],
        };
        let level = words[rng.usize(0..words.len())];
        let form = if rng.bool() { "_prefix" } else { "" };
        let intentions = match resource {
            Resource::Service if rng.bool() => {
                format!(
                    " intentions = \"{}\"",
                    ["read", "write", "deny"][rng.usize(0..3)]
                )
            }
            _ => String::new(),
        };
        text += &format!(
            "{}{form} \"{}\" {{ policy = \"{level}\"{intentions} }}\n",
            resource.name(),
            name(rng)
        );
    }
    for scalar in Scalar::ALL {
        if rng.u8(0..3) == 0 {
            let level = ["read", "write", "deny"][rng.usize(0..3)];
            text += &format!("{} = \"{level}\"\n", scalar.name());
        }
    }
    Rules::parse(&text, Syntax::Current).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn the_authorizer_decides_as_its_twin_does() {
    let mut rng = Rng::with_seed(4);
    let mut granted = 0;
    for round in 0..3000 {
        let policies: Vec<Rules> = (0..rng.usize(1..4)).map(|_| policy(&mut rng)).collect();
        let default = [Default::Allow, Default::Deny, Default::Manage][rng.usize(0..3)];
        let fast = Authorizer::new(&policies, default);
        let slow = Twin::new(&policies, default);
        for _ in 0..40 {
            let name = name(&mut rng);
            let every = [
                Resource::Agent,
                Resource::Key,
                Resource::Node,
                Resource::Service,
                Resource::Session,
                Resource::Event,
                Resource::Query,
                Resource::Intention,
            ];
            let resource = every[rng.usize(0..every.len())];
            let scalar = Scalar::ALL[rng.usize(0..3)];
            for ask in [
                Ask::Read(resource, &name),
                Ask::Write(resource, &name),
                Ask::KeyList(&name),
                Ask::KeyWritePrefix(&name),
                Ask::ReadScalar(scalar),
                Ask::WriteScalar(scalar),
            ] {
                let (got, want) = (fast.allows(ask), slow.allows(ask));
                assert_eq!(
                    got, want,
                    "round {round}: {ask:?} of {policies:?}, {default:?}"
                );
                granted += usize::from(got);
            }
        }
    }
    assert!(granted > 100_000, "{granted}");
}

/// Texts and what Consul 1.8.7 says to them; empty is no error.
const VERDICTS: &[(&str, &str)] = &include!("verdicts.in");

#[test]
fn rules_are_read_as_consul_reads_them() {
    let mut wrong = Vec::new();
    for (text, want) in VERDICTS {
        let got = Rules::parse(text, Syntax::Current)
            .map_or_else(|e| e.text().to_owned(), |_| String::new());
        if got != *want {
            wrong.push(format!("{text}\n  got  {got}\n  want {want}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_last_field_and_the_strongest_rule_hold() {
    let level = |text: &str| {
        let rules = Rules::parse(text, Syntax::Current).unwrap();
        let authorizer = Authorizer::new([&rules], Default::Deny);
        authorizer.table_level(Resource::Key, "a")
    };
    for (text, want) in [
        (r#"key "a" { policy="write" policy="read" }"#, Level::Read),
        (
            r#"key "a" { policy="read" } key "a" { policy="write" }"#,
            Level::Write,
        ),
        (
            r#"{"key":{"a":[{"policy":"write"},{"policy":"read"}]}}"#,
            Level::Write,
        ),
        (
            r#"key { a { policy = "read" } policy = "write" }"#,
            Level::Read,
        ),
        (
            r#"key "a" { policy = "deny" } key_prefix "" { policy = "write" }"#,
            Level::Deny,
        ),
        (
            r#"key_prefix "" { policy = "deny" } key_prefix "a" { policy = "list" }"#,
            Level::List,
        ),
    ] {
        assert_eq!(level(text), Some(want), "{text}");
    }
}

#[test]
fn legacy_rules_are_about_prefixes() {
    let rules = Rules::parse(
        r#"key "a" { policy = "read" } key_prefix "b" { policy = "write" } acl = "write" operator = "read""#,
        Syntax::Legacy,
    )
    .unwrap();
    let authorizer = Authorizer::new([&rules], Default::Deny);
    assert!(authorizer.reads(Resource::Key, "ab"));
    assert!(!authorizer.reads(Resource::Key, "b"));
    assert!(!authorizer.allows(Ask::ReadScalar(Scalar::Acl)));
    assert!(authorizer.allows(Ask::ReadScalar(Scalar::Operator)));
}

#[test]
fn legacy_rules_are_translated() {
    for (from, to) in [
        (
            r#"key "foo/" { policy = "read" }"#,
            "key_prefix \"foo/\" {\n  policy = \"read\"\n}",
        ),
        (
            "keyring = \"read\"\noperator=\"write\"",
            "keyring = \"read\"\n\noperator = \"write\"",
        ),
        (
            r#"service "a" { policy = "read" intentions = "write" } bogus "x" { policy = "read" }"#,
            "service_prefix \"a\" {\n  policy = \"read\"\n\n  intentions = \"write\"\n}\n\nbogus \"x\" {\n  policy = \"read\"\n}",
        ),
        (
            r#"{"key":{"a":{"policy":"read"}},"operator":"read"}"#,
            "key_prefix \"a\" {\n  policy = \"read\"\n}\n\n\"operator\" = \"read\"",
        ),
        ("", ""),
    ] {
        assert_eq!(translate(from).as_deref(), Ok(to), "{from}");
    }
    let error = translate("bad bad").unwrap_err();
    assert!(
        error
            .text()
            .starts_with("Failed to parse rules: At 1:9: key 'bad bad'")
    );
}

#[test]
fn the_builtin_policy_grants_everything() {
    let rules = Rules::parse(GLOBAL_MANAGEMENT_RULES, Syntax::Current).unwrap();
    let authorizer = Authorizer::new([&rules], Default::Deny);
    for scalar in Scalar::ALL {
        assert!(authorizer.allows(Ask::WriteScalar(scalar)));
    }
    for resource in Resource::RULED.into_iter().chain([Resource::Intention]) {
        assert!(authorizer.writes(resource, "x"));
    }
}
