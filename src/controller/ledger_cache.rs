//! The ledgers that this process wrote. A client that overwrites annotations at every sync would otherwise renew the
//! budget each time.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::{
    alert::ReleaseRef,
    ledger::{self, Changes, PREFIX, Record},
    release::Release,
};

/// The most releases that are kept for each cluster.
const CAPACITY: usize = 4096;

/// What this process wrote last on each release.
#[derive(Debug, Default)]
pub(super) struct LedgerCache(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// For each release: the UID of the object, and the changes that were written on it.
    ledgers: HashMap<ReleaseRef, (String, Changes)>,
    /// The oldest first.
    order: VecDeque<ReleaseRef>,
}

impl LedgerCache {
    /// Keeps the changes that were written on a release.
    pub(super) fn keep(&self, release: &ReleaseRef, uid: &str, written: &Changes) {
        let mut inner = self.lock();
        let ledger = written.iter().filter(|(name, _)| name.starts_with(PREFIX));
        let ledger: Changes = ledger.map(|(name, value)| (*name, value.clone())).collect();
        match inner.ledgers.get_mut(release) {
            Some((known, kept)) if known == uid => kept.extend(ledger),
            Some(other) => *other = (uid.to_owned(), ledger),
            None => {
                let kept = (uid.to_owned(), ledger);
                inner.ledgers.insert(release.clone(), kept);
                inner.order.push_back(release.clone());
            }
        }
        if inner.order.len() > CAPACITY
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.ledgers.remove(&oldest);
        }
    }

    /// The ledger of a release: what it carries, and what this process wrote on it and another client removed or
    /// replaced.
    pub(super) fn record(&self, name: &ReleaseRef, release: &Release) -> Record {
        let mut record = self.merged(name, release);
        // Configurations between which a release alternates share one budget.
        if let Some(changes) = ledger::note_return(release, &record) {
            self.keep(name, &release.metadata.uid, &changes);
            record = self.merged(name, release);
        }
        record
    }

    fn merged(&self, name: &ReleaseRef, release: &Release) -> Record {
        let mut record = Record::of(release);
        let inner = self.lock();
        let Some((uid, kept)) = inner.ledgers.get(name) else {
            return record;
        };
        let time = |text: Option<&str>| text.and_then(ledger::time_of);
        let own = kept.get(ledger::STATE).and_then(Option::as_deref);
        // Another replica may have written a ledger of a later restart.
        let later = time(record.get(ledger::STATE)) > time(own);
        if *uid == release.metadata.uid && !later {
            record.apply(kept);
        }
        record
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        *self.lock() = Inner::default();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
