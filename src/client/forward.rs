//! How a client agent has its calls answered: by the server in front, with Consul's rules for trying again.
//!
//! Holds true: a call that may have been carried out is tried again only if it changes nothing; whatever the
//! servers do, a call ends.
//! Source: `docs/reference/rpc.md` sections 8 and 9.

use std::io;
use std::time::Duration;

use super::Client;
use super::servers::Known;
use crate::drive::{self, Instant};
use crate::net::pool::CallError;
use crate::structs::go::GoDuration;
use crate::structs::rpc::{Class, Reply, Request};
use crate::structs::{self, Error, Result};
use crate::telemetry::metrics;

/// A pause before trying again is random and at most this fraction of the time that calls are held; and a
/// server adds at most this fraction to the wait of a blocking query.
const FRACTION: u32 = 16;

/// Whether a call that failed may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    No,
    /// After a pause: the cluster is not ready.
    Later,
    /// At once: this server is the trouble, and another may not be.
    Elsewhere,
}

/// Rules of rpc.md section 8, and that a server which heard nothing of a call has not carried it out.
fn may_retry(class: Class, error: &CallError) -> Again {
    match error {
        CallError::Unreachable(_) => Again::Elsewhere,
        CallError::Broken(why) if class == Class::Read && why.kind() != io::ErrorKind::TimedOut => {
            Again::Elsewhere
        }
        CallError::Broken(_) => Again::No,
        CallError::Remote(why)
            if why.is(structs::NO_CLUSTER_LEADER) || why.is(structs::RESUBMIT_CHUNKS) =>
        {
            Again::Later
        }
        CallError::Remote(_) => Again::No,
    }
}

/// The time that a call may take.
struct Patience {
    hold: Duration,
    /// How long it wishes to wait, zero unless it blocks.
    wait: Duration,
    began: Instant,
}

impl Patience {
    /// When no further try is begun.
    fn deadline(&self) -> Instant {
        self.began + self.hold + self.wait
    }

    /// Shortens what is left of a blocking query's wait before another try.
    fn shorten(&self, request: &mut Request) {
        if self.wait.is_zero() {
            return;
        }
        let left = self.wait.saturating_sub(self.began.elapsed());
        if let Some(options) = request.options_mut() {
            // Zero would mean the default.
            options.max_query_time = GoDuration::from(left.max(Duration::from_millis(1)));
        }
    }
}

impl Client {
    /// Has a call answered by a server.
    ///
    /// # Errors
    /// `No known Consul servers`, `RPC rate limit exceeded`, or what became of the last try.
    pub(super) async fn forward(&self, mut request: Request) -> Result<Reply> {
        metrics::CLIENT_RPC.incr();
        if !self.limiter.allow(drive::now()) {
            metrics::CLIENT_RPC_EXCEEDED.incr();
            return Err(Error::new(structs::RPC_RATE_EXCEEDED));
        }
        let hold = self.options.rpc_hold_timeout;
        let patience = Patience {
            hold,
            wait: self.blocking_time(&request),
            began: drive::now(),
        };
        // Servers that were turned away from without a pause.
        let mut hasty = 0;
        loop {
            let Some(server) = self.servers.front() else {
                return Err(Error::new(structs::NO_KNOWN_SERVERS));
            };
            let error = match self.attempt(&server, &request, &patience).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let again = self.note_failure(&server, &request, &error);
            if again == Again::No {
                return Err(error.relayed());
            }
            if again == Again::Elsewhere && hasty + 1 < self.servers.len() {
                hasty += 1;
            } else {
                hasty = 0;
                let pause = (hold / FRACTION).mul_f64(fastrand::f64());
                if drive::now() + pause >= patience.deadline() {
                    return Err(error.relayed());
                }
                drive::sleep(pause).await;
            }
            patience.shorten(&mut request);
        }
    }

    async fn attempt(
        &self,
        server: &Known,
        request: &Request,
        patience: &Patience,
    ) -> std::result::Result<Reply, CallError> {
        let wait = patience.wait.saturating_sub(patience.began.elapsed());
        let limit = wait + wait / FRACTION + self.options.rpc_client_timeout;
        match drive::timeout(limit, self.pool.call(server.address, request)).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Broken(io::Error::new(
                io::ErrorKind::TimedOut,
                "i/o deadline reached",
            ))),
        }
    }

    /// Turns to the next server, as Consul's clients do after any error; whether to try again there.
    fn note_failure(&self, server: &Known, request: &Request, error: &CallError) -> Again {
        log::error!(
            target: "agent.client",
            "RPC failed to server: method={} server={} error=\"{}\"",
            request.name(), server.address, error.relayed()
        );
        metrics::CLIENT_RPC_FAILED.incr();
        self.servers.failed(server.address);
        may_retry(request.class(), error)
    }

    /// How long a call may wait by its own wish.
    fn blocking_time(&self, request: &Request) -> Duration {
        let options = request.routed().options();
        let Some(options) = options.filter(|o| o.min_query_index > 0) else {
            return Duration::ZERO;
        };
        match options.max_query_time.to_std() {
            Duration::ZERO => self.options.default_query_time,
            wait => wait.min(self.options.max_query_time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_carried_out_is_sent_again() {
        let eof = || CallError::Broken(io::ErrorKind::UnexpectedEof.into());
        let late = || CallError::Broken(io::ErrorKind::TimedOut.into());
        let away = || CallError::Unreachable("dial".into());
        let remote = |text: &'static str| CallError::Remote(Error::new(text));
        for (class, error, wanted) in [
            (Class::Read, eof(), Again::Elsewhere),
            (Class::Write, eof(), Again::No),
            (Class::Local, eof(), Again::No),
            (Class::Read, late(), Again::No),
            (Class::Write, away(), Again::Elsewhere),
            (Class::Write, remote("No cluster leader"), Again::Later),
            (
                Class::Write,
                remote("rpc error making call: No cluster leader"),
                Again::Later,
            ),
            (
                Class::Write,
                remote("please resubmit call for rechunking"),
                Again::Later,
            ),
            (Class::Read, remote("Permission denied"), Again::No),
        ] {
            assert_eq!(may_retry(class, &error), wanted, "{class:?} {error:?}");
        }
    }
}
