//! From a request to its answer: zones, lookups through the delegate, negative answers.
//!
//! Holds true: answers that Consul makes itself carry AA; a lookup that failed is SERVFAIL without SOA, one
//! that found nothing is NXDOMAIN with it.
//! Source: `docs/reference/dns.md` sections 1, 3, 9 to 11 and 18.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::{Duration, UNIX_EPOCH};

use domain::base::iana::Rtype;
use smol::lock::Semaphore;

use super::answer;
use super::answer::{Instance, Target};
use super::cache::{NodeKey, ServiceKey};
use super::lookup::InForce;
use super::message::{Code, Data, Record, Reply, write};
use super::name::{Labels, Name};
use super::plan::{Plan, plan, reverse};
use super::request::Request;
use super::settings::Settings;
use super::{recursor, trim};
use crate::agent::cache::Cache;
use crate::agent::token::Tokens;
use crate::drive;
use crate::structs::go::GoDuration;
use crate::structs::rpc::{BoxFuture, Delegate};
use crate::structs::{Error, NO_PATH_TO_DATACENTER};
use crate::telemetry::{self, Sample};

/// How many names within our own zones an answer follows, one after the other.
const MAX_RECURSION: u8 = 3;
/// Records that are taken from one resolved CNAME for a client without EDNS.
const MAX_CHAIN_PLAIN: usize = 5;
/// NS records in an answer.
const MAX_NAME_SERVERS: usize = 3;

/// Who asked, and how.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub address: SocketAddr,
    pub udp: bool,
}

impl Client {
    fn network(self) -> &'static str {
        if self.udp { "udp" } else { "tcp" }
    }
}

/// The DNS interface of one agent.
pub struct Dns {
    pub(super) delegate: Arc<dyn Delegate>,
    /// The agent's cache, for `use_cache`.
    pub(super) cache: OnceLock<Arc<Cache>>,
    pub(super) tokens: OnceLock<Arc<Tokens>>,
    settings: RwLock<Arc<InForce>>,
    /// Room for questions that wait for recursors.
    waiting: Semaphore,
    domain_query: Option<&'static Sample>,
    ptr_query: Option<&'static Sample>,
}

/// Where a question belongs.
enum Zone {
    Consul,
    Reverse,
    Foreign,
}

impl Dns {
    /// An interface that looks up through `delegate`.
    pub fn new(delegate: Arc<dyn Delegate>, settings: Settings) -> Arc<Self> {
        let labels = [("node", settings.node_name.as_str())];
        Arc::new(Self {
            delegate,
            cache: OnceLock::new(),
            tokens: OnceLock::new(),
            waiting: recursor::waiting_room(),
            domain_query: telemetry::sample(&["dns.domain_query"], &labels),
            ptr_query: telemetry::sample(&["dns.ptr_query"], &labels),
            settings: RwLock::new(InForce::new(settings)),
        })
    }

    /// Says whose default token lookups carry; the first call counts.
    pub fn set_tokens(&self, tokens: Arc<Tokens>) {
        let _ = self.tokens.set(tokens);
    }

    /// Says where answers are kept that `use_cache` asks for; the first call counts.
    pub fn set_cache(&self, cache: Arc<Cache>) {
        // A process runs one agent, so a second one would be the same.
        let _ = self.cache.set(cache);
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<InForce> {
        match self.settings.read() {
            Ok(settings) => settings.clone(),
            // Only ever replaced as a whole: a panic elsewhere cannot have left half of it.
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// Replaces the settings; queries under way keep the old ones.
    pub fn reload(&self, settings: Settings) {
        let had = !self.settings().recursors.is_empty();
        match (had, !settings.recursors.is_empty()) {
            (false, true) => log::debug!(target: "agent.dns", "recursor enabled"),
            (true, false) => log::debug!(target: "agent.dns", "recursor disabled"),
            _ => {}
        }
        let settings = InForce::new(settings);
        match self.settings.write() {
            Ok(mut place) => *place = settings,
            Err(poisoned) => *poisoned.into_inner() = settings,
        }
    }

    /// Answers a request; `packet` is the message it was read from.
    pub async fn answer(
        &self,
        settings: &InForce,
        request: &Request,
        packet: &[u8],
        client: Client,
    ) -> Vec<u8> {
        let start = drive::now();
        let compress = !settings.disable_compression;
        let zone = zone(settings, &request.name);
        let timer = match zone {
            Zone::Consul => self.domain_query,
            Zone::Reverse => self.ptr_query,
            Zone::Foreign => None,
        };
        let bytes = match zone {
            Zone::Consul => {
                let reply = self.consul(settings, request, client).await;
                write(request, &reply, compress)
            }
            Zone::Reverse => match self.reverse(settings, request).await {
                Some(reply) => write(request, &reply, compress),
                None => self.recurse(settings, request, packet, client).await,
            },
            Zone::Foreign if settings.recursors.is_empty() => {
                let mut plain = request.clone();
                plain.edns = None;
                let refused = Reply {
                    code: Code::Refused,
                    ..Reply::default()
                };
                return write(&plain, &refused, compress);
            }
            Zone::Foreign => self.recurse(settings, request, packet, client).await,
        };
        let elapsed = start.elapsed();
        if let Some(timer) = timer {
            timer.record(elapsed);
        }
        if log::log_enabled!(target: "agent.dns", log::Level::Debug) {
            log_served(settings, request, elapsed, client);
        }
        bytes
    }

    /// Whether answering may need the message as it came.
    pub fn needs_packet(settings: &InForce, request: &Request) -> bool {
        !matches!(zone(settings, &request.name), Zone::Consul)
    }

    async fn consul(&self, settings: &InForce, request: &Request, client: Client) -> Reply {
        let mut reply = Reply {
            authoritative: true,
            recursion_available: !settings.recursors.is_empty(),
            ..Reply::default()
        };
        match request.rtype {
            Rtype::SOA => {
                let (servers, glue) = self.name_servers(settings).await;
                reply.answer.extend(answer::soa(settings, serial()));
                (reply.authority, reply.additional) = (servers, glue);
            }
            Rtype::NS => {
                (reply.answer, reply.additional) = self.name_servers(settings).await;
            }
            Rtype::AXFR => reply.code = Code::NotImp,
            _ => {
                self.dispatch(settings, request, client.udp, &mut reply, MAX_RECURSION)
                    .await;
            }
        }
        reply
    }

    /// Looks up a name of our zone and fills the reply.
    async fn dispatch(
        &self,
        settings: &InForce,
        request: &Request,
        udp: bool,
        reply: &mut Reply,
        depth: u8,
    ) {
        let left = answer::zone_part(settings, &request.name);
        match left.map_or(Plan::Invalid, |left| plan(left, request.rtype)) {
            Plan::Invalid => {
                log::warn!(target: "agent.dns", "QName invalid: qname={}", left_text(settings, request));
                answer::negative(settings, serial(), Code::NxDomain, reply);
            }
            // No prepared queries exist.
            Plan::Query { .. } => answer::negative(settings, serial(), Code::NxDomain, reply),
            Plan::NoAddress => {}
            Plan::Address(ip) => reply.answer.push(Record {
                owner: answer::address_owner(settings, request),
                ttl: settings.node_ttl,
                // The length of the name decides, even for an IPv4 address in IPv6 form.
                data: match ip {
                    IpAddr::V4(ip) => Data::A(ip),
                    IpAddr::V6(ip) => Data::Aaaa(ip),
                },
            }),
            Plan::Node { name, datacenter } => {
                let datacenter = datacenter.unwrap_or_else(|| settings.datacenter.clone());
                self.node(settings, request, (datacenter, name), reply, depth)
                    .await;
            }
            Plan::Service {
                name,
                tag,
                datacenter,
                connect,
                ingress,
            } => {
                let lookup = ServiceKey {
                    datacenter: datacenter.unwrap_or_else(|| settings.datacenter.clone()),
                    name,
                    tag,
                    connect,
                    ingress,
                };
                self.service(settings, request, lookup, reply, depth).await;
                self.finish_service(settings, request, udp, reply);
            }
        }
    }

    /// Cuts the answer to its transport and says when nothing of the type asked for is there.
    fn finish_service(&self, settings: &InForce, request: &Request, udp: bool, reply: &mut Reply) {
        if reply.code != Code::NoError {
            return;
        }
        let cut = if udp {
            trim::udp(settings, request, reply)
        } else {
            trim::tcp(settings, request, reply)
        };
        reply.truncated = cut && settings.enable_truncate;
        if reply.answer.is_empty() && !reply.truncated {
            answer::negative(settings, serial(), Code::NoError, reply);
        }
    }

    async fn node(
        &self,
        settings: &InForce,
        request: &Request,
        lookup: NodeKey,
        reply: &mut Reply,
        depth: u8,
    ) {
        // The type is looked at before the name, so that an unknown node of another type is no error.
        let wanted = request.rtype;
        if ![Rtype::A, Rtype::AAAA, Rtype::ANY, Rtype::TXT].contains(&wanted) {
            return;
        }
        let node = match self.find_node(settings, lookup).await {
            Ok(node) => node,
            Err(error) => return failed(settings, &error, reply),
        };
        let Some(node) = node else {
            return answer::negative(settings, serial(), Code::NxDomain, reply);
        };
        let ttl = settings.node_ttl;
        let text_asked = matches!(wanted, Rtype::TXT | Rtype::ANY);
        if wanted != Rtype::TXT {
            let address = answer::node_address(settings, &node.datacenter, &node, wanted);
            match Target::parse(address) {
                Some(Target::Address(ip)) if request.accepts(ip.to_canonical()) => {
                    let data = answer::address_data(ip);
                    reply.answer.push(Record::of_question(ttl, data));
                }
                Some(Target::Host(host)) => {
                    let chain = self.resolve(settings, request, &host, depth).await;
                    let cname = Record::of_question(ttl, Data::Cname(host));
                    reply.answer.push(cname);
                    reply.answer.extend(chain);
                }
                _ => {}
            }
        }
        if text_asked {
            reply.answer.extend(answer::node_texts(&node, None, ttl));
        } else if settings.enable_additional_node_meta_txt {
            reply
                .additional
                .extend(answer::node_texts(&node, None, ttl));
        }
    }

    async fn service(
        &self,
        settings: &InForce,
        request: &Request,
        lookup: ServiceKey,
        reply: &mut Reply,
        depth: u8,
    ) {
        let ttl = settings.service_ttl.of(&lookup.name);
        let instances = match self.healthy(settings, lookup).await {
            Ok(instances) => instances,
            Err(error) => return failed(settings, &error, reply),
        };
        if instances.is_empty() {
            return answer::negative(settings, serial(), Code::NxDomain, reply);
        }
        let mut shuffled: Vec<&Instance> = instances.iter().collect();
        fastrand::shuffle(&mut shuffled);
        if request.rtype == Rtype::SRV {
            for srv in answer::srv_answers(settings, request, &shuffled, ttl) {
                match srv.target {
                    Target::Address(ip) => {
                        let data = answer::address_data(ip);
                        reply.additional.push(Record::of(srv.name, ttl, data));
                    }
                    Target::Host(host) => {
                        let chain = self.chain(settings, request, &host, ttl, depth).await;
                        reply.additional.extend(chain);
                    }
                }
                reply.answer.push(srv.record);
                reply.additional.extend(srv.texts);
            }
            return;
        }
        for target in answer::service_targets(settings, request, &shuffled) {
            match target {
                Target::Address(ip) => {
                    let data = answer::address_data(ip);
                    reply.answer.push(Record::of_question(ttl, data));
                }
                Target::Host(host) => {
                    let chain = self.chain(settings, request, &host, ttl, depth).await;
                    let cname = Record::of_question(ttl, Data::Cname(host));
                    reply.answer.push(cname);
                    reply.answer.extend(chain);
                }
            }
        }
    }

    /// What a service's host name leads to, under the service's TTL.
    async fn chain(
        &self,
        settings: &InForce,
        request: &Request,
        host: &Name,
        ttl: u32,
        depth: u8,
    ) -> Vec<Record> {
        let mut chain = self.resolve(settings, request, host, depth).await;
        chain.retain(|r| matches!(r.data, Data::A(_) | Data::Aaaa(_) | Data::Cname(_)));
        if request.edns.is_none() {
            chain.truncate(MAX_CHAIN_PLAIN);
        }
        for record in &mut chain {
            record.ttl = ttl;
        }
        chain
    }

    /// Resolves a name that an answer points to: here when it is ours, else by the recursors.
    fn resolve<'a>(
        &'a self,
        settings: &'a InForce,
        request: &'a Request,
        host: &'a Name,
        depth: u8,
    ) -> BoxFuture<'a, Vec<Record>> {
        Box::pin(async move {
            if !matches!(zone(settings, host), Zone::Consul) {
                if settings.recursors.is_empty() {
                    return Vec::new();
                }
                return recursor::addresses(settings, &self.waiting, host).await;
            }
            let Some(depth) = depth.checked_sub(1) else {
                log::error!(
                    target: "agent.dns",
                    "Infinite recursion detected for name, won't perform any CNAME resolution.: name={host}"
                );
                return Vec::new();
            };
            let inner = request.internal(host.clone());
            let mut reply = Reply::default();
            self.dispatch(settings, &inner, true, &mut reply, depth)
                .await;
            for record in &mut reply.answer {
                record.owner.get_or_insert_with(|| host.clone());
            }
            reply.answer
        })
    }

    /// NS records of the domain and the addresses of the servers they name.
    async fn name_servers(&self, settings: &InForce) -> (Vec<Record>, Vec<Record>) {
        let lookup = ServiceKey {
            datacenter: settings.datacenter.clone(),
            name: "consul".into(),
            tag: String::new(),
            connect: false,
            ingress: false,
        };
        let (mut servers, mut glue) = (Vec::new(), Vec::new());
        let instances = match self.healthy(settings, lookup).await {
            Ok(instances) => instances,
            Err(error) => {
                log::warn!(target: "agent.dns", "Unable to get list of servers: error={:?}", error.text());
                return (servers, glue);
            }
        };
        let mut shuffled: Vec<&Instance> = instances.iter().collect();
        fastrand::shuffle(&mut shuffled);
        for Instance {
            node, node_name, ..
        } in shuffled
        {
            if !answer::plain_label(&node.node) {
                log::warn!(target: "agent.dns", "Skipping invalid node for NS records: node={}", node.node);
                continue;
            }
            let Some(name) = node_name else {
                continue;
            };
            let (name, ttl) = (name.to_lowercase(), settings.node_ttl);
            let owner = settings.domain.clone();
            servers.push(Record::of(owner, ttl, Data::Ns(name.clone())));
            let address = answer::node_address(settings, &node.datacenter, node, Rtype::ANY);
            match Target::parse(address) {
                Some(Target::Address(ip)) => {
                    glue.push(Record::of(name, ttl, answer::address_data(ip)));
                }
                Some(Target::Host(host)) => glue.push(Record::of(name, ttl, Data::Cname(host))),
                None => {}
            }
            if servers.len() == MAX_NAME_SERVERS {
                break;
            }
        }
        (servers, glue)
    }

    /// The name of an address; `None` when nobody here has it.
    async fn reverse(&self, settings: &InForce, request: &Request) -> Option<Reply> {
        let arpa = Name::parse("arpa")?;
        let ip = reverse(request.name.left_of(&arpa)?)?;
        let name = match self.node_at(settings, ip).await {
            Some(name) => name,
            None => self.service_at(settings, ip).await?,
        };
        let mut reply = Reply {
            authoritative: true,
            recursion_available: !settings.recursors.is_empty(),
            ..Reply::default()
        };
        reply.answer.push(Record::of_question(0, Data::Ptr(name)));
        if request.rtype == Rtype::SOA {
            reply.authority.extend(answer::soa(settings, serial()));
        }
        Some(reply)
    }

    async fn recurse(
        &self,
        settings: &InForce,
        request: &Request,
        packet: &[u8],
        client: Client,
    ) -> Vec<u8> {
        let question = request.go_question();
        if let Some(reply) =
            recursor::forward(settings, &self.waiting, packet, &question, client.udp).await
        {
            return reply;
        }
        log::error!(
            target: "agent.dns",
            "all resolvers failed for question from client: question={question:?} client={} client_network={}",
            client.address,
            client.network(),
        );
        let failed = Reply {
            code: Code::ServFail,
            recursion_available: true,
            ..Reply::default()
        };
        write(request, &failed, !settings.disable_compression)
    }
}

fn zone(settings: &InForce, name: &Name) -> Zone {
    if answer::zone_part(settings, name).is_some() {
        return Zone::Consul;
    }
    match name.labels().last() {
        Some(label) if label.eq_ignore_ascii_case(b"arpa") => Zone::Reverse,
        _ => Zone::Foreign,
    }
}

/// A lookup failed: an unknown datacenter does not exist, everything else is our failure.
fn failed(settings: &InForce, error: &Error, reply: &mut Reply) {
    log::error!(target: "agent.dns", "rpc error: error={:?}", error.text());
    if error.is(NO_PATH_TO_DATACENTER) {
        answer::negative(settings, serial(), Code::NxDomain, reply);
    } else {
        reply.code = Code::ServFail;
    }
}

/// The SOA serial: the Unix time.
fn serial() -> u32 {
    let since = drive::wall().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as u32)
}

fn left_text(settings: &InForce, request: &Request) -> String {
    let left = answer::zone_part(settings, &request.name);
    let name = left.and_then(|left: Labels<'_>| Name::from_labels(left));
    name.map(|name| name.to_lowercase().to_string())
        .unwrap_or_default()
}

fn log_served(settings: &InForce, request: &Request, latency: Duration, client: Client) {
    let latency = GoDuration::from(latency);
    let (address, network) = (client.address, client.network());
    if matches!(zone(settings, &request.name), Zone::Consul) {
        log::debug!(
            target: "agent.dns",
            "request served from client: name={} type={} class={} latency={latency} client={address} client_network={network}",
            request.name,
            request.rtype,
            if request.class == 1 { "IN".to_owned() } else { format!("CLASS{}", request.class) },
        );
    } else {
        log::debug!(
            target: "agent.dns",
            "request served from client: question={:?} latency={latency} client={address} client_network={network}",
            request.go_question(),
        );
    }
}
