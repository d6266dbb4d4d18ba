//! Tells open event streams that there is something new.

use std::time::Duration;

use tokio::time::sleep;

use super::Dashboard;

/// The least time between two messages to the streams. A burst of outcomes is one message.
const INTERVAL: Duration = Duration::from_millis(500);

/// The revision after [`Dashboard::close`].
pub(super) const CLOSED: u64 = u64::MAX;

impl Dashboard {
    /// Ends all event streams, so that the process can stop. Browsers connect again, to another replica.
    pub fn close(&self) {
        self.sources.revision.send_replace(CLOSED);
    }

    /// Compares what the page shows with what it showed before, again and again. Does not return.
    pub async fn watch_changes(self) {
        let sources = &self.sources;
        loop {
            sleep(INTERVAL).await;
            let boards: u64 = sources
                .registry
                .entries()
                .map(|entry| entry.board.revision())
                .sum();
            let acts = u64::from(sources.leadership.acts());
            let now = (boards + sources.journal.next()) * 2 + acts;
            sources.revision.send_if_modified(|revision| {
                let changed = *revision != now && *revision != CLOSED;
                if changed {
                    *revision = now;
                }
                changed
            });
        }
    }
}
