//! A delegate with a key/value store in memory, and a server in front of it: what the tests of this
//! folder talk to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use consul_lite::agent::event::Buffer;
use consul_lite::drive::{self, Runtime, Shutdown};
use consul_lite::http::{Ctx, Live, Patience, Server, Settings};
use consul_lite::net::{Listener, ListenerConfig, UnixSocket};
use consul_lite::structs::rpc::{BoxFuture, Delegate, Reply, Request, Stats};
use consul_lite::structs::*;

use crate::common::http::Client;

/// Keys, values and the indexes of their last change.
#[derive(Default)]
pub struct Stub {
    state: Mutex<State>,
    changed: event_listener::Event,
    /// What the last restore was given.
    pub restored: Mutex<Vec<u8>>,
    /// Requests other than KV, by name, with the options they came with.
    pub seen: Mutex<Vec<String>>,
}

#[derive(Default)]
struct State {
    index: u64,
    entries: BTreeMap<String, DirEntry>,
}

impl Stub {
    fn meta(&self, index: u64) -> QueryMeta {
        QueryMeta {
            index,
            known_leader: true,
            ..QueryMeta::default()
        }
    }

    fn entries(&self, key: &str, prefix: bool) -> (Vec<DirEntry>, u64) {
        let state = self.state.lock().unwrap();
        let hit = |k: &String| if prefix { k.starts_with(key) } else { k == key };
        let found = state
            .entries
            .iter()
            .filter(|(k, _)| hit(k))
            .map(|(_, e)| e.clone());
        (found.collect(), state.index)
    }

    async fn list(&self, args: KeyRequest, prefix: bool) -> IndexedDirEntries {
        let wait = match args.options.max_query_time.to_std() {
            Duration::ZERO => Duration::from_secs(300),
            wait => wait,
        };
        let deadline = drive::now() + wait;
        loop {
            let change = self.changed.listen();
            let (entries, index) = self.entries(&args.key, prefix);
            let expired = args.options.min_query_index == 0
                || index > args.options.min_query_index
                || drive::timeout_at(deadline, change).await.is_err();
            if expired {
                return IndexedDirEntries {
                    entries: Some(entries),
                    meta: self.meta(index),
                };
            }
        }
    }

    fn apply(&self, args: KVSRequest) -> Result<bool> {
        let mut state = self.state.lock().unwrap();
        let current = state
            .entries
            .get(&args.dir_ent.key)
            .map_or(0, |e| e.modify_index);
        match args.op.as_str() {
            "cas" if current != args.dir_ent.modify_index => return Ok(false),
            "set" | "cas" => {
                state.index += 1;
                let mut entry = args.dir_ent;
                entry.modify_index = state.index;
                entry.create_index = state.index;
                state.entries.insert(entry.key.clone(), entry);
            }
            "delete" => {
                state.index += 1;
                state.entries.remove(&args.dir_ent.key);
            }
            "lock" => return Err(Error::new("invalid session \"x\"")),
            "unlock" => return Err(Error::new("rpc error making call: Permission denied")),
            other => return Err(Error::new(format!("no such op: {other}"))),
        }
        drop(state);
        self.changed.notify(usize::MAX);
        Ok(true)
    }

    async fn answer(&self, request: Request) -> Result<Reply> {
        Ok(match request {
            Request::KvsGet(args) => Reply::KvsGet(self.list(args, false).await),
            Request::KvsList(args) => Reply::KvsList(self.list(args, true).await),
            Request::KvsListKeys(args) => {
                let (entries, index) = self.entries(&args.prefix, true);
                Reply::KvsListKeys(IndexedKeyList {
                    keys: Some(entries.into_iter().map(|e| e.key).collect()),
                    meta: self.meta(index),
                })
            }
            Request::KvsApply(args) => Reply::KvsApply(self.apply(args)?),
            Request::StatusLeader(_) => Reply::StatusLeader("127.0.0.1:8300".into()),
            Request::CatalogListNodes(args) => {
                self.seen.lock().unwrap().push(format!("{args:?}"));
                let last_contact = if args.options.allow_stale { 5_000 } else { 0 };
                let mut meta = self.meta(9);
                meta.last_contact = go::GoDuration::from_millis(last_contact);
                Reply::CatalogListNodes(IndexedNodes { nodes: None, meta })
            }
            other => {
                self.seen.lock().unwrap().push(format!("{other:?}"));
                return Err(Error::new(NO_CLUSTER_LEADER));
            }
        })
    }
}

impl Delegate for Stub {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply>> {
        Box::pin(self.answer(request))
    }

    fn snapshot_save(&self, _: SnapshotRequest) -> BoxFuture<'_, Result<(SnapshotResponse, File)>> {
        Box::pin(async {
            let mut file = tempfile();
            file.write_all(&vec![7; 300_000]).unwrap();
            file.rewind().unwrap();
            let response = SnapshotResponse {
                meta: self.meta(42),
                ..SnapshotResponse::default()
            };
            Ok((response, file))
        })
    }

    fn snapshot_restore(
        &self,
        _: SnapshotRequest,
        mut file: File,
    ) -> BoxFuture<'_, Result<SnapshotResponse>> {
        Box::pin(async move {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            *self.restored.lock().unwrap() = bytes;
            Ok(SnapshotResponse::default())
        })
    }

    fn members(&self, _: bool) -> Option<Vec<Member>> {
        None
    }

    fn coordinate(&self) -> Option<Position> {
        None
    }

    fn join(&self, _: Vec<String>, _: bool) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async { Err(Error::new("not here")) })
    }

    fn force_leave(&self, _: String, _: bool) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Err(Error::new("not here")) })
    }

    fn leave(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn stats(&self) -> BoxFuture<'_, Stats> {
        Box::pin(async { Stats::new() })
    }
}

fn tempfile() -> File {
    let path = std::env::temp_dir().join(format!("consul-lite-test-{}", go::new_uuid()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    file
}

/// A server that ends with this value.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What answers behind it.
    pub stub: Arc<Stub>,
    /// What its handlers share.
    pub ctx: Arc<Ctx>,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts with the settings that most tests want.
    pub fn start() -> Running {
        Running::with(|_| {})
    }

    /// Starts with changed settings.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Running {
        Running::full(change, Live::default(), None)
    }

    /// Starts with everything given.
    pub fn full(
        change: impl FnOnce(&mut Settings),
        live: Live,
        unix: Option<UnixSocket>,
    ) -> Running {
        let mut settings = Settings {
            node_name: "n1".to_owned(),
            patience: Patience {
                head: Duration::from_millis(300),
                body: Duration::from_millis(300),
                write: Duration::from_secs(5),
                crowded: Duration::from_secs(1),
                idle: Duration::from_millis(300),
            },
            ..Settings::default()
        };
        change(&mut settings);
        let stub = Arc::new(Stub::default());
        let ctx = Arc::new(Ctx::new(
            stub.clone(),
            Arc::new(Buffer::default()),
            settings,
            live,
        ));
        let runtime = Runtime::new().unwrap();
        let shutdown = Shutdown::default();
        let server = Server::new(ctx.clone(), runtime.handle(), shutdown.clone());
        let bind = |config| runtime.run(async { Listener::bind(config).unwrap() });
        let listener = bind(ListenerConfig::Tcp("127.0.0.1:0".parse().unwrap()));
        let addr = listener.local_addr().unwrap();
        let mut tasks = vec![server.serve(listener)];
        if let Some(socket) = unix {
            tasks.push(server.serve(bind(ListenerConfig::Unix(socket))));
        }
        let ending = shutdown.clone();
        let thread = std::thread::spawn(move || {
            runtime.run(async {
                ending.triggered().await;
                for task in tasks {
                    task.await;
                }
            });
        });
        Running {
            addr,
            stub,
            ctx,
            shutdown,
            thread: Some(thread),
        }
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.addr, Duration::from_secs(60))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
