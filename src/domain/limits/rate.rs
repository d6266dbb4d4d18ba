//! A token bucket, kept as the time at which the next token is due (GCRA): no timer fills it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::alert::ReleaseRef;

/// Rate and burst.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// In the long run.
    pub per_minute: u32,
    /// At once, after a quiet time.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            per_minute: 30,
            burst: 10,
        }
    }
}

/// The bucket, and the releases that have a reservation for a later token.
#[derive(Debug, Default)]
pub(super) struct TokenBucket {
    due: Option<Timestamp>,
    reserved: BTreeMap<ReleaseRef, Timestamp>,
}

/// A promise that was not used is void after that time.
const PROMISED_FOR: SignedDuration = SignedDuration::from_mins(1);

impl TokenBucket {
    /// Takes a token, or says when there will be one for this release.
    pub(super) fn take(
        &mut self,
        rate: Rate,
        release: &ReleaseRef,
        now: Timestamp,
    ) -> Result<(), Timestamp> {
        self.reserved
            .retain(|_, at| now.duration_since(*at) < PROMISED_FOR);
        if let Some(at) = self.reserved.get(release) {
            if *at > now {
                return Err(*at);
            }
            self.reserved.remove(release);
            return Ok(());
        }
        let interval = interval(rate);
        let burst_tolerance =
            interval.saturating_mul(i32::try_from(rate.burst.max(1) - 1).unwrap_or(i32::MAX));
        let due = self.due.unwrap_or(now).max(now);
        // After the clock was set back, restarts must not be delayed without end.
        let queue = i32::try_from(self.reserved.len() + 1).unwrap_or(i32::MAX);
        let latest = add(add(now, burst_tolerance), interval.saturating_mul(queue));
        let due = due.min(latest);
        self.due = Some(add(due, interval));
        let at = add(due, -burst_tolerance);
        if at <= now {
            return Ok(());
        }
        self.reserved.insert(release.clone(), at);
        Err(at)
    }

    /// Gives a token back.
    pub(super) fn refund(&mut self, rate: Rate) {
        self.due = self.due.map(|due| add(due, -interval(rate)));
    }

    /// Takes a token for a restart that was not admitted here.
    pub(super) fn charge(&mut self, rate: Rate, now: Timestamp) {
        let due = self.due.unwrap_or(now).max(now);
        self.due = Some(add(due, interval(rate)));
    }

    /// Whether a release was reserved a token that is not due yet.
    pub(super) fn is_promised(&self, release: &ReleaseRef, now: Timestamp) -> bool {
        self.reserved.get(release).is_some_and(|at| *at > now)
    }

    /// Releases that were reserved a token that is not due yet.
    pub(super) fn reserved(&self, now: Timestamp) -> usize {
        self.reserved.values().filter(|at| **at > now).count()
    }

    pub(super) fn forget(&mut self, release: &ReleaseRef) {
        self.reserved.remove(release);
    }
}

/// From one token to the next.
fn interval(rate: Rate) -> SignedDuration {
    SignedDuration::from_secs(60) / i32::try_from(rate.per_minute.max(1)).unwrap_or(i32::MAX)
}

fn add(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
