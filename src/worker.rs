//! One cluster's loop: due entry -> observe, classify, decide, act, record. The only writer.

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use crate::{
    clock::Clock,
    cluster::{Cluster, Error},
    domain::{
        classify::{Classifier, Verdict},
        decide::{Decision, Trigger, Why, decide},
        journal::Journal,
        ledger::{self, Action, Ended},
        policy::{Mode, Policy},
        release::{REQUESTED_AT, Release},
    },
    metrics::{Metrics, Reconciled},
    queue::{Pending, Queue, Tried},
};

mod memory;
mod pace;
mod report;
use memory::Memory;
pub use pace::Pace;
use report::Reports;

/// Looks taken at once. They only wait for the API server, and one cluster's burst must not open
/// hundreds of connections to it.
const CONCURRENCY: usize = 8;

/// How often a look is repeated at once because somebody wrote in between. helm-controller writes a
/// handful of patches in a row; more than that means it is at work, and a later look is better.
const CONFLICTS: u32 = 3;

/// What all workers share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Rules.
    pub classifier: Arc<Classifier>,
    /// What is allowed.
    pub policy: Arc<Policy>,
    /// What happened.
    pub journal: Arc<Journal>,
    /// What is counted.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
    /// How long things take.
    pub pace: Arc<Pace>,
}

/// The worker of one cluster.
pub struct Worker {
    cluster: Cluster,
    queue: Arc<Queue>,
    shared: Shared,
    reports: Reports,
    memory: Memory,
}

/// What is left to do about an entry after a look.
enum Next {
    Done,
    At(Instant),
}

impl Worker {
    /// A worker for the queue of one cluster.
    pub fn new(cluster: Cluster, queue: Arc<Queue>, shared: Shared) -> Self {
        let reports = Reports::new(Arc::clone(&cluster.name), shared.clone());
        Self {
            cluster,
            queue,
            shared,
            reports,
            memory: Memory::default(),
        }
    }

    /// Works until the queue is closed and nothing in it is due.
    pub async fn run(self) {
        let mut looks = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(()) = looks.next(), if !looks.is_empty() => {}
                due = self.queue.next(), if looks.len() < CONCURRENCY => match due {
                    Some(pending) => looks.push(self.look(pending)),
                    None => break,
                },
            }
        }
        while looks.next().await.is_some() {}
    }

    /// One look, and what follows from it for the queue.
    async fn look(&self, mut pending: Pending) {
        let timer = self.shared.metrics.reconcile();
        pending.looks += 1;
        match self.settle(&mut pending).await {
            Ok(Next::Done) => {
                timer.done(Reconciled::Success);
                self.queue.done(pending);
            }
            Ok(Next::At(due)) => {
                timer.done(Reconciled::RequeueAfter);
                pending.errors = 0;
                self.queue.again(pending, due);
            }
            Err(error) => {
                timer.done(Reconciled::Error);
                pending.errors += 1;
                self.reports.error(&pending, &error);
                let pace = &self.shared.pace;
                let wait = if error.passes() {
                    pace.look(pending.errors)
                } else {
                    pace.look(pending.errors + 3)
                };
                let wait = if pending.errors > 8 { pace.slow } else { wait };
                self.queue.again(pending, Instant::now() + wait);
            }
        }
    }

    /// Observes and decides until nobody writes in between.
    async fn settle(&self, pending: &mut Pending) -> Result<Next, Error> {
        let mut conflicts = 0;
        loop {
            let observed = match self.cluster.observe(&pending.failure.release).await {
                Ok(mut release) => {
                    self.memory.restore(&pending.failure.release, &mut release);
                    Some(release)
                }
                Err(Error::Gone) => None,
                Err(error) => return Err(error),
            };
            match self.act(pending, observed.as_ref()).await {
                Err(Error::Conflict) if conflicts < CONFLICTS => conflicts += 1,
                Err(Error::Gone) => return Ok(Next::Done),
                answer => return answer,
            }
        }
    }

    /// Decides about what was observed, and carries it out.
    async fn act(&self, pending: &mut Pending, observed: Option<&Release>) -> Result<Next, Error> {
        let Shared {
            classifier,
            policy,
            clock,
            metrics,
            ..
        } = &self.shared;
        let now = clock.now();
        let trigger = Trigger {
            alerted: true,
            uid: pending.failure.uid.clone(),
            settled: pending.looks > 1,
        };
        let said = observed.and_then(|release| classifier.release(release));
        let verdict = said.unwrap_or(pending.verdict);
        let decision = decide(&trigger, verdict, observed, policy, now);
        if let Some(release) = observed {
            self.recognise(pending, release, verdict);
            self.follow(pending, release, verdict);
        }
        metrics.decided(&self.cluster.name, verdict, &decision);
        match (&decision, observed) {
            (
                Decision::Restart {
                    action,
                    attempt,
                    why,
                },
                Some(release),
            ) => {
                if policy.mode == Mode::Observe {
                    self.reports.would_restart(
                        pending,
                        release,
                        verdict,
                        (*action, *attempt, *why),
                    );
                    return Ok(Next::Done);
                }
                self.restart(pending, release, verdict, *action, *attempt)
                    .await?;
                Ok(self.wait(pending, None))
            }
            (Decision::Wait { until, .. }, _) => {
                self.reports.decision(pending, observed, verdict, &decision);
                Ok(self.wait(pending, until.map(|until| clock.instant(until))))
            }
            (
                Decision::Leave {
                    why: Why::BudgetSpent,
                },
                Some(release),
            ) => {
                self.give_up(pending, release, verdict, &decision).await?;
                Ok(Next::Done)
            }
            _ => {
                self.reports.decision(pending, observed, verdict, &decision);
                // What we began we follow to its end: a token sent while a dependency was away is
                // swallowed, and no alert ever says so (story reset-swallowed-by-dependency); and
                // Flux writes Ready one patch before it notes the token.
                let not_over = matches!(
                    decision.why(),
                    Why::FluxRetries | Why::Prerequisites | Why::Recovered
                );
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
        release: &Release,
        verdict: Verdict,
        action: Action,
        attempt: u32,
    ) -> Result<(), Error> {
        let Shared { policy, clock, .. } = &self.shared;
        let legacy = policy.legacy_annotation;
        let changes = ledger::restart(release, action, attempt, verdict.rule, legacy, clock.now());
        let tried = Tried {
            action,
            attempt,
            changes,
        };
        let name = pending.failure.release.clone();
        match self.cluster.annotate(&name, release, &tried.changes).await {
            Ok(()) => self.restarted(pending, release, tried, verdict),
            Err(error) => {
                // Without an answer it may have been written all the same: the next look will show.
                let unknown = matches!(error, Error::Unavailable(_) | Error::Unreadable(_));
                pending.tried = unknown.then_some(tried);
                return Err(error);
            }
        }
        Ok(())
    }

    /// A restart stands on the release: from here on it is Flux's turn.
    fn restarted(&self, pending: &mut Pending, release: &Release, tried: Tried, verdict: Verdict) {
        let limit = self.shared.policy.limit_for(release);
        let Tried {
            action,
            attempt,
            ref changes,
        } = tried;
        self.memory
            .keep(&pending.failure.release, &release.metadata.uid, changes);
        pending.episode = tried.token().map(str::to_owned);
        self.shared
            .metrics
            .restarted(&self.cluster.name, action, pending.since);
        pending.tried = None;
        pending.looks = 1;
        pending.since = Instant::now();
        pending.reported_long = false;
        self.reports
            .restarted(pending, verdict, action, attempt, limit);
    }

    /// Sees whether a restart whose answer was lost was written.
    fn recognise(&self, pending: &mut Pending, release: &Release, verdict: Verdict) {
        let written = |tried: &mut Tried| release.annotation(REQUESTED_AT) == tried.token();
        if let Some(tried) = pending.tried.take_if(written) {
            self.restarted(pending, release, tried, verdict);
        }
    }

    /// Notes on the release that helmreboot stopped, once for each configuration.
    async fn give_up(
        &self,
        pending: &mut Pending,
        release: &Release,
        verdict: Verdict,
        decision: &Decision,
    ) -> Result<(), Error> {
        let Shared {
            policy,
            clock,
            metrics,
            ..
        } = &self.shared;
        let standing = ledger::standing(release);
        let note = !standing.gave_up && standing.attempts > 0 && policy.mode == Mode::Act;
        if note {
            let changes = ledger::give_up(standing.attempts, verdict.rule, clock.now());
            self.cluster
                .annotate(&pending.failure.release, release, &changes)
                .await?;
            metrics.gave_up(&self.cluster.name);
        }
        self.reports
            .decision(pending, Some(release), verdict, decision);
        Ok(())
    }

    /// Watches the running episode, which may have been begun by another process, for its end.
    fn follow(&self, pending: &mut Pending, release: &Release, verdict: Verdict) {
        if let Some(token) = ledger::running(release) {
            pending.episode.get_or_insert_with(|| token.to_owned());
        }
        let Some(token) = &pending.episode else {
            return;
        };
        if let Some(end) = ledger::ended(release, token) {
            pending.episode = None;
            self.shared.metrics.ended(&self.cluster.name, end);
            self.reports.ended(pending, release, verdict, end);
            if end == Ended::Superseded {
                pending.last = None;
            }
        }
    }

    fn wait(&self, pending: &mut Pending, until: Option<Instant>) -> Next {
        if let Some(until) = until {
            // A long wait is one for Flux, not one of our own.
            pending.since = until;
            return Next::At(until);
        }
        let pace = &self.shared.pace;
        let long = pending.since.elapsed() >= pace.long_wait;
        if long && !pending.reported_long {
            pending.reported_long = true;
            self.reports.long_wait(pending);
        }
        Next::At(
            Instant::now()
                + if long {
                    pace.slow
                } else {
                    pace.look(pending.looks)
                },
        )
    }
}
