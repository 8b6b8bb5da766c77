//! Services and checks of configuration files, from the file's spelling to the structures that the HTTP API has too.
//!
//! Source: `docs/reference/config.md` sections 6 and 7.

use super::{Builder, string_map, strings};
use crate::config::tree::Tree;
use crate::sorted::IntoMap;
use crate::structs::go::{Any, GoDuration, List, Map};
use crate::structs::{
    CheckDefinition, CheckType, ConnectProxyConfig, DEFAULT_OUTPUT_MAX_SIZE, ExposeConfig,
    ExposePath, MeshGatewayConfig, ServiceAddress, ServiceConnectDefinition, ServiceDefinition,
    Upstream, Weights, validate_meta, validate_weights,
};

fn text(tree: &Tree, key: &str) -> String {
    tree.at(key)
        .and_then(Tree::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn int(tree: &Tree, key: &str) -> i64 {
    tree.at(key).and_then(Tree::as_int).unwrap_or(0)
}

fn bool(tree: &Tree, key: &str) -> bool {
    opt_bool(tree, key).unwrap_or(false)
}

fn opt_bool(tree: &Tree, key: &str) -> Option<bool> {
    tree.at(key).and_then(Tree::as_bool)
}

fn list(tree: &Tree, key: &str) -> List<String> {
    tree.at(key).map(|list| strings(Some(list)))
}

fn items<'a>(tree: &'a Tree, key: &str) -> &'a [Tree] {
    tree.at(key).and_then(Tree::as_list).unwrap_or_default()
}

fn any(tree: &Tree, key: &str) -> Map<Any> {
    match tree.at(key) {
        Some(Tree::Any(Any::Map(map))) => Some(map.clone()),
        _ => None,
    }
}

/// Kinds of services other than ordinary ones; any other word is taken for an ordinary one.
const KINDS: &[&str] = &[
    "connect-proxy",
    "mesh-gateway",
    "terminating-gateway",
    "ingress-gateway",
    "api-gateway",
];

impl Builder<'_> {
    pub(super) fn services(&mut self) -> Vec<ServiceDefinition> {
        let trees = items(self.tree, "services");
        trees.iter().map(|tree| self.service(tree, false)).collect()
    }

    pub(super) fn checks(&mut self) -> Vec<CheckDefinition> {
        let trees = items(self.tree, "checks");
        trees.iter().map(|tree| self.check(tree)).collect()
    }

    fn check_duration(&mut self, tree: &Tree, key: &str) -> GoDuration {
        let value = text(tree, key);
        if value.is_empty() {
            return GoDuration(0);
        }
        let id = text(tree, "id");
        self.parse_duration(&format!("check[{id}].{key}"), &value)
    }

    fn check(&mut self, tree: &Tree) -> CheckDefinition {
        let header = tree.at("header").and_then(Tree::as_map);
        let header: Map<List<String>> = header.map(|map| {
            let entries = map
                .iter()
                .map(|(key, values)| (key.clone(), Some(strings(Some(values)))));
            entries.into_map()
        });
        CheckDefinition {
            id: text(tree, "id"),
            name: text(tree, "name"),
            notes: text(tree, "notes"),
            service_id: text(tree, "service_id"),
            token: text(tree, "token"),
            status: text(tree, "status"),
            script_args: list(tree, "args"),
            http: text(tree, "http"),
            header,
            method: text(tree, "method"),
            body: text(tree, "body"),
            disable_redirects: bool(tree, "disable_redirects"),
            tcp: text(tree, "tcp"),
            tcp_use_tls: bool(tree, "tcp_use_tls"),
            udp: text(tree, "udp"),
            interval: self.check_duration(tree, "interval"),
            alias_node: text(tree, "alias_node"),
            alias_service: text(tree, "alias_service"),
            docker_container_id: text(tree, "docker_container_id"),
            shell: text(tree, "shell"),
            grpc: text(tree, "grpc"),
            grpc_use_tls: bool(tree, "grpc_use_tls"),
            h2ping: text(tree, "h2ping"),
            h2ping_use_tls: opt_bool(tree, "h2ping_use_tls"),
            os_service: text(tree, "os_service"),
            tls_server_name: text(tree, "tls_server_name"),
            tls_skip_verify: bool(tree, "tls_skip_verify"),
            timeout: self.check_duration(tree, "timeout"),
            ttl: self.check_duration(tree, "ttl"),
            success_before_passing: int(tree, "success_before_passing"),
            failures_before_warning: int(tree, "failures_before_warning"),
            failures_before_critical: int(tree, "failures_before_critical"),
            deregister_critical_service_after: self
                .check_duration(tree, "deregister_critical_service_after"),
            output_max_size: tree
                .at("output_max_size")
                .and_then(Tree::as_int)
                .unwrap_or(DEFAULT_OUTPUT_MAX_SIZE),
        }
    }

    fn service(&mut self, tree: &Tree, sidecar: bool) -> ServiceDefinition {
        // `check` comes last, so it cannot be the single check of the structure, which comes first.
        let mut checks: Vec<CheckType> = items(tree, "checks")
            .iter()
            .map(|one| self.check(one).check_type())
            .collect();
        if let Some(one) = tree.at("check") {
            checks.push(self.check(one).check_type());
        }
        let name = text(tree, "name");
        let meta = string_map(tree.at("meta"));
        if let Some(meta) = &meta
            && let Err(error) = validate_meta(meta, false)
        {
            self.only_error(format!("invalid meta for service {name}: {error}"));
        }
        let weights = tree.at("weights").map(|weights| Weights {
            passing: weights.at("passing").and_then(Tree::as_int).unwrap_or(1),
            warning: weights.at("warning").and_then(Tree::as_int).unwrap_or(1),
        });
        if let Some(weights) = &weights
            && let Err(error) = validate_weights(weights)
        {
            self.only_error(format!(
                "Invalid weight definition for service {name}: {error}"
            ));
        }
        let kind = text(tree, "kind");
        ServiceDefinition {
            kind: if KINDS.contains(&kind.as_str()) {
                kind
            } else {
                String::new()
            },
            id: text(tree, "id"),
            name,
            tags: list(tree, "tags"),
            address: text(tree, "address"),
            tagged_addresses: tagged(tree),
            meta,
            port: int(tree, "port"),
            check: None,
            checks: (!checks.is_empty()).then_some(checks),
            weights,
            token: text(tree, "token"),
            enable_tag_override: bool(tree, "enable_tag_override"),
            proxy: tree.at("proxy").map(proxy),
            connect: tree
                .at("connect")
                .map(|connect| self.connect(connect, sidecar)),
        }
    }

    fn connect(&mut self, tree: &Tree, in_sidecar: bool) -> ServiceConnectDefinition {
        let sidecar = tree.at("sidecar_service");
        if in_sidecar && sidecar.is_some() {
            self.error("sidecar_service can't have a nested sidecar_service".to_owned());
            return ServiceConnectDefinition::default();
        }
        let sidecar = sidecar.map(|tree| {
            let service = self.service(tree, true);
            if !service.id.is_empty() {
                self.error("sidecar_service can't specify an ID".to_owned());
            }
            Box::new(service)
        });
        ServiceConnectDefinition {
            native: bool(tree, "native"),
            sidecar_service: sidecar,
        }
    }
}

fn tagged(tree: &Tree) -> Map<ServiceAddress> {
    let map = tree.at("tagged_addresses").and_then(Tree::as_map)?;
    let entries = map.iter().map(|(tag, address)| {
        let address = ServiceAddress {
            address: text(address, "address"),
            port: int(address, "port"),
        };
        (tag.clone(), address)
    });
    Some(entries.into_map())
}

fn mesh_gateway(tree: &Tree) -> MeshGatewayConfig {
    MeshGatewayConfig {
        mode: text(tree, "mesh_gateway.mode"),
    }
}

fn proxy(tree: &Tree) -> ConnectProxyConfig {
    let upstreams = tree.at("upstreams").map(|_| {
        let upstreams = items(tree, "upstreams").iter().map(|one| Upstream {
            destination_type: match text(one, "destination_type") {
                kind if kind.is_empty() => "service".to_owned(),
                kind => kind,
            },
            destination_namespace: text(one, "destination_namespace"),
            destination_name: text(one, "destination_name"),
            datacenter: text(one, "datacenter"),
            local_bind_address: text(one, "local_bind_address"),
            local_bind_port: int(one, "local_bind_port"),
            config: any(one, "config"),
            mesh_gateway: mesh_gateway(one),
            ..Upstream::default()
        });
        upstreams.collect()
    });
    let paths = tree.at("expose.paths").map(|_| {
        let paths = items(tree, "expose.paths").iter().map(|one| ExposePath {
            listener_port: int(one, "listener_port"),
            path: text(one, "path"),
            local_path_port: int(one, "local_path_port"),
            protocol: text(one, "protocol"),
            ..ExposePath::default()
        });
        paths.collect()
    });
    ConnectProxyConfig {
        destination_service_name: text(tree, "destination_service_name"),
        destination_service_id: text(tree, "destination_service_id"),
        local_service_address: text(tree, "local_service_address"),
        local_service_port: int(tree, "local_service_port"),
        config: any(tree, "config"),
        upstreams,
        mesh_gateway: mesh_gateway(tree),
        expose: ExposeConfig {
            checks: bool(tree, "expose.checks"),
            paths,
        },
    }
}
