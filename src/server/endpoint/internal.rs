//! `Internal.*`: what the UI asks for, and user events.
//!
//! Source: `docs/reference/http-2.md` section 14, `docs/reference/http-1.md` section 5.

use crate::acl::{Ask, Authorizer, Resource};
use crate::filter::Filter;
use crate::serf::event;
use crate::server::Server;
use crate::server::acl::{Visible, retain};
use crate::structs::{
    CheckServiceNode, DCSpecificRequest, Error, EventFireRequest, EventFireResponse,
    IndexedCheckServiceNodes, IndexedNodeDump, NodeInfo, NodeSpecificRequest, QueryMeta, Result,
    ServiceDumpRequest,
};

impl Server {
    /// `Internal.NodeInfo`.
    pub(crate) async fn internal_node_info(
        &self,
        request: NodeSpecificRequest,
    ) -> Result<IndexedNodeDump> {
        self.check_datacenter(&request.datacenter)?;
        let (meta, dump) = self
            .read(&request.options, |state, watch, acl| {
                let (index, info) = state.node_info(watch, &request.node)?;
                Ok((index, info.into_iter().filter_map(|i| seen(i, acl)).next()))
            })
            .await?;
        Ok(IndexedNodeDump {
            dump: Some(dump.into_iter().collect()),
            meta,
        })
    }

    /// `Internal.NodeDump`.
    pub(crate) async fn internal_node_dump(
        &self,
        request: DCSpecificRequest,
    ) -> Result<IndexedNodeDump> {
        self.check_datacenter(&request.datacenter)?;
        let filter = Filter::<NodeInfo>::parse(&request.options.filter)?;
        let (meta, dump) = self
            .read(&request.options, |state, watch, acl| {
                let (index, mut dump) = state.node_dump(watch)?;
                dump.retain(|node| filter.matches(node));
                let seen = dump.into_iter().filter_map(|info| seen(info, acl));
                Ok((index, seen.collect::<Vec<_>>()))
            })
            .await?;
        Ok(IndexedNodeDump {
            dump: Some(dump),
            meta,
        })
    }

    /// `Internal.ServiceDump`.
    pub(crate) async fn internal_service_dump(
        &self,
        request: ServiceDumpRequest,
    ) -> Result<IndexedCheckServiceNodes> {
        self.check_datacenter(&request.datacenter)?;
        let filter = Filter::<CheckServiceNode>::parse(&request.options.filter)?;
        let kind = request
            .use_service_kind
            .then_some(request.service_kind.as_str());
        let (meta, nodes) = self
            .read(&request.options, |state, watch, acl| {
                let (index, mut nodes) = state.service_dump(watch, kind)?;
                nodes.retain(|instance| filter.matches(instance) && instance.visible(acl));
                Ok((index, nodes))
            })
            .await?;
        Ok(IndexedCheckServiceNodes {
            nodes: Some(nodes),
            meta,
        })
    }

    /// `Internal.EventFire`: hands the event to the agents of the datacenter.
    pub(crate) async fn internal_event_fire(
        &self,
        request: EventFireRequest,
    ) -> Result<EventFireResponse> {
        self.check_datacenter(&request.datacenter)?;
        self.require(
            &request.options.token,
            Ask::Write(Resource::Event, &request.name),
        )?;
        let name = event::wire_name(&request.name);
        let fired = self.pools.lan.user_event(&name, request.payload.0, false);
        fired.await.map_err(|why| {
            Error::new(format!(
                "1 error occurred:\n\t* error broadcasting event to segment \"\": {why}\n\n"
            ))
        })?;
        Ok(EventFireResponse {
            meta: QueryMeta::default(),
        })
    }
}

/// What may be seen of a node with everything on it.
fn seen(mut info: NodeInfo, acl: &Authorizer) -> Option<NodeInfo> {
    if !info.visible(acl) {
        return None;
    }
    if let Some(services) = &mut info.services {
        retain(services, acl);
    }
    if let Some(checks) = &mut info.checks {
        retain(checks, acl);
    }
    Some(info)
}
