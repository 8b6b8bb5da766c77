//! `DebugConfig` of `/v1/agent/self`: the configuration under Consul's internal names, secrets hidden.
//!
//! Holds true: no token, key or password leaves the agent here; durations are Go's texts, addresses
//! carry their network.
//! Source: `docs/reference/http-2.md` section 5.1; names recorded from Consul 1.8.7.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use crate::config::{Config, Gossip, ListenAddr};
use crate::structs::go::{Any, GoDuration};

type Debug = BTreeMap<&'static str, Any>;

/// What stands for a secret.
const HIDDEN: &str = "hidden";

fn text(value: impl Display) -> Any {
    Any::String(value.to_string())
}

fn span(value: Duration) -> Any {
    text(GoDuration::from(value))
}

fn int(value: impl TryInto<i64>) -> Any {
    Any::Int(value.try_into().unwrap_or(i64::MAX))
}

fn port(value: Option<u16>) -> Any {
    Any::Int(value.map_or(-1, i64::from))
}

fn texts<T: Display>(values: impl IntoIterator<Item = T>) -> Any {
    Any::Array(values.into_iter().map(text).collect())
}

fn addresses(addrs: &[ListenAddr]) -> Any {
    texts(addrs.iter().map(|a| match a {
        ListenAddr::Ip(a) => format!("tcp://{a}"),
        ListenAddr::Unix(path) => format!("unix://{}", path.display()),
    }))
}

fn pairs(map: &BTreeMap<String, String>) -> Any {
    Any::Map(map.iter().map(|(k, v)| (k.clone(), text(v))).collect())
}

/// Everything, by Consul's names.
pub(super) fn debug_config(config: &Config) -> Debug {
    let mut all = Debug::new();
    all.extend(identity(config));
    all.extend(network(config));
    all.extend(secrets(config));
    all.extend(dns(config));
    all.extend(serving(config));
    all.extend(running(config));
    all.extend(gossip("LAN", &config.gossip_lan));
    all.extend(gossip("WAN", &config.gossip_wan));
    all.extend(raft(config));
    all
}

fn identity(c: &Config) -> Debug {
    BTreeMap::from([
        ("Bootstrap", Any::Bool(c.bootstrap)),
        ("BootstrapExpect", int(c.bootstrap_expect)),
        ("DataDir", text(&c.data_dir)),
        ("Datacenter", text(&c.datacenter)),
        ("DevMode", Any::Bool(c.dev_mode)),
        ("DisableHostNodeID", Any::Bool(c.disable_host_node_id)),
        ("NodeMeta", pairs(&c.node_meta)),
        ("NodeName", text(&c.node_name)),
        ("NonVotingServer", Any::Bool(c.non_voting_server)),
        ("PidFile", text(&c.pid_file)),
        ("PrimaryDatacenter", text(&c.primary_datacenter)),
        ("RPCProtocol", int(c.rpc_protocol)),
        ("Revision", text("")),
        ("SegmentName", text(&c.segment)),
        ("ServerMode", Any::Bool(c.server)),
        ("ServerName", text(&c.tls.server_name)),
        ("TaggedAddresses", pairs(&c.tagged_addresses)),
        ("TranslateWANAddrs", Any::Bool(c.translate_wan_addrs)),
        ("VersionPrerelease", text("")),
    ])
}

fn network(c: &Config) -> Debug {
    let tcp = |addr: &std::net::SocketAddr| text(format!("tcp://{addr}"));
    let maybe = |addr: &Option<std::net::SocketAddr>| addr.as_ref().map_or(text(""), tcp);
    let wan_port = c.ports.serf_wan;
    BTreeMap::from([
        ("AdvertiseAddrLAN", text(c.advertise_addr_lan)),
        ("AdvertiseAddrWAN", text(c.advertise_addr_wan)),
        ("BindAddr", text(c.bind_addr)),
        ("ClientAddrs", texts(&c.client_addrs)),
        ("ConnectSidecarMaxPort", int(c.ports.sidecar_max)),
        ("ConnectSidecarMinPort", int(c.ports.sidecar_min)),
        ("DNSPort", port(c.ports.dns)),
        ("ExposeMaxPort", int(c.ports.expose_max)),
        ("ExposeMinPort", int(c.ports.expose_min)),
        ("GRPCAddrs", addresses(&c.grpc_addrs)),
        ("GRPCPort", port(c.ports.grpc)),
        ("HTTPAddrs", addresses(&c.http_addrs)),
        ("HTTPPort", port(c.ports.http)),
        ("HTTPSAddrs", addresses(&c.https_addrs)),
        ("HTTPSPort", port(c.ports.https)),
        ("RPCAdvertiseAddr", tcp(&c.rpc_advertise_addr)),
        ("RPCBindAddr", tcp(&c.rpc_bind_addr)),
        ("RetryJoinIntervalLAN", span(c.join_lan.retry_interval)),
        ("RetryJoinIntervalWAN", span(c.join_wan.retry_interval)),
        ("RetryJoinLAN", texts(&c.join_lan.retry_join)),
        ("RetryJoinMaxAttemptsLAN", int(c.join_lan.retry_max)),
        ("RetryJoinMaxAttemptsWAN", int(c.join_wan.retry_max)),
        ("RetryJoinWAN", texts(&c.join_wan.retry_join)),
        ("SerfAdvertiseAddrLAN", tcp(&c.serf_advertise_addr_lan)),
        ("SerfAdvertiseAddrWAN", maybe(&c.serf_advertise_addr_wan)),
        ("SerfBindAddrLAN", tcp(&c.serf_bind_addr_lan)),
        ("SerfBindAddrWAN", maybe(&c.serf_bind_addr_wan)),
        ("SerfPortLAN", int(c.ports.serf_lan)),
        ("SerfPortWAN", port(wan_port)),
        ("ServerPort", int(c.ports.server)),
        ("StartJoinAddrsLAN", texts(&c.join_lan.start_join)),
        ("StartJoinAddrsWAN", texts(&c.join_wan.start_join)),
        ("UnixSocketGroup", text(&c.unix_sockets.group)),
        ("UnixSocketMode", text(&c.unix_sockets.mode)),
        ("UnixSocketUser", text(&c.unix_sockets.user)),
    ])
}

fn secrets(c: &Config) -> Debug {
    BTreeMap::from([
        ("ACLAgentMasterToken", text(HIDDEN)),
        ("ACLAgentToken", text(HIDDEN)),
        ("ACLDatacenter", text(&c.primary_datacenter)),
        ("ACLDefaultPolicy", text(&c.acl.default_policy)),
        ("ACLDisabledTTL", span(c.acl.disabled_ttl)),
        ("ACLDownPolicy", text(&c.acl.down_policy)),
        (
            "ACLEnableKeyListPolicy",
            Any::Bool(c.acl.enable_key_list_policy),
        ),
        (
            "ACLEnableTokenPersistence",
            Any::Bool(c.acl.token_persistence),
        ),
        ("ACLMasterToken", text(HIDDEN)),
        ("ACLPolicyTTL", span(c.acl.policy_ttl)),
        ("ACLReplicationToken", text(HIDDEN)),
        ("ACLRoleTTL", span(c.acl.role_ttl)),
        ("ACLToken", text(HIDDEN)),
        ("ACLTokenReplication", Any::Bool(c.acl.token_replication)),
        ("ACLTokenTTL", span(c.acl.token_ttl)),
        ("ACLsEnabled", Any::Bool(c.acl.enabled)),
        ("CAFile", text(&c.tls.ca_file)),
        ("CAPath", text(&c.tls.ca_path)),
        ("CertFile", text(&c.tls.cert_file)),
        ("EncryptKey", text(HIDDEN)),
        (
            "EncryptVerifyIncoming",
            Any::Bool(c.encrypt_verify_incoming),
        ),
        (
            "EncryptVerifyOutgoing",
            Any::Bool(c.encrypt_verify_outgoing),
        ),
        ("KeyFile", text(HIDDEN)),
        ("TLSCipherSuites", Any::Array(Vec::new())),
        ("TLSMinVersion", text(&c.tls.min_version)),
        (
            "TLSPreferServerCipherSuites",
            Any::Bool(c.tls.prefer_server_cipher_suites),
        ),
        ("VerifyIncoming", Any::Bool(c.tls.verify_incoming)),
        (
            "VerifyIncomingHTTPS",
            Any::Bool(c.tls.verify_incoming_https),
        ),
        ("VerifyIncomingRPC", Any::Bool(c.tls.verify_incoming_rpc)),
        ("VerifyOutgoing", Any::Bool(c.tls.verify_outgoing)),
        (
            "VerifyServerHostname",
            Any::Bool(c.tls.verify_server_hostname),
        ),
    ])
}

fn dns(c: &Config) -> Debug {
    let dns = &c.dns;
    let ttls = dns.service_ttl.iter().map(|(k, v)| (k.clone(), span(*v)));
    let soa = BTreeMap::from([
        ("Expire".to_owned(), int(dns.soa.expire)),
        ("Minttl".to_owned(), int(dns.soa.min_ttl)),
        ("Refresh".to_owned(), int(dns.soa.refresh)),
        ("Retry".to_owned(), int(dns.soa.retry)),
    ]);
    let both = |a: &std::net::SocketAddr| [format!("tcp://{a}"), format!("udp://{a}")];
    BTreeMap::from([
        ("DNSARecordLimit", int(dns.a_record_limit)),
        ("DNSAddrs", texts(c.dns_addrs.iter().flat_map(both))),
        ("DNSAllowStale", Any::Bool(dns.allow_stale)),
        ("DNSAltDomain", text(&c.dns_alt_domain)),
        ("DNSCacheMaxAge", span(dns.cache_max_age)),
        ("DNSDisableCompression", Any::Bool(dns.disable_compression)),
        ("DNSDomain", text(&c.dns_domain)),
        ("DNSEnableTruncate", Any::Bool(dns.enable_truncate)),
        ("DNSMaxStale", span(dns.max_stale)),
        ("DNSNodeMetaTXT", Any::Bool(dns.node_meta_txt)),
        ("DNSNodeTTL", span(dns.node_ttl)),
        ("DNSOnlyPassing", Any::Bool(dns.only_passing)),
        ("DNSRecursorTimeout", span(dns.recursor_timeout)),
        ("DNSRecursors", texts(&dns.recursors)),
        ("DNSSOA", Any::Map(soa)),
        ("DNSServiceTTL", Any::Map(ttls.collect())),
        ("DNSUDPAnswerLimit", int(dns.udp_answer_limit)),
        ("DNSUseCache", Any::Bool(dns.use_cache)),
    ])
}

fn serving(c: &Config) -> Debug {
    let networks = c.http.allow_write_http_from.iter();
    BTreeMap::from([
        (
            "AllowWriteHTTPFrom",
            texts(networks.map(|(ip, n)| format!("{ip}/{n}"))),
        ),
        ("DefaultQueryTime", span(c.default_query_time)),
        (
            "DisableHTTPUnprintableCharFilter",
            Any::Bool(c.disable_http_unprintable_char_filter),
        ),
        ("DiscoveryMaxStale", span(c.discovery_max_stale)),
        ("EnableDebug", Any::Bool(c.enable_debug)),
        ("EnableUI", Any::Bool(c.ui.enabled)),
        ("HTTPBlockEndpoints", texts(&c.http.block_endpoints)),
        (
            "HTTPMaxConnsPerClient",
            int(c.limits.http_max_conns_per_client),
        ),
        ("HTTPResponseHeaders", pairs(&c.http.response_headers)),
        (
            "HTTPSHandshakeTimeout",
            span(c.limits.https_handshake_timeout),
        ),
        ("HTTPUseCache", Any::Bool(c.http.use_cache)),
        ("KVMaxValueSize", int(c.limits.kv_max_value_size)),
        ("MaxQueryTime", span(c.max_query_time)),
        ("RPCHandshakeTimeout", span(c.limits.rpc_handshake_timeout)),
        ("RPCHoldTimeout", span(c.rpc_hold_timeout)),
        ("RPCMaxBurst", int(c.limits.rpc_max_burst)),
        (
            "RPCMaxConnsPerClient",
            int(c.limits.rpc_max_conns_per_client),
        ),
        ("RPCRateLimit", Any::Float(c.limits.rpc_rate)),
        ("TxnMaxReqLen", int(c.limits.txn_max_req_len)),
        ("UIContentPath", text(&c.ui.content_path)),
        ("UIDir", text(&c.ui.dir)),
    ])
}

fn running(c: &Config) -> Debug {
    BTreeMap::from([
        ("AEInterval", span(c.ae_interval)),
        ("AutoEncryptAllowTLS", Any::Bool(c.auto_encrypt.allow_tls)),
        ("AutoEncryptTLS", Any::Bool(c.auto_encrypt.tls)),
        (
            "CheckDeregisterIntervalMin",
            span(c.check_deregister_interval_min),
        ),
        ("CheckOutputMaxSize", int(c.check_output_max_size)),
        ("CheckReapInterval", span(c.check_reap_interval)),
        ("CheckUpdateInterval", span(c.check_update_interval)),
        ("ConnectEnabled", Any::Bool(c.connect.enabled)),
        (
            "DisableAnonymousSignature",
            Any::Bool(c.disable_anonymous_signature),
        ),
        ("DisableCoordinates", Any::Bool(c.disable_coordinates)),
        ("DisableKeyringFile", Any::Bool(c.disable_keyring_file)),
        ("DisableRemoteExec", Any::Bool(c.disable_remote_exec)),
        ("DisableUpdateCheck", Any::Bool(c.disable_update_check)),
        ("DiscardCheckOutput", Any::Bool(c.discard_check_output)),
        (
            "EnableAgentTLSForChecks",
            Any::Bool(c.enable_agent_tls_for_checks),
        ),
        (
            "EnableCentralServiceConfig",
            Any::Bool(c.enable_central_service_config),
        ),
        (
            "EnableLocalScriptChecks",
            Any::Bool(c.enable_local_script_checks),
        ),
        (
            "EnableRemoteScriptChecks",
            Any::Bool(c.enable_remote_script_checks),
        ),
        ("LeaveDrainTime", span(c.leave_drain_time)),
        ("LeaveOnTerm", Any::Bool(c.leave_on_terminate)),
        ("Logging", logging(c)),
        ("ReconnectTimeoutLAN", span(c.reconnect_timeout_lan)),
        ("ReconnectTimeoutWAN", span(c.reconnect_timeout_wan)),
        ("RejoinAfterLeave", Any::Bool(c.rejoin_after_leave)),
        ("SessionTTLMin", span(c.session_ttl_min)),
        ("SkipLeaveOnInt", Any::Bool(c.skip_leave_on_interrupt)),
        (
            "SyncCoordinateIntervalMin",
            span(c.sync_coordinate_interval_min),
        ),
        (
            "SyncCoordinateRateTarget",
            Any::Float(c.sync_coordinate_rate_target),
        ),
    ])
}

fn logging(c: &Config) -> Any {
    let log = &c.log;
    Any::Map(BTreeMap::from([
        ("EnableSyslog".to_owned(), Any::Bool(log.syslog)),
        ("LogFilePath".to_owned(), text(&log.file)),
        ("LogJSON".to_owned(), Any::Bool(log.json)),
        ("LogLevel".to_owned(), text(&log.level)),
        ("LogRotateBytes".to_owned(), int(log.rotate_bytes)),
        ("LogRotateDuration".to_owned(), span(log.rotate_duration)),
        ("LogRotateMaxFiles".to_owned(), int(log.rotate_max_files)),
        ("Name".to_owned(), text("agent")),
        ("SyslogFacility".to_owned(), text(&log.syslog_facility)),
    ]))
}

fn gossip(pool: &'static str, g: &Gossip) -> Debug {
    let name = |field: &'static str| match (pool, field) {
        ("LAN", "interval") => "GossipLANGossipInterval",
        ("LAN", "nodes") => "GossipLANGossipNodes",
        ("LAN", "probe") => "GossipLANProbeInterval",
        ("LAN", "timeout") => "GossipLANProbeTimeout",
        ("LAN", "retransmit") => "GossipLANRetransmitMult",
        ("LAN", _) => "GossipLANSuspicionMult",
        (_, "interval") => "GossipWANGossipInterval",
        (_, "nodes") => "GossipWANGossipNodes",
        (_, "probe") => "GossipWANProbeInterval",
        (_, "timeout") => "GossipWANProbeTimeout",
        (_, "retransmit") => "GossipWANRetransmitMult",
        (_, _) => "GossipWANSuspicionMult",
    };
    BTreeMap::from([
        (name("interval"), span(g.gossip_interval)),
        (name("nodes"), int(g.gossip_nodes)),
        (name("probe"), span(g.probe_interval)),
        (name("timeout"), span(g.probe_timeout)),
        (name("retransmit"), int(g.retransmit_mult)),
        (name("suspicion"), int(g.suspicion_mult)),
    ])
}

fn raft(c: &Config) -> Debug {
    let (raft, pilot) = (&c.raft, &c.autopilot);
    BTreeMap::from([
        (
            "AutopilotCleanupDeadServers",
            Any::Bool(pilot.cleanup_dead_servers),
        ),
        (
            "AutopilotDisableUpgradeMigration",
            Any::Bool(pilot.disable_upgrade_migration),
        ),
        (
            "AutopilotLastContactThreshold",
            span(pilot.last_contact_threshold),
        ),
        ("AutopilotMaxTrailingLogs", int(pilot.max_trailing_logs)),
        ("AutopilotMinQuorum", int(pilot.min_quorum)),
        (
            "AutopilotRedundancyZoneTag",
            text(&pilot.redundancy_zone_tag),
        ),
        (
            "AutopilotServerStabilizationTime",
            span(pilot.server_stabilization_time),
        ),
        (
            "AutopilotUpgradeVersionTag",
            text(&pilot.upgrade_version_tag),
        ),
        ("ConsulRaftElectionTimeout", span(raft.election_timeout)),
        ("ConsulRaftHeartbeatTimeout", span(raft.heartbeat_timeout)),
        (
            "ConsulRaftLeaderLeaseTimeout",
            span(raft.leader_lease_timeout),
        ),
        ("RaftProtocol", int(raft.protocol)),
        ("RaftSnapshotInterval", span(raft.snapshot_interval)),
        ("RaftSnapshotThreshold", int(raft.snapshot_threshold)),
        ("RaftTrailingLogs", int(raft.trailing_logs)),
    ])
}
