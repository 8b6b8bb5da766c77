//! `Internal.*`: what the UI asks for, and user events.
//!
//! Source: `docs/reference/http-2.md` section 14, `docs/reference/http-1.md` section 5.

use std::sync::atomic::Ordering;

use crate::filter::Filter;
use crate::server::{FiredEvent, Server};
use crate::structs::{
    CheckServiceNode, DCSpecificRequest, Error, EventFireRequest, EventFireResponse,
    IndexedCheckServiceNodes, IndexedNodeDump, NodeInfo, NodeSpecificRequest, QueryMeta, Result,
    ServiceDumpRequest,
};

/// Largest encoded user event, in bytes: what fits a gossip packet beside its neighbours.
const EVENT_LIMIT: usize = 512;

impl Server {
    /// `Internal.NodeInfo`.
    pub(crate) async fn internal_node_info(
        &self,
        request: NodeSpecificRequest,
    ) -> Result<IndexedNodeDump> {
        self.check_datacenter(&request.datacenter)?;
        let (meta, dump) = self
            .read(&request.options, |state, watch| {
                Ok(state.node_info(watch, &request.node)?)
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
            .read(&request.options, |state, watch| {
                let (index, mut dump) = state.node_dump(watch)?;
                dump.retain(|node| filter.matches(node));
                Ok((index, dump))
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
            .read(&request.options, |state, watch| {
                let (index, mut nodes) = state.service_dump(watch, kind)?;
                nodes.retain(|instance| filter.matches(instance));
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
        if request.name.len() + request.payload.len() > EVENT_LIMIT {
            return Err(Error::new(format!(
                "1 error occurred:\n\t* error broadcasting event to segment \"\": user event \
                 exceeds configured limit of {EVENT_LIMIT} bytes before encoding\n\n"
            )));
        }
        let event = FiredEvent {
            ltime: self.event_time.fetch_add(1, Ordering::Relaxed),
            name: request.name,
            payload: request.payload.0,
        };
        // The receiver ends with the agent, and is bounded: events are best effort.
        if self.events.try_send(event).is_err() {
            log::warn!(target: "agent.server", "user event dropped: too many are waiting");
        }
        Ok(EventFireResponse {
            meta: QueryMeta::default(),
        })
    }
}
