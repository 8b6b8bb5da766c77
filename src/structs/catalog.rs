//! The catalog's objects: nodes, services, health checks, and the requests that write them.
//!
//! JSON shows the fields in the order given here, which is Consul's; what a list endpoint shows
//! differently (empty instead of `null`) is the HTTP room's affair.
//! Source: `docs/reference/http-2.md` section 2, `docs/reference/rpc.md` appendix A.

use super::go::{Any, GoDuration, List, Map, duration_string_omitempty};
use crate::codec::{Deserialize, Serialize};

/// A node of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "Address")]
    pub address: String,
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "TaggedAddresses")]
    pub tagged_addresses: Map<String>,
    #[serde(rename = "Meta")]
    pub meta: Map<String>,
    /// Raft index of the write that created it.
    #[serde(rename = "CreateIndex")]
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    #[serde(rename = "ModifyIndex")]
    pub modify_index: u64,
}

/// One address of a service, under a tag such as `lan` or `wan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceAddress {
    #[serde(rename = "Address")]
    pub address: String,
    #[serde(rename = "Port")]
    pub port: i64,
}

/// How DNS weighs an instance by its health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Weights {
    #[serde(rename = "Passing")]
    pub passing: i64,
    #[serde(rename = "Warning")]
    pub warning: i64,
}

/// Mode of a mesh gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeshGatewayConfig {
    #[serde(rename = "Mode", serialize_with = "omitempty")]
    pub mode: String,
}

/// One HTTP path that a proxy exposes without Connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExposePath {
    #[serde(
        rename = "ListenerPort",
        alias = "listener_port",
        serialize_with = "omitempty"
    )]
    pub listener_port: i64,
    #[serde(rename = "Path", serialize_with = "omitempty")]
    pub path: String,
    #[serde(
        rename = "LocalPathPort",
        alias = "local_path_port",
        serialize_with = "omitempty"
    )]
    pub local_path_port: i64,
    #[serde(rename = "Protocol", serialize_with = "omitempty")]
    pub protocol: String,
    #[serde(rename = "ParsedFromCheck")]
    pub parsed_from_check: bool,
}

/// Paths and checks that a proxy exposes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExposeConfig {
    #[serde(rename = "Checks", serialize_with = "omitempty")]
    pub checks: bool,
    #[serde(rename = "Paths", serialize_with = "omitempty")]
    pub paths: List<ExposePath>,
}

/// A service that a proxy connects to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Upstream {
    #[serde(rename = "DestinationType", alias = "destination_type")]
    pub destination_type: String,
    #[serde(
        rename = "DestinationNamespace",
        alias = "destination_namespace",
        serialize_with = "omitempty"
    )]
    pub destination_namespace: String,
    #[serde(rename = "DestinationName", alias = "destination_name")]
    pub destination_name: String,
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(
        rename = "LocalBindAddress",
        alias = "local_bind_address",
        serialize_with = "omitempty"
    )]
    pub local_bind_address: String,
    #[serde(rename = "LocalBindPort", alias = "local_bind_port")]
    pub local_bind_port: i64,
    #[serde(rename = "Config")]
    pub config: Map<Any>,
    #[serde(rename = "MeshGateway")]
    pub mesh_gateway: MeshGatewayConfig,
    #[serde(rename = "IngressHosts", serialize_with = "omitempty")]
    pub ingress_hosts: List<String>,
}

/// The proxy part of a service, kept for every service and empty for ordinary ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "")]
pub struct ConnectProxyConfig {
    #[serde(
        rename = "DestinationServiceName",
        alias = "destination_service_name",
        serialize_with = "omitempty"
    )]
    pub destination_service_name: String,
    #[serde(
        rename = "DestinationServiceID",
        alias = "destination_service_id",
        serialize_with = "omitempty"
    )]
    pub destination_service_id: String,
    #[serde(
        rename = "LocalServiceAddress",
        alias = "local_service_address",
        serialize_with = "omitempty"
    )]
    pub local_service_address: String,
    #[serde(
        rename = "LocalServicePort",
        alias = "local_service_port",
        serialize_with = "omitempty"
    )]
    pub local_service_port: i64,
    #[serde(rename = "Config", serialize_with = "omitempty")]
    pub config: Map<Any>,
    #[serde(rename = "Upstreams", serialize_with = "omitempty")]
    pub upstreams: List<Upstream>,
    #[serde(rename = "MeshGateway", alias = "mesh_gateway")]
    pub mesh_gateway: MeshGatewayConfig,
    #[serde(rename = "Expose")]
    pub expose: ExposeConfig,
}

/// The Connect part of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "?")]
pub struct ServiceConnect {
    #[serde(rename = "Native", serialize_with = "omitempty")]
    pub native: bool,
    /// Accepted and ignored by the catalog, as Consul does.
    #[serde(rename = "SidecarService", serialize_with = "omitempty")]
    pub sidecar_service: Option<Any>,
}

/// A service instance as the catalog and the agent keep it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeService {
    #[serde(rename = "Kind", serialize_with = "omitempty")]
    pub kind: String,
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Service")]
    pub service: String,
    #[serde(rename = "Tags")]
    pub tags: List<String>,
    #[serde(rename = "Address")]
    pub address: String,
    #[serde(rename = "TaggedAddresses", serialize_with = "omitempty")]
    pub tagged_addresses: Map<ServiceAddress>,
    #[serde(rename = "Meta")]
    pub meta: Map<String>,
    #[serde(rename = "Port")]
    pub port: i64,
    #[serde(rename = "Weights")]
    pub weights: Option<Weights>,
    #[serde(rename = "EnableTagOverride")]
    pub enable_tag_override: bool,
    #[serde(rename = "Proxy")]
    pub proxy: ConnectProxyConfig,
    #[serde(rename = "Connect")]
    pub connect: ServiceConnect,
    /// Raft index of the write that created it.
    #[serde(rename = "CreateIndex")]
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    #[serde(rename = "ModifyIndex")]
    pub modify_index: u64,
    #[serde(rename = "LocallyRegisteredAsSidecar", serialize_with = "omitempty")]
    pub locally_registered_as_sidecar: bool,
}

/// A service instance with its node, flattened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceNode {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "Address")]
    pub address: String,
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "TaggedAddresses")]
    pub tagged_addresses: Map<String>,
    #[serde(rename = "NodeMeta")]
    pub node_meta: Map<String>,
    #[serde(rename = "ServiceKind")]
    pub service_kind: String,
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    #[serde(rename = "ServiceName")]
    pub service_name: String,
    #[serde(rename = "ServiceTags")]
    pub service_tags: List<String>,
    #[serde(rename = "ServiceAddress")]
    pub service_address: String,
    #[serde(rename = "ServiceTaggedAddresses", serialize_with = "omitempty")]
    pub service_tagged_addresses: Map<ServiceAddress>,
    #[serde(rename = "ServiceWeights")]
    pub service_weights: Weights,
    #[serde(rename = "ServiceMeta")]
    pub service_meta: Map<String>,
    #[serde(rename = "ServicePort")]
    pub service_port: i64,
    #[serde(rename = "ServiceEnableTagOverride")]
    pub service_enable_tag_override: bool,
    #[serde(rename = "ServiceProxy")]
    pub service_proxy: ConnectProxyConfig,
    #[serde(rename = "ServiceConnect")]
    pub service_connect: ServiceConnect,
    /// Raft index of the write that created it.
    #[serde(rename = "CreateIndex")]
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    #[serde(rename = "ModifyIndex")]
    pub modify_index: u64,
}

/// How a check probes, as far as the catalog is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "?")]
pub struct HealthCheckDefinition {
    #[serde(rename = "Interval", serialize_with = "duration_string_omitempty")]
    pub interval: GoDuration,
    #[serde(rename = "Timeout", serialize_with = "duration_string_omitempty")]
    pub timeout: GoDuration,
    #[serde(
        rename = "DeregisterCriticalServiceAfter",
        serialize_with = "duration_string_omitempty"
    )]
    pub deregister_critical_service_after: GoDuration,
    #[serde(rename = "HTTP", serialize_with = "omitempty")]
    pub http: String,
    #[serde(rename = "TLSSkipVerify", serialize_with = "omitempty")]
    pub tls_skip_verify: bool,
    #[serde(rename = "Header", serialize_with = "omitempty")]
    pub header: Map<List<String>>,
    #[serde(rename = "Method", serialize_with = "omitempty")]
    pub method: String,
    #[serde(rename = "Body", serialize_with = "omitempty")]
    pub body: String,
    #[serde(rename = "TCP", serialize_with = "omitempty")]
    pub tcp: String,
    #[serde(rename = "OutputMaxSize", serialize_with = "omitempty")]
    pub output_max_size: u64,
    #[serde(rename = "ScriptArgs", serialize_with = "omitempty")]
    pub script_args: List<String>,
    #[serde(rename = "DockerContainerID", serialize_with = "omitempty")]
    pub docker_container_id: String,
    #[serde(rename = "Shell", serialize_with = "omitempty")]
    pub shell: String,
    #[serde(rename = "GRPC", serialize_with = "omitempty")]
    pub grpc: String,
    #[serde(rename = "GRPCUseTLS", serialize_with = "omitempty")]
    pub grpc_use_tls: bool,
    #[serde(rename = "AliasNode", serialize_with = "omitempty")]
    pub alias_node: String,
    #[serde(rename = "AliasService", serialize_with = "omitempty")]
    pub alias_service: String,
    #[serde(rename = "TTL", serialize_with = "duration_string_omitempty")]
    pub ttl: GoDuration,
}

/// Words for the state of a check.
pub mod health {
    /// Well.
    pub const PASSING: &str = "passing";
    /// Not quite well.
    pub const WARNING: &str = "warning";
    /// Not to be used.
    pub const CRITICAL: &str = "critical";
    /// In queries: whatever the state.
    pub const ANY: &str = "any";
    /// In aggregates only: taken out of service by the operator.
    pub const MAINTENANCE: &str = "maintenance";
}

/// A health check: of a node when `ServiceID` is empty, else of that service instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthCheck {
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "CheckID")]
    pub check_id: String,
    #[serde(rename = "Name")]
    pub name: String,
    /// `passing`, `warning`, `critical`, the catalog stores any text.
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
    pub kind: String,
    #[serde(rename = "Definition")]
    pub definition: HealthCheckDefinition,
    /// Raft index of the write that created it.
    #[serde(rename = "CreateIndex")]
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    #[serde(rename = "ModifyIndex")]
    pub modify_index: u64,
}

/// A service instance with its node and all checks that concern it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckServiceNode {
    #[serde(rename = "Node")]
    pub node: Option<Node>,
    #[serde(rename = "Service")]
    pub service: Option<NodeService>,
    #[serde(rename = "Checks")]
    pub checks: List<HealthCheck>,
}

/// A node with everything on it, as the UI's endpoints show it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeInfo {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "Address")]
    pub address: String,
    #[serde(rename = "TaggedAddresses")]
    pub tagged_addresses: Map<String>,
    #[serde(rename = "Meta")]
    pub meta: Map<String>,
    #[serde(rename = "Services")]
    pub services: List<NodeService>,
    #[serde(rename = "Checks")]
    pub checks: List<HealthCheck>,
}

/// A service name; its own type for the sake of later namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceName {
    #[serde(rename = "Name")]
    pub name: String,
}

/// All services of one node by ID.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeServices {
    #[serde(rename = "Node")]
    pub node: Option<Node>,
    #[serde(rename = "Services")]
    pub services: Map<NodeService>,
}

/// All services of one node as a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeServiceList {
    #[serde(rename = "Node")]
    pub node: Option<Node>,
    #[serde(rename = "Services")]
    pub services: List<NodeService>,
}

/// Writes a node and optionally a service and checks (`Catalog.Register`, FSM command 0).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegisterRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "Address")]
    pub address: String,
    #[serde(rename = "TaggedAddresses")]
    pub tagged_addresses: Map<String>,
    #[serde(rename = "NodeMeta")]
    pub node_meta: Map<String>,
    #[serde(rename = "Service")]
    pub service: Option<NodeService>,
    #[serde(rename = "Check")]
    pub check: Option<HealthCheck>,
    #[serde(rename = "Checks")]
    pub checks: List<HealthCheck>,
    #[serde(rename = "SkipNodeUpdate")]
    pub skip_node_update: bool,
    #[serde(rename = "Token")]
    pub token: String,
    /// Raft index of the write that created it.
    #[serde(rename = "CreateIndex")]
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    #[serde(rename = "ModifyIndex")]
    pub modify_index: u64,
}

/// Removes a service, else a check, else the whole node (`Catalog.Deregister`, FSM command 1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "")]
pub struct DeregisterRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    #[serde(rename = "CheckID")]
    pub check_id: String,
    #[serde(rename = "Token")]
    pub token: String,
}
