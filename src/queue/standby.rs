//! The queue of a replica that does not act: it keeps the alerts of the last minutes for the time when the replica acts.

use tokio::time::Instant;

use super::{Enqueued, Inner, Queue, Slot, WorkItem};

impl Queue {
    /// Keeps a release. Items that were enqueued before `since` are forgotten, and the oldest one where the queue is full:
    /// the leader reconciles these releases, or the first list of this replica finds them.
    pub fn keep(&self, item: WorkItem, due: Instant, since: Option<Instant>) -> Enqueued {
        let mut inner = self.lock();
        since.inspect(|since| inner.forget_before(*since));
        let known = inner.entries.contains_key(&item.failure.release);
        if !known && inner.not_reconciled >= self.capacity {
            inner.forget_oldest();
        }
        inner.enqueue(item, due, self.capacity)
    }

    /// Forgets the items that were enqueued before `since`.
    pub fn forget_before(&self, since: Instant) {
        self.lock().forget_before(since);
    }

    /// Forgets all items.
    pub fn clear(&self) {
        let mut inner = self.lock();
        let closed = inner.closed;
        *inner = Inner {
            closed,
            ..Inner::default()
        };
    }
}

impl Inner {
    fn forget_oldest(&mut self) {
        let oldest = self
            .due
            .values()
            .filter_map(|release| match self.entries.get(release) {
                Some(Slot::Waiting { item, .. }) => Some((item.since, release)),
                _ => None,
            });
        if let Some((since, _)) = oldest.min_by_key(|(since, _)| *since) {
            self.forget_before(since + std::time::Duration::from_nanos(1));
        }
    }

    fn forget_before(&mut self, since: Instant) {
        let (entries, not_reconciled) = (&mut self.entries, &mut self.not_reconciled);
        self.due.retain(|_, release| {
            let old =
                |slot: &Slot| matches!(slot, Slot::Waiting { item, .. } if item.since < since);
            if !entries.get(release).is_some_and(old) {
                return true;
            }
            if let Some(Slot::Waiting { item, .. }) = entries.remove(release) {
                *not_reconciled -= usize::from(item.reconciles == 0);
            }
            false
        });
    }
}
