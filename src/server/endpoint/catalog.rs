//! `Catalog.*`: nodes, services and their registration.
//!
//! Source: `docs/reference/http-2.md` section 7.

use super::asked;
use crate::acl::{Authorizer, Resource};
use crate::filter::Filter;
use crate::server::acl::Visible;
use crate::server::{Server, rtt};
use crate::sorted::IntoMap;
use crate::store::{Read, WatchSet};
use crate::structs::go::{Map, check_uuid};
use crate::structs::{
    DCSpecificRequest, DatacentersRequest, DeregisterRequest, Error, HealthCheck,
    IndexedNodeServiceList, IndexedNodeServices, IndexedNodes, IndexedServiceList,
    IndexedServiceNodes, IndexedServices, Node, NodeService, NodeServiceList, NodeServices,
    NodeSpecificRequest, QuerySource, RegisterRequest, Result, ServiceName, ServiceNode,
    ServiceSpecificRequest, Weights, command, health, is_any_address,
};
use crate::telemetry::{Timed, metrics};

/// Whether a node's metadata has all the asked pairs.
pub(super) fn meta_matches(meta: &Map<String>, asked: &Map<String>) -> bool {
    asked.iter().flatten().all(|(key, value)| {
        meta.as_ref()
            .is_some_and(|meta| meta.get(key).is_some_and(|have| have == value))
    })
}

/// Whether an instance has all the asked tags; tags compare without case.
pub(super) fn tags_match(tags: &[String], request: &ServiceSpecificRequest) -> bool {
    if !request.tag_filter {
        return true;
    }
    let has = |wanted: &str| {
        tags.iter()
            .any(|tag| tag.to_lowercase() == wanted.to_lowercase())
    };
    match &request.service_tags {
        Some(wanted) => wanted.iter().all(|tag| has(tag)),
        // Agents before 1.3 send a single tag here.
        None => has(&request.service_tag),
    }
}

impl Server {
    /// `Catalog.Register`.
    pub(crate) async fn catalog_register(&self, mut request: RegisterRequest) -> Result<()> {
        self.check_datacenter(&request.datacenter)?;
        let _timed = Timed::start(&metrics::CATALOG_REGISTER);
        if request.node.is_empty() {
            return Err(Error::new("Must provide node"));
        }
        if request.address.is_empty() && !request.skip_node_update {
            return Err(Error::new(
                "Must provide address if SkipNodeUpdate is not set",
            ));
        }
        check_node_id(&request.id)?;
        if let Some(service) = &mut request.service {
            complete_service(service)?;
        }
        if let Some(check) = request.check.take() {
            request.checks.get_or_insert_default().push(check);
        }
        for check in request.checks.iter_mut().flatten() {
            complete_check(check, &request.node);
        }
        self.wait_for_leader().await?;
        self.may_register(&request)?;
        self.apply(command::REGISTER, &request).await?;
        Ok(())
    }

    /// `Catalog.Deregister`.
    pub(crate) async fn catalog_deregister(&self, request: DeregisterRequest) -> Result<()> {
        self.check_datacenter(&request.datacenter)?;
        let _timed = Timed::start(&metrics::CATALOG_DEREGISTER);
        if request.node.is_empty() {
            return Err(Error::new("Must provide node"));
        }
        self.wait_for_leader().await?;
        self.may_deregister(&request)?;
        self.apply(command::DEREGISTER, &request).await?;
        Ok(())
    }

    /// `Catalog.ListDatacenters`.
    pub(crate) async fn catalog_list_datacenters(
        &self,
        _request: DatacentersRequest,
    ) -> Result<Vec<String>> {
        Ok(self.datacenters())
    }

    /// `Catalog.ListNodes`.
    pub(crate) async fn catalog_list_nodes(
        &self,
        request: DCSpecificRequest,
    ) -> Result<IndexedNodes> {
        self.check_datacenter(&request.datacenter)?;
        let filter = Filter::<Node>::parse(&request.options.filter)?;
        let (meta, mut nodes) = self
            .read(&request.options, |state, watch, acl| {
                let (index, mut nodes) = state.nodes(watch, &request.node_meta_filters)?;
                nodes.retain(|node| filter.matches(node) && node.visible(acl));
                Ok((index, nodes))
            })
            .await?;
        self.sort_near(&mut nodes, &request.source, |node| &node.node);
        Ok(IndexedNodes {
            nodes: Some(nodes),
            meta,
        })
    }

    /// `Catalog.ListServices`.
    pub(crate) async fn catalog_list_services(
        &self,
        request: DCSpecificRequest,
    ) -> Result<IndexedServices> {
        self.check_datacenter(&request.datacenter)?;
        let (meta, services) = self
            .read(&request.options, |state, watch, acl| {
                let (index, services) = state.services(watch, &request.node_meta_filters)?;
                let services = services
                    .into_iter()
                    .filter(|(name, _)| acl.reads(Resource::Service, name));
                let tags = services.map(|(name, tags)| (name, Some(tags)));
                Ok((index, tags.into_map()))
            })
            .await?;
        Ok(IndexedServices {
            services: Some(services),
            meta,
        })
    }

    /// `Catalog.ServiceList`.
    pub(crate) async fn catalog_service_list(
        &self,
        request: DCSpecificRequest,
    ) -> Result<IndexedServiceList> {
        self.check_datacenter(&request.datacenter)?;
        let (meta, names) = self
            .read(&request.options, |state, watch, acl| {
                let (index, mut names) = state.service_list(watch)?;
                names.retain(|name| acl.reads(Resource::Service, name));
                Ok((index, names))
            })
            .await?;
        let names = names.into_iter().map(|name| ServiceName { name }).collect();
        Ok(IndexedServiceList {
            services: Some(names),
            meta,
        })
    }

    /// `Catalog.ServiceNodes`.
    pub(crate) async fn catalog_service_nodes(
        &self,
        request: ServiceSpecificRequest,
    ) -> Result<IndexedServiceNodes> {
        self.check_datacenter(&request.datacenter)?;
        require_service_name(&request.service_name, &request.service_address)?;
        let filter = Filter::<ServiceNode>::parse(&request.options.filter)?;
        let (meta, mut nodes) = self
            .read(&request.options, |state, watch, acl| {
                let (index, mut nodes) = if request.service_address.is_empty() {
                    state.service_nodes(watch, &request.service_name, request.connect)?
                } else {
                    state.service_address_nodes(watch, &request.service_address)?
                };
                nodes.retain(|instance| {
                    tags_match(instance.service_tags.as_deref().unwrap_or(&[]), &request)
                        && meta_matches(&instance.node_meta, &request.node_meta_filters)
                        && filter.matches(instance)
                        && instance.visible(acl)
                });
                Ok((index, nodes))
            })
            .await?;
        asked::count("catalog", &request, nodes.len());
        self.sort_near(&mut nodes, &request.source, |instance| &instance.node);
        Ok(IndexedServiceNodes {
            service_nodes: Some(nodes),
            meta,
        })
    }

    /// `Catalog.NodeServices`.
    pub(crate) async fn catalog_node_services(
        &self,
        request: NodeSpecificRequest,
    ) -> Result<IndexedNodeServices> {
        let list = self.catalog_node_service_list(request).await?;
        let node_services = list.node_services.node.map(|node| {
            let services = list.node_services.services.unwrap_or_default();
            let by_id = services
                .into_iter()
                .map(|service| (service.id.clone(), service));
            NodeServices {
                node: Some(node),
                services: Some(by_id.into_map()),
            }
        });
        Ok(IndexedNodeServices {
            node_services,
            meta: list.meta,
        })
    }

    /// `Catalog.NodeServiceList`.
    pub(crate) async fn catalog_node_service_list(
        &self,
        request: NodeSpecificRequest,
    ) -> Result<IndexedNodeServiceList> {
        self.check_datacenter(&request.datacenter)?;
        if request.node.is_empty() {
            return Err(Error::new("Must provide node"));
        }
        let filter = Filter::<NodeService>::parse(&request.options.filter)?;
        let read = |state: &Read, watch: &mut WatchSet, acl: &Authorizer| {
            let (index, list) = state.node_services(watch, &request.node)?;
            let mut list = list.unwrap_or_default();
            if list.node.as_ref().is_some_and(|node| !node.visible(acl)) {
                return Ok((index, NodeServiceList::default()));
            }
            if let Some(services) = &mut list.services {
                services.retain(|service| filter.matches(service) && service.visible(acl));
            }
            Ok::<(u64, NodeServiceList), Error>((index, list))
        };
        let (meta, node_services) = self.read(&request.options, read).await?;
        Ok(IndexedNodeServiceList {
            node_services,
            meta,
        })
    }

    /// Sorts by distance from a node of this datacenter, if one is named.
    pub(super) fn sort_near<T>(
        &self,
        items: &mut [T],
        source: &QuerySource,
        node: impl Fn(&T) -> &str,
    ) {
        if !source.node.is_empty() && !self.is_elsewhere(&source.datacenter) {
            rtt::sort_by_distance(items, &source.node, &self.positions(), node);
        }
    }
}

/// A read of instances names a service or an address.
pub(super) fn require_service_name(name: &str, address: &str) -> Result<()> {
    if name.is_empty() && address.is_empty() {
        return Err(Error::new("Must provide service name"));
    }
    Ok(())
}

/// Node IDs are optional, but if given they are UUIDs.
pub(super) fn check_node_id(id: &str) -> Result<()> {
    if id.is_empty() {
        return Ok(());
    }
    check_uuid(id).map_err(|why| Error::from(format!("Bad node ID: {why}")))
}

/// Fills in and checks what Consul does on the leader.
pub(super) fn complete_service(service: &mut NodeService) -> Result<()> {
    service.validate()?;
    if service.id.is_empty() && !service.service.is_empty() {
        service.id.clone_from(&service.service);
    }
    if !service.id.is_empty() && service.service.is_empty() {
        return Err(Error::new("Must provide service name with ID"));
    }
    if is_any_address(&service.address) {
        return Err(Error::new("Invalid service address"));
    }
    match &mut service.weights {
        Some(weights) if weights.passing > 0 => {}
        weights => {
            *weights = Some(Weights {
                passing: 1,
                warning: 1,
            })
        }
    }
    Ok(())
}

pub(super) fn complete_check(check: &mut HealthCheck, node: &str) {
    if check.check_id.is_empty() && !check.name.is_empty() {
        check.check_id.clone_from(&check.name);
    }
    if check.node.is_empty() {
        check.node = node.to_owned();
    }
    if check.status.is_empty() {
        check.status = health::CRITICAL.to_owned();
    }
    if check.kind.is_empty() {
        check.kind = check.definition.kind().as_str().to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_are_uuids() {
        assert!(check_node_id("").is_ok());
        assert!(check_node_id("11111111-2222-3333-4444-555555555555").is_ok());
        for (id, text) in [
            ("abc", "Bad node ID: uuid string is wrong length"),
            (
                "11111111x2222-3333-4444-555555555555",
                "Bad node ID: uuid is improperly formatted",
            ),
        ] {
            assert_eq!(check_node_id(id).unwrap_err().text(), text);
        }
    }

    #[test]
    fn tags_compare_without_case_and_all_must_match() {
        let have = ["V1".to_owned(), "rails".to_owned()];
        let asked = |tags: &[&str]| ServiceSpecificRequest {
            tag_filter: true,
            service_tags: Some(tags.iter().map(|t| (*t).to_owned()).collect()),
            ..ServiceSpecificRequest::default()
        };
        assert!(tags_match(&have, &asked(&["v1", "RAILS"])));
        assert!(!tags_match(&have, &asked(&["v1", "v2"])));
        assert!(
            !tags_match(&have, &asked(&[""])),
            "an empty tag matches nothing"
        );
        assert!(tags_match(&have, &ServiceSpecificRequest::default()));
    }
}
