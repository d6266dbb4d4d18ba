//! Releases on which Flux works for longer than their timeouts allow. The API server sends no event about that.

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Seen, Watcher};
use crate::domain::{alert::ReleaseRef, classify::Verdict, failing::cause_of, release::Release};

impl Watcher {
    /// Flux works on a release. After the deadline that is overdue.
    pub(super) fn track_deadline(
        &mut self,
        name: &ReleaseRef,
        release: &Release,
        deadline: Timestamp,
    ) {
        let left = deadline.duration_since(self.shared.clock.now());
        let at = Instant::now() + left.try_into().unwrap_or_default();
        let uid = release.metadata.uid.clone();
        self.in_progress.insert(name.clone(), (at, uid));
    }

    /// The first deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.in_progress.values().map(|(at, _)| *at).min()
    }

    /// Counts the releases that are overdue now as failing, and enqueues them.
    pub(super) async fn report_overdue(&mut self) {
        let now = Instant::now();
        let due = self.in_progress.extract_if(.., |_, (at, _)| *at <= now);
        let due: Vec<_> = due.map(|(name, (_, uid))| (name, uid)).collect();
        for (name, uid) in due {
            let seen = Seen {
                version: String::new(),
                cause: Some(cause_of(Verdict::UNKNOWN)),
            };
            self.record(&name, seen);
            if !self.wake(&name, Some(&uid), true) {
                self.enqueue(&name, &uid, self.shared.intervals.first).await;
            }
        }
    }
}
