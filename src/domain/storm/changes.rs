//! Breakers that opened or closed, for the log.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Breaker, Storm};
use crate::domain::fingerprint::Fingerprint;

/// A breaker opened or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// So many releases failed for one cause that one is tried at a time.
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
    },
}

/// Changes that were not taken yet, and the breakers that are open.
#[derive(Debug, Default)]
pub(super) struct Changes {
    open: BTreeMap<Fingerprint, Timestamp>,
    untold: Vec<BreakerChange>,
}

impl Changes {
    /// Compares the breaker of a cause with what was known of it.
    pub(super) fn note(&mut self, cause: &Fingerprint, breaker: Option<&Breaker>, now: Timestamp) {
        let open = breaker.filter(|breaker| breaker.is_open());
        match (open, self.open.get(cause)) {
            (Some(breaker), None) => {
                self.open.insert(cause.clone(), now);
                self.untold.push(BreakerChange::Opened {
                    cause: cause.clone(),
                    releases: breaker.failing(),
                });
            }
            (None, Some(since)) => {
                let after = now.duration_since(*since);
                self.open.remove(cause);
                self.untold.push(BreakerChange::Closed {
                    cause: cause.clone(),
                    after,
                });
            }
            _ => {}
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

impl Storm {
    /// Breakers that opened or closed since the last call.
    pub fn take_changes(&mut self) -> Vec<BreakerChange> {
        std::mem::take(&mut self.changes.untold)
    }
}
