//! One cluster's loop: due entry -> observe, classify, decide, act, record. The only writer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tracing::error;

use crate::{
    clock::Clock,
    clusters::ClusterStatus,
    domain::{
        alert::Failure,
        classify::Classifier,
        evaluate::Evaluator,
        journal::Journal,
        ledger::{self, RestartOutcome},
        limits::{Limits, Outcome, Wake},
        policy::Policies,
    },
    isolation::{self, Panicked, Part},
    kubernetes::{Cluster, Error, Observed},
    metrics::{Metrics, Reconciled},
    queue::{Queue, Source, WorkItem, wake_all},
};

mod act;
mod follow_up;
mod intervals;
mod ledger_cache;
mod log_limit;
mod report;
mod summary;
pub mod watcher;
pub use intervals::Intervals;
use ledger_cache::Memory;
use report::Reports;
use summary::Told;
pub use summary::{releases, tell_breakers};

/// Looks taken at once. They only wait for the API server, and one cluster's burst must not open
/// hundreds of connections to it.
const CONCURRENCY: usize = 8;

/// How often a look is repeated at once because somebody wrote in between. helm-controller writes a
/// handful of patches in a row; more than that means it is at work, and a later look is better.
const CONFLICTS: u32 = 3;

/// How long after a panic of the queue's own code it is begun anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How often a worker looks at what it has to tell of its cluster as a whole.
const TELL_INTERVAL: Duration = Duration::from_mins(1);

/// What all workers share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Rules.
    pub classifier: Arc<Classifier>,
    /// What is allowed.
    pub policies: Arc<Policies>,
    /// Whether nothing is written for now.
    pub pause: Pause,
    /// Whether this replica sweeps.
    pub leads: Leadership,
    /// What happened.
    pub journal: Arc<Journal>,
    /// What is counted.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
    /// What tells this process from others that write in the same second.
    pub salt: u32,
    /// How long things take.
    pub pace: Arc<Intervals>,
}

impl Shared {
    /// Who judges the releases of a cluster.
    pub fn judge<'a>(&'a self, cluster: &'a str) -> Evaluator<'a> {
        Evaluator {
            classifier: &self.classifier,
            policies: &self.policies,
            cluster,
        }
    }
}

/// The switch that keeps everything from being written, while decisions go on being made.
#[derive(Clone, Debug, Default)]
pub struct Pause(Arc<AtomicBool>);

impl Pause {
    /// From now on, or no longer. True if that is a change.
    pub fn set(&self, paused: bool) -> bool {
        self.0.swap(paused, Ordering::AcqRel) != paused
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Whether this replica sweeps: always, unless replicas choose one among them.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<watch::Sender<bool>>);

impl Leadership {
    /// From the start, or once it is told so.
    pub fn new(leads: bool) -> Self {
        Self(Arc::new(watch::Sender::new(leads)))
    }

    /// From now on, or no longer.
    pub fn set(&self, leads: bool) {
        self.0.send_replace(leads);
    }

    /// Waits until it is so.
    pub async fn until(&self, leads: bool) {
        // The sender is here, so that it cannot have gone.
        let _ = self.0.subscribe().wait_for(|now| *now == leads).await;
    }
}

/// The worker of one cluster.
pub struct Reconciler {
    cluster: Cluster,
    queue: Arc<Queue>,
    limits: Limits,
    shared: Shared,
    statuses: Vec<Arc<ClusterStatus>>,
    reports: Reports,
    told: Told,
    memory: Memory,
}

/// What is left to do about an entry after a look.
enum Next {
    Done,
    At(Instant),
}

impl Reconciler {
    /// A worker for the queue of one cluster, which the sweeps see so.
    pub fn new(
        cluster: Cluster,
        queue: Arc<Queue>,
        limits: Limits,
        statuses: Vec<Arc<ClusterStatus>>,
        shared: Shared,
    ) -> Self {
        let reports = Reports::new(Arc::clone(&cluster.name), shared.clone());
        Self {
            cluster,
            queue,
            limits,
            statuses,
            shared,
            reports,
            told: Told::default(),
            memory: Memory::default(),
        }
    }

    /// Works until the queue is closed and nothing in it is due.
    pub async fn run(self) {
        let name = format!("the work queue of {}", self.cluster.name);
        let (metrics, pause) = (&self.shared.metrics, RESTART_PAUSE);
        isolation::supervised(Part::Queue, &name, metrics, pause, || {
            // After a panic in the code of the queue, releases that were taken out of it are put back.
            self.queue.recover(Instant::now() + self.shared.pace.slow);
            self.work()
        })
        .await;
    }

    async fn work(&self) {
        let mut looks = FuturesUnordered::new();
        let mut ticks = interval_at(Instant::now() + TELL_INTERVAL, TELL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(()) = looks.next(), if !looks.is_empty() => {}
                _ = ticks.tick() => {
                    let tell = || self.tell_of_all();
                    if let Err(Panicked { location }) = isolation::catch(Part::Background, &self.shared.metrics, tell) {
                        let cluster = &self.cluster.name;
                        error!(%cluster, location, "internal error at {location} while telling of {cluster}; please report it");
                    }
                }
                due = self.queue.next(), if looks.len() < CONCURRENCY => match due {
                    Some(item) => looks.push(self.look(item)),
                    None => break,
                },
            }
        }
        while looks.next().await.is_some() {}
    }

    /// One look that a panic cannot leave: the release is then looked at again at the slow interval.
    async fn look(&self, item: WorkItem) {
        let (release, since) = (item.failure.release.clone(), item.since);
        let metrics = &self.shared.metrics;
        let reconcile = self.reconcile(item);
        let Err(panicked) = isolation::caught(Part::Reconcile, metrics, reconcile).await else {
            return;
        };
        let failure = Failure { release, uid: None };
        let mut item = WorkItem::new(failure, Source::Watcher);
        (item.since, item.looks) = (since, 1);
        self.reports.panicked(&item, &panicked);
        // A restart that was admitted before the panic may not have been written.
        self.refund(&item);
        self.stand_down(&item);
        let offers = self.limits.lock().offers(self.shared.clock.now());
        self.wake(offers);
        let due = Instant::now() + self.shared.pace.slow;
        self.queue.again(item, due);
    }

    /// One look, and what follows from it for the queue.
    async fn reconcile(&self, mut item: WorkItem) {
        let timer = self.shared.metrics.reconcile();
        item.looks += 1;
        match self.settle(&mut item).await {
            Ok(Next::Done) => {
                timer.done(Reconciled::Success);
                self.leave(item);
            }
            Ok(Next::At(due)) => {
                timer.done(Reconciled::RequeueAfter);
                item.errors = 0;
                self.queue.again(item, due);
            }
            Err(error) => {
                timer.done(Reconciled::Error);
                item.errors += 1;
                // What cannot be looked at keeps no slot from those that can.
                self.stand_down(&item);
                self.reports.error(&item, &error, self.cluster.answers());
                let pace = &self.shared.pace;
                let wait = if error.passes() {
                    pace.look(item.errors)
                } else {
                    pace.look(item.errors + 3)
                };
                let wait = if item.errors > 8 { pace.slow } else { wait };
                self.queue.again(item, Instant::now() + wait);
            }
        }
    }

    /// Observes and decides until nobody writes in between.
    async fn settle(&self, item: &mut WorkItem) -> Result<Next, Error> {
        let mut conflicts = 0;
        loop {
            let observed = match self.cluster.observe(&item.failure.release).await {
                Ok(mut observed) => {
                    let name = &item.failure.release;
                    self.memory.restore(name, &mut observed.release);
                    if let Some(noted) = ledger::note_return(&observed.release) {
                        let uid = &observed.release.metadata.uid;
                        self.memory.keep(name, uid, &noted);
                        self.memory.restore(name, &mut observed.release);
                    }
                    Some(observed)
                }
                Err(Error::Gone) => None,
                Err(error) => return Err(error),
            };
            match self.act(item, observed.as_ref()).await {
                Err(Error::Conflict) if conflicts < CONFLICTS => conflicts += 1,
                Err(Error::Gone) => return Ok(Next::Done),
                answer => return answer,
            }
        }
    }

    /// Nothing is left to do: whoever waits for this release need wait no longer.
    fn leave(&self, mut item: WorkItem) {
        self.end(&mut item, RestartOutcome::Superseded, 0, None);
        let now = self.shared.clock.now();
        let wakes = self.limits.lock().forget(&item.failure.release, now);
        self.wake(wakes);
        self.queue.done(item);
    }

    /// What time it is where the release stands. Replicas agree on that clock, whatever theirs say.
    fn time_there(&self, observed: Option<&Observed>) -> Timestamp {
        let there = observed.and_then(|observed| observed.at);
        there.unwrap_or_else(|| self.shared.clock.now())
    }

    /// The restart of this release takes nobody's place any more, for whatever reason.
    fn release_slot(&self, item: &WorkItem, outcome: Outcome) {
        let now = self.shared.clock.now();
        let name = &item.failure.release;
        let wakes = self.limits.lock().ended(name, outcome, now);
        self.wake(wakes);
    }

    /// The release asks for no slot at the moment.
    fn stand_down(&self, item: &WorkItem) {
        let now = self.shared.clock.now();
        let name = &item.failure.release;
        let wakes = self.limits.lock().stand_down(name, now);
        self.wake(wakes);
    }

    /// A restart that was admitted was not written.
    fn refund(&self, item: &WorkItem) {
        let now = self.shared.clock.now();
        let name = &item.failure.release;
        let wakes = self.limits.lock().refund(name, now);
        self.wake(wakes);
    }

    fn wake(&self, wakes: Vec<Wake>) {
        wake_all(&self.queue, &self.limits, &self.shared.clock, wakes);
        tell_breakers(&self.cluster.name, &self.limits);
    }

    fn wait(&self, item: &mut WorkItem, until: Option<Instant>) -> Next {
        if let Some(until) = until {
            // A long wait is one for Flux, not one of our own.
            item.since = until;
            return Next::At(until);
        }
        let pace = &self.shared.pace;
        let long = item.since.elapsed() >= pace.long_wait;
        if long && !item.reported_long {
            item.reported_long = true;
            self.reports.long_wait(item);
            self.release_slot(item, Outcome::Unknown);
        }
        Next::At(
            Instant::now()
                + if long {
                    pace.slow
                } else {
                    pace.look(item.looks)
                },
        )
    }
}

/// The instant at which the clock that reads `now` will read `at`; now, if that has passed.
fn instant(at: Timestamp, now: Timestamp) -> Instant {
    let ahead = at.duration_since(now);
    Instant::now() + std::time::Duration::try_from(ahead).unwrap_or_default()
}
