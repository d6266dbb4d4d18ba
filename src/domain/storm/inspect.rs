//! What is to be seen of the limits from outside: for metrics and for checks.

use jiff::Timestamp;

use super::Storm;
use crate::domain::alert::ReleaseRef;

impl Storm {
    /// Breakers that hold restarts back.
    pub fn open(&mut self, now: Timestamp) -> usize {
        self.swept = None;
        self.forget_the_old(now);
        let breakers = self.breakers.values();
        breakers.filter(|breaker| breaker.is_open()).count()
    }

    /// Restarts whose end has not been seen.
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// Releases whose restart runs, in order.
    pub fn flying(&self) -> impl Iterator<Item = &ReleaseRef> {
        self.flying.keys()
    }

    /// A release that waits for a slot although one is free and its breaker would let it through: there
    /// must never be one.
    pub fn unserved(&self, now: Timestamp) -> Option<&ReleaseRef> {
        if self.free() == 0 {
            return None;
        }
        self.slots
            .next(|release, cause| self.lets(release, cause, now))
    }
}
