//! Selectors: which fields of which type a filter can name, and how to reach them.
//!
//! One table per type gives name, kind and accessor together. Fields that Consul keeps from filters
//! (indexes, free-form configuration, check definitions) are left out on purpose.
//! Source: `docs/reference/http-1.md` section 1.11; the tables were asked of Consul 1.8.7 field by field.

use std::collections::BTreeMap;

use crate::structs::{
    CheckServiceNode, ConnectProxyConfig, ExposeConfig, ExposePath, HealthCheck, JwtIdentity,
    MeshGatewayConfig, Node, NodeInfo, NodeService, ServiceAddress, ServiceConnect, ServiceNode,
    Upstream, Weights,
};

/// The fields of a structure in the order of their numbers.
pub type Schema = [(&'static str, Kind)];

/// The kind of a field.
#[derive(Debug)]
pub enum Kind {
    Text,
    Int,
    Bool,
    /// List of texts.
    Texts,
    TextMap,
    /// Map to lists of texts.
    TextsMap,
    Struct(fn() -> &'static Schema),
    /// List of structures.
    Structs(fn() -> &'static Schema),
    /// Map to structures; the kind is that of a value.
    StructMap(&'static Kind),
}

/// A field's value, borrowed from the element.
pub enum Value<'a> {
    /// Behind a pointer that is nil.
    Absent,
    Text(&'a str),
    Int(i64),
    Bool(bool),
    Texts(&'a [String]),
    TextMap(Option<&'a BTreeMap<String, String>>),
    TextsMap(Option<&'a BTreeMap<String, Option<Vec<String>>>>),
    Struct(&'a dyn Item),
    Structs(&'a dyn Items),
    StructMap(&'a dyn ItemMap),
}

/// A structure whose fields can be reached by number.
pub trait Item {
    /// The field's value; the number comes from the type's table.
    #[doc(hidden)]
    fn field(&self, number: usize) -> Value<'_>;
}

/// A structure that filters can be written for.
pub trait Filterable: Item + Sized {
    /// The type's table.
    #[doc(hidden)]
    fn schema() -> &'static Schema;
}

/// A list of structures.
pub trait Items {
    fn len(&self) -> usize;
    fn at(&self, n: usize) -> Option<&dyn Item>;
}

impl<T: Item> Items for Option<Vec<T>> {
    fn len(&self) -> usize {
        self.as_ref().map_or(0, Vec::len)
    }
    fn at(&self, n: usize) -> Option<&dyn Item> {
        Some(self.as_ref()?.get(n)?)
    }
}

/// A map to structures.
pub trait ItemMap {
    fn len(&self) -> usize;
    fn at_key(&self, key: &str) -> Option<&dyn Item>;
}

impl<T: Item> ItemMap for Option<BTreeMap<String, T>> {
    fn len(&self) -> usize {
        self.as_ref().map_or(0, BTreeMap::len)
    }
    fn at_key(&self, key: &str) -> Option<&dyn Item> {
        Some(self.as_ref()?.get(key)?)
    }
}

fn pointer<T: Item>(to: &Option<T>) -> Value<'_> {
    to.as_ref()
        .map_or(Value::Absent, |item| Value::Struct(item))
}

macro_rules! kind {
    (text) => {
        Kind::Text
    };
    (int) => {
        Kind::Int
    };
    (bool) => {
        Kind::Bool
    };
    (texts) => {
        Kind::Texts
    };
    (text_map) => {
        Kind::TextMap
    };
    (texts_map) => {
        Kind::TextsMap
    };
    (item $of:ty) => {
        Kind::Struct(<$of>::schema)
    };
    (pointer $of:ty) => {
        Kind::Struct(<$of>::schema)
    };
    (items $of:ty) => {
        Kind::Structs(<$of>::schema)
    };
    (item_map $of:ty) => {
        Kind::StructMap(&Kind::Struct(<$of>::schema))
    };
}

macro_rules! value {
    (text $v:expr) => {
        Value::Text(&$v)
    };
    (int $v:expr) => {
        Value::Int($v)
    };
    (bool $v:expr) => {
        Value::Bool($v)
    };
    (texts $v:expr) => {
        Value::Texts($v.as_deref().unwrap_or_default())
    };
    (text_map $v:expr) => {
        Value::TextMap($v.as_ref())
    };
    (texts_map $v:expr) => {
        Value::TextsMap($v.as_ref())
    };
    (item $v:expr) => {
        Value::Struct(&$v)
    };
    (pointer $v:expr) => {
        pointer(&$v)
    };
    (items $v:expr) => {
        Value::Structs(&$v)
    };
    (item_map $v:expr) => {
        Value::StructMap(&$v)
    };
}

macro_rules! fields {
    ($type:ty { $($name:literal $field:ident: $kind:ident $($of:ty)?,)* }) => {
        impl Filterable for $type {
            fn schema() -> &'static Schema {
                static TABLE: &Schema = &[$(($name, kind!($kind $($of)?)),)*];
                TABLE
            }
        }
        impl Item for $type {
            fn field(&self, number: usize) -> Value<'_> {
                // One arm per field, counted as the table counts.
                let mut n = 0;
                $(
                    if n == number {
                        return value!($kind self.$field);
                    }
                    n += 1;
                )*
                debug_assert!(number < n);
                Value::Absent
            }
        }
    };
}

fields!(Node {
    "ID" id: text,
    "Node" node: text,
    "Address" address: text,
    "Datacenter" datacenter: text,
    "TaggedAddresses" tagged_addresses: text_map,
    "Meta" meta: text_map,
});

fields!(NodeService {
    "Kind" kind: text,
    "ID" id: text,
    "Service" service: text,
    "Tags" tags: texts,
    "Address" address: text,
    "TaggedAddresses" tagged_addresses: item_map ServiceAddress,
    "Meta" meta: text_map,
    "Port" port: int,
    "Weights" weights: pointer Weights,
    "EnableTagOverride" enable_tag_override: bool,
    "Proxy" proxy: item ConnectProxyConfig,
    "Connect" connect: item ServiceConnect,
});

fields!(ServiceNode {
    "ID" id: text,
    "Node" node: text,
    "Address" address: text,
    "Datacenter" datacenter: text,
    "TaggedAddresses" tagged_addresses: text_map,
    "NodeMeta" node_meta: text_map,
    "ServiceKind" service_kind: text,
    "ServiceID" service_id: text,
    "ServiceName" service_name: text,
    "ServiceTags" service_tags: texts,
    "ServiceAddress" service_address: text,
    "ServiceTaggedAddresses" service_tagged_addresses: item_map ServiceAddress,
    "ServiceWeights" service_weights: item Weights,
    "ServiceMeta" service_meta: text_map,
    "ServicePort" service_port: int,
    "ServiceEnableTagOverride" service_enable_tag_override: bool,
    "ServiceProxy" service_proxy: item ConnectProxyConfig,
    "ServiceConnect" service_connect: item ServiceConnect,
});

fields!(HealthCheck {
    "Node" node: text,
    "CheckID" check_id: text,
    "Name" name: text,
    "Status" status: text,
    "Notes" notes: text,
    "Output" output: text,
    "ServiceID" service_id: text,
    "ServiceName" service_name: text,
    "ServiceTags" service_tags: texts,
    "Type" kind: text,
});

fields!(CheckServiceNode {
    "Node" node: pointer Node,
    "Service" service: pointer NodeService,
    "Checks" checks: items HealthCheck,
});

fields!(NodeInfo {
    "ID" id: text,
    "Node" node: text,
    "Address" address: text,
    "TaggedAddresses" tagged_addresses: text_map,
    "Meta" meta: text_map,
    "Services" services: items NodeService,
    "Checks" checks: items HealthCheck,
});

fields!(JwtIdentity {
    "value" value: text_map,
    "list" list: texts_map,
});

fields!(ServiceAddress {
    "Address" address: text,
    "Port" port: int,
});

fields!(Weights {
    "Passing" passing: int,
    "Warning" warning: int,
});

fields!(ServiceConnect {
    "Native" native: bool,
});

fields!(ConnectProxyConfig {
    "DestinationServiceName" destination_service_name: text,
    "DestinationServiceID" destination_service_id: text,
    "LocalServiceAddress" local_service_address: text,
    "LocalServicePort" local_service_port: int,
    "Upstreams" upstreams: items Upstream,
    "MeshGateway" mesh_gateway: item MeshGatewayConfig,
    "Expose" expose: item ExposeConfig,
});

fields!(MeshGatewayConfig {
    "Mode" mode: text,
});

fields!(Upstream {
    "DestinationType" destination_type: text,
    "DestinationNamespace" destination_namespace: text,
    "DestinationName" destination_name: text,
    "Datacenter" datacenter: text,
    "LocalBindAddress" local_bind_address: text,
    "LocalBindPort" local_bind_port: int,
    "MeshGateway" mesh_gateway: item MeshGatewayConfig,
});

fields!(ExposeConfig {
    "Checks" checks: bool,
    "Paths" paths: items ExposePath,
});

fields!(ExposePath {
    "ListenerPort" listener_port: int,
    "Path" path: text,
    "LocalPathPort" local_path_port: int,
    "Protocol" protocol: text,
    "ParsedFromCheck" parsed_from_check: bool,
});
