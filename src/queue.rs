//! The work queue of one cluster: at most one item for each release, each with a due time; limited in size.
//!
//! `kube::runtime::scheduler` has due times and one entry a message too, but no bound that could be
//! answered with 503, and no way to take only what is due when the service stops.

use std::{
    collections::{BTreeMap, HashMap, hash_map},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::Notify, time::Instant};

use crate::domain::alert::{Failure, ReleaseRef};

mod standby;
mod wake;
mod work_item;
pub use wake::wake_releases;
pub use work_item::{RunningRestart, Source, UnconfirmedPatch, WorkItem};

/// Something about a release has changed.
#[derive(Clone, Copy, Debug)]
pub struct Wakeup<'a> {
    /// Reconcile no later than then.
    pub due: Instant,
    /// It fails, with this UID. A reconcile that runs may have read the release before that.
    pub failing: Option<&'a str>,
    /// Flux does not work on it now. While it works, a reconcile would have nothing to do.
    pub at_rest: bool,
    /// A restart that began then helped another with the same cause: if this one was given up before,
    /// it may come back before its time. By the clock of this process.
    pub others_recovered_since: Option<Timestamp>,
}

/// What arrived during a reconcile.
#[derive(Clone, Copy, Debug, Default)]
struct Wakeups {
    /// Reconcile again no later than then, if there is another reconcile at all.
    sooner: Option<Instant>,
    /// Reconcile again in any case.
    again: Option<Instant>,
    others_recovered_since: Option<Timestamp>,
}

/// The result of [`Queue::enqueue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// A new entry.
    Queued,
    /// The release was in the queue already.
    Merged,
    /// The queue is full.
    Full,
    /// The service is shutting down.
    Closed,
}

/// The entries of one cluster.
#[derive(Debug)]
pub struct Queue {
    inner: Mutex<Inner>,
    wake: Notify,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<ReleaseRef, Slot>,
    /// Due time and order of arrival -> entry. Iteration happens here only, so that it has an order.
    due: BTreeMap<(Instant, u64), ReleaseRef>,
    arrivals: u64,
    /// Items that were not reconciled yet. Only these are bounded: an alert may name a release that does not exist.
    /// Releases that exist are bounded by the cluster.
    not_reconciled: usize,
    /// Since the queue was closed: what comes due until then is still given out.
    closed: Option<Instant>,
}

#[derive(Debug)]
enum Slot {
    Waiting {
        item: WorkItem,
        at: (Instant, u64),
    },
    /// Being reconciled. What arrives meanwhile waits here.
    Reconciling {
        next: Option<(WorkItem, Instant)>,
        wakeups: Wakeups,
    },
}

impl Queue {
    /// A queue for at most `capacity` releases that were not reconciled yet.
    pub fn new(capacity: usize) -> Self {
        Self {
            inner: Mutex::default(),
            wake: Notify::new(),
            capacity,
        }
    }

    /// Enqueues a release that is due at `due`. A waiting item keeps its due time if that is earlier.
    pub fn enqueue(&self, item: WorkItem, due: Instant) -> Enqueued {
        let admission = self.lock().enqueue(item, due, self.capacity);
        self.wake.notify_one();
        admission
    }

    /// Waits for the next entry that is due and takes it. After [`Self::close`]: what is due within the
    /// grace, then `None`.
    pub async fn next(&self) -> Option<WorkItem> {
        loop {
            let wake = self.wake.notified();
            let next_due = {
                let mut inner = self.lock();
                let next_due = inner.due.first_key_value().map(|((due, _), _)| *due);
                if next_due.is_some_and(|due| due <= Instant::now()) {
                    if let Some(item) = inner.take_first() {
                        return Some(item);
                    }
                } else if let Some(end) = inner.closed
                    && next_due.is_none_or(|due| due > end)
                {
                    return None;
                }
                next_due
            };
            match next_due {
                Some(due) => tokio::select! {
                    biased;
                    () = wake => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => wake.await,
            }
        }
    }

    /// Takes a wakeup about a release that is in the queue. False if it is not.
    pub fn wake(&self, release: &ReleaseRef, wakeup: Wakeup<'_>) -> bool {
        let known = self.lock().wake(release, wakeup);
        self.wake.notify_one();
        known
    }

    /// Makes all items due at `due`, for example at the end of a pause.
    pub fn wake_all(&self, due: Instant) {
        let mut inner = self.lock();
        let mut all: Vec<_> = inner.entries.keys().cloned().collect();
        all.sort();
        let wakeup = Wakeup {
            due,
            failing: None,
            at_rest: true,
            others_recovered_since: None,
        };
        for release in all {
            inner.wake(&release, wakeup);
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// The API server can be reached in another way than before: what waited because of errors is due.
    pub fn retry_all(&self, due: Instant) {
        let mut inner = self.lock();
        let mut all: Vec<_> = inner.entries.keys().cloned().collect();
        all.sort();
        for release in all {
            let Some(Slot::Waiting { item, at }) = inner.entries.get_mut(&release) else {
                continue;
            };
            if item.errors == 0 || at.0 <= due {
                continue;
            }
            item.errors = 0;
            let (old, new) = (*at, (due, at.1));
            *at = new;
            if let Some(release) = inner.due.remove(&old) {
                inner.due.insert(new, release);
            }
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Puts back an item taken with [`Self::next`].
    pub fn requeue(&self, mut item: WorkItem, mut due: Instant) {
        let mut inner = self.lock();
        let release = &item.failure.release;
        if let Some(Slot::Reconciling { next, wakeups }) = inner.entries.remove(release) {
            if wakeups.again.is_some() {
                // What fails may be another object of the same name.
                item.failure.uid = None;
            }
            let sooner = [wakeups.sooner, wakeups.again].into_iter().flatten().min();
            due = sooner.map_or(due, |sooner| due.min(sooner));
            item.others_recovered_since = item
                .others_recovered_since
                .max(wakeups.others_recovered_since);
            if let Some((newer, at)) = next {
                item.renew(newer);
                due = due.min(at);
            }
        }
        inner.insert(item, due);
        drop(inner);
        self.wake.notify_one();
    }

    /// Removes an item taken with [`Self::next`], unless a newer item or a wakeup arrived meanwhile.
    pub fn finish(&self, item: WorkItem) {
        let mut inner = self.lock();
        let Some(Slot::Reconciling { next, wakeups }) = inner.entries.remove(&item.failure.release)
        else {
            return;
        };
        let next = match (next, wakeups.again) {
            (Some((mut newer, at)), Some(again)) => {
                // What fails may be another object of the same name.
                newer.failure.uid = None;
                Some((newer, at.min(again)))
            }
            (None, Some(again)) => {
                let mut fresh = WorkItem::new(item.failure, Source::Watch);
                fresh.failure.uid = None;
                Some((fresh, again))
            }
            (next, None) => next,
        };
        if let Some((newer, at)) = next {
            inner.insert(newer, at);
            drop(inner);
            self.wake.notify_one();
        }
    }

    /// Puts back, due at `due`, the releases that were taken out and not returned because of a panic.
    pub fn recover(&self, due: Instant) {
        let mut inner = self.lock();
        let lost: Vec<_> = inner
            .entries
            .iter()
            .filter(|(_, slot)| matches!(slot, Slot::Reconciling { .. }))
            .map(|(release, _)| release.clone())
            .collect();
        for release in lost {
            let failure = Failure { release, uid: None };
            inner.insert(WorkItem::new(failure, Source::Watch), due);
        }
    }

    /// Takes nothing more. What comes due within `grace` can still be taken out: an alert that was
    /// accepted a moment ago is not forgotten.
    pub fn close(&self, grace: Duration) {
        self.lock().closed = Some(Instant::now() + grace);
        self.wake.notify_one();
    }

    /// Whether a release is in the queue.
    pub fn contains(&self, release: &ReleaseRef) -> bool {
        self.lock().entries.contains_key(release)
    }

    /// Releases in the queue.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether each release in it has been reconciled, and none is being reconciled.
    pub fn is_settled(&self) -> bool {
        let inner = self.lock();
        let mut entries = inner.entries.values();
        entries.all(|slot| matches!(slot, Slot::Waiting { item, .. } if item.reconciles > 0))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn enqueue(&mut self, item: WorkItem, due: Instant, capacity: usize) -> Enqueued {
        if self.closed.is_some() {
            return Enqueued::Closed;
        }
        let full = self.not_reconciled >= capacity;
        match self.entries.entry(item.failure.release.clone()) {
            hash_map::Entry::Occupied(mut slot) => {
                match slot.get_mut() {
                    Slot::Waiting { item: waiting, at } => {
                        self.not_reconciled += usize::from(waiting.reconciles > 0);
                        waiting.renew(item);
                        if due < at.0
                            && waiting.errors == 0
                            && let Some(release) = self.due.remove(at)
                        {
                            at.0 = due;
                            self.due.insert(*at, release);
                        }
                    }
                    Slot::Reconciling { next, .. } => {
                        let due = next.as_ref().map_or(due, |(_, earlier)| due.min(*earlier));
                        *next = Some((item, due));
                    }
                }
                Enqueued::Merged
            }
            hash_map::Entry::Vacant(_) if full => Enqueued::Full,
            hash_map::Entry::Vacant(_) => {
                self.insert(item, due);
                Enqueued::Queued
            }
        }
    }

    fn insert(&mut self, item: WorkItem, due: Instant) {
        let at = (due, self.arrivals);
        self.arrivals += 1;
        self.not_reconciled += usize::from(item.reconciles == 0);
        self.due.insert(at, item.failure.release.clone());
        self.entries
            .insert(item.failure.release.clone(), Slot::Waiting { item, at });
    }

    fn take_first(&mut self) -> Option<WorkItem> {
        let (_, release) = self.due.pop_first()?;
        let busy = Slot::Reconciling {
            next: None,
            wakeups: Wakeups::default(),
        };
        match self.entries.insert(release, busy)? {
            Slot::Waiting { item, .. } => {
                self.not_reconciled -= usize::from(item.reconciles == 0);
                Some(item)
            }
            Slot::Reconciling { .. } => None,
        }
    }

    fn wake(&mut self, release: &ReleaseRef, wakeup: Wakeup<'_>) -> bool {
        match self.entries.get_mut(release) {
            None => return false,
            Some(Slot::Reconciling { wakeups, .. }) => {
                let earlier = |known: Option<Instant>| {
                    Some(known.map_or(wakeup.due, |known| known.min(wakeup.due)))
                };
                if wakeup.failing.is_some() {
                    wakeups.again = earlier(wakeups.again);
                } else if wakeup.at_rest {
                    wakeups.sooner = earlier(wakeups.sooner);
                }
                wakeups.others_recovered_since = wakeups
                    .others_recovered_since
                    .max(wakeup.others_recovered_since);
            }
            Some(Slot::Waiting { item, at }) => {
                item.others_recovered_since = item
                    .others_recovered_since
                    .max(wakeup.others_recovered_since);
                let uid = item.failure.uid.as_deref();
                if wakeup
                    .failing
                    .is_some_and(|now| uid.is_some_and(|uid| uid != now))
                {
                    // An object with another UID has the name now, and fails.
                    item.failure.uid = None;
                    item.source = Source::Watch;
                }
                // After errors of the API server, the backoff is kept.
                if wakeup.at_rest
                    && wakeup.due < at.0
                    && item.errors == 0
                    && let Some(release) = self.due.remove(at)
                {
                    at.0 = wakeup.due;
                    self.due.insert(*at, release);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
