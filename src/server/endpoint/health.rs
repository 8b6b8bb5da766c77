//! `Health.*`: checks, and service instances with their checks.
//!
//! Source: `docs/reference/http-2.md` section 8.

use super::asked;
use super::catalog::{meta_matches, require_service_name, tags_match};
use crate::filter::Filter;
use crate::server::Server;
use crate::server::acl::Visible;
use crate::structs::{
    CheckServiceNode, ChecksInStateRequest, Error, HealthCheck, IndexedCheckServiceNodes,
    IndexedHealthChecks, NodeSpecificRequest, Result, ServiceSpecificRequest,
};

impl Server {
    /// `Health.ChecksInState`.
    pub(crate) async fn health_checks_in_state(
        &self,
        request: ChecksInStateRequest,
    ) -> Result<IndexedHealthChecks> {
        self.check_datacenter(&request.datacenter)?;
        let filter = Filter::<HealthCheck>::parse(&request.options.filter)?;
        let (meta, mut checks) = self
            .read(&request.options, |state, watch, acl| {
                let (index, mut checks) =
                    state.checks_in_state(watch, &request.state, &request.node_meta_filters)?;
                checks.retain(|check| filter.matches(check) && check.visible(acl));
                Ok((index, checks))
            })
            .await?;
        self.sort_near(&mut checks, &request.source, |check| &check.node);
        Ok(IndexedHealthChecks {
            health_checks: Some(checks),
            meta,
        })
    }

    /// `Health.NodeChecks`.
    pub(crate) async fn health_node_checks(
        &self,
        request: NodeSpecificRequest,
    ) -> Result<IndexedHealthChecks> {
        self.check_datacenter(&request.datacenter)?;
        let filter = Filter::<HealthCheck>::parse(&request.options.filter)?;
        let (meta, checks) = self
            .read(&request.options, |state, watch, acl| {
                let (index, mut checks) = state.node_checks(watch, &request.node)?;
                checks.retain(|check| filter.matches(check) && check.visible(acl));
                Ok((index, checks))
            })
            .await?;
        Ok(IndexedHealthChecks {
            health_checks: Some(checks),
            meta,
        })
    }

    /// `Health.ServiceChecks`.
    pub(crate) async fn health_service_checks(
        &self,
        request: ServiceSpecificRequest,
    ) -> Result<IndexedHealthChecks> {
        self.check_datacenter(&request.datacenter)?;
        if request.tag_filter {
            return Err(Error::new("Tag filtering is not supported"));
        }
        let filter = Filter::<HealthCheck>::parse(&request.options.filter)?;
        let (meta, mut checks) = self
            .read(&request.options, |state, watch, acl| {
                let (name, meta) = (&request.service_name, &request.node_meta_filters);
                let (index, mut checks) = state.service_checks(watch, name, meta)?;
                checks.retain(|check| filter.matches(check) && check.visible(acl));
                Ok((index, checks))
            })
            .await?;
        self.sort_near(&mut checks, &request.source, |check| &check.node);
        Ok(IndexedHealthChecks {
            health_checks: Some(checks),
            meta,
        })
    }

    /// `Health.ServiceNodes`.
    pub(crate) async fn health_service_nodes(
        &self,
        request: ServiceSpecificRequest,
    ) -> Result<IndexedCheckServiceNodes> {
        self.check_datacenter(&request.datacenter)?;
        require_service_name(&request.service_name, "")?;
        let filter = Filter::<CheckServiceNode>::parse(&request.options.filter)?;
        let (meta, mut nodes) = self
            .read(&request.options, |state, watch, acl| {
                let name = &request.service_name;
                let (index, mut nodes) = if request.ingress {
                    state.check_ingress_service_nodes(watch, name)?
                } else {
                    state.check_service_nodes(watch, name, request.connect)?
                };
                nodes.retain(|instance| {
                    let tags = instance.service.as_ref().and_then(|s| s.tags.as_deref());
                    let meta = instance.node.as_ref().map_or(&None, |node| &node.meta);
                    tags_match(tags.unwrap_or(&[]), &request)
                        && meta_matches(meta, &request.node_meta_filters)
                        && filter.matches(instance)
                        && instance.visible(acl)
                });
                Ok((index, nodes))
            })
            .await?;
        asked::count("health", &request, nodes.len());
        self.sort_near(&mut nodes, &request.source, |instance| {
            instance.node.as_ref().map_or("", |node| &node.node)
        });
        Ok(IndexedCheckServiceNodes {
            nodes: Some(nodes),
            meta,
        })
    }
}
