//! The body of `/v1/txn` as clients write it: the types of Consul's Go client, whose names appear in
//! errors.
//!
//! Holds true: every field that Consul 1.8 knows is accepted; `txn` says which of them count.
//! Source: `docs/reference/http-1.md` section 3; errors of a running Consul 1.8.7.

use crate::codec::{Deserialize, Deserializer, Error};
use crate::structs::go::{Any, Bytes, GoDuration, List, Map};
use crate::structs::{HealthCheckDefinition, ServiceAddress};

/// One operation; the first member that is set counts.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TxnOp {
    #[serde(rename = "KV")]
    pub kv: Option<KVTxnOp>,
    #[serde(rename = "Node")]
    pub node: Option<NodeTxnOp>,
    #[serde(rename = "Service")]
    pub service: Option<ServiceTxnOp>,
    #[serde(rename = "Check")]
    pub check: Option<CheckTxnOp>,
}

/// Verbs: texts whose types have names of their own in errors.
macro_rules! verbs {
    ($($name:ident)*) => {$(
        #[derive(Default)]
        pub(super) struct $name(pub String);

        impl Deserialize for $name {
            fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
                self.0 = from.text(stringify!($name))?.into_owned();
                Ok(())
            }
        }
    )*};
}
verbs! { KVOp NodeOp ServiceOp CheckOp }

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct KVTxnOp {
    #[serde(rename = "Verb")]
    pub verb: KVOp,
    #[serde(rename = "Key")]
    pub key: String,
    #[serde(rename = "Value")]
    pub value: Bytes,
    #[serde(rename = "Flags")]
    pub flags: u64,
    #[serde(rename = "Index")]
    pub index: u64,
    #[serde(rename = "Session")]
    pub session: String,
    #[serde(rename = "Namespace")]
    _namespace: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeTxnOp {
    #[serde(rename = "Verb")]
    pub verb: NodeOp,
    #[serde(rename = "Node")]
    pub node: crate::structs::Node,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceTxnOp {
    #[serde(rename = "Verb")]
    pub verb: ServiceOp,
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "Service")]
    pub service: AgentService,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AgentService {
    #[serde(rename = "Kind")]
    _kind: String,
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Service")]
    pub service: String,
    #[serde(rename = "Tags")]
    pub tags: List<String>,
    #[serde(rename = "Meta")]
    pub meta: Map<String>,
    #[serde(rename = "Port")]
    pub port: i64,
    #[serde(rename = "Address")]
    pub address: String,
    #[serde(rename = "TaggedAddresses")]
    _tagged_addresses: Map<ServiceAddress>,
    #[serde(rename = "Weights")]
    pub weights: AgentWeights,
    #[serde(rename = "EnableTagOverride")]
    pub enable_tag_override: bool,
    #[serde(rename = "CreateIndex")]
    _create_index: u64,
    #[serde(rename = "ModifyIndex")]
    pub modify_index: u64,
    #[serde(rename = "ContentHash")]
    _content_hash: String,
    #[serde(rename = "Proxy")]
    _proxy: Option<AgentServiceConnectProxyConfig>,
    #[serde(rename = "Connect")]
    _connect: Option<AgentServiceConnect>,
    #[serde(rename = "Namespace")]
    _namespace: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AgentWeights {
    #[serde(rename = "Passing")]
    pub passing: i64,
    #[serde(rename = "Warning")]
    pub warning: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AgentServiceConnectProxyConfig {
    #[serde(rename = "DestinationServiceName")]
    _destination_service_name: String,
    #[serde(rename = "DestinationServiceID")]
    _destination_service_id: String,
    #[serde(rename = "LocalServiceAddress")]
    _local_service_address: String,
    #[serde(rename = "LocalServicePort")]
    _local_service_port: i64,
    #[serde(rename = "Config")]
    _config: Map<Any>,
    #[serde(rename = "Upstreams")]
    _upstreams: List<crate::structs::Upstream>,
    #[serde(rename = "MeshGateway")]
    _mesh_gateway: crate::structs::MeshGatewayConfig,
    #[serde(rename = "Expose")]
    _expose: crate::structs::ExposeConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AgentServiceConnect {
    #[serde(rename = "Native")]
    _native: bool,
    #[serde(rename = "SidecarService")]
    _sidecar_service: Any,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CheckTxnOp {
    #[serde(rename = "Verb")]
    pub verb: CheckOp,
    #[serde(rename = "Check")]
    pub check: HealthCheck,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct HealthCheck {
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "CheckID")]
    pub check_id: String,
    #[serde(rename = "Name")]
    pub name: String,
    #[serde(rename = "Status")]
    pub status: String,
    #[serde(rename = "Notes")]
    pub notes: String,
    #[serde(rename = "Output")]
    pub output: String,
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    #[serde(rename = "ServiceName")]
    pub service_name: String,
    #[serde(rename = "ServiceTags")]
    pub service_tags: List<String>,
    #[serde(rename = "Type")]
    _kind: String,
    #[serde(rename = "Namespace")]
    _namespace: String,
    #[serde(rename = "Definition")]
    pub definition: Definition,
    #[serde(rename = "CreateIndex")]
    _create_index: u64,
    #[serde(rename = "ModifyIndex")]
    pub modify_index: u64,
}

/// Skips unknown fields, unlike what is around it.
#[derive(Default, Deserialize)]
#[serde(default, rename = "?")]
pub(super) struct Definition {
    #[serde(rename = "HTTP")]
    http: String,
    #[serde(rename = "Header")]
    header: Map<List<String>>,
    #[serde(rename = "Method")]
    method: String,
    #[serde(rename = "Body")]
    body: String,
    #[serde(rename = "TLSSkipVerify")]
    tls_skip_verify: bool,
    #[serde(rename = "TCP")]
    tcp: String,
    #[serde(rename = "Interval")]
    interval: GoDuration,
    #[serde(rename = "Timeout")]
    timeout: GoDuration,
    #[serde(rename = "DeregisterCriticalServiceAfter")]
    deregister: GoDuration,
    #[serde(rename = "IntervalDuration")]
    interval_duration: GoDuration,
    #[serde(rename = "TimeoutDuration")]
    timeout_duration: GoDuration,
    #[serde(rename = "DeregisterCriticalServiceAfterDuration")]
    deregister_duration: GoDuration,
}

impl From<Definition> for HealthCheckDefinition {
    fn from(d: Definition) -> Self {
        // Each duration has two spellings; the newer one wins.
        let either = |newer: GoDuration, older| if newer.0 == 0 { older } else { newer };
        Self {
            http: d.http,
            header: d.header,
            method: d.method,
            body: d.body,
            tls_skip_verify: d.tls_skip_verify,
            tcp: d.tcp,
            interval: either(d.interval_duration, d.interval),
            timeout: either(d.timeout_duration, d.timeout),
            deregister_critical_service_after: either(d.deregister_duration, d.deregister),
            ..Self::default()
        }
    }
}
