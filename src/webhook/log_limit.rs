//! Refusals in the log: loud enough to be seen, too quiet to be used as a weapon.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::Rejection;

/// Warnings a second at most; the metrics count all refusals.
const PER_SECOND: u64 = 5;

/// Holds back warnings that come too fast.
#[derive(Debug, Default)]
pub struct LogLimit {
    /// The running second, and the warnings in it: `second << 8 | warnings`.
    window: AtomicU64,
}

impl LogLimit {
    pub(super) fn log(&self, rejection: &Rejection, cluster: &str, now: Timestamp) {
        let (result, detail) = (rejection.answer.as_str(), &rejection.detail);
        if self.admits(now.as_second().unsigned_abs()) {
            tracing::warn!(%cluster, result, "turned an alert away ({result}): {detail}");
        } else {
            tracing::debug!(%cluster, result, "turned an alert away ({result}): {detail}");
        }
    }

    fn admits(&self, second: u64) -> bool {
        let counted = self
            .window
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |window| {
                if window >> 8 != second {
                    return Some(second << 8 | 1);
                }
                (window & 0xff < PER_SECOND).then_some(window + 1)
            });
        counted.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_warned_of_a_few_times_a_second() {
        let quiet = LogLimit::default();
        assert_eq!((0..1000).filter(|_| quiet.admits(7)).count(), 5);
        assert_eq!((0..1000).filter(|_| quiet.admits(8)).count(), 5);
    }
}
