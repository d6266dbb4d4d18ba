//! What comes next, and what a person can do about it.

use jiff::Timestamp;

use crate::domain::{
    classify::Class,
    decide::{Decision, Reason},
    spoken::spoken,
};

/// When a release is restarted next, as far as that is known. Begins with a semicolon.
pub(super) fn next_attempt(decision: &Decision, now: Timestamp) -> String {
    let reason = decision.reason().as_str();
    let otherwise = match decision {
        Decision::Restart { .. } => {
            "it is restarted as soon as the rate limit and the circuit breakers allow it"
        }
        Decision::Wait { .. } => "it is reconciled again",
        Decision::Leave { .. } => "there is no further attempt",
    };
    decision.next().map_or_else(
        || format!("; {otherwise} ({reason})"),
        |at| {
            let wait = spoken(at.duration_since(now).unsigned_abs());
            format!("; the next attempt is not before {at:.0}, in {wait} ({reason})")
        },
    )
}

/// The same as sentences for a notice, without words of the log. Begins with a space where there is something to say.
pub(super) fn next_sentence(decision: &Decision) -> String {
    match (decision.next(), decision) {
        (Some(at), Decision::Leave { .. }) => format!(
            " It makes one more attempt after {at:.0}, or earlier if other releases with this cause recover."
        ),
        (Some(at), _) => format!(" The next attempt is not before {at:.0}."),
        (None, Decision::Restart { .. }) => {
            " helmreboot restarts it again as soon as its rate limit and circuit breakers allow it."
                .to_owned()
        }
        (None, Decision::Wait { .. }) => String::new(),
        (None, Decision::Leave { .. }) => {
            " helmreboot makes no further attempt by itself.".to_owned()
        }
    }
}

/// The command that renews the budget of a release.
pub fn renew_command(namespace: &str, name: &str) -> String {
    format!(
        "kubectl annotate helmrelease {name} -n {namespace} --overwrite helmreboot.io/renew=\"$(date +%s)\""
    )
}

/// The command that has Flux try a release once more, without helmreboot.
pub fn reset_command(namespace: &str, name: &str) -> String {
    format!("flux reconcile helmrelease {name} -n {namespace} --reset")
}

/// The next step of a person, where a release is not restarted: sentences, of which the last may end with a command.
/// `None` where there is nothing to do for a person.
pub fn next_step(reason: Reason, class: Class, namespace: &str, name: &str) -> Option<String> {
    let reset = reset_command(namespace, name);
    Some(match reason {
        Reason::Permanent => format!(
            "Correct the cause in the chart, the values or the cluster. If the correction changes the HelmRelease, its chart or its values, Flux retries by itself; otherwise run: {reset}"
        ),
        Reason::UnknownCause => format!(
            "Read the message of the Ready condition. A rule of your own lets helmreboot restart releases with this message. To retry now, run: {reset}"
        ),
        Reason::FluxRetries if class == Class::Permanent => {
            "Every attempt fails for the same cause until a person corrects it.".into()
        }
        Reason::RolledBack => format!(
            "Flux rolled the release back, and the previous version runs. Correct the new version. To retry the same version, run: {reset}"
        ),
        Reason::Uninstalled => format!(
            "Flux uninstalled the failed release. Correct the new version. To retry the same version, run: {reset}"
        ),
        Reason::BudgetSpent => format!(
            "Correct the cause. To have helmreboot try again now, with a new budget, run: {}",
            renew_command(namespace, name)
        ),
        Reason::Contested => "Another client restores an earlier value of reconcile.fluxcd.io/requestedAt: remove that annotation from Git.".into(),
        Reason::ReadyOutdated => format!(
            "The newest Helm revision is deployed, so the Ready condition may be out of date. Compare it with: helm history {name} -n {namespace}"
        ),
        Reason::Overdue => "helm-controller may hang, or may have been killed: check the pods and the log of helm-controller, and restart helm-controller.".into(),
        _ => return None,
    })
}
