//! The whole agent on a failing disk: the power goes under write load, again and again, and the disk fills up; and that
//! it gives back what it does not need.
//!
//! `POWER_CUTS` (8; the full run is 100), `POWER_SEED`, and `CONSUL_LITE=/path` for another program. Wants root
//! and loop devices; without them it is skipped, loudly.

#[path = "../common/mod.rs"]
mod common;
#[path = "../crash/load.rs"]
#[allow(dead_code)]
mod load;

mod volume;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::agent::{Agent, Plan};
use common::harness::{self, Outcome, Test};
use common::http::Client;
use common::json::Json;
use common::{Loopback, TempDir, consul_lite, try_until, wait_until};
use load::{Ledger, Load};
use volume::Volume;

/// What a step may take on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let missing = volume::own_mounts().err();
    let test = |name: &str, run: fn() -> Result<(), String>| {
        let missing = missing.clone();
        Test::new(name, move || match (&missing, run) {
            (Some(why), _) => Outcome::Skipped(why.clone()),
            (None, run) => match run() {
                Ok(()) => Outcome::Passed,
                Err(why) => Outcome::Failed(why),
            },
        })
    };
    harness::main(vec![
        test("a_cut_loses_what_was_not_synced", a_cut_loses),
        test("power_cuts_under_load", power_cuts),
        test("full_disk", full_disk),
        Test::new("space_comes_back", space_comes_back),
    ])
}

/// A deleted tree's space goes back to the file system by itself, long before the Raft log is cut; then it is quiet.
fn space_comes_back() -> Outcome {
    let net = Loopback::claim();
    let agent = Agent::ready(&consul_lite(), net.ip(1), PATIENCE);
    let state = agent.dir().join("data/raft/state.db");
    let length = |suffix: &str| {
        let name = format!("{}{suffix}", state.display());
        fs::metadata(name).map_or(0, |m| m.len())
    };
    let mut client = agent.client();
    for n in 0..24 {
        let put = client.put(&format!("/v1/kv/big/{n}"), &vec![b'v'; 256 << 10]);
        assert_eq!(put.expect("an answer").status, 200);
    }
    let full = length("") + length("-wal");
    assert!(full > 4 << 20, "{full} bytes hold 6 MiB");
    let gone = client.request("DELETE", "/v1/kv/big/?recurse", &[], b"");
    assert_eq!(gone.expect("an answer").status, 200);
    wait_until(PATIENCE, "the state is small again", || {
        (length("") < 1 << 20 && length("-wal") == 0).then_some(())
    });
    Outcome::Passed
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The cut itself: what was synced stays, what was not goes.
fn a_cut_loses() -> Result<(), String> {
    let dir = TempDir::new("cut");
    let mut volume = Volume::new(dir.path(), 16)?;
    let text = |e: std::io::Error| e.to_string();
    let (kept, lost) = (volume.path().join("kept"), volume.path().join("lost"));
    fs::write(&kept, "synced").map_err(text)?;
    let sync = |path: &Path| fs::File::open(path).and_then(|file| file.sync_all());
    sync(&kept)
        .and_then(|()| sync(volume.path()))
        .map_err(text)?;
    fs::write(&lost, "not synced").map_err(text)?;
    volume.cut()?;
    if fs::read(&kept).map_err(text)? != b"synced" {
        return Err("a synced file is not whole".to_owned());
    }
    match fs::read(&lost) {
        Ok(bytes) if !bytes.is_empty() => Err("what was not synced has survived".to_owned()),
        _ => Ok(()),
    }
}

fn start(net: &Loopback, volume: &Volume) -> Agent {
    let data = volume.path().join("data").display().to_string();
    Agent::start(&Plan {
        binary: &consul_lite(),
        ip: net.ip(1),
        node: "n1",
        config: vec![(
            "50-disk.json".into(),
            format!(r#"{{"data_dir": "{data}"}}"#),
        )],
    })
}

/// Every acknowledged write is there after every cut, and the agent starts.
fn power_cuts() -> Result<(), String> {
    let cuts = number("POWER_CUTS").unwrap_or(8);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = number("POWER_SEED").unwrap_or(now.map_or(1, |d| d.as_secs()));
    println!("power: {cuts} cuts, POWER_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let net = Loopback::claim();
    let dir = TempDir::new("power");
    let mut volume = Volume::new(dir.path(), 96)?;
    let mut agent = start(&net, &volume);
    agent.wait_ready(PATIENCE);
    let mut ledger = Ledger::default();
    for cut in 0..cuts {
        let load = Load::start(agent.http(), cut, random.u64(..));
        // The moment of the cut is the test's input, not something it waits for.
        std::thread::sleep(Duration::from_millis(random.u64(20..600)));
        agent.kill();
        let wrote = load.stop(&mut ledger);
        volume.cut()?;
        agent.restart();
        let addr = agent.http();
        let served = try_until(PATIENCE, || {
            let mut client = Client::new(addr, Duration::from_secs(5));
            let answer = client.put("/v1/kv/probe", b"x").ok()?;
            (answer.status == 200).then_some(())
        });
        if served.is_none() {
            let log = agent.log_tail(20);
            return Err(format!("cut {cut}: it does not serve again:\n{log}"));
        }
        verify(&mut agent.client(), &mut ledger)
            .map_err(|why| format!("seed {seed}, cut {cut}: {why}"))?;
        println!(
            "cut {cut}: {wrote} acknowledged, {} in all",
            ledger.acknowledged()
        );
    }
    if ledger.acknowledged() < cuts {
        return Err(format!(
            "only {} writes were acknowledged",
            ledger.acknowledged()
        ));
    }
    Ok(())
}

/// Compares what the agent has with what it acknowledged.
fn verify(client: &mut Client, ledger: &mut Ledger) -> Result<(), String> {
    let mut ask = |path: &str| {
        let answer = client.get(path).map_err(|e| format!("{path}: {e}"))?;
        Json::parse(&answer.text()).ok_or_else(|| format!("{path}: {}", answer.text()))
    };
    let kv = ask("/v1/kv/?recurse")?;
    let sessions = ask("/v1/session/list")?;
    ledger.check(&kv, &sessions)
}

/// A full disk: writes are refused with a clear error, reads and DNS go on, and writes resume by themselves.
fn full_disk() -> Result<(), String> {
    let net = Loopback::claim();
    let dir = TempDir::new("full");
    let volume = Volume::new(dir.path(), 24)?;
    let mut agent = start(&net, &volume);
    agent.wait_ready(PATIENCE);
    let mut client = agent.client();
    let before = client
        .put("/v1/kv/before", b"room")
        .map_err(|e| e.to_string())?;
    if before.status != 200 {
        return Err(format!("before: {} {}", before.status, before.text()));
    }
    let filler = volume.path().join("filler");
    fill(&filler)?;
    let value = vec![b'v'; 64 << 10];
    let refused = wait_until(PATIENCE, "a write is refused", || {
        let n = fastrand::u32(..);
        let answer = client.put(&format!("/v1/kv/filled/{n}"), &value).ok()?;
        (answer.status != 200).then_some(answer)
    });
    println!("full disk: {} {}", refused.status, refused.text().trim());
    if refused.status != 500 || !refused.text().contains("no space left") {
        return Err(format!(
            "no clear error: {} {}",
            refused.status,
            refused.text()
        ));
    }
    let read = client
        .get("/v1/kv/before?raw&stale")
        .map_err(|e| e.to_string())?;
    if read.text() != "room" {
        return Err(format!(
            "no reads on a full disk: {} {}",
            read.status,
            read.text()
        ));
    }
    dns(&agent)?;
    fs::remove_file(&filler).map_err(|e| e.to_string())?;
    let pid = agent.process().pid();
    wait_until(PATIENCE, "writes resume", || {
        let answer = client.put("/v1/kv/after", b"room again").ok()?;
        (answer.status == 200).then_some(())
    });
    if agent.process().ended().is_some() || agent.process().pid() != pid {
        return Err("the agent did not live through it".to_owned());
    }
    let read = client.get("/v1/kv/before?raw").map_err(|e| e.to_string())?;
    if read.text() == "room" {
        Ok(())
    } else {
        Err(format!("lost on a full disk: {}", read.text()))
    }
}

/// Takes all the room there is.
fn fill(path: &Path) -> Result<(), String> {
    use std::io::Write;
    let mut file = fs::File::create(path).map_err(|e| e.to_string())?;
    let mut block = vec![0; 1 << 20];
    while !block.is_empty() {
        if file
            .write_all(&block)
            .and_then(|()| file.sync_data())
            .is_err()
        {
            block.truncate(block.len() / 2);
        }
    }
    Ok(())
}

/// The agent's DNS answers for its own server.
fn dns(agent: &Agent) -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    let socket = std::net::UdpSocket::bind((agent.dns().ip(), 0)).map_err(text)?;
    socket.connect(agent.dns()).map_err(text)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    let question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x06consul\x07service\x06consul\0\0\x01\0\x01";
    socket.send(question).map_err(text)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).map_err(text)?;
    if length > 12 && answer[3] & 0x0f == 0 && answer[7] == 1 {
        Ok(())
    } else {
        Err(format!("no DNS on a full disk: {:?}", &answer[..length]))
    }
}
