//! The end of a leader: the next one acts at once.

use std::time::Duration;

use tokio::{sync::watch, task::JoinSet};

use crate::{leadership::Leadership, metrics::Metrics};

/// How long the reconciles that run may take at the end, before the Lease is released.
const FINISH_LIMIT: Duration = Duration::from_secs(3);

/// Finishes the reconciles that run, and then releases the Lease.
pub(super) async fn hand_over(
    leadership: &Leadership,
    resign: &watch::Sender<bool>,
    campaign: &mut JoinSet<()>,
    metrics: &Metrics,
) {
    // What has not ended by then is guarded by compare-and-swap.
    let _ = tokio::time::timeout(FINISH_LIMIT, leadership.finish()).await;
    leadership.set(false);
    metrics.leader(false);
    resign.send_replace(true);
    while campaign.join_next().await.is_some() {}
}
