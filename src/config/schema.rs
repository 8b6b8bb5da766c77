//! Every key a configuration file may have, with its type: one table, from which files are checked, merged and read.
//!
//! Holds Consul 1.8's keys and those that came later; what a key does is told where it is read (`build`).
//! Source: `docs/reference/config.md` sections 3 to 9 and 22.

/// The type of a key's value, and with it how two values of the key are merged.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A later value replaces an earlier one.
    Bool,
    /// Replaces.
    Int,
    /// A number of at least 0, and the type that Go says it is. Replaces.
    Uint(&'static str),
    /// Replaces.
    Float,
    /// Text, durations and addresses included. Replaces.
    Str,
    /// List of text. Appends.
    Strings,
    /// Map from text to text. Later keys win, others stay.
    StringMap,
    /// Map from text to lists of text. As a map.
    StringsMap,
    /// A map with free content. As a map.
    Any,
    /// A list of maps with free content. Appends.
    AnyList,
    /// Merged key by key.
    Object(&'static [Key]),
    /// A list of objects. Appends.
    Objects(&'static [Key]),
    /// A map from text to objects. As a map.
    ObjectMap(&'static [Key]),
    /// A service within a service, which a table cannot name inside itself. Replaces.
    Sidecar,
}

/// A key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Its name; files may write it in any case.
    pub name: &'static str,
    pub kind: Kind,
    /// Other names, in any case; the name itself wins over them.
    pub aliases: &'static [&'static str],
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        aliases: &[],
    }
}

const fn bool(name: &'static str) -> Key {
    key(name, Kind::Bool)
}

const fn int(name: &'static str) -> Key {
    key(name, Kind::Int)
}

const fn uint(name: &'static str, go: &'static str) -> Key {
    key(name, Kind::Uint(go))
}

const fn float(name: &'static str) -> Key {
    key(name, Kind::Float)
}

const fn str(name: &'static str) -> Key {
    key(name, Kind::Str)
}

const fn strings(name: &'static str) -> Key {
    key(name, Kind::Strings)
}

const fn map(name: &'static str) -> Key {
    key(name, Kind::StringMap)
}

const fn any(name: &'static str) -> Key {
    key(name, Kind::Any)
}

const fn object(name: &'static str, keys: &'static [Key]) -> Key {
    key(name, Kind::Object(keys))
}

const fn objects(name: &'static str, keys: &'static [Key]) -> Key {
    key(name, Kind::Objects(keys))
}

const fn also(key: Key, aliases: &'static [&'static str]) -> Key {
    Key { aliases, ..key }
}

static CHECK: &[Key] = &[
    str("id"),
    str("name"),
    str("notes"),
    also(str("service_id"), &["serviceid"]),
    str("token"),
    str("status"),
    also(strings("args"), &["scriptargs"]),
    str("http"),
    key("header", Kind::StringsMap),
    str("method"),
    str("body"),
    bool("disable_redirects"),
    int("output_max_size"),
    str("tcp"),
    bool("tcp_use_tls"),
    str("udp"),
    str("interval"),
    also(str("docker_container_id"), &["dockercontainerid"]),
    str("shell"),
    str("grpc"),
    bool("grpc_use_tls"),
    str("h2ping"),
    bool("h2ping_use_tls"),
    str("os_service"),
    str("tls_server_name"),
    also(bool("tls_skip_verify"), &["tlsskipverify"]),
    str("alias_node"),
    str("alias_service"),
    str("timeout"),
    str("ttl"),
    int("success_before_passing"),
    int("failures_before_warning"),
    int("failures_before_critical"),
    also(
        str("deregister_critical_service_after"),
        &["deregistercriticalserviceafter"],
    ),
];

static MESH_GATEWAY: &[Key] = &[str("mode")];

static UPSTREAM: &[Key] = &[
    str("destination_type"),
    str("destination_namespace"),
    str("destination_partition"),
    str("destination_peer"),
    str("destination_name"),
    str("datacenter"),
    str("local_bind_address"),
    int("local_bind_port"),
    str("local_bind_socket_path"),
    str("local_bind_socket_mode"),
    any("config"),
    object("mesh_gateway", MESH_GATEWAY),
];

static EXPOSE_PATH: &[Key] = &[
    int("listener_port"),
    str("path"),
    int("local_path_port"),
    str("protocol"),
];

static PROXY: &[Key] = &[
    str("destination_service_name"),
    str("destination_service_id"),
    str("local_service_address"),
    int("local_service_port"),
    str("local_service_socket_path"),
    str("mode"),
    object(
        "transparent_proxy",
        &[int("outbound_listener_port"), bool("dialed_directly")],
    ),
    any("config"),
    objects("upstreams", UPSTREAM),
    object("mesh_gateway", MESH_GATEWAY),
    object(
        "expose",
        &[bool("checks"), objects("paths", EXPOSE_PATH), int("port")],
    ),
];

/// The keys of a service.
pub(super) static SERVICE: &[Key] = &[
    str("id"),
    str("name"),
    strings("tags"),
    str("address"),
    key(
        "tagged_addresses",
        Kind::ObjectMap(&[str("address"), int("port")]),
    ),
    str("socket_path"),
    map("meta"),
    int("port"),
    object("check", CHECK),
    objects("checks", CHECK),
    str("token"),
    str("kind"),
    object("weights", &[int("passing"), int("warning")]),
    bool("enable_tag_override"),
    object("proxy", PROXY),
    object(
        "connect",
        &[bool("native"), key("sidecar_service", Kind::Sidecar)],
    ),
    object("locality", &[str("region"), str("zone")]),
];

static ACL: &[Key] = &[
    bool("enabled"),
    str("default_policy"),
    str("down_policy"),
    str("policy_ttl"),
    str("role_ttl"),
    str("token_ttl"),
    str("disabled_ttl"),
    bool("enable_key_list_policy"),
    bool("enable_token_replication"),
    bool("enable_token_persistence"),
    bool("msp_disable_bootstrap"),
    object(
        "tokens",
        &[
            str("master"),
            str("initial_management"),
            str("agent_master"),
            str("agent_recovery"),
            str("default"),
            str("agent"),
            str("replication"),
            str("config_file_service_registration"),
            str("dns"),
            objects(
                "managed_service_provider",
                &[str("accessor_id"), str("secret_id")],
            ),
        ],
    ),
];

static AUTO_CONFIG: &[Key] = &[
    bool("enabled"),
    str("intro_token"),
    str("intro_token_file"),
    strings("server_addresses"),
    strings("dns_sans"),
    strings("ip_sans"),
    object(
        "authorization",
        &[
            bool("enabled"),
            object(
                "static",
                &[
                    strings("jwt_validation_pub_keys"),
                    str("oidc_discovery_url"),
                    str("oidc_discovery_ca_cert"),
                    str("jwks_url"),
                    str("jwks_ca_cert"),
                    map("claim_mappings"),
                    map("list_claim_mappings"),
                    strings("jwt_supported_algs"),
                    strings("bound_audiences"),
                    str("bound_issuer"),
                    str("expiration_leeway"),
                    str("not_before_leeway"),
                    str("clock_skew_leeway"),
                    strings("claim_assertions"),
                    bool("allow_reuse"),
                ],
            ),
        ],
    ),
];

static GOSSIP: &[Key] = &[
    int("gossip_nodes"),
    str("gossip_interval"),
    str("probe_interval"),
    str("probe_timeout"),
    int("suspicion_mult"),
    int("retransmit_mult"),
];

static DNS: &[Key] = &[
    bool("allow_stale"),
    int("a_record_limit"),
    bool("disable_compression"),
    bool("enable_truncate"),
    str("max_stale"),
    str("node_ttl"),
    bool("only_passing"),
    str("recursor_timeout"),
    str("recursor_strategy"),
    map("service_ttl"),
    int("udp_answer_limit"),
    bool("enable_additional_node_meta_txt"),
    object(
        "soa",
        &[
            uint("refresh", "uint32"),
            uint("retry", "uint32"),
            uint("expire", "uint32"),
            uint("min_ttl", "uint32"),
        ],
    ),
    bool("use_cache"),
    str("cache_max_age"),
    bool("prefer_namespace"),
];

static TLS: &[Key] = &[
    str("ca_file"),
    str("ca_path"),
    str("cert_file"),
    str("key_file"),
    str("tls_min_version"),
    str("tls_cipher_suites"),
    bool("verify_incoming"),
    bool("verify_outgoing"),
    bool("verify_server_hostname"),
    bool("use_auto_cert"),
];

static PORTS: &[Key] = &[
    int("dns"),
    int("http"),
    int("https"),
    int("serf_lan"),
    int("serf_wan"),
    int("server"),
    int("grpc"),
    int("grpc_tls"),
    int("proxy_min_port"),
    int("proxy_max_port"),
    int("sidecar_min_port"),
    int("sidecar_max_port"),
    int("expose_min_port"),
    int("expose_max_port"),
];

static TELEMETRY: &[Key] = &[
    str("circonus_api_app"),
    str("circonus_api_token"),
    str("circonus_api_url"),
    str("circonus_broker_id"),
    str("circonus_broker_select_tag"),
    str("circonus_check_display_name"),
    str("circonus_check_force_metric_activation"),
    str("circonus_check_id"),
    str("circonus_check_instance_id"),
    str("circonus_check_search_tag"),
    str("circonus_check_tags"),
    str("circonus_submission_interval"),
    str("circonus_submission_url"),
    bool("disable_hostname"),
    bool("disable_compat_1.9"),
    bool("disable_per_tenancy_usage_metrics"),
    str("dogstatsd_addr"),
    strings("dogstatsd_tags"),
    bool("enable_host_metrics"),
    bool("filter_default"),
    strings("prefix_filter"),
    str("metrics_prefix"),
    str("prometheus_retention_time"),
    bool("retry_failed_connection"),
    str("statsd_address"),
    str("statsite_address"),
];

static UI: &[Key] = &[
    bool("enabled"),
    str("dir"),
    str("content_path"),
    str("metrics_provider"),
    strings("metrics_provider_files"),
    str("metrics_provider_options_json"),
    object(
        "metrics_proxy",
        &[
            str("base_url"),
            objects("add_headers", &[str("name"), str("value")]),
            strings("path_allowlist"),
        ],
    ),
    map("dashboard_url_templates"),
];

static LIMITS: &[Key] = &[
    int("http_max_conns_per_client"),
    str("https_handshake_timeout"),
    str("rpc_handshake_timeout"),
    str("rpc_client_timeout"),
    float("rpc_rate"),
    int("rpc_max_burst"),
    int("rpc_max_conns_per_client"),
    uint("kv_max_value_size", "uint64"),
    uint("txn_max_req_len", "uint64"),
    object(
        "request_limits",
        &[str("mode"), float("read_rate"), float("write_rate")],
    ),
];

static SEGMENT: &[Key] = &[
    str("name"),
    str("bind"),
    int("port"),
    bool("rpc_listener"),
    str("advertise"),
];

/// The keys of a configuration file.
pub(super) static ROOT: &[Key] = &[
    object("acl", ACL),
    str("acl_agent_master_token"),
    str("acl_agent_token"),
    str("acl_datacenter"),
    str("acl_default_policy"),
    str("acl_disabled_ttl"),
    str("acl_down_policy"),
    bool("acl_enable_key_list_policy"),
    bool("acl_enforce_version_8"),
    str("acl_master_token"),
    str("acl_replication_token"),
    str("acl_token"),
    str("acl_ttl"),
    object(
        "addresses",
        &[
            str("dns"),
            str("http"),
            str("https"),
            str("grpc"),
            str("grpc_tls"),
        ],
    ),
    str("advertise_addr"),
    str("advertise_addr_ipv4"),
    str("advertise_addr_ipv6"),
    str("advertise_addr_wan"),
    str("advertise_addr_wan_ipv4"),
    str("advertise_addr_wan_ipv6"),
    str("advertise_reconnect_timeout"),
    str("ae_interval"),
    str("alt_domain"),
    object(
        "audit",
        &[
            bool("enabled"),
            key(
                "sink",
                Kind::ObjectMap(&[
                    str("delivery_guarantee"),
                    str("format"),
                    str("mode"),
                    str("path"),
                    int("rotate_bytes"),
                    str("rotate_duration"),
                    int("rotate_max_files"),
                    str("type"),
                ]),
            ),
        ],
    ),
    object("auto_config", AUTO_CONFIG),
    object(
        "auto_encrypt",
        &[
            bool("tls"),
            strings("dns_san"),
            strings("ip_san"),
            bool("allow_tls"),
        ],
    ),
    bool("auto_reload_config"),
    object(
        "autopilot",
        &[
            bool("cleanup_dead_servers"),
            bool("disable_upgrade_migration"),
            str("last_contact_threshold"),
            int("max_trailing_logs"),
            uint("min_quorum", "uint"),
            str("redundancy_zone_tag"),
            str("server_stabilization_time"),
            str("upgrade_version_tag"),
        ],
    ),
    str("bind_addr"),
    bool("bootstrap"),
    int("bootstrap_expect"),
    object(
        "cache",
        &[int("entry_fetch_max_burst"), float("entry_fetch_rate")],
    ),
    str("ca_file"),
    str("ca_path"),
    str("cert_file"),
    object("check", CHECK),
    str("check_deregister_interval_min"),
    int("check_output_max_size"),
    str("check_reap_interval"),
    str("check_update_interval"),
    objects("checks", CHECK),
    str("client_addr"),
    any("cloud"),
    object("config_entries", &[key("bootstrap", Kind::AnyList)]),
    object(
        "connect",
        &[
            bool("enabled"),
            any("ca_config"),
            str("ca_provider"),
            bool("enable_mesh_gateway_wan_federation"),
            bool("enable_serverless_plugin"),
            str("test_ca_leaf_root_change_spread"),
        ],
    ),
    object(
        "consul",
        &[
            object(
                "coordinate",
                &[
                    int("update_batch_size"),
                    int("update_max_batches"),
                    str("update_period"),
                ],
            ),
            object(
                "raft",
                &[
                    str("election_timeout"),
                    str("heartbeat_timeout"),
                    str("leader_lease_timeout"),
                ],
            ),
            object("server", &[str("health_interval")]),
        ],
    ),
    str("data_dir"),
    str("datacenter"),
    str("default_intention_policy"),
    str("default_query_time"),
    bool("disable_anonymous_signature"),
    bool("disable_coordinates"),
    bool("disable_host_node_id"),
    bool("disable_http_unprintable_char_filter"),
    bool("disable_keyring_file"),
    bool("disable_remote_exec"),
    bool("disable_update_check"),
    bool("discard_check_output"),
    str("discovery_max_stale"),
    object("dns_config", DNS),
    str("domain"),
    bool("enable_acl_replication"),
    bool("enable_agent_tls_for_checks"),
    bool("enable_central_service_config"),
    bool("enable_debug"),
    bool("enable_local_script_checks"),
    bool("enable_script_checks"),
    bool("enable_syslog"),
    str("encrypt"),
    bool("encrypt_verify_incoming"),
    bool("encrypt_verify_outgoing"),
    strings("experiments"),
    object("gossip_lan", GOSSIP),
    object("gossip_wan", GOSSIP),
    object(
        "http_config",
        &[
            strings("block_endpoints"),
            strings("allow_write_http_from"),
            map("response_headers"),
            bool("use_cache"),
            int("max_header_bytes"),
        ],
    ),
    str("key_file"),
    bool("leave_on_terminate"),
    str("license_path"),
    object("limits", LIMITS),
    object("locality", &[str("region"), str("zone")]),
    str("log_file"),
    bool("log_json"),
    str("log_level"),
    int("log_rotate_bytes"),
    str("log_rotate_duration"),
    int("log_rotate_max_files"),
    str("max_query_time"),
    str("node_id"),
    map("node_meta"),
    str("node_name"),
    bool("non_voting_server"),
    str("partition"),
    object("peering", &[bool("enabled")]),
    object(
        "performance",
        &[
            str("leave_drain_time"),
            int("raft_multiplier"),
            str("rpc_hold_timeout"),
            str("grpc_keepalive_interval"),
            str("grpc_keepalive_timeout"),
            bool("enable_xds_load_balancing"),
        ],
    ),
    str("pid_file"),
    object("ports", PORTS),
    str("primary_datacenter"),
    strings("primary_gateways"),
    str("primary_gateways_interval"),
    int("protocol"),
    object("raft_boltdb", &[bool("NoFreelistSync")]),
    object(
        "raft_logstore",
        &[
            str("backend"),
            bool("disable_log_cache"),
            object("verification", &[bool("enabled"), str("interval")]),
            object("boltdb", &[bool("no_freelist_sync")]),
            object("wal", &[int("segment_size_mb")]),
        ],
    ),
    bool("raft_prevote_disabled"),
    int("raft_protocol"),
    str("raft_snapshot_interval"),
    int("raft_snapshot_threshold"),
    int("raft_trailing_logs"),
    bool("read_replica"),
    str("reconnect_timeout"),
    str("reconnect_timeout_wan"),
    strings("recursors"),
    bool("rejoin_after_leave"),
    any("reporting"),
    strings("retry_join"),
    str("retry_interval"),
    int("retry_max"),
    strings("retry_join_wan"),
    str("retry_interval_wan"),
    int("retry_max_wan"),
    str("revision"),
    object("rpc", &[bool("enable_streaming")]),
    str("segment"),
    int("segment_limit"),
    int("segment_name_limit"),
    objects("segments", SEGMENT),
    str("serf_lan"),
    strings("serf_lan_allowed_cidrs"),
    str("serf_wan"),
    strings("serf_wan_allowed_cidrs"),
    bool("server"),
    str("server_name"),
    str("server_rejoin_age_max"),
    object("service", SERVICE),
    objects("services", SERVICE),
    str("session_ttl_min"),
    bool("skip_leave_on_interrupt"),
    any("snapshot_agent"),
    strings("start_join"),
    strings("start_join_wan"),
    str("sync_coordinate_interval_min"),
    float("sync_coordinate_rate_target"),
    str("syslog_facility"),
    map("tagged_addresses"),
    object("telemetry", TELEMETRY),
    object(
        "tls",
        &[
            object("defaults", TLS),
            object("internal_rpc", TLS),
            object("https", TLS),
            object("grpc", TLS),
        ],
    ),
    str("tls_cipher_suites"),
    str("tls_min_version"),
    bool("tls_prefer_server_cipher_suites"),
    bool("translate_wan_addrs"),
    bool("ui"),
    object("ui_config", UI),
    str("ui_content_path"),
    str("ui_dir"),
    object("unix_sockets", &[str("group"), str("mode"), str("user")]),
    bool("use_streaming_backend"),
    bool("verify_incoming"),
    bool("verify_incoming_https"),
    bool("verify_incoming_rpc"),
    bool("verify_outgoing"),
    bool("verify_server_hostname"),
    str("version"),
    str("version_prerelease"),
    key("watches", Kind::AnyList),
    object("xds", &[float("update_max_per_second")]),
];

/// The key that `name` means among `keys`: its own name first, in any case, then another name of it.
#[cfg(test)]
pub(super) fn find(keys: &'static [Key], path: &str) -> Option<Kind> {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let key = keys.iter().find(|key| key.name == first)?;
    match (rest, key.kind) {
        (None, kind) => Some(kind),
        (Some(rest), Kind::Object(keys)) => find(keys, rest),
        (Some(_), _) => None,
    }
}
