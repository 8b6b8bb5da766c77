//! Members over loopback.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::drive::{Runtime, sleep};
use crate::gossip::{Change, Config, Event, Keyring, Member};
use crate::structs::MemberStatus;

/// What takes longer has failed.
const LIMIT: Duration = Duration::from_secs(120);

struct Machine {
    runtime: Runtime,
    shutdown: Shutdown,
    dir: PathBuf,
}

impl Machine {
    fn new(name: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("consul-lite-gossip-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self {
            runtime: Runtime::new().unwrap(),
            shutdown: Shutdown::default(),
            dir,
        }
    }

    /// Settings of a member at any free port.
    fn settings(&self, name: &str) -> Settings {
        let bind = "127.0.0.1:0".parse().unwrap();
        let mut pool = Config::local(name, bind, Tags::new());
        pool.probe_interval = Duration::from_millis(100);
        pool.gossip_interval = Duration::from_millis(20);
        pool.reconnect_interval = Duration::from_millis(300);
        pool.leave_propagate_delay = Duration::from_millis(100);
        pool.suspicion_mult = 4;
        Settings {
            bind,
            pool,
            snapshot: Some(self.dir.join(format!("{name}.snapshot"))),
            keyring: Some(self.dir.join(format!("{name}.keyring"))),
        }
    }

    fn start(&self, settings: Settings) -> (GossipDriver, Shutdown) {
        let shutdown = Shutdown::default();
        let driver = GossipDriver::start(&self.runtime.handle(), shutdown.clone(), settings);
        (driver.unwrap(), shutdown)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shutdown.trigger();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn addr(driver: &GossipDriver) -> SocketAddr {
    driver.handle().local().unwrap().addr
}

fn status(driver: &GossipDriver, name: &str) -> Option<MemberStatus> {
    let members = driver.handle().members();
    members.iter().find(|m| m.name == name).map(|m| m.status)
}

async fn until(what: &str, so: impl Fn() -> bool) {
    let wait = async {
        while !so() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = clock::timeout(LIMIT, wait).await;
    assert!(waited.is_ok(), "not within {LIMIT:?}: {what}");
}

async fn event(driver: &GossipDriver, wanted: impl Fn(&Event) -> bool) {
    let events = driver.events();
    let wait = async { while !wanted(&events.recv().await.unwrap()) {} };
    assert!(clock::timeout(LIMIT, wait).await.is_ok(), "no such event");
}

#[test]
fn members_meet_talk_fail_and_leave() {
    let machine = Machine::new("meet");
    let (a, _) = machine.start(machine.settings("a"));
    let (b, stop_b) = machine.start(machine.settings("b"));
    let (c, _) = machine.start(machine.settings("c"));
    machine.runtime.run(async {
        // A member alone waits for nothing.
        until("nothing is waited for", || a.shared.next_tick().is_none()).await;
        let (reached, errors) = b.handle().join(vec![addr(&a)]).await;
        assert_eq!((reached, errors.len()), (1, 0));
        assert_eq!(c.handle().join(vec![addr(&a)]).await.0, 1);
        for driver in [&a, &b, &c] {
            until("all meet", || {
                ["a", "b", "c"]
                    .iter()
                    .all(|name| status(driver, name) == Some(MemberStatus::Alive))
            })
            .await;
        }
        let fired = a.handle().user_event("deploy", b"1".to_vec(), false).await;
        fired.unwrap();
        for driver in [&a, &b, &c] {
            event(driver, |e| matches!(e, Event::User { name, payload, .. } if name == "deploy" && payload == b"1"))
                .await;
        }
        let tags = Tags::from([("x".to_owned(), "y".to_owned())]);
        c.handle().set_tags(tags.clone()).await.unwrap();
        until("tags spread", || {
            a.handle().member("c").is_some_and(|m: Member| m.tags == tags)
        })
        .await;
        stop_b.trigger();
        b.join().await;
        until("b is seen to fail", || status(&a, "b") == Some(MemberStatus::Failed)).await;
        event(&a, |e| matches!(e, Event::Member(Change::Failed, m) if m.name == "b")).await;
        a.handle().force_leave("b", false).await.unwrap();
        until("b has left", || status(&c, "b") == Some(MemberStatus::Left)).await;
        assert!(a.handle().force_leave("nobody", false).await.is_err());
        c.handle().leave().await;
        until("c has left", || status(&a, "c") == Some(MemberStatus::Left)).await;
        // A second time returns at once.
        c.handle().leave().await;
    });
}

#[test]
fn joining_nobody_says_why() {
    let machine = Machine::new("nobody");
    let (a, stop) = machine.start(machine.settings("a"));
    machine.runtime.run(async {
        let (_taken, nobody) = crate::net::deaf();
        let (reached, errors) = a.handle().join(vec![nobody]).await;
        assert_eq!(reached, 0);
        let text = format!("dial tcp {nobody}: connect: connection refused");
        assert_eq!(errors, [(nobody, text)]);
        assert_eq!(a.handle().join(Vec::new()).await.0, 0);
        let same = Settings {
            bind: addr(&a),
            ..machine.settings("b")
        };
        let second = GossipDriver::start(&machine.runtime.handle(), stop.clone(), same);
        let why = second.err().unwrap().to_string();
        assert!(why.ends_with("bind: address already in use"), "{why}");
        stop.trigger();
        let handle = a.handle();
        a.join().await;
        assert_eq!(handle.join(vec![nobody]).await.0, 0);
    });
}

#[test]
fn a_snapshot_leads_back_and_nothing_is_written_while_idle() {
    let machine = Machine::new("snapshot");
    let (a, _) = machine.start(machine.settings("a"));
    let (b, stop) = machine.start(machine.settings("b"));
    machine.runtime.run(async {
        assert_eq!(b.handle().join(vec![addr(&a)]).await.0, 1);
        let file = machine.dir.join("b.snapshot");
        let written = || std::fs::read_to_string(&file).unwrap_or_default();
        let line = format!("alive: a {}\n", addr(&a));
        until("the snapshot is written", || written().contains(&line)).await;
        let same = Settings {
            bind: addr(&b),
            ..machine.settings("b")
        };
        stop.trigger();
        b.join().await;
        until("b failed", || status(&a, "b") == Some(MemberStatus::Failed)).await;
        let (b, _stop) = machine.start(same);
        until("b is back", || status(&a, "b") == Some(MemberStatus::Alive)).await;
        b.handle().leave().await;
        until("the leave is written", || written().ends_with("leave\n")).await;
    });
}

#[test]
fn keys_change_everywhere_and_strangers_stay_out() {
    let machine = Machine::new("keys");
    let (old, new) = ([1; 16], [2; 32]);
    let keyed = |name: &str, key: &[u8]| {
        let mut settings = machine.settings(name);
        settings.pool.keyring = Some(Keyring::new(key).unwrap());
        settings
    };
    let (a, _) = machine.start(keyed("a", &old));
    let (b, _) = machine.start(keyed("b", &old));
    let (stranger, _) = machine.start(keyed("c", &[9; 16]));
    let (plain, _) = machine.start(machine.settings("d"));
    machine.runtime.run(async {
        assert_eq!(b.handle().join(vec![addr(&a)]).await.0, 1);
        for other in [&stranger, &plain] {
            let (reached, errors) = other.handle().join(vec![addr(&a)]).await;
            assert_eq!(reached, 0, "{errors:?}");
        }
        for operation in [
            KeyOperation::Install(new.to_vec()),
            KeyOperation::Use(new.to_vec()),
            KeyOperation::Remove(old.to_vec()),
            KeyOperation::List,
        ] {
            let outcome = b.handle().keys(operation.clone(), 0).await.unwrap();
            assert_eq!(
                (outcome.nodes, outcome.responses, outcome.errors),
                (2, 2, 0),
                "{operation:?}"
            );
        }
        for name in ["a", "b"] {
            let file = machine.dir.join(format!("{name}.keyring"));
            let only = || {
                let ring = read_keyring(&file).ok().flatten();
                ring.is_some_and(|ring| ring.keys().eq([&new[..]]))
            };
            until("the file has the new key only", only).await;
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(a.handle().members().len(), 2);
        let refused = plain.handle().keys(KeyOperation::List, 0).await.unwrap();
        assert_eq!((refused.responses, refused.errors), (1, 1));
    });
}

#[test]
fn nobody_can_take_all_connections() {
    use std::io::Read;
    let machine = Machine::new("connections");
    let mut settings = machine.settings("a");
    settings.pool.tcp_timeout = Duration::from_millis(500);
    let (a, _) = machine.start(settings);
    machine.runtime.run(async {
        let to = addr(&a);
        let idle: Vec<_> = (0..200)
            .map(|_| std::net::TcpStream::connect(to).unwrap())
            .collect();
        // Those beyond the bound are closed at once, the others when their time is over.
        for mut stream in idle {
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let end = smol::unblock(move || stream.read(&mut [0; 1])).await;
            assert!(!matches!(&end, Ok(1..)), "{end:?}");
        }
        let (b, _) = machine.start(machine.settings("b"));
        assert_eq!(b.handle().join(vec![to]).await.0, 1);
    });
}
