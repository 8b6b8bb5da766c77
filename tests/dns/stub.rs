//! A delegate over a fixed catalog in memory: what `catalog.jsonl` registers.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use consul_lite::structs::rpc::{BoxFuture, Delegate, Reply, Request, Stats};
use consul_lite::structs::*;
use consul_lite::wire::json;

/// The address of the agent itself, in the recordings and here.
pub const OWN_ADDRESS: &str = "127.60.0.1";

/// The registrations of the fixture, one JSON object a line.
pub const CATALOG: &str = include_str!("catalog.jsonl");

/// A catalog that answers reads.
#[derive(Default)]
pub struct Stub {
    nodes: Vec<Node>,
    services: Vec<(String, NodeService)>,
    checks: Vec<HealthCheck>,
    /// Calls answered so far.
    pub calls: AtomicU64,
    /// Milliseconds since the last contact with a leader that stale answers state.
    pub last_contact: AtomicU64,
    /// The version of the catalog, 0 when it is not known.
    pub version: AtomicU64,
    /// The error that every call gets.
    pub failing: Option<&'static str>,
}

impl Stub {
    /// The fixture's catalog and the agent's own node.
    pub fn with_catalog() -> Self {
        let mut stub = Self::default();
        let own = format!(
            r#"{{"Node":"Srv1","Address":"{OWN_ADDRESS}","NodeMeta":{{"consul-network-segment":""}},
                "Service":{{"ID":"consul","Service":"consul","Port":18300}}}}"#
        );
        stub.register(&own);
        CATALOG.lines().for_each(|line| stub.register(line));
        stub.nodes.sort_by(|a, b| a.node.cmp(&b.node));
        stub
    }

    /// Adds one registration.
    pub fn register(&mut self, line: &str) {
        let request: RegisterRequest =
            json::from_slice_lenient(line.as_bytes()).expect("a registration");
        if !self.nodes.iter().any(|n| n.node == request.node) {
            self.nodes.push(Node {
                id: request.id,
                node: request.node.clone(),
                address: request.address,
                datacenter: "dc1".into(),
                tagged_addresses: request.tagged_addresses,
                meta: request.node_meta,
                ..Node::default()
            });
        }
        if let Some(service) = request.service {
            self.services.push((request.node.clone(), service));
        }
        if let Some(mut check) = request.check {
            check.node = request.node;
            self.checks.push(check);
        }
    }

    fn node(&self, name: &str) -> Option<&Node> {
        let by_name = |n: &&Node| n.node.eq_ignore_ascii_case(name);
        self.nodes.iter().find(by_name).or_else(|| {
            // The index is over bytes: hyphens do not count, and half a byte is cut.
            let digits = name.replace('-', "");
            let prefix = &digits[..digits.len() & !1];
            let has = |n: &&Node| n.id.replace('-', "").starts_with(prefix);
            let mut found = self.nodes.iter().filter(has);
            let first = found.next().filter(|_| prefix.len() >= 2)?;
            found.next().is_none().then_some(first)
        })
    }

    fn instances(&self, request: &ServiceSpecificRequest) -> Vec<CheckServiceNode> {
        let wanted_tags = request.service_tags.clone().unwrap_or_default();
        let tagged = |service: &NodeService| {
            wanted_tags.iter().all(|tag| {
                let mut tags = service.tags.iter().flatten();
                tags.any(|t| t.eq_ignore_ascii_case(tag))
            })
        };
        let matching = self.services.iter().filter(|(_, service)| {
            service.service.eq_ignore_ascii_case(&request.service_name) && tagged(service)
        });
        matching
            .filter(|_| !request.connect && !request.ingress)
            .map(|(node, service)| CheckServiceNode {
                node: self.nodes.iter().find(|n| n.node == *node).cloned(),
                service: Some(service.clone()),
                checks: Some(
                    self.checks
                        .iter()
                        .filter(|c| c.node == *node)
                        .filter(|c| c.service_id.is_empty() || c.service_id == service.id)
                        .cloned()
                        .collect(),
                ),
            })
            .collect()
    }

    fn reply(&self, request: Request) -> Result<Reply> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (datacenter, options) = match &request {
            Request::HealthServiceNodes(r) | Request::CatalogServiceNodes(r) => {
                (&r.datacenter, &r.options)
            }
            Request::CatalogNodeServices(r) => (&r.datacenter, &r.options),
            Request::CatalogListNodes(r) => (&r.datacenter, &r.options),
            other => return Err(Error::new(format!("not in the stub: {}", other.name()))),
        };
        if let Some(text) = self.failing {
            return Err(text.into());
        }
        if datacenter != "dc1" {
            return Err(NO_PATH_TO_DATACENTER.into());
        }
        let contact = self.last_contact.load(Ordering::Relaxed) as i64;
        let meta = QueryMeta {
            last_contact: go::GoDuration::from_millis(if options.allow_stale {
                contact
            } else {
                0
            }),
            ..QueryMeta::default()
        };
        Ok(match request {
            Request::HealthServiceNodes(r) => Reply::HealthServiceNodes(IndexedCheckServiceNodes {
                nodes: Some(self.instances(&r)),
                meta,
            }),
            Request::CatalogServiceNodes(r) => Reply::CatalogServiceNodes(IndexedServiceNodes {
                service_nodes: Some(self.at_address(&r.service_address)),
                meta,
            }),
            Request::CatalogListNodes(_) => Reply::CatalogListNodes(IndexedNodes {
                nodes: Some(self.nodes.clone()),
                meta,
            }),
            Request::CatalogNodeServices(r) => Reply::CatalogNodeServices(IndexedNodeServices {
                node_services: self.node(&r.node).map(|node| NodeServices {
                    node: Some(node.clone()),
                    services: None,
                }),
                meta,
            }),
            other => return Err(Error::new(format!("not in the stub: {}", other.name()))),
        })
    }

    fn at_address(&self, address: &str) -> Vec<ServiceNode> {
        let found = self.services.iter().filter(|(_, s)| s.address == address);
        let row = |(node, service): &(String, NodeService)| ServiceNode {
            node: node.clone(),
            datacenter: "dc1".into(),
            service_name: service.service.clone(),
            service_address: service.address.clone(),
            ..ServiceNode::default()
        };
        found.map(row).collect()
    }
}

impl Delegate for Stub {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply>> {
        Box::pin(async move { self.reply(request) })
    }
    fn catalog_version(&self) -> Option<u64> {
        Some(self.version.load(Ordering::Relaxed)).filter(|version| *version > 0)
    }
    fn snapshot_save(&self, _: SnapshotRequest) -> BoxFuture<'_, Result<(SnapshotResponse, File)>> {
        Box::pin(async { Err("not in the stub".into()) })
    }
    fn snapshot_restore(
        &self,
        _: SnapshotRequest,
        _: File,
    ) -> BoxFuture<'_, Result<SnapshotResponse>> {
        Box::pin(async { Err("not in the stub".into()) })
    }
    fn members(&self, _: bool) -> Option<Vec<Member>> {
        None
    }
    fn coordinate(&self) -> Option<Position> {
        None
    }
    fn join(&self, _: Vec<String>, _: bool) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async { Err("not in the stub".into()) })
    }
    fn force_leave(&self, _: String, _: bool) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Err("not in the stub".into()) })
    }
    fn leave(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
    fn stats(&self) -> BoxFuture<'_, Stats> {
        Box::pin(async { Stats::new() })
    }
}
