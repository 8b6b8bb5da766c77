//! `Coordinate.*`: network coordinates, as soft state.
//!
//! They are not worth a disk write: they live in the server's memory and come again by themselves.
//! Source: `docs/reference/http-1.md` section 6.

use crate::acl::{self, Ask, Resource};
use crate::server::acl::Visible;
use crate::server::{MAX_COORDINATES, Server};
use crate::store::WatchSet;
use crate::structs::{
    Coordinate, CoordinateUpdateRequest, DCSpecificRequest, DatacenterMap, Error,
    IndexedCoordinates, NodeSpecificRequest, Position, Result,
};

/// Vivaldi's dimensions.
const DIMENSIONS: usize = 8;

impl Server {
    /// `Coordinate.Update`: a node that the catalog does not have is dropped silently.
    pub(crate) async fn coordinate_update(&self, request: CoordinateUpdateRequest) -> Result<()> {
        self.check_datacenter(&request.datacenter)?;
        let position = request
            .coord
            .ok_or_else(|| Error::new("incompatible coordinate"))?;
        let vec = position.vec.as_deref().unwrap_or(&[]);
        let numbers = [position.error, position.adjustment, position.height];
        if vec.len() != DIMENSIONS || !vec.iter().chain(&numbers).all(|v| v.is_finite()) {
            return Err(Error::new("incompatible coordinate"));
        }
        self.require(&request.token, Ask::Write(Resource::Node, &request.node))?;
        let index = {
            let state = self.state.read()?;
            if state.node(&mut WatchSet::new(), &request.node)?.1.is_none() {
                return Ok(());
            }
            state.applied_index()
        };
        let mut soft = self.lock_coordinates();
        let name = request.node.to_lowercase();
        if soft.nodes.len() >= MAX_COORDINATES && !soft.nodes.contains_key(&name) {
            return Ok(());
        }
        let coordinate = Coordinate {
            node: request.node,
            segment: request.segment,
            coord: Some(position),
        };
        soft.nodes.insert(name, coordinate);
        soft.index = soft.index.max(index);
        Ok(())
    }

    /// Gives this server its own place, where every node begins.
    pub(in crate::server) fn place_at_origin(&self) {
        let name = self.options.node_name.clone();
        self.lock_coordinates()
            .nodes
            .entry(name.to_lowercase())
            .or_insert_with(|| Coordinate {
                node: name,
                segment: String::new(),
                coord: Some(origin()),
            });
    }

    /// `Coordinate.ListNodes`.
    pub(crate) async fn coordinate_list_nodes(
        &self,
        request: DCSpecificRequest,
    ) -> Result<IndexedCoordinates> {
        self.check_datacenter(&request.datacenter)?;
        let (meta, coordinates) = self
            .read(&request.options, |state, watch, acl| {
                let (index, nodes) = state.nodes(watch, &None)?;
                let soft = self.lock_coordinates();
                let known = nodes
                    .iter()
                    .filter_map(|n| soft.nodes.get(&n.node.to_lowercase()));
                let known = known.filter(|c| c.visible(acl));
                Ok((index.max(soft.index), known.cloned().collect::<Vec<_>>()))
            })
            .await?;
        Ok(IndexedCoordinates {
            coordinates: Some(coordinates),
            meta,
        })
    }

    /// `Coordinate.Node`.
    pub(crate) async fn coordinate_node(
        &self,
        request: NodeSpecificRequest,
    ) -> Result<IndexedCoordinates> {
        self.check_datacenter(&request.datacenter)?;
        let (meta, coordinates) = self
            .read(&request.options, |state, watch, acl| {
                acl::require(acl, Ask::Read(Resource::Node, &request.node))?;
                let (index, node) = state.node(watch, &request.node)?;
                let soft = self.lock_coordinates();
                let known = node.and_then(|n| soft.nodes.get(&n.node.to_lowercase()));
                // Consul names the node as it was asked for.
                let answer = known.map(|c| Coordinate {
                    node: request.node.clone(),
                    ..c.clone()
                });
                Ok((
                    index.max(soft.index),
                    answer.into_iter().collect::<Vec<_>>(),
                ))
            })
            .await?;
        Ok(IndexedCoordinates {
            coordinates: Some(coordinates),
            meta,
        })
    }

    /// `Coordinate.ListDatacenters`: the servers' coordinates in the WAN pool.
    pub(crate) async fn coordinate_list_datacenters(&self) -> Result<Vec<DatacenterMap>> {
        let map = |(datacenter, coordinates)| DatacenterMap {
            datacenter,
            area_id: "wan".to_owned(),
            coordinates: Some(coordinates),
        };
        Ok(self.wan_coordinates().into_iter().map(map).collect())
    }
}

/// Where every node begins, and a lone one stays.
fn origin() -> Position {
    Position {
        vec: Some(vec![0.0; DIMENSIONS]),
        error: 1.5,
        adjustment: 0.0,
        height: 0.000_01,
    }
}
