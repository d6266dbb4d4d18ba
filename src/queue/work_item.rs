//! An item of the work queue: a release to reconcile, and what is known about it between two reconciles.

use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::{
    alert::Failure,
    decide::Reason,
    fingerprint::Fingerprint,
    ledger::{Changes, RestartRequest, STATE, token_of},
    string_enum,
};

string_enum! {
    /// What enqueued a release.
    Source {
        /// An alert.
        Alert = "alert",
        /// The watcher.
        Watch = "watch",
    }
}

/// A release to reconcile.
#[derive(Clone, Debug)]
pub struct WorkItem {
    /// The release.
    pub failure: Failure,
    /// What enqueued it.
    pub source: Source,
    /// When it was enqueued, or when its last wait ended.
    pub since: Instant,
    /// Reconciles for this failure.
    pub reconciles: u32,
    /// Errors in a row.
    pub errors: u32,
    /// A restart that has not ended.
    pub running: Option<RunningRestart>,
    /// A restart whose answer from the API server was lost.
    pub unconfirmed: Option<UnconfirmedPatch>,
    /// The reason of the last decision, and the rule if another one is to be reported.
    pub last_decision: Option<(Reason, Option<&'static str>)>,
    /// Whether the long wait was reported.
    pub reported_long: bool,
    /// It failed when this process started. One log line has reported all of those.
    pub known_at_start: bool,
    /// See [`super::Wakeup::others_recovered_since`].
    pub others_recovered_since: Option<Timestamp>,
}

/// A restart that has not ended.
#[derive(Clone, Debug)]
pub struct RunningRestart {
    /// Its token.
    pub token: String,
    /// The rule that named its cause.
    pub rule: &'static str,
    /// Whether this process began it.
    pub started_here: bool,
}

/// A patch that was sent, and may have been written.
#[derive(Clone, Debug)]
pub struct UnconfirmedPatch {
    /// When it was sent, by the clock of this process.
    pub sent: Timestamp,
    /// The restart.
    pub request: RestartRequest,
    /// The annotations in it.
    pub changes: Changes,
    /// The cause that the restart is for.
    pub cause: Fingerprint,
    /// The limit of the policy, for the log.
    pub limit: u32,
}

impl UnconfirmedPatch {
    /// The state in it. Each has a new token, so that no two are equal.
    pub fn state(&self) -> Option<&str> {
        self.changes.get(STATE)?.as_deref()
    }

    /// The token in it.
    pub fn token(&self) -> Option<String> {
        token_of(self.state()?)
    }
}

impl WorkItem {
    /// An item for a failure that was just found.
    pub fn new(failure: Failure, source: Source) -> Self {
        let since = Instant::now();
        Self {
            failure,
            source,
            since,
            reconciles: 0,
            errors: 0,
            running: None,
            unconfirmed: None,
            last_decision: None,
            reported_long: false,
            known_at_start: false,
            others_recovered_since: None,
        }
    }

    /// Takes over a newer item of the same release. Its running restart stays, and so do the errors of the API server.
    pub(super) fn renew(&mut self, mut newer: Self) {
        if self.failure.uid != newer.failure.uid {
            // Alerts arrive in any order. The reconcile shows which of the two objects exists.
            newer.failure.uid = None;
        }
        let (running, unconfirmed) = (self.running.take(), self.unconfirmed.take());
        *self = Self {
            running,
            unconfirmed,
            errors: self.errors,
            others_recovered_since: self.others_recovered_since,
            ..newer
        };
    }
}
