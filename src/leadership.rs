//! Whether this replica acts. With leader election, one of several replicas does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What reconcilers and watchers may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Reconcile and watch.
    Acts,
    /// Finish the reconciles that run, and begin no other.
    Finishes,
    /// Do nothing: the replica is a standby, or has handed over.
    Waits,
}

/// Whether this replica acts. Without leader election, it always does. Clones share it.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Wakes those that wait in the order in which they came: `tokio::sync::watch` wakes them in a random one, and then a
    /// simulated history could not be repeated.
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// The reconcilers that may be in the middle of a write.
    busy: usize,
    /// Whether no other replica acts, as far as this one knows.
    sole: bool,
}

/// A reconciler that may be in the middle of a write, until this is dropped.
pub(crate) struct Busy(Leadership);

impl Leadership {
    /// A replica that acts from the start, or not before [`Self::set`].
    pub fn new(acts: bool) -> Self {
        let state = if acts { State::Acts } else { State::Waits };
        Self(Arc::new(Shared {
            inner: Mutex::new(Inner {
                state,
                busy: 0,
                sole: true,
            }),
            changed: Notify::new(),
        }))
    }

    /// Sets whether this replica acts. A replica that no longer acts stops in the middle of what it does: every write
    /// is a compare-and-swap.
    pub fn set(&self, acts: bool) {
        self.change(|inner| match (acts, inner.state) {
            // A replica that hands over must not begin new reconciles.
            (true, State::Finishes) => {}
            (true, _) => inner.state = State::Acts,
            (false, _) => inner.state = State::Waits,
        });
    }

    /// Sets whether no other replica acts, as far as this one knows.
    pub fn set_sole(&self, sole: bool) {
        self.change(|inner| inner.sole = sole);
    }

    /// Whether no other replica acts, as far as this one knows.
    pub fn is_sole(&self) -> bool {
        self.lock().sole
    }

    /// Finishes the reconciles that run, begins no other, and returns when none runs.
    pub async fn finish(&self) {
        self.change(|inner| {
            if inner.state == State::Acts {
                inner.state = State::Finishes;
            }
        });
        self.until(|inner| inner.busy == 0).await;
    }

    /// Whether this replica acts.
    pub fn acts(&self) -> bool {
        self.lock().state == State::Acts
    }

    /// Whether this replica must not write.
    pub fn waits(&self) -> bool {
        self.lock().state == State::Waits
    }

    /// Waits until this replica acts.
    pub(crate) async fn until_acts(&self) {
        self.until(|inner| inner.state == State::Acts).await;
    }

    /// Waits until this replica begins no further reconcile.
    pub(crate) async fn until_finishes(&self) {
        self.until(|inner| inner.state != State::Acts).await;
    }

    /// Waits until this replica is not in [`State::Finishes`]. Returns at once in any other state.
    pub(crate) async fn until_finished(&self) {
        self.until(|inner| inner.state != State::Finishes).await;
    }

    /// Waits until this replica has to stop at once.
    pub(crate) async fn until_waits(&self) {
        self.until(|inner| inner.state == State::Waits).await;
    }

    /// A reconciler begins to act.
    pub(crate) fn busy(&self) -> Busy {
        self.change(|inner| inner.busy += 1);
        Busy(self.clone())
    }

    async fn until(&self, reached: impl Fn(&Inner) -> bool) {
        loop {
            let changed = self.0.changed.notified();
            // From here on, no change is missed.
            if reached(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.lock());
        self.0.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|inner| inner.busy -= 1);
    }
}
