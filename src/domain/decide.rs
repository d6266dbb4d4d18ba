//! The decision table: the decision for a release, and its reason.
//!
//! The first row that matches decides. The controller uses [`TABLE`], `explain` prints it, and
//! docs/how-it-decides.md contains it. A pure function. The recordings in `tests/fixtures/stories` test it;
//! comments name the recording that a row is based on.

use jiff::{SignedDuration, Timestamp};

use super::{
    classify::{Class, Verdict},
    ledger::{self, Action, Record, RestartRequest, SENDS},
    policy::Policy,
    release::{Release, Truth, is_remediation},
};

mod remediation;
mod rows;
pub use rows::TABLE;

/// What caused the reconcile.
#[derive(Clone, Debug, Default)]
pub struct Trigger {
    /// The UID the alert named.
    pub uid: Option<Box<str>>,
    /// Whether this is not the first reconcile for this failure.
    pub settled: bool,
    /// A restart that began then helped another release with the same cause: what was given up before
    /// may come back before its time.
    pub others_recovered_since: Option<Timestamp>,
}

/// The inputs of a decision.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What caused the reconcile.
    pub trigger: &'a Trigger,
    /// The class of the failure, and the rule that matched.
    pub verdict: Verdict,
    /// The live object; `None` if it does not exist.
    pub release: Option<&'a Release>,
    /// The policy of the release.
    pub policy: &'a Policy,
    /// What helmreboot recorded about it.
    pub record: &'a Record,
    /// The time of day, by the clock of the API server where it is known.
    pub now: Timestamp,
}

/// A restart has to wait for other releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// [`Reason::BreakerOpen`] or [`Reason::RateLimited`].
    pub reason: Reason,
    /// When to reconcile again.
    pub until: Timestamp,
}

impl Inputs<'_> {
    /// Whether a recorded time is not further ahead than clocks differ.
    fn is_plausible(&self, time: Timestamp) -> bool {
        let ahead = self.now.saturating_add(CLOCK_SKEW);
        time <= ahead.unwrap_or(Timestamp::MAX)
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What is seen on the live release, for people.
    pub live: &'static str,
    /// What is done about it, for people.
    pub done: &'static str,
    /// The words it decides with.
    pub words: &'static [Reason],
    /// The decision, where the row holds.
    holds: fn(&Inputs<'_>, &Release) -> Option<Decision>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Ask Flux to try again.
    Restart {
        /// How to ask, and what is charged.
        request: RestartRequest,
        /// Which row.
        reason: Reason,
    },
    /// Reconcile again, at a known time or after the growing interval.
    Wait {
        /// Not before, where that is known.
        until: Option<Timestamp>,
        /// Which row.
        reason: Reason,
    },
    /// No further reconcile until the release changes or `retry_at` is reached.
    Leave {
        /// When it may be restarted again, if a time is known.
        retry_at: Option<Timestamp>,
        /// Which row.
        reason: Reason,
    },
}

string_enum! {
    /// Why: the closed list of words, one for each row.
    Reason {
        /// The object does not exist.
        Gone = "gone",
        /// Another object took its name.
        Replaced = "replaced",
        /// The object is being deleted.
        Deleting = "deleting",
        /// A person suspended it.
        Suspended = "suspended",
        /// `helmreboot.io/enabled: "false"`.
        OptedOut = "opted-out",
        /// Ready, for the generation that is wanted.
        Recovered = "recovered",
        /// Flux has not handled a request yet, ours or that of another client.
        TokenPending = "token-pending",
        /// Flux tries again by itself.
        FluxRetries = "flux-retries",
        /// Flux reports no failure that lasts: it continues by itself.
        Benign = "benign",
        /// Flux waits for something else: a dependency, a source, values.
        Prerequisites = "prerequisites",
        /// An action runs.
        Working = "working",
        /// An action runs for longer than its timeouts allow.
        Overdue = "overdue",
        /// The status is about to change.
        Settling = "settling",
        /// Flux has not tried the wanted configuration yet.
        NotAttempted = "not-attempted",
        /// The configuration that Flux tried last is deployed. Ready may be about an earlier attempt.
        ReadyOutdated = "ready-outdated",
        /// A person has to change something first.
        Permanent = "permanent",
        /// No rule knows the cause.
        UnknownCause = "unknown-cause",
        /// Flux rolled back: the old version runs, and a restart would break it again.
        RolledBack = "rolled-back",
        /// Flux uninstalled what failed.
        Uninstalled = "uninstalled",
        /// Another client, in most cases a sync from Git, restores the request before ours.
        Contested = "contested",
        /// All restarts for this configuration are spent.
        BudgetSpent = "budget-spent",
        /// The wait after the last restart, or after a rollback or uninstall, is not over.
        Backoff = "backoff",
        /// Many releases fail for the same cause: one is restarted, the others wait for its outcome.
        BreakerOpen = "breaker-open",
        /// The cluster has had as many restarts as it may, or has as many running.
        RateLimited = "rate-limited",
        /// Flux gave up, and does not retry without a request.
        Stalled = "stalled",
        /// Flux handled the request of helmreboot and made no attempt: the request is sent again.
        TokenResent = "token-resent",
        /// Failed, and Flux neither works on it nor says that it gave up.
        IdleFailed = "idle-failed",
    }
}

impl Reason {
    /// The only decision this row ever comes with: `restart`, `wait` or `leave`.
    pub fn decides(self) -> &'static str {
        match self {
            Self::Stalled | Self::TokenResent | Self::IdleFailed => "restart",
            Self::TokenPending
            | Self::Working
            | Self::Settling
            | Self::NotAttempted
            | Self::Backoff
            | Self::BreakerOpen
            | Self::RateLimited => "wait",
            _ => "leave",
        }
    }
}

impl Decision {
    /// Which row.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Restart { reason, .. }
            | Self::Wait { reason, .. }
            | Self::Leave { reason, .. } => *reason,
        }
    }

    /// A restart that is due and has to wait for other releases.
    pub fn refused(refusal: Refusal) -> Self {
        Self::Wait {
            until: Some(refusal.until),
            reason: refusal.reason,
        }
    }

    /// `restart`, `wait` or `leave`.
    pub fn as_str(&self) -> &'static str {
        self.reason().decides()
    }

    /// When the release may be restarted, or is reconciled again, if that is known.
    pub fn next(&self) -> Option<Timestamp> {
        match self {
            Self::Restart { .. } => None,
            Self::Wait { until, .. } => *until,
            Self::Leave { retry_at, .. } => *retry_at,
        }
    }
}

/// Decides.
pub fn decide(inputs: &Inputs<'_>) -> Decision {
    explain(inputs).0
}

/// Decides, and says which row of [`TABLE`] held.
pub fn explain(inputs: &Inputs<'_>) -> (Decision, usize) {
    let Some(release) = inputs.release else {
        return (leave(Reason::Gone), 0);
    };
    let mut rows = TABLE.iter().enumerate();
    let held = rows.find_map(|(index, row)| Some(((row.holds)(inputs, release)?, index)));
    // Not reached: the last row, `idle_failed`, matches every release.
    held.unwrap_or_else(|| (wait(Reason::Settling), TABLE.len() - 1))
}

fn leave(reason: Reason) -> Decision {
    Decision::Leave {
        retry_at: None,
        reason,
    }
}

fn wait(reason: Reason) -> Decision {
    Decision::Wait {
        until: None,
        reason,
    }
}

/// How far another replica's clock may be ahead of ours.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

#[cfg(test)]
mod tests;
