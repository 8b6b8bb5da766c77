//! The JSON form: the last closed interval.
//!
//! Source: Consul's documentation "View Metrics"; recorded from Consul 1.8.7.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::{CURRENT, FIRST, INTERVAL, Moved, Series, Settings, registry, settings, turn};
use crate::codec::Serialize;
use crate::sorted;
use crate::structs::go::GoTime;

/// The answer of `/v1/agent/metrics`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DisplayMetrics {
    /// Start of the interval, as Go prints a time.
    pub timestamp: String,
    pub gauges: Vec<GaugeValue>,
    /// Always empty, as in Consul.
    pub points: Vec<GaugeValue>,
    pub counters: Vec<SampledValue>,
    pub samples: Vec<SampledValue>,
}

/// A gauge.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GaugeValue {
    pub name: String,
    pub value: f64,
    pub labels: BTreeMap<String, String>,
}

/// A counter or a sample over one interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SampledValue {
    pub name: String,
    pub count: u64,
    /// Sum per second.
    pub rate: f64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    pub stddev: f64,
    pub labels: BTreeMap<String, String>,
}

/// The metrics of the last interval; of the current one in the first seconds of the process.
pub fn display() -> DisplayMetrics {
    turn();
    let settings = settings();
    let registry = registry();
    let now = CURRENT.load(Ordering::Relaxed);
    let is_first = now == FIRST.load(Ordering::Relaxed);
    let number = if is_first { now } else { now.saturating_sub(1) };
    let running;
    let moved: &[Moved] = match &registry.closed {
        _ if is_first => {
            running = registry
                .series
                .iter()
                .filter_map(|s| s.peek())
                .collect::<Vec<_>>();
            &running
        }
        Some(closed) if closed.number == number => &closed.moved,
        // Nothing moved for longer than an interval.
        _ => &[],
    };
    let mut out = DisplayMetrics {
        timestamp: timestamp(number),
        gauges: gauges(&settings, &registry.series),
        ..DisplayMetrics::default()
    };
    for moved in moved {
        let Some(value) = sampled(&settings, moved) else {
            continue;
        };
        match moved.series {
            Series::Sample(sample) if !sample.adds => out.samples.push(value),
            _ => out.counters.push(value),
        }
    }
    sorted::sort_by(&mut out.counters, order);
    sorted::sort_by(&mut out.samples, order);
    out
}

fn order(a: &SampledValue, b: &SampledValue) -> std::cmp::Ordering {
    (&a.name, &a.labels).cmp(&(&b.name, &b.labels))
}

/// `2026-11-22 08:35:30 +0000 UTC`.
fn timestamp(interval: u64) -> String {
    let seconds = i64::try_from(interval * INTERVAL).unwrap_or(0);
    let (y, mo, d, h, mi, s) = GoTime::from_unix(seconds, 0).civil();
    format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02} +0000 UTC")
}

pub(super) fn gauges(settings: &Settings, series: &[Series]) -> Vec<GaugeValue> {
    let set = series.iter().filter_map(|series| match series {
        Series::Gauge(gauge) => Some((gauge.name.text, gauge.value())),
        _ => None,
    });
    let gauge = |(name, value): (&str, f64)| {
        Some(GaugeValue {
            name: settings.full_name(name, true)?,
            value,
            labels: BTreeMap::new(),
        })
    };
    let mut all: Vec<GaugeValue> = set.chain(runtime()).filter_map(gauge).collect();
    sorted::sort_by(&mut all, |a, b| a.name.cmp(&b.name));
    all
}

/// Go's runtime gauges as far as they have a meaning here: bytes in use, bytes mapped, threads.
fn runtime() -> Vec<(&'static str, f64)> {
    let process = super::prometheus::Process::read();
    vec![
        ("runtime.alloc_bytes", process.resident_bytes),
        ("runtime.sys_bytes", process.virtual_bytes),
        ("runtime.num_goroutines", process.threads),
    ]
}

fn sampled(settings: &Settings, moved: &Moved) -> Option<SampledValue> {
    let name = moved.series.name();
    let s = moved.spread;
    let count = s.count as f64;
    let variance = (count * s.squares - s.sum * s.sum) / (count * (count - 1.0));
    Some(SampledValue {
        name: settings.full_name(name.text, false)?,
        count: s.count,
        rate: s.sum / INTERVAL as f64,
        sum: s.sum,
        min: s.min,
        max: s.max,
        mean: s.sum / count,
        stddev: if s.count > 1 {
            variance.max(0.0).sqrt()
        } else {
            0.0
        },
        labels: name
            .labels
            .iter()
            .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
            .collect(),
    })
}
