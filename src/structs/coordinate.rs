//! Network coordinates of nodes.
//!
//! Source: `docs/reference/http-1.md` section 6, `docs/reference/rpc.md` appendix A.

use super::go::List;
use super::request::QueryMeta;
use crate::codec::{Deserialize, Serialize};

/// A point in Vivaldi's space; all lengths are seconds of round-trip time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "Coordinate")]
pub struct Position {
    #[serde(rename = "Vec")]
    pub vec: List<f64>,
    #[serde(rename = "Error")]
    pub error: f64,
    #[serde(rename = "Adjustment")]
    pub adjustment: f64,
    #[serde(rename = "Height")]
    pub height: f64,
}

/// The coordinate of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coordinate {
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "Segment")]
    pub segment: String,
    #[serde(rename = "Coord")]
    pub coord: Option<Position>,
}

/// Reports a node's coordinate (`Coordinate.Update`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CoordinateUpdateRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "Segment")]
    pub segment: String,
    #[serde(rename = "Coord")]
    pub coord: Option<Position>,
    #[serde(rename = "Token")]
    pub token: String,
}

/// The coordinates of a datacenter's servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatacenterMap {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "AreaID")]
    pub area_id: String,
    #[serde(rename = "Coordinates")]
    pub coordinates: List<Coordinate>,
}

/// Answer of `Coordinate.ListNodes` and `Coordinate.Node`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedCoordinates {
    #[serde(rename = "Coordinates")]
    pub coordinates: List<Coordinate>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}
