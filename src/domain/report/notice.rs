//! A notice: the text of a fact for a Kubernetes Event on the HelmRelease, and for a Flux event.
//!
//! The Flux Web UI shows neither reason nor controller of an Event (`fluxcd/flux-operator:internal/web/events.go`), so
//! the message names helmreboot, and reads alone.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::{
    alert::HELM_GROUP,
    decide::{Decision, Reason},
    ledger::{self, RestartOutcome},
    release::Release,
    short_hash::short_hash,
};

use super::{
    Fact, Report,
    advice::{next_sentence, next_step},
    failure_key,
};

string_enum! {
    /// The type of a Kubernetes Event.
    EventType {
        /// Nothing to do for a person.
        Normal = "Normal",
        /// A person should know.
        Warning = "Warning",
    }
}

string_enum! {
    /// The severity of a Flux event.
    Severity {
        /// An Alert with `eventSeverity: info` carries it.
        Info = "info",
        /// Every Alert carries it.
        Error = "error",
    }
}

/// The longest message of an Event, in bytes (`kubernetes/pkg/apis/core/validation/events.go`).
const MESSAGE_LIMIT: usize = 1024;

/// The prefix of annotations that Flux copies from an object into its events (Flux RFC-0008).
const EVENT_PREFIX: &str = "event.toolkit.fluxcd.io/";

/// The most annotations that are copied, and the longest value, in bytes.
const COPIED: usize = 32;
const COPIED_LENGTH: usize = 1024;

/// The HelmRelease that a notice is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Group and version.
    pub api_version: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The version that was seen.
    pub resource_version: String,
}

/// The text of a fact, for a Kubernetes Event and a Flux event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When.
    pub at: Timestamp,
    /// The HelmRelease.
    pub object: Object,
    /// The type of the Kubernetes Event.
    pub kind: EventType,
    /// The severity of the Flux event; `None` if there is only a Kubernetes Event.
    pub severity: Option<Severity>,
    /// The reason, in CamelCase.
    pub reason: &'static str,
    /// The message, at most 1024 bytes.
    pub message: String,
    /// The same for the same fact: makes the name of the Event, and the token of the Flux event.
    pub id: String,
    /// The metadata of the Flux event.
    pub metadata: BTreeMap<String, String>,
}

impl Report {
    /// As a notice; `None` for a fact that only the log and the journal report. `release` is the live object.
    pub fn notice(&self, release: &Release, at: Timestamp) -> Option<Notice> {
        let (kind, severity, reason, step) = self.kind(release)?;
        let metadata = &release.metadata;
        let api_version = if release.api_version.is_empty() {
            format!("{HELM_GROUP}/v2")
        } else {
            release.api_version.clone()
        };
        let id = short_hash(&format!("{} {reason} {step}", metadata.uid));
        Some(Notice {
            at,
            object: Object {
                api_version,
                namespace: metadata.namespace.clone(),
                name: metadata.name.clone(),
                uid: metadata.uid.clone(),
                resource_version: metadata.resource_version.clone(),
            },
            kind,
            severity,
            reason,
            message: bounded(self.message()),
            metadata: metadata_of(release, &id),
            id,
        })
    }

    /// Type, severity, reason, and what makes this fact another one than the last of its reason.
    fn kind(
        &self,
        release: &Release,
    ) -> Option<(EventType, Option<Severity>, &'static str, String)> {
        use EventType::{Normal, Warning};
        let info = Some(Severity::Info);
        let configuration = || failure_key(release);
        Some(match &self.fact {
            Fact::Restarted { sends, token, .. } if *sends > 1 => {
                (Normal, None, "TokenResent", token.clone())
            }
            Fact::Restarted { token, .. } => (Normal, info, "Restarted", token.clone()),
            Fact::Ended { outcome, token, .. } => match outcome {
                RestartOutcome::Recovered => (Normal, info, "Recovered", token.clone()),
                RestartOutcome::FailedAgain => (Warning, info, "FailedAgain", token.clone()),
                RestartOutcome::Swallowed | RestartOutcome::Superseded => return None,
            },
            Fact::Waits {
                reason: Reason::BreakerOpen,
                ..
            } => (Normal, None, "HeldBack", configuration()),
            Fact::Left { reason, limit, .. } if self.needs_person() => {
                let error = Some(Severity::Error);
                let step = format!("{} {}", reason.as_str(), configuration());
                match reason {
                    Reason::BudgetSpent => (Warning, error, "GaveUp", format!("{step} {limit}")),
                    Reason::Overdue => (Warning, error, "Overdue", step),
                    _ => (
                        Warning,
                        info,
                        "NotRestarted",
                        format!("{step} {}", self.rule),
                    ),
                }
            }
            Fact::InvalidAnnotation {
                annotation,
                problem,
            } => (
                Warning,
                None,
                "InvalidAnnotation",
                format!("{annotation} {problem}"),
            ),
            _ => return None,
        })
    }

    /// The message: what helmreboot did or does, the cause, and what comes next.
    fn message(&self) -> String {
        let (rule, meaning, attempts) = (self.rule, self.meaning, self.attempts);
        let cause = format!("Cause: {meaning} ({rule}).");
        match &self.fact {
            Fact::Restarted {
                action,
                limit,
                sends,
                ..
            } => {
                let action = action.as_str();
                if *sends > 1 {
                    return format!(
                        "helmreboot sent a new token ({action}): Flux handled the last one without an attempt, because a dependency or a source was not ready."
                    );
                }
                let attempt = if attempts > *limit {
                    format!("attempt {attempts}, slow lane")
                } else {
                    format!("attempt {attempts} of {limit}")
                };
                format!("helmreboot restarted this release ({action}, {attempt}). {cause}")
            }
            Fact::Ended {
                outcome: RestartOutcome::Recovered,
                ..
            } => format!(
                "The release recovered after a restart by helmreboot. {cause} Nothing is left to do."
            ),
            Fact::Ended { next, .. } => {
                // A notice that it was given up follows, and says what comes next.
                let next = next
                    .as_ref()
                    .filter(|decision| decision.reason() != Reason::BudgetSpent);
                let next = next.map(next_sentence).unwrap_or_default();
                format!("The release failed again after a restart by helmreboot. {cause}{next}")
            }
            Fact::Waits { .. } => format!(
                "helmreboot delays the restart of this release: many releases of the cluster fail for the same cause, so it restarts one at a time until one recovers. {cause} It restarts this release by itself; check what they have in common."
            ),
            Fact::Left {
                reason,
                class,
                retry_at,
                action_minutes,
                ..
            } => {
                let what = match reason {
                    Reason::BudgetSpent => {
                        let restarts = ledger::counted(attempts);
                        let decision = Decision::Leave {
                            retry_at: *retry_at,
                            reason: *reason,
                        };
                        let next = next_sentence(&decision);
                        format!("helmreboot gave up after {restarts} without success, which is the limit. {cause}{next}")
                    }
                    Reason::Overdue => format!(
                        "Flux has been running an action on this release for more than {action_minutes} min, which is longer than its timeouts allow. helmreboot writes nothing."
                    ),
                    Reason::Permanent => format!(
                        "helmreboot does not restart this release, because another attempt fails in the same way. {cause}"
                    ),
                    Reason::UnknownCause => {
                        "helmreboot does not restart this release, because no rule matches the failure message.".to_owned()
                    }
                    Reason::FluxRetries => format!("helmreboot does not restart this release, because Flux keeps retrying it. {cause}"),
                    _ => format!("helmreboot does not restart this release: {}. {cause}", reason.as_str()),
                };
                let (namespace, name) = (&self.release.namespace, &self.release.name);
                let step = next_step(*reason, *class, namespace, name);
                step.map_or(what.clone(), |step| format!("{what} {step}"))
            }
            Fact::InvalidAnnotation {
                annotation,
                problem,
            } => format!("helmreboot cannot use the annotation {annotation}: {problem}."),
            _ => self.line(),
        }
    }
}

/// What helm-controller puts into the metadata of its events (`internal/reconcile/reconcile.go`, `eventMeta`), a token,
/// and what people set on the object for all events. Keys of the group of HelmRelease keep their group: without it,
/// notification-controller drops them.
fn metadata_of(release: &Release, id: &str) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    let annotations = release.metadata.annotations.iter();
    let copied = annotations
        .filter(|(name, value)| name.starts_with(EVENT_PREFIX) && value.len() <= COPIED_LENGTH);
    for (name, value) in copied.take(COPIED) {
        metadata.insert(name.clone(), value.clone());
    }
    let newest = release.newest();
    let version = release.status.last_attempted_revision.as_deref();
    let version = version.or(newest.map(|newest| newest.chart_version.as_str()));
    for (name, value) in [
        ("revision", version),
        (
            "app-version",
            newest.map(|newest| newest.app_version.as_str()),
        ),
        (
            "oci-digest",
            newest.map(|newest| newest.oci_digest.as_str()),
        ),
        // notification-controller drops an event with the token of one that it has just sent, and removes the token.
        ("token", Some(id)),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            metadata.insert(format!("{HELM_GROUP}/{name}"), value.to_owned());
        }
    }
    metadata
}

/// The message, cut to the limit of the API server.
fn bounded(mut message: String) -> String {
    if message.len() > MESSAGE_LIMIT {
        message.truncate(message.floor_char_boundary(MESSAGE_LIMIT - 3));
        message.push_str("...");
    }
    message
}
