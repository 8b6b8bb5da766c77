//! Tokens: found by accessor or secret, with the names of what they link to.
//!
//! Holds true: links are kept by ID and get their names when they are read, so that renaming shows at once and a link
//! to what is gone vanishes. Whether two secrets are the same is decided by their hashes and then in constant time.
//! Source: `docs/reference/http-1.md` section 11.2; a running Consul 1.8.7.

use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use super::Read;
use super::acl::BOOTSTRAP;
use super::acl_object::{self, Object};
use super::node::lower;
use super::tx::{Cmd, Fail, Tx, each, index_of, object, objects, pack};
use crate::store::error::StoreError;
use crate::store::watch::{Table, WatchSet};
use crate::structs::go::GoTime;
use crate::structs::{
    ACLLink, ACLPolicy, ACLRole, ACLToken, ACLTokenBatchSetRequest, PERMISSION_DENIED,
};

/// Entry of the index table.
const INDEX: &str = "acl-tokens";
/// Expired tokens reaped at once at most, and tokens of before 1.4 upgraded at once.
const BATCH: u32 = 256;

fn hashed(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// Whether two texts are the same, in time that depends on their lengths alone.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

fn by_secret(conn: &Connection, secret: &str) -> Cmd<Option<ACLToken>> {
    let sql = "SELECT data FROM acl_tokens WHERE secret = ?1";
    let found: Option<ACLToken> = object(conn, sql, [hashed(secret)])?;
    Ok(found.filter(|token| same(&token.secret_id, secret)))
}

fn by_accessor(conn: &Connection, accessor: &str) -> Cmd<Option<ACLToken>> {
    if accessor.len() != 36 {
        return Fail::refuse("failed acl token lookup: index error: UUID must be 36 characters");
    }
    let sql = "SELECT data FROM acl_tokens WHERE accessor = ?1 AND accessor <> ''";
    object(conn, sql, [lower(accessor)])
}

/// Gives links the present names of what they lead to; those that lead nowhere are dropped.
fn resolve<T: Object>(
    conn: &Connection,
    links: &mut Option<Vec<ACLLink>>,
    name: fn(T) -> String,
) -> Cmd<()> {
    let Some(list) = links else { return Ok(()) };
    let mut kept = Vec::with_capacity(list.len());
    for link in list.drain(..) {
        if let Some(target) = acl_object::by_id::<T>(conn, &link.id)? {
            let name = name(target);
            kept.push(ACLLink { name, ..link });
        }
    }
    *links = Some(kept).filter(|l| !l.is_empty());
    Ok(())
}

fn resolved(conn: &Connection, mut token: ACLToken) -> Cmd<ACLToken> {
    resolve::<ACLPolicy>(conn, &mut token.policies, |p| p.name)?;
    resolve::<ACLRole>(conn, &mut token.roles, |r| r.name)?;
    Ok(token)
}

impl Tx<'_> {
    /// Writes tokens; all of them, or none if one is refused.
    pub fn acl_tokens_set(&mut self, r: &ACLTokenBatchSetRequest) -> Cmd<()> {
        for token in r.tokens.iter().flatten() {
            self.acl_token_set(token.clone(), r)?;
        }
        Ok(())
    }

    fn acl_token_set(&mut self, mut token: ACLToken, r: &ACLTokenBatchSetRequest) -> Cmd<()> {
        if token.secret_id.is_empty() {
            return Fail::refuse("Missing SecretID");
        }
        if token.accessor_id.is_empty() {
            return Fail::refuse("Missing AccessorID");
        }
        // A token of before 1.4 gets its accessor late.
        let known = match by_accessor(self.conn, &token.accessor_id)? {
            Some(known) => Some(known),
            None => by_secret(self.conn, &token.secret_id)?.filter(|t| t.accessor_id.is_empty()),
        };
        if r.cas {
            let index = known.as_ref().map_or(0, |t| t.modify_index);
            if index != token.modify_index {
                return Ok(());
            }
        }
        if let Some(known) = &known
            && !same(&known.secret_id, &token.secret_id)
        {
            return Fail::refuse("The ACL Token SecretID field is immutable");
        }
        self.check_links(&mut token, r)?;
        token.create_index = known.map_or(self.index, |t| t.create_index);
        token.modify_index = self.index;
        self.acl_token_put(&token)?;
        self.tokens_changed();
        Ok(())
    }

    fn check_links(&mut self, token: &mut ACLToken, r: &ACLTokenBatchSetRequest) -> Cmd<()> {
        let mut grants = token.service_identities.iter().flatten().count()
            + token.node_identities.iter().flatten().count()
            + usize::from(token.is_legacy());
        for link in token.policies.iter_mut().flatten() {
            if acl_object::by_id::<ACLPolicy>(self.conn, &link.id)?.is_some() {
                grants += 1;
            } else if !r.allow_missing_links {
                return Fail::refuse(format!("No such policy with ID: {}", link.id));
            }
            link.name = String::new();
        }
        for link in token.roles.iter_mut().flatten() {
            if acl_object::by_id::<ACLRole>(self.conn, &link.id)?.is_some() {
                grants += 1;
            } else if !r.allow_missing_links {
                return Fail::refuse(format!("No such role with ID: {}", link.id));
            }
            link.name = String::new();
        }
        if !token.auth_method.is_empty() && !r.from_replication {
            let method = &token.auth_method;
            if acl_object::by_id::<crate::structs::ACLAuthMethod>(self.conn, method)?.is_none() {
                return Fail::refuse(format!("No such auth method with Name: {method}"));
            }
        }
        if r.prohibit_unprivileged && grants == 0 {
            return Fail::refuse(PERMISSION_DENIED);
        }
        Ok(())
    }

    /// Writes a token of before 1.4, found by its secret.
    pub fn acl_legacy_set(&mut self, mut token: ACLToken) -> Cmd<()> {
        if token.secret_id.is_empty() {
            return Fail::refuse("Missing ACL ID");
        }
        let known = by_secret(self.conn, &token.secret_id)?;
        token.create_index = self.index;
        if let Some(known) = known {
            if !known.is_legacy() {
                return Fail::refuse("Cannot edit a new-style token through the legacy API");
            }
            token.accessor_id = known.accessor_id;
            token.hash = known.hash;
            token.create_time = known.create_time;
            token.create_index = known.create_index;
        }
        token.modify_index = self.index;
        self.acl_token_put(&token)?;
        self.tokens_changed();
        Ok(())
    }

    fn tokens_changed(&mut self) {
        self.bump(INDEX);
        self.changed_table(Table::AclTokens);
    }

    /// Stores a token as it is.
    pub fn acl_token_put(&mut self, token: &ACLToken) -> Cmd<()> {
        let expires = token
            .expiration_time
            .filter(|t| !t.is_zero())
            .map_or(0, |t| t.unix().max(1));
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO acl_tokens VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                hashed(&token.secret_id),
                lower(&token.accessor_id),
                token.local,
                lower(&token.auth_method),
                expires,
                pack(token)?
            ])?;
        Ok(())
    }

    /// Deletes a token; an unknown one changes nothing.
    pub fn acl_token_delete(&mut self, accessor: &str) -> Cmd<()> {
        match by_accessor(self.conn, accessor)? {
            Some(token) => self.acl_token_remove(&token),
            None => Ok(()),
        }
    }

    /// Deletes a token; an unknown one changes nothing.
    pub fn acl_token_delete_by_secret(&mut self, secret: &str) -> Cmd<()> {
        match by_secret(self.conn, secret)? {
            Some(token) => self.acl_token_remove(&token),
            None => Ok(()),
        }
    }

    /// Deletes the tokens of an auth method.
    pub fn acl_tokens_delete_of_method(&mut self, method: &str) -> Cmd<()> {
        let sql = "SELECT data FROM acl_tokens WHERE auth_method = ?1 AND auth_method <> ''";
        let tokens: Vec<ACLToken> = objects(self.conn, sql, [lower(method)])?;
        tokens.iter().try_for_each(|t| self.acl_token_remove(t))
    }

    fn acl_token_remove(&mut self, token: &ACLToken) -> Cmd<()> {
        if token.accessor_id == crate::acl::ANONYMOUS_ACCESSOR {
            return Fail::refuse("Deletion of the builtin anonymous token is not permitted");
        }
        self.conn
            .prepare_cached("DELETE FROM acl_tokens WHERE secret = ?1")?
            .execute([hashed(&token.secret_id)])?;
        self.tokens_changed();
        Ok(())
    }
}

impl Read {
    fn acl_token(
        &self,
        ws: &mut WatchSet,
        find: impl FnOnce(&Connection) -> Cmd<Option<ACLToken>>,
    ) -> Result<(u64, Option<ACLToken>), StoreError> {
        self.run(ws, |conn, ws| {
            ws.table(Table::AclTokens);
            let token = find(conn)?.map(|t| resolved(conn, t)).transpose()?;
            Ok((index_of(conn, INDEX)?, token))
        })
    }

    /// A token by its secret, and the index of the table.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_token_by_secret(
        &self,
        ws: &mut WatchSet,
        secret: &str,
    ) -> Result<(u64, Option<ACLToken>), StoreError> {
        self.acl_token(ws, |conn| by_secret(conn, secret))
    }

    /// A token by its accessor, and the index of the table.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the accessor is not 36 characters long; the disk's.
    pub fn acl_token_by_accessor(
        &self,
        ws: &mut WatchSet,
        accessor: &str,
    ) -> Result<(u64, Option<ACLToken>), StoreError> {
        self.acl_token(ws, |conn| by_accessor(conn, accessor))
    }

    /// All tokens that `keep` keeps, by accessor; and the index of the table.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_tokens(
        &self,
        ws: &mut WatchSet,
        keep: impl Fn(&ACLToken) -> bool,
    ) -> Result<(u64, Vec<ACLToken>), StoreError> {
        self.run(ws, |conn, ws| {
            ws.table(Table::AclTokens);
            let sql = "SELECT data FROM acl_tokens ORDER BY accessor, secret";
            let all: Vec<ACLToken> = objects(conn, sql, [])?;
            let kept = all.into_iter().filter(|t| keep(t));
            let kept: Cmd<Vec<ACLToken>> = kept.map(|t| resolved(conn, t)).collect();
            Ok((index_of(conn, INDEX)?, kept?))
        })
    }

    /// What is made of each token that counts in all datacenters, by accessor.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_each_global_token<U>(
        &self,
        make: impl Fn(ACLToken) -> U,
    ) -> Result<Vec<U>, StoreError> {
        self.run(&mut WatchSet::new(), |conn, _| {
            let sql =
                "SELECT data FROM acl_tokens WHERE NOT local AND accessor <> '' ORDER BY accessor";
            each(conn, sql, [], make)
        })
    }

    /// The index of the table of tokens; 0 if there never was one.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_tokens_index(&self) -> Result<u64, StoreError> {
        self.index(INDEX)
    }

    /// A role with the names of its policies.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_role_resolved(&self, mut role: ACLRole) -> Result<ACLRole, StoreError> {
        self.run(&mut WatchSet::new(), |conn, _| {
            resolve::<ACLPolicy>(conn, &mut role.policies, |p| p.name)?;
            Ok(role)
        })
    }

    /// Tokens that ended by `now`, some of them if there are many; only those of this datacenter alone if `local`.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_tokens_expired(
        &self,
        now: GoTime,
        local: bool,
    ) -> Result<Vec<ACLToken>, StoreError> {
        self.run(&mut WatchSet::new(), |conn, _| {
            let sql = "SELECT data FROM acl_tokens WHERE expires <> 0 AND expires <= ?1
                       AND local >= ?3 ORDER BY expires LIMIT ?2";
            let due: Vec<ACLToken> = objects(conn, sql, params![now.unix(), BATCH, local])?;
            Ok(due.into_iter().filter(|t| t.is_expired(now)).collect())
        })
    }

    /// When the next token ends, in seconds since the Unix epoch; the next one of this datacenter alone if `local`.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_next_expiration(
        &self,
        ws: &mut WatchSet,
        local: bool,
    ) -> Result<Option<i64>, StoreError> {
        self.run(ws, |conn, ws| {
            ws.table(Table::AclTokens);
            let sql = "SELECT min(expires) FROM acl_tokens WHERE expires <> 0 AND local >= ?1";
            Ok(conn.prepare_cached(sql)?.query_row([local], |r| r.get(0))?)
        })
    }

    /// Tokens of before 1.4 that have no accessor yet, some of them if there are many.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_tokens_without_accessor(&self) -> Result<Vec<ACLToken>, StoreError> {
        self.run(&mut WatchSet::new(), |conn, _| {
            let sql = "SELECT data FROM acl_tokens WHERE accessor = '' LIMIT ?1";
            objects(conn, sql, [BATCH])
        })
    }

    /// Notes that the answer depends on what tokens may do.
    pub fn watch_acl(&self, ws: &mut WatchSet) {
        for table in [Table::AclTokens, Table::AclPolicies, Table::AclRoles] {
            ws.table(table);
        }
    }

    /// The index at which the first token was made; 0 if it never was.
    ///
    /// # Errors
    /// The disk's.
    pub fn acl_bootstrap_index(&self) -> Result<u64, StoreError> {
        self.index(BOOTSTRAP)
    }
}
