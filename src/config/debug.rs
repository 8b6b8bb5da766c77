//! The running configuration as `/v1/agent/self` shows it in `DebugConfig`: Consul's names, durations and addresses as text,
//! secrets hidden.
//!
//! Source: `/v1/agent/self` of Consul 1.8.7, member by member.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::runtime::{Config, Gossip, ListenAddr, StringMap};
use crate::sorted::IntoMap;
use crate::structs::go::{Any, GoDuration, List, Map};
use crate::structs::{
    CheckDefinition, CheckType, ConnectProxyConfig, ServiceConnectDefinition, ServiceDefinition,
    Upstream, Weights,
};

/// What stands in the place of a secret.
const HIDDEN: &str = "hidden";
/// Numbers of TLS cipher suites by Go's names.
const CIPHER_SUITES: &[(&str, i64)] = &[
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", 0xc009),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", 0xc00a),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", 0xc013),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", 0xc014),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", 0xc023),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", 0xc027),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 0xc030),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xc02c),
];

/// A map under construction.
type Object = BTreeMap<String, Any>;

/// What can be shown.
trait Show {
    fn show(self) -> Any;
}

impl Show for bool {
    fn show(self) -> Any {
        Any::Bool(self)
    }
}

impl Show for i64 {
    fn show(self) -> Any {
        Any::Int(self)
    }
}

impl Show for u64 {
    fn show(self) -> Any {
        i64::try_from(self).map_or(Any::Uint(self), Any::Int)
    }
}

impl Show for u32 {
    fn show(self) -> Any {
        Any::Int(i64::from(self))
    }
}

impl Show for u16 {
    fn show(self) -> Any {
        Any::Int(i64::from(self))
    }
}

/// A port: -1 is off.
impl Show for Option<u16> {
    fn show(self) -> Any {
        Any::Int(self.map_or(-1, i64::from))
    }
}

impl Show for f64 {
    fn show(self) -> Any {
        Any::Float(self)
    }
}

impl Show for &str {
    fn show(self) -> Any {
        Any::String(self.to_owned())
    }
}

impl Show for &String {
    fn show(self) -> Any {
        Any::String(self.clone())
    }
}

impl Show for String {
    fn show(self) -> Any {
        Any::String(self)
    }
}

impl Show for Duration {
    fn show(self) -> Any {
        Any::String(GoDuration::from(self).to_string())
    }
}

impl Show for GoDuration {
    fn show(self) -> Any {
        Any::String(self.to_string())
    }
}

impl Show for &[String] {
    fn show(self) -> Any {
        Any::Array(self.iter().map(Show::show).collect())
    }
}

impl Show for &Vec<String> {
    fn show(self) -> Any {
        self.as_slice().show()
    }
}

impl Show for &StringMap {
    fn show(self) -> Any {
        Any::Map(
            self.iter()
                .map(|(key, value)| (key.clone(), value.show()))
                .into_map(),
        )
    }
}

impl Show for SocketAddr {
    fn show(self) -> Any {
        Any::String(format!("tcp://{self}"))
    }
}

impl Show for Option<SocketAddr> {
    fn show(self) -> Any {
        self.map_or_else(|| "".show(), Show::show)
    }
}

impl Show for &ListenAddr {
    fn show(self) -> Any {
        match self {
            ListenAddr::Ip(addr) => addr.show(),
            ListenAddr::Unix(path) => Any::String(format!("unix://{}", path.display())),
        }
    }
}

impl Show for &Vec<ListenAddr> {
    fn show(self) -> Any {
        Any::Array(self.iter().map(Show::show).collect())
    }
}

impl Show for &List<String> {
    fn show(self) -> Any {
        self.as_deref().unwrap_or_default().show()
    }
}

impl Show for Any {
    fn show(self) -> Any {
        self
    }
}

/// An object from names and values.
macro_rules! object {
    ($($name:literal: $value:expr),* $(,)?) => {
        Object::from([$(($name.to_owned(), Show::show($value))),*])
    };
}

fn empty() -> Any {
    Any::Map(Object::new())
}

fn nothing() -> Any {
    Any::Array(Vec::new())
}

fn cidrs(list: &[(std::net::IpAddr, u8)]) -> Any {
    Any::Array(
        list.iter()
            .map(|(ip, length)| format!("{ip}/{length}").show())
            .collect(),
    )
}

/// The configuration by Consul's names. `node_id` is the ID the agent runs under, `version` the one it claims.
pub fn debug_config(config: &Config, node_id: &str, version: &str) -> BTreeMap<String, Any> {
    let mut all = identity(config, node_id, version);
    for part in [
        addresses(config),
        serving(config),
        registered(config),
        cluster(config),
        timing(config),
        gossip("LAN", &config.gossip_lan),
        gossip("WAN", &config.gossip_wan),
        security(config),
        dns(config),
    ] {
        all.extend(part);
    }
    all
}

fn identity(config: &Config, node_id: &str, version: &str) -> Object {
    object! {
        "Bootstrap": config.bootstrap,
        "BootstrapExpect": config.bootstrap_expect,
        "DataDir": &config.data_dir,
        "Datacenter": &config.datacenter,
        "DevMode": config.dev_mode,
        "DisableHostNodeID": config.disable_host_node_id,
        "EnterpriseRuntimeConfig": empty(),
        "NodeID": node_id,
        "NodeMeta": &config.node_meta,
        "NodeName": &config.node_name,
        "NonVotingServer": config.non_voting_server,
        "PrimaryDatacenter": &config.primary_datacenter,
        "RPCProtocol": config.rpc_protocol,
        "Revision": "",
        "ServerMode": config.server,
        "TranslateWANAddrs": config.translate_wan_addrs,
        "Version": version,
        "VersionPrerelease": "",
    }
}

fn addresses(config: &Config) -> Object {
    let ips: Vec<String> = config
        .client_addrs
        .iter()
        .map(ToString::to_string)
        .collect();
    let dns = config
        .dns_addrs
        .iter()
        .flat_map(|addr| [format!("tcp://{addr}"), format!("udp://{addr}")]);
    object! {
        "AdvertiseAddrLAN": config.advertise_addr_lan.to_string(),
        "AdvertiseAddrWAN": config.advertise_addr_wan.to_string(),
        "BindAddr": config.bind_addr.to_string(),
        "ClientAddrs": &ips,
        "ConnectSidecarMaxPort": config.ports.sidecar_max,
        "ConnectSidecarMinPort": config.ports.sidecar_min,
        "DNSAddrs": &dns.collect::<Vec<String>>(),
        "DNSPort": config.ports.dns,
        "ExposeMaxPort": config.ports.expose_max,
        "ExposeMinPort": config.ports.expose_min,
        "GRPCAddrs": &config.grpc_addrs,
        "GRPCPort": config.ports.grpc,
        "HTTPAddrs": &config.http_addrs,
        "HTTPPort": config.ports.http,
        "HTTPSAddrs": &config.https_addrs,
        "HTTPSPort": config.ports.https,
        "RPCAdvertiseAddr": config.rpc_advertise_addr,
        "RPCBindAddr": config.rpc_bind_addr,
        "SerfAdvertiseAddrLAN": config.serf_advertise_addr_lan,
        "SerfAdvertiseAddrWAN": config.serf_advertise_addr_wan,
        "SerfAllowedCIDRsLAN": cidrs(&config.serf_allowed_cidrs_lan),
        "SerfAllowedCIDRsWAN": cidrs(&config.serf_allowed_cidrs_wan),
        "SerfBindAddrLAN": config.serf_bind_addr_lan,
        "SerfBindAddrWAN": config.serf_bind_addr_wan,
        "SerfPortLAN": config.ports.serf_lan,
        "SerfPortWAN": config.ports.serf_wan,
        "ServerPort": config.ports.server,
        "TaggedAddresses": &config.tagged_addresses,
        "UnixSocketGroup": &config.unix_sockets.group,
        "UnixSocketMode": &config.unix_sockets.mode,
        "UnixSocketUser": &config.unix_sockets.user,
    }
}

fn serving(config: &Config) -> Object {
    let cache = object! {
        "EntryFetchMaxBurst": config.cache_entry_fetch_max_burst,
        "EntryFetchRate": config.cache_entry_fetch_rate,
    };
    let logging = object! {
        "EnableSyslog": config.log.syslog,
        "LogFilePath": &config.log.file,
        "LogJSON": config.log.json,
        "LogLevel": &config.log.level,
        "LogRotateBytes": config.log.rotate_bytes,
        "LogRotateDuration": config.log.rotate_duration,
        "LogRotateMaxFiles": config.log.rotate_max_files,
        "Name": "",
        "SyslogFacility": &config.log.syslog_facility,
    };
    object! {
        "AllowWriteHTTPFrom": cidrs(&config.http.allow_write_http_from),
        "Cache": Any::Map(cache),
        "DefaultQueryTime": config.default_query_time,
        "DisableHTTPUnprintableCharFilter": config.disable_http_unprintable_char_filter,
        "DiscoveryMaxStale": config.discovery_max_stale,
        "EnableDebug": config.enable_debug,
        "EnableUI": config.ui.enabled,
        "HTTPBlockEndpoints": &config.http.block_endpoints,
        "HTTPMaxConnsPerClient": config.limits.http_max_conns_per_client,
        "HTTPResponseHeaders": &config.http.response_headers,
        "HTTPSHandshakeTimeout": config.limits.https_handshake_timeout,
        "HTTPUseCache": config.http.use_cache,
        "KVMaxValueSize": config.limits.kv_max_value_size,
        "Logging": Any::Map(logging),
        "MaxQueryTime": config.max_query_time,
        "PidFile": &config.pid_file,
        "RPCHandshakeTimeout": config.limits.rpc_handshake_timeout,
        "RPCMaxBurst": config.limits.rpc_max_burst,
        "RPCMaxConnsPerClient": config.limits.rpc_max_conns_per_client,
        "RPCRateLimit": config.limits.rpc_rate,
        "Telemetry": telemetry(config),
        "TxnMaxReqLen": config.limits.txn_max_req_len,
        "UIContentPath": &config.ui.content_path,
        "UIDir": &config.ui.dir,
    }
}

fn telemetry(config: &Config) -> Any {
    let telemetry = &config.telemetry;
    let circonus = |key: &str| {
        telemetry
            .circonus
            .get(key)
            .map_or("", String::as_str)
            .to_owned()
    };
    Any::Map(object! {
        "AllowedPrefixes": &telemetry.allowed_prefixes,
        "BlockedPrefixes": &telemetry.blocked_prefixes,
        "CirconusAPIApp": circonus("api_app"),
        "CirconusAPIToken": HIDDEN,
        "CirconusAPIURL": circonus("api_url"),
        "CirconusBrokerID": circonus("broker_id"),
        "CirconusBrokerSelectTag": circonus("broker_select_tag"),
        "CirconusCheckDisplayName": circonus("check_display_name"),
        "CirconusCheckForceMetricActivation": circonus("check_force_metric_activation"),
        "CirconusCheckID": circonus("check_id"),
        "CirconusCheckInstanceID": circonus("check_instance_id"),
        "CirconusCheckSearchTag": circonus("check_search_tag"),
        "CirconusCheckTags": circonus("check_tags"),
        "CirconusSubmissionInterval": circonus("submission_interval"),
        "CirconusSubmissionURL": circonus("submission_url"),
        "Disable": false,
        "DisableHostname": telemetry.disable_hostname,
        "DogstatsdAddr": &telemetry.dogstatsd_addr,
        "DogstatsdTags": &telemetry.dogstatsd_tags,
        "FilterDefault": telemetry.filter_default,
        "MetricsPrefix": &telemetry.metrics_prefix,
        "PrometheusRetentionTime": telemetry.prometheus_retention_time,
        "StatsdAddr": &telemetry.statsd_addr,
        "StatsiteAddr": &telemetry.statsite_addr,
    })
}

fn registered(config: &Config) -> Object {
    let entries = config
        .config_entries_bootstrap
        .iter()
        .map(|entry| Any::Map(entry.clone()));
    object! {
        "AEInterval": config.ae_interval,
        "CheckDeregisterIntervalMin": config.check_deregister_interval_min,
        "CheckOutputMaxSize": config.check_output_max_size,
        "CheckReapInterval": config.check_reap_interval,
        "CheckUpdateInterval": config.check_update_interval,
        "Checks": Any::Array(config.checks.iter().map(check).collect()),
        "ConfigEntryBootstrap": Any::Array(entries.collect()),
        "DiscardCheckOutput": config.discard_check_output,
        "EnableAgentTLSForChecks": config.enable_agent_tls_for_checks,
        "EnableCentralServiceConfig": config.enable_central_service_config,
        "EnableLocalScriptChecks": config.enable_local_script_checks,
        "EnableRemoteScriptChecks": config.enable_remote_script_checks,
        "Services": Any::Array(config.services.iter().map(service).collect()),
        // Their arguments may hold secrets.
        "Watches": Any::Array(config.watches.iter().map(|_| empty()).collect()),
    }
}

fn cluster(config: &Config) -> Object {
    let segments = object! { "SegmentLimit": 64_i64, "SegmentName": &config.segment, "SegmentNameLimit": 64_i64 };
    let autopilot = &config.autopilot;
    let mut all = object! {
        "AutopilotCleanupDeadServers": autopilot.cleanup_dead_servers,
        "AutopilotDisableUpgradeMigration": autopilot.disable_upgrade_migration,
        "AutopilotLastContactThreshold": autopilot.last_contact_threshold,
        "AutopilotMaxTrailingLogs": autopilot.max_trailing_logs,
        "AutopilotMinQuorum": autopilot.min_quorum,
        "AutopilotRedundancyZoneTag": &autopilot.redundancy_zone_tag,
        "AutopilotServerStabilizationTime": autopilot.server_stabilization_time,
        "AutopilotUpgradeVersionTag": &autopilot.upgrade_version_tag,
        "DisableAnonymousSignature": config.disable_anonymous_signature,
        "DisableCoordinates": config.disable_coordinates,
        "DisableRemoteExec": config.disable_remote_exec,
        "DisableUpdateCheck": config.disable_update_check,
        "LeaveOnTerm": config.leave_on_terminate,
        "PrimaryGateways": &config.primary_gateways,
        "PrimaryGatewaysInterval": config.primary_gateways_interval,
        "RaftProtocol": config.raft.protocol,
        "RaftSnapshotInterval": config.raft.snapshot_interval,
        "RaftSnapshotThreshold": config.raft.snapshot_threshold,
        "RaftTrailingLogs": config.raft.trailing_logs,
        "RejoinAfterLeave": config.rejoin_after_leave,
        "RetryJoinIntervalLAN": config.join_lan.retry_interval,
        "RetryJoinIntervalWAN": config.join_wan.retry_interval,
        "RetryJoinLAN": &config.join_lan.retry_join,
        "RetryJoinMaxAttemptsLAN": config.join_lan.retry_max,
        "RetryJoinMaxAttemptsWAN": config.join_wan.retry_max,
        "RetryJoinWAN": &config.join_wan.retry_join,
        "Segments": nothing(),
        "SkipLeaveOnInt": config.skip_leave_on_interrupt,
        "StartJoinAddrsLAN": &config.join_lan.start_join,
        "StartJoinAddrsWAN": &config.join_wan.start_join,
    };
    all.extend(segments);
    all
}

fn timing(config: &Config) -> Object {
    let (update_period, health_interval) = if config.dev_mode {
        (Duration::from_millis(100), Duration::from_millis(10))
    } else {
        (Duration::from_secs(5), Duration::from_secs(2))
    };
    object! {
        "ConsulCoordinateUpdateBatchSize": 128_i64,
        "ConsulCoordinateUpdateMaxBatches": 5_i64,
        "ConsulCoordinateUpdatePeriod": update_period,
        "ConsulRaftElectionTimeout": config.raft.election_timeout,
        "ConsulRaftHeartbeatTimeout": config.raft.heartbeat_timeout,
        "ConsulRaftLeaderLeaseTimeout": config.raft.leader_lease_timeout,
        "ConsulServerHealthInterval": health_interval,
        "LeaveDrainTime": config.leave_drain_time,
        "RPCHoldTimeout": config.rpc_hold_timeout,
        "ReconnectTimeoutLAN": config.reconnect_timeout_lan,
        "ReconnectTimeoutWAN": config.reconnect_timeout_wan,
        "SessionTTLMin": config.session_ttl_min,
        "SyncCoordinateIntervalMin": config.sync_coordinate_interval_min,
        "SyncCoordinateRateTarget": config.sync_coordinate_rate_target,
    }
}

fn gossip(net: &str, gossip: &Gossip) -> Object {
    let values = object! {
        "GossipInterval": gossip.gossip_interval,
        "GossipNodes": gossip.gossip_nodes,
        "ProbeInterval": gossip.probe_interval,
        "ProbeTimeout": gossip.probe_timeout,
        "RetransmitMult": gossip.retransmit_mult,
        "SuspicionMult": gossip.suspicion_mult,
    };
    values
        .into_iter()
        .map(|(name, value)| (format!("Gossip{net}{name}"), value))
        .into_map()
}

fn security(config: &Config) -> Object {
    let (acl, tls) = (&config.acl, &config.tls);
    let suites = tls
        .cipher_suites
        .iter()
        .filter_map(|name| CIPHER_SUITES.iter().find(|(known, _)| known == name));
    let san = config.auto_encrypt.ip_san.iter().map(|ip| {
        let octets = match ip {
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(ip) => ip.octets(),
        };
        Any::Array(
            octets
                .iter()
                .map(|octet| Any::Int(i64::from(*octet)))
                .collect(),
        )
    });
    let mut all = object! {
        "AutoConfig": auto_config(config),
        "AutoEncryptAllowTLS": config.auto_encrypt.allow_tls,
        "AutoEncryptDNSSAN": &config.auto_encrypt.dns_san,
        "AutoEncryptIPSAN": Any::Array(san.collect()),
        "AutoEncryptTLS": config.auto_encrypt.tls,
        "CAFile": &tls.ca_file,
        "CAPath": &tls.ca_path,
        "CertFile": &tls.cert_file,
        "ConnectCAConfig": Any::Map(config.connect.ca_config.clone()),
        "ConnectCAProvider": &config.connect.ca_provider,
        "ConnectEnabled": config.connect.enabled,
        "ConnectMeshGatewayWANFederationEnabled": config.connect.mesh_gateway_wan_federation,
        "ConnectTestCALeafRootChangeSpread": Duration::ZERO,
        "DisableKeyringFile": config.disable_keyring_file,
        "EncryptKey": HIDDEN,
        "EncryptVerifyIncoming": config.encrypt_verify_incoming,
        "EncryptVerifyOutgoing": config.encrypt_verify_outgoing,
        "KeyFile": HIDDEN,
        "ServerName": &tls.server_name,
        "TLSCipherSuites": Any::Array(suites.map(|(_, number)| Any::Int(*number)).collect()),
        "TLSMinVersion": &tls.min_version,
        "TLSPreferServerCipherSuites": tls.prefer_server_cipher_suites,
        "VerifyIncoming": tls.verify_incoming,
        "VerifyIncomingHTTPS": tls.verify_incoming_https,
        "VerifyIncomingRPC": tls.verify_incoming_rpc,
        "VerifyOutgoing": tls.verify_outgoing,
        "VerifyServerHostname": tls.verify_server_hostname,
    };
    all.extend(object! {
        "ACLAgentMasterToken": HIDDEN,
        "ACLAgentToken": HIDDEN,
        "ACLDatacenter": &config.primary_datacenter,
        "ACLDefaultPolicy": &acl.default_policy,
        "ACLDisabledTTL": acl.disabled_ttl,
        "ACLDownPolicy": &acl.down_policy,
        "ACLEnableKeyListPolicy": acl.enable_key_list_policy,
        "ACLEnableTokenPersistence": acl.token_persistence,
        "ACLMasterToken": HIDDEN,
        "ACLPolicyTTL": acl.policy_ttl,
        "ACLReplicationToken": HIDDEN,
        "ACLRoleTTL": acl.role_ttl,
        "ACLToken": HIDDEN,
        "ACLTokenReplication": acl.token_replication,
        "ACLTokenTTL": acl.token_ttl,
        "ACLsEnabled": acl.enabled,
    });
    all
}

fn auto_config(config: &Config) -> Any {
    let auto = &config.auto_config;
    let method_config = object! {
        "BoundAudiences": Any::Nil, "BoundIssuer": "", "ClaimMappings": Any::Nil, "ClockSkewLeeway": 0_i64,
        "ExpirationLeeway": 0_i64, "JWKSCACert": "", "JWKSURL": "", "JWTSupportedAlgs": Any::Nil,
        "JWTValidationPubKeys": Any::Nil, "ListClaimMappings": Any::Nil, "NotBeforeLeeway": 0_i64,
        "OIDCDiscoveryCACert": "", "OIDCDiscoveryURL": "",
    };
    let method = object! {
        "ACLAuthMethodEnterpriseFields": empty(),
        "Config": Any::Map(method_config),
        "Description": "",
        "DisplayName": "",
        "EnterpriseMeta": empty(),
        "MaxTokenTTL": Duration::ZERO,
        "Name": "Auto Config Authorizer",
        "RaftIndex": Any::Map(object! { "CreateIndex": 0_i64, "ModifyIndex": 0_i64 }),
        "TokenLocality": "",
        "Type": "jwt",
    };
    let authorizer = object! {
        "AllowReuse": false,
        "AuthMethod": Any::Map(method),
        "ClaimAssertions": nothing(),
        "Enabled": auto.authorization_enabled,
    };
    Any::Map(object! {
        "Authorizer": Any::Map(authorizer),
        "DNSSANs": &auto.dns_sans,
        "Enabled": auto.enabled,
        "IPSANs": &auto.ip_sans,
        "IntroToken": HIDDEN,
        "IntroTokenFile": &auto.intro_token_file,
        "ServerAddresses": &auto.server_addresses,
    })
}

fn dns(config: &Config) -> Object {
    let dns = &config.dns;
    let ttl = dns
        .service_ttl
        .iter()
        .map(|(name, ttl)| (name.clone(), ttl.show()));
    let soa = object! {
        "Expire": dns.soa.expire,
        "Minttl": dns.soa.min_ttl,
        "Refresh": dns.soa.refresh,
        "Retry": dns.soa.retry,
    };
    object! {
        "DNSARecordLimit": dns.a_record_limit,
        "DNSAllowStale": dns.allow_stale,
        "DNSAltDomain": &config.dns_alt_domain,
        "DNSCacheMaxAge": dns.cache_max_age,
        "DNSDisableCompression": dns.disable_compression,
        "DNSDomain": &config.dns_domain,
        "DNSEnableTruncate": dns.enable_truncate,
        "DNSMaxStale": dns.max_stale,
        "DNSNodeMetaTXT": dns.node_meta_txt,
        "DNSNodeTTL": dns.node_ttl,
        "DNSOnlyPassing": dns.only_passing,
        "DNSRecursorTimeout": dns.recursor_timeout,
        "DNSRecursors": &dns.recursors,
        "DNSSOA": Any::Map(soa),
        "DNSServiceTTL": Any::Map(ttl.into_map()),
        "DNSUDPAnswerLimit": dns.udp_answer_limit,
        "DNSUseCache": dns.use_cache,
    }
}

fn header(header: &Map<List<String>>) -> Any {
    let entries = header
        .iter()
        .flatten()
        .map(|(name, values)| (name.clone(), values.show()));
    Any::Map(entries.into_map())
}

/// What services' checks and checks of their own have in common.
fn check_type(check: &CheckType) -> Object {
    object! {
        "AliasNode": &check.alias_node,
        "AliasService": &check.alias_service,
        "Body": &check.body,
        "DeregisterCriticalServiceAfter": check.deregister_critical_service_after,
        "DockerContainerID": &check.docker_container_id,
        "FailuresBeforeCritical": check.failures_before_critical,
        "GRPC": &check.grpc,
        "GRPCUseTLS": check.grpc_use_tls,
        "HTTP": &check.http,
        "Header": header(&check.header),
        "Interval": check.interval,
        "Method": &check.method,
        "Name": &check.name,
        "Notes": &check.notes,
        "OutputMaxSize": check.output_max_size,
        "ScriptArgs": &check.script_args,
        "Shell": &check.shell,
        "Status": &check.status,
        "SuccessBeforePassing": check.success_before_passing,
        "TCP": &check.tcp,
        "TLSSkipVerify": check.tls_skip_verify,
        "TTL": check.ttl,
        "Timeout": check.timeout,
    }
}

fn check(check: &CheckDefinition) -> Any {
    let mut all = check_type(&check.check_type());
    all.extend(object! {
        "EnterpriseMeta": empty(),
        "ID": &check.id,
        "ServiceID": &check.service_id,
        "Token": HIDDEN,
    });
    Any::Map(all)
}

fn service_check(check: &CheckType) -> Any {
    let mut all = check_type(check);
    all.extend(object! {
        "CheckID": &check.check_id,
        "ProxyGRPC": &check.proxy_grpc,
        "ProxyHTTP": &check.proxy_http,
    });
    Any::Map(all)
}

fn service(service: &ServiceDefinition) -> Any {
    let weights = service.weights.clone().unwrap_or(Weights {
        passing: 1,
        warning: 1,
    });
    let tagged = service
        .tagged_addresses
        .iter()
        .flatten()
        .map(|(tag, address)| {
            (
                tag.clone(),
                Any::Map(object! { "Address": &address.address, "Port": address.port }),
            )
        });
    let checks = service.checks.iter().flatten().map(service_check);
    let meta = service.meta.clone().unwrap_or_default();
    Any::Map(object! {
        "Address": &service.address,
        "Check": service_check(service.check.as_ref().unwrap_or(&CheckType::default())),
        "Checks": Any::Array(checks.collect()),
        "Connect": service.connect.as_ref().map_or(Any::Nil, connect),
        "EnableTagOverride": service.enable_tag_override,
        "EnterpriseMeta": empty(),
        "ID": &service.id,
        "Kind": &service.kind,
        "Meta": &meta,
        "Name": &service.name,
        "Port": service.port,
        "Proxy": service.proxy.as_ref().map_or(Any::Nil, proxy),
        "TaggedAddresses": Any::Map(tagged.into_map()),
        "Tags": &service.tags,
        "Token": HIDDEN,
        "Weights": Any::Map(object! { "Passing": weights.passing, "Warning": weights.warning }),
    })
}

fn connect(connect: &ServiceConnectDefinition) -> Any {
    Any::Map(object! {
        "Native": connect.native,
        "SidecarService": connect.sidecar_service.as_deref().map_or(Any::Nil, service),
    })
}

fn upstream(upstream: &Upstream) -> Any {
    Any::Map(object! {
        "Config": Any::Map(upstream.config.clone().unwrap_or_default()),
        "Datacenter": &upstream.datacenter,
        "DestinationName": &upstream.destination_name,
        "DestinationNamespace": &upstream.destination_namespace,
        "DestinationType": &upstream.destination_type,
        "IngressHosts": &upstream.ingress_hosts,
        "LocalBindAddress": &upstream.local_bind_address,
        "LocalBindPort": upstream.local_bind_port,
        "MeshGateway": Any::Map(object! { "Mode": &upstream.mesh_gateway.mode }),
    })
}

fn proxy(proxy: &ConnectProxyConfig) -> Any {
    let paths = proxy.expose.paths.iter().flatten().map(|path| {
        Any::Map(object! {
            "ListenerPort": path.listener_port,
            "LocalPathPort": path.local_path_port,
            "ParsedFromCheck": path.parsed_from_check,
            "Path": &path.path,
            "Protocol": &path.protocol,
        })
    });
    let expose = object! { "Checks": proxy.expose.checks, "Paths": Any::Array(paths.collect()) };
    let upstreams = proxy.upstreams.iter().flatten().map(upstream);
    Any::Map(object! {
        "Config": Any::Map(proxy.config.clone().unwrap_or_default()),
        "DestinationServiceID": &proxy.destination_service_id,
        "DestinationServiceName": &proxy.destination_service_name,
        "Expose": Any::Map(expose),
        "LocalServiceAddress": &proxy.local_service_address,
        "LocalServicePort": proxy.local_service_port,
        "MeshGateway": Any::Map(object! { "Mode": &proxy.mesh_gateway.mode }),
        "Upstreams": Any::Array(upstreams.collect()),
    })
}
