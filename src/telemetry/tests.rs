//! One test, for the registry is one per process.

use super::*;

static REQUESTS: Counter = Counter::new("test.requests");
static BLOCKED: Counter = Counter::new("secret.thing");
static LATENCY: Sample = Sample::new("test.latency-time");
static BYTES: Sample = Sample::adding("test.bytes");
static OPS: [Sample; 2] = [
    Sample::labelled("test.ops", &[("op", "get")]),
    Sample::labelled("test.ops", &[("op", "put")]),
];
static LEVEL: Gauge = Gauge::new("test.level");

fn close_interval() {
    // As if ten seconds had passed: the interval that was running becomes the one before the present.
    CURRENT.store(present() - 1, Ordering::Relaxed);
    FIRST.store(1, Ordering::Relaxed);
    turn();
}

#[test]
fn metrics_are_shown_as_consul_shows_them() {
    let circonus = Settings {
        circonus: vec!["api_token".into()],
        ..Settings::default()
    };
    assert!(init(circonus).is_err_and(|e| e.is("Circonus is not supported")));
    assert!(prometheus().is_err_and(|e| e.is("retention time is not positive")));
    let settings = Settings {
        host: Some("vm".into()),
        blocked_prefixes: vec!["consul.secret".into()],
        prometheus_retention_time: Duration::from_secs(60),
        statsd: vec![
            Statsd::DogStatsd("127.0.0.1:1".into(), vec!["a:b".into()]),
            Statsd::Statsite("127.0.0.1:2".into()),
        ],
        ..Settings::default()
    };
    assert!(init(settings).is_ok());
    REQUESTS.incr();
    REQUESTS.incr();
    BLOCKED.incr();
    LATENCY.add(1.0);
    LATENCY.record(Duration::from_millis(3));
    BYTES.add(100.0);
    LEVEL.set(7.0);
    let made = counter(&["test.labelled"], &[("service", "web")]).expect("a series");
    made.incr();
    let again = |name: &[&str], labels: &[(&str, &str)]| {
        counter(name, labels).is_some_and(|found| std::ptr::eq(found, made))
    };
    assert!(again(&["test", ".labelled"], &[("service", "web")]));
    assert!(!again(&["test.labelled", "x"], &[("service", "web")]));
    assert!(!again(&["test.labelled"], &[("service", "we"), ("b", "")]));
    for (op, at) in [("get", Some(0)), ("put", Some(1)), ("other", None)] {
        let found = labelled(&OPS, op).expect("a series");
        found.add(5.0);
        assert_eq!(OPS.iter().position(|o| std::ptr::eq(o, found)), at);
        assert!(std::ptr::eq(found, labelled(&OPS, op).expect("the same")));
    }
    let settings = super::config::settings();
    let line = settings.statsd_line(&settings.statsd[0], "test.level", &[], 7.0, "g");
    let wanted = "consul.test.level:7.000000|g|#a:b\n";
    assert_eq!(line.as_deref(), Some(wanted), "no host for DogStatsD");
    close_interval();
    let shown = display();
    let of = |name: &str| {
        let all = shown.counters.iter().chain(&shown.samples);
        all.clone().find(|v| v.name == name).cloned()
    };
    assert_eq!(
        of("consul.test.requests").map(|v| (v.count, v.rate)),
        Some((2, 0.2))
    );
    let latency = of("consul.test.latency-time").expect("the sample");
    assert_eq!(
        (latency.sum, latency.min, latency.max, latency.mean),
        (4.0, 1.0, 3.0, 2.0)
    );
    assert!((latency.stddev - 2f64.sqrt()).abs() < 1e-9);
    assert_eq!(of("consul.test.bytes").map(|v| v.sum), Some(100.0));
    assert_eq!(of("consul.secret.thing"), None);
    assert_eq!(
        of("consul.test.labelled").map(|v| v.labels["service"].clone()),
        Some("web".into())
    );
    let level = shown
        .gauges
        .iter()
        .find(|g| g.name == "consul.vm.test.level");
    assert_eq!(level.map(|g| g.value), Some(7.0));
    assert!(
        shown.timestamp.ends_with("0 +0000 UTC"),
        "{}",
        shown.timestamp
    );

    let text = prometheus().expect("Prometheus is on");
    for wanted in [
        "# HELP consul_test_requests consul_test_requests\n# TYPE consul_test_requests counter\nconsul_test_requests 2\n",
        "consul_test_latency_time{quantile=\"0.5\"} 1\n",
        "consul_test_latency_time{quantile=\"0.99\"} 3\nconsul_test_latency_time_sum 4\nconsul_test_latency_time_count 2\n",
        "consul_test_labelled{service=\"web\"} 1\n",
        "consul_vm_test_level 7\n",
        "consul_test_ops_sum{op=\"put\"} 5\n",
        "consul_test_ops_sum{op=\"other\"} 5\n",
        "# TYPE process_resident_memory_bytes gauge\n",
    ] {
        assert!(text.contains(wanted), "{wanted}\nin\n{text}");
    }
    let lines = drain(0);
    assert!(
        lines.contains("consul.test.latency-time:3.000000|ms|#a:b\n"),
        "{lines}"
    );
    assert!(lines.contains("consul.test.labelled:1|c|#a:b,service:web\n"));
    assert!(!lines.contains("secret"));
    // Both the series and the lines have a maximum.
    for n in 0..3 * MAX_MADE {
        if let Some(c) = counter(&["many.", &n.to_string()], &[]) {
            c.incr();
        }
    }
    assert!(counter(&["one.more"], &[]).is_none());
    assert!(registry().made.len() <= MAX_MADE);
    assert!(drain(0).len() <= MAX_LINES && drain(1).len() <= MAX_LINES);
    // A quiet interval shows no counters; those of other tests in this process may have moved.
    close_interval();
    close_interval();
    let shown = display().counters;
    let ours = |name: &str| name.starts_with("consul.test.") || name.starts_with("consul.many.");
    assert!(!shown.iter().any(|counter| ours(&counter.name)));
}
