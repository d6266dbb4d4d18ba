//! What is written on a release: a restart, or the note that there are no further ones.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Reconciler, reconcile::View};
use crate::{
    domain::{
        classify::{Rule, Verdict},
        ledger::{self, GAVE_UP, RestartRequest, Stamp},
        release::{REQUESTED_AT, Release},
    },
    kubernetes::Error,
    queue::{RunningRestart, UnconfirmedPatch, WorkItem},
};

impl Reconciler {
    pub(super) async fn restart(
        &self,
        item: &mut WorkItem,
        view: &View<'_>,
        request: RestartRequest,
    ) -> Result<(), Error> {
        let View {
            release,
            record,
            evaluation,
            now,
            ..
        } = *view;
        let policy = &evaluation.policy;
        let stamp = Stamp {
            now,
            salt: self.shared.salt,
        };
        let (rule, legacy) = (evaluation.verdict.rule, policy.legacy_annotation);
        let mut changes = ledger::restart(release, record, request, rule, legacy, stamp);
        let gave_up_before = record.get(GAVE_UP).is_some();
        if gave_up_before && request.attempt <= policy.limit {
            // A renewal, or a higher limit.
            changes.insert(GAVE_UP, None);
        } else if gave_up_before {
            // The slow lane: the note says when the attempt after this one is.
            let token = changes
                .get(REQUESTED_AT)
                .cloned()
                .flatten()
                .unwrap_or_default();
            let retry_at = policy
                .slow_lane
                .map(|lane| policy.backoff.slow(lane, now, &token));
            let cause = self.meaning(evaluation.verdict);
            // This attempt may help.
            let failed = request.attempt.saturating_sub(1);
            let note = ledger::gave_up_note(failed, &cause, retry_at, now);
            changes.insert(GAVE_UP, Some(note));
        }
        let patch = UnconfirmedPatch {
            sent: self.shared.clock.now(),
            request,
            changes,
            cause: evaluation.cause.clone(),
            limit: policy.limit,
        };
        let name = item.failure.release.clone();
        match self.cluster.annotate(&name, release, &patch.changes).await {
            Ok(()) => {
                self.limits.lock().confirm_written(&name);
                self.restarted(item, release, patch);
                Ok(())
            }
            Err(error) => {
                // Without an answer it may have been written all the same. The next reconcile sees whether it was.
                if error.may_have_been_applied() {
                    item.unconfirmed = Some(patch);
                }
                self.refund(item);
                Err(error)
            }
        }
    }

    /// Sees whether a restart was written whose answer was lost.
    pub(super) fn confirm_patch(&self, item: &mut WorkItem, release: &Release) {
        let written =
            |patch: &mut UnconfirmedPatch| release.annotation(ledger::STATE) == patch.state();
        let Some(patch) = item.unconfirmed.take_if(written) else {
            return;
        };
        let now = self.shared.clock.now();
        let name = &item.failure.release;
        // A further token for an admitted restart takes a slot, and nothing of the rate.
        if patch.request.sends > 1 {
            self.limits.lock().start(name, &patch.cause, patch.sent);
        } else {
            let mut limits = self.limits.lock();
            limits.charge(name, &patch.cause, patch.sent, now);
        }
        self.restarted(item, release, patch);
    }

    /// Records a restart that was written.
    fn restarted(&self, item: &mut WorkItem, release: &Release, patch: UnconfirmedPatch) {
        let request = patch.request;
        let name = &item.failure.release;
        self.ledger_cache
            .keep(name, &release.metadata.uid, &patch.changes);
        let rule = patch.changes.get(ledger::CAUSE).cloned().flatten();
        let rule = self.shared.classifier.rule(&rule.unwrap_or_default());
        let restart = RunningRestart {
            token: patch.token().unwrap_or_default(),
            rule,
            started_here: true,
        };
        item.running = Some(restart.clone());
        let (metrics, cluster) = (&self.shared.metrics, &self.cluster.name);
        if request.sends > 1 {
            metrics.resent(cluster);
        } else {
            metrics.restarted(cluster, request.action, rule, item.since);
        }
        item.unconfirmed = None;
        item.reconciles = 1;
        item.known_at_start = false;
        item.since = Instant::now();
        item.reported_long = false;
        item.others_recovered_since = None;
        self.reports
            .restarted(item, release, &restart, (request, patch.limit));
    }

    /// A rule, with its meaning.
    fn meaning(&self, verdict: Verdict) -> String {
        let rule = self.shared.classifier.find(verdict.rule);
        let meaning = rule.map_or(Rule::NONE.description, |rule| rule.description);
        format!("{} ({meaning})", verdict.rule)
    }

    /// Notes on the release that there are no further restarts, once for each configuration. Returns whether it may be
    /// restarted all the same when the breaker of its cause closes.
    pub(super) async fn give_up(
        &self,
        item: &WorkItem,
        view: &View<'_>,
        retry_at: Option<Timestamp>,
    ) -> Result<bool, Error> {
        let View {
            release,
            record,
            evaluation,
            now,
            ..
        } = *view;
        let name = &item.failure.release;
        let attempts = evaluation.attempts;
        if attempts == 0 {
            return Ok(false);
        }
        if record.get(GAVE_UP).is_none() {
            let cause = self.meaning(evaluation.verdict);
            let changes = ledger::give_up(attempts, &cause, retry_at, now);
            self.cluster.annotate(name, release, &changes).await?;
            self.ledger_cache
                .keep(name, &release.metadata.uid, &changes);
            self.shared.metrics.gave_up(&self.cluster.name);
            self.reports.tally.gave_up.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.limits.lock().gave_up(name, &evaluation.cause))
    }
}
