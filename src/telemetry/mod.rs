//! Metrics under Consul's names: counters, gauges and samples, kept per interval of ten seconds.
//!
//! `telemetry::metrics` names them; `metrics::RPC_QUERY.incr()`, `metrics::DNS_DOMAIN_QUERY.record(elapsed)`.
//! Series whose labels are known beforehand stand there as well, found by [`labelled`]. Names that hold what is only known
//! later come from [`counter`] and [`sample`], which give the same series for the same name. [`init`] sets what the `telemetry` block configures; [`display`] and [`prometheus`] are
//! the two forms of `/v1/agent/metrics`; [`drain`] gives the lines for statsd when one is configured.
//!
//! Holds true: an update is a few atomic operations or one short lock, a look-up one short lock and no allocation; nothing
//! runs by itself, the first update or reading after an interval's end closes that interval; series have a maximum.
//! Leaves to others: sockets, the HTTP endpoint, when a metric is updated.
//! Source: Consul's documentation "Telemetry"; shapes and names recorded from Consul 1.8.7.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::atomic::AtomicU64;

mod config;
mod display;
pub mod metrics;
mod prometheus;

pub use config::{MAX_SINKS, Settings, Statsd, init, settings};
pub use display::{DisplayMetrics, GaugeValue, SampledValue, display};
pub use prometheus::prometheus;

/// Length of an interval, in seconds.
pub const INTERVAL: u64 = 10;
/// Series made at run time; updates of further ones are dropped.
const MAX_MADE: usize = 2048;
/// Bytes of a label's value; what clients name beyond that has no series.
const MAX_LABEL: usize = 128;
/// Values per interval from which quantiles are taken.
const MAX_KEPT: usize = 128;
/// Bytes of statsd lines that wait to be sent to one server; more are dropped.
const MAX_LINES: usize = 64 * 1024;

/// Label names and values.
type Labels = &'static [(&'static str, &'static str)];

/// A count of events.
pub struct Counter {
    name: Name,
    known: AtomicBool,
    events: AtomicU64,
    /// Events up to the start of the current interval.
    before: AtomicU64,
}

/// A value that is what was last set.
pub struct Gauge {
    name: Name,
    known: AtomicBool,
    bits: AtomicU64,
}

/// Values of which count, sum and spread matter: durations in milliseconds, sizes.
pub struct Sample {
    name: Name,
    /// Shown among the counters: every value adds to a total, such as bytes sent.
    adds: bool,
    known: AtomicBool,
    state: Mutex<State>,
}

/// A series' name. Series live as long as the process, and so do their names.
#[derive(Clone, Copy)]
struct Name {
    text: &'static str,
    labels: Labels,
}

impl Name {
    const fn plain(text: &'static str) -> Self {
        Self { text, labels: &[] }
    }

    /// A copy of what was put together at run time.
    fn made(parts: &[&str], labels: &[(&str, &str)]) -> Self {
        let own = |text: &str| -> &'static str { Box::leak(text.into()) };
        let labels: Box<[_]> = labels.iter().map(|(k, v)| (own(k), own(v))).collect();
        Self {
            text: own(&parts.concat()),
            labels: Box::leak(labels),
        }
    }

    /// Whether it is what these parts and labels make.
    fn is(&self, parts: &[&str], labels: &[(&str, &str)]) -> bool {
        let rest = parts.iter().try_fold(self.text, |t, p| t.strip_prefix(p));
        rest == Some("") && self.labels == labels
    }
}

/// What a sample has seen.
#[derive(Clone, Debug, Default)]
struct State {
    current: Spread,
    /// Values of the current interval, a fair choice of at most [`MAX_KEPT`].
    kept: Vec<f32>,
    total_count: u64,
    total_sum: f64,
}

/// Count, sum, squares and extremes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Spread {
    count: u64,
    sum: f64,
    squares: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn add(&mut self, value: f64) {
        if self.count == 0 || value < self.min {
            self.min = value;
        }
        if self.count == 0 || value > self.max {
            self.max = value;
        }
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    /// `count` events that each count one.
    fn ones(count: u64) -> Self {
        let sum = count as f64;
        Self {
            count,
            sum,
            squares: sum,
            min: 1.0,
            max: 1.0,
        }
    }
}

#[derive(Clone, Copy)]
enum Series {
    Counter(&'static Counter),
    Gauge(&'static Gauge),
    Sample(&'static Sample),
}

/// All series and the interval that was closed last.
#[derive(Default)]
struct Registry {
    series: Vec<Series>,
    /// Series made at run time by a hash of name and labels; those that meet stand behind one another.
    made: HashMap<u64, Series, RandomState>,
    closed: Option<Closed>,
}

/// A closed interval: what moved in it.
#[derive(Clone, Default)]
struct Closed {
    /// Its number: Unix time in intervals.
    number: u64,
    moved: Vec<Moved>,
}

/// A counter or sample of a closed interval.
#[derive(Clone)]
struct Moved {
    series: Series,
    spread: Spread,
    kept: Vec<f32>,
}

static REGISTRY: OnceLock<Mutex<Registry>> = OnceLock::new();
/// The interval that updates belong to, 0 before the first one.
static CURRENT: AtomicU64 = AtomicU64::new(0);
/// The interval in which this process began to count.
static FIRST: AtomicU64 = AtomicU64::new(0);
/// Whether samples keep values for quantiles.
static KEEP: AtomicBool = AtomicBool::new(false);
/// Whether statsd lines are collected.
static EMIT: AtomicBool = AtomicBool::new(false);
/// The lines that wait, by the place of their server in the configuration.
static LINES: Mutex<[String; MAX_SINKS]> = Mutex::new([const { String::new() }; MAX_SINKS]);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Numbers stay numbers even if a holder panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn registry() -> MutexGuard<'static, Registry> {
    lock(REGISTRY.get_or_init(Mutex::default))
}

/// The number of the present interval, by the clock that costs least: it is right to a few milliseconds.
fn present() -> u64 {
    // SAFETY: all zero is a valid timespec, which has padding on some machines.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut now) };
    u64::try_from(now.tv_sec).unwrap_or(0) / INTERVAL
}

/// Closes the current interval if it is over.
fn turn() {
    let now = present();
    if CURRENT.load(Ordering::Relaxed) != now {
        turn_to(now);
    }
}

#[cold]
fn turn_to(now: u64) {
    let mut registry = registry();
    let old = CURRENT.swap(now, Ordering::Relaxed);
    if old == now {
        return;
    }
    if old == 0 {
        FIRST.store(now, Ordering::Relaxed);
        return;
    }
    let moved = registry.series.iter().filter_map(|s| s.take()).collect();
    registry.closed = Some(Closed { number: old, moved });
}

impl Series {
    fn name(&self) -> &'static Name {
        match self {
            Series::Counter(c) => &c.name,
            Series::Gauge(g) => &g.name,
            Series::Sample(s) => &s.name,
        }
    }

    /// What moved since the last time, which then begins anew.
    fn take(self) -> Option<Moved> {
        let moved = self.peek()?;
        match self {
            Series::Counter(c) => {
                c.before.fetch_add(moved.spread.count, Ordering::Relaxed);
            }
            Series::Sample(s) => {
                let mut state = lock(&s.state);
                state.current = Spread::default();
                state.kept.clear();
            }
            Series::Gauge(_) => {}
        }
        Some(moved)
    }

    /// What moved since the last time, so far.
    fn peek(self) -> Option<Moved> {
        let (spread, kept) = match self {
            Series::Counter(c) => {
                let before = c.before.load(Ordering::Relaxed);
                let count = c.events.load(Ordering::Relaxed).saturating_sub(before);
                (Spread::ones(count), Vec::new())
            }
            Series::Sample(s) => {
                let state = lock(&s.state);
                (state.current, state.kept.clone())
            }
            Series::Gauge(_) => return None,
        };
        (spread.count > 0).then_some(Moved {
            series: self,
            spread,
            kept,
        })
    }
}

/// Enters a fixed series into the registry at its first update.
#[cold]
fn enter(known: &AtomicBool, series: Series) {
    let mut registry = registry();
    if !known.swap(true, Ordering::Relaxed) {
        registry.series.push(series);
    }
}

impl Counter {
    /// A counter with a fixed name, without the prefix.
    pub const fn new(name: &'static str) -> Self {
        Self::named(Name::plain(name))
    }

    const fn named(name: Name) -> Self {
        Self {
            name,
            known: AtomicBool::new(false),
            events: AtomicU64::new(0),
            before: AtomicU64::new(0),
        }
    }

    /// Counts one event.
    pub fn incr(&'static self) {
        turn();
        self.events.fetch_add(1, Ordering::Relaxed);
        if !self.known.load(Ordering::Relaxed) {
            enter(&self.known, Series::Counter(self));
        }
        emit(&self.name, 1.0, "c");
    }
}

impl Gauge {
    /// A gauge with a fixed name, without the prefix.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: Name::plain(name),
            known: AtomicBool::new(false),
            bits: AtomicU64::new(0),
        }
    }

    /// Sets the value.
    pub fn set(&'static self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
        if !self.known.load(Ordering::Relaxed) {
            enter(&self.known, Series::Gauge(self));
        }
        emit(&self.name, value, "g");
    }

    fn value(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }
}

impl Sample {
    /// A sample with a fixed name, without the prefix.
    pub const fn new(name: &'static str) -> Self {
        Self::named(Name::plain(name), false)
    }

    /// A sample with a fixed name and a fixed label.
    pub const fn labelled(
        name: &'static str,
        label: &'static [(&'static str, &'static str); 1],
    ) -> Self {
        Self::named(
            Name {
                text: name,
                labels: label,
            },
            false,
        )
    }

    /// A sample that Consul shows among the counters, for values other than 1.
    pub const fn adding(name: &'static str) -> Self {
        Self::named(Name::plain(name), true)
    }

    const fn named(name: Name, adds: bool) -> Self {
        Self {
            name,
            adds,
            known: AtomicBool::new(false),
            state: Mutex::new(State {
                current: Spread {
                    count: 0,
                    sum: 0.0,
                    squares: 0.0,
                    min: 0.0,
                    max: 0.0,
                },
                kept: Vec::new(),
                total_count: 0,
                total_sum: 0.0,
            }),
        }
    }

    /// Records a duration, which is shown in milliseconds.
    pub fn record(&'static self, elapsed: Duration) {
        self.add(elapsed.as_secs_f64() * 1000.0);
    }

    /// Records a value.
    pub fn add(&'static self, value: f64) {
        turn();
        let mut state = lock(&self.state);
        state.current.add(value);
        state.total_count += 1;
        state.total_sum += value;
        if KEEP.load(Ordering::Relaxed) {
            // Reservoir sampling: each value of the interval is kept with the same probability.
            let nth = state.current.count as usize;
            if state.kept.len() < MAX_KEPT {
                state.kept.push(value as f32);
            } else if let Some(place) = state.kept.get_mut(fastrand::usize(..nth)) {
                *place = value as f32;
            }
        }
        drop(state);
        if !self.known.load(Ordering::Relaxed) {
            enter(&self.known, Series::Sample(self));
        }
        emit(&self.name, value, if self.adds { "c" } else { "ms" });
    }
}

/// Records how long it lived when it is dropped.
pub struct Timed {
    sample: &'static Sample,
    start: Instant,
}

impl Timed {
    /// Starts to measure.
    pub fn start(sample: &'static Sample) -> Self {
        let start = Instant::now();
        Self { sample, start }
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.sample.record(self.start.elapsed());
    }
}

/// The sample of a table of [`Sample::labelled`] whose label has this value; for a value that is not in the table, one made
/// at run time.
pub fn labelled(table: &'static [Sample], value: &str) -> Option<&'static Sample> {
    let label = |of: &Sample| of.name.labels.first().copied();
    let has = |of: &&Sample| label(of).is_some_and(|(_, known)| known == value);
    table.iter().find(has).or_else(|| {
        let first = table.first()?;
        sample(&[first.name.text], &[(label(first)?.0, value)])
    })
}

/// The counter whose name are these parts, with these labels; `None` when there are too many series already.
pub fn counter(name: &[&str], labels: &[(&str, &str)]) -> Option<&'static Counter> {
    match make(name, labels, |name| {
        let made: &'static Counter = Box::leak(Box::new(Counter::named(name)));
        made.known.store(true, Ordering::Relaxed);
        Series::Counter(made)
    })? {
        Series::Counter(found) => Some(found),
        _ => None,
    }
}

/// The sample whose name are these parts, with these labels; `None` when there are too many series already.
pub fn sample(name: &[&str], labels: &[(&str, &str)]) -> Option<&'static Sample> {
    made_sample(name, labels, false)
}

/// As [`sample`], shown among the counters.
pub fn adding_sample(name: &[&str], labels: &[(&str, &str)]) -> Option<&'static Sample> {
    made_sample(name, labels, true)
}

fn made_sample(name: &[&str], labels: &[(&str, &str)], adds: bool) -> Option<&'static Sample> {
    match make(name, labels, |name| {
        let made: &'static Sample = Box::leak(Box::new(Sample::named(name, adds)));
        made.known.store(true, Ordering::Relaxed);
        Series::Sample(made)
    })? {
        Series::Sample(found) => Some(found),
        _ => None,
    }
}

/// Finds or makes a series; what is made lives as long as the process, hence the maximum.
fn make(
    name: &[&str],
    labels: &[(&str, &str)],
    new: impl FnOnce(Name) -> Series,
) -> Option<Series> {
    if labels.iter().any(|(_, value)| value.len() > MAX_LABEL) {
        return None;
    }
    let mut registry = registry();
    let mut place = hash(registry.made.hasher(), name, labels);
    while let Some(found) = registry.made.get(&place) {
        if found.name().is(name, labels) {
            return Some(*found);
        }
        place = place.wrapping_add(1);
    }
    if registry.made.len() >= MAX_MADE {
        return None;
    }
    let series = new(Name::made(name, labels));
    registry.series.push(series);
    registry.made.insert(place, series);
    Some(series)
}

/// Of a name, however it is cut into parts, and its labels.
fn hash(keys: &RandomState, name: &[&str], labels: &[(&str, &str)]) -> u64 {
    let mut hasher = keys.build_hasher();
    for part in name {
        hasher.write(part.as_bytes());
    }
    for (label, value) in labels {
        hasher.write_u8(0);
        hasher.write(label.as_bytes());
        hasher.write_u8(0);
        hasher.write(value.as_bytes());
    }
    hasher.finish()
}

/// Collects a line for each statsd server.
fn emit(name: &Name, value: f64, kind: &str) {
    if !EMIT.load(Ordering::Relaxed) {
        return;
    }
    let settings = settings();
    for (place, sink) in settings.statsd.iter().enumerate() {
        let Some(line) = settings.statsd_line(sink, name.text, name.labels, value, kind) else {
            continue;
        };
        let mut all = lock(&LINES);
        if let Some(lines) = all.get_mut(place)
            && lines.len() + line.len() <= MAX_LINES
        {
            lines.push_str(&line);
        }
    }
}

/// Takes the lines collected since the last time for one of the configured statsd servers, gauges and samples
/// alike.
pub fn drain(place: usize) -> String {
    let mut all = lock(&LINES);
    all.get_mut(place).map(std::mem::take).unwrap_or_default()
}

#[cfg(test)]
mod tests;
