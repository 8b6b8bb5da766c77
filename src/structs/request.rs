//! The parts that requests and answers share: query options and meta, and the requests that name
//! nothing but a datacenter, a node or a service.
//!
//! Source: `docs/reference/rpc.md` section 7 and appendix A.

use super::catalog::{
    CheckServiceNode, HealthCheck, Node, NodeInfo, NodeServiceList, NodeServices, ServiceName,
    ServiceNode,
};
use super::go::{GoDuration, List, Map};
use crate::codec::{Deserialize, Serialize};

/// How a read is to be done; embedded in every read request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryOptions {
    #[serde(rename = "Token")]
    pub token: String,
    /// Block until the result's index exceeds this, 0 does not block.
    #[serde(rename = "MinQueryIndex")]
    pub min_query_index: u64,
    /// Longest wait of a blocking query, 0 means 5 minutes.
    #[serde(rename = "MaxQueryTime")]
    pub max_query_time: GoDuration,
    #[serde(rename = "AllowStale")]
    pub allow_stale: bool,
    #[serde(rename = "RequireConsistent")]
    pub require_consistent: bool,
    #[serde(rename = "UseCache")]
    pub use_cache: bool,
    #[serde(rename = "MaxStaleDuration")]
    pub max_stale_duration: GoDuration,
    #[serde(rename = "MaxAge")]
    pub max_age: GoDuration,
    #[serde(rename = "MustRevalidate")]
    pub must_revalidate: bool,
    #[serde(rename = "StaleIfError")]
    pub stale_if_error: GoDuration,
    /// Filter expression, applied by the server.
    #[serde(rename = "Filter")]
    pub filter: String,
}

/// What a server says about a read; embedded in every read answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryMeta {
    #[serde(rename = "Index")]
    pub index: u64,
    #[serde(rename = "LastContact")]
    pub last_contact: GoDuration,
    #[serde(rename = "KnownLeader")]
    pub known_leader: bool,
    /// Filled by the agent that answers the user.
    #[serde(rename = "ConsistencyLevel")]
    pub consistency_level: String,
}

/// Whose distance results are sorted by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuerySource {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Segment")]
    pub segment: String,
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "Ip")]
    pub ip: String,
}

/// A read of a whole datacenter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DCSpecificRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "NodeMetaFilters")]
    pub node_meta_filters: Map<String>,
    #[serde(rename = "Source")]
    pub source: QuerySource,
    /// How to read: blocking, consistency, token, filter.
    #[serde(rename = "")]
    pub options: QueryOptions,
}

/// A read of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceSpecificRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "NodeMetaFilters")]
    pub node_meta_filters: Map<String>,
    #[serde(rename = "ServiceName")]
    pub service_name: String,
    #[serde(rename = "ServiceTag")]
    pub service_tag: String,
    #[serde(rename = "ServiceTags")]
    pub service_tags: List<String>,
    #[serde(rename = "ServiceAddress")]
    pub service_address: String,
    #[serde(rename = "TagFilter")]
    pub tag_filter: bool,
    #[serde(rename = "Source")]
    pub source: QuerySource,
    #[serde(rename = "Connect")]
    pub connect: bool,
    #[serde(rename = "Ingress")]
    pub ingress: bool,
    /// How to read: blocking, consistency, token, filter.
    #[serde(rename = "")]
    pub options: QueryOptions,
}

/// A read of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSpecificRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Node")]
    pub node: String,
    /// How to read: blocking, consistency, token, filter.
    #[serde(rename = "")]
    pub options: QueryOptions,
}

/// A read of the checks in one state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChecksInStateRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "NodeMetaFilters")]
    pub node_meta_filters: Map<String>,
    #[serde(rename = "State")]
    pub state: String,
    #[serde(rename = "Source")]
    pub source: QuerySource,
    /// How to read: blocking, consistency, token, filter.
    #[serde(rename = "")]
    pub options: QueryOptions,
}

/// A read of every service with its instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceDumpRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "ServiceKind")]
    pub service_kind: String,
    #[serde(rename = "UseServiceKind")]
    pub use_service_kind: bool,
    #[serde(rename = "Source")]
    pub source: QuerySource,
    /// How to read: blocking, consistency, token, filter.
    #[serde(rename = "")]
    pub options: QueryOptions,
}

/// A read of the known datacenters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatacentersRequest {
    /// How to read: blocking, consistency, token, filter.
    #[serde(rename = "")]
    pub options: QueryOptions,
}

/// Answer of `Catalog.ListNodes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedNodes {
    #[serde(rename = "Nodes")]
    pub nodes: List<Node>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}

/// Answer of `Catalog.ListServices`: tags by service name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedServices {
    #[serde(rename = "Services")]
    pub services: Map<List<String>>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}

/// Answer of `Catalog.ServiceList`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedServiceList {
    #[serde(rename = "Services")]
    pub services: List<ServiceName>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}

/// Answer of `Catalog.ServiceNodes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedServiceNodes {
    #[serde(rename = "ServiceNodes")]
    pub service_nodes: List<ServiceNode>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}

/// Answer of `Catalog.NodeServices`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedNodeServices {
    #[serde(rename = "NodeServices")]
    pub node_services: Option<NodeServices>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}

/// Answer of `Catalog.NodeServiceList`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedNodeServiceList {
    #[serde(rename = "NodeServices")]
    pub node_services: NodeServiceList,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}

/// Answer of the check reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedHealthChecks {
    #[serde(rename = "HealthChecks")]
    pub health_checks: List<HealthCheck>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}

/// Answer of `Health.ServiceNodes` and `Internal.ServiceDump`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedCheckServiceNodes {
    #[serde(rename = "Nodes")]
    pub nodes: List<CheckServiceNode>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}

/// Answer of `Internal.NodeInfo` and `Internal.NodeDump`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedNodeDump {
    #[serde(rename = "Dump")]
    pub dump: List<NodeInfo>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}
