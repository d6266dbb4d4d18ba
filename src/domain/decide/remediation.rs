//! Releases that Flux itself rolled back or uninstalled (remediation).

use jiff::{SignedDuration, Timestamp};

use super::{Class, Decision, Inputs, Reason, Release, SENDS, Truth, leave, ledger};
use crate::domain::policy::{AfterRemediation, Policy};

/// The least time between the remediation and the restart. An upgrade fails again while the infrastructure is still
/// unavailable.
const PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// Leaves the release, unless the policy allows one restart for the configuration, and the pause is over
/// (stories wh-breaks-upgrade-rolled-back-then-reset-heals and rolled-back-then-reset-breaks-again).
pub(super) fn remediated(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let (reason, policy) = remediation_of(release, inputs.policy)?;
    let allowed = match policy {
        AfterRemediation::Never => false,
        AfterRemediation::Infrastructure => {
            inputs.verdict.infrastructure && inputs.verdict.class == Class::Transient
        }
        AfterRemediation::Always => true,
    };
    let state = ledger::attempt_state(release, inputs.record);
    let resend = state.attempts == 1 && state.swallowed && state.sends < SENDS;
    let since = since(release).filter(|since| inputs.is_plausible(*since));
    let (true, Some(since)) = (allowed && (state.attempts == 0 || resend), since) else {
        return Some(leave(reason));
    };
    let until = since.saturating_add(PAUSE).unwrap_or(Timestamp::MAX);
    (inputs.now < until).then_some(Decision::Wait {
        until: Some(until),
        reason: Reason::Backoff,
    })
}

/// Whether Flux has remediated the release, and what the policy says about a restart after that.
fn remediation_of(release: &Release, policy: &Policy) -> Option<(Reason, AfterRemediation)> {
    let done = release
        .condition("Remediated")
        .filter(|condition| condition.status == Truth::True);
    match done.map(|condition| condition.reason.as_str()) {
        Some("UninstallSucceeded") => return Some((Reason::Uninstalled, policy.after_uninstall)),
        Some(_) => return Some((Reason::RolledBack, policy.after_rollback)),
        None => {}
    }
    let gone = release
        .newest()
        .is_some_and(|newest| newest.status.starts_with("uninstall"));
    gone.then_some((Reason::Uninstalled, policy.after_uninstall))
}

/// When Flux remediated the release, if that is known.
fn since(release: &Release) -> Option<Timestamp> {
    let conditions = ["Remediated", "Stalled", "Ready"];
    let mut conditions = conditions.iter().filter_map(|kind| release.condition(kind));
    conditions.find_map(|condition| condition.last_transition_time.as_deref()?.parse().ok())
}
