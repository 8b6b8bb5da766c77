//! From the result of a run to the status of a check: how many results in a row it takes.
//!
//! Holds true: the first result counts at once; a result below its threshold changes neither status nor
//! output, unless the probe could not judge at all; warnings count as successes.
//! Source: `docs/reference/http-2.md` section 4.1.

use std::sync::Arc;

use log::{debug, error, warn};

use super::{AtOnce, Outcome};
use crate::agent::local::{CRITICAL, State, WARNING};
use crate::structs::CheckType;
use crate::structs::go::GoDuration;

/// How many results in a row change the status.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thresholds {
    /// Passing or warning results before the check leaves critical.
    pub success_before_passing: i64,
    /// Failures before it turns warning.
    pub failures_before_warning: i64,
    /// Failures before it turns critical.
    pub failures_before_critical: i64,
}

impl Thresholds {
    /// Those of a definition.
    pub fn of(check: &CheckType) -> Self {
        Self {
            success_before_passing: check.success_before_passing,
            failures_before_warning: if check.failures_before_warning > 0 {
                check.failures_before_warning
            } else {
                check.failures_before_critical
            },
            failures_before_critical: check.failures_before_critical,
        }
    }
}

/// Counts results and passes on what counts.
pub(super) struct StatusHandler {
    state: Arc<State>,
    check_id: String,
    thresholds: Thresholds,
    successes: i64,
    failures: i64,
}

impl StatusHandler {
    pub(super) fn new(state: Arc<State>, check_id: &str, thresholds: Thresholds) -> Self {
        Self {
            state,
            check_id: check_id.to_owned(),
            thresholds,
            successes: thresholds.success_before_passing,
            failures: thresholds.failures_before_critical,
        }
    }

    pub(super) fn check_id(&self) -> &str {
        &self.check_id
    }

    /// The status this result leads to, `None` when it does not count yet.
    fn judge(&mut self, status: &'static str) -> Option<&'static str> {
        if status != CRITICAL {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            return (self.successes >= self.thresholds.success_before_passing).then_some(status);
        }
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.thresholds.failures_before_critical {
            Some(CRITICAL)
        } else if self.failures >= self.thresholds.failures_before_warning {
            Some(WARNING)
        } else {
            None
        }
    }

    /// Takes a result.
    pub(super) fn report(&mut self, outcome: &Outcome) {
        if let Some(why) = outcome.at_once {
            let (check, error) = (self.check_id.as_str(), outcome.output.as_str());
            match why {
                AtOnce::NotInvoked => {
                    error!(target: "agent", check, error; "Check failed to invoke");
                }
                AtOnce::TimedOut(limit) => {
                    let timeout = GoDuration::from(limit).to_string();
                    warn!(target: "agent", check, timeout = timeout.as_str(); "Timed out running check");
                }
            }
            self.state.update_check(check, outcome.status, error);
            return;
        }
        let judged = self.judge(outcome.status);
        let check = self.check_id.as_str();
        let Some(status) = judged else {
            debug!(target: "agent", check, status = outcome.status; "Check result is below its threshold");
            return;
        };
        if status == CRITICAL {
            warn!(target: "agent", check; "Check is now critical");
        } else {
            debug!(target: "agent", check, status; "Check status updated");
        }
        self.state.update_check(check, status, &outcome.output);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::agent::local::{Identity, PASSING};

    fn handler(thresholds: Thresholds) -> StatusHandler {
        let state = State::new(Identity::default(), Arc::default(), Duration::ZERO);
        StatusHandler::new(Arc::new(state), "c", thresholds)
    }

    #[test]
    fn the_first_result_counts_and_then_it_takes_some() {
        let mut h = handler(Thresholds {
            success_before_passing: 2,
            failures_before_warning: 3,
            failures_before_critical: 3,
        });
        assert_eq!(h.judge(PASSING), Some(PASSING));
        assert_eq!(h.judge(CRITICAL), None);
        assert_eq!(h.judge(CRITICAL), None);
        assert_eq!(h.judge(CRITICAL), Some(CRITICAL));
        assert_eq!(h.judge(WARNING), None);
        assert_eq!(h.judge(PASSING), Some(PASSING));
    }

    #[test]
    fn some_failures_warn_before_they_are_critical() {
        let mut h = handler(Thresholds {
            success_before_passing: 0,
            failures_before_warning: 1,
            failures_before_critical: 2,
        });
        assert_eq!(h.judge(PASSING), Some(PASSING));
        assert_eq!(h.judge(CRITICAL), Some(WARNING));
        assert_eq!(h.judge(CRITICAL), Some(CRITICAL));
    }
}
