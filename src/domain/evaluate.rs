//! Everything that is known about a release, put together into one judgement: what the worker acts on,
//! what the sweep queues by, and what `explain` prints.

use jiff::Timestamp;

use super::{
    classify::{Classifier, Verdict},
    decide::{Decision, Hold, Inputs, Trigger, explain},
    ledger,
    policy::{InvalidAnnotation, Policies, Policy},
    release::Release,
};

/// Who judges, for one cluster.
#[derive(Clone, Copy, Debug)]
pub struct Evaluator<'a> {
    /// Rules.
    pub classifier: &'a Classifier,
    /// What is allowed.
    pub policies: &'a Policies,
    /// The cluster, by name.
    pub cluster: &'a str,
}

/// What is made of a release.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// What may be done to it.
    pub policy: Policy,
    /// Annotations that could not be heeded.
    pub odd: Vec<InvalidAnnotation>,
    /// What its failure is worth.
    pub verdict: Verdict,
    /// Restarts that count against its configuration.
    pub attempts: u32,
    /// What to do.
    pub decision: Decision,
    /// The row of the table that held.
    pub row: usize,
}

impl Evaluator<'_> {
    /// Judges what the API server holds, and nothing else: an alert names a release, and what it says of it
    /// counts for nothing.
    pub fn judge(
        &self,
        release: Option<&Release>,
        trigger: &Trigger,
        hold: Option<Hold>,
        now: Timestamp,
    ) -> Evaluation {
        let (mut policy, odd) = match release {
            Some(release) => self.policies.for_release(self.cluster, release),
            None => (self.policies.base.clone(), Vec::new()),
        };
        let live = release.and_then(|release| self.classifier.release(release));
        let verdict = live.unwrap_or(Verdict::UNKNOWN);
        policy.limit = policy.limit_for(verdict.budget);
        let standing = |release| ledger::attempt_state_with_limit(release, policy.limit, now);
        let attempts = release.map_or(0, |release| standing(release).attempts);
        let (decision, row) = explain(&Inputs {
            trigger,
            verdict,
            release,
            policy: &policy,
            hold,
            now,
        });
        Evaluation {
            policy,
            odd,
            verdict,
            attempts,
            decision,
            row,
        }
    }
}
