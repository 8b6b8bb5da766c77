//! The Prometheus form: totals since the start, quantiles of the last two intervals, the process's own figures.
//!
//! Source: Prometheus' documentation "Exposition formats"; recorded from Consul 1.8.7; proc(5).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::display::gauges;
use super::{CURRENT, Series, lock, registry, settings, turn};
use crate::sorted::{self, IntoMap};
use crate::structs::{Error, Result};

/// The text of `/v1/agent/metrics?format=prometheus`.
///
/// # Errors
/// When `prometheus_retention_time` is 0; over HTTP that is status 415.
pub fn prometheus() -> Result<String> {
    let settings = settings();
    if settings.prometheus_retention_time.is_zero() {
        return Err(Error::new(
            "Prometheus is not enabled since its retention time is not positive",
        ));
    }
    turn();
    let registry = registry();
    // The present interval and the one before it; what is older does not count.
    let present = CURRENT.load(Ordering::Relaxed);
    let last = registry
        .closed
        .as_ref()
        .filter(|closed| closed.number + 1 >= present);
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    // Series whose labels say the same once each label is left with one value are one series here.
    let mut totals: BTreeMap<(String, String), f64> = BTreeMap::new();
    let mut count_up = |full: String, labels: &[(&str, &str)], total: f64| {
        *totals.entry((full, braces(labels))).or_default() += total;
    };
    for gauge in gauges(&settings, &registry.series) {
        let line = format!(" {}\n", number(gauge.value));
        add(&mut families, &gauge.name, "gauge", &[("", &line)], "");
    }
    for series in &registry.series {
        let name = series.name();
        let Some(full) = settings.full_name(name.text, false) else {
            continue;
        };
        let labels = name.labels;
        match series {
            Series::Gauge(_) => {}
            Series::Counter(counter) => {
                let total = counter.events.load(Ordering::Relaxed) as f64;
                count_up(full, labels, total);
            }
            Series::Sample(sample) if sample.adds => {
                count_up(full, labels, lock(&sample.state).total_sum);
            }
            Series::Sample(sample) => {
                let (sum, count, mut kept) = {
                    let state = lock(&sample.state);
                    (state.total_sum, state.total_count, state.kept.clone())
                };
                let closed = last.iter().flat_map(|c| &c.moved);
                let closed = closed.filter(|m| std::ptr::eq(m.series.name(), name));
                kept.extend(closed.flat_map(|m| m.kept.iter().copied()));
                if count > 0 {
                    summary(&mut families, &full, labels, kept, sum, count);
                }
            }
        }
    }
    for ((full, braces), total) in totals {
        let line = format!(" {}\n", number(total));
        add(&mut families, &full, "counter", &[("", &line)], &braces);
    }
    process_families(&mut families);
    let mut out = String::new();
    for (name, family) in families {
        let _ = write!(
            out,
            "# HELP {name} {}\n# TYPE {name} {}\n",
            family.help, family.kind
        );
        out.push_str(&family.lines);
    }
    Ok(out)
}

struct Family {
    help: String,
    kind: &'static str,
    lines: String,
}

/// Adds lines to a metric's family: each is a suffix of the name and the rest of the line.
fn add(
    families: &mut BTreeMap<String, Family>,
    full: &str,
    kind: &'static str,
    lines: &[(&str, &str)],
    braces: &str,
) {
    let name = full.replace([' ', '.', '=', '-', '/'], "_");
    let family = families.entry(name.clone()).or_insert_with(|| Family {
        help: name.clone(),
        kind,
        lines: String::new(),
    });
    for (suffix, rest) in lines {
        let _ = write!(family.lines, "{name}{suffix}{braces}{rest}");
    }
}

fn summary(
    families: &mut BTreeMap<String, Family>,
    full: &str,
    labels: &[(&str, &str)],
    mut kept: Vec<f32>,
    sum: f64,
    count: u64,
) {
    sorted::sort_by(&mut kept, f32::total_cmp);
    for (quantile, text) in [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99")] {
        let place = ((kept.len() as f64 * quantile).ceil() as usize).saturating_sub(1);
        let value = kept.get(place).map_or(f64::NAN, |v| f64::from(*v));
        let mut with = labels.to_vec();
        with.push(("quantile", text));
        let line = format!(" {}\n", number(value));
        add(families, full, "summary", &[("", &line)], &braces(&with));
    }
    let (sum, count) = (format!(" {}\n", number(sum)), format!(" {count}\n"));
    let lines = [("_sum", sum.as_str()), ("_count", count.as_str())];
    add(families, full, "summary", &lines, &braces(labels));
}

/// Labels as they are written: in order of their names, of equal names the last.
fn braces(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escape = |v: &str| {
        v.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    };
    let last: BTreeMap<&str, &str> = labels.iter().copied().into_map();
    let inner: Vec<String> = last
        .iter()
        .map(|(k, v)| format!("{k}=\"{}\"", escape(v)))
        .collect();
    format!("{{{}}}", inner.join(","))
}

/// Go's shortest form of a float: an exponent from a million on.
fn number(v: f64) -> String {
    if v.is_nan() {
        return "NaN".into();
    }
    if v == 0.0 || (1e-4..1e6).contains(&v.abs()) {
        return v.to_string();
    }
    if v.is_infinite() {
        return if v > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let text = format!("{v:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        None => text,
    }
}

/// Figures of this process from `/proc/self`.
#[derive(Default)]
pub(super) struct Process {
    pub resident_bytes: f64,
    pub virtual_bytes: f64,
    pub threads: f64,
    cpu_seconds: f64,
    start_seconds: f64,
    open_fds: f64,
    max_fds: f64,
    max_virtual_bytes: f64,
}

impl Process {
    /// Reads them; what cannot be read is 0.
    pub fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The command's name in parentheses may hold spaces.
        let fields: Vec<&str> = match stat.rsplit_once(')') {
            Some((_, rest)) => rest.split_ascii_whitespace().collect(),
            None => return Self::default(),
        };
        // Numbered as in proc(5), where the state is field 3.
        let field = |n: usize| fields.get(n - 3).and_then(|f| f.parse::<f64>().ok());
        let get = |n: usize| field(n).unwrap_or(0.0);
        // SAFETY: sysconf takes no pointers.
        let (ticks, page) = unsafe {
            (
                libc::sysconf(libc::_SC_CLK_TCK).max(1) as f64,
                libc::sysconf(libc::_SC_PAGESIZE) as f64,
            )
        };
        let boot = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = boot.lines().find_map(|line| line.strip_prefix("btime "));
        let boot: f64 = boot.and_then(|text| text.parse().ok()).unwrap_or(0.0);
        Self {
            resident_bytes: get(24) * page,
            virtual_bytes: get(23),
            threads: get(20),
            cpu_seconds: (get(14) + get(15)) / ticks,
            start_seconds: boot + get(22) / ticks,
            // SAFETY: `limit` hands in a pointer to a live rlimit.
            max_fds: limit(|to| unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, to) }),
            // SAFETY: as above.
            max_virtual_bytes: limit(|to| unsafe { libc::getrlimit(libc::RLIMIT_AS, to) }),
            open_fds: std::fs::read_dir("/proc/self/fd").map_or(0.0, |dir| dir.count() as f64),
        }
    }
}

/// A limit of this process; no limit is the largest number. `read` names the limit in the call itself, because the
/// type of its number is not the same in every C library.
fn limit(read: impl FnOnce(*mut libc::rlimit) -> libc::c_int) -> f64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    read(&raw mut limit);
    limit.rlim_cur as f64
}

fn process_families(families: &mut BTreeMap<String, Family>) {
    let process = Process::read();
    for (name, help, kind, value) in [
        (
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            "counter",
            process.cpu_seconds,
        ),
        (
            "process_open_fds",
            "Number of open file descriptors.",
            "gauge",
            process.open_fds,
        ),
        (
            "process_max_fds",
            "Maximum number of open file descriptors.",
            "gauge",
            process.max_fds,
        ),
        (
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            "gauge",
            process.max_virtual_bytes,
        ),
        (
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            "gauge",
            process.resident_bytes,
        ),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            "gauge",
            process.start_seconds,
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            "gauge",
            process.virtual_bytes,
        ),
    ] {
        let lines = format!("{name} {}\n", number(value));
        families.insert(
            name.into(),
            Family {
                help: help.into(),
                kind,
                lines,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_written_once() {
        let labels = [("tag", "v1"), ("service", "a\"b"), ("tag", "v2")];
        assert_eq!(braces(&labels), r#"{service="a\"b",tag="v2"}"#);
        assert_eq!(braces(&[]), "");
    }
}
