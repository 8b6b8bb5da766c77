//! May this token do that? All policies of a token merged into one answer.
//!
//! Holds true: the answer depends on the rules and the default policy alone; a default of `allow` never grants what
//! `acl` guards.
//! Source: `docs/reference/http-1.md` section 12.3.

use std::collections::BTreeMap;

use super::level::{Level, Resource, Scalar};
use super::rules::Rules;
use super::table::Table;
use crate::sorted::IntoMap;

/// What holds where no rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Default {
    /// Everything but what `acl` guards.
    #[default]
    Allow,
    /// Nothing.
    Deny,
    /// Everything.
    Manage,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// See something.
    Read(Resource, &'a str),
    /// Change something.
    Write(Resource, &'a str),
    /// List the keys under a prefix, where that is guarded of its own.
    KeyList(&'a str),
    /// Delete everything under a prefix.
    KeyWritePrefix(&'a str),
    /// See what there is one of.
    ReadScalar(Scalar),
    /// Change what there is one of; for `acl` also snapshots.
    WriteScalar(Scalar),
}

/// Decides for one set of policies.
#[derive(Clone, Debug)]
pub struct Authorizer {
    default: Default,
    tables: [Table; Resource::COUNT],
    scalars: [Option<Level>; 3],
}

type Named<'a> = BTreeMap<&'a str, Level>;

fn stronger<'a>(of: &mut Named<'a>, name: &'a str, level: Level) {
    let known = of.entry(name).or_insert(level);
    *known = level.max(*known);
}

impl Authorizer {
    /// An authorizer of everything that a token's policies say.
    pub fn new<'a>(policies: impl IntoIterator<Item = &'a Rules>, default: Default) -> Authorizer {
        let mut named: [[Named<'_>; 2]; Resource::COUNT] = std::default::Default::default();
        let mut said: [Named<'_>; 2] = std::default::Default::default();
        let mut scalars = [None; 3];
        for policy in policies {
            for rule in &policy.rules {
                let form = usize::from(rule.prefix);
                stronger(
                    &mut named[rule.resource as usize][form],
                    &rule.name,
                    rule.level,
                );
                if let Some(level) = rule.intentions {
                    stronger(&mut said[form], &rule.name, level);
                }
            }
            for (scalar, level) in &policy.scalars {
                let known = &mut scalars[*scalar as usize];
                *known = (*known).max(Some(*level));
            }
        }
        for (form, said) in said.iter().enumerate() {
            let services = named[Resource::Service as usize][form].iter();
            let levels = services.map(|(name, level)| {
                let follows = if level.reads() {
                    Level::Read
                } else {
                    Level::Deny
                };
                (*name, said.get(name).copied().unwrap_or(follows))
            });
            named[Resource::Intention as usize][form] = levels.into_map();
        }
        Authorizer {
            default,
            tables: named.map(|[exact, prefixes]| Table::new(exact, prefixes)),
            scalars,
        }
    }

    /// An authorizer without rules.
    pub fn fixed(default: Default) -> Authorizer {
        Authorizer::new([], default)
    }

    fn allows_by_default(&self) -> bool {
        self.default != Default::Deny
    }

    #[cfg(test)]
    pub(super) fn table_level(&self, resource: Resource, name: &str) -> Option<Level> {
        self.table(resource).level(name)
    }

    fn table(&self, resource: Resource) -> &Table {
        &self.tables[resource as usize]
    }

    /// Whether it may be done.
    pub fn allows(&self, ask: Ask<'_>) -> bool {
        let level = match ask {
            Ask::Read(Resource::Intention, "*") => return self.reads_any_intention(),
            Ask::Write(Resource::Intention, "*") => return self.writes_all_intentions(),
            Ask::KeyWritePrefix(prefix) => return self.writes_below(prefix),
            Ask::ReadScalar(s) | Ask::WriteScalar(s) => match self.scalars[s as usize] {
                None if s == Scalar::Acl => return self.default == Default::Manage,
                level => level,
            },
            Ask::Read(r, name) | Ask::Write(r, name) => self.table(r).level(name),
            Ask::KeyList(name) => self.table(Resource::Key).level(name),
        };
        let Some(level) = level else {
            return self.allows_by_default();
        };
        match ask {
            Ask::Read(..) | Ask::ReadScalar(_) => level.reads(),
            Ask::KeyList(_) => level.lists(),
            Ask::Write(..) | Ask::WriteScalar(_) | Ask::KeyWritePrefix(_) => level.writes(),
        }
    }

    /// Deleting a tree needs write on all of it: by the longest prefix over it, and by every rule inside it.
    fn writes_below(&self, prefix: &str) -> bool {
        let keys = self.table(Resource::Key);
        match keys.longest_prefix(prefix) {
            Some(level) if !level.writes() => false,
            over => {
                keys.below(prefix).all(Level::writes)
                    && (over.is_some() || self.allows_by_default())
            }
        }
    }

    fn reads_any_intention(&self) -> bool {
        let table = self.table(Resource::Intention);
        table.all().any(Level::reads)
            || self.allows_by_default() && table.longest_prefix("").is_none_or(Level::reads)
    }

    fn writes_all_intentions(&self) -> bool {
        let table = self.table(Resource::Intention);
        table.all().all(Level::writes)
            && (table.longest_prefix("").is_some() || self.allows_by_default())
    }

    /// See something by its name.
    pub fn reads(&self, resource: Resource, name: &str) -> bool {
        self.allows(Ask::Read(resource, name))
    }

    /// Change something by its name.
    pub fn writes(&self, resource: Resource, name: &str) -> bool {
        self.allows(Ask::Write(resource, name))
    }
}
