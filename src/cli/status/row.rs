//! One release as `status` lists it.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cli::access::{self, Target},
    domain::{
        classify::Class,
        decide::Reason,
        evaluate::Evaluation,
        release::Release,
        report::reset_command,
        spoken::age,
        summary::{Band, ReleaseSummary, command_of},
    },
};

/// The most characters of a failure message.
const MESSAGE_LIMIT: usize = 300;

/// One release. Its fields are those of `-o json`.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) summary: ReleaseSummary,
    /// The time since then, as kubectl prints an age.
    #[serde(skip)]
    pub(super) age: String,
    #[serde(skip)]
    pub(super) short_step: String,
}

impl Row {
    /// Evaluates a release as the service does.
    pub(super) fn of(target: &Target, release: &Release, now: Timestamp) -> Self {
        let (cluster, config) = (&target.cluster.name, &target.config);
        let evaluation = access::evaluate(config, cluster, release, now);
        let classifier = &config.classifier;
        let mut summary =
            ReleaseSummary::of(cluster, release, &evaluation, classifier, MESSAGE_LIMIT);
        let age = summary.since().map_or_else(
            || "-".to_owned(),
            |since| age(now.duration_since(since).unsigned_abs()),
        );
        let (namespace, name) = (&summary.namespace, &summary.name);
        let short = short(&evaluation, summary.next_step.as_deref(), namespace, name);
        let reach = |step: String| with_flags(step, &target.flags);
        summary.next_step = summary.next_step.map(reach);
        summary.command = summary.command.map(reach);
        Self {
            summary,
            age,
            short_step: reach(short),
        }
    }

    /// Whether there is nothing to say about it.
    pub(super) fn is_fine(&self) -> bool {
        self.summary.fine
    }

    /// Whether a person has to act before it recovers.
    pub(super) fn needs_person(&self) -> bool {
        matches!(self.summary.band, Band::NeedsPerson | Band::Excluded)
    }
}

/// A step that ends with a command of flux or kubectl, with the flags that lead to the cluster.
fn with_flags(step: String, flags: &str) -> String {
    let reaches = |command: &str| command.starts_with("flux ") || command.starts_with("kubectl ");
    if command_of(&step).is_some_and(reaches) {
        step + flags
    } else {
        step
    }
}

/// The next step in a few words, for a column.
fn short(evaluation: &Evaluation, step: Option<&str>, namespace: &str, name: &str) -> String {
    let (reason, class) = (evaluation.decision.reason(), evaluation.verdict.class);
    let reset = reset_command(namespace, name);
    match (reason, step) {
        (Reason::Recovered, _) => String::new(),
        (_, None) => "none: Flux continues by itself".into(),
        (_, Some(step)) if !evaluation.invalid.is_empty() => step.to_owned(),
        (Reason::FluxRetries, _) if class == Class::Permanent => {
            "correct the cause: Flux retries by itself".into()
        }
        (Reason::Permanent, _) => format!("correct the cause, then: {reset}"),
        (Reason::RolledBack | Reason::Uninstalled, _) => {
            format!("correct the new version, then: {reset}")
        }
        (Reason::UnknownCause, _) => format!("read the failure message, then: {reset}"),
        (Reason::Overdue, _) => "check helm-controller".into(),
        (Reason::Contested, _) => "remove reconcile.fluxcd.io/requestedAt from Git".into(),
        (_, Some(step)) => command_of(step).unwrap_or(step).to_owned(),
    }
}
