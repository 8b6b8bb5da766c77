//! The table, and on what it was measured.

use crate::cores::Cores;
use crate::measure::{Plan, Row};

fn figure(value: f64) -> String {
    if value.is_nan() {
        "-".into()
    } else if value >= 1000.0 {
        let n = format!("{value:.0}");
        let at = n.len() % 3;
        let mut out = String::new();
        for (i, c) in n.chars().enumerate() {
            if i > 0 && i % 3 == at {
                out.push(',');
            }
            out.push(c);
        }
        out
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn ratio(row: &Row) -> String {
    let [consul, ours] = row.values;
    let (a, b) = if row.more_is_better {
        (ours, consul)
    } else {
        (consul, ours)
    };
    if b == 0.0 || a.is_nan() || b.is_nan() {
        return "-".into();
    }
    format!("{:.1}x", a / b)
}

/// Prints the table in Markdown.
pub fn print(plan: &Plan, rows: &[Row]) {
    let cores = Cores::installed();
    let system = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown processor", |p| p.1);
    println!(
        "\n{cores} cores of {model}, {}, Linux {}; {} rounds of {} s a side, taking turns, medians; idle for {} s; {} blocking queries.\n",
        plan.sharing,
        system.trim(),
        plan.rounds,
        plan.seconds,
        plan.idle_seconds,
        plan.blocked
    );
    println!("| measured | Consul 1.8.7 | consul-lite | better by | target |");
    println!("|---|---:|---:|---:|---|");
    for row in rows {
        let [consul, ours] = row.values.map(figure);
        let unit = row.unit;
        println!(
            "| {} | {consul} {unit} | {ours} {unit} | {} | {} |",
            row.name,
            ratio(row),
            row.target
        );
    }
}
