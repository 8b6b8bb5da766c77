//! The hashes that tell whether an object differs from its copy in another datacenter.
//!
//! Source: the hashes that a running Consul 1.8.7 gives, found by trying which fields go in.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};

use crate::structs::go::{Bytes, List};
use crate::structs::{ACLLink, ACLNodeIdentity, ACLPolicy, ACLRole, ACLServiceIdentity, ACLToken};

struct Hash(Blake2b<U32>);

impl Hash {
    fn new() -> Self {
        Self(Blake2b::new())
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.0.update(text.as_bytes());
        self
    }

    fn texts(&mut self, texts: &List<String>) -> &mut Self {
        texts.iter().flatten().for_each(|t| {
            self.text(t);
        });
        self
    }

    fn links(&mut self, links: &List<ACLLink>) -> &mut Self {
        links.iter().flatten().for_each(|link| {
            self.text(&link.id);
        });
        self
    }

    fn identities(
        &mut self,
        services: &List<ACLServiceIdentity>,
        nodes: &List<ACLNodeIdentity>,
    ) -> &mut Self {
        for service in services.iter().flatten() {
            self.text(&service.service_name).texts(&service.datacenters);
        }
        for node in nodes.iter().flatten() {
            self.text(&node.node_name).text(&node.datacenter);
        }
        self
    }

    fn end(self) -> Bytes {
        Bytes(self.0.finalize().to_vec())
    }
}

/// Of everything that users set in a token.
pub fn token_hash(token: &ACLToken) -> Bytes {
    let mut hash = Hash::new();
    hash.text(&token.description)
        .text(&token.kind)
        .text(&token.rules)
        .text(if token.local { "local" } else { "global" })
        .links(&token.policies)
        .links(&token.roles)
        .identities(&token.service_identities, &token.node_identities);
    hash.end()
}

/// Of everything that users set in a policy.
pub fn policy_hash(policy: &ACLPolicy) -> Bytes {
    let mut hash = Hash::new();
    hash.text(&policy.name)
        .text(&policy.description)
        .text(&policy.rules)
        .texts(&policy.datacenters);
    hash.end()
}

/// Of everything that users set in a role.
pub fn role_hash(role: &ACLRole) -> Bytes {
    let mut hash = Hash::new();
    hash.text(&role.name)
        .text(&role.description)
        .links(&role.policies)
        .identities(&role.service_identities, &role.node_identities);
    hash.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &Bytes) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn hashes_are_those_of_consul() {
        let anonymous = ACLToken {
            description: "Anonymous Token".to_owned(),
            ..ACLToken::default()
        };
        let want = "44d5454969df7790d43ae07cbe9969fa29a2be52276b77ca4159e4507876d5c0";
        assert_eq!(hex(&token_hash(&anonymous)), want);
        let first = ACLToken {
            description: "Bootstrap Token (Global Management)".to_owned(),
            kind: "management".to_owned(),
            policies: Some(vec![ACLLink {
                id: crate::acl::GLOBAL_MANAGEMENT_ID.to_owned(),
                ..ACLLink::default()
            }]),
            ..ACLToken::default()
        };
        let want = "a32ae8bfaf8614b8e8fca6407ea83117f5f827fdcb5f4e37e43381cbd576d88d";
        assert_eq!(hex(&token_hash(&first)), want);
        let builtin = ACLPolicy {
            name: crate::acl::GLOBAL_MANAGEMENT.to_owned(),
            description: crate::acl::GLOBAL_MANAGEMENT_DESCRIPTION.to_owned(),
            rules: crate::acl::GLOBAL_MANAGEMENT_RULES.to_owned(),
            ..ACLPolicy::default()
        };
        let want = "b30210b7aba9facd1c57891e3df27669174a08b690cb2905e0797535f75eba69";
        assert_eq!(hex(&policy_hash(&builtin)), want);
        let role = ACLRole {
            name: "r-web".to_owned(),
            policies: Some(vec![ACLLink {
                id: "34620d2e-4b01-29e7-016f-eba9d7eacee6".to_owned(),
                ..ACLLink::default()
            }]),
            service_identities: Some(vec![ACLServiceIdentity {
                service_name: "web".to_owned(),
                datacenters: None,
            }]),
            ..ACLRole::default()
        };
        let want = "8d91e2759d801f03cc42f4da3d6b6bf77fb3008899f98f81c599028c930b76e9";
        assert_eq!(hex(&role_hash(&role)), want);
    }
}
