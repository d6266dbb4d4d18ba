//! The safety net: what fails although no alert said so.
//!
//! Delivery of alerts is at most once, and Flux never announces a stall. So each cluster's releases are
//! watched (or listed from time to time), and those that fail are put into the same queue as alerts.
//! Nothing is kept of a release but its name while it fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    clusters::ClusterStatus,
    config::SweepMode,
    controller::{Shared, log_breakers, releases},
    domain::{
        alert::{Failure, ReleaseRef},
        classify::Class,
        decide::{Reason, Trigger},
        evaluate::Evaluation,
        failing::{Cause, Failing, cause_of},
        ledger::Record,
        limits::Limits,
        policy::Mode,
        release::{REQUESTED_AT, Release},
    },
    isolation::{self, Panicked, Part},
    kubernetes::{Cluster, Unreadable},
    metrics::Found,
    queue::{Enqueued, Queue, Source, Wakeup, WorkItem, wake_releases},
};

/// From a change to the look it leads to: Flux writes its patches in bursts.
const BURST: Duration = Duration::from_millis(300);

/// How often everything is listed where watching is not allowed.
const WITHOUT_WATCH: Duration = Duration::from_mins(5);

/// The longest wait after errors in a row.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How long to wait for room in the queue.
const ROOM: Duration = Duration::from_secs(1);

mod follow;
mod overdue;

/// What was made of a release.
struct Made {
    /// The same again is no news.
    mark: u64,
    /// Why it fails; `None` if it is suspended or opted out.
    cause: Option<Cause>,
}

/// What a look at one release leads to.
enum Assessment {
    /// It does not fail.
    Well,
    /// It fails, and there is nothing to do about it now.
    Known,
    /// The worker should look.
    Due,
}

/// The sweep of one cluster, or of one namespace of it.
pub struct Watcher {
    cluster: Cluster,
    namespace: Option<Arc<str>>,
    queue: Arc<Queue>,
    limits: Limits,
    status: Arc<ClusterStatus>,
    /// Of all sweeps of the cluster.
    statuses: Vec<Arc<ClusterStatus>>,
    shared: Shared,
    mode: SweepMode,
    /// Releases that fail, and what was last made of each.
    failing: BTreeMap<ReleaseRef, Made>,
    /// Releases that Flux works on, with the time when that is overdue and the UID.
    in_progress: BTreeMap<ReleaseRef, (Instant, String)>,
    /// Releases that cannot be read, and were told.
    unreadable: BTreeSet<Unreadable>,
    when: Found,
    /// Errors in a row.
    errors: u32,
    /// What a person has to repair, logged once.
    said: Option<String>,
}

impl Watcher {
    /// A sweep that puts what it finds into the queue of its cluster; `outlook` is one of `outlooks`.
    pub fn new(
        cluster: Cluster,
        namespace: Option<Arc<str>>,
        queue: Arc<Queue>,
        limits: Limits,
        (status, statuses): (Arc<ClusterStatus>, Vec<Arc<ClusterStatus>>),
        shared: Shared,
        mode: SweepMode,
    ) -> Self {
        Self {
            cluster,
            namespace,
            queue,
            limits,
            status,
            statuses,
            shared,
            mode,
            failing: BTreeMap::new(),
            in_progress: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            when: Found::AtStart,
            errors: 0,
            said: None,
        }
    }

    /// Looks until it is dropped, whenever this replica is the one to.
    pub async fn run(mut self) {
        let leads = self.shared.leadership.clone();
        loop {
            leads.until(true).await;
            let metrics = self.shared.metrics.clone();
            let turn = isolation::caught(Part::Watcher, &metrics, self.turn());
            tokio::select! {
                biased;
                () = leads.until(false) => self.stand_down(),
                turned = turn => if let Err(Panicked { location }) = turned {
                    let cluster = &self.cluster.name;
                    tracing::error!(%cluster, location, "internal error in the sweep of {cluster} at {location}; it begins again; please report it");
                    sleep(LONGEST_PAUSE).await;
                }
            }
        }
    }

    /// One look or one watch, and the wait behind it.
    async fn turn(&mut self) {
        let mut moves = self.cluster.moves();
        let result = match self.mode {
            SweepMode::Off => return std::future::pending().await,
            SweepMode::Every(interval) => self.list().await.map(|_| interval),
            SweepMode::Watch => Err(self.watch().await),
        };
        let failed = result.is_err();
        let pause = result.unwrap_or_else(|error| self.trouble(&error));
        // Another API server ends the wait, and after an error other credentials do.
        tokio::select! {
            biased;
            () = moves.next() => {}
            () = self.cluster.reconnected(), if failed => {}
            () = sleep(pause) => {}
        }
    }

    /// Another replica looks from now on: what this one knew grows old.
    fn stand_down(&mut self) {
        self.failing.clear();
        self.in_progress.clear();
        self.status.clear();
        self.when = Found::AtStart;
    }

    /// A look at everything is over.
    fn complete(&mut self, failing: &BTreeSet<ReleaseRef>) {
        let gone = self
            .failing
            .extract_if(.., |release, _| !failing.contains(release));
        for (_, made) in gone {
            self.status.remove(made.cause);
        }
        self.looked();
        if self.when == Found::AtStart {
            self.when = Found::Later;
            self.tell_first_list();
        }
    }

    fn looked(&mut self) {
        self.errors = 0;
        self.status.looked();
    }

    /// What failed before this process began to look is told in one line, after the last first list of the cluster.
    fn tell_first_list(&self) {
        let ended = self.statuses.iter().all(|status| status.first_list_ended());
        let any = self.statuses.iter().any(|status| status.counts());
        if !ended || !any {
            return;
        }
        let cluster = &self.cluster.name;
        let failing = Failing::sum(self.statuses.iter().map(|status| status.failing()));
        let left: usize = self.statuses.iter().map(|status| status.left_alone()).sum();
        let total = failing.total();
        let which = if total == 0 {
            String::new()
        } else {
            format!(": {}", failing.text())
        };
        tracing::info!(%cluster, failing = total, suspended_or_opted_out = left, "first list of cluster {cluster}: {} fail{which}", releases(total));
    }

    /// Looks at one release. Its name, if it fails. A panic about one leaves the others of its page
    /// alone: that one is looked at again at the slow interval.
    async fn see(&mut self, release: &Release) -> Option<ReleaseRef> {
        let name = self.name(release);
        let metrics = self.shared.metrics.clone();
        match isolation::catch(Part::Watcher, &metrics, || self.assess(&name, release)) {
            Ok(Assessment::Well) => return None,
            Ok(Assessment::Known) => {}
            Ok(Assessment::Due) => {
                let due = self.shared.intervals.first;
                self.announce(&name, &release.metadata.uid, due).await;
            }
            Err(Panicked { location }) => {
                tracing::error!(cluster = %name.cluster, namespace = %name.namespace, name = %name.name, location, "internal error at {location} while the sweep looked at {name}; please report it");
                let offers = self.limits.lock().offers(self.shared.clock.now());
                wake_releases(&self.queue, &self.limits, &self.shared.clock, offers);
                let due = self.shared.intervals.slow;
                self.announce(&name, &release.metadata.uid, due).await;
            }
        }
        Some(name)
    }

    fn assess(&mut self, name: &ReleaseRef, release: &Release) -> Assessment {
        let deadline = release.action_deadline();
        if !release.failing() && deadline.is_none() {
            self.wake(name, None, release.at_rest());
            self.forget(name);
            return Assessment::Well;
        }
        let evaluation = self.evaluate(release);
        let why = evaluation.decision.reason();
        if let (Some(deadline), Reason::Working) = (deadline, why) {
            self.expect_end(name, release, deadline);
        } else {
            self.in_progress.remove(name);
        }
        if !release.failing() && why != Reason::Overdue {
            self.wake(name, None, release.at_rest());
            self.unmark(name);
            return Assessment::Well;
        }
        if why == Reason::Stalled && evaluation.policy.mode == Mode::Act {
            let cause = &evaluation.cause;
            let now = self.shared.clock.now();
            let wakes = self.limits.lock().failed(name, cause, now);
            wake_releases(&self.queue, &self.limits, &self.shared.clock, wakes);
            log_breakers(&self.cluster.name, &self.limits);
        }
        let mark = mark(release, &evaluation);
        let counts = !matches!(why, Reason::Suspended | Reason::OptedOut | Reason::Deleting);
        let cause = counts.then(|| cause_of(evaluation.verdict));
        let before = self.record(name, Made { mark, cause });
        let news = before.is_none_or(|before| before != mark);
        let uid = release.metadata.uid.as_str();
        if !self.wake(name, Some(uid), release.at_rest()) && needs_a_look(&evaluation, news) {
            return Assessment::Due;
        }
        Assessment::Known
    }

    /// A release fails no more, or is gone.
    fn forget(&mut self, name: &ReleaseRef) {
        self.in_progress.remove(name);
        self.unmark(name);
    }

    fn unmark(&mut self, name: &ReleaseRef) {
        if let Some(made) = self.failing.remove(name) {
            self.status.remove(made.cause);
        }
    }

    /// Records that a release fails. Returns the mark that it had before, if it failed already.
    fn record(&mut self, name: &ReleaseRef, made: Made) -> Option<u64> {
        self.status.add(made.cause);
        let before = self.failing.insert(name.clone(), made)?;
        self.status.remove(before.cause);
        Some(before.mark)
    }

    fn gone(&mut self, release: &Release) {
        let name = self.name(release);
        self.wake(&name, None, true);
        self.forget(&name);
    }

    /// Tells the queue what was seen. False if the release is not in it.
    fn wake(&self, name: &ReleaseRef, failing: Option<&str>, at_rest: bool) -> bool {
        let wakeup = Wakeup {
            due: Instant::now() + BURST,
            failing,
            at_rest,
            released: None,
        };
        self.queue.wake(name, wakeup)
    }

    /// Puts it into the queue. A full queue is waited for: nothing is lost.
    async fn announce(&self, name: &ReleaseRef, uid: &str, due: Duration) {
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
                    sleep(ROOM).await;
                    continue;
                }
                Enqueued::Merged | Enqueued::Closed => {}
            }
            break;
        }
    }

    /// What the worker would make of what is seen here.
    fn evaluate(&self, release: &Release) -> Evaluation {
        let trigger = Trigger {
            settled: true,
            ..Trigger::default()
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

/// Whether the worker should look: to act, to wait, or, where there is news, to say what a person has to
/// do.
fn needs_a_look(evaluation: &Evaluation, news: bool) -> bool {
    match evaluation.decision.reason() {
        Reason::Gone
        | Reason::Replaced
        | Reason::Deleting
        | Reason::Suspended
        | Reason::OptedOut
        | Reason::Recovered
        | Reason::Prerequisites => false,
        // A person has to know of a cause that lasts.
        Reason::FluxRetries => news && evaluation.verdict.class == Class::Permanent,
        why if why.decides() == "leave" => news,
        _ => news || evaluation.policy.mode == Mode::Act,
    }
}

/// What a look would see and say: the same again is no news.
fn mark(release: &Release, evaluation: &Evaluation) -> u64 {
    let mut hasher = DefaultHasher::new();
    evaluation.decision.reason().hash(&mut hasher);
    evaluation.policy.mode.as_str().hash(&mut hasher);
    evaluation.policy.name.hash(&mut hasher);
    evaluation.policy.limit.hash(&mut hasher);
    release.metadata.uid.hash(&mut hasher);
    release.config_key().to_string().hash(&mut hasher);
    // That Flux unconfirmed once more is no news where it goes on trying, but another cause is.
    if evaluation.decision.reason() == Reason::FluxRetries {
        evaluation.verdict.rule.hash(&mut hasher);
    } else {
        release.progress().to_string().hash(&mut hasher);
    }
    release.annotation(REQUESTED_AT).hash(&mut hasher);
    hasher.finish()
}
