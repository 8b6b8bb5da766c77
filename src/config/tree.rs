//! Configuration files' content as a tree whose names and types are known to be right, and how two trees are merged.
//!
//! A tree is made by `decode` along `schema`; whoever reads it ([`Tree::at`]) may trust the types.
//! Source: `docs/reference/config.md` section 1.

use std::collections::BTreeMap;

use super::schema::{Key, Kind};
use crate::structs::go::Any;

/// A value of a known type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Tree>),
    /// An object by its keys' own names, or a map by its own keys.
    Map(BTreeMap<String, Tree>),
    /// Free content.
    Any(Any),
}

impl Default for Tree {
    fn default() -> Self {
        Tree::Map(BTreeMap::new())
    }
}

impl Tree {
    /// The value under a dotted path of objects.
    pub fn at(&self, path: &str) -> Option<&Tree> {
        path.split('.').try_fold(self, |tree, name| match tree {
            Tree::Map(map) => map.get(name),
            _ => None,
        })
    }

    /// Sets the value under a dotted path of objects, which are made if need be.
    pub fn set(&mut self, path: &str, value: Tree) {
        let mut here = self;
        for name in path.split('.') {
            let Tree::Map(map) = here else { return };
            here = map.entry(name.to_owned()).or_default();
        }
        *here = value;
    }

    /// The entry of an object, taken out.
    pub fn take(&mut self, name: &str) -> Option<Tree> {
        match self {
            Tree::Map(map) => map.remove(name),
            _ => None,
        }
    }

    /// Appends to the list `name` of an object.
    pub fn append(&mut self, name: &str, value: Tree) {
        let Tree::Map(map) = self else { return };
        match map.entry(name.to_owned()).or_insert(Tree::List(Vec::new())) {
            Tree::List(list) => list.push(value),
            other => *other = Tree::List(vec![value]),
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Tree::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Tree::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_float(&self) -> Option<f64> {
        match self {
            Tree::Float(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Tree::Str(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Tree]> {
        match self {
            Tree::List(list) => Some(list),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&BTreeMap<String, Tree>> {
        match self {
            Tree::Map(map) => Some(map),
            _ => None,
        }
    }
}

/// Lays the object `over` on the object `base`.
pub(super) fn merge(base: &mut Tree, over: Tree, keys: &'static [Key]) {
    let (Tree::Map(base), Tree::Map(over)) = (base, over) else {
        return;
    };
    for (name, value) in over {
        let kind = keys.iter().find(|key| key.name == name).map(|key| key.kind);
        match (base.get_mut(&name), kind) {
            (Some(earlier), Some(Kind::Object(keys))) => merge(earlier, value, keys),
            (Some(Tree::List(earlier)), Some(Kind::Strings | Kind::Objects(_) | Kind::AnyList)) => {
                if let Tree::List(more) = value {
                    earlier.extend(more);
                }
            }
            (
                Some(Tree::Map(earlier)),
                Some(Kind::StringMap | Kind::StringsMap | Kind::ObjectMap(_)),
            ) => {
                if let Tree::Map(more) = value {
                    earlier.extend(more);
                }
            }
            (Some(Tree::Any(Any::Map(earlier))), Some(Kind::Any)) => {
                if let Tree::Any(Any::Map(more)) = value {
                    earlier.extend(more);
                }
            }
            _ => {
                base.insert(name, value);
            }
        }
    }
}
