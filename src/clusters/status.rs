//! What the sweep of a cluster sees: how many releases fail, for which causes, and when all were last looked at.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::failing::{Cause, Failing};

/// What one sweep sees of a cluster.
#[derive(Debug, Default)]
pub struct ClusterStatus(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// When all releases were last known to have been looked at.
    looked: Option<Instant>,
    counts: bool,
    /// The first list came through, or is not allowed.
    first_list_ended: bool,
    failing: Failing,
    /// Releases that fail and are suspended or opted out.
    left_alone: usize,
}

impl ClusterStatus {
    /// All releases have been looked at.
    pub fn looked(&self) {
        let mut seen = self.lock();
        seen.looked = Some(Instant::now());
        seen.counts = true;
        seen.first_list_ended = true;
    }

    /// Counts one more release that fails, for this cause; without one, it is suspended or opted out.
    pub fn add(&self, cause: Option<Cause>) {
        let mut seen = self.lock();
        match cause {
            Some(cause) => seen.failing.add(cause),
            None => seen.left_alone += 1,
        }
    }

    /// Takes back one [`Self::add`] with this cause.
    pub fn remove(&self, cause: Option<Cause>) {
        let mut seen = self.lock();
        match cause {
            Some(cause) => seen.failing.remove(cause),
            None => seen.left_alone = seen.left_alone.saturating_sub(1),
        }
    }

    /// No release is known to fail, for none is looked at.
    pub fn clear(&self) {
        let mut seen = self.lock();
        seen.failing = Failing::default();
        seen.left_alone = 0;
        seen.counts = false;
        seen.first_list_ended = false;
    }

    /// Whether all releases were looked at, and what fails is counted.
    pub fn counts(&self) -> bool {
        self.lock().counts
    }

    /// The first list is not possible as things are.
    pub fn cannot_list(&self) {
        self.lock().first_list_ended = true;
    }

    /// Whether the first list came through, or is not possible.
    pub fn first_list_ended(&self) -> bool {
        self.lock().first_list_ended
    }

    /// Releases that fail and are suspended or opted out.
    pub fn left_alone(&self) -> usize {
        self.lock().left_alone
    }

    /// The releases that fail.
    pub fn failing(&self) -> Failing {
        self.lock().failing.clone()
    }

    pub(super) fn looked_at(&self, now: Timestamp) -> Option<Timestamp> {
        let looked = self.lock().looked;
        now.checked_sub(looked?.elapsed()).ok()
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
        assert_eq!(status.left_alone(), 1);
        status.remove(None);
        assert_eq!(status.left_alone(), 0);
        let failing = Failing::sum([status.failing(), Failing::default()]);
        assert_eq!((failing.total(), failing.of(Class::Permanent)), (4, 3));
        assert_eq!(
            failing.text(),
            "3 permanent (immutable-field 2, template 1), 1 transient (wait-timeout 1)"
        );
    }
}
