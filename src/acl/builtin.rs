//! What Consul builds in: the all-powerful policy, the anonymous token, and the rules of identities.
//!
//! Source: `docs/reference/http-1.md` sections 11.2, 11.3 and 12.4; the texts as a running Consul 1.8.7 shows them.

/// The policy that grants everything.
pub const GLOBAL_MANAGEMENT_ID: &str = "00000000-0000-0000-0000-000000000001";
/// Its name.
pub const GLOBAL_MANAGEMENT: &str = "global-management";
/// Its description.
pub const GLOBAL_MANAGEMENT_DESCRIPTION: &str = "Builtin Policy that grants unlimited access";
/// Its rules, to the byte.
pub const GLOBAL_MANAGEMENT_RULES: &str = "\nacl = \"write\"\nagent_prefix \"\" {\n\tpolicy = \"write\"\n}\n\
    event_prefix \"\" {\n\tpolicy = \"write\"\n}\nkey_prefix \"\" {\n\tpolicy = \"write\"\n}\n\
    keyring = \"write\"\nnode_prefix \"\" {\n\tpolicy = \"write\"\n}\noperator = \"write\"\n\
    query_prefix \"\" {\n\tpolicy = \"write\"\n}\nservice_prefix \"\" {\n\tpolicy = \"write\"\n\t\
    intentions = \"write\"\n}\nsession_prefix \"\" {\n\tpolicy = \"write\"\n}";

/// Accessor of the token that requests without one have.
pub const ANONYMOUS_ACCESSOR: &str = "00000000-0000-0000-0000-000000000002";
/// Its secret.
pub const ANONYMOUS_SECRET: &str = "anonymous";
/// IDs that begin so are Consul's own.
pub const RESERVED_PREFIX: &str = "00000000-0000-0000-0000-0000000000";

/// The rules of a service identity: to register the service and its sidecar, and to find others.
pub fn service_identity_rules(service: &str) -> String {
    format!(
        "\nservice \"{service}\" {{\n\tpolicy = \"write\"\n}}\n\
         service \"{service}-sidecar-proxy\" {{\n\tpolicy = \"write\"\n}}\n\
         service_prefix \"\" {{\n\tpolicy = \"read\"\n}}\n\
         node_prefix \"\" {{\n\tpolicy = \"read\"\n}}"
    )
}

/// The rules of a node identity: to register the node, and to find services.
pub fn node_identity_rules(node: &str) -> String {
    format!(
        "\nnode \"{node}\" {{\n\tpolicy = \"write\"\n}}\n\
         service_prefix \"\" {{\n\tpolicy = \"read\"\n}}"
    )
}
