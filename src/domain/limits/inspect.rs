//! Read access to the limits, for metrics, the summary and tests.

use jiff::Timestamp;

use super::{LimitConfig, LimitState};
use crate::domain::{alert::ReleaseRef, fingerprint::Fingerprint};

/// Releases whose restart is due and is delayed by a limit. Each is counted once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldBack {
    /// By open breakers, those that hold most first.
    pub breakers: Vec<OpenBreaker>,
    /// Because all slots for running restarts are taken.
    pub by_slots: usize,
    /// Because the rate is used up.
    pub by_rate: usize,
}

/// A breaker that holds releases back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBreaker {
    /// The cause they share.
    pub cause: Fingerprint,
    /// How many wait for it, those that were given up included.
    pub releases: usize,
    /// How many are restarted.
    pub admits: Admission,
}

/// Which restarts an open breaker admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// One release is being restarted to see whether that helps.
    Probe,
    /// One release, at that time.
    ProbeAt(Timestamp),
    /// So many releases at once, because a restart helped.
    UpTo(usize),
}

impl HeldBack {
    /// All of them.
    pub fn total(&self) -> usize {
        let by_breakers: usize = self.breakers.iter().map(|breaker| breaker.releases).sum();
        by_breakers + self.by_slots + self.by_rate
    }
}

impl LimitState {
    /// Breakers that hold restarts back.
    pub fn open(&mut self, now: Timestamp) -> usize {
        self.cleaned_at = None;
        self.remove_expired_breakers(now);
        let breakers = self.breakers.values();
        breakers.filter(|breaker| breaker.is_open()).count()
    }

    /// Releases that have to wait for others now.
    pub fn held_back(&self, now: Timestamp) -> HeldBack {
        let open = self
            .breakers
            .iter()
            .filter(|(_, breaker)| breaker.is_open());
        let elsewhere =
            |release: &ReleaseRef| self.slots.waits(release) || self.rate.is_promised(release, now);
        let mut breakers: Vec<_> = open
            .filter_map(|(cause, breaker)| {
                Some(OpenBreaker {
                    cause: cause.clone(),
                    releases: breaker.held(elsewhere),
                    admits: breaker.admission()?,
                })
            })
            .filter(|breaker| breaker.releases > 0)
            .collect();
        breakers.sort_by_key(|breaker| std::cmp::Reverse(breaker.releases));
        HeldBack {
            breakers,
            by_slots: self.slots.waiting(),
            by_rate: self.rate.reserved(now),
        }
    }

    /// The configuration of the limits.
    pub fn config(&self) -> LimitConfig {
        self.config
    }

    /// Restarts whose end has not been seen.
    pub fn in_flight(&self) -> usize {
        self.running.len()
    }

    /// Releases whose restart runs, in order.
    pub fn running(&self) -> impl Iterator<Item = &ReleaseRef> {
        self.running.keys()
    }

    /// A release that waits for a slot although one is free and its breaker would let it through: there
    /// must never be one.
    pub fn waiting_with_free_slot(&self, now: Timestamp) -> Option<&ReleaseRef> {
        if self.free() == 0 {
            return None;
        }
        self.slots
            .next(|release, cause| self.admits(release, cause, now))
    }
}

impl super::Limits {
    /// Forgets all failures and restarts.
    pub fn clear(&self) {
        let mut state = self.lock();
        *state = LimitState::new(state.config);
    }
}
