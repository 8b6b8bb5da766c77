//! Everything of the configuration that is not addresses, services or checks: one function per part, defaults included.
//!
//! Durations are read in the order in which Consul reads them, because of several wrong ones the last is told.
//! Source: `docs/reference/config.md` sections 3 to 5 and 22.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::address::Addresses;
use super::{Builder, millis, seconds};
use crate::config::runtime::{
    Acl, AutoConfig, AutoEncrypt, Autopilot, Config, Connect, Dns, Gossip, Http, Join, Limits, Log,
    Raft, Soa, Telemetry, Tls, Tokens, Ui, UnixSockets,
};
use crate::sorted::IntoMap;
use crate::structs::{CheckDefinition, ServiceDefinition};

/// Bytes of a value, and of a transaction's request.
const MAX_VALUE_BYTES: u64 = 512 << 10;
/// TLS cipher suites, by Go's names, that may be asked for.
const CIPHER_SUITES: &[&str] = &[
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
];

impl Builder<'_> {
    /// Puts the parts together.
    ///
    /// # Errors
    /// Consul's text where it stops at once.
    pub(super) fn assemble(
        &mut self,
        addresses: Addresses,
        services: Vec<ServiceDefinition>,
        checks: Vec<CheckDefinition>,
    ) -> Result<Config, String> {
        let recursors = self.recursors()?;
        let raft_multiplier = self.int("performance.raft_multiplier", 5);
        if !(1..=10).contains(&raft_multiplier) {
            return Err(format!(
                "performance.raft_multiplier cannot be {raft_multiplier}. Must be between 1 and 10"
            ));
        }
        let config_entries_bootstrap = self.any_list("config_entries.bootstrap");
        super::rules::config_entries(&config_entries_bootstrap)?;
        let serf_allowed_cidrs_lan = self.serf_cidrs("serf_lan_allowed_cidrs")?;
        let serf_allowed_cidrs_wan = self.serf_cidrs("serf_wan_allowed_cidrs")?;

        let server = self.bool("server", false);
        let (mut bootstrap, mut bootstrap_expect) = (
            self.bool("bootstrap", false),
            self.int("bootstrap_expect", 0),
        );
        let telemetry_rules = self.prefix_filter();
        self.deprecated();
        if bootstrap_expect == 1 {
            (bootstrap, bootstrap_expect) = (true, 0);
            self.warn("BootstrapExpect is set to 1; this is the same as Bootstrap mode.");
        }
        let datacenter = self.str("datacenter", "dc1").to_lowercase();
        let primary_datacenter = match self
            .first(&["primary_datacenter", "acl_datacenter"], "")
            .to_lowercase()
        {
            primary if primary.is_empty() => datacenter.clone(),
            primary => primary,
        };
        let node_name = match self.opt("node_name") {
            None | Some("") => self.host.hostname.clone(),
            Some(name) => name.to_owned(),
        };
        let script_checks = self.bool("enable_script_checks", false);
        let wan = addresses.ports.serf_wan;
        let Addresses {
            ports,
            bind,
            advertise_lan,
            advertise_wan,
            ..
        } = addresses;

        Ok(Config {
            acl: self.acl(),
            autopilot: self.autopilot(),
            http: self.http(),
            check_update_interval: self.duration("check_update_interval", seconds(300)),
            dns: self.dns(recursors),
            default_query_time: self.duration("default_query_time", seconds(300)),
            discovery_max_stale: self.duration("discovery_max_stale", Duration::ZERO),
            gossip_lan: self.gossip("gossip_lan", LAN),
            gossip_wan: self.gossip("gossip_wan", WAN),
            limits: self.limits(),
            leave_drain_time: self.duration("performance.leave_drain_time", seconds(5)),
            log: self.log(),
            max_query_time: self.duration("max_query_time", seconds(600)),
            primary_gateways: self.expanded_list("primary_gateways"),
            primary_gateways_interval: self.duration("primary_gateways_interval", seconds(30)),
            rpc_hold_timeout: self.duration("performance.rpc_hold_timeout", seconds(7)),
            raft: self.raft(raft_multiplier),
            reconnect_timeout_lan: self.duration("reconnect_timeout", Duration::ZERO),
            reconnect_timeout_wan: self.duration("reconnect_timeout_wan", Duration::ZERO),
            join_lan: self.join(""),
            join_wan: self.join("_wan"),
            session_ttl_min: self.duration("session_ttl_min", Duration::ZERO),
            tls: self.tls(),
            telemetry: self.telemetry(telemetry_rules),
            auto_config: self.auto_config(),
            auto_encrypt: self.auto_encrypt(),

            node_name: node_name.trim().to_owned(),
            node_id: self.str("node_id", ""),
            node_meta: self.string_map("node_meta"),
            datacenter,
            primary_datacenter,
            dev_mode: self.dev_mode,
            server,
            bootstrap,
            bootstrap_expect,
            data_dir: self.str("data_dir", ""),
            disable_host_node_id: self.bool("disable_host_node_id", true),
            non_voting_server: self.bool("non_voting_server", false),
            rpc_protocol: self.int("protocol", 2),

            bind_addr: bind,
            advertise_addr_lan: advertise_lan,
            advertise_addr_wan: advertise_wan,
            tagged_addresses: addresses.tagged,
            translate_wan_addrs: self.bool("translate_wan_addrs", false),
            client_addrs: addresses.clients,
            dns_addrs: addresses.dns,
            http_addrs: addresses.http,
            https_addrs: addresses.https,
            grpc_addrs: addresses.grpc,
            rpc_bind_addr: SocketAddr::new(bind, ports.server),
            rpc_advertise_addr: SocketAddr::new(advertise_lan, ports.server),
            serf_bind_addr_lan: SocketAddr::new(addresses.serf_lan, ports.serf_lan),
            serf_advertise_addr_lan: SocketAddr::new(advertise_lan, ports.serf_lan),
            serf_bind_addr_wan: wan.map(|port| SocketAddr::new(addresses.serf_wan, port)),
            serf_advertise_addr_wan: wan.map(|port| SocketAddr::new(advertise_wan, port)),
            serf_allowed_cidrs_lan,
            serf_allowed_cidrs_wan,
            ports,
            unix_sockets: UnixSockets {
                user: self.str("unix_sockets.user", ""),
                group: self.str("unix_sockets.group", ""),
                mode: self.str("unix_sockets.mode", ""),
            },

            dns_domain: self.str("domain", "consul."),
            dns_alt_domain: self.str("alt_domain", ""),
            ui: self.ui(),
            enable_debug: self.bool("enable_debug", false),
            disable_http_unprintable_char_filter: self
                .bool("disable_http_unprintable_char_filter", false),
            cache_entry_fetch_rate: self.float("cache.entry_fetch_rate", f64::MAX),
            cache_entry_fetch_max_burst: self.int("cache.entry_fetch_max_burst", 2),

            services,
            checks,
            watches: self.any_list("watches"),
            config_entries_bootstrap,
            check_output_max_size: self.int("check_output_max_size", 4096),
            check_reap_interval: seconds(30),
            check_deregister_interval_min: seconds(60),
            discard_check_output: self.bool("discard_check_output", false),
            enable_local_script_checks: self.bool("enable_local_script_checks", script_checks),
            enable_remote_script_checks: script_checks,
            enable_agent_tls_for_checks: self.bool("enable_agent_tls_for_checks", false),
            enable_central_service_config: self.bool("enable_central_service_config", false),
            ae_interval: seconds(60),

            rejoin_after_leave: self.bool("rejoin_after_leave", false),
            leave_on_terminate: self.bool("leave_on_terminate", !server),
            skip_leave_on_interrupt: self.bool("skip_leave_on_interrupt", server),
            segment: self.str("segment", ""),
            disable_coordinates: self.bool("disable_coordinates", false),
            sync_coordinate_rate_target: 64.0,
            sync_coordinate_interval_min: seconds(15),
            disable_remote_exec: self.bool("disable_remote_exec", true),
            disable_update_check: self.bool("disable_update_check", false),
            disable_anonymous_signature: self.bool("disable_anonymous_signature", false),

            encrypt: self.str("encrypt", ""),
            encrypt_verify_incoming: self.bool("encrypt_verify_incoming", true),
            encrypt_verify_outgoing: self.bool("encrypt_verify_outgoing", true),
            disable_keyring_file: self.bool("disable_keyring_file", false),
            connect: Connect {
                enabled: self.bool("connect.enabled", false),
                ca_provider: self.str("connect.ca_provider", ""),
                ca_config: self.any("connect.ca_config"),
                mesh_gateway_wan_federation: self
                    .bool("connect.enable_mesh_gateway_wan_federation", false),
            },
            pid_file: self.str("pid_file", ""),
        })
    }

    /// Warnings about old spellings.
    fn deprecated(&mut self) {
        if self.is_set("acl_datacenter") {
            self.warn("The 'acl_datacenter' field is deprecated. Use the 'primary_datacenter' field instead.");
        }
    }

    fn acl(&mut self) -> Acl {
        let second = seconds(30);
        let policy_ttl = self.duration("acl.policy_ttl", second);
        let role_ttl = self.duration("acl.role_ttl", Duration::ZERO);
        let old_ttl = self.duration("acl_ttl", second);
        let token_ttl = self.duration("acl.token_ttl", old_ttl);
        let replication = self.first(&["acl.tokens.replication", "acl_replication_token"], "");
        let by_datacenter = self
            .opt("acl_datacenter")
            .is_some_and(|datacenter| !datacenter.is_empty());
        Acl {
            enabled: self.bool("acl.enabled", by_datacenter),
            default_policy: self.first(&["acl.default_policy", "acl_default_policy"], "allow"),
            down_policy: self.first(&["acl.down_policy", "acl_down_policy"], "extend-cache"),
            policy_ttl,
            role_ttl,
            token_ttl,
            disabled_ttl: seconds(120),
            enable_key_list_policy: self.first_bool(
                &["acl.enable_key_list_policy", "acl_enable_key_list_policy"],
                false,
            ),
            token_replication: self.first_bool(
                &["acl.enable_token_replication", "enable_acl_replication"],
                self.opt("acl_replication_token")
                    .is_some_and(|token| !token.is_empty()),
            ),
            token_persistence: self.bool("acl.enable_token_persistence", false),
            tokens: Tokens {
                master: self.first(
                    &[
                        "acl.tokens.initial_management",
                        "acl.tokens.master",
                        "acl_master_token",
                    ],
                    "",
                ),
                agent_master: self.first(
                    &[
                        "acl.tokens.agent_recovery",
                        "acl.tokens.agent_master",
                        "acl_agent_master_token",
                    ],
                    "",
                ),
                default: self.first(&["acl.tokens.default", "acl_token"], ""),
                agent: self.first(&["acl.tokens.agent", "acl_agent_token"], ""),
                replication,
                config_file_service_registration: self
                    .str("acl.tokens.config_file_service_registration", ""),
                dns: self.str("acl.tokens.dns", ""),
            },
        }
    }

    fn autopilot(&mut self) -> Autopilot {
        Autopilot {
            cleanup_dead_servers: self.bool("autopilot.cleanup_dead_servers", true),
            last_contact_threshold: self.duration("autopilot.last_contact_threshold", millis(200)),
            max_trailing_logs: self.uint("autopilot.max_trailing_logs", 250),
            min_quorum: self.uint("autopilot.min_quorum", 0),
            server_stabilization_time: self
                .duration("autopilot.server_stabilization_time", seconds(10)),
            redundancy_zone_tag: self.str("autopilot.redundancy_zone_tag", ""),
            disable_upgrade_migration: self.bool("autopilot.disable_upgrade_migration", false),
            upgrade_version_tag: self.str("autopilot.upgrade_version_tag", ""),
        }
    }

    fn http(&mut self) -> Http {
        let mut networks = Vec::new();
        for text in self.strings("http_config.allow_write_http_from") {
            match super::cidr(&text) {
                Some(network) => networks.push(network),
                None => self.error(format!("allow_write_http_from: invalid cidr: {text}")),
            }
        }
        Http {
            block_endpoints: self.strings("http_config.block_endpoints"),
            allow_write_http_from: networks,
            response_headers: self.string_map("http_config.response_headers"),
            use_cache: self.bool("http_config.use_cache", true),
            max_header_bytes: self.int("http_config.max_header_bytes", 0),
        }
    }

    /// TTLs by service name. They are read before addresses, which shows in which error is told.
    pub(super) fn service_ttl(&mut self) -> BTreeMap<String, Duration> {
        let mut service_ttl = BTreeMap::new();
        for (service, text) in self.string_map("dns_config.service_ttl") {
            let name = format!(
                "dns_config.service_ttl[{}]",
                crate::structs::go::quote(&service)
            );
            service_ttl.insert(service, self.parse_duration(&name, &text).to_std());
        }
        service_ttl
    }

    fn dns(&mut self, recursors: Vec<String>) -> Dns {
        let seconds_of =
            |path: &str, default| u32::try_from(self.uint(path, default)).unwrap_or(u32::MAX);
        let soa = Soa {
            refresh: seconds_of("dns_config.soa.refresh", 3600),
            retry: seconds_of("dns_config.soa.retry", 600),
            expire: seconds_of("dns_config.soa.expire", 86400),
            min_ttl: seconds_of("dns_config.soa.min_ttl", 0),
        };
        Dns {
            allow_stale: self.bool("dns_config.allow_stale", true),
            a_record_limit: self.int("dns_config.a_record_limit", 0),
            disable_compression: self.bool("dns_config.disable_compression", false),
            enable_truncate: self.bool("dns_config.enable_truncate", false),
            // Ten years: nothing is too stale unless configured.
            max_stale: self.duration("dns_config.max_stale", seconds(87600 * 3600)),
            node_ttl: self.duration("dns_config.node_ttl", Duration::ZERO),
            only_passing: self.bool("dns_config.only_passing", false),
            recursor_timeout: self.named_duration(
                "dns_config.recursor_timeout",
                "recursor_timeout",
                seconds(2),
            ),
            recursor_strategy: self.str("dns_config.recursor_strategy", "sequential"),
            service_ttl: BTreeMap::new(),
            udp_answer_limit: self.int("dns_config.udp_answer_limit", 3),
            node_meta_txt: self.bool("dns_config.enable_additional_node_meta_txt", true),
            soa,
            use_cache: self.bool("dns_config.use_cache", false),
            cache_max_age: self.duration("dns_config.cache_max_age", Duration::ZERO),
            recursors,
        }
    }

    fn gossip(&mut self, block: &str, default: GossipDefault) -> Gossip {
        // Consul's own errors have the two dots.
        let mut time = |key: &str, default: u64| {
            self.named_duration(
                &format!("{block}.{key}"),
                &format!("{block}..{key}"),
                millis(default),
            )
        };
        Gossip {
            gossip_interval: time("gossip_interval", default.gossip_interval),
            probe_interval: time("probe_interval", default.probe_interval),
            probe_timeout: time("probe_timeout", default.probe_timeout),
            gossip_nodes: self.int(&format!("{block}.gossip_nodes"), 3),
            suspicion_mult: self.int(&format!("{block}.suspicion_mult"), default.suspicion_mult),
            retransmit_mult: self.int(&format!("{block}.retransmit_mult"), 4),
        }
    }

    fn limits(&mut self) -> Limits {
        Limits {
            http_max_conns_per_client: self.int("limits.http_max_conns_per_client", 200),
            https_handshake_timeout: self.duration("limits.https_handshake_timeout", seconds(5)),
            rpc_handshake_timeout: self.duration("limits.rpc_handshake_timeout", seconds(5)),
            rpc_client_timeout: self.duration("limits.rpc_client_timeout", seconds(60)),
            rpc_rate: self.float("limits.rpc_rate", -1.0),
            rpc_max_burst: self.int("limits.rpc_max_burst", 1000),
            rpc_max_conns_per_client: self.int("limits.rpc_max_conns_per_client", 100),
            kv_max_value_size: self.uint("limits.kv_max_value_size", MAX_VALUE_BYTES),
            txn_max_req_len: self.uint("limits.txn_max_req_len", MAX_VALUE_BYTES),
        }
    }

    fn log(&mut self) -> Log {
        Log {
            level: self.str("log_level", "INFO"),
            json: self.bool("log_json", false),
            file: self.str("log_file", ""),
            rotate_bytes: self.int("log_rotate_bytes", 0),
            rotate_duration: self.duration("log_rotate_duration", Duration::ZERO),
            rotate_max_files: self.int("log_rotate_max_files", 0),
            syslog: self.bool("enable_syslog", false),
            syslog_facility: self.str("syslog_facility", "LOCAL0"),
        }
    }

    fn raft(&mut self, multiplier: i64) -> Raft {
        let times = u32::try_from(multiplier).unwrap_or(1);
        let (election, heartbeat, lease) = if self.dev_mode {
            (52, 35, 20)
        } else {
            (1000, 1000, 500)
        };
        Raft {
            protocol: self.int("raft_protocol", 0),
            multiplier,
            election_timeout: millis(election) * times,
            heartbeat_timeout: millis(heartbeat) * times,
            leader_lease_timeout: millis(lease) * times,
            snapshot_interval: self.duration("raft_snapshot_interval", Duration::ZERO),
            snapshot_threshold: self.int("raft_snapshot_threshold", 0),
            trailing_logs: self.int("raft_trailing_logs", 0),
        }
    }

    fn join(&mut self, suffix: &str) -> Join {
        Join {
            retry_interval: self.duration(&format!("retry_interval{suffix}"), seconds(30)),
            retry_join: self.expanded_list(&format!("retry_join{suffix}")),
            retry_max: self.int(&format!("retry_max{suffix}"), 0),
            start_join: self.expanded_list(&format!("start_join{suffix}")),
        }
    }

    fn tls(&mut self) -> Tls {
        let file = |key: &str| {
            self.first(
                &[
                    &format!("tls.internal_rpc.{key}"),
                    &format!("tls.defaults.{key}"),
                    key,
                ],
                "",
            )
        };
        let verify_incoming =
            self.first_bool(&["verify_incoming", "tls.defaults.verify_incoming"], false);
        let hostname = self.first_bool(
            &[
                "tls.internal_rpc.verify_server_hostname",
                "verify_server_hostname",
            ],
            false,
        );
        let mut tls = Tls {
            ca_file: file("ca_file"),
            ca_path: file("ca_path"),
            cert_file: file("cert_file"),
            key_file: file("key_file"),
            min_version: match file("tls_min_version") {
                version if version.is_empty() => "tls12".to_owned(),
                version => version,
            },
            cipher_suites: Vec::new(),
            prefer_server_cipher_suites: self.bool("tls_prefer_server_cipher_suites", false),
            verify_incoming,
            verify_incoming_rpc: self.first_bool(
                &["tls.internal_rpc.verify_incoming", "verify_incoming_rpc"],
                false,
            ),
            verify_incoming_https: self.first_bool(
                &["tls.https.verify_incoming", "verify_incoming_https"],
                false,
            ),
            verify_outgoing: hostname
                || self.first_bool(
                    &[
                        "tls.internal_rpc.verify_outgoing",
                        "tls.defaults.verify_outgoing",
                        "verify_outgoing",
                    ],
                    false,
                ),
            verify_server_hostname: hostname,
            server_name: self.str("server_name", ""),
        };
        let suites = file("tls_cipher_suites");
        for suite in suites.trim().split(',').filter(|suite| !suite.is_empty()) {
            if !CIPHER_SUITES.contains(&suite) {
                let suite = crate::structs::go::quote(suite);
                self.error(format!(
                    "tls_cipher_suites: invalid tls cipher suites: unsupported cipher {suite}"
                ));
                break;
            }
            tls.cipher_suites.push(suite.to_owned());
        }
        tls
    }

    /// Prefixes that are let through and those held back; other rules are warned about.
    fn prefix_filter(&mut self) -> (Vec<String>, Vec<String>) {
        let (mut allowed, mut blocked) = (Vec::new(), Vec::new());
        for rule in self.strings("telemetry.prefix_filter") {
            match (rule.strip_prefix('+'), rule.strip_prefix('-')) {
                (Some(prefix), _) => allowed.push(prefix.to_owned()),
                (_, Some(prefix)) => blocked.push(prefix.to_owned()),
                _ if rule.is_empty() => self.warn("Cannot have empty filter rule in prefix_filter"),
                _ => {
                    let rule = crate::structs::go::quote(&rule);
                    self.warn(format!(
                        "Filter rule must begin with either '+' or '-': {rule}"
                    ));
                }
            }
        }
        (allowed, blocked)
    }

    fn telemetry(&mut self, (allowed, blocked): (Vec<String>, Vec<String>)) -> Telemetry {
        let circonus = self
            .tree
            .at("telemetry")
            .and_then(super::Tree::as_map)
            .into_iter()
            .flatten();
        let circonus = circonus.filter_map(|(key, value)| {
            let name = key.strip_prefix("circonus_")?;
            Some((name.to_owned(), value.as_str()?.to_owned()))
        });
        Telemetry {
            circonus: circonus.into_map(),
            metrics_prefix: self.str("telemetry.metrics_prefix", "consul"),
            filter_default: self.bool("telemetry.filter_default", true),
            allowed_prefixes: allowed,
            blocked_prefixes: blocked,
            disable_hostname: self.bool("telemetry.disable_hostname", false),
            dogstatsd_addr: self.str("telemetry.dogstatsd_addr", ""),
            dogstatsd_tags: self.strings("telemetry.dogstatsd_tags"),
            statsd_addr: self.str("telemetry.statsd_address", ""),
            statsite_addr: self.str("telemetry.statsite_address", ""),
            prometheus_retention_time: self.named_duration(
                "telemetry.prometheus_retention_time",
                "prometheus_retention_time",
                Duration::ZERO,
            ),
        }
    }

    fn auto_config(&mut self) -> AutoConfig {
        for key in [
            "expiration_leeway",
            "not_before_leeway",
            "clock_skew_leeway",
        ] {
            self.duration(
                &format!("auto_config.authorization.static.{key}"),
                Duration::ZERO,
            );
        }
        AutoConfig {
            enabled: self.bool("auto_config.enabled", false),
            intro_token_file: self.str("auto_config.intro_token_file", ""),
            server_addresses: self.expanded_list("auto_config.server_addresses"),
            dns_sans: self.strings("auto_config.dns_sans"),
            ip_sans: self.strings("auto_config.ip_sans"),
            authorization_enabled: self.bool("auto_config.authorization.enabled", false),
        }
    }

    fn auto_encrypt(&self) -> AutoEncrypt {
        let addresses = self.strings("auto_encrypt.ip_san");
        AutoEncrypt {
            tls: self.bool("auto_encrypt.tls", false),
            allow_tls: self.bool("auto_encrypt.allow_tls", false),
            dns_san: self.strings("auto_encrypt.dns_san"),
            ip_san: addresses
                .iter()
                .filter_map(|text| text.parse::<IpAddr>().ok())
                .collect(),
        }
    }

    fn ui(&self) -> Ui {
        let path = self.first(&["ui_config.content_path", "ui_content_path"], "/ui/");
        let path = path.trim_matches('/');
        Ui {
            enabled: self.first_bool(&["ui_config.enabled", "ui"], false),
            dir: self.first(&["ui_config.dir", "ui_dir"], ""),
            content_path: if path.is_empty() {
                "/".to_owned()
            } else {
                format!("/{path}/")
            },
        }
    }
}

/// What differs between gossip within and between datacenters; times in milliseconds.
struct GossipDefault {
    gossip_interval: u64,
    probe_interval: u64,
    probe_timeout: u64,
    suspicion_mult: i64,
}

const LAN: GossipDefault = GossipDefault {
    gossip_interval: 200,
    probe_interval: 1000,
    probe_timeout: 500,
    suspicion_mult: 4,
};
const WAN: GossipDefault = GossipDefault {
    gossip_interval: 500,
    probe_interval: 5000,
    probe_timeout: 3000,
    suspicion_mult: 6,
};
