//! The results of watches in the form of Consul's Go client, which differs from the HTTP API's in the order
//! of fields and in which of them are left out when they are empty.
//!
//! Source: outputs of `consul watch` beside those of the HTTP API, recorded of 1.8.7.

use crate::codec::{Error, Serialize, Serializer};
use crate::wire::Value;

/// How a value is written again.
pub(super) enum Shape {
    /// As it is.
    Same,
    /// A list of them.
    List(&'static Shape),
    /// A structure with these fields in this order; others are dropped.
    Object(&'static [Field]),
}

/// What a field is when it is absent.
enum Absent {
    /// Left out, also when it is empty.
    Omitted,
    Null,
    Text(&'static str),
    Zero,
    False,
}

/// A structure's field.
pub(super) struct Field(&'static str, &'static Shape, Absent);

use Absent::{False, Null, Omitted, Text, Zero};
use Shape::{List, Object, Same};

pub(super) static SAME: Shape = Same;

pub(super) static KV_PAIR: Shape = Object(&[
    Field("Key", &Same, Text("")),
    Field("CreateIndex", &Same, Zero),
    Field("ModifyIndex", &Same, Zero),
    Field("LockIndex", &Same, Zero),
    Field("Flags", &Same, Zero),
    Field("Value", &Same, Null),
    Field("Session", &Same, Text("")),
]);

pub(super) static KV_PAIRS: Shape = List(&KV_PAIR);

static CHECK_DEFINITION: Shape = Object(&[
    Field("Interval", &Same, Text("0s")),
    Field("Timeout", &Same, Text("0s")),
    Field("DeregisterCriticalServiceAfter", &Same, Text("0s")),
    Field("HTTP", &Same, Text("")),
    Field("Header", &Same, Null),
    Field("Method", &Same, Text("")),
    Field("Body", &Same, Text("")),
    Field("TLSSkipVerify", &Same, False),
    Field("TCP", &Same, Text("")),
]);

static HEALTH_CHECK: Shape = Object(&[
    Field("Node", &Same, Text("")),
    Field("CheckID", &Same, Text("")),
    Field("Name", &Same, Text("")),
    Field("Status", &Same, Text("")),
    Field("Notes", &Same, Text("")),
    Field("Output", &Same, Text("")),
    Field("ServiceID", &Same, Text("")),
    Field("ServiceName", &Same, Text("")),
    Field("ServiceTags", &Same, Null),
    Field("Type", &Same, Text("")),
    Field("Namespace", &Same, Omitted),
    Field("Definition", &CHECK_DEFINITION, Null),
    Field("CreateIndex", &Same, Zero),
    Field("ModifyIndex", &Same, Zero),
]);

pub(super) static HEALTH_CHECKS: Shape = List(&HEALTH_CHECK);

static NODE: Shape = Object(&[
    Field("ID", &Same, Text("")),
    Field("Node", &Same, Text("")),
    Field("Address", &Same, Text("")),
    Field("Datacenter", &Same, Text("")),
    Field("TaggedAddresses", &Same, Null),
    Field("Meta", &Same, Null),
    Field("CreateIndex", &Same, Zero),
    Field("ModifyIndex", &Same, Zero),
]);

pub(super) static NODES: Shape = List(&NODE);

static EVENT: Shape = Object(&[
    Field("ID", &Same, Text("")),
    Field("Name", &Same, Text("")),
    Field("Payload", &Same, Null),
    Field("NodeFilter", &Same, Text("")),
    Field("ServiceFilter", &Same, Text("")),
    Field("TagFilter", &Same, Text("")),
    Field("Version", &Same, Zero),
    Field("LTime", &Same, Zero),
]);

pub(super) static EVENTS: Shape = List(&EVENT);

static UPSTREAM: Shape = Object(&[
    Field("DestinationType", &Same, Omitted),
    Field("DestinationNamespace", &Same, Omitted),
    Field("DestinationName", &Same, Text("")),
    Field("Datacenter", &Same, Omitted),
    Field("LocalBindAddress", &Same, Omitted),
    Field("LocalBindPort", &Same, Omitted),
    Field("Config", &Same, Omitted),
    Field("MeshGateway", &Same, Null),
]);

static UPSTREAMS: Shape = List(&UPSTREAM);

static PROXY: Shape = Object(&[
    Field("DestinationServiceName", &Same, Omitted),
    Field("DestinationServiceID", &Same, Omitted),
    Field("LocalServiceAddress", &Same, Omitted),
    Field("LocalServicePort", &Same, Omitted),
    Field("Config", &Same, Omitted),
    Field("Upstreams", &UPSTREAMS, Omitted),
    Field("MeshGateway", &Same, Null),
    Field("Expose", &Same, Null),
]);

pub(super) static AGENT_SERVICE: Shape = Object(&[
    Field("Kind", &Same, Omitted),
    Field("ID", &Same, Text("")),
    Field("Service", &Same, Text("")),
    Field("Tags", &Same, Null),
    Field("Meta", &Same, Null),
    Field("Port", &Same, Zero),
    Field("Address", &Same, Text("")),
    Field("TaggedAddresses", &Same, Omitted),
    Field("Weights", &Same, Null),
    Field("EnableTagOverride", &Same, False),
    Field("CreateIndex", &Same, Omitted),
    Field("ModifyIndex", &Same, Omitted),
    Field("ContentHash", &Same, Omitted),
    // Empty structures are shown, absent ones are not.
    Field("Proxy", &PROXY, Omitted),
    Field("Connect", &CONNECT, Omitted),
    Field("Namespace", &Same, Omitted),
]);

static CONNECT: Shape = Object(&[
    Field("Native", &Same, Omitted),
    Field("SidecarService", &Same, Omitted),
]);

static SERVICE_ENTRY: Shape = Object(&[
    Field("Node", &NODE, Null),
    Field("Service", &AGENT_SERVICE, Null),
    Field("Checks", &HEALTH_CHECKS, Null),
]);

pub(super) static SERVICE_ENTRIES: Shape = List(&SERVICE_ENTRY);

/// A value in its shape.
#[derive(Clone, Debug)]
pub(super) enum Shaped {
    /// As it came; of maps the keys are sorted.
    Same(Value<'static>),
    /// A list.
    List(Vec<Shaped>),
    /// A structure.
    Object(Vec<(&'static str, Shaped)>),
}

impl Serialize for Shaped {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        match self {
            Shaped::Same(value) => value.serialize(to),
            Shaped::List(items) => items.serialize(to),
            Shaped::Object(fields) => {
                let mut fields = fields.iter();
                to.object(
                    &mut fields
                        .by_ref()
                        .map(|(name, value)| (*name, value as &dyn Serialize)),
                )
            }
        }
    }
}

/// Writes a value again in a shape.
pub(super) fn reshape(value: Value<'static>, shape: &Shape) -> Shaped {
    match (shape, value) {
        (List(inner), Value::Array(items)) => {
            Shaped::List(items.into_iter().map(|v| reshape(v, inner)).collect())
        }
        (Object(fields), Value::Map(mut entries)) => Shaped::Object(
            fields
                .iter()
                .filter_map(|field| {
                    let name = Value::text(field.0);
                    let at = entries.iter().position(|(key, _)| *key == name);
                    let value = at.map(|at| entries.swap_remove(at).1);
                    Some((field.0, field_value(value, field)?))
                })
                .collect(),
        ),
        (_, value) => Shaped::Same(value),
    }
}

fn field_value(value: Option<Value<'static>>, field: &Field) -> Option<Shaped> {
    let Field(_, shape, absent) = field;
    Some(Shaped::Same(match value {
        Some(value) if matches!(absent, Omitted) && is_empty(&value, shape) => return None,
        Some(value) => return Some(reshape(value, shape)),
        None => match absent {
            Omitted => return None,
            Null => Value::Nil,
            Text(text) => Value::text(text),
            Zero => Value::Uint(0),
            False => Value::Bool(false),
        },
    }))
}

/// What Go's `omitempty` leaves out; a structure is behind a pointer and empty only when there is none.
fn is_empty(value: &Value<'_>, shape: &Shape) -> bool {
    match value {
        Value::Nil | Value::Bool(false) | Value::Uint(0) => true,
        Value::Str(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty() && !matches!(shape, Object(_)),
        _ => false,
    }
}
