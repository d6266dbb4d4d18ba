//! From a restart to its end.

use tokio::time::Instant;

use super::Worker;
use crate::{
    domain::{
        classify::Verdict,
        decide::Decision,
        fingerprint::Fingerprint,
        ledger::{self, Ended},
        policy::Policy,
        release::Release,
        storm::Outcome,
    },
    queue::{Episode, Pending, Tried},
};

impl Worker {
    /// A restart stands on the release: from here on it is Flux's turn.
    pub(super) fn restarted(
        &self,
        pending: &mut Pending,
        release: &Release,
        policy: &Policy,
        tried: Tried,
    ) {
        let Tried { order, ref changes } = tried;
        let name = &pending.failure.release;
        self.memory.keep(name, &release.metadata.uid, changes);
        let cause = changes.get(ledger::CAUSE).cloned().flatten();
        let rule = self.shared.classifier.rule(&cause.unwrap_or_default());
        pending.episode = tried.token().map(|token| Episode {
            token,
            rule,
            ours: true,
        });
        let metrics = &self.shared.metrics;
        if order.sends > 1 {
            metrics.resent(&self.cluster.name);
        } else {
            metrics.restarted(&self.cluster.name, order.action, rule, pending.since);
        }
        pending.tried = None;
        pending.looks = 1;
        pending.known = false;
        pending.since = Instant::now();
        pending.reported_long = false;
        pending.released = None;
        self.reports.restarted(pending, rule, order, policy.limit);
    }

    /// Sees whether a restart whose answer was lost was written.
    pub(super) fn recognise(&self, pending: &mut Pending, release: &Release, policy: &Policy) {
        let written = |tried: &mut Tried| release.annotation(ledger::STATE) == tried.state();
        if let Some(tried) = pending.tried.take_if(written) {
            let now = self.shared.clock.now();
            let cause = self.cause(release);
            let name = &pending.failure.release;
            // A further token for an admitted restart takes a slot, and nothing of the rate.
            if tried.order.sends > 1 {
                self.storm.lock().fly(name, &cause, now);
            } else {
                self.storm.lock().charge(name, &cause, now);
            }
            self.restarted(pending, release, policy, tried);
        }
    }

    /// Watches the running episode, which may have been begun by another process, for its end.
    /// `next` is the decision about the current state of the release.
    pub(super) fn follow(&self, pending: &mut Pending, release: &Release, next: &Decision) {
        if let (None, Some(token)) = (&pending.episode, ledger::running(release)) {
            let cause = release.annotation(ledger::CAUSE).unwrap_or_default();
            pending.episode = Some(Episode {
                token,
                rule: self.shared.classifier.rule(cause),
                ours: false,
            });
            self.fly(pending, release);
        }
        let Some(episode) = &pending.episode else {
            return;
        };
        if let Some(end) = ledger::ended(release, &episode.token) {
            let attempts = ledger::standing(release).attempts;
            self.end(pending, end, attempts, Some((release, next)));
        }
    }

    /// A restart runs that was not admitted here, or whose place was given away.
    fn fly(&self, pending: &Pending, release: &Release) {
        let now = self.shared.clock.now();
        let cause = self.cause(release);
        let name = &pending.failure.release;
        self.storm.lock().fly(name, &cause, now);
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
        pending: &mut Pending,
        end: Ended,
        attempts: u32,
        seen: Option<(&Release, &Decision)>,
    ) {
        let Some(episode) = pending.episode.take() else {
            return;
        };
        if episode.ours {
            let metrics = &self.shared.metrics;
            metrics.ended(&self.cluster.name, episode.rule, end);
            self.reports
                .ended(pending, episode.rule, (attempts, end), seen);
        }
        if end == Ended::Superseded {
            pending.last = None;
        }
        self.make_room(
            pending,
            match end {
                Ended::Recovered => Outcome::Helped,
                Ended::FailedAgain => Outcome::Failed,
                Ended::Swallowed | Ended::Superseded => Outcome::Unknown,
            },
        );
    }
}
