//! The next step of a person.

use crate::domain::{
    decide::{Decision, Reason},
    evaluate::Evaluation,
    ledger::Action,
    report::{next_step, reset_command},
};

/// Commands that a step may end with.
const COMMANDS: [&str; 5] = [
    "flux reconcile ",
    "flux resume ",
    "kubectl annotate ",
    "kubectl logs ",
    "helm history ",
];

/// The command that a step ends with.
pub fn command_of(step: &str) -> Option<&str> {
    let begins = COMMANDS.iter().filter_map(|command| step.find(command));
    begins.min().map(|at| step[at..].trim_end())
}

/// What a person can do. `known` is whether helmreboot has restarted the release before.
pub(super) fn of(
    evaluation: &Evaluation,
    known: bool,
    namespace: &str,
    name: &str,
) -> Option<String> {
    let (reason, class) = (evaluation.decision.reason(), evaluation.verdict.class);
    match &evaluation.decision {
        _ if !evaluation.invalid.is_empty() => {
            let invalid = &evaluation.invalid[0];
            Some(format!(
                "correct the annotation {}: {}",
                invalid.annotation, invalid.problem
            ))
        }
        Decision::Restart { request, .. } => Some(match request.action {
            Action::Request => format!("flux reconcile helmrelease {name} -n {namespace}"),
            Action::Reset | Action::Force => reset_command(namespace, name),
        }),
        _ if reason == Reason::BudgetSpent && !known => Some(reset_command(namespace, name)),
        _ if reason == Reason::OptedOut => Some(reset_command(namespace, name)),
        _ if reason == Reason::Suspended => {
            Some(format!("flux resume helmrelease {name} -n {namespace}"))
        }
        _ => next_step(reason, class, namespace, name),
    }
}
