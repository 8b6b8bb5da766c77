//! Three servers over loopback: Raft, forwarding, a lost leader, a snapshot for one that lags.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use super::tests::{Dir, options};
use super::{Running, Server, Tuning, rpc};
use crate::drive::gossip::Settings;
use crate::drive::{self, Runtime, Shutdown};
use crate::gossip;
use crate::raft::{self, Configuration, Raft, Suffrage, Write};
use crate::serf::settings::ServerPools;
use crate::store::{self, LogLimits};
use crate::structs::rpc::{call, method};
use crate::structs::{DirEntry, KVSRequest, KeyRequest, Result, kv_op};

/// What comes of asking, again while it is refused: a busy machine may take leadership from a server at any time.
async fn answered<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T>) -> T {
    let deadline = drive::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(why) => assert!(drive::now() < deadline, "{what}: {why}"),
        }
        drive::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes a key through a server.
async fn put(server: &Arc<Server>, key: &str, value: &str) {
    let request = KVSRequest {
        op: kv_op::SET.to_owned(),
        dir_ent: DirEntry {
            key: key.to_owned(),
            value: value.as_bytes().to_vec().into(),
            ..DirEntry::default()
        },
        ..KVSRequest::default()
    };
    let write = async || call::<method::KvsApply>(&**server, request.clone()).await;
    answered(key, write).await;
}

/// Reads a key through a server.
async fn get(server: &Arc<Server>, key: &str) -> Option<String> {
    let request = KeyRequest {
        key: key.to_owned(),
        ..KeyRequest::default()
    };
    let read = async || call::<method::KvsGet>(&**server, request.clone()).await;
    let entry = answered(key, read).await.entries.unwrap_or_default().pop();
    entry.map(|e| String::from_utf8_lossy(&e.value).into_owned())
}

const PATIENCE: Duration = Duration::from_secs(120);

/// A log that is cut soon.
const SHORT_LOG: LogLimits = LogLimits {
    max_entries: 1000,
    max_bytes: 256 * 1024,
    keep_entries: 100,
};

/// One server, running or not.
struct Seat {
    dir: Dir,
    id: String,
    address: SocketAddr,
    serf: SocketAddr,
    running: Option<(Running, Shutdown)>,
}

/// A loopback host for one server, so that no other test's connection takes its ports.
fn own_host() -> Ipv4Addr {
    let octet = || fastrand::u8(1..=254);
    Ipv4Addr::new(127, octet(), octet(), octet())
}

/// Two addresses that nobody listened on a moment ago.
fn free_addresses(host: Ipv4Addr) -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((host, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

impl Seat {
    fn name(&self) -> String {
        format!("node-{}", &self.id[..1])
    }

    fn pool(&self) -> ServerPools {
        let tags = [
            ("role", "consul"),
            ("dc", "dc1"),
            ("id", &self.id),
            ("port", &self.address.port().to_string()),
            ("vsn", "2"),
            ("vsn_min", "2"),
            ("vsn_max", "3"),
            ("raft_vsn", "3"),
            ("segment", ""),
            ("build", "1.8.7:"),
        ];
        let tags = tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        ServerPools {
            lan: Settings {
                bind: self.serf,
                pool: gossip::Config::local(&self.name(), self.serf, tags),
                snapshot: None,
                keyring: None,
            },
            wan: None,
        }
    }

    fn start(&mut self, runtime: &Runtime, log_limits: LogLimits) {
        let mut options = options(&self.dir.0);
        options.node_id.clone_from(&self.id);
        options.node_name = self.name();
        options.advertise = self.address.ip();
        options.server_port = self.address.port();
        options.alone = false;
        options.bootstrap = false;
        let mut core = raft::Config::new(self.id.as_str().into(), 1, fastrand::u64(..));
        core.heartbeat_timeout = Duration::from_secs(1);
        core.election_timeout = Duration::from_secs(1);
        core.lease_timeout = Duration::from_millis(500);
        let tuning = Tuning {
            raft: core,
            store: store::Options {
                log_limits,
                ..store::Options::default()
            },
            rpc: Some(rpc::Settings {
                bind: self.address,
                max_conns_per_client: 100,
                handshake_timeout: Duration::from_secs(5),
            }),
        };
        let shutdown = Shutdown::default();
        let (events, _) = smol::channel::bounded(1);
        let running = Running::start(
            &runtime.handle(),
            &shutdown,
            &self.dir.0,
            options,
            tuning,
            self.pool(),
            events,
        )
        .unwrap();
        self.running = Some((running, shutdown));
    }

    async fn stop(&mut self) {
        let (running, shutdown) = self.running.take().unwrap();
        shutdown.trigger();
        running.join().await;
    }

    fn server(&self) -> &Arc<Server> {
        &self.running.as_ref().unwrap().0.server
    }
}

/// Three servers whose logs begin with the configuration of all three.
fn seats() -> Vec<Seat> {
    let seats: Vec<Seat> = ["a", "b", "c"]
        .map(|name| {
            let [address, serf] = free_addresses(own_host());
            Seat {
                dir: Dir::new(),
                id: format!("{}-2222-3333-4444-555555555555", name.repeat(8)),
                address,
                serf,
                running: None,
            }
        })
        .into();
    let servers = seats.iter().map(|seat| raft::Server {
        suffrage: Suffrage::Voter,
        id: seat.id.clone(),
        address: seat.address.to_string(),
    });
    let configuration = Configuration {
        servers: servers.collect(),
    };
    for seat in &seats {
        let (mut log, _, _) = store::open(&seat.dir.0, store::Options::default()).unwrap();
        let (hard_state, entry) = Raft::bootstrap(&configuration).unwrap();
        let write = Write {
            entries: vec![entry],
            hard_state: Some(hard_state),
            ..Write::default()
        };
        log.write(&[write]).unwrap();
    }
    seats
}

/// Brings a server into the pool of the others.
async fn join(seats: &[Seat], at: usize) {
    let others = seats.iter().filter(|seat| seat.running.is_some());
    let others = others.map(|seat| seat.serf).collect();
    let (reached, errors) = seats[at].server().pools.lan.join(others).await;
    assert!(reached > 0, "{errors:?}");
}

async fn leader(seats: &[Seat]) -> usize {
    let deadline = drive::now() + PATIENCE;
    loop {
        let leads = |seat: &Seat| seat.running.is_some() && seat.server().is_ready_leader();
        if let Some(at) = seats.iter().position(leads) {
            return at;
        }
        assert!(drive::now() < deadline, "no leader");
        drive::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn three_servers_keep_a_value_through_the_loss_of_their_leader() {
    let runtime = Runtime::new().unwrap();
    let mut seats = seats();
    for seat in &mut seats {
        seat.start(&runtime, LogLimits::default());
    }
    runtime.run(async {
        join(&seats, 1).await;
        join(&seats, 2).await;
        let first = leader(&seats).await;
        for (n, seat) in seats.iter().enumerate() {
            // Followers forward.
            put(seat.server(), &format!("k{n}"), "v").await;
        }
        seats[first].stop().await;
        let second = leader(&seats).await;
        assert_ne!(first, second);
        let other = 3 - first - second;
        put(seats[other].server(), "after", "v").await;
        for key in ["k0", "k1", "k2", "after"] {
            let value = get(seats[other].server(), key).await;
            assert_eq!(value.as_deref(), Some("v"), "{key}");
        }
        seats[first].start(&runtime, LogLimits::default());
        join(&seats, first).await;
        let value = get(seats[first].server(), "after").await;
        assert_eq!(value.as_deref(), Some("v"));
        for seat in &mut seats {
            seat.stop().await;
        }
    });
}

#[test]
fn one_that_lags_behind_the_log_gets_a_snapshot() {
    let runtime = Runtime::new().unwrap();
    let mut seats = seats();
    for seat in &mut seats {
        seat.start(&runtime, SHORT_LOG);
    }
    runtime.run(async {
        join(&seats, 1).await;
        join(&seats, 2).await;
        let first = leader(&seats).await;
        let lagging = (first + 1) % 3;
        put(seats[lagging].server(), "before", "v").await;
        seats[lagging].stop().await;
        let value = "x".repeat(2000);
        for n in 0..3000 {
            put(seats[first].server(), &format!("k{n}"), &value).await;
        }
        let deadline = drive::now() + PATIENCE;
        loop {
            let status = seats[first].server().raft.status().await.unwrap();
            if status.snapshot_index > 1000 {
                break;
            }
            assert!(drive::now() < deadline, "the log is not cut: {status:?}");
            drive::sleep(Duration::from_millis(10)).await;
        }
        seats[lagging].start(&runtime, SHORT_LOG);
        join(&seats, lagging).await;
        let server = seats[lagging].server();
        let target = seats[first].server().raft.applied_index();
        while server.raft.applied_index() < target {
            assert!(
                drive::now() < deadline,
                "the lagging server does not catch up"
            );
            drive::sleep(Duration::from_millis(10)).await;
        }
        let status = server.raft.status().await.unwrap();
        assert!(status.snapshot_index > 1000, "{status:?}");
        let state = server.state.read().unwrap();
        let (_, entry) = state.kvs_get(&mut store::WatchSet::new(), "k2999").unwrap();
        assert_eq!(entry.unwrap().value.len(), 2000);
        drop(state);
        for seat in &mut seats {
            seat.stop().await;
        }
    });
}
