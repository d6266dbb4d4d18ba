//! What is reported about a release and about a cluster, once for each fact.
//!
//! The log, the journal, Kubernetes Events and Flux events take their words from here, so that they agree.

use jiff::Timestamp;

use super::{
    alert::ReleaseRef,
    classify::Class,
    decide::{Decision, Reason},
    journal::{Entry, Subject},
    ledger::{Action, RENEW, RestartOutcome},
    release::Release,
    short_hash::short_hash,
};

mod advice;
mod cluster;
mod line;
mod notice;
pub use advice::{next_step, renew_command, reset_command};
pub use cluster::ClusterFact;
pub use notice::{EventType, Notice, Object, Severity};

/// One fact about one release.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The release.
    pub release: ReleaseRef,
    /// The rule that matched the failure; `none` where there is none.
    pub rule: &'static str,
    /// What the rule means, for people.
    pub meaning: &'static str,
    /// Restarts that count against the configuration of the release, a restart that is reported included.
    pub attempts: u32,
    /// The fact.
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A restart was written.
    Restarted {
        /// How Flux was asked.
        action: Action,
        /// The limit of the policy. A later attempt is one of the slow lane.
        limit: u32,
        /// Tokens sent for it: more than 1 where Flux handled the last one without an attempt.
        sends: u32,
        /// The token.
        token: String,
    },
    /// A restart ended.
    Ended {
        /// How.
        outcome: RestartOutcome,
        /// The token of the restart.
        token: String,
        /// The decision that follows; `None` if the release is gone.
        next: Option<Decision>,
        /// The time of that decision.
        now: Timestamp,
    },
    /// A restart has to wait.
    Waits {
        /// Why.
        reason: Reason,
    },
    /// The release is not restarted.
    Left {
        /// Why.
        reason: Reason,
        /// The class of the failure.
        class: Class,
        /// When it may be restarted again, if a time is known.
        retry_at: Option<Timestamp>,
        /// The time of the decision.
        now: Timestamp,
        /// The limit of restarts.
        limit: u32,
        /// The longest time that the timeouts of the release allow for an action, in minutes.
        action_minutes: u64,
    },
    /// A restart is due, and nothing is written.
    WouldRestart {
        /// How Flux would be asked.
        action: Action,
        /// Whether helmreboot is paused; otherwise the mode is observe.
        paused: bool,
    },
    /// An annotation that people set is not valid.
    InvalidAnnotation {
        /// Its name.
        annotation: &'static str,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// The release has waited for long.
    LongWait {
        /// The reason word of the last decision.
        reason: &'static str,
        /// For how long, in minutes.
        minutes: u64,
    },
    /// A reconcile failed.
    Error {
        /// The kind of error.
        kind: &'static str,
        /// What went wrong.
        problem: String,
        /// Whether it is about this release, and not about its API server.
        own: bool,
    },
    /// A reconcile panicked.
    Panicked {
        /// Where in the code.
        location: String,
        /// The time until the next reconcile, in minutes.
        retry_minutes: u64,
    },
}

/// The level at which a fact is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

/// A hash that differs between objects, and changes when the configuration of a release changes, when it succeeds, and when a person renews its
/// budget. After that, facts about the release are reported again.
pub fn failure_key(release: &Release) -> String {
    let renewed = release.annotation(RENEW).unwrap_or_default();
    let (configuration, success) = (release.config_key(), release.last_success());
    let uid = &release.metadata.uid;
    short_hash(&format!("{uid} {configuration} {success} {renewed}"))
}

impl Report {
    /// The words of the journal: what happened, and the reason.
    pub fn words(&self) -> (&'static str, &'static str) {
        match &self.fact {
            Fact::Restarted { action, sends, .. } if *sends > 1 => ("resend", action.as_str()),
            Fact::Restarted { action, .. } => ("restart", action.as_str()),
            Fact::Ended { outcome, .. } => ("ended", outcome.as_str()),
            Fact::Waits { reason, .. } => ("wait", reason.as_str()),
            Fact::Left { reason, .. } => ("leave", reason.as_str()),
            Fact::WouldRestart { action, .. } => ("observe", action.as_str()),
            Fact::InvalidAnnotation { annotation, .. } => ("ignored", annotation),
            Fact::LongWait { reason, .. } => ("long-wait", reason),
            Fact::Error { kind, .. } => ("error", kind),
            Fact::Panicked { .. } => ("error", "panic"),
        }
    }

    /// As an entry of the journal.
    pub fn entry(&self, at: Timestamp) -> Entry {
        let (what, reason) = self.words();
        Entry {
            at,
            about: Subject::Release(self.release.clone()),
            what,
            reason,
            rule: self.rule,
            attempt: self.attempts,
            line: self.line(),
        }
    }

    /// The level of its line in the log. A warning asks a person to act.
    pub fn level(&self) -> Level {
        match &self.fact {
            Fact::Panicked { .. } => Level::Error,
            Fact::Error { own: true, .. }
            | Fact::LongWait { .. }
            | Fact::InvalidAnnotation { .. }
            | Fact::Ended {
                outcome: RestartOutcome::Swallowed,
                ..
            } => Level::Warn,
            Fact::Left { .. } if self.needs_person() => Level::Warn,
            Fact::Error { .. } | Fact::Waits { .. } => Level::Debug,
            _ => Level::Info,
        }
    }

    /// Whether a person has to act before the release recovers.
    pub fn needs_person(&self) -> bool {
        let Fact::Left { reason, class, .. } = &self.fact else {
            return false;
        };
        match reason {
            Reason::BudgetSpent => self.attempts > 0,
            Reason::FluxRetries => *class == Class::Permanent,
            Reason::Overdue
            | Reason::ReadyOutdated
            | Reason::Contested
            | Reason::Permanent
            | Reason::UnknownCause
            | Reason::RolledBack
            | Reason::Uninstalled => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
