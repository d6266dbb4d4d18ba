//! Telling that something was written.

use tokio::sync::broadcast::{self, error::TryRecvError};

use super::FakeCluster;

/// Wakes up after each write.
#[derive(Debug)]
pub struct Writes(broadcast::Receiver<()>);

impl FakeCluster {
    /// Wakes up after each write.
    pub fn writes(&self) -> Writes {
        Writes(self.written.subscribe())
    }
}

impl Writes {
    /// Waits until something was written that was not waited for yet.
    pub async fn next(&mut self) {
        // A reader that missed some has been woken all the same.
        let _ = self.0.recv().await;
    }

    /// What was written up to now needs no further notice.
    pub fn caught_up(&mut self) {
        while !matches!(
            self.0.try_recv(),
            Err(TryRecvError::Empty | TryRecvError::Closed)
        ) {}
    }
}
