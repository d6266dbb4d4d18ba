//! One cluster's loop: due entry -> observe, classify, decide, act, record. The only writer.

use std::{sync::Arc, time::Duration};

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
        release::Release,
    },
    metrics::{Metrics, Reconciled},
    queue::{Pending, Queue},
};

mod report;
use report::Reports;

/// Looks taken at once. They only wait for the API server, and one cluster's burst must not open
/// hundreds of connections to it.
const CONCURRENCY: usize = 8;

/// How often a look is repeated at once because somebody wrote in between. helm-controller writes a
/// handful of patches in a row; more than that means it is at work, and a later look is better.
const CONFLICTS: u32 = 3;

/// How long things take. Scaled down where a story is told faster than it happens.
#[derive(Clone, Debug)]
pub struct Pace {
    /// From the alert to the first look: it always comes before the status (FB 1.6 no. 2).
    pub settle: Duration,
    /// From one look to the next while waiting; the last is repeated.
    pub looks: Vec<Duration>,
    /// A wait this long is reported, never acted on.
    pub long_wait: Duration,
    /// From one look to the next after that, or while a person has to mend something.
    pub slow: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(2),
            looks: [5, 10, 20, 40, 60].map(Duration::from_secs).to_vec(),
            long_wait: Duration::from_mins(30),
            slow: Duration::from_mins(10),
        }
    }
}

impl Pace {
    /// The same, `factor` times faster.
    pub fn faster(&self, factor: f64) -> Self {
        let scale = |duration: &Duration| duration.div_f64(factor);
        Self {
            settle: scale(&self.settle),
            looks: self.looks.iter().map(scale).collect(),
            long_wait: scale(&self.long_wait),
            slow: scale(&self.slow),
        }
    }

    fn look(&self, taken: u32) -> Duration {
        let index = usize::try_from(taken.saturating_sub(1)).unwrap_or(usize::MAX);
        self.looks
            .get(index)
            .or(self.looks.last())
            .copied()
            .unwrap_or(self.settle)
    }
}

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
                Ok(release) => Some(release),
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
            self.follow(pending, release, verdict);
        }
        metrics.decided(&self.cluster.name, verdict, &decision);
        match (&decision, observed) {
            (
                Decision::Restart {
                    action, attempt, ..
                },
                Some(release),
            ) => {
                if policy.mode == Mode::Observe {
                    self.reports
                        .would_restart(pending, release, verdict, *action, *attempt);
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
                // swallowed, and no alert ever says so (FB 1.6 no. 7).
                let flux_goes_on = matches!(decision.why(), Why::FluxRetries | Why::Prerequisites);
                Ok(if flux_goes_on && pending.episode.is_some() {
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
        let Shared {
            policy,
            clock,
            metrics,
            ..
        } = &self.shared;
        let legacy = policy.legacy_annotation;
        let changes = ledger::restart(release, action, attempt, verdict.rule, legacy, clock.now());
        self.cluster
            .annotate(&pending.failure.release, release, &changes)
            .await?;
        metrics.restarted(&self.cluster.name, action, pending.since);
        pending.episode = changes.get(ledger::TOKEN).cloned().flatten();
        // The next wait begins anew: it is Flux's turn now.
        pending.looks = 1;
        pending.since = Instant::now();
        pending.reported_long = false;
        self.reports
            .restarted(pending, verdict, action, attempt, policy.limit_for(release));
        Ok(())
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
