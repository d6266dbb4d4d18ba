//! One release as `status` lists it.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cli::access::{self, Target},
    domain::{
        classify::{Class, Rule},
        decide::{Decision, Reason},
        evaluate::Evaluation,
        ledger::{self, Action},
        mask::mask,
        release::Release,
        report::{next_step, reset_command},
        spoken::age,
    },
};

/// The most characters of a failure message.
const MESSAGE_LIMIT: usize = 300;

/// One release. Its fields are those of `-o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) cluster: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Whether it is ready for its current generation.
    pub(super) ready: bool,
    pub(super) suspended: bool,
    /// `restart`, `wait` or `leave`.
    pub(super) decision: &'static str,
    pub(super) reason: &'static str,
    pub(super) class: &'static str,
    pub(super) rule: &'static str,
    /// What the rule means.
    pub(super) cause: Option<&'static str>,
    pub(super) restarts: u32,
    pub(super) limit: u32,
    /// Since when the Ready condition has its value.
    pub(super) since: Option<String>,
    /// The same as kubectl prints an age.
    #[serde(skip)]
    pub(super) age: String,
    pub(super) retry_at: Option<String>,
    /// The failure message of Flux, masked and cut.
    pub(super) message: Option<String>,
    /// What a person can do.
    pub(super) next_step: Option<String>,
    #[serde(skip)]
    fine: bool,
    #[serde(skip)]
    pub(super) needs_person: bool,
    #[serde(skip)]
    pub(super) short_step: String,
}

impl Row {
    /// Evaluates a release as the service does.
    pub(super) fn of(target: &Target, release: &Release, now: Timestamp) -> Self {
        let (cluster, config) = (&target.cluster.name, &target.config);
        let evaluation = access::evaluate(config, cluster, release, now);
        let Evaluation {
            policy,
            verdict,
            attempts,
            decision,
            ..
        } = &evaluation;
        let reason = decision.reason();
        let since = release
            .condition("Ready")
            .and_then(|ready| ready.last_transition_time.clone());
        let age = since
            .as_deref()
            .and_then(|since| since.parse::<Timestamp>().ok())
            .map_or_else(
                || "-".to_owned(),
                |since| age(now.duration_since(since).unsigned_abs()),
            );
        let cause = config.classifier.cause(release);
        let found = config
            .classifier
            .find(verdict.rule)
            .filter(|_| verdict.rule != Rule::NONE.name);
        let fails = release.failing() || reason == Reason::Overdue;
        let metadata = &release.metadata;
        let (namespace, name) = (&metadata.namespace, &metadata.name);
        let known = release.annotation(ledger::STATE).is_some();
        let step = step(&evaluation, known, namespace, name);
        let short_step = short(&evaluation, &step, namespace, name);
        let reach = |step: String| with_flags(step, &target.flags);
        Self {
            ready: release.recovered(),
            suspended: release.spec.suspend,
            decision: decision.as_str(),
            reason: reason.as_str(),
            class: if fails { verdict.class.as_str() } else { "" },
            rule: if fails { verdict.rule } else { "" },
            cause: found.map(|rule| rule.description),
            restarts: *attempts,
            limit: policy.limit,
            since,
            age,
            retry_at: decision.next().map(|at| format!("{at:.0}")),
            message: cause.map(|(_, message)| mask(message, MESSAGE_LIMIT)),
            fine: release.recovered() || release.spec.suspend && !release.failing(),
            needs_person: step.is_some() && !matches!(decision, Decision::Restart { .. })
                || !evaluation.invalid.is_empty(),
            short_step: reach(short_step),
            next_step: step.map(reach),
            cluster: cluster.to_string(),
            namespace: namespace.clone(),
            name: name.clone(),
        }
    }

    /// Whether there is nothing to say about it.
    pub(super) fn is_fine(&self) -> bool {
        self.fine
    }
}

/// A step that ends with a command of flux or kubectl, with the flags that lead to the cluster.
fn with_flags(step: String, flags: &str) -> String {
    let commands = ["flux reconcile ", "flux resume ", "kubectl annotate "];
    if commands.iter().any(|command| step.contains(command)) {
        step + flags
    } else {
        step
    }
}

/// What a person can do. `known` is whether helmreboot has restarted the release before.
fn step(evaluation: &Evaluation, known: bool, namespace: &str, name: &str) -> Option<String> {
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

/// The same in a few words, for a column.
fn short(evaluation: &Evaluation, step: &Option<String>, namespace: &str, name: &str) -> String {
    let (reason, class) = (evaluation.decision.reason(), evaluation.verdict.class);
    let text = match (reason, step) {
        (Reason::Recovered, _) => "",
        (_, None) => "none: Flux continues by itself",
        (_, Some(step)) if !evaluation.invalid.is_empty() => step,
        (Reason::FluxRetries, _) if class == Class::Permanent => {
            "correct the cause: Flux retries by itself"
        }
        (Reason::Permanent, _) => {
            return format!(
                "correct the cause, then: {}",
                reset_command(namespace, name)
            );
        }
        (Reason::RolledBack | Reason::Uninstalled, _) => {
            return format!(
                "correct the new version, then: {}",
                reset_command(namespace, name)
            );
        }
        (Reason::UnknownCause, _) => {
            return format!(
                "read the failure message, then: {}",
                reset_command(namespace, name)
            );
        }
        (Reason::Overdue, _) => "check helm-controller",
        (Reason::Contested, _) => "remove reconcile.fluxcd.io/requestedAt from Git",
        (_, Some(step)) => {
            let command = step.find("kubectl ").or_else(|| step.find("helm history"));
            return command.map_or(step.clone(), |at| step[at..].to_owned());
        }
    };
    text.to_owned()
}
