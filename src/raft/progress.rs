//! What a leader knows about one follower, and how that changes with each answer.
//!
//! It holds true: `matched` is on the follower's disk as far as the follower ever said; at most one
//! request is under way while probing; answers count only for requests still remembered here. Leaves
//! building and sending of requests to `replication`.
//! Source: Raft thesis 10.2.1 (pipelining); hashicorp/raft's rules of stepping back and backing off.

use std::collections::VecDeque;
use std::time::Duration;

use super::message::AppendEntriesResponse;

/// Heartbeats remembered per follower. Older ones, if answered at all, no longer help.
const MAX_BEATS: usize = 32;
/// First pause after a failed request; doubles from the third failure on.
const BACKOFF_BASE: Duration = Duration::from_millis(10);
/// From this many failures on the pause no longer grows.
const BACKOFF_CAP: u32 = 12;

/// How entries go to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One request at a time, to find where the logs agree.
    Probe,
    /// Requests follow each other without waiting.
    Replicate,
    /// Needs a snapshot; gets heartbeats only.
    Snapshot,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub seq: u64,
    pub prev: u64,
    pub last: u64,
    pub bytes: usize,
    pub at: Duration,
}

#[derive(Debug)]
pub(super) struct Progress {
    pub mode: Mode,
    /// The next index to send.
    pub next: u64,
    /// The last index known to be on the follower's disk.
    pub matched: u64,
    pub inflight: VecDeque<Sent>,
    beats: VecDeque<Sent>,
    /// The snapshot request under way: its number and the index it covers.
    pub snapshot: Option<(u64, u64)>,
    failures: u32,
    pub retry_at: Option<Duration>,
    /// The highest commit index sent since the last loss.
    pub sent_commit: u64,
    /// The highest number of an answered request: what read index counts.
    pub acked_seq: u64,
    /// When the follower was last heard.
    pub last_contact: Option<Duration>,
    /// When the newest successfully answered request was sent: what a lease counts from.
    pub lease_from: Option<Duration>,
}

impl Progress {
    pub fn new(next: u64) -> Progress {
        Progress {
            mode: Mode::Probe,
            next,
            matched: 0,
            inflight: VecDeque::new(),
            beats: VecDeque::new(),
            snapshot: None,
            failures: 0,
            retry_at: None,
            sent_commit: 0,
            acked_seq: 0,
            last_contact: None,
            lease_from: None,
        }
    }

    pub fn inflight_bytes(&self) -> usize {
        self.inflight.iter().map(|s| s.bytes).sum()
    }

    pub fn record_beat(&mut self, seq: u64, at: Duration) {
        if self.beats.len() == MAX_BEATS {
            self.beats.pop_front();
        }
        let (prev, last, bytes) = (0, 0, 0);
        self.beats.push_back(Sent {
            seq,
            prev,
            last,
            bytes,
            at,
        });
    }

    pub fn record_append(&mut self, sent: Sent, commit: u64) {
        self.next = sent.last + 1;
        self.sent_commit = commit;
        self.inflight.push_back(sent);
    }

    /// An answer in the leader's term. Says whether `matched` rose.
    pub fn answered(&mut self, now: Duration, answer: &AppendEntriesResponse) -> bool {
        let Some((sent, beat)) = self.take(answer.seq) else {
            return false;
        };
        self.heard(now, &sent, answer.success);
        if beat {
            return false;
        }
        if answer.success {
            self.succeeded(sent.last)
        } else {
            self.rejected(now, &sent, answer);
            false
        }
    }

    fn take(&mut self, seq: u64) -> Option<(Sent, bool)> {
        if let Some(at) = self.beats.iter().position(|s| s.seq == seq) {
            return self.beats.remove(at).map(|s| (s, true));
        }
        let at = self.inflight.iter().position(|s| s.seq == seq)?;
        self.inflight.remove(at).map(|s| (s, false))
    }

    fn heard(&mut self, now: Duration, sent: &Sent, success: bool) {
        self.acked_seq = self.acked_seq.max(sent.seq);
        self.last_contact = Some(now);
        if success {
            self.lease_from = self.lease_from.max(Some(sent.at));
        }
    }

    fn succeeded(&mut self, last: u64) -> bool {
        self.failures = 0;
        self.retry_at = None;
        self.mode = Mode::Replicate;
        self.next = self.next.max(last + 1);
        let rose = last > self.matched;
        self.matched = self.matched.max(last);
        rose
    }

    /// Steps back to where the follower may agree. Falls below `matched` if the follower says so: it
    /// may have lost its disk, and a late answer costs nothing but a resend.
    fn rejected(&mut self, now: Duration, sent: &Sent, answer: &AppendEntriesResponse) {
        self.next = sent.prev.min(answer.last_log.saturating_add(1)).max(1);
        self.matched = self.matched.min(self.next - 1);
        self.mode = Mode::Probe;
        self.inflight.clear();
        self.sent_commit = 0;
        if answer.no_retry_backoff {
            self.failures = 0;
            self.retry_at = None;
        } else {
            self.back_off(now);
        }
    }

    /// The follower answered the snapshot request with this number. Says whether `matched` rose.
    pub fn snapshot_answered(&mut self, now: Duration, seq: u64, success: bool) -> bool {
        let Some((_, index)) = self.snapshot.take_if(|s| s.0 == seq) else {
            return false;
        };
        self.last_contact = Some(now);
        self.mode = Mode::Probe;
        if !success {
            self.back_off(now);
            return false;
        }
        self.failures = 0;
        self.retry_at = None;
        let rose = index > self.matched;
        self.matched = self.matched.max(index);
        self.next = self.matched + 1;
        rose
    }

    /// The request with this number got no answer.
    pub fn lost(&mut self, now: Duration, seq: u64) {
        if self.snapshot.take_if(|s| s.0 == seq).is_some() {
            self.snapshot_failed(now);
        } else if let Some((sent, false)) = self.take(seq) {
            self.fall_back(now, sent.prev);
        }
    }

    /// No snapshot could be taken or sent.
    pub fn snapshot_failed(&mut self, now: Duration) {
        self.snapshot = None;
        self.mode = Mode::Probe;
        self.back_off(now);
    }

    /// Gives up requests that were sent before `deadline` and not answered.
    pub fn expire(&mut self, now: Duration, deadline: Duration) {
        if let Some(oldest) = self.inflight.front().filter(|s| s.at <= deadline) {
            self.fall_back(now, oldest.prev);
        }
    }

    /// The log no longer holds what the follower needs.
    pub fn needs_snapshot(&mut self) {
        self.mode = Mode::Snapshot;
        self.inflight.clear();
        self.snapshot = None;
    }

    /// Nothing can be sent now.
    pub fn pause(&mut self, now: Duration) {
        self.back_off(now);
    }

    /// The log was replaced: probe again from `next`. What was heard stays heard.
    pub fn start_over(&mut self, next: u64) {
        self.mode = Mode::Probe;
        self.next = next;
        self.matched = 0;
        self.inflight.clear();
        self.snapshot = None;
        self.failures = 0;
        self.retry_at = None;
        self.sent_commit = 0;
    }

    fn fall_back(&mut self, now: Duration, prev: u64) {
        self.next = match self.mode {
            Mode::Replicate => self.matched + 1,
            Mode::Probe | Mode::Snapshot => prev + 1,
        };
        self.mode = Mode::Probe;
        self.inflight.clear();
        self.sent_commit = 0;
        self.back_off(now);
    }

    fn back_off(&mut self, now: Duration) {
        self.failures = (self.failures + 1).min(BACKOFF_CAP);
        self.retry_at = Some(now + backoff(self.failures));
    }
}

/// The pause after this many failures in a row: 10 ms, 10 ms, 20 ms, ... 10.24 s.
fn backoff(failures: u32) -> Duration {
    BACKOFF_BASE * (1 << failures.clamp(2, BACKOFF_CAP).saturating_sub(2))
}
