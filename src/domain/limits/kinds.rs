//! The configuration of the limits, and what they return.

use jiff::{SignedDuration, Timestamp};

use super::Rate;
use crate::domain::alert::ReleaseRef;

/// The configuration of the limits of one cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitConfig {
    /// Restarts per minute, and the burst.
    pub rate: Rate,
    /// Restarts whose end has not been seen.
    pub in_flight: usize,
    /// The number of releases failing for the same cause ...
    pub threshold: usize,
    /// ... within this time that opens the breaker.
    pub window: SignedDuration,
    /// After a probe that failed, until the next.
    pub wait: SignedDuration,
    /// The longest that wait becomes by doubling.
    pub max_wait: SignedDuration,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            rate: Rate::default(),
            in_flight: 20,
            threshold: 5,
            window: SignedDuration::from_mins(5),
            wait: SignedDuration::from_mins(1),
            max_wait: SignedDuration::from_hours(1),
        }
    }
}

/// A release to reconcile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Which.
    pub release: ReleaseRef,
    /// Not before.
    pub at: Timestamp,
    /// A restart that began then helped another: if this one was given up before, it may come back
    /// before its time.
    pub others_recovered_since: Option<Timestamp>,
}
