//! The queue of one cluster: at most one entry for a release, each with a due time, and a bound.
//!
//! `kube::runtime::scheduler` has due times and one entry a message too, but no bound that could be
//! answered with 503, and no way to take only what is due when the service stops.

use std::{
    collections::{BTreeMap, HashMap, hash_map},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::domain::{
    alert::{Failure, ReleaseRef},
    classify::Verdict,
    decide::Why,
    ledger::{Action, Changes, TOKEN},
};

/// A release to look at.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What was said to have failed.
    pub failure: Failure,
    /// What the alert's message is worth; used where the live object is silent.
    pub verdict: Verdict,
    /// When the failure was announced.
    pub since: Instant,
    /// Looks taken for this failure.
    pub looks: u32,
    /// Looks in a row that the API server did not answer.
    pub errors: u32,
    /// The token of a restart whose end has not been seen.
    pub episode: Option<String>,
    /// A restart whose answer was lost.
    pub tried: Option<Tried>,
    /// The row that held at the last look.
    pub last: Option<Why>,
    /// Whether the long wait was reported.
    pub reported_long: bool,
}

/// A restart that was sent, and may have been written.
#[derive(Clone, Debug)]
pub struct Tried {
    /// How Flux was asked.
    pub action: Action,
    /// Its number.
    pub attempt: u32,
    /// What was to be written.
    pub changes: Changes,
}

impl Tried {
    /// The token it carries.
    pub fn token(&self) -> Option<&str> {
        self.changes.get(TOKEN)?.as_deref()
    }
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
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
    /// Since the queue was closed: what comes due until then is still given out.
    closed: Option<Instant>,
}

#[derive(Debug)]
enum Slot {
    Waiting {
        pending: Pending,
        at: (Instant, u64),
    },
    /// Being looked at; what arrives meanwhile waits here.
    Busy { next: Option<(Pending, Instant)> },
}

impl Pending {
    /// A failure that was just announced.
    pub fn new(failure: Failure, verdict: Verdict) -> Self {
        let since = Instant::now();
        Self {
            failure,
            verdict,
            since,
            looks: 0,
            errors: 0,
            episode: None,
            tried: None,
            last: None,
            reported_long: false,
        }
    }

    /// Takes over what another announcement of the same release says. The running episode goes on, and
    /// so does the wait for an API server in trouble.
    fn renew(&mut self, mut newer: Self) {
        if self.failure.uid != newer.failure.uid {
            // Alerts come in any order: which of the two objects lives now, the look will show.
            newer.failure.uid = None;
        }
        let (episode, tried) = (self.episode.take(), self.tried.take());
        *self = Self {
            episode,
            tried,
            errors: self.errors,
            ..newer
        };
    }
}

impl Queue {
    /// A queue for at most `capacity` releases.
    pub fn new(capacity: usize) -> Self {
        Self {
            inner: Mutex::default(),
            wake: Notify::new(),
            capacity,
        }
    }

    /// Offers a release, due at `due`. One that waits already comes due no later than before.
    pub fn offer(&self, pending: Pending, due: Instant) -> Admission {
        let admission = self.lock().offer(pending, due, self.capacity);
        self.wake.notify_one();
        admission
    }

    /// Waits for the next entry that is due and takes it. After [`Self::close`]: what is due within the
    /// grace, then `None`.
    pub async fn next(&self) -> Option<Pending> {
        loop {
            let wake = self.wake.notified();
            let next_due = {
                let mut inner = self.lock();
                let next_due = inner.due.first_key_value().map(|((due, _), _)| *due);
                if next_due.is_some_and(|due| due <= Instant::now()) {
                    if let Some(pending) = inner.take_first() {
                        return Some(pending);
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

    /// Puts back an entry taken with [`Self::next`].
    pub fn again(&self, mut pending: Pending, mut due: Instant) {
        let mut inner = self.lock();
        if let Some(Slot::Busy {
            next: Some((newer, at)),
        }) = inner.entries.remove(&pending.failure.release)
        {
            pending.renew(newer);
            due = due.min(at);
        }
        inner.insert(pending, due);
        drop(inner);
        self.wake.notify_one();
    }

    /// Drops an entry taken with [`Self::next`], unless it was announced again meanwhile.
    pub fn done(&self, pending: Pending) {
        let mut inner = self.lock();
        if let Some(Slot::Busy {
            next: Some((newer, at)),
        }) = inner.entries.remove(&pending.failure.release)
        {
            inner.insert(newer, at);
            drop(inner);
            self.wake.notify_one();
        }
    }

    /// Takes nothing more. What comes due within `grace` can still be taken out: an alert that was
    /// accepted a moment ago is not forgotten.
    pub fn close(&self, grace: Duration) {
        self.lock().closed = Some(Instant::now() + grace);
        self.wake.notify_one();
    }

    /// Releases in the queue.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
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
    fn offer(&mut self, pending: Pending, due: Instant, capacity: usize) -> Admission {
        if self.closed.is_some() {
            return Admission::Closed;
        }
        let full = self.entries.len() >= capacity;
        match self.entries.entry(pending.failure.release.clone()) {
            hash_map::Entry::Occupied(mut slot) => {
                match slot.get_mut() {
                    Slot::Waiting {
                        pending: waiting,
                        at,
                    } => {
                        waiting.renew(pending);
                        if due < at.0
                            && waiting.errors == 0
                            && let Some(release) = self.due.remove(at)
                        {
                            at.0 = due;
                            self.due.insert(*at, release);
                        }
                    }
                    Slot::Busy { next } => {
                        let due = next.as_ref().map_or(due, |(_, earlier)| due.min(*earlier));
                        *next = Some((pending, due));
                    }
                }
                Admission::Merged
            }
            hash_map::Entry::Vacant(_) if full => Admission::Full,
            hash_map::Entry::Vacant(_) => {
                self.insert(pending, due);
                Admission::Queued
            }
        }
    }

    fn insert(&mut self, pending: Pending, due: Instant) {
        let at = (due, self.arrivals);
        self.arrivals += 1;
        self.due.insert(at, pending.failure.release.clone());
        self.entries.insert(
            pending.failure.release.clone(),
            Slot::Waiting { pending, at },
        );
    }

    fn take_first(&mut self) -> Option<Pending> {
        let (_, release) = self.due.pop_first()?;
        match self.entries.insert(release, Slot::Busy { next: None })? {
            Slot::Waiting { pending, .. } => Some(pending),
            Slot::Busy { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(name: &str) -> Pending {
        let release = ReleaseRef {
            cluster: "a".into(),
            namespace: "apps".into(),
            name: name.into(),
        };
        Pending::new(Failure { release, uid: None }, Verdict::UNKNOWN)
    }

    fn soon(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn entries_come_in_the_order_they_are_due() {
        let queue = Queue::new(9);
        for (name, due) in [("late", 9), ("first", 1), ("second", 1)] {
            assert_eq!(queue.offer(pending(name), soon(due)), Admission::Queued);
        }
        for name in ["first", "second", "late"] {
            assert_eq!(
                &*queue.next().await.expect("an entry").failure.release.name,
                name
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_has_one_entry_and_a_second_alert_only_brings_it_forward() {
        let queue = Queue::new(1);
        queue.offer(pending("web"), soon(60));
        assert_eq!(queue.offer(pending("web"), soon(2)), Admission::Merged);
        assert_eq!(queue.offer(pending("web"), soon(600)), Admission::Merged);
        assert_eq!(queue.offer(pending("other"), soon(2)), Admission::Full);
        let start = Instant::now();
        queue.next().await.expect("an entry");
        assert_eq!(start.elapsed().as_secs(), 2);
        assert_eq!(queue.len(), 1, "an entry that is looked at keeps its place");
    }

    #[tokio::test(start_paused = true)]
    async fn an_alert_during_a_look_leads_to_another_look() {
        let queue = Queue::new(9);
        queue.offer(pending("web"), soon(0));
        let taken = queue.next().await.expect("an entry");
        queue.offer(pending("web"), soon(2));
        queue.done(taken);
        let taken = queue.next().await.expect("the second entry");
        queue.done(taken);
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_objects_of_one_name_neither_alert_decides_which_lives() {
        let queue = Queue::new(9);
        for uid in ["new", "old"] {
            let mut pending = pending("web");
            pending.failure.uid = Some(uid.into());
            queue.offer(pending, soon(1));
        }
        assert_eq!(queue.next().await.expect("an entry").failure.uid, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_gives_out_what_is_due_and_takes_nothing() {
        let queue = Queue::new(9);
        queue.offer(pending("due"), soon(0));
        queue.offer(pending("later"), soon(60));
        queue.offer(pending("soon"), soon(2));
        queue.close(Duration::from_secs(3));
        assert_eq!(queue.offer(pending("new"), soon(0)), Admission::Closed);
        assert_eq!(
            &*queue.next().await.expect("an entry").failure.release.name,
            "due"
        );
        assert_eq!(
            &*queue.next().await.expect("an entry").failure.release.name,
            "soon"
        );
        assert!(queue.next().await.is_none());
    }
}
