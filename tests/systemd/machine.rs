//! Debian machines in systemd-nspawn: a base system from debootstrap, made once and kept under the build
//! directory; for each machine a writable layer above it and an address of its own on a bridge.
//!
//! Holds true: bridge, mounts and machines live in the network and mount namespaces that `main` has made, and end
//! with them; nothing of the host's network is touched. Commands enter a machine by its first process, since
//! nothing is registered with the host's service manager (there may be none).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::common::{Process, TempDir, cache_dir, project_dir, try_until, wait_until};

/// The network of the bridge; the host's side of it is `.1`.
const NETWORK: &str = "10.77.5";
const BRIDGE: &str = "lab0";
/// What a step may take on a machine with other things to do.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Runs a command and takes its output; a failure is a panic with what it said.
pub fn run(command: &mut Command) -> String {
    try_run(command).unwrap_or_else(|why| panic!("{why}"))
}

/// As [`run`], but a failure is an error.
fn try_run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{command:?}: {e}"))?;
    let [said, complained] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    match output.status.success() {
        true => Ok(said.trim().to_owned()),
        false => Err(format!(
            "{command:?}: {}\n{said}{complained}",
            output.status
        )),
    }
}

fn tool(name: &str, args: &[&str]) -> String {
    run(Command::new(name).args(args))
}

/// The bridge, the base system, the package, and room for machines.
pub struct Lab {
    dir: TempDir,
    base: PathBuf,
}

impl Lab {
    /// Prepares everything; to be called once in a namespace of its own.
    ///
    /// # Errors
    /// What cannot be had here.
    pub fn new() -> Result<Lab, String> {
        let base = base_system()?;
        tool("ip", &["link", "set", "lo", "up"]);
        tool("ip", &["link", "add", BRIDGE, "type", "bridge"]);
        let address = format!("{NETWORK}.1/24");
        tool("ip", &["address", "add", &address, "dev", BRIDGE]);
        tool("ip", &["link", "set", BRIDGE, "up"]);
        let dir = TempDir::new("systemd");
        let lab = Lab { dir, base };
        // Not every sandbox lets a machine boot; that is no fault of what is tested.
        let booted = lab.try_machine("trial", 9).and_then(|mut m| m.try_boot());
        booted.map_err(|why| format!("no machine boots here: {why}"))?;
        Ok(lab)
    }

    /// Packs the program under test with a package revision; the .deb's path.
    pub fn package(&self, binary: &Path, revision: &str) -> PathBuf {
        self.packages(binary, revision).0
    }

    /// Packs the program under test; the .deb's path and the tarball's.
    pub fn packages(&self, binary: &Path, revision: &str) -> (PathBuf, PathBuf) {
        let dist = self.dir.path().join(format!("dist-{revision}"));
        fs::create_dir_all(dist.join("x86_64")).expect("a folder");
        let copy = dist.join("x86_64/consul-lite");
        fs::copy(binary, &copy).expect("the program can be copied");
        // What a debug build has for debuggers only makes the test slow.
        tool("strip", &[&copy.display().to_string()]);
        let said = run(Command::new(project_dir().join("packages/build"))
            .arg("x86_64")
            .env("DIST", &dist)
            .env("REVISION", revision)
            .env("DEB_COMPRESSOR", "none"));
        let made = |suffix: &str| {
            let line = said.lines().find(|line| line.ends_with(suffix));
            PathBuf::from(line.expect("a package"))
        };
        (made(".deb"), made(".tar.gz"))
    }

    /// Makes a package anew with a default configuration that differs from the others' by a line.
    pub fn another_default(&self, deb: &Path) {
        let tree = self.dir.path().join("repacked");
        let (tree_name, deb) = (tree.display().to_string(), deb.display().to_string());
        tool("dpkg-deb", &["-R", &deb, &tree_name]);
        let config = tree.join("etc/consul-lite.d/consul-lite.hcl");
        let text = fs::read_to_string(&config).expect("the default configuration");
        fs::write(&config, format!("{text}\n# A line more.\n")).expect("it can be changed");
        let args = ["--root-owner-group", "-Znone", "-b", &tree_name, &deb];
        tool("dpkg-deb", &args);
    }

    /// A machine with the address that ends in `host`, not yet booted.
    pub fn machine(&self, name: &'static str, host: u8) -> Machine {
        self.try_machine(name, host)
            .unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_machine(&self, name: &'static str, host: u8) -> Result<Machine, String> {
        let dir = self.dir.path().join(name);
        for part in ["upper", "work", "root"] {
            fs::create_dir_all(dir.join(part)).expect("a folder");
        }
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.base.display(),
            dir.join("upper").display(),
            dir.join("work").display()
        );
        let root = dir.join("root").display().to_string();
        let overlay = ["-t", "overlay", "overlay", "-o", &layers, &root];
        try_run(Command::new("mount").args(overlay))?;
        let machine = Machine {
            name,
            ip: format!("{NETWORK}.{host}"),
            dir,
            running: None,
        };
        machine.write("etc/hostname", &format!("{name}\n"));
        machine.network(true);
        Ok(machine)
    }
}

/// One machine; powered off when the value is dropped.
pub struct Machine {
    name: &'static str,
    ip: String,
    dir: PathBuf,
    running: Option<(Process, u32)>,
}

impl Machine {
    /// Its address.
    pub fn ip(&self) -> &str {
        &self.ip
    }

    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Writes a file of the machine.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Whether a file is there.
    pub fn has(&self, path: &str) -> bool {
        self.root().join(path).symlink_metadata().is_ok()
    }

    /// Gives the machine's network its address at boot, or leaves the cable out.
    pub fn network(&self, there: bool) {
        let path = "etc/systemd/network/10-lab.network";
        if there {
            let ip = &self.ip;
            let text = format!(
                "[Match]\nName=host0\n[Network]\nAddress={ip}/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
            );
            self.write(path, &text);
        } else {
            let text = "[Match]\nName=host0\n[Link]\nUnmanaged=yes\n";
            self.write(path, text);
        }
    }

    /// Copies a file into the machine.
    pub fn copy(&self, from: &Path, to: &str) {
        fs::copy(from, self.root().join(to)).expect("a file can be copied");
    }

    /// Boots and waits until the service manager is up.
    pub fn boot(&mut self) {
        if let Err(why) = self.try_boot() {
            panic!("{} does not boot: {why}", self.name);
        }
    }

    /// Boots and waits until the service manager is up; why it does not come to that.
    fn try_boot(&mut self) -> Result<(), String> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("console"))
            .expect("a console log");
        let copy = log.try_clone().expect("a second handle");
        let mut command = Command::new("systemd-nspawn");
        command
            .args(["--boot", "--register=no", "--keep-unit", "--quiet"])
            .args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"])
            .arg(format!("--machine={}", self.name))
            .arg(format!("--network-bridge={BRIDGE}"))
            .arg(format!("--directory={}", self.root().display()))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy);
        let mut nspawn = Process::start(self.name, &mut command).expect("systemd-nspawn starts");
        let leader = try_until(PATIENCE, || match nspawn.ended() {
            Some(_) => Some(None),
            None => child_of(nspawn.pid()).map(Some),
        });
        let leader = leader.flatten().ok_or_else(|| self.console())?;
        self.running = Some((nspawn, leader));
        let up = try_until(PATIENCE, || {
            let state = self.output(&["systemctl", "is-system-running"]);
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            matches!(state.as_str(), "running" | "degraded").then_some(())
        });
        up.ok_or_else(|| self.console())
    }

    /// The power goes: every process of the machine ends at once.
    pub fn power_off(&mut self) {
        if let Some((mut nspawn, leader)) = self.running.take() {
            // SAFETY: kill(2) takes no pointers; the process is our child's child and not reaped before it.
            unsafe { libc::kill(leader as i32, libc::SIGKILL) };
            nspawn.wait(PATIENCE);
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let (_, leader) = self.running.as_ref().expect("the machine runs");
        let mut command = Command::new("nsenter");
        command
            .args([
                "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd",
            ])
            .args(["--target", &leader.to_string(), "--"])
            .args(args)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command inside.
    pub fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("nsenter runs")
    }

    /// Runs a command inside that must succeed; its output.
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(
            output.status.success(),
            "{}: {args:?}: {}\n{}{}\n{}",
            self.name,
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.journal()
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a command inside until its output satisfies.
    pub fn until(&self, what: &str, args: &[&str], enough: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = try_until(PATIENCE, || {
            last = String::from_utf8_lossy(&self.output(args).stdout)
                .trim()
                .to_owned();
            enough(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| {
            let (name, journal) = (self.name, self.journal());
            panic!("{name}: not within {PATIENCE:?}: {what}\n{args:?}: {last}\n{journal}")
        })
    }

    /// A property of the agent's unit.
    pub fn unit(&self, property: &str) -> String {
        self.run(&[
            "systemctl",
            "show",
            "--value",
            "-p",
            property,
            "consul-lite",
        ])
    }

    /// Waits until the unit is active, by another process than `before`; the process.
    pub fn active(&self, before: &str) -> String {
        let query = [
            "systemctl",
            "show",
            "-p",
            "ActiveState,MainPID",
            "consul-lite",
        ];
        let not = format!("MainPID={before}\n");
        let shown = self.until("the unit is active", &query, |text| {
            text.contains("ActiveState=active") && !format!("{text}\n").contains(&not)
        });
        let pid = shown.lines().find_map(|line| line.strip_prefix("MainPID="));
        pid.unwrap_or_default().to_owned()
    }

    /// What the agent has logged of late.
    fn journal(&self) -> String {
        let args = ["journalctl", "--no-pager", "-n", "40", "-u", "consul-lite"];
        String::from_utf8_lossy(&self.output(&args).stdout).into_owned()
    }

    fn console(&self) -> String {
        fs::read_to_string(self.dir.join("console")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.power_off();
        // The overlay has to go before its folders can; the namespace's end would take it too.
        let _ = Command::new("umount").arg(self.root()).status();
    }
}

/// A process's first child.
fn child_of(parent: u32) -> Option<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(path).ok()?;
    let child: u32 = children.split_whitespace().next()?.parse().ok()?;
    // nspawn's first child makes the machine's first process and ends.
    let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    (name.trim() == "systemd").then_some(child)
}

/// Debian with systemd, a second resolver that waits to be wanted, and nothing more, kept under the build directory.
///
/// # Errors
/// What cannot be had here.
pub fn base_system() -> Result<PathBuf, String> {
    let base = cache_dir().join("debian-bookworm-2");
    if base.is_dir() {
        return Ok(base);
    }
    let sources = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"];
    let list = Command::new("grep")
        .args(["-rhoE", "^[^#]*https?://[^ ]+/debian/?( |$)"])
        .args(sources)
        .output()
        .map_err(|e| e.to_string())?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let mirror = list.split_whitespace().find(|word| word.contains("://"));
    let mirror = mirror.ok_or("no Debian mirror in this machine's apt sources")?;
    let partial = cache_dir().join("debian-bookworm.partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(cache_dir()).map_err(|e| e.to_string())?;
    let include = "systemd,systemd-sysv,systemd-resolved,dbus,iproute2,dnsmasq";
    // A mirror that says nothing any more must not hold up everything else.
    let made = Command::new("timeout")
        .args([
            "--kill-after=10",
            "600",
            "debootstrap",
            "--variant=minbase",
            &format!("--include={include}"),
            "bookworm",
        ])
        .arg(&partial)
        .arg(mirror)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("debootstrap: {e}"))?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stdout).into_owned();
        let last = said.lines().last().unwrap_or("no reason given").to_owned();
        return Err(format!("debootstrap: {last}"));
    }
    let enable = ["enable", "systemd-networkd", "systemd-resolved"];
    for args in [&enable[..], &["disable", "dnsmasq"]] {
        run(Command::new("systemctl")
            .arg("--root")
            .arg(&partial)
            .args(args));
    }
    // One machine id for all would make them one machine.
    fs::write(partial.join("etc/machine-id"), "").map_err(|e| e.to_string())?;
    fs::rename(&partial, &base).map_err(|e| e.to_string())?;
    Ok(base)
}

/// Waits for something outside of any machine.
pub fn eventually<T>(what: &str, ready: impl FnMut() -> Option<T>) -> T {
    wait_until(PATIENCE, what, ready)
}
