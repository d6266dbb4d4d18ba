//! Releases on which Flux works for longer than their timeouts allow. No event tells of that, so the time does.

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Made, Watcher};
use crate::domain::{alert::ReleaseRef, classify::Verdict, failing::cause_of, release::Release};

impl Watcher {
    /// Flux works on a release, and should have ended by then.
    pub(super) fn expect_end(&mut self, name: &ReleaseRef, release: &Release, deadline: Timestamp) {
        let left = deadline.duration_since(self.shared.clock.now());
        let at = Instant::now() + left.try_into().unwrap_or_default();
        let uid = release.metadata.uid.clone();
        self.in_progress.insert(name.clone(), (at, uid));
    }

    /// When the first of them is overdue.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.in_progress.values().map(|(at, _)| *at).min()
    }

    /// Counts those that are overdue now as failing, and has the worker look at them.
    pub(super) async fn report_overdue(&mut self) {
        let now = Instant::now();
        let due = self.in_progress.extract_if(.., |_, (at, _)| *at <= now);
        let due: Vec<_> = due.map(|(name, (_, uid))| (name, uid)).collect();
        for (name, uid) in due {
            let made = Made {
                mark: 0,
                cause: Some(cause_of(Verdict::UNKNOWN)),
            };
            self.record(&name, made);
            if !self.wake(&name, Some(&uid), true) {
                self.announce(&name, &uid, self.shared.intervals.first)
                    .await;
            }
        }
    }
}
