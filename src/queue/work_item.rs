//! A release to look at, and all that is remembered of it between two looks.

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
    /// Who said that a release failed.
    Source {
        /// Flux, by an alert.
        Alert = "alert",
        /// Its own status, as the sweep saw it.
        Watch = "watch",
    }
}

/// A release to look at.
#[derive(Clone, Debug)]
pub struct WorkItem {
    /// What was said to have failed.
    pub failure: Failure,
    /// Who said so.
    pub source: Source,
    /// When the failure was announced.
    pub since: Instant,
    /// Looks taken for this failure.
    pub reconciles: u32,
    /// Looks in a row that the API server did not answer.
    pub errors: u32,
    /// A restart whose end has not been seen.
    pub running: Option<RunningRestart>,
    /// A restart whose answer was lost.
    pub unconfirmed: Option<UnconfirmedPatch>,
    /// The row that held at the last look, and the rule where another one is news.
    pub last_decision: Option<(Reason, Option<&'static str>)>,
    /// Whether the long wait was reported.
    pub reported_long: bool,
    /// It failed when this process first looked, which told of all of those in one line.
    pub known_at_start: bool,
    /// See [`super::Wakeup::released`].
    pub released: Option<Timestamp>,
}

/// A restart that runs.
#[derive(Clone, Debug)]
pub struct RunningRestart {
    /// The token it was asked for with.
    pub token: String,
    /// The rule that named its cause.
    pub rule: &'static str,
    /// Whether this process began it. Of what another one began, that one counts the end.
    pub ours: bool,
}

/// A restart that was sent, and may have been written.
#[derive(Clone, Debug)]
pub struct UnconfirmedPatch {
    /// What was ordered.
    pub request: RestartRequest,
    /// What was to be written.
    pub changes: Changes,
    /// The cause that the restart is for.
    pub cause: Fingerprint,
    /// The limit of the policy, for the log.
    pub limit: u32,
}

impl UnconfirmedPatch {
    /// The state it carries; no two are alike, for each has a fresh token.
    pub fn state(&self) -> Option<&str> {
        self.changes.get(STATE)?.as_deref()
    }

    /// The token it carries.
    pub fn token(&self) -> Option<String> {
        token_of(self.state()?)
    }
}

impl WorkItem {
    /// A failure that was just announced.
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
            released: None,
        }
    }

    /// Takes over what another announcement of the same release says. The running running goes on, and
    /// so does the wait for an API server in trouble.
    pub(super) fn renew(&mut self, mut newer: Self) {
        if self.failure.uid != newer.failure.uid {
            // Alerts come in any request: which of the two objects lives now, the look will show.
            newer.failure.uid = None;
        }
        let (running, unconfirmed) = (self.running.take(), self.unconfirmed.take());
        *self = Self {
            running,
            unconfirmed,
            errors: self.errors,
            released: self.released,
            ..newer
        };
    }
}
