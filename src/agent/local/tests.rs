//! Rules of the local state that need no catalog.

use std::time::Duration;

use super::*;

fn state(interval: Duration) -> State {
    let identity = Identity {
        node: "n1".to_owned(),
        ..Identity::default()
    };
    State::new(identity, Arc::default(), interval)
}

fn service(id: &str) -> NodeService {
    NodeService {
        id: id.to_owned(),
        service: id.to_owned(),
        ..NodeService::default()
    }
}

fn check(id: &str, service_id: &str) -> HealthCheck {
    HealthCheck {
        check_id: id.to_owned(),
        service_id: service_id.to_owned(),
        status: CRITICAL.to_owned(),
        ..HealthCheck::default()
    }
}

#[test]
fn a_check_needs_its_service() {
    let state = state(Duration::ZERO);
    let error = state.add_check(check("c", "web"), "").unwrap_err();
    assert_eq!(
        error.text(),
        "Check \"c\" refers to non-existent service \"web\""
    );
    state.add_service(service("web"), "").unwrap();
    state.add_check(check("c", "web"), "").unwrap();
    assert_eq!(state.check("c").unwrap().node, "n1");
    assert_eq!(state.counts(), (1, 1));
    state.remove_service("web").unwrap();
    assert_eq!(state.counts(), (0, 1));
    assert!(state.remove_service("web").is_err());
}

#[test]
fn a_new_status_wakes_the_sync_and_a_new_output_waits() {
    let state = state(Duration::from_secs(60));
    state.add_check(check("c", ""), "").unwrap();
    state.update_check("c", CRITICAL, "one");
    assert!(!state.trigger().take_changes());
    let due = state.next_deferral().unwrap();
    assert!(due >= now() + Duration::from_secs(29));
    assert_eq!(state.check("c").unwrap().output, "one");
    state.update_check("c", CRITICAL, "two");
    assert_eq!(
        state.next_deferral(),
        Some(due),
        "later outputs join the wait"
    );
    state.update_check("c", PASSING, "three");
    assert!(state.trigger().take_changes());
    assert_eq!(state.next_deferral(), None);
    assert!(state.critical_checks().is_empty());
    state.update_check("c", PASSING, "three");
    assert!(!state.trigger().take_changes());
}

#[test]
fn without_an_interval_every_output_is_pushed() {
    let state = state(Duration::ZERO);
    state.add_check(check("c", ""), "").unwrap();
    state.update_check("c", CRITICAL, "one");
    assert!(state.trigger().take_changes());
}

#[test]
fn discarded_output_changes_nothing() {
    let state = state(Duration::ZERO);
    state.add_check(check("c", ""), "").unwrap();
    state.update_check("c", CRITICAL, "old");
    state.set_discard_check_output(true);
    assert_eq!(state.check("c").unwrap().output, "");
    state.trigger().take_changes();
    state.update_check("c", CRITICAL, "new");
    assert!(!state.trigger().take_changes());
}

/// Consul 1.8.7: the clock begins with the first result that says critical, and anew after each registration.
#[test]
fn the_clock_of_a_critical_check_starts_with_a_result() {
    let state = state(Duration::ZERO);
    state.add_check(check("c", ""), "").unwrap();
    assert_eq!(state.check("c").unwrap().status, CRITICAL);
    assert!(state.critical_checks().is_empty());
    let output = state.check("c").unwrap().output;
    state.update_check("c", CRITICAL, &output);
    let first = state.critical_checks()[0].since;
    state.update_check("c", CRITICAL, "more");
    assert_eq!(state.critical_checks()[0].since, first);
    state.add_check(check("c", ""), "").unwrap();
    assert!(state.critical_checks().is_empty());
    state.update_check("c", CRITICAL, "more");
    assert!(state.critical_checks()[0].since >= first);
    state.update_check("c", "passing", "");
    assert!(state.critical_checks().is_empty());
}
