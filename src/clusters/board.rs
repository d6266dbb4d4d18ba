//! The releases of a cluster that are not ready, and those that recovered lately: what the page and the API show.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    alert::ReleaseRef,
    summary::{Band, ReleaseSummary},
};

/// The most releases that are kept for each cluster. More are only counted.
const ROWS: usize = 10_000;

/// The most releases that recovered.
const HEALED: usize = 200;

/// For so long a release that recovered is shown.
const HEALED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The releases of one cluster.
#[derive(Debug, Default)]
pub struct Board {
    inner: Mutex<Inner>,
    revision: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    rows: BTreeMap<ReleaseRef, BoardRow>,
    /// Releases that were not kept.
    omitted: usize,
    healed: VecDeque<Arc<Healed>>,
}

/// A release that is not ready.
#[derive(Clone, Debug)]
pub struct BoardRow {
    /// The release.
    pub summary: Arc<ReleaseSummary>,
    /// When it was seen so.
    pub observed: Timestamp,
}

/// A release that recovered after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healed {
    /// When that was seen.
    pub at: Timestamp,
    /// The release.
    pub release: ReleaseRef,
    /// The rule that named the cause.
    pub rule: &'static str,
    /// Restarts that it took.
    pub restarts: u32,
}

impl Board {
    /// Puts a release on the board as it was seen, or takes it off if it is ready.
    pub fn put(&self, release: &ReleaseRef, summary: ReleaseSummary, observed: Timestamp) {
        if summary.band == Band::Ready {
            return self.remove(release);
        }
        let mut inner = self.lock();
        let full = inner.rows.len() >= ROWS;
        if let Some(row) = inner.rows.get_mut(release) {
            row.observed = observed;
            if *row.summary == summary {
                return;
            }
            row.summary = Arc::new(summary);
        } else if full {
            inner.omitted += 1;
        } else {
            let summary = Arc::new(summary);
            inner
                .rows
                .insert(release.clone(), BoardRow { summary, observed });
        }
        drop(inner);
        self.changed();
    }

    /// Takes a release off the board.
    pub fn remove(&self, release: &ReleaseRef) {
        let mut inner = self.lock();
        let gone = inner.rows.remove(release).is_some();
        if !gone && inner.omitted > 0 {
            inner.omitted -= 1;
        }
        drop(inner);
        if gone {
            self.changed();
        }
    }

    /// Whether a release is on the board.
    pub fn contains(&self, release: &ReleaseRef) -> bool {
        self.lock().rows.contains_key(release)
    }

    /// A release recovered after a restart.
    pub fn healed(&self, healed: Healed) {
        let mut inner = self.lock();
        inner.healed.push_back(Arc::new(healed));
        if inner.healed.len() > HEALED {
            inner.healed.pop_front();
        }
        drop(inner);
        self.changed();
    }

    /// Nothing is known any more: this replica does not act.
    pub fn clear(&self) {
        *self.lock() = Inner::default();
        self.changed();
    }

    /// The releases that are not ready, in order of name.
    pub fn rows(&self) -> Vec<BoardRow> {
        self.lock().rows.values().cloned().collect()
    }

    /// One release that is not ready.
    pub fn row(&self, release: &ReleaseRef) -> Option<BoardRow> {
        self.lock().rows.get(release).cloned()
    }

    /// Releases that are not ready, and too many to be kept. This is an estimate: such a release may be counted twice.
    pub fn omitted(&self) -> usize {
        self.lock().omitted
    }

    /// The releases that recovered within a day, the last one first.
    pub fn all_healed(&self, now: Timestamp) -> Vec<Arc<Healed>> {
        let inner = self.lock();
        let lately = |healed: &&Arc<Healed>| now.duration_since(healed.at) <= HEALED_FOR;
        inner.healed.iter().rev().filter(lately).cloned().collect()
    }

    /// Grows with every change.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    fn changed(&self) {
        self.revision.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
