//! What a user writes to define a service or a check: the bodies of `/v1/agent/service/register` and
//! `/v1/agent/check/register`, and what the agent keeps of a check (`ChkType` of the persisted files).
//!
//! Configuration files have other spellings of the same fields; `config` fills these structures from them.
//! Fields that Consul 1.8 does not know are left out of JSON when unset, so that its files stay readable both ways.
//! Leaves to others: whether scripts are allowed, generated check IDs, sidecar ports (`agent`).
//! Source: `docs/reference/http-2.md` sections 2.6, 2.10 and 3.

use std::collections::BTreeMap;

use super::{
    ConnectProxyConfig, HealthCheckDefinition, NodeService, ServiceAddress, ServiceConnect,
    Weights,
    go::{GoDuration, List, Map},
};
use crate::codec::{Deserialize, Serialize};

/// The most bytes of check output that are kept unless configured otherwise.
pub const DEFAULT_OUTPUT_MAX_SIZE: i64 = 4096;
/// The most pairs of metadata of a node or service.
const META_MAX_PAIRS: usize = 64;
/// The longest metadata key, in bytes.
const META_KEY_MAX: usize = 128;
/// The longest metadata value, in bytes.
const META_VALUE_MAX: usize = 512;
/// The prefix of metadata keys that only Consul itself may set.
const META_RESERVED_PREFIX: &str = "consul-";

/// The kind of a check, in the words of the `Type` member of health checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    Grpc,
    Http,
    Ttl,
    Tcp,
    Udp,
    Alias,
    Docker,
    Script,
    H2ping,
    OsService,
    /// Nothing that could be run is defined.
    None,
}

impl CheckKind {
    /// Consul's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckKind::Grpc => "grpc",
            CheckKind::Http => "http",
            CheckKind::Ttl => "ttl",
            CheckKind::Tcp => "tcp",
            CheckKind::Udp => "udp",
            CheckKind::Alias => "alias",
            CheckKind::Docker => "docker",
            CheckKind::Script => "script",
            CheckKind::H2ping => "h2ping",
            CheckKind::OsService => "os_service",
            CheckKind::None => "",
        }
    }
}

/// A check inside a service definition, and the form in which the agent keeps any check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "")]
pub struct CheckType {
    #[serde(rename = "CheckID")]
    pub check_id: String,
    #[serde(rename = "Name")]
    pub name: String,
    /// `passing`, `warning`, `critical`, or empty for critical.
    #[serde(rename = "Status")]
    pub status: String,
    #[serde(rename = "Notes")]
    pub notes: String,
    #[serde(rename = "ScriptArgs", alias = "Args", alias = "script_args")]
    pub script_args: List<String>,
    #[serde(rename = "HTTP")]
    pub http: String,
    #[serde(rename = "Header")]
    pub header: Map<List<String>>,
    #[serde(rename = "Method")]
    pub method: String,
    #[serde(rename = "Body")]
    pub body: String,
    #[serde(
        rename = "DisableRedirects",
        alias = "disable_redirects",
        serialize_with = "omitempty"
    )]
    pub disable_redirects: bool,
    #[serde(rename = "TCP")]
    pub tcp: String,
    #[serde(
        rename = "TCPUseTLS",
        alias = "tcp_use_tls",
        serialize_with = "omitempty"
    )]
    pub tcp_use_tls: bool,
    #[serde(rename = "UDP", serialize_with = "omitempty")]
    pub udp: String,
    #[serde(rename = "Interval")]
    pub interval: GoDuration,
    #[serde(rename = "AliasNode")]
    pub alias_node: String,
    /// ID of the service whose checks are mirrored.
    #[serde(rename = "AliasService")]
    pub alias_service: String,
    #[serde(rename = "DockerContainerID", alias = "docker_container_id")]
    pub docker_container_id: String,
    #[serde(rename = "Shell")]
    pub shell: String,
    #[serde(rename = "GRPC")]
    pub grpc: String,
    #[serde(rename = "GRPCUseTLS", alias = "grpc_use_tls")]
    pub grpc_use_tls: bool,
    #[serde(rename = "H2PING", serialize_with = "omitempty")]
    pub h2ping: String,
    /// TLS is the default of this kind of check, so absence has a meaning of its own.
    #[serde(
        rename = "H2PingUseTLS",
        alias = "h2ping_use_tls",
        serialize_with = "omitempty"
    )]
    pub h2ping_use_tls: Option<bool>,
    #[serde(rename = "OSService", serialize_with = "omitempty")]
    pub os_service: String,
    #[serde(
        rename = "TLSServerName",
        alias = "tls_server_name",
        serialize_with = "omitempty"
    )]
    pub tls_server_name: String,
    #[serde(rename = "TLSSkipVerify", alias = "tls_skip_verify")]
    pub tls_skip_verify: bool,
    #[serde(rename = "Timeout")]
    pub timeout: GoDuration,
    #[serde(rename = "TTL")]
    pub ttl: GoDuration,
    #[serde(rename = "SuccessBeforePassing")]
    pub success_before_passing: i64,
    #[serde(rename = "FailuresBeforeWarning", serialize_with = "omitempty")]
    pub failures_before_warning: i64,
    #[serde(rename = "FailuresBeforeCritical")]
    pub failures_before_critical: i64,
    #[serde(rename = "ProxyHTTP")]
    pub proxy_http: String,
    #[serde(rename = "ProxyGRPC")]
    pub proxy_grpc: String,
    #[serde(
        rename = "DeregisterCriticalServiceAfter",
        alias = "deregister_critical_service_after"
    )]
    pub deregister_critical_service_after: GoDuration,
    #[serde(rename = "OutputMaxSize")]
    pub output_max_size: i64,
    /// Accepted inside a service definition and without effect there.
    #[serde(rename = "ServiceID", alias = "service_id", skip_serializing)]
    pub service_id: String,
}

impl HealthCheckDefinition {
    /// The kind of check that it defines, if it could be run.
    pub fn kind(&self) -> CheckKind {
        let by_interval = self.interval.0 > 0;
        let scripted = by_interval && self.script_args.as_ref().is_some_and(|a| !a.is_empty());
        if by_interval && !self.grpc.is_empty() {
            CheckKind::Grpc
        } else if by_interval && !self.http.is_empty() {
            CheckKind::Http
        } else if self.ttl.0 > 0 {
            CheckKind::Ttl
        } else if by_interval && !self.tcp.is_empty() {
            CheckKind::Tcp
        } else if !self.alias_node.is_empty() || !self.alias_service.is_empty() {
            CheckKind::Alias
        } else if scripted && !self.docker_container_id.is_empty() {
            CheckKind::Docker
        } else if scripted {
            CheckKind::Script
        } else {
            CheckKind::None
        }
    }
}

impl CheckType {
    fn has_grpc_http_tcp(&self) -> bool {
        !self.http.is_empty() || !self.tcp.is_empty() || !self.grpc.is_empty()
    }

    /// Has it a script to run (in a container or not)?
    pub fn has_script(&self) -> bool {
        self.script_args
            .as_ref()
            .is_some_and(|args| !args.is_empty())
    }

    /// Is it one that mirrors a service or node?
    pub fn is_alias(&self) -> bool {
        !self.alias_node.is_empty() || !self.alias_service.is_empty()
    }

    fn runs_by_interval(&self) -> bool {
        self.has_grpc_http_tcp()
            || self.has_script()
            || !self.udp.is_empty()
            || !self.h2ping.is_empty()
            || !self.os_service.is_empty()
    }

    /// Is nothing at all defined that says how to check?
    pub fn is_empty(&self) -> bool {
        *self == CheckType::default()
    }

    /// The kind as shown in health checks.
    pub fn kind(&self) -> CheckKind {
        if !self.grpc.is_empty() {
            CheckKind::Grpc
        } else if !self.http.is_empty() {
            CheckKind::Http
        } else if self.ttl.0 > 0 {
            CheckKind::Ttl
        } else if !self.tcp.is_empty() {
            CheckKind::Tcp
        } else if !self.udp.is_empty() {
            CheckKind::Udp
        } else if self.is_alias() {
            CheckKind::Alias
        } else if !self.docker_container_id.is_empty() {
            CheckKind::Docker
        } else if self.has_script() {
            CheckKind::Script
        } else if !self.h2ping.is_empty() {
            CheckKind::H2ping
        } else if !self.os_service.is_empty() {
            CheckKind::OsService
        } else {
            CheckKind::None
        }
    }

    /// Checks that the definition can be run.
    ///
    /// # Errors
    /// Consul's sentence, without any prefix.
    pub fn validate(&self) -> Result<(), &'static str> {
        let by_interval = self.runs_by_interval();
        if self.interval.0 > 0 && self.ttl.0 > 0 {
            return Err("Interval and TTL cannot both be specified");
        }
        if by_interval && self.interval.0 <= 0 {
            return Err("Interval must be > 0 for Script, HTTP, or TCP checks");
        }
        if by_interval && self.is_alias() {
            return Err("Interval cannot be set for Alias checks");
        }
        if self.is_alias() && self.ttl.0 > 0 {
            return Err("TTL must be not be set for Alias checks");
        }
        if !by_interval && !self.is_alias() && self.ttl.0 <= 0 {
            return Err("TTL must be > 0 for TTL checks");
        }
        if self.output_max_size < 0 {
            return Err("MaxOutputMaxSize must be positive");
        }
        if self.failures_before_warning > self.failures_before_critical
            && self.failures_before_critical > 0
        {
            return Err("FailuresBeforeWarning can't be higher than FailuresBeforeCritical");
        }
        Ok(())
    }
}

/// A check of its own: the body of `/v1/agent/check/register` and `check` in configuration files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "")]
pub struct CheckDefinition {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Name")]
    pub name: String,
    #[serde(rename = "Notes")]
    pub notes: String,
    #[serde(rename = "ServiceID", alias = "service_id")]
    pub service_id: String,
    #[serde(rename = "Token")]
    pub token: String,
    /// `passing`, `warning`, `critical`, or empty for critical.
    #[serde(rename = "Status")]
    pub status: String,
    #[serde(rename = "ScriptArgs", alias = "args", alias = "script_args")]
    pub script_args: List<String>,
    #[serde(rename = "HTTP")]
    pub http: String,
    #[serde(rename = "Header")]
    pub header: Map<List<String>>,
    #[serde(rename = "Method")]
    pub method: String,
    #[serde(rename = "Body")]
    pub body: String,
    #[serde(rename = "DisableRedirects", alias = "disable_redirects")]
    pub disable_redirects: bool,
    #[serde(rename = "TCP")]
    pub tcp: String,
    #[serde(rename = "TCPUseTLS", alias = "tcp_use_tls")]
    pub tcp_use_tls: bool,
    #[serde(rename = "UDP")]
    pub udp: String,
    #[serde(rename = "Interval")]
    pub interval: GoDuration,
    #[serde(rename = "AliasNode")]
    pub alias_node: String,
    #[serde(rename = "AliasService")]
    pub alias_service: String,
    #[serde(rename = "DockerContainerID", alias = "docker_container_id")]
    pub docker_container_id: String,
    #[serde(rename = "Shell")]
    pub shell: String,
    #[serde(rename = "GRPC")]
    pub grpc: String,
    #[serde(rename = "GRPCUseTLS", alias = "grpc_use_tls")]
    pub grpc_use_tls: bool,
    #[serde(rename = "H2PING")]
    pub h2ping: String,
    #[serde(rename = "H2PingUseTLS", alias = "h2ping_use_tls")]
    pub h2ping_use_tls: Option<bool>,
    #[serde(rename = "OSService")]
    pub os_service: String,
    #[serde(rename = "TLSServerName", alias = "tls_server_name")]
    pub tls_server_name: String,
    #[serde(rename = "TLSSkipVerify", alias = "tls_skip_verify")]
    pub tls_skip_verify: bool,
    #[serde(rename = "Timeout")]
    pub timeout: GoDuration,
    #[serde(rename = "TTL")]
    pub ttl: GoDuration,
    #[serde(rename = "SuccessBeforePassing")]
    pub success_before_passing: i64,
    #[serde(rename = "FailuresBeforeWarning")]
    pub failures_before_warning: i64,
    #[serde(rename = "FailuresBeforeCritical")]
    pub failures_before_critical: i64,
    #[serde(
        rename = "DeregisterCriticalServiceAfter",
        alias = "deregister_critical_service_after"
    )]
    pub deregister_critical_service_after: GoDuration,
    #[serde(rename = "OutputMaxSize")]
    pub output_max_size: i64,
}

impl CheckDefinition {
    /// What the agent runs and keeps of it. The check's ID is the given one, else the name.
    pub fn check_type(&self) -> CheckType {
        CheckType {
            check_id: self.id.clone(),
            name: self.name.clone(),
            status: self.status.clone(),
            notes: self.notes.clone(),
            script_args: self.script_args.clone(),
            http: self.http.clone(),
            header: self.header.clone(),
            method: self.method.clone(),
            body: self.body.clone(),
            disable_redirects: self.disable_redirects,
            tcp: self.tcp.clone(),
            tcp_use_tls: self.tcp_use_tls,
            udp: self.udp.clone(),
            interval: self.interval,
            alias_node: self.alias_node.clone(),
            alias_service: self.alias_service.clone(),
            docker_container_id: self.docker_container_id.clone(),
            shell: self.shell.clone(),
            grpc: self.grpc.clone(),
            grpc_use_tls: self.grpc_use_tls,
            h2ping: self.h2ping.clone(),
            h2ping_use_tls: self.h2ping_use_tls,
            os_service: self.os_service.clone(),
            tls_server_name: self.tls_server_name.clone(),
            tls_skip_verify: self.tls_skip_verify,
            timeout: self.timeout,
            ttl: self.ttl,
            success_before_passing: self.success_before_passing,
            failures_before_warning: self.failures_before_warning,
            failures_before_critical: self.failures_before_critical,
            proxy_http: String::new(),
            proxy_grpc: String::new(),
            deregister_critical_service_after: self.deregister_critical_service_after,
            output_max_size: self.output_max_size,
            service_id: String::new(),
        }
    }

    /// The ID under which it is registered: the given one, else the name.
    pub fn effective_id(&self) -> &str {
        if self.id.is_empty() {
            &self.name
        } else {
            &self.id
        }
    }
}

/// How a service takes part in Connect, as written by the user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "?")]
pub struct ServiceConnectDefinition {
    #[serde(rename = "Native")]
    pub native: bool,
    #[serde(rename = "SidecarService", alias = "sidecar_service")]
    pub sidecar_service: Option<Box<ServiceDefinition>>,
}

/// A service as written by the user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "")]
pub struct ServiceDefinition {
    #[serde(rename = "Kind", serialize_with = "omitempty")]
    pub kind: String,
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Name")]
    pub name: String,
    #[serde(rename = "Tags")]
    pub tags: List<String>,
    #[serde(rename = "Address")]
    pub address: String,
    #[serde(rename = "TaggedAddresses", alias = "tagged_addresses")]
    pub tagged_addresses: Map<ServiceAddress>,
    #[serde(rename = "Meta")]
    pub meta: Map<String>,
    #[serde(rename = "Port")]
    pub port: i64,
    #[serde(rename = "Check")]
    pub check: Option<CheckType>,
    #[serde(rename = "Checks")]
    pub checks: List<CheckType>,
    #[serde(rename = "Weights")]
    pub weights: Option<Weights>,
    #[serde(rename = "Token")]
    pub token: String,
    #[serde(rename = "EnableTagOverride", alias = "enable_tag_override")]
    pub enable_tag_override: bool,
    #[serde(rename = "Proxy")]
    pub proxy: Option<ConnectProxyConfig>,
    #[serde(rename = "Connect")]
    pub connect: Option<ServiceConnectDefinition>,
}

impl ServiceDefinition {
    /// The service as the agent keeps it: ID and weights filled in, addresses not yet expanded.
    pub fn node_service(&self) -> NodeService {
        let id = if self.id.is_empty() {
            &self.name
        } else {
            &self.id
        };
        let native = self.connect.as_ref().is_some_and(|connect| connect.native);
        NodeService {
            kind: self.kind.clone(),
            id: id.clone(),
            service: self.name.clone(),
            tags: self.tags.clone(),
            address: self.address.clone(),
            tagged_addresses: self.tagged_addresses.clone(),
            meta: self.meta.clone(),
            port: self.port,
            weights: Some(self.weights.clone().unwrap_or(Weights {
                passing: 1,
                warning: 1,
            })),
            enable_tag_override: self.enable_tag_override,
            proxy: self.proxy.clone().unwrap_or_default(),
            connect: ServiceConnect {
                native,
                sidecar_service: None,
            },
            ..NodeService::default()
        }
    }

    /// Every check of the service in the order in which they are numbered: `Check` first, if it says anything.
    ///
    /// # Errors
    /// The sentence of the first check that cannot be run.
    pub fn check_types(&self) -> Result<Vec<CheckType>, &'static str> {
        let single = self.check.iter().filter(|check| !check.is_empty());
        let all: Vec<CheckType> = single
            .chain(self.checks.iter().flatten())
            .cloned()
            .collect();
        all.iter().try_for_each(CheckType::validate)?;
        Ok(all)
    }
}

/// Checks the metadata of a node or a service; `reserved` allows the prefix that is Consul's own.
///
/// # Errors
/// Consul's sentence, without any prefix.
pub fn validate_meta(meta: &BTreeMap<String, String>, reserved: bool) -> Result<(), String> {
    if meta.len() > META_MAX_PAIRS {
        return Err(format!(
            "Node metadata cannot contain more than {META_MAX_PAIRS} key/value pairs"
        ));
    }
    for (key, value) in meta {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let fault = if key.is_empty() {
            "Key cannot be blank".to_owned()
        } else if !key.bytes().all(allowed) {
            "Key contains invalid characters".to_owned()
        } else if key.len() > META_KEY_MAX {
            format!("Key is too long (limit: {META_KEY_MAX} characters)")
        } else if key.starts_with(META_RESERVED_PREFIX) && !reserved {
            format!("Key prefix '{META_RESERVED_PREFIX}' is reserved for internal use")
        } else if value.len() > META_VALUE_MAX {
            format!("Value is too long (limit: {META_VALUE_MAX} characters)")
        } else {
            continue;
        };
        return Err(format!(
            "Couldn't load metadata pair ('{key}', '{value}'): {fault}"
        ));
    }
    Ok(())
}

/// Checks the weights of a service.
///
/// # Errors
/// Consul's sentence, without any prefix.
pub fn validate_weights(weights: &Weights) -> Result<(), &'static str> {
    if weights.passing < 1 {
        return Err("Passing must be greater than 0");
    }
    if weights.warning < 0 {
        return Err("Warning must be greater or equal than 0");
    }
    if weights.passing > 65535 || weights.warning > 65535 {
        return Err("DNS Weight must be between 0 and 65535");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: i64) -> GoDuration {
        GoDuration::from_secs(n)
    }

    #[test]
    fn check_rules() {
        let http = CheckType {
            http: "http://x".into(),
            ..CheckType::default()
        };
        let ttl = CheckType {
            ttl: seconds(10),
            ..CheckType::default()
        };
        let alias = CheckType {
            alias_node: "n".into(),
            ..CheckType::default()
        };
        let cases = [
            (
                CheckType {
                    interval: seconds(1),
                    ..http.clone()
                },
                Ok(()),
            ),
            (
                http.clone(),
                Err("Interval must be > 0 for Script, HTTP, or TCP checks"),
            ),
            (ttl.clone(), Ok(())),
            (
                CheckType {
                    interval: seconds(1),
                    ..ttl
                },
                Err("Interval and TTL cannot both be specified"),
            ),
            (alias.clone(), Ok(())),
            (
                CheckType {
                    interval: seconds(1),
                    ..alias.clone()
                },
                Ok(()),
            ),
            (
                CheckType {
                    interval: seconds(1),
                    alias_node: "n".into(),
                    ..http
                },
                Err("Interval cannot be set for Alias checks"),
            ),
            (
                CheckType {
                    ttl: seconds(1),
                    ..alias.clone()
                },
                Err("TTL must be not be set for Alias checks"),
            ),
            (
                CheckType {
                    output_max_size: -1,
                    ..alias
                },
                Err("MaxOutputMaxSize must be positive"),
            ),
            (CheckType::default(), Err("TTL must be > 0 for TTL checks")),
            (
                CheckType {
                    docker_container_id: "x".into(),
                    interval: seconds(1),
                    ..CheckType::default()
                },
                Err("TTL must be > 0 for TTL checks"),
            ),
        ];
        for (check, want) in cases {
            assert_eq!(check.validate(), want, "{check:?}");
        }
    }

    #[test]
    fn meta_rules() {
        let long = "x".repeat(513);
        for (key, value, want) in [
            ("a-B_9", "x", None),
            (
                "",
                "x",
                Some("Couldn't load metadata pair ('', 'x'): Key cannot be blank"),
            ),
            (
                "a b",
                "x",
                Some("Couldn't load metadata pair ('a b', 'x'): Key contains invalid characters"),
            ),
            (
                "consul-x",
                "x",
                Some(
                    "Couldn't load metadata pair ('consul-x', 'x'): Key prefix 'consul-' is reserved for internal use",
                ),
            ),
        ] {
            let meta = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            assert_eq!(validate_meta(&meta, false).err().as_deref(), want);
        }
        let meta = BTreeMap::from([("a".to_owned(), long)]);
        assert!(
            validate_meta(&meta, false)
                .is_err_and(|text| text.ends_with("(limit: 512 characters)"))
        );
        let many = (0..65).map(|n| (n.to_string(), String::new())).collect();
        assert!(validate_meta(&many, false).is_err());
    }

    #[test]
    fn a_service_lists_its_single_check_first() {
        let check = |name: &str| CheckType {
            name: name.into(),
            ttl: seconds(1),
            ..CheckType::default()
        };
        let service = ServiceDefinition {
            name: "web".into(),
            check: Some(check("one")),
            checks: Some(vec![check("two")]),
            ..ServiceDefinition::default()
        };
        let names: Vec<String> = service
            .check_types()
            .expect("valid checks")
            .into_iter()
            .map(|c| c.name)
            .collect();
        assert_eq!(names, ["one", "two"]);
        assert_eq!(service.node_service().id, "web");
    }
}
