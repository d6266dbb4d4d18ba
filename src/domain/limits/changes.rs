//! Breakers that opened or closed, for the log.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Breaker, LimitState};
use crate::domain::fingerprint::Fingerprint;

/// A breaker opened or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// As many releases as the threshold failed for one cause within the window, so one is restarted at a time.
    Opened {
        /// The cause.
        cause: Fingerprint,
        /// Releases that failed for it lately.
        releases: usize,
    },
    /// Restarts for this cause are no longer held back by it.
    Closed {
        /// The cause.
        cause: Fingerprint,
        /// How long it was open.
        after: SignedDuration,
        /// Whether a restart helped meanwhile.
        helped: bool,
    },
}

/// Changes that were not reported yet, and the breakers that are open.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Since when, and whether a restart helped since then.
    open: BTreeMap<Fingerprint, (Timestamp, bool)>,
    unreported: Vec<BreakerChange>,
}

impl Changes {
    /// Records whether the breaker of a cause opened or closed since the last call.
    pub(super) fn note(&mut self, cause: &Fingerprint, breaker: Option<&Breaker>, now: Timestamp) {
        let open = breaker.filter(|breaker| breaker.is_open());
        match (open, self.open.get_mut(cause)) {
            (Some(breaker), None) => {
                self.open.insert(cause.clone(), (now, false));
                self.unreported.push(BreakerChange::Opened {
                    cause: cause.clone(),
                    releases: breaker.failing(),
                });
            }
            (None, Some((since, helped))) => {
                let (after, helped) = (now.duration_since(*since), *helped);
                self.open.remove(cause);
                self.unreported.push(BreakerChange::Closed {
                    cause: cause.clone(),
                    after,
                    helped,
                });
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// A restart for a cause helped.
    pub(super) fn helped(&mut self, cause: &Fingerprint) {
        if let Some((_, helped)) = self.open.get_mut(cause) {
            *helped = true;
        }
    }

    /// Breakers that are no longer there have closed.
    pub(super) fn forget(&mut self, breakers: &BTreeMap<Fingerprint, Breaker>, now: Timestamp) {
        let gone = self
            .open
            .keys()
            .filter(|cause| !breakers.contains_key(cause));
        let gone: Vec<_> = gone.cloned().collect();
        gone.iter().for_each(|cause| self.note(cause, None, now));
    }
}

impl LimitState {
    /// Breakers that opened or closed since the last call.
    pub fn take_changes(&mut self) -> Vec<BreakerChange> {
        std::mem::take(&mut self.changes.unreported)
    }
}
