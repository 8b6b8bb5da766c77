//! Lookups through the delegate, answered from the cache while the catalog stays as it is.
//!
//! Holds true: the catalog's version is asked for before the lookup, so a change in between is noticed.
//! Source: `docs/reference/dns.md` sections 3, 10 and 18.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use super::answer::{self, Instance};
use super::cache::{Cache, NodeKey, NodeNames, ServiceKey};
use super::handler::Dns;
use super::name::Name;
use super::settings::Settings;
use crate::structs::go::GoDuration;
use crate::structs::rpc::{Method, call, method};
use crate::structs::{
    DCSpecificRequest, Error, Node, NodeSpecificRequest, QueryMeta, QueryOptions, Result,
    ServiceSpecificRequest,
};
use crate::telemetry;

/// Answers older than this are counted as stale.
const STALE_COUNTED: GoDuration = GoDuration::from_secs(5);

/// Settings with what lookups under them have found.
pub struct InForce {
    settings: Settings,
    cache: Cache,
}

impl InForce {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            cache: Cache::default(),
        })
    }
}

impl Deref for InForce {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl Dns {
    /// The version of a datacenter's catalog, where it is known.
    fn version(&self, settings: &InForce, datacenter: &str) -> Option<u64> {
        let here = datacenter == settings.datacenter;
        here.then(|| self.delegate.catalog_version())?
    }

    /// The instances of a service that answers may name.
    pub(super) async fn healthy(
        &self,
        settings: &InForce,
        lookup: ServiceKey,
    ) -> Result<Arc<[Instance]>> {
        let version = self.version(settings, &lookup.datacenter);
        let table = &settings.cache.services;
        if let Some(known) = table.get(version, &lookup) {
            return Ok(known);
        }
        let args = |options| ServiceSpecificRequest {
            datacenter: lookup.datacenter.clone(),
            service_name: lookup.name.clone(),
            tag_filter: !lookup.tag.is_empty(),
            service_tags: (!lookup.tag.is_empty()).then(|| vec![lookup.tag.clone()]),
            connect: lookup.connect,
            ingress: lookup.ingress,
            options,
            ..ServiceSpecificRequest::default()
        };
        let found = self
            .read::<method::HealthServiceNodes>(settings, args, |r| &r.meta)
            .await?;
        let instances: Arc<[Instance]> = found
            .nodes
            .unwrap_or_default()
            .into_iter()
            .filter(|instance| answer::healthy(instance, settings.only_passing))
            .filter_map(|instance| Instance::new(settings, instance))
            .collect();
        table.put(version, lookup, instances.clone());
        Ok(instances)
    }

    /// A node by name or ID.
    pub(super) async fn find_node(
        &self,
        settings: &InForce,
        lookup: NodeKey,
    ) -> Result<Option<Arc<Node>>> {
        let version = self.version(settings, &lookup.0);
        let table = &settings.cache.nodes;
        if let Some(known) = table.get(version, &lookup) {
            return Ok(known);
        }
        let args = |options| NodeSpecificRequest {
            datacenter: lookup.0.clone(),
            node: lookup.1.clone(),
            options,
        };
        let found = self
            .read::<method::CatalogNodeServices>(settings, args, |r| &r.meta)
            .await?;
        let node = found.node_services.and_then(|s| s.node).map(Arc::new);
        table.put(version, lookup, node.clone());
        Ok(node)
    }

    /// The name of the first node at an address.
    pub(super) async fn node_at(&self, settings: &InForce, ip: IpAddr) -> Option<Name> {
        let version = self.delegate.catalog_version();
        let table = &settings.cache.node_names;
        if let Some(known) = table.get(version, &()) {
            return known.get(&ip).cloned().flatten();
        }
        let args = |options| DCSpecificRequest {
            datacenter: settings.datacenter.clone(),
            options,
            ..DCSpecificRequest::default()
        };
        let found = self
            .read::<method::CatalogListNodes>(settings, args, |r| &r.meta)
            .await
            .ok()?;
        let mut names = NodeNames::new();
        for node in found.nodes.iter().flatten() {
            if let Ok(ip) = node.address.parse() {
                // The first of several nodes at one address counts.
                names
                    .entry(ip)
                    .or_insert_with(|| answer::node_name(settings, node));
            }
        }
        let name = names.get(&ip).cloned().flatten();
        table.put(version, (), Arc::new(names));
        name
    }

    /// The name of the first service instance that has an address of its own.
    pub(super) async fn service_at(&self, settings: &InForce, ip: IpAddr) -> Option<Name> {
        let version = self.delegate.catalog_version();
        let table = &settings.cache.addresses;
        if let Some(known) = table.get(version, &ip) {
            return known;
        }
        let args = |options| ServiceSpecificRequest {
            datacenter: settings.datacenter.clone(),
            service_address: ip.to_string(),
            options,
            ..ServiceSpecificRequest::default()
        };
        let found = self
            .read::<method::CatalogServiceNodes>(settings, args, |r| &r.meta)
            .await
            .ok()?;
        let list = found.service_nodes.unwrap_or_default();
        let wanted = ip.to_string();
        let row = list.iter().find(|row| row.service_address == wanted);
        let name = row.and_then(|row| {
            let name = format!("{}.service.{}", row.service_name, row.datacenter);
            Name::parse(&name)?.under(&settings.domain)
        });
        table.put(version, ip, name.clone());
        name
    }

    /// A read under the settings' consistency, repeated with the leader when its data is too old.
    async fn read<M: Method>(
        &self,
        settings: &InForce,
        args: impl Fn(QueryOptions) -> M::Args,
        meta: impl Fn(&M::Reply) -> &QueryMeta,
    ) -> Result<M::Reply> {
        let mut options = QueryOptions {
            token: match self.tokens.get() {
                Some(tokens) if settings.token_of_agent => tokens.user(),
                _ => settings.token.clone(),
            },
            allow_stale: settings.allow_stale,
            use_cache: settings.use_cache,
            max_age: GoDuration::from(settings.cache_max_age),
            ..QueryOptions::default()
        };
        let kept = self.cache.get().filter(|_| options.use_cache);
        let reply = match kept {
            Some(cache) => {
                let cached = cache.get(M::request(args(options.clone()))).await?;
                M::reply(cached.reply)
                    .ok_or_else(|| Error::new(format!("rpc: unexpected reply to {}", M::NAME)))?
            }
            None => call::<M>(&*self.delegate, args(options.clone())).await?,
        };
        if options.allow_stale && meta(&reply).last_contact > STALE_COUNTED {
            telemetry::metrics::DNS_STALE_QUERIES.incr();
        }
        if !options.allow_stale || meta(&reply).last_contact <= GoDuration::from(settings.max_stale)
        {
            return Ok(reply);
        }
        log::warn!(target: "agent.dns", "Query results too stale, re-requesting");
        options.allow_stale = false;
        call::<M>(&*self.delegate, args(options)).await
    }
}
