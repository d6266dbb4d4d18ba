//! From a restart to its outcome.

use jiff::Timestamp;

use super::Reconciler;
use crate::{
    clusters::Healed,
    domain::{
        evaluate::Evaluation,
        fingerprint::Fingerprint,
        ledger::{self, Record, RestartOutcome},
        release::Release,
    },
    queue::{RunningRestart, WorkItem},
};

/// A restart that has ended.
pub(super) struct EndedRestart {
    restart: RunningRestart,
    outcome: RestartOutcome,
    /// Restarts that count against the configuration.
    attempts: u32,
}

impl Reconciler {
    /// Checks whether the running restart has ended, and frees its slot.
    pub(super) fn follow_up(
        &self,
        item: &mut WorkItem,
        release: &Release,
        record: &Record,
    ) -> Option<EndedRestart> {
        let outcome = ledger::ended(release, record, &item.running.as_ref()?.token)?;
        let attempts = ledger::attempt_state(release, record).attempts;
        self.end(item, outcome, attempts)
    }

    /// Follows a restart that an earlier process began.
    pub(super) fn adopt(
        &self,
        item: &mut WorkItem,
        release: &Release,
        record: &Record,
        cause: &Fingerprint,
        server_now: Timestamp,
    ) {
        if item.running.is_some() {
            return;
        }
        let Some(token) = ledger::running(release, record) else {
            return;
        };
        // A restart that was superseded before Flux handled it needs no slot.
        if ledger::ended(release, record, &token).is_some() {
            return;
        }
        let rule = record.get(ledger::CAUSE).unwrap_or_default();
        item.running = Some(RunningRestart {
            token,
            rule: self.shared.classifier.rule(rule),
            started_here: false,
        });
        let begun = ledger::attempt_state(release, record).last;
        let begun = begun.map_or(server_now, |(at, _)| at.min(server_now));
        let ago = server_now.duration_since(begun);
        let now = self.shared.clock.now();
        let since = now.saturating_sub(ago).unwrap_or(now);
        self.limits
            .lock()
            .start(&item.failure.release, cause, since);
    }

    /// The running restart, if there is one, has ended with that outcome.
    pub(super) fn end(
        &self,
        item: &mut WorkItem,
        outcome: RestartOutcome,
        attempts: u32,
    ) -> Option<EndedRestart> {
        let restart = item.running.take()?;
        if self.counts(&restart) {
            let metrics = &self.shared.metrics;
            metrics.ended(&self.cluster.name, restart.rule, outcome);
        }
        if outcome == RestartOutcome::Superseded {
            item.last_decision = None;
        }
        self.free_slot(item, Some(outcome));
        Some(EndedRestart {
            restart,
            outcome,
            attempts,
        })
    }

    /// Whether this process counts and reports the outcome. Of several that act, the one that began the restart does.
    fn counts(&self, restart: &RunningRestart) -> bool {
        restart.started_here || self.shared.leadership.is_sole()
    }

    /// Reports the outcome. `seen` is the release, and its evaluation after that.
    pub(super) fn report_end(
        &self,
        item: &WorkItem,
        ended: &EndedRestart,
        seen: Option<(&Release, &Evaluation)>,
    ) {
        if let (RestartOutcome::Recovered, Some((release, _))) = (ended.outcome, seen) {
            let restarts = release.annotation(ledger::RESTARTS);
            self.board.healed(Healed {
                at: self.shared.clock.now(),
                release: item.failure.release.clone(),
                rule: ended.restart.rule,
                restarts: restarts.and_then(|it| it.parse().ok()).unwrap_or(1),
            });
        }
        if self.counts(&ended.restart) {
            let outcome = (ended.attempts, ended.outcome);
            self.reports.ended(item, &ended.restart, outcome, seen);
        }
    }
}
