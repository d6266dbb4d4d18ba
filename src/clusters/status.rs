//! What a watcher sees of a cluster: how many releases fail, for which causes, and when that was last complete.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::failing::{Cause, Failing};

/// What one watcher sees of a cluster.
#[derive(Debug, Default)]
pub struct ClusterStatus(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// When every release was last known in its current state.
    up_to_date: Option<Instant>,
    counts: bool,
    /// The first list is complete, or is not allowed.
    first_list_ended: bool,
    failing: Failing,
    /// Releases that fail and are suspended or opted out.
    excluded: usize,
}

impl ClusterStatus {
    /// Every release is known in its current state.
    pub fn up_to_date(&self) {
        let mut seen = self.lock();
        seen.up_to_date = Some(Instant::now());
        seen.counts = true;
        seen.first_list_ended = true;
    }

    /// Counts one more release that fails, for this cause; without one, it is suspended or opted out.
    pub fn add(&self, cause: Option<Cause>) {
        let mut seen = self.lock();
        match cause {
            Some(cause) => seen.failing.add(cause),
            None => seen.excluded += 1,
        }
    }

    /// Takes back one [`Self::add`] with this cause.
    pub fn remove(&self, cause: Option<Cause>) {
        let mut seen = self.lock();
        match cause {
            Some(cause) => seen.failing.remove(cause),
            None => seen.excluded = seen.excluded.saturating_sub(1),
        }
    }

    /// Nothing is known: this replica does not watch.
    pub fn clear(&self) {
        let mut seen = self.lock();
        seen.failing = Failing::default();
        seen.excluded = 0;
        seen.counts = false;
        seen.first_list_ended = false;
    }

    /// Whether every release was seen, so that the counts are right.
    pub fn counts(&self) -> bool {
        self.lock().counts
    }

    /// The first list is not possible.
    pub fn cannot_list(&self) {
        self.lock().first_list_ended = true;
    }

    /// Whether the first list is complete, or not possible.
    pub fn first_list_ended(&self) -> bool {
        self.lock().first_list_ended
    }

    /// Releases that fail and are suspended or opted out.
    pub fn excluded(&self) -> usize {
        self.lock().excluded
    }

    /// The releases that fail.
    pub fn failing(&self) -> Failing {
        self.lock().failing.clone()
    }

    pub(super) fn last_up_to_date(&self, now: Timestamp) -> Option<Timestamp> {
        let up_to_date = self.lock().up_to_date;
        now.checked_sub(up_to_date?.elapsed()).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::classify::Class;

    #[test]
    fn causes_are_counted_and_told_by_class() {
        let status = ClusterStatus::default();
        let causes = [
            (Class::Permanent, "template"),
            (Class::Permanent, "immutable-field"),
            (Class::Permanent, "immutable-field"),
            (Class::Transient, "wait-timeout"),
            (Class::Transient, "connection"),
        ];
        for cause in causes {
            status.add(Some(cause));
        }
        status.remove(Some((Class::Transient, "connection")));
        status.remove(Some((Class::Unknown, "none")));
        status.add(None);
        assert_eq!(status.excluded(), 1);
        status.remove(None);
        assert_eq!(status.excluded(), 0);
        let failing = Failing::sum([status.failing(), Failing::default()]);
        assert_eq!((failing.total(), failing.of(Class::Permanent)), (4, 3));
        assert_eq!(
            failing.text(),
            "3 permanent (immutable-field 2, template 1), 1 transient (wait-timeout 1)"
        );
    }
}
