//! From a restart to its end.

use tokio::time::Instant;

use super::Reconciler;
use crate::{
    domain::{
        classify::Verdict,
        decide::Decision,
        fingerprint::Fingerprint,
        ledger::{self, RestartOutcome},
        limits::Outcome,
        policy::Policy,
        release::Release,
    },
    queue::{RunningRestart, UnconfirmedPatch, WorkItem},
};

impl Reconciler {
    /// A restart stands on the release: from here on it is Flux's turn.
    pub(super) fn restarted(
        &self,
        item: &mut WorkItem,
        release: &Release,
        policy: &Policy,
        tried: UnconfirmedPatch,
    ) {
        let UnconfirmedPatch { order, ref changes } = tried;
        let name = &item.failure.release;
        self.memory.keep(name, &release.metadata.uid, changes);
        let cause = changes.get(ledger::CAUSE).cloned().flatten();
        let rule = self.shared.classifier.rule(&cause.unwrap_or_default());
        item.episode = tried.token().map(|token| RunningRestart {
            token,
            rule,
            ours: true,
        });
        let metrics = &self.shared.metrics;
        if order.sends > 1 {
            metrics.resent(&self.cluster.name);
        } else {
            metrics.restarted(&self.cluster.name, order.action, rule, item.since);
        }
        item.tried = None;
        item.looks = 1;
        item.known = false;
        item.since = Instant::now();
        item.reported_long = false;
        item.released = None;
        self.reports.restarted(item, rule, order, policy.limit);
    }

    /// Sees whether a restart whose answer was lost was written.
    pub(super) fn recognise(&self, item: &mut WorkItem, release: &Release, policy: &Policy) {
        let written =
            |tried: &mut UnconfirmedPatch| release.annotation(ledger::STATE) == tried.state();
        if let Some(tried) = item.tried.take_if(written) {
            let now = self.shared.clock.now();
            let cause = self.cause(release);
            let name = &item.failure.release;
            // A further token for an admitted restart takes a slot, and nothing of the rate.
            if tried.order.sends > 1 {
                self.limits.lock().fly(name, &cause, now);
            } else {
                self.limits.lock().charge(name, &cause, now);
            }
            self.restarted(item, release, policy, tried);
        }
    }

    /// Watches the running episode, which may have been begun by another process, for its end.
    /// `next` is the decision about the current state of the release.
    pub(super) fn follow(&self, item: &mut WorkItem, release: &Release, next: &Decision) {
        if let (None, Some(token)) = (&item.episode, ledger::running(release)) {
            let cause = release.annotation(ledger::CAUSE).unwrap_or_default();
            item.episode = Some(RunningRestart {
                token,
                rule: self.shared.classifier.rule(cause),
                ours: false,
            });
            self.fly(item, release);
        }
        let Some(episode) = &item.episode else {
            return;
        };
        if let Some(end) = ledger::ended(release, &episode.token) {
            let attempts = ledger::attempt_state(release).attempts;
            self.end(item, end, attempts, Some((release, next)));
        }
    }

    /// A restart runs that was not admitted here, or whose place was given away.
    fn fly(&self, item: &WorkItem, release: &Release) {
        let now = self.shared.clock.now();
        let cause = self.cause(release);
        let name = &item.failure.release;
        self.limits.lock().fly(name, &cause, now);
    }

    /// What the failure has in common with others.
    fn cause(&self, release: &Release) -> Fingerprint {
        let classifier = &self.shared.classifier;
        let verdict = classifier.release(release).unwrap_or(Verdict::UNKNOWN);
        classifier.fingerprint(release, verdict)
    }

    /// The running episode, if there is one, came to that end.
    pub(super) fn end(
        &self,
        item: &mut WorkItem,
        end: RestartOutcome,
        attempts: u32,
        seen: Option<(&Release, &Decision)>,
    ) {
        let Some(episode) = item.episode.take() else {
            return;
        };
        if episode.ours {
            let metrics = &self.shared.metrics;
            metrics.ended(&self.cluster.name, episode.rule, end);
            self.reports
                .ended(item, episode.rule, (attempts, end), seen);
        }
        if end == RestartOutcome::Superseded {
            item.last = None;
        }
        self.release_slot(
            item,
            match end {
                RestartOutcome::Recovered => Outcome::Helped,
                RestartOutcome::FailedAgain => Outcome::Failed,
                RestartOutcome::Swallowed | RestartOutcome::Superseded => Outcome::Unknown,
            },
        );
    }
}
