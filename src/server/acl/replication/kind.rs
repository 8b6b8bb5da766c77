//! The kinds of objects that are copied from the primary datacenter: how they are asked for, told apart and written.
//!
//! Holds true: tokens of the primary alone are not copied, and none whose secret was not shown; links may lead to what
//! is not here yet.

use super::Listed;
use crate::acl::replication::Mark;
use crate::codec::Serialize;
use crate::store::{Read, WatchSet};
use crate::structs::go::List;
use crate::structs::rpc::{Reply, Request};
use crate::structs::*;

/// A command's number and its body.
type Command = (u8, Box<dyn Serialize + Send + Sync>);

/// A kind of objects that a secondary datacenter copies.
pub(super) trait Copied: Sized + Send + Sync {
    /// One of them.
    const WORD: &'static str;
    /// Several of them.
    const PLURAL: &'static str;

    /// Asks for all of them.
    fn list(datacenter: String, options: QueryOptions) -> Request;
    /// Reads the answer.
    fn listed(reply: Reply) -> Option<Listed>;
    /// Asks for some of them, whole.
    fn read(datacenter: String, ids: Vec<String>, options: QueryOptions) -> Request;
    /// Reads the answer.
    ///
    /// # Errors
    /// That they are not shown whole.
    fn found(reply: Reply) -> Option<Result<Vec<Self>>>;
    /// The command that writes some of them.
    fn set(batch: Vec<Self>) -> Command;
    /// The command that deletes some of them.
    fn delete(ids: Vec<String>) -> Command;
    /// What is here.
    ///
    /// # Errors
    /// The disk's.
    fn marks(state: &Read) -> Result<Vec<Mark>>;
    /// One of those that are here.
    ///
    /// # Errors
    /// The disk's.
    fn one(state: &Read, id: &str) -> Result<Option<Self>>;
    /// What identifies it.
    fn id(&self) -> &str;
    /// About how many bytes it has in a command.
    fn size(&self) -> usize;
    /// The same under another name; `None` where there are no names.
    fn renamed(self, name: &str) -> Option<Self>;
    /// Whether it says what another one says, whenever either was written.
    fn is_copy_of(&self, other: &Self) -> bool;
    /// Whether it cannot be written over the one that has its ID here.
    fn replaces(&self, _known: &Self) -> bool {
        false
    }
    /// Where its progress is told.
    fn index(status: &mut ACLReplicationStatus) -> &mut u64;
}

/// The room that small fields take.
const SMALL: usize = 256;

fn links(links: &List<ACLLink>) -> usize {
    links.iter().flatten().count() * 48
}

fn identities(services: &List<ACLServiceIdentity>, nodes: &List<ACLNodeIdentity>) -> usize {
    let texts = |list: &List<String>| list.iter().flatten().map(String::len).sum::<usize>();
    let services = services.iter().flatten();
    let nodes = nodes.iter().flatten();
    services
        .map(|s| 32 + s.service_name.len() + texts(&s.datacenters))
        .chain(nodes.map(|n| 32 + n.node_name.len() + n.datacenter.len()))
        .sum()
}

/// Whether links lead to the same, whatever that is called.
fn same_links(a: &List<ACLLink>, b: &List<ACLLink>) -> bool {
    let ids = |list| List::iter(list).flatten().map(|link: &ACLLink| &link.id);
    ids(a).eq(ids(b))
}

impl Copied for ACLPolicy {
    const WORD: &'static str = "policy";
    const PLURAL: &'static str = "policies";

    fn list(datacenter: String, options: QueryOptions) -> Request {
        Request::AclPolicyList(ACLPolicyListRequest {
            datacenter,
            options,
        })
    }

    fn listed(reply: Reply) -> Option<Listed> {
        let Reply::AclPolicyList(found) = reply else {
            return None;
        };
        let marks = found.policies.into_iter().flatten().map(|stub| Mark {
            id: stub.id,
            name: stub.name,
            modify_index: stub.modify_index,
            hash: stub.hash,
            hashless: false,
        });
        Some((found.meta, marks.collect()))
    }

    fn read(datacenter: String, ids: Vec<String>, options: QueryOptions) -> Request {
        Request::AclPolicyBatchRead(ACLPolicyBatchGetRequest {
            datacenter,
            policy_ids: Some(ids),
            options,
        })
    }

    fn found(reply: Reply) -> Option<Result<Vec<Self>>> {
        match reply {
            Reply::AclPolicyBatchRead(found) => Some(Ok(found.policies.unwrap_or_default())),
            _ => None,
        }
    }

    fn set(batch: Vec<Self>) -> Command {
        let request = ACLPolicyBatchSetRequest {
            policies: Some(batch),
        };
        (command::ACL_POLICY_SET, Box::new(request))
    }

    fn delete(ids: Vec<String>) -> Command {
        let request = ACLPolicyBatchDeleteRequest {
            policy_ids: Some(ids),
        };
        (command::ACL_POLICY_DELETE, Box::new(request))
    }

    fn marks(state: &Read) -> Result<Vec<Mark>> {
        Ok(state.acl_each_object(|policy: Self| Mark {
            id: policy.id,
            name: policy.name,
            modify_index: policy.modify_index,
            hash: policy.hash,
            hashless: false,
        })?)
    }

    fn one(state: &Read, id: &str) -> Result<Option<Self>> {
        Ok(state.acl_object(&mut WatchSet::new(), id)?.1)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn size(&self) -> usize {
        SMALL + self.name.len() + self.description.len() + self.rules.len()
    }

    fn renamed(self, name: &str) -> Option<Self> {
        let name = name.to_owned();
        Some(Self { name, ..self })
    }

    fn is_copy_of(&self, other: &Self) -> bool {
        self.name == other.name
            && self.description == other.description
            && self.rules == other.rules
            && self.syntax == other.syntax
            && self
                .datacenters
                .iter()
                .flatten()
                .eq(other.datacenters.iter().flatten())
            && self.hash == other.hash
    }

    fn index(status: &mut ACLReplicationStatus) -> &mut u64 {
        &mut status.replicated_index
    }
}

impl Copied for ACLRole {
    const WORD: &'static str = "role";
    const PLURAL: &'static str = "roles";

    fn list(datacenter: String, options: QueryOptions) -> Request {
        Request::AclRoleList(ACLRoleListRequest {
            datacenter,
            policy: String::new(),
            options,
        })
    }

    fn listed(reply: Reply) -> Option<Listed> {
        let Reply::AclRoleList(found) = reply else {
            return None;
        };
        let marks = found.roles.into_iter().flatten().map(mark_of_role);
        Some((found.meta, marks.collect()))
    }

    fn read(datacenter: String, ids: Vec<String>, options: QueryOptions) -> Request {
        Request::AclRoleBatchRead(ACLRoleBatchGetRequest {
            datacenter,
            role_ids: Some(ids),
            options,
        })
    }

    fn found(reply: Reply) -> Option<Result<Vec<Self>>> {
        match reply {
            Reply::AclRoleBatchRead(found) => Some(Ok(found.roles.unwrap_or_default())),
            _ => None,
        }
    }

    fn set(batch: Vec<Self>) -> Command {
        let request = ACLRoleBatchSetRequest {
            roles: Some(batch),
            allow_missing_links: true,
        };
        (command::ACL_ROLE_SET, Box::new(request))
    }

    fn delete(ids: Vec<String>) -> Command {
        let request = ACLRoleBatchDeleteRequest {
            role_ids: Some(ids),
        };
        (command::ACL_ROLE_DELETE, Box::new(request))
    }

    fn marks(state: &Read) -> Result<Vec<Mark>> {
        Ok(state.acl_each_object(mark_of_role)?)
    }

    fn one(state: &Read, id: &str) -> Result<Option<Self>> {
        Ok(state.acl_object(&mut WatchSet::new(), id)?.1)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn size(&self) -> usize {
        SMALL
            + self.name.len()
            + self.description.len()
            + links(&self.policies)
            + identities(&self.service_identities, &self.node_identities)
    }

    fn renamed(self, name: &str) -> Option<Self> {
        let name = name.to_owned();
        Some(Self { name, ..self })
    }

    fn is_copy_of(&self, other: &Self) -> bool {
        self.name == other.name
            && self.description == other.description
            && same_links(&self.policies, &other.policies)
            && self.service_identities == other.service_identities
            && self.node_identities == other.node_identities
            && self.hash == other.hash
    }

    fn index(status: &mut ACLReplicationStatus) -> &mut u64 {
        &mut status.replicated_role_index
    }
}

fn mark_of_role(role: ACLRole) -> Mark {
    Mark {
        id: role.id,
        name: role.name,
        modify_index: role.modify_index,
        hash: role.hash,
        hashless: false,
    }
}

impl Copied for ACLToken {
    const WORD: &'static str = "token";
    const PLURAL: &'static str = "tokens";

    fn list(datacenter: String, options: QueryOptions) -> Request {
        Request::AclTokenList(ACLTokenListRequest {
            datacenter,
            include_global: true,
            options,
            ..ACLTokenListRequest::default()
        })
    }

    fn listed(reply: Reply) -> Option<Listed> {
        let Reply::AclTokenList(found) = reply else {
            return None;
        };
        let global = found.tokens.into_iter().flatten().filter(|t| !t.local);
        // The primary is about to name those of before 1.4 that have no accessor yet.
        let named = global.filter(|t| !t.accessor_id.is_empty());
        let marks = named.map(|stub| Mark {
            id: stub.accessor_id,
            name: String::new(),
            modify_index: stub.modify_index,
            hash: stub.hash,
            hashless: stub.legacy,
        });
        Some((found.meta, marks.collect()))
    }

    fn read(datacenter: String, ids: Vec<String>, options: QueryOptions) -> Request {
        Request::AclTokenBatchRead(ACLTokenBatchGetRequest {
            datacenter,
            accessor_ids: Some(ids),
            options,
        })
    }

    fn found(reply: Reply) -> Option<Result<Vec<Self>>> {
        let Reply::AclTokenBatchRead(found) = reply else {
            return None;
        };
        if found.redacted {
            return Some(Err(Error::new(
                "cannot replicate tokens: the replication token needs acl:write to see their secrets",
            )));
        }
        let global = found.tokens.into_iter().flatten().filter(|t| !t.local);
        Some(Ok(global.collect()))
    }

    fn set(batch: Vec<Self>) -> Command {
        let request = ACLTokenBatchSetRequest {
            tokens: Some(batch),
            cas: false,
            allow_missing_links: true,
            prohibit_unprivileged: false,
            from_replication: true,
        };
        (command::ACL_TOKEN_SET, Box::new(request))
    }

    fn delete(ids: Vec<String>) -> Command {
        let request = ACLTokenBatchDeleteRequest {
            token_ids: Some(ids),
        };
        (command::ACL_TOKEN_DELETE, Box::new(request))
    }

    fn marks(state: &Read) -> Result<Vec<Mark>> {
        Ok(state.acl_each_global_token(|token| Mark {
            id: token.accessor_id,
            name: String::new(),
            modify_index: token.modify_index,
            hash: token.hash,
            hashless: false,
        })?)
    }

    fn one(state: &Read, id: &str) -> Result<Option<Self>> {
        Ok(state.acl_token_by_accessor(&mut WatchSet::new(), id)?.1)
    }

    fn id(&self) -> &str {
        &self.accessor_id
    }

    fn size(&self) -> usize {
        SMALL
            + self.description.len()
            + self.rules.len()
            + links(&self.policies)
            + links(&self.roles)
            + identities(&self.service_identities, &self.node_identities)
    }

    fn renamed(self, _name: &str) -> Option<Self> {
        None
    }

    fn is_copy_of(&self, other: &Self) -> bool {
        // The hash is of all links, and of those that lead nowhere as well, which are not shown.
        self.hash == other.hash
            && self.secret_id == other.secret_id
            && self.local == other.local
            && self.kind == other.kind
            && self.rules == other.rules
            && self.description == other.description
            && self.auth_method == other.auth_method
            && self.create_time == other.create_time
            && self.expiration_time.filter(|t| !t.is_zero())
                == other.expiration_time.filter(|t| !t.is_zero())
    }

    /// A token that was deleted and made again in between.
    fn replaces(&self, known: &Self) -> bool {
        self.secret_id != known.secret_id
    }

    fn index(status: &mut ACLReplicationStatus) -> &mut u64 {
        &mut status.replicated_token_index
    }
}
