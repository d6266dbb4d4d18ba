//! A bounded record of what happened.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;

use super::alert::ReleaseRef;

/// What a fact is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One release.
    Release(ReleaseRef),
    /// A cluster as a whole, by its name.
    Cluster(Arc<str>),
}

impl Subject {
    /// The name of the cluster.
    pub fn cluster(&self) -> &str {
        match self {
            Self::Release(release) => &release.cluster,
            Self::Cluster(cluster) => cluster,
        }
    }

    /// The release, unless it is about the cluster as a whole.
    pub fn release(&self) -> Option<&ReleaseRef> {
        match self {
            Self::Release(release) => Some(release),
            Self::Cluster(_) => None,
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// To what.
    pub about: Subject,
    /// [`super::report::Report::words`] or [`super::report::ClusterFact::words`].
    pub what: &'static str,
    /// The second of these words.
    pub reason: &'static str,
    /// The rule that named the cause.
    pub rule: &'static str,
    /// Restarts charged so far.
    pub attempt: u32,
    /// The line of the log.
    pub line: String,
}

/// The last [`Journal::CAPACITY`] entries, numbered without gaps.
#[derive(Debug, Default)]
pub struct Journal(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    first: u64,
    entries: VecDeque<Entry>,
}

impl Journal {
    /// How many entries are kept.
    pub const CAPACITY: usize = 1024;

    /// Adds an entry; the oldest makes room.
    pub fn push(&self, entry: Entry) {
        let mut inner = self.lock();
        if inner.entries.len() == Self::CAPACITY {
            inner.entries.pop_front();
            inner.first += 1;
        }
        inner.entries.push_back(entry);
    }

    /// The entries from number `from` on that are still kept, and the number of the next entry.
    pub fn since(&self, from: u64) -> (Vec<Entry>, u64) {
        let inner = self.lock();
        let skip = usize::try_from(from.saturating_sub(inner.first)).unwrap_or(usize::MAX);
        let entries = inner.entries.iter().skip(skip).cloned().collect();
        (entries, inner.first + inner.entries.len() as u64)
    }

    /// At most so many entries from number `from` on, and the number of the entry after them.
    pub fn page(&self, from: u64, most: usize) -> (Vec<Entry>, u64) {
        let inner = self.lock();
        let begins = from.max(inner.first);
        let skip = usize::try_from(begins - inner.first).unwrap_or(usize::MAX);
        let entries = inner.entries.iter().skip(skip).take(most);
        let entries: Vec<_> = entries.cloned().collect();
        let end = begins + entries.len() as u64;
        (entries, end)
    }

    /// The number of the next entry.
    pub fn next(&self) -> u64 {
        let inner = self.lock();
        inner.first + inner.entries.len() as u64
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_make_room_and_numbers_stay() {
        let journal = Journal::default();
        let release = ReleaseRef {
            cluster: "a".into(),
            namespace: "n".into(),
            name: "r".into(),
        };
        for attempt in 0..1030 {
            let at = Timestamp::UNIX_EPOCH;
            journal.push(Entry {
                at,
                about: Subject::Release(release.clone()),
                what: "wait",
                reason: "working",
                rule: "none",
                attempt,
                line: String::new(),
            });
        }
        let (kept, next) = journal.since(0);
        assert_eq!((kept.len(), kept[0].attempt, next), (1024, 6, 1030));
        assert_eq!(journal.since(1029).0.len(), 1);
        assert_eq!(journal.since(next).0.len(), 0);
        let (page, end) = journal.page(0, 10);
        assert_eq!((page[0].attempt, page.len(), end), (6, 10, 16));
        let (page, end) = journal.page(1025, 10);
        assert_eq!((page[0].attempt, page.len(), end), (1025, 5, next));
    }
}
