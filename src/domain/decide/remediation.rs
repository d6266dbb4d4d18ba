//! Releases that Flux itself put into a safe state, by a rollback or an uninstall.

use jiff::{SignedDuration, Timestamp};

use super::{Case, Class, Decision, Release, Truth, Why, leave, ledger};
use crate::domain::policy::{AfterRemediation, Policy};

/// How long after the remediation a release is restarted at the earliest. Infrastructure that broke an upgrade breaks
/// the next one too while it is away.
const PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// Leaves the release alone, unless the policy allows one restart for the configuration, and the pause is over
/// (stories infrastructure-breaks-upgrade-rolled-back-then-reset-heals and rolled-back-then-reset-breaks-again).
pub(super) fn remediated(case: &Case<'_>, release: &Release) -> Option<Decision> {
    let (why, policy) = safe_state(release, case.policy)?;
    let allowed = match policy {
        AfterRemediation::Never => false,
        AfterRemediation::Infrastructure => {
            case.verdict.infrastructure && case.verdict.class == Class::Transient
        }
        AfterRemediation::Always => true,
    };
    let standing = ledger::standing(release);
    let once =
        allowed && (standing.attempts == 0 || (standing.attempts == 1 && standing.swallowed));
    if !once {
        return Some(leave(why));
    }
    let until = since(release)?.saturating_add(PAUSE).ok()?;
    (case.now < until).then_some(Decision::Wait {
        until: Some(until),
        why: Why::Backoff,
    })
}

/// Whether Flux has put the release into a safe state, and when the policy lets us disturb it.
fn safe_state(release: &Release, policy: &Policy) -> Option<(Why, AfterRemediation)> {
    let done = release
        .condition("Remediated")
        .filter(|condition| condition.status == Truth::True);
    match done.map(|condition| condition.reason.as_str()) {
        Some("UninstallSucceeded") => return Some((Why::Uninstalled, policy.after_uninstall)),
        Some(_) => return Some((Why::RolledBack, policy.after_rollback)),
        None => {}
    }
    let gone = release
        .newest()
        .is_some_and(|newest| newest.status.starts_with("uninstall"));
    gone.then_some((Why::Uninstalled, policy.after_uninstall))
}

/// When the safe state was reached, where that is known.
fn since(release: &Release) -> Option<Timestamp> {
    let conditions = ["Remediated", "Stalled", "Ready"];
    let mut conditions = conditions.iter().filter_map(|kind| release.condition(kind));
    conditions.find_map(|condition| condition.last_transition_time.as_deref()?.parse().ok())
}
