//! Reconciles the HelmReleases of one cluster: take a due work item, get, evaluate, check the limits, patch, follow up.
//! No other module patches HelmReleases.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::error;

use crate::{
    clock::Clock,
    clusters::{Board, ClusterStatus},
    domain::{
        alert::{Failure, ReleaseRef},
        classify::Classifier,
        evaluate::{Evaluation, Evaluator},
        journal::Journal,
        ledger::RestartOutcome,
        limits::{Limits, Wake},
        policy::Policies,
        release::Release,
        summary::ReleaseSummary,
    },
    isolation::{self, Panicked, Part},
    kubernetes::{Cluster, Error},
    leadership::Leadership,
    metrics::{Metrics, Reconciled},
    notify::Outbox,
    queue::{Queue, Source, WorkItem, wake_releases},
};

mod follow_up;
mod intervals;
mod ledger_cache;
mod log_limit;
mod reconcile;
mod report;
mod restart;
mod summary;
pub mod watcher;
pub use intervals::Intervals;
use ledger_cache::LedgerCache;
use reconcile::Requeue;
use report::Reports;
use summary::Summary;
pub use summary::{releases, report_breakers};

/// Reconciles at the same time. Each waits for the API server most of the time. More of them would open more
/// connections to it.
const CONCURRENCY: usize = 8;

/// The time between a panic in the code of the queue and its next start.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The time between two checks of whether there is a line to log about the cluster as a whole.
const SUMMARY_INTERVAL: Duration = Duration::from_mins(1);

/// The most characters of a failure message in a summary.
const MESSAGE_LIMIT: usize = 1000;

/// What the reconcilers and watchers of all clusters share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The rules.
    pub classifier: Arc<Classifier>,
    /// The policies.
    pub policies: Arc<Policies>,
    /// Whether helmreboot is paused.
    pub pause: Pause,
    /// Whether this replica acts.
    pub leadership: Leadership,
    /// The latest outcomes.
    pub journal: Arc<Journal>,
    /// The metrics.
    pub metrics: Metrics,
    /// The clock of this process.
    pub clock: Clock,
    /// A random number: makes the tokens of this process differ from those that another writes in the same second.
    pub salt: u32,
    /// The times between reconciles.
    pub intervals: Arc<Intervals>,
    /// How long an alert is kept by a replica that does not act.
    pub kept_for: Duration,
}

impl Shared {
    /// The summary of a release after its evaluation.
    pub fn summary(
        &self,
        name: &ReleaseRef,
        release: &Release,
        evaluation: &Evaluation,
    ) -> ReleaseSummary {
        let limit = MESSAGE_LIMIT;
        ReleaseSummary::of(&name.cluster, release, evaluation, &self.classifier, limit)
    }

    /// Evaluates the releases of a cluster.
    pub fn evaluator<'a>(&'a self, cluster: &'a str) -> Evaluator<'a> {
        Evaluator {
            classifier: &self.classifier,
            policies: &self.policies,
            cluster,
        }
    }
}

/// While helmreboot is paused, it decides and reports, and writes nothing.
#[derive(Clone, Debug, Default)]
pub struct Pause(Arc<AtomicBool>);

impl Pause {
    /// Pauses, or ends the pause. Returns whether that is a change.
    pub fn set(&self, paused: bool) -> bool {
        self.0.swap(paused, Ordering::AcqRel) != paused
    }

    /// Whether helmreboot is paused.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Reconciles the releases of one cluster.
pub struct Reconciler {
    cluster: Cluster,
    queue: Arc<Queue>,
    limits: Limits,
    shared: Shared,
    statuses: Vec<Arc<ClusterStatus>>,
    board: Arc<Board>,
    reports: Reports,
    summary: Summary,
    ledger_cache: LedgerCache,
}

impl Reconciler {
    /// A reconciler for the queue of one cluster. `statuses` is what the watchers of the cluster see, and `outbox` takes
    /// the notices about its releases.
    pub fn new(
        cluster: Cluster,
        queue: Arc<Queue>,
        limits: Limits,
        (statuses, board): (Vec<Arc<ClusterStatus>>, Arc<Board>),
        outbox: Outbox,
        shared: Shared,
    ) -> Self {
        let reports = Reports::new(shared.clone(), outbox);
        Self {
            cluster,
            queue,
            limits,
            statuses,
            board,
            shared,
            reports,
            summary: Summary::default(),
            ledger_cache: LedgerCache::default(),
        }
    }

    /// Reconciles while this replica acts, until the queue is closed and nothing in it is due.
    pub async fn run(self) {
        let name = format!("the work queue of {}", self.cluster.name);
        let (metrics, pause) = (&self.shared.metrics, RESTART_PAUSE);
        isolation::supervised(Part::Queue, &name, metrics, pause, || {
            // After a panic in the code of the queue, items that were taken out of it are put back.
            self.queue
                .recover(Instant::now() + self.shared.intervals.slow);
            self.run_while_acting()
        })
        .await;
    }

    async fn run_while_acting(&self) {
        let leadership = &self.shared.leadership;
        loop {
            leadership.until_acts().await;
            let since = Instant::now().checked_sub(self.shared.kept_for);
            since.inspect(|since| self.queue.forget_before(*since));
            let ended = {
                let _busy = leadership.busy();
                tokio::select! {
                    biased;
                    () = leadership.until_waits() => false,
                    ended = self.run_loop() => ended,
                }
            };
            if ended {
                return;
            }
            leadership.until_finished().await;
            self.stop();
        }
    }

    /// Another replica acts. What this one knows is no longer up to date, and the other one knows it from its watchers.
    fn stop(&self) {
        self.queue.clear();
        self.limits.clear();
        self.ledger_cache.clear();
        self.board.clear();
    }

    /// Returns true when the queue is closed and nothing in it is due, and false when this replica no longer acts.
    async fn run_loop(&self) -> bool {
        let mut reconciles = FuturesUnordered::new();
        let mut finishes = pin!(self.shared.leadership.until_finishes());
        let mut ended = true;
        let mut ticks = interval_at(Instant::now() + SUMMARY_INTERVAL, SUMMARY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut finishes => {
                    ended = false;
                    break;
                }
                Some(()) = reconciles.next(), if !reconciles.is_empty() => {}
                _ = ticks.tick() => {
                    let log = || self.log_summary();
                    if let Err(Panicked { location }) = isolation::catch(Part::Background, &self.shared.metrics, log) {
                        let cluster = &self.cluster.name;
                        error!(%cluster, location, "internal error at {location} in the summary of cluster {cluster}; please report it");
                    }
                }
                due = self.queue.next(), if reconciles.len() < CONCURRENCY => match due {
                    Some(item) => reconciles.push(self.reconcile_catching_panics(item)),
                    None => break,
                },
            }
        }
        while reconciles.next().await.is_some() {}
        ended
    }

    /// One reconcile. After a panic in it, the release is reconciled again after the slow interval.
    async fn reconcile_catching_panics(&self, item: WorkItem) {
        let (release, since) = (item.failure.release.clone(), item.since);
        let metrics = &self.shared.metrics;
        let reconcile = self.reconcile_item(item);
        let Err(panicked) = isolation::caught(Part::Reconcile, metrics, reconcile).await else {
            return;
        };
        let failure = Failure { release, uid: None };
        let mut item = WorkItem::new(failure, Source::Watch);
        (item.since, item.reconciles) = (since, 1);
        self.reports.panicked(&item, &panicked);
        // A restart that was admitted before the panic may not have been written.
        self.refund(&item);
        self.withdraw(&item);
        let reserved = self.limits.lock().reserved(self.shared.clock.now());
        self.wake(reserved);
        let due = Instant::now() + self.shared.intervals.slow;
        self.queue.requeue(item, due);
    }

    /// One reconcile, and what follows from it for the queue.
    async fn reconcile_item(&self, mut item: WorkItem) {
        let timer = self.shared.metrics.reconcile();
        item.reconciles += 1;
        match self.reconcile(&mut item).await {
            Ok(Requeue::Never) => {
                timer.done(Reconciled::Success);
                self.finish(item);
            }
            Ok(Requeue::At(due)) => {
                timer.done(Reconciled::RequeueAfter);
                item.errors = 0;
                self.queue.requeue(item, due);
            }
            Err(error) => {
                timer.done(Reconciled::Error);
                item.errors += 1;
                // A release that cannot be read must not occupy a slot.
                self.withdraw(&item);
                self.reports.error(&item, &error, self.cluster.answers());
                let due = Instant::now() + self.wait_after_error(&item, &error);
                self.queue.requeue(item, due);
            }
        }
    }

    fn wait_after_error(&self, item: &WorkItem, error: &Error) -> Duration {
        let intervals = &self.shared.intervals;
        if item.errors > ERRORS_BEFORE_SLOW_INTERVAL {
            return intervals.slow;
        }
        // An error that is not transient is retried at longer intervals.
        let skipped = if error.is_transient() { 0 } else { 3 };
        intervals.after(item.errors + skipped)
    }

    /// There is nothing left to do for the release. Releases that wait for it are woken.
    fn finish(&self, mut item: WorkItem) {
        if let Some(ended) = self.end(&mut item, RestartOutcome::Superseded, 0) {
            self.report_end(&item, &ended, None);
        }
        let now = self.shared.clock.now();
        let wakes = self.limits.lock().forget(&item.failure.release, now);
        self.wake(wakes);
        self.queue.finish(item);
    }

    /// The restart of this release no longer takes a slot. `outcome` is `None` where it is not known.
    fn free_slot(&self, item: &WorkItem, outcome: Option<RestartOutcome>) {
        let now = self.shared.clock.now();
        let wakes = self
            .limits
            .lock()
            .ended(&item.failure.release, outcome, now);
        self.wake(wakes);
    }

    /// The release no longer waits for a slot.
    fn withdraw(&self, item: &WorkItem) {
        let now = self.shared.clock.now();
        let wakes = self.limits.lock().withdraw(&item.failure.release, now);
        self.wake(wakes);
    }

    /// A restart that was admitted was not written.
    fn refund(&self, item: &WorkItem) {
        let now = self.shared.clock.now();
        let wakes = self.limits.lock().refund(&item.failure.release, now);
        self.wake(wakes);
    }

    fn wake(&self, wakes: Vec<Wake>) {
        wake_releases(&self.queue, &self.limits, &self.shared.clock, wakes);
        report_breakers(self.cluster.reporter(), &self.limits);
    }
}

/// After so many errors in a row, a release is reconciled at the slow interval.
const ERRORS_BEFORE_SLOW_INTERVAL: u32 = 8;
