//! Limits for log lines about single releases: a thousand releases that fail together must hide neither each other
//! nor what is logged about the whole cluster.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A limit for one level, for each key: a burst, and then one line in each interval.
#[derive(Debug)]
pub(super) struct LogLimit {
    burst: u32,
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the burst of a key would be whole again.
    whole_at: BTreeMap<&'static str, Instant>,
    omitted: u64,
}

impl LogLimit {
    /// A limit of `burst` lines at once for each key, and of one line in each `interval` after that.
    pub(super) fn new(burst: u32, interval: Duration) -> Self {
        Self {
            burst,
            interval,
            state: Mutex::default(),
        }
    }

    /// Whether one more line about `key` may be logged at its level; otherwise it counts as omitted. Keys are names of
    /// rules, of which there are few.
    pub(super) fn admits(&self, key: &'static str) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        let whole_at = state.whole_at.entry(key).or_insert(now);
        let begins = (*whole_at).max(now);
        let admitted = begins + self.interval <= now + self.interval * self.burst;
        if admitted {
            *whole_at = begins + self.interval;
        } else {
            state.omitted += 1;
        }
        admitted
    }

    /// Lines that were omitted since the last call.
    pub(super) fn take_omitted(&self) -> u64 {
        std::mem::take(&mut self.lock().omitted)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_key_has_a_burst_and_then_one_line_in_each_interval() {
        let interval = Duration::from_mins(5);
        let limit = LogLimit::new(10, interval);
        let admitted = |key, many: usize| (0..many).filter(|_| limit.admits(key)).count();
        assert_eq!(admitted("connection", 100), 10);
        assert_eq!(admitted("forbidden", 3), 3, "another key");
        assert_eq!(limit.take_omitted(), 90);
        tokio::time::advance(interval * 3).await;
        assert_eq!(admitted("connection", 100), 3);
        tokio::time::advance(interval * 100).await;
        assert_eq!(
            (admitted("connection", 100), limit.take_omitted()),
            (10, 97 + 90)
        );
    }
}
