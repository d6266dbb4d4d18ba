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
    cluster::{Cluster, Error, Observed},
    domain::{
        alert::Failure,
        classify::Classifier,
        journal::Journal,
        judge::Judge,
        ledger::{self, Ended},
        policy::Policies,
        storm::{Outcome, StormControl, Wake},
    },
    isolation::{self, Panicked, Part},
    metrics::{Metrics, Reconciled},
    queue::{Pending, Queue, Source, wake_all},
    registry::Outlook,
};

mod act;
mod episode;
mod log_limit;
mod memory;
mod pace;
mod report;
mod summary;
use memory::Memory;
pub use pace::Pace;
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
    pub leads: Leads,
    /// What happened.
    pub journal: Arc<Journal>,
    /// What is counted.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
    /// What tells this process from others that write in the same second.
    pub salt: u32,
    /// How long things take.
    pub pace: Arc<Pace>,
}

impl Shared {
    /// Who judges the releases of a cluster.
    pub fn judge<'a>(&'a self, cluster: &'a str) -> Judge<'a> {
        Judge {
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
pub struct Leads(Arc<watch::Sender<bool>>);

impl Leads {
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
pub struct Worker {
    cluster: Cluster,
    queue: Arc<Queue>,
    storm: StormControl,
    shared: Shared,
    outlooks: Vec<Arc<Outlook>>,
    reports: Reports,
    told: Told,
    memory: Memory,
}

/// What is left to do about an entry after a look.
enum Next {
    Done,
    At(Instant),
}

impl Worker {
    /// A worker for the queue of one cluster, which the sweeps see so.
    pub fn new(
        cluster: Cluster,
        queue: Arc<Queue>,
        storm: StormControl,
        outlooks: Vec<Arc<Outlook>>,
        shared: Shared,
    ) -> Self {
        let reports = Reports::new(Arc::clone(&cluster.name), shared.clone());
        Self {
            cluster,
            queue,
            storm,
            outlooks,
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
                    Some(pending) => looks.push(self.look(pending)),
                    None => break,
                },
            }
        }
        while looks.next().await.is_some() {}
    }

    /// One look that a panic cannot leave: the release is then looked at again at the slow interval.
    async fn look(&self, pending: Pending) {
        let (release, since) = (pending.failure.release.clone(), pending.since);
        let metrics = &self.shared.metrics;
        let reconcile = self.reconcile(pending);
        let Err(panicked) = isolation::caught(Part::Reconcile, metrics, reconcile).await else {
            return;
        };
        let failure = Failure { release, uid: None };
        let mut pending = Pending::new(failure, Source::Sweep);
        (pending.since, pending.looks) = (since, 1);
        self.reports.panicked(&pending, &panicked);
        // A restart that was admitted before the panic may not have been written.
        self.refund(&pending);
        self.stand_down(&pending);
        let offers = self.storm.lock().offers(self.shared.clock.now());
        self.wake(offers);
        let due = Instant::now() + self.shared.pace.slow;
        self.queue.again(pending, due);
    }

    /// One look, and what follows from it for the queue.
    async fn reconcile(&self, mut pending: Pending) {
        let timer = self.shared.metrics.reconcile();
        pending.looks += 1;
        match self.settle(&mut pending).await {
            Ok(Next::Done) => {
                timer.done(Reconciled::Success);
                self.leave(pending);
            }
            Ok(Next::At(due)) => {
                timer.done(Reconciled::RequeueAfter);
                pending.errors = 0;
                self.queue.again(pending, due);
            }
            Err(error) => {
                timer.done(Reconciled::Error);
                pending.errors += 1;
                // What cannot be looked at keeps no slot from those that can.
                self.stand_down(&pending);
                self.reports.error(&pending, &error, self.cluster.answers());
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
                Ok(mut observed) => {
                    let name = &pending.failure.release;
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
            match self.act(pending, observed.as_ref()).await {
                Err(Error::Conflict) if conflicts < CONFLICTS => conflicts += 1,
                Err(Error::Gone) => return Ok(Next::Done),
                answer => return answer,
            }
        }
    }

    /// Nothing is left to do: whoever waits for this release need wait no longer.
    fn leave(&self, mut pending: Pending) {
        self.end(&mut pending, Ended::Superseded, 0, None);
        let now = self.shared.clock.now();
        let wakes = self.storm.lock().forget(&pending.failure.release, now);
        self.wake(wakes);
        self.queue.done(pending);
    }

    /// What time it is where the release stands. Replicas agree on that clock, whatever theirs say.
    fn time_there(&self, observed: Option<&Observed>) -> Timestamp {
        let there = observed.and_then(|observed| observed.at);
        there.unwrap_or_else(|| self.shared.clock.now())
    }

    /// The restart of this release takes nobody's place any more, for whatever reason.
    fn make_room(&self, pending: &Pending, outcome: Outcome) {
        let now = self.shared.clock.now();
        let name = &pending.failure.release;
        let wakes = self.storm.lock().ended(name, outcome, now);
        self.wake(wakes);
    }

    /// The release asks for no slot at the moment.
    fn stand_down(&self, pending: &Pending) {
        let now = self.shared.clock.now();
        let name = &pending.failure.release;
        let wakes = self.storm.lock().stand_down(name, now);
        self.wake(wakes);
    }

    /// A restart that was admitted was not written.
    fn refund(&self, pending: &Pending) {
        let now = self.shared.clock.now();
        let name = &pending.failure.release;
        let wakes = self.storm.lock().refund(name, now);
        self.wake(wakes);
    }

    fn wake(&self, wakes: Vec<Wake>) {
        wake_all(&self.queue, &self.storm, &self.shared.clock, wakes);
        tell_breakers(&self.cluster.name, &self.storm);
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
            self.make_room(pending, Outcome::Unknown);
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

/// The instant at which the clock that reads `now` will read `at`; now, if that has passed.
fn instant(at: Timestamp, now: Timestamp) -> Instant {
    let ahead = at.duration_since(now);
    Instant::now() + std::time::Duration::try_from(ahead).unwrap_or_default()
}
