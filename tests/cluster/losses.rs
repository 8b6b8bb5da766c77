//! What a cluster goes through without losing anything: two servers of five, a leader while sessions run, a server
//! whose disk is full or slow.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::harness::{Outcome, Test};
use crate::common::json::Json;
use crate::common::{Process, TempDir, consul_lite, try_until, wait_until};
use crate::fleet::{Fleet, Member, PATIENCE};

/// Consul's own timings; the base configuration has the fastest.
const DEFAULT_TIMINGS: &str = r#""performance": {"raft_multiplier": 5}"#;
/// Autopilot does not give up on servers: what is lost still counts.
const KEEP_DEAD: &str = r#""autopilot": {"cleanup_dead_servers": false}"#;
/// The shortest TTL of a session.
const TTL: Duration = Duration::from_secs(10);
/// What a fsync takes on the slow disk.
const SLOW: Duration = Duration::from_secs(3);

pub fn tests() -> Vec<Test> {
    let test = |name: &str, run: fn() -> Outcome| Test::new(format!("losses::{name}"), run);
    vec![
        test("five_servers_bear_the_loss_of_two", two_of_five),
        test("a_session_outlives_the_leader_and_then_ends", session),
        test("a_full_disk_stops_one_server_and_lies_to_nobody", full_disk),
        test("a_leader_with_a_slow_disk_goes_on_leading", slow_leader),
        test("a_follower_with_a_slow_disk_holds_nobody_up", slow_follower),
    ]
}

fn two_of_five() -> Outcome {
    let mut fleet = Fleet::formed(5, KEEP_DEAD);
    fleet.put_soon(1, "whole");
    let leader = fleet.wait_leader(1);
    let mut left: Vec<usize> = (1..=5).filter(|n| *n != leader).collect();
    let other = left.remove(0);
    fleet.kill(leader);
    fleet.kill(other);
    for n in &left {
        fleet.put_soon(*n, &format!("three-{n}"));
    }
    // A third one is too many: nothing is acknowledged, what any server may say is said.
    let third = left.remove(0);
    fleet.kill(third);
    let survivor = left[0];
    wait_until(PATIENCE, "the leader without a majority gives up", || {
        let refused = fleet.client(survivor).get("/v1/kv/whole?consistent").ok()?;
        (refused.status == 500 && refused.text().contains("No cluster leader")).then_some(())
    });
    assert!(!fleet.put(survivor, "never", "v"), "{}", fleet.logs());
    assert_eq!(
        fleet.value(survivor, "whole", "stale").as_deref(),
        Some("v")
    );
    for n in [leader, other, third] {
        fleet.restart(n);
    }
    fleet.put_soon(survivor, "again");
    for n in 1..=5 {
        for key in ["whole", "again"].map(str::to_owned).into_iter().chain(
            (1..=5)
                .filter(|n| *n != leader && *n != other)
                .map(|n| format!("three-{n}")),
        ) {
            wait_until(PATIENCE, &format!("{key} through server {n}"), || {
                fleet.value(n, &key, "consistent")
            });
        }
    }
    Outcome::Passed
}

/// The session that a server knows by this id.
fn is_there(fleet: &Fleet, n: usize, id: &str) -> Option<bool> {
    match fleet.get(n, &format!("/v1/session/info/{id}"))? {
        Json::List(found) => Some(!found.is_empty()),
        _ => None,
    }
}

fn session() -> Outcome {
    let mut fleet = Fleet::formed(3, "");
    let leader = fleet.wait_leader(1);
    let at = leader % 3 + 1;
    let body = r#"{"TTL": "10s", "LockDelay": "0s", "Behavior": "delete"}"#;
    let made = fleet
        .client(at)
        .put("/v1/session/create", body.as_bytes())
        .expect("an answer");
    let made = Json::parse(&made.text()).expect("JSON");
    let id = made
        .at("ID")
        .and_then(Json::scalar)
        .expect("an ID")
        .to_owned();
    assert!(fleet.put(at, &format!("lock?acquire={id}"), "held"));
    let renew = |fleet: &Fleet| {
        let renewed = fleet
            .client(at)
            .request("PUT", &format!("/v1/session/renew/{id}"), &[], b"");
        renewed.is_ok_and(|a| a.status == 200)
    };
    assert!(renew(&fleet));
    fleet.kill(leader);
    // The next leader gives it its whole time anew, and takes renewals.
    wait_until(PATIENCE, "another leader", || {
        fleet.leader(at).filter(|n| *n != leader)
    });
    let there = wait_until(PATIENCE, "the session's state", || {
        is_there(&fleet, at, &id)
    });
    assert!(there, "{}", fleet.logs());
    let held = Instant::now();
    while held.elapsed() < TTL * 5 / 2 {
        let renewed = try_until(TTL / 2, || renew(&fleet).then_some(()));
        assert!(renewed.is_some(), "a renewal\n{}", fleet.logs());
        // Half its time passes: what is tested is time itself.
        let until = Instant::now() + TTL / 2;
        let lost = try_until(until - Instant::now(), || {
            (is_there(&fleet, at, &id) == Some(false)).then_some(())
        });
        assert!(lost.is_none(), "ended though renewed\n{}", fleet.logs());
    }
    // Nobody renews it any more.
    let last = Instant::now();
    assert!(renew(&fleet));
    wait_until(PATIENCE, "the end of the session", || {
        (is_there(&fleet, at, &id) == Some(false)).then_some(())
    });
    let took = last.elapsed();
    assert!(took >= TTL, "ended after {took:?}");
    wait_until(PATIENCE, "its key is gone", || {
        let found = fleet.client(at).get("/v1/kv/lock").ok()?;
        (found.status == 404).then_some(())
    });
    Outcome::Passed
}

/// A program that runs ours with its data directory on a file system of its own, of so many MiB.
fn on_small_disk(dir: &Path, mib: u32) -> PathBuf {
    let script = dir.join("on-small-disk");
    let text = format!(
        "#!/bin/sh\nDATA=$(dirname \"$3\")/data\nexport DATA\nexec unshare -m sh -c '\n\
         mount --make-rprivate / && mkdir -p \"$DATA\" && mount -t tmpfs -o size={mib}m tmpfs \"$DATA\" && exec \"$@\"' \
         sh '{}' \"$@\"\n",
        consul_lite().display()
    );
    fs::write(&script, text).expect("a script can be written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it can be run");
    script
}

/// Whether file systems can be mounted in a namespace of one's own.
fn may_mount() -> Result<(), String> {
    let tried = Command::new("unshare")
        .args(["-m", "sh", "-c", "mount -t tmpfs tmpfs /mnt"])
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()),
        Err(why) => Err(format!("unshare: {why}")),
    }
}

fn full_disk() -> Outcome {
    if let Err(why) = may_mount() {
        return Outcome::Skipped(why);
    }
    let dir = TempDir::new("small-disk");
    let small = on_small_disk(dir.path(), 24);
    let mut fleet = Fleet::new(KEEP_DEAD);
    for n in 1..=3 {
        let member = Member::ours(3, &[1, 2, 3]);
        let member = if n == 2 { member.by(&small) } else { member };
        fleet.start(n, &member);
    }
    fleet.wait_voters(3);
    fleet.put_soon(2, "before");
    wait_until(PATIENCE, "it has that itself", || {
        fleet.value(2, "before", "stale")
    });
    // Its file system is seen through the process that has it.
    let pid = fleet.agent(2).process().pid();
    let data = fleet.agent(2).dir().join("data");
    let data = data.strip_prefix("/").expect("an absolute path").to_owned();
    let ballast = Path::new(&format!("/proc/{pid}/root"))
        .join(data)
        .join("ballast");
    fill(&ballast);
    // As the leader it would hand over; as a follower it is not needed.
    for n in [1, 3, 2] {
        fleet.put_soon(n, &format!("beside-{n}"));
    }
    // Now every write needs it, and it cannot.
    fleet.kill(3);
    let value = "x".repeat(64 * 1024);
    let mut acknowledged = 0;
    let refused = try_until(PATIENCE, || {
        match fleet.put(1, &format!("full-{acknowledged}"), &value) {
            // There may be room left inside its files.
            true => acknowledged += 1,
            false => return Some(()),
        }
        None
    });
    assert!(refused.is_some(), "a full disk took {acknowledged} writes");
    for n in [1, 2] {
        let read = fleet.value(n, "before", "stale");
        assert_eq!(read.as_deref(), Some("v"), "reads go on\n{}", fleet.logs());
    }
    fs::remove_file(&ballast).expect("the ballast can be removed");
    fleet.put_soon(1, "room-again");
    fleet.restart(3);
    for n in 1..=3 {
        for key in (0..acknowledged).map(|k| format!("full-{k}")) {
            let found = wait_until(PATIENCE, &format!("{key} at server {n}"), || {
                fleet.value(n, &key, "stale")
            });
            assert!(found == value, "{key} at server {n}");
        }
    }
    Outcome::Passed
}

/// Writes a file until nothing more fits.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).expect("a file on the small disk");
    for size in [1 << 20, 4096, 1] {
        let piece = vec![0; size];
        while file.write_all(&piece).is_ok() {}
    }
}

/// Makes every fsync of a server slow until what is returned ends; nothing where that cannot be done.
fn slow_down(fleet: &mut Fleet, n: usize) -> Result<Process, String> {
    let pid = fleet.agent(n).process().pid().to_string();
    let delay = format!("inject=fsync,fdatasync:delay_enter={}", SLOW.as_micros());
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-o", "/dev/null", "-p", &pid])
        .args(["-e", "trace=fsync,fdatasync", "-e", &delay])
        .stdin(Stdio::null());
    let slowed = Process::start("strace", &mut strace).map_err(|why| format!("strace: {why}"))?;
    let attached = try_until(Duration::from_secs(10), || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let tracer = status.lines().find_map(|l| l.strip_prefix("TracerPid:"))?;
        (tracer.trim() != "0").then_some(())
    });
    match attached {
        Some(()) => Ok(slowed),
        None => Err("strace may not attach to a process".to_owned()),
    }
}

/// One server's disk is slow for longer than an election takes; no write may take longer than `limit`.
fn slow_disk(fleet: &mut Fleet, slow: usize, limit: Duration) -> Outcome {
    fleet.put_soon(1, "before");
    let leader = fleet.wait_leader(1);
    let other = leader % 3 + 1;
    let other = if other == slow { other % 3 + 1 } else { other };
    let mut slowed = match slow_down(fleet, slow) {
        Ok(slowed) => slowed,
        Err(why) => return Outcome::Skipped(why),
    };
    let (began, mut n, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while began.elapsed() < SLOW * 5 {
        let start = Instant::now();
        let done = fleet.put(other, &format!("slow-{n}"), "v");
        assert!(done, "{}", fleet.logs());
        slowest = slowest.max(start.elapsed());
        n += 1;
    }
    assert_eq!(fleet.leader(other), Some(leader), "{}", fleet.logs());
    println!("{n} writes while a disk took {SLOW:?} for each fsync, the slowest {slowest:?}");
    assert!(slowest < limit, "{slowest:?}\n{}", fleet.logs());
    slowed.kill();
    for n in 0..n {
        let found = fleet.read(other, &format!("slow-{n}"), "consistent");
        assert_eq!(found.as_deref(), Some("v"));
    }
    Outcome::Passed
}

/// It is not replaced: writes take as long as its disk does, a write that found the disk busy twice as long.
fn slow_leader() -> Outcome {
    let mut fleet = Fleet::formed(3, DEFAULT_TIMINGS);
    let leader = fleet.wait_leader(1);
    slow_disk(&mut fleet, leader, SLOW * 5 / 2)
}

/// The two others are a majority: nobody waits for it.
fn slow_follower() -> Outcome {
    let mut fleet = Fleet::formed(3, DEFAULT_TIMINGS);
    let follower = fleet.wait_leader(1) % 3 + 1;
    slow_disk(&mut fleet, follower, SLOW)
}
