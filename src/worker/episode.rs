//! From a restart to its end.

use jiff::Timestamp;
use tokio::time::Instant;

use super::Worker;
use crate::{
    domain::{
        ledger::{self, Ended},
        policy::Policy,
        release::{REQUESTED_AT, Release},
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
            token: token.to_owned(),
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
        pending.since = Instant::now();
        pending.reported_long = false;
        pending.released = false;
        self.reports.restarted(pending, rule, order, policy.limit);
    }

    /// Sees whether a restart whose answer was lost was written.
    pub(super) fn recognise(
        &self,
        pending: &mut Pending,
        release: &Release,
        policy: &Policy,
        now: Timestamp,
    ) {
        let written = |tried: &mut Tried| release.annotation(REQUESTED_AT) == tried.token();
        if let Some(tried) = pending.tried.take_if(written) {
            let verdict = self.shared.classifier.release(release);
            let verdict = verdict.unwrap_or(pending.verdict);
            let cause = self.shared.classifier.fingerprint(release, verdict);
            let name = &pending.failure.release;
            self.storm.lock().fly(name, &cause, now);
            self.restarted(pending, release, policy, tried);
        }
    }

    /// Watches the running episode, which may have been begun by another process, for its end.
    pub(super) fn follow(&self, pending: &mut Pending, release: &Release, now: Timestamp) {
        if let (None, Some(token)) = (&pending.episode, ledger::running(release)) {
            let cause = release.annotation(ledger::CAUSE).unwrap_or_default();
            pending.episode = Some(Episode {
                token: token.to_owned(),
                rule: self.shared.classifier.rule(cause),
                ours: false,
            });
        }
        let Some(episode) = &pending.episode else {
            return;
        };
        if let Some(end) = ledger::ended(release, &episode.token) {
            let attempts = ledger::standing(release).attempts;
            self.end(pending, end, attempts, now);
        }
    }

    /// The running episode, if there is one, came to that end.
    pub(super) fn end(&self, pending: &mut Pending, end: Ended, attempts: u32, now: Timestamp) {
        let Some(episode) = pending.episode.take() else {
            return;
        };
        if episode.ours {
            let metrics = &self.shared.metrics;
            metrics.ended(&self.cluster.name, episode.rule, end);
            self.reports.ended(pending, episode.rule, attempts, end);
        }
        if end == Ended::Superseded {
            pending.last = None;
        }
        let outcome = match end {
            Ended::Recovered => Outcome::Helped,
            Ended::FailedAgain => Outcome::Failed,
            Ended::Swallowed | Ended::Superseded => Outcome::Unknown,
        };
        let name = &pending.failure.release;
        let wakes = self.storm.lock().ended(name, outcome, now);
        self.wake(wakes, now);
    }
}
