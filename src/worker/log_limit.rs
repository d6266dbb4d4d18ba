//! A limit for lines about single releases: a thousand releases that fail together must not hide each other, nor what
//! matters to all of them.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Lines at once, after a quiet time.
const AT_ONCE: u32 = 10;

/// From one line to the next in the long run.
const INTERVAL: Duration = Duration::from_mins(5);

/// A limit for one level of one cluster.
#[derive(Debug, Default)]
pub(super) struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the limit would be unused again.
    unused_at: Option<Instant>,
    held_back: u64,
}

impl LogLimit {
    /// Whether one more line may be logged at its level; otherwise it counts as held back.
    pub(super) fn admits(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let unused_at = state.unused_at.unwrap_or(now).max(now);
        let admitted = unused_at + INTERVAL <= now + INTERVAL * AT_ONCE;
        if admitted {
            state.unused_at = Some(unused_at + INTERVAL);
        } else {
            state.held_back += 1;
        }
        admitted
    }

    /// Lines that were held back since the last call.
    pub(super) fn take_held_back(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_told_and_then_a_line_now_and_then() {
        let limit = LogLimit::default();
        let admitted = |many: usize| (0..many).filter(|_| limit.admits()).count();
        assert_eq!(admitted(100), 10);
        assert_eq!(limit.take_held_back(), 90);
        tokio::time::advance(INTERVAL * 3).await;
        assert_eq!(admitted(100), 3);
        tokio::time::advance(INTERVAL * 100).await;
        assert_eq!((admitted(100), limit.take_held_back()), (10, 97 + 90));
    }
}
