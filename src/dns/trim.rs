//! Cutting answers to the size that the transport and the client take.
//!
//! Holds true: at least one answer stays unless the answer limit is 0; when answers are cut, only the
//! addresses that the remaining SRV records need are kept beside them.
//! Source: `docs/reference/dns.md` sections 12 and 13, measured on Consul 1.8.7.

use std::collections::HashMap;

use domain::base::iana::Rtype;

use super::message::{Data, Record, Reply, size};
use super::name::Name;
use super::request::Request;
use super::settings::Settings;

/// More answers than this are never sent to a UDP client without EDNS.
const MAX_PLAIN_UDP: usize = 8;
/// Answers that a TCP message holds, before its size is looked at.
const MAX_TCP: usize = 4096;
/// The same for SRV records, which are larger.
const MAX_TCP_SRV: usize = 1024;
/// Largest TCP message, in bytes, less what the OPT record may need.
const TCP_SIZE: usize = 65535 - 12;
/// What UDP answers keep free of the client's size.
const UDP_RESERVE: usize = 7;
/// Above this excess the right count is searched instead of dropping answers one by one.
const SEARCH_ABOVE: usize = 100;

/// Cuts an answer for UDP; whether anything was cut.
pub fn udp(settings: &Settings, request: &Request, reply: &mut Reply) -> bool {
    let mut cut = Cutter::new(request);
    let mut compress = !settings.disable_compression;
    let max = request.udp_size();
    if max == 512 {
        let limit = settings.udp_answer_limit.min(MAX_PLAIN_UDP);
        if reply.answer.len() > limit {
            cut.to(reply, limit);
            // As Consul: from here on the size is that of an uncompressed message.
            compress = false;
        }
    }
    cut.fit(reply, max - UDP_RESERVE, compress);
    cut.done
}

/// Cuts an answer for TCP; whether anything was cut.
pub fn tcp(settings: &Settings, request: &Request, reply: &mut Reply) -> bool {
    let mut cut = Cutter::new(request);
    let most = if request.rtype == Rtype::SRV {
        MAX_TCP_SRV
    } else {
        MAX_TCP
    };
    let before = reply.answer.len();
    if before > most {
        cut.to(reply, most);
    }
    cut.fit(reply, TCP_SIZE, !settings.disable_compression);
    if cut.done {
        log::debug!(
            target: "agent.dns",
            "TCP answer to question too large, truncated: question={:?} records={}/{before} size={}",
            request.go_question(),
            reply.answer.len(),
            size(request, reply, !settings.disable_compression),
        );
    }
    cut.done
}

struct Cutter<'a> {
    request: &'a Request,
    /// Additional records before the first cut.
    additional: Vec<Record>,
    /// First additional record of each owner.
    first: HashMap<Name, usize>,
    done: bool,
}

impl<'a> Cutter<'a> {
    fn new(request: &'a Request) -> Self {
        Self {
            request,
            additional: Vec::new(),
            first: HashMap::new(),
            done: false,
        }
    }

    /// Keeps the first `count` answers and what they need.
    fn to(&mut self, reply: &mut Reply, count: usize) {
        if !self.done {
            self.done = true;
            self.additional = std::mem::take(&mut reply.additional);
            for (at, record) in self.additional.iter().enumerate() {
                if let Some(owner) = &record.owner {
                    self.first.entry(owner.to_lowercase()).or_insert(at);
                }
            }
        }
        reply.answer.truncate(count);
        reply.additional = self.needed(&reply.answer);
    }

    /// For each SRV target its first record, and where that is a CNAME, what it leads to.
    fn needed(&self, answer: &[Record]) -> Vec<Record> {
        let mut needed = Vec::new();
        for record in answer {
            let Data::Srv { target, .. } = &record.data else {
                continue;
            };
            let mut name = target;
            // A chain of CNAMEs is no longer than the records there are.
            for _ in 0..self.additional.len() {
                let found = self.first.get(&name.to_lowercase());
                let Some(found) = found.and_then(|at| self.additional.get(*at)) else {
                    break;
                };
                needed.push(found.clone());
                match &found.data {
                    Data::Cname(next) => name = next,
                    _ => break,
                }
            }
        }
        needed
    }

    /// Drops answers from the end until the message fits.
    fn fit(&mut self, reply: &mut Reply, max: usize, compress: bool) {
        let fits = |reply: &Reply| size(self.request, reply, compress) <= max;
        if reply.answer.len() <= 1 || quick_fit(self.request, reply, max) || fits(reply) {
            return;
        }
        let all = reply.answer.clone();
        let excess = size(self.request, reply, compress) - max;
        let mut count = all.len() - 1;
        if excess > SEARCH_ABOVE {
            // The largest count that fits lies in low..high. Even all may fit, once the additional records
            // are reduced to the needed ones.
            let (mut low, mut high) = (1, all.len() + 1);
            while low + 1 < high {
                let middle = (low + high) / 2;
                reply.answer.clone_from(&all);
                self.to(reply, middle);
                if size(self.request, reply, compress) <= max {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            count = low;
        }
        reply.answer = all;
        self.to(reply, count);
        while reply.answer.len() > 1 && size(self.request, reply, compress) > max {
            let next = reply.answer.len() - 1;
            self.to(reply, next);
        }
    }
}

/// Whether the message fits by a bound that needs no writing: the common case.
fn quick_fit(request: &Request, reply: &Reply, max: usize) -> bool {
    size(request, reply, false) <= max
}
