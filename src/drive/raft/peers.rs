//! The loop's dealings with other servers: what they ask and answer, and snapshots for those that lag.
//!
//! Holds true: each request that came in is answered at most once, on the connection it came by; the data of
//! a snapshot is kept exactly as long as its request.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use futures_channel::oneshot;
use smol::channel::Sender;

use super::event_loop::EventLoop;
use super::transport::Transport;
use super::{ApplyJob, Command, SnapshotSource, StateFile};
use crate::drive::runtime::Handle;
use crate::raft::{Install, Message, Outgoing, ServerId};

/// Requests of other servers without an answer, at most, before those whose connection ended are forgotten.
const MAX_ASKED: usize = 1024;

/// What the loop reaches beyond the core and its disk.
pub(super) struct Outside<R> {
    pub runtime: Handle,
    pub mailbox: Sender<Command<R>>,
    pub transport: Option<Transport<R>>,
    pub snapshots: Arc<dyn SnapshotSource>,
}

/// A request of another server that has no answer yet.
pub(super) struct Asked {
    answer: oneshot::Sender<Message>,
    data: Option<File>,
}

/// Requests of other servers by the number they were given here.
#[derive(Default)]
pub(super) struct AskedTable {
    waiting: HashMap<u64, Asked>,
    next: u64,
}

impl AskedTable {
    fn add(&mut self, asked: Asked) -> u64 {
        if self.waiting.len() >= MAX_ASKED {
            self.waiting.retain(|_, asked| !asked.answer.is_canceled());
        }
        self.next += 1;
        self.waiting.insert(self.next, asked);
        self.next
    }
}

impl<R: Send + 'static> EventLoop<R> {
    /// Another server asks.
    pub(super) fn asked(
        &mut self,
        from: &ServerId,
        message: Message,
        data: Option<File>,
        answer: oneshot::Sender<Message>,
    ) {
        let seq = self.asked.add(Asked { answer, data });
        let now = self.time();
        self.core.step(now, from, message.with_seq(seq));
    }

    /// Sends what the core has to say: answers to whoever asked, requests by the transport.
    pub(super) fn send(&mut self, messages: Vec<Outgoing>) {
        for Outgoing { to, message } in messages {
            if !message.is_request() {
                if let Some(asked) = self.asked.waiting.remove(&message.seq()) {
                    // The connection may have ended.
                    let _ = asked.answer.send(message);
                }
                continue;
            }
            let seq = message.seq();
            let address = self.address(&to);
            let sent = match &mut self.outside.transport {
                Some(transport) => transport.send(&to, &address, message),
                None => false,
            };
            if !sent {
                let now = self.time();
                self.core.rpc_failed(now, &to, seq);
            }
        }
    }

    /// What Raft's configuration says about where a server is.
    fn address(&self, id: &str) -> String {
        let known = self.core.configuration().get(id);
        known.map_or_else(String::new, |server| server.address.clone())
    }

    /// Takes a snapshot for each of these followers, beside the loop.
    pub(super) fn take_snapshots(&mut self, wanted: Vec<ServerId>) {
        for to in wanted {
            let (source, mailbox) = (self.outside.snapshots.clone(), self.outside.mailbox.clone());
            let take = async move {
                let taken = smol::unblock(move || source.take()).await;
                let snapshot = taken
                    .map_err(|fault| {
                        log::error!(
                            target: "agent.server.raft",
                            "no snapshot for a follower: {}", fault.text
                        );
                    })
                    .ok();
                // The loop may have ended.
                let _ = mailbox.send(Command::SnapshotTaken { to, snapshot }).await;
            };
            self.outside.runtime.spawn(take).detach();
        }
    }

    /// Sends a snapshot to the follower it was taken for.
    pub(super) fn snapshot_taken(&mut self, to: ServerId, snapshot: Option<StateFile>) {
        let now = self.time();
        let Some(taken) = snapshot else {
            self.core.snapshot_failed(now, &to);
            return;
        };
        let Some(request) = self.core.send_snapshot(now, &to, taken.index) else {
            return;
        };
        let address = self.address(&to);
        if let Some(transport) = &self.outside.transport {
            let message = Message::InstallSnapshot(request);
            transport.send_snapshot(to, &address, message, taken.file, taken.size);
        }
    }

    /// Replaces the state machine by what the leader sent.
    pub(super) fn install(&mut self, install: Install) {
        let data = self
            .asked
            .waiting
            .get_mut(&install.seq)
            .and_then(|asked| asked.data.take());
        let Some(file) = data else {
            let now = self.time();
            self.core.snapshot_installed(now, false);
            return;
        };
        self.installing = Some(install.meta.index);
        let meta = install.meta;
        self.apply_jobs.put(ApplyJob::Install { file, meta });
    }

    /// The leader's snapshot is in place, or it is not.
    pub(super) fn installed(&mut self, ok: bool) {
        if let Some(index) = self.installing.take()
            && ok
        {
            self.applied = index;
        }
        let now = self.time();
        self.core.snapshot_installed(now, ok);
    }
}
