//! One release in short: what `helmreboot status`, the page and the API show of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    classify::{Classifier, Rule},
    decide::{Decision, Reason},
    evaluate::Evaluation,
    ledger,
    mask::mask,
    policy::Mode,
    release::{FORCE_AT, REQUESTED_AT, RESET_AT, Release},
};

mod sentence;
mod step;
pub use step::command_of;

string_enum! {
    /// Who has to act.
    Band {
        /// A person.
        NeedsPerson = "needs-person",
        /// helmreboot, or Flux.
        InProgress = "in-progress",
        /// It is suspended, or helmreboot is switched off for it.
        Excluded = "excluded",
        /// Nobody: it is ready.
        Ready = "ready",
    }
}

impl Serialize for Band {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The most characters of one value that comes from the cluster.
const VALUE_LIMIT: usize = 200;

/// The most annotations.
const ANNOTATIONS: usize = 16;

/// A release, its failure, and the decision about it. Text of the cluster is masked and cut.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseSummary {
    /// The name of its cluster.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who has to act.
    pub band: Band,
    /// Whether it is ready for its current generation.
    pub ready: bool,
    /// Whether a person suspended it.
    pub suspended: bool,
    /// `restart`, `wait` or `leave`.
    pub decision: &'static str,
    /// The word of the decision table.
    pub reason: &'static str,
    /// How Flux is asked, with the decision `restart`.
    pub action: Option<&'static str>,
    /// What helmreboot does, as one sentence.
    pub explanation: String,
    /// The class of the failure; empty if it does not fail.
    pub class: &'static str,
    /// The rule that matched; empty if it does not fail.
    pub rule: &'static str,
    /// What the rule means.
    pub cause: Option<&'static str>,
    /// The rule, and what the message names. Releases with the same one are likely to recover together.
    pub shared_cause: Option<String>,
    /// Restarts that are counted for its current configuration.
    pub restarts: u32,
    /// The limit of restarts.
    pub limit: u32,
    /// Since when the Ready condition has its value.
    pub since: Option<String>,
    /// The next attempt is not before this time.
    pub retry_at: Option<String>,
    /// The failure message of Flux.
    pub message: Option<String>,
    /// The part of the message that the rule matched.
    pub matched: Option<String>,
    /// What a person can do.
    pub next_step: Option<String>,
    /// The command in the next step.
    pub command: Option<String>,
    /// The policy.
    pub policy: String,
    /// `act` or `observe`.
    pub mode: &'static str,
    /// Annotations of helmreboot and requests to Flux.
    pub annotations: BTreeMap<String, String>,
    /// The index of the row of [`super::decide::TABLE`] that holds.
    #[serde(skip)]
    pub row: usize,
    /// Whether there is nothing to say about it.
    #[serde(skip)]
    pub fine: bool,
}

impl ReleaseSummary {
    /// The summary of a release after its evaluation. At most so many characters of the failure message are kept.
    pub fn of(
        cluster: &str,
        release: &Release,
        evaluation: &Evaluation,
        classifier: &Classifier,
        message_limit: usize,
    ) -> Self {
        let Evaluation {
            policy,
            verdict,
            attempts,
            decision,
            ..
        } = evaluation;
        let reason = decision.reason();
        let ready = release.condition("Ready");
        let metadata = &release.metadata;
        let (namespace, name) = (&metadata.namespace, &metadata.name);
        let fails = release.failing() || reason == Reason::Overdue;
        let rule = classifier.find(verdict.rule);
        let rule = rule.filter(|_| fails && verdict.rule != Rule::NONE.name);
        let message = classifier.cause(release).map(|(_, message)| message);
        let known = release.annotation(ledger::STATE).is_some();
        let step = step::of(evaluation, known, namespace, name);
        let fine = release.recovered() || release.spec.suspend && !release.failing();
        Self {
            cluster: cluster.to_owned(),
            namespace: namespace.clone(),
            name: name.clone(),
            band: band(evaluation, fine, step.is_some()),
            ready: release.recovered(),
            suspended: release.spec.suspend,
            decision: decision.as_str(),
            reason: reason.as_str(),
            action: match decision {
                Decision::Restart { request, .. } => Some(request.action.as_str()),
                Decision::Wait { .. } | Decision::Leave { .. } => None,
            },
            explanation: sentence::of(evaluation, release),
            class: if fails { verdict.class.as_str() } else { "" },
            rule: if fails { verdict.rule } else { "" },
            cause: rule.map(|rule| rule.description),
            shared_cause: rule.map(|_| evaluation.cause.to_string()),
            restarts: *attempts,
            limit: policy.limit,
            since: ready.and_then(|ready| ready.last_transition_time.clone()),
            retry_at: decision.next().map(|at| format!("{at:.0}")),
            matched: rule.and_then(|_| matched(release, classifier, message?)),
            message: message.map(|message| cut(message, message_limit)),
            command: step.as_deref().and_then(command_of).map(str::to_owned),
            next_step: step,
            policy: policy.name.to_string(),
            mode: policy.mode.as_str(),
            annotations: annotations(release),
            row: evaluation.row,
            fine,
        }
    }

    /// Since when the Ready condition has its value.
    pub fn since(&self) -> Option<Timestamp> {
        self.since.as_deref()?.parse().ok()
    }
}

fn band(evaluation: &Evaluation, fine: bool, step: bool) -> Band {
    match evaluation.decision.reason() {
        Reason::Suspended | Reason::OptedOut | Reason::Deleting => Band::Excluded,
        _ if !evaluation.invalid.is_empty() => Band::NeedsPerson,
        _ if fine => Band::Ready,
        // Nothing is written, so nothing continues.
        _ if step && evaluation.policy.mode == Mode::Observe => Band::NeedsPerson,
        _ if step && !matches!(evaluation.decision, Decision::Restart { .. }) => Band::NeedsPerson,
        _ => Band::InProgress,
    }
}

/// A message, masked; with dots where it is cut.
fn cut(message: &str, limit: usize) -> String {
    let mut text = mask(message, limit);
    if message.chars().nth(limit).is_some() {
        text.push_str(" ...");
    }
    text
}

/// The words of the message that the deciding rule matched.
fn matched(release: &Release, classifier: &Classifier, message: &str) -> Option<String> {
    let said = release.failures().find(|said| said.message == message)?;
    let explained = classifier.fired(said);
    let span = explained.fired.first()?.span.clone();
    let words = explained.text.get(span).unwrap_or_default();
    (!words.is_empty()).then(|| mask(words, VALUE_LIMIT))
}

fn annotations(release: &Release) -> BTreeMap<String, String> {
    let annotations = release.metadata.annotations.iter();
    let shown = annotations.filter(|(key, _)| {
        key.starts_with(ledger::PREFIX) && *key != ledger::STATE
            || [REQUESTED_AT, RESET_AT, FORCE_AT].contains(&key.as_str())
    });
    shown
        .take(ANNOTATIONS)
        .map(|(key, value)| (mask(key, VALUE_LIMIT), mask(value, VALUE_LIMIT)))
        .collect()
}
