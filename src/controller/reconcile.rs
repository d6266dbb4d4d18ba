//! One reconcile of one release: get, evaluate, admit, apply.

use jiff::Timestamp;
use tokio::time::Instant;

use super::Reconciler;
use crate::{
    domain::{
        decide::{Decision, Reason, Refusal, Trigger},
        evaluate::Evaluation,
        ledger::Record,
        policy::Mode,
        release::Release,
    },
    kubernetes::{Error, Observed},
    queue::WorkItem,
};

/// How often a reconcile is repeated at once after a conflict. helm-controller writes several patches one after the
/// other. After more conflicts than this it is at work, and a later reconcile finds a newer status.
const MAX_CONFLICTS: u32 = 3;

/// When to reconcile the release again.
pub(super) enum Requeue {
    /// There is nothing left to do.
    Never,
    /// At that time.
    At(Instant),
}

/// A release and its evaluation.
pub(super) struct View<'a> {
    pub(super) release: &'a Release,
    pub(super) record: &'a Record,
    pub(super) evaluation: &'a Evaluation,
    /// The pause may begin or end during a reconcile, so it is read once.
    pub(super) paused: bool,
    /// By the clock of the API server where it is known, so that all replicas compare with the same clock.
    pub(super) now: Timestamp,
}

impl Reconciler {
    /// Reconciles until no other client writes at the same time.
    pub(super) async fn reconcile(&self, item: &mut WorkItem) -> Result<Requeue, Error> {
        let mut conflicts = 0;
        loop {
            let result = match self.cluster.observe(&item.failure.release).await {
                Ok(observed) => self.reconcile_observed(item, &observed).await,
                Err(Error::Gone) => {
                    self.gone(item);
                    return Ok(Requeue::Never);
                }
                Err(error) => return Err(error),
            };
            match result {
                Err(Error::Conflict) if conflicts < MAX_CONFLICTS => conflicts += 1,
                // Deleted after the GET.
                Err(Error::Gone) => {
                    self.board.remove(&item.failure.release);
                    return Ok(Requeue::Never);
                }
                other => return other,
            }
        }
    }

    async fn reconcile_observed(
        &self,
        item: &mut WorkItem,
        observed: &Observed,
    ) -> Result<Requeue, Error> {
        let release = &observed.release;
        let now = observed.at.unwrap_or_else(|| self.shared.clock.now());
        // The outcome of an earlier restart is handled first, because it frees a slot for the next one.
        self.confirm_patch(item, release);
        let record = &self.ledger_cache.record(&item.failure.release, release);
        let ended = self.follow_up(item, release, record);
        let mut evaluation = self.evaluate(item, Some(release), record, now);
        if let Some(ended) = ended {
            self.report_end(item, &ended, Some((release, &evaluation)));
        }
        self.adopt(item, release, record, &evaluation.cause, now);
        let paused = self.shared.pause.is_on();
        if paused {
            self.withdraw(item);
        } else if let Err(refusal) = self.admit(item, &evaluation, now) {
            evaluation.decision = Decision::refused(refusal);
        }
        self.shared
            .metrics
            .decided(&self.cluster.name, evaluation.verdict, &evaluation.decision);
        self.reports.invalid_annotations(item, release, &evaluation);
        let name = &item.failure.release;
        let summary = self.shared.summary(name, release, &evaluation);
        self.board.put(name, summary, self.shared.clock.now());
        let view = View {
            release,
            record,
            evaluation: &evaluation,
            paused,
            now,
        };
        self.apply(item, &view).await
    }

    /// The release does not exist.
    fn gone(&self, item: &mut WorkItem) {
        let now = self.shared.clock.now();
        let evaluation = self.evaluate(item, None, &Record::default(), now);
        self.shared
            .metrics
            .decided(&self.cluster.name, evaluation.verdict, &evaluation.decision);
        self.reports.decision(item, None, &evaluation);
        self.board.remove(&item.failure.release);
    }

    fn evaluate(
        &self,
        item: &WorkItem,
        release: Option<&Release>,
        record: &Record,
        now: Timestamp,
    ) -> Evaluation {
        // A time by the clock of this process, as the clock of the API server showed it.
        let to_server_time = |at: Timestamp| {
            now.saturating_sub(self.shared.clock.now().duration_since(at))
                .unwrap_or(Timestamp::MIN)
        };
        let trigger = Trigger {
            uid: item.failure.uid.clone(),
            settled: item.reconciles > 1,
            others_recovered_since: item.others_recovered_since.map(to_server_time),
        };
        let evaluator = self.shared.evaluator(&self.cluster.name);
        evaluator.evaluate(release, record, &trigger, now)
    }

    /// Checks whether the limits admit a restart that is due. The limits use the clock of this process.
    fn admit(
        &self,
        item: &WorkItem,
        evaluation: &Evaluation,
        server_now: Timestamp,
    ) -> Result<(), Refusal> {
        let request = match evaluation.decision {
            Decision::Restart { request, .. } if evaluation.policy.mode == Mode::Act => request,
            _ => {
                self.withdraw(item);
                return Ok(());
            }
        };
        let (name, cause) = (&item.failure.release, &evaluation.cause);
        let now = self.shared.clock.now();
        let (admitted, wakes) = {
            let mut limits = self.limits.lock();
            let mut wakes = limits.failed(name, cause, now);
            if request.sends > 1 {
                // A further token for a restart that was admitted before.
                limits.start(name, cause, now);
                (Ok(()), wakes)
            } else {
                let (admitted, others) = limits.admit(name, cause, now);
                wakes.extend(others);
                (admitted, wakes)
            }
        };
        self.wake(wakes);
        admitted.map_err(|refusal| {
            let wait = refusal.until.duration_since(now);
            Refusal {
                until: server_now.saturating_add(wait).unwrap_or(Timestamp::MAX),
                ..refusal
            }
        })
    }

    async fn apply(&self, item: &mut WorkItem, view: &View<'_>) -> Result<Requeue, Error> {
        let View {
            release,
            evaluation,
            paused,
            now,
            ..
        } = *view;
        let acts = evaluation.policy.mode == Mode::Act;
        match &evaluation.decision {
            Decision::Restart { .. } if !acts || paused => {
                self.reports.would_restart(item, release, evaluation);
                // At the end of the pause it is restarted.
                Ok(if acts {
                    Requeue::At(Instant::now() + self.shared.intervals.slow)
                } else {
                    Requeue::Never
                })
            }
            Decision::Restart { request, .. } => {
                self.restart(item, view, *request).await?;
                Ok(self.wait(item, None))
            }
            Decision::Wait { until, .. } => {
                self.reports.decision(item, Some(release), evaluation);
                Ok(self.wait(item, until.map(|until| instant(until, now))))
            }
            Decision::Leave {
                reason: Reason::BudgetSpent,
                retry_at,
            } => self.budget_spent(item, view, *retry_at).await,
            Decision::Leave { reason, .. } => {
                self.reports.decision(item, Some(release), evaluation);
                if *reason == Reason::Prerequisites {
                    // What it waits for may itself wait for a slot.
                    self.free_slot(item, None);
                }
                // A restart is followed to its end: Flux swallows a token that was sent while a dependency was not
                // ready, and no alert reports that (story reset-swallowed-by-dependency); and Flux writes Ready one
                // patch before lastHandledReconcileAt.
                let outcome_pending = matches!(
                    reason,
                    Reason::FluxRetries
                        | Reason::Benign
                        | Reason::Prerequisites
                        | Reason::Recovered
                        | Reason::Overdue
                );
                Ok(if outcome_pending && item.running.is_some() {
                    self.wait(item, None)
                } else {
                    Requeue::Never
                })
            }
        }
    }

    async fn budget_spent(
        &self,
        item: &mut WorkItem,
        view: &View<'_>,
        retry_at: Option<Timestamp>,
    ) -> Result<Requeue, Error> {
        let acts = view.evaluation.policy.mode == Mode::Act;
        let waits_for_breaker = acts && !view.paused && self.give_up(item, view, retry_at).await?;
        self.reports
            .decision(item, Some(view.release), view.evaluation);
        let intervals = &self.shared.intervals;
        // Not immediately: until the annotation gave-up is written, the same decision would repeat in a loop.
        let soonest = Instant::now()
            + if view.paused {
                intervals.slow
            } else {
                intervals.after(1)
            };
        Ok(match retry_at {
            Some(at) if acts => self.wait(item, Some(instant(at, view.now).max(soonest))),
            // It may be restarted at the end of the pause, or when the breaker closes.
            None if acts && (view.paused || waits_for_breaker) => {
                self.wait(item, Some(Instant::now() + intervals.slow))
            }
            _ => Requeue::Never,
        })
    }

    /// Waits until then, or for the next of the growing intervals.
    fn wait(&self, item: &mut WorkItem, until: Option<Instant>) -> Requeue {
        if let Some(until) = until {
            // Only the wait for Flux counts as a long one.
            item.since = until;
            return Requeue::At(until);
        }
        let intervals = &self.shared.intervals;
        let long = item.since.elapsed() >= intervals.long_wait;
        if long && !item.reported_long {
            item.reported_long = true;
            self.reports.long_wait(item);
            self.free_slot(item, None);
        }
        let wait = if long {
            intervals.slow
        } else {
            intervals.after(item.reconciles)
        };
        Requeue::At(Instant::now() + wait)
    }
}

/// The instant at which a clock that shows `now` will show `at`; now, if that has passed.
fn instant(at: Timestamp, now: Timestamp) -> Instant {
    let ahead = at.duration_since(now);
    Instant::now() + std::time::Duration::try_from(ahead).unwrap_or_default()
}
