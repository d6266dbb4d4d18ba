//! The evaluation of one release: policy, verdict, target and decision. The controller acts on it, the watcher
//! enqueues by it, and `explain` prints it.

use jiff::Timestamp;

use super::{
    classify::{Class, Classifier, Verdict},
    decide::{Decision, Inputs, Reason, Trigger, explain},
    fingerprint::Fingerprint,
    ledger::{self, Record},
    policy::{InvalidAnnotation, Mode, Policies, Policy},
    release::Release,
};

/// Evaluates the releases of one cluster.
#[derive(Clone, Copy, Debug)]
pub struct Evaluator<'a> {
    /// The rules.
    pub classifier: &'a Classifier,
    /// The policies.
    pub policies: &'a Policies,
    /// The name of the cluster.
    pub cluster: &'a str,
}

/// The result for one release.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The policy, as the annotations of the release narrow it.
    pub policy: Policy,
    /// Annotations of the release that are not valid.
    pub invalid: Vec<InvalidAnnotation>,
    /// The class of the failure, and the rule that named it.
    pub verdict: Verdict,
    /// The rule, and the target that the message names.
    pub cause: Fingerprint,
    /// Restarts that count against the configuration of the release.
    pub attempts: u32,
    /// What to do.
    pub decision: Decision,
    /// The index of the row of [`super::decide::TABLE`] that holds.
    pub row: usize,
}

impl Evaluator<'_> {
    /// Evaluates what the API server returned (`None`: no such object), and nothing else. An alert names a release;
    /// what it says about it does not count.
    pub fn evaluate(
        &self,
        release: Option<&Release>,
        record: &Record,
        trigger: &Trigger,
        now: Timestamp,
    ) -> Evaluation {
        let (mut policy, invalid) = match release {
            Some(release) => self.policies.for_release(self.cluster, release),
            None => (self.policies.base.clone(), Vec::new()),
        };
        let (verdict, message) = release
            .and_then(|release| self.classifier.cause(release))
            .unwrap_or((Verdict::UNKNOWN, ""));
        policy.limit = policy.limit_for(verdict.budget);
        let attempts = release.map_or(0, |release| {
            ledger::attempt_state_with_limit(release, record, policy.limit, now).attempts
        });
        let (decision, row) = explain(&Inputs {
            trigger,
            verdict,
            release,
            record,
            policy: &policy,
            now,
        });
        Evaluation {
            cause: Fingerprint::of(verdict.rule, message),
            policy,
            invalid,
            verdict,
            attempts,
            decision,
            row,
        }
    }
}

impl Evaluation {
    /// Whether a reconcile would restart the release, or wait for it.
    pub fn is_actionable(&self) -> bool {
        let leaves = matches!(self.decision, Decision::Leave { .. });
        self.policy.mode == Mode::Act && !leaves
    }

    /// Whether a reconcile would restart the release, wait for it, or report it.
    pub fn needs_reconcile(&self) -> bool {
        match self.decision.reason() {
            Reason::Gone
            | Reason::Replaced
            | Reason::Deleting
            | Reason::Suspended
            | Reason::OptedOut
            | Reason::Recovered
            | Reason::Prerequisites
            | Reason::Benign => false,
            // Flux does not get past a permanent cause by itself.
            Reason::FluxRetries => self.verdict.class == Class::Permanent,
            _ => true,
        }
    }
}
