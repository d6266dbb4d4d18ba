//! What helmreboot does about a release, as one sentence.

use crate::domain::{
    classify::Class,
    decide::{Decision, Reason},
    evaluate::Evaluation,
    ledger,
    policy::Mode,
    release::Release,
};

/// The sentence for a release after its evaluation.
pub(super) fn of(evaluation: &Evaluation, release: &Release) -> String {
    let (attempts, limit) = (evaluation.attempts, evaluation.policy.limit);
    let permanent = evaluation.verdict.class == Class::Permanent;
    match evaluation.decision.reason() {
        _ if matches!(evaluation.decision, Decision::Restart { .. }) => {
            let attempt = attempts.saturating_add(1);
            match evaluation.policy.mode {
                Mode::Act => format!("helmreboot restarts it now, attempt {attempt} of {limit}."),
                Mode::Observe => "helmreboot would restart it, but its mode is observe: it writes nothing.".into(),
            }
        }
        Reason::Gone | Reason::Replaced => "It no longer exists.".into(),
        Reason::Deleting => "It is being deleted.".into(),
        Reason::Suspended => "It is suspended: neither Flux nor helmreboot acts on it.".into(),
        Reason::OptedOut => "helmreboot is switched off for it, by an annotation or by its policy.".into(),
        Reason::Recovered => "It is ready.".into(),
        Reason::TokenPending => "Flux has not handled the last request yet.".into(),
        Reason::FluxRetries if permanent => "helmreboot does not restart it: Flux retries by itself, and every attempt fails for the same cause.".into(),
        Reason::FluxRetries => "helmreboot does not restart it: Flux retries by itself.".into(),
        Reason::Benign => "Flux reports no lasting failure, and continues by itself.".into(),
        Reason::Prerequisites => "Flux waits for a dependency, a source or values.".into(),
        Reason::Working => "Flux runs an action on it.".into(),
        Reason::Overdue => format!(
            "Flux has been running an action for more than {} min, which is longer than its timeouts allow.",
            release.action_limit().as_mins()
        ),
        Reason::Settling => "It failed a moment ago; helmreboot decides when its status no longer changes.".into(),
        Reason::NotAttempted => "Flux has not attempted its current generation yet.".into(),
        // The next step says why.
        Reason::ReadyOutdated | Reason::RolledBack | Reason::Uninstalled | Reason::Contested => "helmreboot does not restart it.".into(),
        Reason::Permanent => "helmreboot does not restart it: another attempt fails in the same way.".into(),
        Reason::UnknownCause => "helmreboot does not restart it: no rule matches the failure message.".into(),
        Reason::BudgetSpent if limit == 0 => "helmreboot does not restart it: its limit is 0.".into(),
        Reason::BudgetSpent => {
            let restarts = ledger::counted(attempts);
            format!("helmreboot gave up after {restarts} without success.")
        }
        Reason::Backoff => "helmreboot waits before the next restart.".into(),
        Reason::BreakerOpen => "Its restart is delayed: many releases fail for the same cause, so only a few of them are restarted at once.".into(),
        Reason::RateLimited => "Its restart is delayed by the limits of the cluster.".into(),
        Reason::Stalled | Reason::IdleFailed | Reason::TokenResent => "helmreboot is about to restart it.".into(),
    }
}
