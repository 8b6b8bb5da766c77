//! A lone server on a real store: writing, reading, blocking, locking, restarting, snapshots.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Options, Running, Tuning};
use crate::drive::gossip::Settings;
use crate::drive::{self, Runtime, Shutdown};
use crate::gossip;
use crate::raft;
use crate::serf::settings::ServerPools;
use crate::store;
use crate::structs::rpc::{Delegate, call, method};
use crate::structs::{
    AutopilotConfig, DirEntry, KVSRequest, KeyRequest, QueryOptions, RegisterRequest, Session,
    SessionRequest, SnapshotRequest, kv_op,
};

/// A directory that goes away with the test.
pub(super) struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "consul-lite-server-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn options(dir: &Path) -> Options {
    Options {
        node_name: "n1".to_owned(),
        node_id: "11111111-2222-3333-4444-555555555555".to_owned(),
        datacenter: "dc1".to_owned(),
        advertise: IpAddr::V4(Ipv4Addr::LOCALHOST),
        server_port: 8300,
        serf_lan_port: 8301,
        serf_wan_port: None,
        leave_drain_time: Duration::ZERO,
        alone: true,
        bootstrap: true,
        bootstrap_expect: 0,
        rpc_hold_timeout: Duration::from_secs(7),
        default_query_time: Duration::from_secs(300),
        max_query_time: Duration::from_secs(600),
        autopilot: AutopilotConfig::default(),
        session_ttl_min: Duration::from_secs(10),
        disable_coordinates: false,
        acl: crate::server::acl::Options::default(),
        data_dir: dir.to_owned(),
        temp_dir: dir.to_owned(),
        clock: drive::now(),
    }
}

/// A LAN pool at any free port.
pub(super) fn lone_pool(name: &str) -> ServerPools {
    let bind = (Ipv4Addr::LOCALHOST, 0).into();
    ServerPools {
        lan: Settings {
            bind,
            pool: gossip::Config::local(name, bind, Default::default()),
            snapshot: None,
            keyring: None,
        },
        wan: None,
    }
}

/// Runs `test` with a server on `dir`, then stops the server in good order.
fn with_server<T>(dir: &Dir, test: impl AsyncFnOnce(&dyn Delegate) -> T) -> T {
    let (runtime, shutdown) = (Runtime::new().unwrap(), Shutdown::default());
    let (events, _deliveries) = smol::channel::bounded(16);
    let options = options(&dir.0);
    let tuning = Tuning {
        raft: raft::Config::new(options.node_id.as_str().into(), 1, 1),
        store: store::Options::default(),
        rpc: None,
    };
    let running = Running::start(
        &runtime.handle(),
        &shutdown,
        &dir.0,
        options,
        tuning,
        lone_pool("n1"),
        events,
    )
    .unwrap();
    runtime.run(async {
        let result = test(&*running.server).await;
        shutdown.trigger();
        running.join().await;
        result
    })
}

fn kv(op: &str, key: &str, value: &[u8]) -> KVSRequest {
    KVSRequest {
        op: op.to_owned(),
        dir_ent: DirEntry {
            key: key.to_owned(),
            value: value.to_vec().into(),
            ..DirEntry::default()
        },
        ..KVSRequest::default()
    }
}

fn get(key: &str, index: u64) -> KeyRequest {
    KeyRequest {
        key: key.to_owned(),
        options: QueryOptions {
            min_query_index: index,
            ..QueryOptions::default()
        },
        ..KeyRequest::default()
    }
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let dir = Dir::new();
    let index = with_server(&dir, async |d| {
        call::<method::KvsApply>(d, kv(kv_op::SET, "a", b"1"))
            .await
            .unwrap();
        let read = call::<method::KvsGet>(d, get("a", 0)).await.unwrap();
        assert_eq!(read.entries.unwrap()[0].value.0, b"1");
        assert!(read.meta.known_leader);
        read.meta.index
    });
    with_server(&dir, async |d| {
        let read = call::<method::KvsGet>(d, get("a", 0)).await.unwrap();
        assert_eq!(read.entries.unwrap()[0].modify_index, index);
        let missing = call::<method::KvsGet>(d, get("b", 0)).await.unwrap();
        assert_eq!(missing.entries, None);
        assert_eq!(missing.meta.index, index);
    });
}

#[test]
fn a_blocked_query_wakes_for_its_key_only() {
    let dir = Dir::new();
    with_server(&dir, async |d| {
        call::<method::KvsApply>(d, kv(kv_op::SET, "watched", b"1"))
            .await
            .unwrap();
        let index = call::<method::KvsGet>(d, get("watched", 0))
            .await
            .unwrap()
            .meta
            .index;
        let wait = call::<method::KvsGet>(d, get("watched", index));
        let write = async {
            for n in 0..20 {
                call::<method::KvsApply>(d, kv(kv_op::SET, "other", &[n]))
                    .await
                    .unwrap();
            }
            call::<method::KvsApply>(d, kv(kv_op::SET, "watched", b"2"))
                .await
                .unwrap();
        };
        let (read, ()) = smol::future::zip(wait, write).await;
        let read = read.unwrap();
        assert_eq!(read.entries.unwrap()[0].value.0, b"2");
        assert!(read.meta.index > index);
    });
}

#[test]
fn a_lock_is_held_by_one_session_and_delayed_after_its_end() {
    let dir = Dir::new();
    with_server(&dir, async |d| {
        let node = RegisterRequest {
            node: "n9".to_owned(),
            address: "127.0.0.9".to_owned(),
            ..RegisterRequest::default()
        };
        call::<method::CatalogRegister>(d, Box::new(node))
            .await
            .unwrap();
        let session = SessionRequest {
            op: "create".to_owned(),
            session: Session {
                node: "n9".to_owned(),
                lock_delay: crate::structs::go::GoDuration::from_secs(15),
                ..Session::default()
            },
            ..SessionRequest::default()
        };
        let first = call::<method::SessionApply>(d, session.clone())
            .await
            .unwrap();
        let second = call::<method::SessionApply>(d, session.clone())
            .await
            .unwrap();
        let lock = |id: &str| {
            let mut request = kv(kv_op::LOCK, "leader", b"me");
            request.dir_ent.session = id.to_owned();
            request
        };
        assert!(call::<method::KvsApply>(d, lock(&first)).await.unwrap());
        assert!(!call::<method::KvsApply>(d, lock(&second)).await.unwrap());
        let destroy = SessionRequest {
            op: "destroy".to_owned(),
            session: Session {
                id: first,
                ..Session::default()
            },
            ..SessionRequest::default()
        };
        call::<method::SessionApply>(d, destroy).await.unwrap();
        assert!(
            !call::<method::KvsApply>(d, lock(&second)).await.unwrap(),
            "lock-delay"
        );
        let held = call::<method::KvsGet>(d, get("leader", 0)).await.unwrap();
        assert_eq!(held.entries.unwrap()[0].session, "");
    });
}

#[test]
fn a_snapshot_brings_the_state_back_and_wakes_blocked_queries() {
    let dir = Dir::new();
    with_server(&dir, async |d| {
        call::<method::KvsApply>(d, kv(kv_op::SET, "a", b"old"))
            .await
            .unwrap();
        let (saved, file) = d.snapshot_save(SnapshotRequest::default()).await.unwrap();
        assert!(saved.meta.index > 0);
        call::<method::KvsApply>(d, kv(kv_op::SET, "a", b"new"))
            .await
            .unwrap();
        let index = call::<method::KvsGet>(d, get("a", 0))
            .await
            .unwrap()
            .meta
            .index;
        let blocked = call::<method::KvsGet>(d, get("a", index));
        let restore = async {
            d.snapshot_restore(SnapshotRequest::default(), file)
                .await
                .unwrap();
        };
        let (read, ()) = smol::future::zip(blocked, restore).await;
        assert_eq!(read.unwrap().entries.unwrap()[0].value.0, b"old");
        call::<method::KvsApply>(d, kv(kv_op::SET, "a", b"after"))
            .await
            .unwrap();
        let read = call::<method::KvsGet>(d, get("a", 0)).await.unwrap();
        assert!(read.meta.index > index, "the index only moves forward");
    });
    with_server(&dir, async |d| {
        let read = call::<method::KvsGet>(d, get("a", 0)).await.unwrap();
        assert_eq!(read.entries.unwrap()[0].value.0, b"after");
    });
}

#[test]
fn another_datacenter_is_unknown() {
    let dir = Dir::new();
    with_server(&dir, async |d| {
        let request = KeyRequest {
            datacenter: "dc9".to_owned(),
            ..get("a", 0)
        };
        let error = call::<method::KvsGet>(d, request).await.unwrap_err();
        assert_eq!(error.text(), "No path to datacenter");
    });
}
