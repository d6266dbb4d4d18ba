//! Whether this replica is the leader: the one that watches.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether this replica is the leader. Without leader election, it always is.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<watch::Sender<bool>>);

impl Leadership {
    /// The leader from the start, or not before [`Self::set`].
    pub fn new(leads: bool) -> Self {
        Self(Arc::new(watch::Sender::new(leads)))
    }

    /// Sets whether this replica is the leader.
    pub fn set(&self, leads: bool) {
        self.0.send_replace(leads);
    }

    /// Waits until this replica is the leader, or no longer is.
    pub async fn until(&self, leads: bool) {
        // The channel cannot be closed: the sender is in `self`.
        let _ = self.0.subscribe().wait_for(|now| *now == leads).await;
    }
}
