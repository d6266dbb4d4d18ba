//! What a worker remembers of its own restarts, for releases that lose their ledger: whoever overwrites
//! annotations at every sync would otherwise renew the budget with each of them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::{
    alert::ReleaseRef,
    ledger::{self, Changes},
    release::Release,
};

/// How many releases are remembered for each cluster.
const REMEMBERED: usize = 4096;

/// Ledgers as they were last written by this process.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By release: the UID of the object, and what was written on it.
    ledgers: HashMap<ReleaseRef, (String, Changes)>,
    order: VecDeque<ReleaseRef>,
}

impl Memory {
    /// Remembers what a restart wrote.
    pub(super) fn keep(&self, release: &ReleaseRef, uid: &str, written: &Changes) {
        let mut inner = self.lock();
        let ledger = written
            .iter()
            .filter(|(name, _)| name.starts_with("helmreboot.io/"));
        let noted: Changes = ledger.map(|(name, value)| (*name, value.clone())).collect();
        match inner.ledgers.get_mut(release) {
            Some((known, kept)) if known == uid => kept.extend(noted),
            Some(other) => *other = (uid.to_owned(), noted),
            None => {
                let kept = (uid.to_owned(), noted);
                inner.ledgers.insert(release.clone(), kept);
                inner.order.push_back(release.clone());
            }
        }
        if inner.order.len() > REMEMBERED
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.ledgers.remove(&oldest);
        }
    }

    /// Puts a ledger that was taken away or written over back into what was observed. One of a later
    /// restart counts, for another replica may have written it.
    pub(super) fn restore(&self, name: &ReleaseRef, release: &mut Release) {
        let inner = self.lock();
        let Some((uid, kept)) = inner.ledgers.get(name) else {
            return;
        };
        let time = |text: Option<&str>| text.and_then(ledger::time_of);
        let ours = kept.get(ledger::STATE).and_then(Option::as_deref);
        let later = time(release.annotation(ledger::STATE)) > time(ours);
        if *uid != release.metadata.uid || later {
            return;
        }
        for (key, value) in kept {
            if let Some(value) = value {
                release
                    .metadata
                    .annotations
                    .insert((*key).to_owned(), value.clone());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
