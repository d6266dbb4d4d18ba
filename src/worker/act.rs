//! From what was observed to what is done.

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Next, Worker, instant};
use crate::{
    cluster::{Error, Observed},
    domain::{
        classify::Verdict,
        decide::{Case, Decision, Trigger, Why, decide},
        ledger::{self, Order},
        policy::{Mode, Policy},
        release::Release,
        storm::Outcome,
    },
    queue::{Pending, Source, Tried},
};

/// A look at what is there: everything that acting on it needs.
struct View<'a> {
    release: &'a Release,
    policy: &'a Policy,
    verdict: Verdict,
    now: Timestamp,
}

impl Worker {
    /// Decides about what was observed, and carries it out.
    pub(super) async fn act(
        &self,
        pending: &mut Pending,
        observed: Option<&Observed>,
    ) -> Result<Next, Error> {
        let now = self.time_there(observed);
        let release = observed.map(|observed| &observed.release);
        let (policy, odd) = match release {
            Some(release) => self
                .shared
                .policies
                .for_release(&self.cluster.name, release),
            None => (self.shared.policies.base.clone(), Vec::new()),
        };
        let said = release.and_then(|release| self.shared.classifier.release(release));
        let verdict = said.unwrap_or(pending.verdict);
        if let Some(release) = release {
            self.reports.odd(pending, release, &odd);
            self.recognise(pending, release, &policy, now);
            self.follow(pending, release, now);
        }
        let trigger = Trigger {
            alerted: pending.source == Source::Alert,
            uid: pending.failure.uid.clone(),
            settled: pending.looks > 1,
            released: pending.released,
        };
        let case = Case {
            trigger: &trigger,
            verdict,
            release,
            policy: &policy,
            hold: None,
            now,
        };
        let decision = self.with_the_others(pending, &case, decide(&case));
        self.shared
            .metrics
            .decided(&self.cluster.name, verdict, &decision);
        let Some(release) = release else {
            self.reports.decision(pending, None, verdict, &decision);
            return Ok(Next::Done);
        };
        let view = View {
            release,
            policy: &policy,
            verdict,
            now,
        };
        self.carry_out(pending, &view, &decision).await
    }

    /// A restart that is due may have to wait for other releases.
    fn with_the_others(&self, pending: &Pending, case: &Case<'_>, decision: Decision) -> Decision {
        let (Decision::Restart { order, .. }, Some(release)) = (&decision, case.release) else {
            return decision;
        };
        if case.policy.mode == Mode::Observe || self.shared.pause.is_on() {
            return decision;
        }
        let cause = self.shared.classifier.fingerprint(release, case.verdict);
        let name = &pending.failure.release;
        let mut storm = self.storm.lock();
        storm.failed(name, &cause, case.now);
        if order.sends > 1 {
            // The restart it belongs to was let through.
            storm.fly(name, &cause, case.now);
            return decision;
        }
        match storm.admit(name, &cause, case.now) {
            Ok(()) => decision,
            Err(hold) => decide(&Case {
                hold: Some(hold),
                ..*case
            }),
        }
    }

    async fn carry_out(
        &self,
        pending: &mut Pending,
        view: &View<'_>,
        decision: &Decision,
    ) -> Result<Next, Error> {
        let View {
            release,
            policy,
            verdict,
            now,
        } = *view;
        let paused = self.shared.pause.is_on();
        match decision {
            Decision::Restart { order, why } if policy.mode == Mode::Observe || paused => {
                self.reports
                    .would_restart(pending, release, verdict, (*order, *why));
                // Whoever takes the pause away wants what waited for that to be restarted.
                Ok(if paused && policy.mode == Mode::Act {
                    Next::At(Instant::now() + self.shared.pace.slow)
                } else {
                    Next::Done
                })
            }
            Decision::Restart { order, .. } => {
                self.restart(pending, view, *order).await?;
                Ok(self.wait(pending, None))
            }
            Decision::Wait { until, .. } => {
                self.reports
                    .decision(pending, Some(release), verdict, decision);
                Ok(self.wait(pending, until.map(|until| instant(until, now))))
            }
            Decision::Leave {
                why: Why::BudgetSpent,
                again,
            } => {
                if policy.mode == Mode::Act && !paused {
                    self.give_up(pending, view).await?;
                }
                self.reports
                    .decision(pending, Some(release), verdict, decision);
                // Never at once: what a pause keeps from being noted would come back without end.
                let soonest = Instant::now() + self.shared.pace.look(1);
                Ok(match again {
                    Some(again) if policy.mode == Mode::Act => {
                        self.wait(pending, Some(instant(*again, now).max(soonest)))
                    }
                    _ => Next::Done,
                })
            }
            Decision::Leave { why, .. } => {
                self.reports
                    .decision(pending, Some(release), verdict, decision);
                // What we began we follow to its end: a token sent while a dependency was away is
                // swallowed, and no alert ever says so (story reset-swallowed-by-dependency); and
                // Flux writes Ready one patch before it notes the token.
                let not_over =
                    matches!(why, Why::FluxRetries | Why::Prerequisites | Why::Recovered);
                Ok(if not_over && pending.episode.is_some() {
                    self.wait(pending, None)
                } else {
                    Next::Done
                })
            }
        }
    }

    async fn restart(
        &self,
        pending: &mut Pending,
        view: &View<'_>,
        order: Order,
    ) -> Result<(), Error> {
        let View {
            release,
            policy,
            verdict,
            now,
        } = *view;
        let legacy = policy.legacy_annotation;
        let changes = ledger::restart(release, order, verdict.rule, legacy, now);
        let tried = Tried { order, changes };
        let name = pending.failure.release.clone();
        match self.cluster.annotate(&name, release, &tried.changes).await {
            Ok(()) => self.restarted(pending, release, policy, tried),
            Err(error) => {
                // Without an answer it may have been written all the same: the next look will show.
                let unknown = matches!(error, Error::Unavailable(_) | Error::Unreadable(_));
                pending.tried = unknown.then_some(tried);
                let wakes = self.storm.lock().ended(&name, Outcome::Unknown, now);
                self.wake(wakes, now);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Notes on the release that helmreboot stopped, once for each configuration.
    async fn give_up(&self, pending: &Pending, view: &View<'_>) -> Result<(), Error> {
        let View {
            release,
            verdict,
            now,
            ..
        } = *view;
        let name = &pending.failure.release;
        let standing = ledger::standing(release);
        if !standing.gave_up && standing.attempts > 0 {
            let changes = ledger::give_up(standing.attempts, verdict.rule, now);
            self.cluster.annotate(name, release, &changes).await?;
            self.shared.metrics.gave_up(&self.cluster.name);
        }
        let cause = self.shared.classifier.fingerprint(release, verdict);
        self.storm.lock().gave_up(name, &cause);
        Ok(())
    }
}
