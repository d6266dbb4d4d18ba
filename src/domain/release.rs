//! The live HelmRelease, with only the fields that are used (`fluxcd/helm-controller:api/v2`).
//!
//! Unknown fields, a missing status and null are all normal: v2beta1 knows no history, a fresh object
//! has no status at all.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{failure_text::FailureText, short_hash::short_hash};

mod action;
mod snapshot;
pub use action::{ActionSpec, is_remediation};
pub use snapshot::{Snapshot, TestHook};

/// The annotation whose changed value wakes Flux.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// With the same value as [`REQUESTED_AT`]: forget the failures counted so far.
pub const RESET_AT: &str = "reconcile.fluxcd.io/resetAt";
/// With the same value as [`REQUESTED_AT`]: upgrade once, whatever was counted.
pub const FORCE_AT: &str = "reconcile.fluxcd.io/forceAt";

/// A HelmRelease as the API server holds it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Release {
    /// Group and version, as in `helm.toolkit.fluxcd.io/v2`; empty in lists, whose items carry none.
    #[serde(deserialize_with = "or_default")]
    pub api_version: String,
    /// `HelmRelease`, or it is something else.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    /// Who it is and what is written on it.
    #[serde(deserialize_with = "or_default")]
    pub metadata: Metadata,
    /// The desired state.
    #[serde(deserialize_with = "or_default")]
    pub spec: Spec,
    /// What Flux made of it.
    #[serde(deserialize_with = "or_default")]
    pub status: Status,
}

/// The used part of `metadata`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Its namespace.
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
    /// Identity over time: a re-created object has another.
    #[serde(deserialize_with = "or_default")]
    pub uid: String,
    /// For compare-and-swap.
    #[serde(deserialize_with = "or_default")]
    pub resource_version: String,
    /// Grows with every change of `spec`.
    pub generation: Option<i64>,
    /// Set while the object is being deleted.
    pub deletion_timestamp: Option<String>,
    /// What policies are matched by.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Flux's requests, people's wishes and our ledger.
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
}

/// The used part of `spec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// A person suspended the release.
    #[serde(deserialize_with = "or_default")]
    pub suspend: bool,
    /// The timeout of actions that have none of their own, as a Go duration.
    #[serde(deserialize_with = "or_default")]
    pub timeout: Option<String>,
    /// Settings of installs.
    #[serde(deserialize_with = "or_default")]
    pub install: ActionSpec,
    /// Settings of upgrades.
    #[serde(deserialize_with = "or_default")]
    pub upgrade: ActionSpec,
    /// Settings of rollbacks.
    #[serde(deserialize_with = "or_default")]
    pub rollback: ActionSpec,
    /// Settings of uninstalls.
    #[serde(deserialize_with = "or_default")]
    pub uninstall: ActionSpec,
    /// Settings of tests.
    #[serde(deserialize_with = "or_default")]
    pub test: ActionSpec,
}

/// The used part of `status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Ready, Reconciling, Stalled, Released, Remediated, TestSuccess.
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
    /// Written one patch after Stalled, so not the number to judge a stall by.
    pub observed_generation: Option<i64>,
    /// The generation Flux last tried; absent in v2beta1 and before the first try.
    pub last_attempted_generation: Option<i64>,
    /// The chart version Flux last tried.
    pub last_attempted_revision: Option<String>,
    /// Digest of the values Flux last tried.
    pub last_attempted_config_digest: Option<String>,
    /// The same in v2beta1.
    pub last_attempted_values_checksum: Option<String>,
    /// The last [`REQUESTED_AT`] Flux took notice of, whatever it did about it.
    pub last_handled_reconcile_at: Option<String>,
    /// Failed attempts since the counters were last reset.
    #[serde(deserialize_with = "or_default")]
    pub failures: i64,
    /// Failed installs, stored ones only.
    #[serde(deserialize_with = "or_default")]
    pub install_failures: i64,
    /// Failed upgrades, stored ones only.
    #[serde(deserialize_with = "or_default")]
    pub upgrade_failures: i64,
    /// Helm revisions Flux made, in no order to rely on.
    #[serde(deserialize_with = "or_default")]
    pub history: Vec<Snapshot>,
}

/// A status condition.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Ready, Stalled ...
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False or Unknown.
    pub status: Truth,
    /// CamelCase reason.
    #[serde(deserialize_with = "or_default")]
    pub reason: String,
    /// For people, and for the classifier.
    #[serde(deserialize_with = "or_default")]
    pub message: String,
    /// The generation that it is about.
    pub observed_generation: Option<i64>,
    /// Since when the condition has this value.
    pub last_transition_time: Option<String>,
}

impl Condition {
    fn said(&self) -> FailureText<'_> {
        FailureText {
            reason: &self.reason,
            message: &self.message,
        }
    }
}

/// The three values of a condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub enum Truth {
    True,
    False,
    #[default]
    #[serde(other)]
    Unknown,
}

/// What a budget counts against: generation, attempted chart version and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigKey {
    generation: i64,
    /// Chart version and digest of the values, bounded.
    config: String,
}

/// What shows that Flux did something: compared before and after a restart. The handled tokens are no
/// part of it, for Flux records them even when it does nothing (`fluxcd/pkg:apis/meta/annotations.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    revision: i64,
    text: String,
}

impl Release {
    /// The condition of that type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status
            .conditions
            .iter()
            .find(|condition| condition.kind == kind)
    }

    /// Whether the condition of that type has that value.
    pub fn is(&self, kind: &str, truth: Truth) -> bool {
        self.condition(kind)
            .is_some_and(|condition| condition.status == truth)
    }

    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.get(key).map(String::as_str)
    }

    /// The texts of the conditions that report a failure. Stalled only says that Flux stopped, not
    /// why, so it speaks only where nothing else does.
    pub fn failures(&self) -> impl Iterator<Item = FailureText<'_>> {
        let failed = ["Released", "Ready", "TestSuccess", "Remediated"]
            .into_iter()
            .filter_map(|kind| self.condition(kind))
            .filter(|condition| condition.status == Truth::False);
        let mut causes = failed.map(Condition::said).peekable();
        let stalled = causes
            .peek()
            .is_none()
            .then(|| self.condition("Stalled"))
            .flatten();
        let stalled = stalled.filter(|condition| condition.status == Truth::True);
        causes.chain(stalled.map(Condition::said))
    }

    /// Whether it failed: Ready says so, or Flux has given up whatever Ready says (story
    /// `reset-swallowed-by-dependency`).
    pub fn failing(&self) -> bool {
        self.is("Ready", Truth::False) || self.is("Stalled", Truth::True)
    }

    /// Whether Flux does not work on it now, so that a reconcile has something to do.
    pub fn at_rest(&self) -> bool {
        let working = self.is("Reconciling", Truth::True) && !self.is("Stalled", Truth::True);
        self.metadata.deletion_timestamp.is_some()
            || self.spec.suspend
            || !(working || self.token_pending())
    }

    /// Whether there is a token that Flux has not handled, ours or that of another client.
    pub fn token_pending(&self) -> bool {
        // Flux keeps an empty token as none at all.
        self.annotation(REQUESTED_AT)
            .filter(|token| !token.is_empty())
            .is_some_and(|token| self.status.last_handled_reconcile_at.as_deref() != Some(token))
    }

    /// The configuration Flux last tried.
    pub fn config_key(&self) -> ConfigKey {
        let status = &self.status;
        let digest = status.last_attempted_config_digest.as_deref();
        let digest = digest.or(status.last_attempted_values_checksum.as_deref());
        ConfigKey {
            generation: self.metadata.generation.unwrap_or_default(),
            config: config(status.last_attempted_revision.as_deref(), digest),
        }
    }

    /// Flux's own records of what it did.
    ///
    /// Besides version and counters they hold when Helm last ran: after an uninstall remediation the
    /// version starts again and the counters can read the same as before
    /// (`recorded/uninstalled-then-reset`).
    pub fn progress(&self) -> Progress {
        let status = &self.status;
        let newest = self.newest();
        let revision = newest.map_or(0, |snapshot| snapshot.version);
        let text = format!(
            "v{revision} ran={} failures={}/{}/{} revision={}",
            newest.map_or("-", |snapshot| snapshot.last_deployed.as_str()),
            status.failures,
            status.install_failures,
            status.upgrade_failures,
            status.last_attempted_revision.as_deref().unwrap_or("-"),
        );
        Progress { revision, text }
    }

    /// The newest Helm revision; a later run outranks a higher number.
    pub fn newest(&self) -> Option<&Snapshot> {
        let history = self.status.history.iter();
        history.max_by_key(|snapshot| (snapshot.last_deployed.as_str(), snapshot.version))
    }

    /// The newest Helm revision in which the configuration that Flux tried last was deployed well; 0 for none.
    pub fn last_success(&self) -> i64 {
        let hash = self.config_key().config_hash();
        let history = self.status.history.iter();
        let good = history.filter(|snapshot| snapshot.is_good() && snapshot.config_hash() == hash);
        good.map(|snapshot| snapshot.version)
            .max()
            .unwrap_or_default()
    }

    /// Hashes of the configurations that a rollback may deploy: those Helm deployed, at most the five newest. Flux
    /// lists no more.
    pub fn deployed(&self) -> Vec<String> {
        let mut history: Vec<_> = self.status.history.iter().collect();
        history.retain(|snapshot| snapshot.is_deployed());
        history.sort_by_key(|snapshot| Reverse(snapshot.version));
        let mut hashes: Vec<_> = history.iter().map(|it| it.config_hash()).collect();
        hashes.dedup();
        hashes.truncate(5);
        hashes
    }

    /// Whether a configuration that is not in `before` was deployed well as a revision newer than `revision`. If
    /// `before` was [`Self::deployed`] at that revision, this proves a success since then: Flux rolls back to a
    /// revision that was deployed, so a good one that is not in `before` is a success, or a rollback to one.
    pub fn deployed_other_than(&self, before: &[String], revision: i64) -> bool {
        let failed = self.is("TestSuccess", Truth::False);
        let newest = self.newest().map(|newest| newest.version);
        let history = self.status.history.iter();
        let mut good = history.filter(|it| it.is_good() && !(failed && Some(it.version) == newest));
        good.any(|it| it.version > revision && !before.contains(&it.config_hash()))
    }

    /// Whether a configuration, by its hash, was deployed well as a revision newer than `revision`.
    /// `current` says that it is the one Flux last tried.
    /// A rollback deploys too, and so does an upgrade whose tests fail: neither is a success. Nothing
    /// is believed while Flux has remediated, and a configuration Flux no longer tries is only
    /// believed in its first good revision: a later one may be a rollback to it.
    /// Revisions are compared rather than times, because Flux's clock is another one.
    pub fn deployed_after(&self, revision: i64, config_hash: &str, current: bool) -> bool {
        if self.is("TestSuccess", Truth::False) || self.is("Remediated", Truth::True) {
            return false;
        }
        let good =
            |snapshot: &&Snapshot| snapshot.is_good() && snapshot.config_hash() == config_hash;
        let revisions = || self.status.history.iter().filter(good).map(|s| s.version);
        let decides = if current {
            revisions().max()
        } else {
            revisions().min()
        };
        decides.is_some_and(|version| version > revision)
    }
}

/// Chart version and digest of the values, cut to a length at which they still differ.
fn config(revision: Option<&str>, digest: Option<&str>) -> String {
    let digest = digest.unwrap_or("-");
    let digest = digest.rsplit(':').next().unwrap_or(digest);
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    format!("{}/{}", cut(revision.unwrap_or("-"), 80), cut(digest, 12))
}

impl ConfigKey {
    /// A short name for it, for the state on the release: generation, a hyphen, and
    /// [`Self::config_hash`].
    pub fn id(&self) -> String {
        format!("{}-{}", self.generation, self.config_hash())
    }

    /// Of chart version and values: the same in `status.history`, which knows no generation.
    pub fn config_hash(&self) -> String {
        short_hash(&self.config)
    }
}

impl Progress {
    /// The newest Helm revision; 0 before the first.
    pub fn revision(&self) -> i64 {
        self.revision
    }
}

fn or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    de: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(de).map(Option::unwrap_or_default)
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.generation, self.config)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
