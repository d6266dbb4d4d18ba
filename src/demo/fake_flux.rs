//! A helm-controller and a notification-controller, reduced to what they were seen to do
//! (`tests/fixtures/stories`; `tests/it/fake_flux.rs` holds this to them): tokens, counters, stalls,
//! remediation, swallowed resets, and alerts that come before the status.
//!
//! Its one chart is the recorded one: `spec.values.mode` says how it behaves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use super::fake_cluster::{FakeCluster, Key};
use crate::{clock::Clock, domain::release::REQUESTED_AT};

pub use crate::http_client::Transport;

mod actions;
mod chart;
mod notify;
mod object;
mod receive;
mod reconcile;

pub use chart::Era;
use chart::Helm;
pub use notify::{Alert, Notifier, Provider, over_http};
pub use receive::{EventReceiver, Message};

/// The controllers of one cluster. Clones share them.
#[derive(Clone)]
pub struct FakeFlux {
    cluster: FakeCluster,
    notifier: Notifier,
    clock: Clock,
    era: Era,
    /// How many times faster than the recorded Flux everything goes.
    speed: f64,
    world: Arc<Mutex<World>>,
    /// Wakes up what waits for helm-controller to be there again.
    started: Arc<Notify>,
    /// Wakes up the work on one release.
    wakes: Arc<Mutex<BTreeMap<Key, Arc<Notify>>>>,
}

/// What is true outside of Flux.
#[derive(Debug, Default)]
struct World {
    /// Releases whose cause of failure has gone away.
    removed_causes: BTreeSet<Key>,
    /// helm-controller is not there.
    stopped: bool,
    /// Dependencies that are not ready, by `namespace/name`.
    unready: BTreeSet<Key>,
    /// What Helm has stored.
    storage: BTreeMap<Key, Helm>,
    /// Values that come from a ConfigMap (`spec.valuesFrom`), as text.
    values_from: BTreeMap<Key, String>,
    /// When Helm ran.
    runs: BTreeMap<Key, Vec<Timestamp>>,
}

/// When to reconcile again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Requeue {
    /// Nothing until something changes: done, or stalled.
    Never,
    /// Again after that time.
    After(Duration),
    /// Again after the controller's own growing back-off.
    Backoff,
    /// The same, after the 10 s in which the controller waits for its cache.
    BackoffAfterAction,
}

/// `--min-retry-delay` of helm-controller.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(750);
/// `--max-retry-delay` of helm-controller.
const MAX_RETRY_DELAY: Duration = Duration::from_mins(15);
/// How long the controller waits for its cache after an action.
const CACHE_WAIT: Duration = Duration::from_secs(10);

impl FakeFlux {
    /// Controllers for a cluster; alerts go out through `notifier`.
    pub fn new(
        cluster: FakeCluster,
        notifier: Notifier,
        clock: Clock,
        era: Era,
        speed: f64,
    ) -> Self {
        Self {
            cluster,
            notifier,
            clock,
            era,
            speed,
            world: Arc::default(),
            started: Arc::default(),
            wakes: Arc::default(),
        }
    }

    /// The cause of the release's failure goes away.
    pub fn remove_cause(&self, key: &Key) {
        self.world().removed_causes.insert(key.clone());
    }

    /// The cause comes back.
    pub fn ail(&self, key: &Key) {
        self.world().removed_causes.remove(key);
    }

    /// helm-controller stops, or starts again and reconciles what has changed since.
    pub fn set_running(&self, running: bool) {
        self.world().stopped = !running;
        self.started.notify_waiters();
    }

    /// A dependency is ready, or not.
    pub fn set_ready(&self, key: &Key, ready: bool) {
        let mut world = self.world();
        if ready {
            world.unready.remove(key)
        } else {
            world.unready.insert(key.clone())
        };
    }

    /// Values of the release that come from a ConfigMap change. helm-controller watches it (label
    /// `reconcile.fluxcd.io/watch: Enabled`), and the generation stays what it was.
    pub fn set_values_from(&self, key: &Key, values: &str) {
        self.world()
            .values_from
            .insert(key.clone(), values.to_owned());
        let wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wake) = wakes.get(key) {
            wake.notify_one();
        }
    }

    /// When Helm installed or upgraded the release, whatever came of it.
    pub fn runs(&self, key: &Key) -> Vec<Timestamp> {
        self.world().runs.get(key).cloned().unwrap_or_default()
    }

    /// The alerts that went out.
    pub fn alerts(&self) -> Vec<Alert> {
        self.notifier.alerts()
    }

    /// Reconciles until it is dropped.
    pub async fn run(self) {
        let mut known: BTreeMap<Key, (String, Arc<Notify>)> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let mut writes = self.cluster.writes();
        let mut read = 0;
        loop {
            writes.caught_up();
            let changes = self.cluster.changes(read);
            read += changes.len();
            for change in changes
                .into_iter()
                .filter(|change| change.kind != "DELETED")
            {
                let (key, mark) = (change.key, waking(&change.object));
                match known.get_mut(&key) {
                    Some((old, _)) if *old == mark => {}
                    Some((old, wake)) => {
                        *old = mark;
                        wake.notify_one();
                    }
                    None => {
                        let wake = Arc::new(Notify::new());
                        wake.notify_one();
                        tasks.spawn(self.clone().work(key.clone(), Arc::clone(&wake)));
                        let mut wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
                        wakes.insert(key.clone(), Arc::clone(&wake));
                        drop(wakes);
                        known.insert(key, (mark, wake));
                    }
                }
            }
            writes.next().await;
        }
    }

    /// The work queue of one release: what comes during a reconciliation is kept, not lost.
    async fn work(self, key: Key, wake: Arc<Notify>) {
        let mut timer: Option<Instant> = None;
        let mut failures = 0;
        loop {
            tokio::select! {
                biased;
                () = wake.notified() => {}
                () = tokio::time::sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {}
            }
            loop {
                let started = self.started.notified();
                if !self.world().stopped {
                    break;
                }
                started.await;
            }
            let requeue = self.reconcile(&key).await;
            failures = if matches!(requeue, Requeue::Backoff | Requeue::BackoffAfterAction) {
                failures + 1
            } else {
                0
            };
            let backoff =
                || (MIN_RETRY_DELAY * 2_u32.pow((failures - 1).min(20))).min(MAX_RETRY_DELAY);
            let delay = match requeue {
                Requeue::Never => None,
                Requeue::After(delay) => Some(delay),
                Requeue::Backoff => Some(backoff()),
                Requeue::BackoffAfterAction => Some(CACHE_WAIT + backoff()),
            };
            timer = delay.map(|delay| Instant::now() + delay.div_f64(self.speed));
        }
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration.div_f64(self.speed)).await;
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What wakes helm-controller up: a new generation, deletion, or a changed value of `requestedAt`.
fn waking(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!(
        "{}|{}|{}",
        metadata["generation"],
        metadata["deletionTimestamp"],
        metadata["annotations"][REQUESTED_AT]
    )
}
