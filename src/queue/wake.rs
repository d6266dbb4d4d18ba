//! From a change of the limits to the releases that waited for it.

use std::time::Duration;

use tokio::time::Instant;

use super::{Queue, Wakeup};
use crate::{
    clock::Clock,
    domain::limits::{Limits, Wake},
};

/// Wakes releases in the queue. One that is no longer in it does not need its place, and passes it on.
pub fn wake_releases(queue: &Queue, limits: &Limits, clock: &Clock, mut wakes: Vec<Wake>) {
    while let Some(wake) = wakes.pop() {
        let now = clock.now();
        let ahead = wake.at.duration_since(now);
        let wakeup = Wakeup {
            due: Instant::now() + Duration::try_from(ahead).unwrap_or_default(),
            failing: None,
            at_rest: true,
            others_recovered_since: wake.others_recovered_since,
        };
        if !queue.wake(&wake.release, wakeup) {
            wakes.extend(limits.lock().forget(&wake.release, now));
        }
    }
}
