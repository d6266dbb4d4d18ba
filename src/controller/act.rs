//! From what was observed to what is done.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Next, Reconciler, instant};
use crate::{
    domain::{
        classify::{Rule, Verdict},
        decide::{Decision, Hold, Reason, Trigger},
        evaluate::Evaluation,
        ledger::{self, GAVE_UP, RestartRequest, Stamp},
        limits::Outcome,
        policy::{Mode, Policy},
        release::{REQUESTED_AT, Release},
    },
    kubernetes::{Error, Observed},
    queue::{UnconfirmedPatch, WorkItem},
};

/// A look at what is there: everything that acting on it needs.
struct View<'a> {
    release: &'a Release,
    policy: &'a Policy,
    verdict: Verdict,
    /// Restarts that count against the configuration.
    attempts: u32,
    paused: bool,
    now: Timestamp,
}

impl Reconciler {
    /// Decides about what was observed, and carries it out.
    pub(super) async fn act(
        &self,
        item: &mut WorkItem,
        observed: Option<&Observed>,
    ) -> Result<Next, Error> {
        let now = self.time_there(observed);
        let release = observed.map(|observed| &observed.release);
        // Told by this process's clock, compared with what was written by the other.
        let there = |at: Timestamp| {
            now.saturating_sub(self.shared.clock.now().duration_since(at))
                .unwrap_or(Timestamp::MIN)
        };
        let trigger = Trigger {
            uid: item.failure.uid.clone(),
            settled: item.looks > 1,
            released: item.released.map(there),
        };
        let judge = |hold| {
            let judge = self.shared.judge(&self.cluster.name);
            judge.judge(release, &trigger, hold, now)
        };
        let mut evaluation = judge(None);
        // A restart that ended makes room before another asks for it.
        if let Some(release) = release {
            self.recognise(item, release, &evaluation.policy);
            self.follow(item, release, &evaluation.decision);
        }
        // Once for the whole look: a pause may begin or end in the midst of it.
        let paused = self.shared.pause.is_on();
        if paused {
            self.stand_down(item);
        }
        let held = release
            .filter(|_| !paused)
            .and_then(|release| self.hold(item, release, &evaluation, now));
        if let Some(hold) = held {
            evaluation = judge(Some(hold));
        }
        let Evaluation {
            policy,
            odd,
            verdict,
            attempts,
            decision,
            ..
        } = evaluation;
        self.shared
            .metrics
            .decided(&self.cluster.name, verdict, &decision);
        let Some(release) = release else {
            self.reports
                .decision(item, None, (verdict, attempts), &decision);
            return Ok(Next::Done);
        };
        self.reports.odd(item, release, &odd);
        let view = View {
            release,
            policy: &policy,
            verdict,
            attempts,
            paused,
            now,
        };
        self.carry_out(item, &view, &decision).await
    }

    /// Why a restart that is due has to wait for other releases, if it has. Who waits for whom is this
    /// process's own affair, and so goes by its own clock.
    fn hold(
        &self,
        item: &WorkItem,
        release: &Release,
        evaluation: &Evaluation,
        there: Timestamp,
    ) -> Option<Hold> {
        let name = &item.failure.release;
        let order = match evaluation.decision {
            Decision::Restart { order, .. } if evaluation.policy.mode == Mode::Act => order,
            _ => {
                self.stand_down(item);
                return None;
            }
        };
        let classifier = &self.shared.classifier;
        let cause = classifier.fingerprint(release, evaluation.verdict);
        let now = self.shared.clock.now();
        let (admitted, wakes) = {
            let mut limits = self.limits.lock();
            let mut wakes = limits.failed(name, &cause, now);
            if order.sends > 1 {
                // The restart it belongs to was let through.
                limits.fly(name, &cause, now);
                (Ok(()), wakes)
            } else {
                let (admitted, others) = limits.admit(name, &cause, now);
                wakes.extend(others);
                (admitted, wakes)
            }
        };
        self.wake(wakes);
        let hold = admitted.err()?;
        let wait = hold.until.duration_since(now);
        Some(Hold {
            until: there.saturating_add(wait).unwrap_or(Timestamp::MAX),
            ..hold
        })
    }

    async fn carry_out(
        &self,
        item: &mut WorkItem,
        view: &View<'_>,
        decision: &Decision,
    ) -> Result<Next, Error> {
        let View {
            release,
            policy,
            verdict,
            attempts,
            paused,
            now,
        } = *view;
        match decision {
            Decision::Restart { order, why } if policy.mode == Mode::Observe || paused => {
                self.reports
                    .would_restart(item, release, verdict, (*order, *why));
                // Whoever takes the pause away wants what waited for that to be restarted.
                Ok(if paused && policy.mode == Mode::Act {
                    Next::At(Instant::now() + self.shared.pace.slow)
                } else {
                    Next::Done
                })
            }
            Decision::Restart { order, .. } => {
                self.restart(item, view, *order).await?;
                Ok(self.wait(item, None))
            }
            Decision::Wait { until, .. } => {
                self.reports
                    .decision(item, Some(release), (verdict, attempts), decision);
                Ok(self.wait(item, until.map(|until| instant(until, now))))
            }
            Decision::Leave {
                why: Reason::BudgetSpent,
                again,
            } => {
                let acts = policy.mode == Mode::Act;
                let parked = acts && !paused && self.give_up(item, view, *again).await?;
                self.reports
                    .decision(item, Some(release), (verdict, attempts), decision);
                let pace = &self.shared.pace;
                // Never at once: what is not noted yet would come back without end.
                let soonest = Instant::now() + if paused { pace.slow } else { pace.look(1) };
                Ok(match again {
                    Some(again) if acts => self.wait(item, Some(instant(*again, now).max(soonest))),
                    // It comes back when the pause is over, or the limits.
                    None if acts && (paused || parked) => {
                        self.wait(item, Some(Instant::now() + pace.slow))
                    }
                    _ => Next::Done,
                })
            }
            Decision::Leave { why, .. } => {
                self.reports
                    .decision(item, Some(release), (verdict, attempts), decision);
                // What we began we follow to its end: a token sent while a dependency was away is
                // swallowed, and no alert ever says so (story reset-swallowed-by-dependency); and
                // Flux writes Ready one patch before it notes the token.
                let not_over = matches!(
                    why,
                    Reason::FluxRetries
                        | Reason::Prerequisites
                        | Reason::Recovered
                        | Reason::Overdue
                );
                if *why == Reason::Prerequisites {
                    // What it waits for may itself wait for room to be restarted.
                    self.release_slot(item, Outcome::Unknown);
                }
                Ok(if not_over && item.episode.is_some() {
                    self.wait(item, None)
                } else {
                    Next::Done
                })
            }
        }
    }

    async fn restart(
        &self,
        item: &mut WorkItem,
        view: &View<'_>,
        order: RestartRequest,
    ) -> Result<(), Error> {
        let View {
            release,
            policy,
            verdict,
            now,
            ..
        } = *view;
        let legacy = policy.legacy_annotation;
        let salt = self.shared.salt;
        let stamp = Stamp { now, salt };
        let mut changes = ledger::restart(release, order, verdict.rule, legacy, stamp);
        let noted = release.annotation(GAVE_UP).is_some();
        if noted && order.attempt <= policy.limit {
            // A renewal, or a higher limit.
            changes.insert(GAVE_UP, None);
        } else if noted {
            // The slow lane: what is noted tells of the attempt that follows this one.
            let token = changes
                .get(REQUESTED_AT)
                .cloned()
                .flatten()
                .unwrap_or_default();
            let again = policy
                .slow_lane
                .map(|lane| policy.backoff.slow(lane, now, &token));
            let note = ledger::gave_up_note(order.attempt, &self.meaning(verdict), again, now);
            changes.insert(GAVE_UP, Some(note));
        }
        let tried = UnconfirmedPatch { order, changes };
        let name = item.failure.release.clone();
        match self.cluster.annotate(&name, release, &tried.changes).await {
            Ok(()) => {
                self.limits.lock().confirm_written(&name);
                self.restarted(item, release, policy, tried);
            }
            Err(error) => {
                // Without an answer it may have been written all the same: the next look will show.
                if error.leaves_open() {
                    item.tried = Some(tried);
                }
                self.refund(item);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The rule that names a cause, with what it means.
    fn meaning(&self, verdict: Verdict) -> String {
        let rule = self.shared.classifier.find(verdict.rule);
        let meaning = rule.map_or(Rule::NONE.why, |rule| rule.why);
        format!("{} ({meaning})", verdict.rule)
    }

    /// Notes on the release that helmreboot stopped, once for each configuration. Whether the end of a
    /// limits may bring it back.
    async fn give_up(
        &self,
        item: &WorkItem,
        view: &View<'_>,
        again: Option<Timestamp>,
    ) -> Result<bool, Error> {
        let View {
            release,
            policy,
            verdict,
            now,
            ..
        } = *view;
        let name = &item.failure.release;
        let standing = ledger::attempt_state_with_limit(release, policy.limit, now);
        if standing.attempts == 0 {
            return Ok(false);
        }
        if !standing.gave_up {
            let cause = self.meaning(verdict);
            let changes = ledger::give_up(standing.attempts, &cause, again, now);
            self.cluster.annotate(name, release, &changes).await?;
            self.memory.keep(name, &release.metadata.uid, &changes);
            self.shared.metrics.gave_up(&self.cluster.name);
            self.reports.tally.gave_up.fetch_add(1, Ordering::Relaxed);
        }
        let cause = self.shared.classifier.fingerprint(release, verdict);
        Ok(self.limits.lock().gave_up(name, &cause))
    }
}
