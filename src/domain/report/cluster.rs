//! What is reported about a cluster as a whole, once for each fact.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{
    classify::Rule,
    journal::{Entry, Subject},
    spoken::spoken,
};

use super::Level;

/// What happened to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterFact {
    /// Many releases fail for one cause, so one is restarted at a time.
    BreakerOpened {
        /// The cause, for people.
        cause: String,
        /// The releases that failed for it within the window.
        releases: usize,
        /// The window, in minutes.
        window_minutes: u64,
    },
    /// Restarts for a cause are no longer held back.
    BreakerClosed {
        /// The cause, for people.
        cause: String,
        /// How long the breaker was open.
        after: Duration,
        /// Whether a restarted release recovered meanwhile.
        helped: bool,
    },
    /// The API server does not answer.
    Unavailable {
        /// The kind of error.
        kind: &'static str,
        /// What went wrong.
        problem: String,
    },
    /// The API server answers again.
    Available {
        /// After this time.
        after: Duration,
    },
    /// There is no way to the API server: its kubeconfig or its credentials cannot be used.
    NoAccess {
        /// What is wrong.
        problem: String,
        /// Where the access is configured.
        place: String,
    },
    /// The kubeconfig and the credentials can be used again.
    Access,
}

impl ClusterFact {
    /// The words of the journal: what happened, and the reason.
    pub fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::BreakerOpened { .. } => ("breaker", "opened"),
            Self::BreakerClosed { .. } => ("breaker", "closed"),
            Self::Unavailable { kind, .. } => ("unavailable", kind),
            Self::NoAccess { .. } => ("unavailable", "no-access"),
            Self::Available { .. } | Self::Access => ("available", "recovered"),
        }
    }

    /// The level of its line in the log.
    pub fn level(&self) -> Level {
        match self {
            Self::BreakerOpened { .. } | Self::Unavailable { .. } | Self::NoAccess { .. } => {
                Level::Warn
            }
            Self::BreakerClosed { .. } | Self::Available { .. } | Self::Access => Level::Info,
        }
    }

    /// The message of its line in the log.
    pub fn line(&self, cluster: &str) -> String {
        match self {
            Self::BreakerOpened {
                cause,
                releases,
                window_minutes,
            } => format!(
                "the breaker for {cause} of cluster {cluster} is open: {releases} releases failed for this cause within {window_minutes} min; one release is restarted at a time until a restarted release recovers"
            ),
            Self::BreakerClosed {
                cause,
                after,
                helped,
            } => {
                let reason = if *helped {
                    "restarted releases recovered, and no release waits for it any more"
                } else {
                    "no release waits for it any more, and no restarted release recovered"
                };
                let after = spoken(*after);
                format!(
                    "the breaker for {cause} of cluster {cluster} is closed after {after}: {reason}"
                )
            }
            Self::Unavailable { problem, .. } => format!(
                "cluster {cluster} is not available; its releases are not restarted meanwhile, and it is tried again until it answers: {problem}"
            ),
            Self::Available { after } => {
                format!(
                    "cluster {cluster} is available again, after {}",
                    spoken(*after)
                )
            }
            Self::NoAccess { problem, place } => format!(
                "cluster {cluster} is not available: {problem} (configured by {place}; retrying when that changes, and periodically)"
            ),
            Self::Access => format!("cluster {cluster} is available"),
        }
    }

    /// As an entry of the journal.
    pub fn entry(&self, cluster: &str, at: Timestamp) -> Entry {
        let (what, reason) = self.words();
        Entry {
            at,
            about: Subject::Cluster(cluster.into()),
            what,
            reason,
            rule: Rule::NONE.name,
            attempt: 0,
            line: self.line(cluster),
        }
    }
}
