//! Somebody else claims our name: the others say who is right, and the loser goes.
//!
//! Source: `docs/reference/gossip.md` section 11.6.

use std::net::SocketAddr;

use super::Pool;
use super::codec::message::ip_bytes;
use super::codec::serf::{KnownMember, SerfMessage};
use super::leave::Phase;
use super::output::Event;
use super::query::{Purpose, QueryOptions};

/// What the others say.
#[derive(Debug)]
pub(super) struct Claim {
    addr: SocketAddr,
    answers: usize,
    ours: usize,
}

impl Claim {
    /// Counts an answer.
    pub fn add(&mut self, payload: &[u8]) {
        if let Ok(SerfMessage::Conflict(known)) = SerfMessage::decode(payload) {
            self.answers += 1;
            let at = known.and_then(|member| member.socket().ok());
            self.ours += usize::from(at == Some(self.addr));
        }
    }

    fn is_won(&self) -> bool {
        self.ours > self.answers / 2
    }
}

impl Pool {
    /// Asks who has our name.
    pub(super) fn resolve_conflict(&mut self) {
        let under_way = |p: &super::query::Pending| matches!(p.purpose, Purpose::Conflict(_));
        if self.pending.values().any(under_way) {
            return;
        }
        let claim = Claim {
            addr: self.config.addr,
            answers: 0,
            ours: 0,
        };
        let name = self.config.name.clone();
        let options = QueryOptions::default();
        let asked = self.ask(
            "_serf_conflict",
            name.as_bytes(),
            &options,
            Purpose::Conflict(claim),
        );
        if let Err(e) = asked {
            log::error!(target: &self.config.loggers[1],
                "serf: Failed to start name resolution query: {e}");
        }
    }

    /// Who we know by a name; nothing, not even that, when it is our own.
    pub(super) fn known_as(&self, payload: &[u8]) -> Option<Option<Box<KnownMember>>> {
        let name = std::str::from_utf8(payload).ok()?;
        if self.is_self(name) {
            return None;
        }
        log::debug!(target: &self.config.loggers[1],
            "serf: Got conflict resolution query for '{name}'");
        Some(self.members.get(name).map(|member| {
            let [
                protocol_min,
                protocol_max,
                protocol_cur,
                delegate_min,
                delegate_max,
                delegate_cur,
            ] = member.versions;
            Box::new(KnownMember {
                name: member.name.clone(),
                addr: ip_bytes(member.addr.ip()),
                port: member.addr.port(),
                tags: member.tags.clone(),
                status: member.status as i64,
                protocol_min,
                protocol_max,
                protocol_cur,
                delegate_min,
                delegate_max,
                delegate_cur,
            })
        }))
    }

    /// All answers are there.
    pub(super) fn conflict_resolved(&mut self, claim: &Claim) {
        let majority = claim.answers / 2 + 1;
        if claim.is_won() {
            log::info!(target: &self.config.loggers[1],
                "serf: majority in name conflict resolution [{} / {}]", claim.ours, claim.answers);
            return;
        }
        log::warn!(target: &self.config.loggers[1],
            "serf: minority in name conflict resolution, quitting [{} / {majority}]", claim.ours);
        self.phase = Phase::Done;
        self.event(Event::NameLost);
    }
}
