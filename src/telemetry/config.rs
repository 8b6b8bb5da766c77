//! The `telemetry` block: prefix, host name, filters, Prometheus, statsd.
//!
//! Source: Consul's documentation "Telemetry Parameters"; the line forms of statsd, statsite and DogStatsD
//! by their own documentation.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{EMIT, KEEP, lock, turn};
use crate::structs::{Error, Result};

/// Where lines are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statsd {
    /// statsd over UDP, `host:port`.
    Statsd(String),
    /// statsite over TCP, `host:port`.
    Statsite(String),
    /// DogStatsD over UDP, `host:port` and tags for every line.
    DogStatsd(String, Vec<String>),
}

/// statsd, statsite and DogStatsD, one of each.
pub const MAX_SINKS: usize = 3;

/// What the `telemetry` block says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `consul` unless configured.
    pub metrics_prefix: String,
    /// The host's name, shown in gauges once metrics go somewhere; `None` with `disable_hostname`.
    pub host: Option<String>,
    /// Whether metrics that no rule names are shown.
    pub filter_default: bool,
    /// Prefixes of full names that are shown.
    pub allowed_prefixes: Vec<String>,
    /// Prefixes of full names that are not shown.
    pub blocked_prefixes: Vec<String>,
    /// 0 turns the Prometheus form off.
    pub prometheus_retention_time: Duration,
    /// Where every update is sent, besides being kept here; at most [`MAX_SINKS`].
    pub statsd: Vec<Statsd>,
    /// Names of `circonus_` settings, which are refused.
    pub circonus: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            metrics_prefix: "consul".into(),
            host: None,
            filter_default: true,
            allowed_prefixes: Vec::new(),
            blocked_prefixes: Vec::new(),
            prometheus_retention_time: Duration::ZERO,
            statsd: Vec::new(),
            circonus: Vec::new(),
        }
    }
}

static SETTINGS: Mutex<Option<Arc<Settings>>> = Mutex::new(None);

/// Sets the configuration, at start and on reload.
///
/// # Errors
/// When it asks for a sink that does not exist here.
pub fn init(mut settings: Settings) -> Result<()> {
    if let Some(name) = settings.circonus.first() {
        return Err(Error::new(format!(
            "telemetry.circonus_{name}: Circonus is not supported: remove the circonus_ settings, or use \
             statsd_address, statsite_address, dogstatsd_addr or prometheus_retention_time"
        )));
    }
    let keep = !settings.prometheus_retention_time.is_zero();
    KEEP.store(keep, Ordering::Relaxed);
    settings.statsd.truncate(MAX_SINKS);
    EMIT.store(!settings.statsd.is_empty(), Ordering::Relaxed);
    // A sink gives the gauges the host's name; without one Consul shows them bare.
    if settings.statsd.is_empty() && !keep {
        settings.host = None;
    }
    *lock(&SETTINGS) = Some(Arc::new(settings));
    // From now on time counts.
    turn();
    Ok(())
}

/// The configuration in force.
pub fn settings() -> Arc<Settings> {
    lock(&SETTINGS).get_or_insert_with(Arc::default).clone()
}

impl Settings {
    /// The full name under which a metric is shown, `None` when a filter holds it back.
    pub(super) fn full_name(&self, name: &str, is_gauge: bool) -> Option<String> {
        let plain = format!("{}.{name}", self.metrics_prefix);
        // The longest rule decides.
        let longest = |rules: &[String]| {
            let fits = rules.iter().filter(|rule| plain.starts_with(rule.as_str()));
            fits.map(|rule| rule.len() + 1).max().unwrap_or(0)
        };
        let allowed = longest(&self.allowed_prefixes);
        let blocked = longest(&self.blocked_prefixes);
        let shown = match allowed.cmp(&blocked) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => allowed > 0 || self.filter_default,
        };
        if !shown {
            return None;
        }
        Some(match &self.host {
            Some(host) if is_gauge => format!("{}.{host}.{name}", self.metrics_prefix),
            _ => plain,
        })
    }

    /// One update as a line for a server; label values become parts of the name, or DogStatsD's tags.
    pub(super) fn statsd_line(
        &self,
        sink: &Statsd,
        name: &str,
        labels: &[(&str, &str)],
        value: f64,
        kind: &str,
    ) -> Option<String> {
        let tags = match sink {
            Statsd::DogStatsd(_, tags) => Some(tags),
            Statsd::Statsd(_) | Statsd::Statsite(_) => None,
        };
        // Datadog's agent knows its host; Consul leaves the name out for it.
        let mut line = self.full_name(name, kind == "g" && tags.is_none())?;
        if tags.is_none() {
            for (_, value) in labels {
                line.push('.');
                line.push_str(value);
            }
        }
        line = line.replace([':', ' '], "_");
        let _ = match kind {
            // Counters are whole numbers there.
            "c" if tags.is_some() => write!(line, ":{value:.0}|c"),
            _ => write!(line, ":{value:.6}|{kind}"),
        };
        if let Some(tags) = tags {
            let own = labels.iter().map(|(k, v)| format!("{k}:{v}"));
            let all: Vec<String> = tags.iter().cloned().chain(own).collect();
            if !all.is_empty() {
                let _ = write!(line, "|#{}", all.join(","));
            }
        }
        line.push('\n');
        Some(line)
    }
}
