//! What the page shows of the releases that a watcher sees.

use super::Watcher;
use crate::domain::{alert::ReleaseRef, decide::Reason, evaluate::Evaluation, release::Release};

impl Watcher {
    /// Puts a release that fails on the board. The reconciler does it for those in the queue, because only it knows
    /// whether a limit delays a restart.
    pub(super) fn show(&self, name: &ReleaseRef, release: &Release, evaluation: &Evaluation) {
        let queued = self.queue.contains(name);
        if !release.failing() && evaluation.decision.reason() != Reason::Overdue {
            if !queued {
                self.board.remove(name);
            }
        } else if !queued || !self.board.contains(name) {
            let summary = self.shared.summary(name, release, evaluation);
            self.board.put(name, summary, self.shared.clock.now());
        }
    }
}
