//! Watches the HelmReleases of one cluster, or lists them at an interval, and enqueues those that fail and changed.
//!
//! This finds failures that no alert named: notification-controller delivers an alert at most once, and Flux sends
//! none about a stall. Memory is proportional to the releases that fail or that Flux works on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    clusters::{Board, ClusterStatus},
    config::SweepMode,
    controller::{Shared, releases, report_breakers},
    domain::{
        alert::{Failure, ReleaseRef},
        decide::{self, Reason},
        evaluate::Evaluation,
        failing::{Cause, Failing, cause_of},
        ledger::{self, Record},
        limits::Limits,
        policy::Mode,
        release::Release,
    },
    isolation::{self, Panicked, Part},
    kubernetes::{Cluster, Unreadable},
    metrics::Found,
    queue::{Enqueued, Queue, Source, Wakeup, WorkItem, wake_releases},
};

/// The time from a change to the reconcile of a release that is in the queue. Flux writes several patches one after the
/// other.
const DEBOUNCE: Duration = Duration::from_millis(300);

/// The interval between two lists where watching is not allowed.
const LIST_INTERVAL_WITHOUT_WATCH: Duration = Duration::from_mins(5);

/// The longest wait after errors in a row.
const LONGEST_RETRY_DELAY: Duration = Duration::from_mins(1);

/// The interval between two attempts to enqueue while the queue is full.
const QUEUE_FULL: Duration = Duration::from_secs(1);

mod follow;
mod overdue;
mod show;

/// A release that fails, as it was seen last.
struct Seen {
    /// The resourceVersion. A release is enqueued again when it differs. Empty until the release is in the queue.
    version: String,
    /// The cause; `None` if the release is suspended or opted out.
    cause: Option<Cause>,
}

/// Where a release was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeenBy {
    /// It is in a list.
    List,
    /// The watch reported a change.
    Change,
}

/// What follows from one release that was seen.
enum Observation {
    /// It does not fail, and there is nothing to do.
    Healthy,
    /// It fails, and there is nothing to do.
    Failing,
    /// It is to be enqueued.
    Enqueue,
}

/// Watches one cluster, or one namespace of it.
pub struct Watcher {
    cluster: Cluster,
    namespace: Option<Arc<str>>,
    queue: Arc<Queue>,
    limits: Limits,
    board: Arc<Board>,
    status: Arc<ClusterStatus>,
    /// Of all watchers of the cluster.
    statuses: Vec<Arc<ClusterStatus>>,
    shared: Shared,
    mode: SweepMode,
    failing: BTreeMap<ReleaseRef, Seen>,
    /// Releases that Flux works on, with the time when that is overdue and the UID.
    in_progress: BTreeMap<ReleaseRef, (Instant, String)>,
    /// Releases that cannot be read, and were logged.
    unreadable: BTreeSet<Unreadable>,
    when: Found,
    /// Errors in a row.
    errors: u32,
    /// The kind of the last error that does not pass by itself. It is logged once.
    logged_error: Option<String>,
}

impl Watcher {
    /// A watcher that enqueues into the queue of its cluster. The first status is its own; the others are those of all
    /// watchers of the cluster.
    pub fn new(
        cluster: Cluster,
        namespace: Option<Arc<str>>,
        queue: Arc<Queue>,
        (limits, board): (Limits, Arc<Board>),
        (status, statuses): (Arc<ClusterStatus>, Vec<Arc<ClusterStatus>>),
        shared: Shared,
        mode: SweepMode,
    ) -> Self {
        Self {
            cluster,
            namespace,
            queue,
            limits,
            board,
            status,
            statuses,
            shared,
            mode,
            failing: BTreeMap::new(),
            in_progress: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            when: Found::AtStart,
            errors: 0,
            logged_error: None,
        }
    }

    /// Watches while this replica acts. Does not return.
    pub async fn run(mut self) {
        let leadership = self.shared.leadership.clone();
        loop {
            leadership.until_acts().await;
            let metrics = self.shared.metrics.clone();
            let list_and_watch = isolation::caught(Part::Watcher, &metrics, self.list_and_watch());
            tokio::select! {
                biased;
                () = leadership.until_finishes() => self.stop(),
                result = list_and_watch => if let Err(Panicked { location }) = result {
                    let cluster = &self.cluster.name;
                    let seconds = LONGEST_RETRY_DELAY.as_secs();
                    tracing::error!(%cluster, location, "internal error at {location} in the watcher of cluster {cluster}, which starts again in {seconds} s; please report it");
                    // A release that was seen and not enqueued is enqueued by the next list.
                    self.failing.values_mut().for_each(|seen| seen.version.clear());
                    sleep(LONGEST_RETRY_DELAY).await;
                }
            }
        }
    }

    /// One list or one watch, and the wait after it.
    async fn list_and_watch(&mut self) {
        let mut server_changes = self.cluster.server_changes();
        let result = match self.mode {
            SweepMode::Off => return std::future::pending().await,
            SweepMode::Every(interval) => self.list().await.map(|_| interval),
            SweepMode::Watch => Err(self.watch().await),
        };
        let failed = result.is_err();
        let delay = result.unwrap_or_else(|error| self.log_error(&error));
        // Another API server ends the wait, and after an error other credentials do.
        tokio::select! {
            biased;
            () = server_changes.next() => {}
            () = self.cluster.reconnected(), if failed => {}
            () = sleep(delay) => {}
        }
    }

    /// Another replica acts. What this one has seen is no longer up to date.
    fn stop(&mut self) {
        self.failing.clear();
        self.in_progress.clear();
        self.status.clear();
        self.board.clear();
        self.when = Found::AtStart;
    }

    /// The list is complete, and these releases fail.
    fn list_complete(&mut self, failing: &BTreeSet<ReleaseRef>) {
        let others = self
            .failing
            .extract_if(.., |release, _| !failing.contains(release));
        for (name, seen) in others {
            self.status.remove(seen.cause);
            self.board.remove(&name);
        }
        self.up_to_date();
        if self.when == Found::AtStart {
            self.when = Found::Later;
            self.log_first_list();
        }
    }

    /// Every release has been seen in its current state.
    fn up_to_date(&mut self) {
        self.errors = 0;
        self.status.up_to_date();
    }

    /// Logs one line about all releases that fail at the start, when the last watcher of the cluster has its first list.
    fn log_first_list(&self) {
        let ended = self.statuses.iter().all(|status| status.first_list_ended());
        let any = self.statuses.iter().any(|status| status.counts());
        if !ended || !any {
            return;
        }
        let cluster = &self.cluster.name;
        let failing = Failing::sum(self.statuses.iter().map(|status| status.failing()));
        let left: usize = self.statuses.iter().map(|status| status.excluded()).sum();
        let total = failing.total();
        let which = if total == 0 {
            String::new()
        } else {
            format!(": {}", failing.text())
        };
        tracing::info!(%cluster, failing = total, suspended_or_opted_out = left, "first list of cluster {cluster}: {} fail{which}", releases(total));
    }

    /// Handles one release that was listed or changed. Returns its name if it fails. After a panic, this release is
    /// reconciled at the slow interval, and the others of its page are handled.
    async fn handle(&mut self, release: &Release, seen_by: SeenBy) -> Option<ReleaseRef> {
        let name = self.name(release);
        let metrics = self.shared.metrics.clone();
        let first = self.shared.intervals.first;
        match isolation::catch(Part::Watcher, &metrics, || {
            self.observe(&name, release, seen_by)
        }) {
            Ok(Observation::Healthy) => return None,
            Ok(Observation::Failing) => {}
            Ok(Observation::Enqueue) => {
                self.enqueue(&name, &release.metadata.uid, first).await;
                // Only now: this future may be dropped while it waits for a full queue.
                if let Some(seen) = self.failing.get_mut(&name) {
                    seen.version.clone_from(&release.metadata.resource_version);
                }
            }
            Err(Panicked { location }) => {
                tracing::error!(cluster = %name.cluster, namespace = %name.namespace, name = %name.name, location, "internal error at {location} in the watcher about {name}; please report it");
                let reserved = self.limits.lock().reserved(self.shared.clock.now());
                wake_releases(&self.queue, &self.limits, &self.shared.clock, reserved);
                let due = self.shared.intervals.slow;
                self.enqueue(&name, &release.metadata.uid, due).await;
            }
        }
        Some(name)
    }

    fn observe(&mut self, name: &ReleaseRef, release: &Release, seen_by: SeenBy) -> Observation {
        let deadline = release.action_deadline();
        if !release.failing() && deadline.is_none() {
            self.wake(name, None, release.at_rest());
            self.forget(name);
            if !self.queue.contains(name) {
                self.board.remove(name);
            }
            return self.healthy(release);
        }
        let evaluation = self.evaluate(release);
        let reason = evaluation.decision.reason();
        if let (Some(deadline), Reason::Working) = (deadline, reason) {
            self.track_deadline(name, release, deadline);
        } else {
            self.in_progress.remove(name);
        }
        self.show(name, release, &evaluation);
        if !release.failing() && reason != Reason::Overdue {
            self.wake(name, None, release.at_rest());
            self.remove(name);
            return self.healthy(release);
        }
        let stalled = matches!(reason, Reason::Stalled | Reason::TokenResent);
        if stalled && evaluation.policy.mode == Mode::Act {
            let now = self.shared.clock.now();
            let wakes = self.limits.lock().failed(name, &evaluation.cause, now);
            wake_releases(&self.queue, &self.limits, &self.shared.clock, wakes);
            report_breakers(self.cluster.reporter(), &self.limits);
        }
        let counts = !matches!(
            reason,
            Reason::Suspended | Reason::OptedOut | Reason::Deleting
        );
        let changed = self.record(
            name,
            Seen {
                version: release.metadata.resource_version.clone(),
                cause: counts.then(|| cause_of(evaluation.verdict)),
            },
        );
        let uid = release.metadata.uid.as_str();
        let queued = self.wake(name, Some(uid), release.at_rest());
        // A list also enqueues what did not change: time alone may make a restart due.
        let due = changed || seen_by == SeenBy::List && evaluation.is_actionable();
        if !queued && due && evaluation.needs_reconcile() {
            if let Some(seen) = self.failing.get_mut(name) {
                seen.version.clear();
            }
            Observation::Enqueue
        } else {
            Observation::Failing
        }
    }

    /// A release does not fail. A restart that an earlier process wrote, and that Flux works on, is followed to its
    /// outcome: it is reported, and takes a slot.
    fn healthy(&self, release: &Release) -> Observation {
        let running = || ledger::running(release, &Record::of(release)).is_some();
        if self.when == Found::AtStart && running() {
            Observation::Enqueue
        } else {
            Observation::Healthy
        }
    }

    /// A release no longer fails, or is gone.
    fn forget(&mut self, name: &ReleaseRef) {
        self.in_progress.remove(name);
        self.remove(name);
    }

    fn remove(&mut self, name: &ReleaseRef) {
        if let Some(seen) = self.failing.remove(name) {
            self.status.remove(seen.cause);
        }
    }

    /// Records that a release fails. Returns whether it has changed since it was last seen failing.
    fn record(&mut self, name: &ReleaseRef, seen: Seen) -> bool {
        self.status.add(seen.cause);
        let version = seen.version.clone();
        let Some(before) = self.failing.insert(name.clone(), seen) else {
            return true;
        };
        self.status.remove(before.cause);
        version.is_empty() || version != before.version
    }

    fn deleted(&mut self, release: &Release) {
        let name = self.name(release);
        self.wake(&name, None, true);
        self.forget(&name);
        self.board.remove(&name);
    }

    /// Wakes the release if it is in the queue. False if it is not.
    fn wake(&self, name: &ReleaseRef, failing: Option<&str>, at_rest: bool) -> bool {
        let wakeup = Wakeup {
            due: Instant::now() + DEBOUNCE,
            failing,
            at_rest,
            others_recovered_since: None,
        };
        self.queue.wake(name, wakeup)
    }

    /// Enqueues a release. Waits while the queue is full, so that no release is lost.
    async fn enqueue(&self, name: &ReleaseRef, uid: &str, due: Duration) {
        let failure = Failure {
            release: name.clone(),
            uid: Some(uid.into()),
        };
        while !self.queue.contains(name) {
            let mut item = WorkItem::new(failure.clone(), Source::Watch);
            item.known_at_start = self.when == Found::AtStart;
            match self.queue.enqueue(item, Instant::now() + due) {
                Enqueued::Queued => self.shared.metrics.found(&self.cluster.name, self.when),
                Enqueued::Full => {
                    sleep(QUEUE_FULL).await;
                    continue;
                }
                Enqueued::Merged | Enqueued::Closed => {}
            }
            break;
        }
    }

    /// Evaluates a release without the ledgers that the reconciler caches.
    fn evaluate(&self, release: &Release) -> Evaluation {
        let trigger = decide::Trigger {
            settled: true,
            ..decide::Trigger::default()
        };
        let evaluator = self.shared.evaluator(&self.cluster.name);
        let (record, now) = (Record::of(release), self.shared.clock.now());
        evaluator.evaluate(Some(release), &record, &trigger, now)
    }

    fn name(&self, release: &Release) -> ReleaseRef {
        ReleaseRef {
            cluster: Arc::clone(&self.cluster.name),
            namespace: release.metadata.namespace.as_str().into(),
            name: release.metadata.name.as_str().into(),
        }
    }
}
