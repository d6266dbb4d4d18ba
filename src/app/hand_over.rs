//! A leader that stops releases the Lease, so that a standby acts soon.

use std::time::Duration;

use tokio::{sync::watch, task::JoinSet};

use crate::{leadership::Leadership, metrics::Metrics};

/// How long the reconciles that run may take at the end, before the Lease is released.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);

/// Finishes the reconciles that run, and then releases the Lease.
pub(super) async fn hand_over(
    leadership: &Leadership,
    resign: &watch::Sender<bool>,
    election: &mut JoinSet<()>,
    metrics: &Metrics,
) {
    // A reconcile that has not finished by then is cancelled. This is safe: each write contains the resourceVersion.
    let _ = tokio::time::timeout(FINISH_TIMEOUT, leadership.finish()).await;
    leadership.set(false);
    metrics.leader(false);
    resign.send_replace(true);
    while election.join_next().await.is_some() {}
}
