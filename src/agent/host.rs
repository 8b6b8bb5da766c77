//! The machine this agent runs on, as `/v1/agent/host` shows it.
//!
//! Holds true: what the system does not tell is 0 or empty; nothing here fails.
//! Source: `docs/reference/http-2.md` section 5.3; proc(5), statvfs(3), os-release(5).

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::time::UNIX_EPOCH;

use crate::codec::Serialize;
use crate::drive::wall;
use crate::sorted::IntoMap;

/// A machine.
#[derive(Debug, Default, Serialize)]
pub struct Host {
    #[serde(rename = "Memory")]
    memory: Memory,
    #[serde(rename = "CPU")]
    cpu: Vec<Cpu>,
    #[serde(rename = "Host")]
    host: Info,
    #[serde(rename = "Disk")]
    disk: Disk,
    /// Unix nanoseconds.
    #[serde(rename = "CollectionTime")]
    collection_time: u64,
    #[serde(rename = "Errors")]
    errors: Option<Vec<String>>,
}

/// Memory in bytes.
#[derive(Debug, Default, Serialize)]
struct Memory {
    total: u64,
    available: u64,
    used: u64,
    #[serde(rename = "usedPercent")]
    used_percent: f64,
    free: u64,
    active: u64,
    inactive: u64,
    buffers: u64,
    cached: u64,
    writeback: u64,
    dirty: u64,
    shared: u64,
    slab: u64,
    pagetables: u64,
    swapcached: u64,
    commitlimit: u64,
    committedas: u64,
    swaptotal: u64,
    swapfree: u64,
    mapped: u64,
    vmalloctotal: u64,
    vmallocused: u64,
}

/// One processor.
#[derive(Debug, Default, Serialize)]
struct Cpu {
    cpu: u64,
    #[serde(rename = "vendorId")]
    vendor_id: String,
    family: String,
    model: String,
    stepping: i64,
    #[serde(rename = "physicalId")]
    physical_id: String,
    #[serde(rename = "coreId")]
    core_id: String,
    cores: i64,
    #[serde(rename = "modelName")]
    model_name: String,
    mhz: f64,
    #[serde(rename = "cacheSize")]
    cache_size: i64,
    flags: Vec<String>,
    microcode: String,
}

/// The system.
#[derive(Debug, Default, Serialize)]
struct Info {
    hostname: String,
    uptime: u64,
    #[serde(rename = "bootTime")]
    boot_time: u64,
    procs: u64,
    os: String,
    platform: String,
    #[serde(rename = "platformFamily")]
    platform_family: String,
    #[serde(rename = "platformVersion")]
    platform_version: String,
    #[serde(rename = "kernelVersion")]
    kernel_version: String,
    #[serde(rename = "kernelArch")]
    kernel_arch: String,
    #[serde(rename = "virtualizationSystem")]
    virtualization_system: String,
    #[serde(rename = "virtualizationRole")]
    virtualization_role: String,
    hostid: String,
}

/// The file system of `/`, in bytes.
#[derive(Debug, Default, Serialize)]
struct Disk {
    path: String,
    fstype: String,
    total: u64,
    free: u64,
    used: u64,
    #[serde(rename = "usedPercent")]
    used_percent: f64,
    #[serde(rename = "inodesTotal")]
    inodes_total: u64,
    #[serde(rename = "inodesUsed")]
    inodes_used: u64,
    #[serde(rename = "inodesFree")]
    inodes_free: u64,
    #[serde(rename = "inodesUsedPercent")]
    inodes_used_percent: f64,
}

/// Looks at the machine. Reads files, so not for the executor's threads.
pub fn collect() -> Host {
    let nanos = wall()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    Host {
        memory: memory(),
        cpu: cpus(),
        host: info(),
        disk: disk(),
        collection_time: u64::try_from(nanos).unwrap_or(0),
        errors: None,
    }
}

/// How many threads this process has.
pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// One width for figures that are narrower on some platforms.
fn wide<T: Into<u64>>(figure: T) -> u64 {
    figure.into()
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64 * 100.0
    }
}

fn memory() -> Memory {
    let text = read("/proc/meminfo");
    let bytes: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let kilobytes: u64 = rest.split_whitespace().next()?.parse().ok()?;
            Some((name, kilobytes * 1024))
        })
        .into_map();
    let get = |name: &str| bytes.get(name).copied().unwrap_or(0);
    let (total, free) = (get("MemTotal"), get("MemFree"));
    let cached = get("Cached") + get("SReclaimable");
    let used = total.saturating_sub(free + get("Buffers") + cached);
    Memory {
        total,
        available: get("MemAvailable"),
        used,
        used_percent: percent(used, total),
        free,
        active: get("Active"),
        inactive: get("Inactive"),
        buffers: get("Buffers"),
        cached,
        writeback: get("Writeback"),
        dirty: get("Dirty"),
        shared: get("Shmem"),
        slab: get("Slab"),
        pagetables: get("PageTables"),
        swapcached: get("SwapCached"),
        commitlimit: get("CommitLimit"),
        committedas: get("Committed_AS"),
        swaptotal: get("SwapTotal"),
        swapfree: get("SwapFree"),
        mapped: get("Mapped"),
        vmalloctotal: get("VmallocTotal"),
        vmallocused: get("VmallocUsed"),
    }
}

fn cpus() -> Vec<Cpu> {
    let text = read("/proc/cpuinfo");
    let block = |block: &str| {
        let pairs: BTreeMap<&str, &str> = block
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(k, v)| (k.trim(), v.trim()))
            .into_map();
        let get = |name: &str| pairs.get(name).copied().unwrap_or_default().to_owned();
        let cache = get("cache size");
        let cache = cache.split_whitespace().next().unwrap_or_default();
        Some(Cpu {
            cpu: pairs.get("processor")?.parse().ok()?,
            vendor_id: get("vendor_id"),
            family: get("cpu family"),
            model: get("model"),
            stepping: get("stepping").parse().unwrap_or(0),
            physical_id: get("physical id"),
            core_id: get("core id"),
            cores: 1,
            model_name: get("model name"),
            mhz: get("cpu MHz").parse().unwrap_or(0.0),
            cache_size: cache.parse().unwrap_or(0),
            flags: get("flags").split_whitespace().map(str::to_owned).collect(),
            microcode: get("microcode"),
        })
    };
    text.split("\n\n").filter_map(block).collect()
}

fn info() -> Info {
    let first = |path: &str| read(path).trim().to_owned();
    let uptime = read("/proc/uptime");
    let uptime: f64 = uptime
        .split_whitespace()
        .next()
        .and_then(|t| t.parse().ok())
        .unwrap_or(0.0);
    let now = wall().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let release = read("/etc/os-release");
    let field = |name: &str| {
        let line = release.lines().find_map(|l| l.strip_prefix(name));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let is_process = |e: &fs::DirEntry| {
        let name = e.file_name();
        name.to_string_lossy().bytes().all(|b| b.is_ascii_digit())
    };
    let procs = fs::read_dir("/proc").map_or(0, |d| d.flatten().filter(is_process).count());
    let like = field("ID_LIKE=");
    Info {
        hostname: first("/proc/sys/kernel/hostname"),
        uptime: uptime as u64,
        boot_time: now.saturating_sub(uptime as u64),
        procs: procs as u64,
        os: std::env::consts::OS.to_owned(),
        platform: field("ID="),
        platform_family: like.split(' ').next().unwrap_or_default().to_owned(),
        platform_version: field("VERSION_ID="),
        kernel_version: first("/proc/sys/kernel/osrelease"),
        kernel_arch: std::env::consts::ARCH.to_owned(),
        virtualization_system: String::new(),
        virtualization_role: String::new(),
        hostid: first("/sys/class/dmi/id/product_uuid").to_lowercase(),
    }
}

fn disk() -> Disk {
    let path = "/";
    let mounts = read("/proc/self/mounts");
    let fstype = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (_, at, kind) = (words.next()?, words.next()?, words.next()?);
            (at == path).then(|| kind.to_owned())
        })
        .next_back()
        .unwrap_or_default();
    let mut disk = Disk {
        path: path.to_owned(),
        fstype,
        ..Disk::default()
    };
    let Ok(name) = CString::new(path) else {
        return disk;
    };
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: statvfs(3) reads a text that ends in 0 and fills the structure, which is plain numbers and
    // therefore valid even when the call failed.
    let (failed, stat) = unsafe {
        let code = libc::statvfs(name.as_ptr(), stat.as_mut_ptr());
        (code != 0, stat.assume_init())
    };
    if failed {
        return disk;
    }
    let block = wide(stat.f_frsize);
    disk.total = wide(stat.f_blocks) * block;
    disk.free = wide(stat.f_bavail) * block;
    disk.used = wide(stat.f_blocks).saturating_sub(wide(stat.f_bfree)) * block;
    disk.used_percent = percent(disk.used, disk.used + disk.free);
    disk.inodes_total = wide(stat.f_files);
    disk.inodes_free = wide(stat.f_ffree);
    disk.inodes_used = disk.inodes_total.saturating_sub(disk.inodes_free);
    disk.inodes_used_percent = percent(disk.inodes_used, disk.inodes_total);
    disk
}
