//! Policies, roles, binding rules and auth methods: what is found by an ID and by a name.
//!
//! Holds true: IDs and names are compared without case, except the auth methods that binding rules name.
//! Source: `docs/reference/http-1.md` section 11; a running Consul 1.8.7.

use super::Read;
use super::node::lower;
use super::tx::{Cmd, Fail, Tx, each, index_of, object, objects, pack};
use crate::codec::{Deserialize, Serialize};
use crate::store::error::StoreError;
use crate::store::watch::{Table, WatchSet};
use crate::structs::{ACLAuthMethod, ACLBindingRule, ACLPolicy, ACLRole};
use rusqlite::{Connection, params};

/// An object of the ACL system.
pub trait Object: Serialize + Deserialize + Default {
    /// Its record type in snapshots.
    const KIND: u8;
    /// Its entry of the index table.
    const INDEX: &'static str;
    /// What Consul calls it in errors; empty if its ID is a plain name.
    const UUID_OF: &'static str;
    #[doc(hidden)]
    const TABLE: TableOf;
    /// What finds it.
    fn key(&self) -> String;
    /// Its name, or what it belongs to.
    fn name(&self) -> String;
    /// Where its create and modify index are.
    fn indexes(&mut self) -> (&mut u64, &mut u64);
}

/// Which table's watchers to wake.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum TableOf {
    Policies,
    Roles,
    BindingRules,
    AuthMethods,
}

impl TableOf {
    fn table(self) -> Table {
        match self {
            TableOf::Policies => Table::AclPolicies,
            TableOf::Roles => Table::AclRoles,
            TableOf::BindingRules => Table::AclBindingRules,
            TableOf::AuthMethods => Table::AclAuthMethods,
        }
    }
}

macro_rules! objects {
    ($($type:ty, $kind:literal, $index:literal, $uuid:literal, $table:ident, $key:ident, $name:ident;)*) => {
        $(impl Object for $type {
            const KIND: u8 = $kind;
            const INDEX: &'static str = $index;
            const UUID_OF: &'static str = $uuid;
            const TABLE: TableOf = TableOf::$table;
            fn key(&self) -> String {
                lower(&self.$key)
            }
            fn name(&self) -> String {
                lower(&self.$name)
            }
            fn indexes(&mut self) -> (&mut u64, &mut u64) {
                (&mut self.create_index, &mut self.modify_index)
            }
        })*
    };
}

objects! {
    ACLPolicy, 19, "acl-policies", "acl policy", Policies, id, name;
    ACLRole, 23, "acl-roles", "acl role", Roles, id, name;
    ACLBindingRule, 25, "acl-binding-rules", "acl binding rule", BindingRules, id, auth_method;
    ACLAuthMethod, 27, "acl-auth-methods", "", AuthMethods, name, name;
}

/// Refuses IDs that are no UUID in length, as Consul's index does.
fn check_id<T: Object>(id: &str) -> Cmd<()> {
    if T::UUID_OF.is_empty() || id.len() == 36 {
        return Ok(());
    }
    Fail::refuse(format!(
        "failed {} lookup: index error: UUID must be 36 characters",
        T::UUID_OF
    ))
}

/// One object by ID.
pub fn by_id<T: Object>(conn: &Connection, id: &str) -> Cmd<Option<T>> {
    check_id::<T>(id)?;
    let sql = "SELECT data FROM acl_objects WHERE kind = ?1 AND id = ?2";
    object(conn, sql, params![T::KIND, lower(id)])
}

/// One object by name.
pub fn by_name<T: Object>(conn: &Connection, name: &str) -> Cmd<Option<T>> {
    Ok(with_name(conn, name)?.pop())
}

/// All objects with a name, or of what is named.
pub fn with_name<T: Object>(conn: &Connection, name: &str) -> Cmd<Vec<T>> {
    let sql = "SELECT data FROM acl_objects WHERE kind = ?1 AND name = ?2 ORDER BY id";
    objects(conn, sql, params![T::KIND, lower(name)])
}

impl Tx<'_> {
    /// Writes an object over what is known of it.
    pub fn acl_object_set<T: Object>(&mut self, mut new: T, old: Option<T>) -> Cmd<()> {
        let index = self.index;
        let (create, modify) = new.indexes();
        *create = old.map_or(index, |mut old| *old.indexes().0);
        *modify = index;
        self.acl_object_put(&new)?;
        self.bump(T::INDEX);
        self.changed_table(T::TABLE.table());
        Ok(())
    }

    /// Stores an object as it is.
    pub fn acl_object_put<T: Object>(&mut self, object: &T) -> Cmd<()> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO acl_objects VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![T::KIND, object.key(), object.name(), pack(object)?])?;
        Ok(())
    }

    /// Deletes an object; an unknown one changes nothing.
    pub fn acl_object_delete<T: Object>(&mut self, id: &str) -> Cmd<()> {
        check_id::<T>(id)?;
        let gone = self
            .conn
            .prepare_cached("DELETE FROM acl_objects WHERE kind = ?1 AND id = ?2")?
            .execute(params![T::KIND, lower(id)])?;
        if gone > 0 {
            self.bump(T::INDEX);
            self.changed_table(T::TABLE.table());
        }
        Ok(())
    }
}

impl Read {
    /// One object by ID, and the index of its table.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the ID is not 36 characters long; the disk's.
    pub fn acl_object<T: Object>(
        &self,
        ws: &mut WatchSet,
        id: &str,
    ) -> Result<(u64, Option<T>), StoreError> {
        self.run(ws, |conn, ws| {
            ws.table(T::TABLE.table());
            Ok((index_of(conn, T::INDEX)?, by_id(conn, id)?))
        })
    }

    /// One object by name, and the index of its table.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_object_named<T: Object>(
        &self,
        ws: &mut WatchSet,
        name: &str,
    ) -> Result<(u64, Option<T>), StoreError> {
        self.run(ws, |conn, ws| {
            ws.table(T::TABLE.table());
            Ok((index_of(conn, T::INDEX)?, by_name(conn, name)?))
        })
    }

    /// What is made of each object, by ID.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_each_object<T: Object, U>(
        &self,
        make: impl Fn(T) -> U,
    ) -> Result<Vec<U>, StoreError> {
        self.run(&mut WatchSet::new(), |conn, _| {
            let sql = "SELECT data FROM acl_objects WHERE kind = ?1 ORDER BY id";
            each(conn, sql, params![T::KIND], make)
        })
    }

    /// The index of a table of objects; 0 if there never was one.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_objects_index<T: Object>(&self) -> Result<u64, StoreError> {
        self.index(T::INDEX)
    }

    /// All objects, or those of a name, by ID; and the index of their table.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_objects<T: Object>(
        &self,
        ws: &mut WatchSet,
        name: Option<&str>,
    ) -> Result<(u64, Vec<T>), StoreError> {
        self.run(ws, |conn, ws| {
            ws.table(T::TABLE.table());
            let all = match name {
                Some(name) => with_name(conn, name)?,
                None => {
                    let sql = "SELECT data FROM acl_objects WHERE kind = ?1 ORDER BY id";
                    objects(conn, sql, params![T::KIND])?
                }
            };
            Ok((index_of(conn, T::INDEX)?, all))
        })
    }
}
