//! The line of a fact in the log. It reads alone.

use crate::domain::{
    classify::Class,
    decide::Reason,
    ledger::{self, RestartOutcome},
};

use super::{Fact, Report, advice::next_attempt};

impl Report {
    /// The message of its line in the log.
    pub fn line(&self) -> String {
        let (full, rule, attempts) = (&self.release, self.rule, self.attempts);
        match &self.fact {
            Fact::Restarted {
                action,
                limit,
                sends,
                ..
            } => {
                let action = action.as_str();
                if *sends > 1 {
                    format!(
                        "sent a new token to {full} ({action}): Flux handled the last one without an attempt"
                    )
                } else if attempts > *limit {
                    format!("restarted {full} ({action}, slow lane): {rule}")
                } else {
                    format!("restarted {full} ({action}, attempt {attempts} of {limit}): {rule}")
                }
            }
            Fact::Ended {
                outcome, next, now, ..
            } => match outcome {
                RestartOutcome::Recovered => format!("{full} recovered after its restart"),
                RestartOutcome::Superseded => {
                    format!("the restart of {full} was superseded: the release was changed")
                }
                RestartOutcome::FailedAgain => {
                    let next = next.as_ref().map(|decision| next_attempt(decision, *now));
                    let next = next.unwrap_or_default();
                    format!("{full} failed again after its restart{next}")
                }
                RestartOutcome::Swallowed => format!(
                    "Flux handled the restart of {full} without an attempt: a dependency or source was not ready"
                ),
            },
            Fact::Waits { reason, .. } => format!("{full} waits: {}", reason.as_str()),
            Fact::Left { .. } => self.left(),
            Fact::WouldRestart { action, paused } => {
                let because = if *paused {
                    "helmreboot is paused"
                } else {
                    "mode is observe"
                };
                let action = action.as_str();
                format!(
                    "would restart {full} ({action}): {rule}; nothing is written, because {because}"
                )
            }
            Fact::InvalidAnnotation {
                annotation,
                problem,
            } => format!("invalid annotation {annotation} of {full}: {problem}"),
            Fact::LongWait { reason, minutes } => format!(
                "{full} has waited for {minutes} min ({reason}); check that helm-controller is running"
            ),
            Fact::Error { problem, .. } => {
                format!("cannot reconcile {full}, retrying: {problem}")
            }
            Fact::Panicked {
                location,
                retry_minutes,
            } => format!(
                "internal error at {location} in the reconcile of {full}, retrying in {retry_minutes} min; please report it"
            ),
        }
    }

    fn left(&self) -> String {
        let Fact::Left {
            reason,
            class,
            retry_at,
            now,
            action_minutes,
            ..
        } = &self.fact
        else {
            return String::new();
        };
        let (full, rule, attempts, word) =
            (&self.release, self.rule, self.attempts, reason.as_str());
        match reason {
            Reason::Recovered => format!("{full} is ready, nothing to do"),
            Reason::BudgetSpent if attempts == 0 => {
                format!("not restarting {full}: its limit is 0")
            }
            Reason::BudgetSpent => {
                let restarts = ledger::counted(attempts);
                let decision = crate::domain::decide::Decision::Leave {
                    retry_at: *retry_at,
                    reason: *reason,
                };
                let next = next_attempt(&decision, *now);
                format!(
                    "gave up on {full} after {restarts} without success ({rule}){next}; for new attempts, set its annotation helmreboot.io/renew to a new value"
                )
            }
            Reason::FluxRetries if *class == Class::Permanent => format!(
                "{full} fails for a permanent cause ({rule}), which Flux keeps retrying; a person has to correct it"
            ),
            Reason::Overdue => format!(
                "{full} is overdue: Flux has been running an action for more than {action_minutes} min, which is longer than its timeouts allow; helm-controller may hang, or may have been killed: check its pods and its log, and restart it; helmreboot writes nothing"
            ),
            Reason::ReadyOutdated => format!(
                "not restarting {full}: its newest Helm revision is deployed, with the version and values that Flux tried last, so its Ready condition may be out of date ({rule}); compare it with helm history"
            ),
            Reason::Contested => format!(
                "not restarting {full}: {word}, another client restores the earlier value of reconcile.fluxcd.io/requestedAt; remove that annotation from Git"
            ),
            Reason::Permanent | Reason::UnknownCause | Reason::RolledBack | Reason::Uninstalled => {
                format!("not restarting {full}: {word} ({rule}); a person has to act")
            }
            _ => format!("not restarting {full}: {word}"),
        }
    }
}
