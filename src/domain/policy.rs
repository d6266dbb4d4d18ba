//! Policies, with the names of the sync retry of Argo CD: `limit`, `backoff.duration`, `backoff.factor`,
//! `backoff.maxDuration`.
//!
//! A release has the first policy that matches it. Its annotations narrow the policy, because the owner of a release is
//! often not the operator of helmreboot. Only `after-rollback` may widen it, where the policy allows that. An annotation
//! that is not valid narrows the policy: the release is not restarted, or only observed.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::{classify::Class, ledger::RENEW, release::Release};

mod after_remediation;
pub use after_remediation::AfterRemediation;

/// Set by people: with `"false"`, or anything that is not `"true"`, the release is not restarted.
pub const ENABLED: &str = "helmreboot.io/enabled";
/// Set by people: with `"observe"`, or anything that is not `"act"`, nothing is written on the release.
pub const MODE: &str = "helmreboot.io/mode";
/// Set by people: a lower limit for this release.
pub const LIMIT: &str = "helmreboot.io/limit";
/// Set by people: when one restart follows a rollback by Flux; see [`AfterRemediation`].
pub const AFTER_ROLLBACK: &str = "helmreboot.io/after-rollback";

string_enum! {
    /// Whether decisions are carried out.
    #[derive(Default, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
    Mode {
        /// Decide, record and report everything; write nothing.
        Observe = "observe",
        /// Carry decisions out.
        #[default]
        Act = "act",
    }
}

/// Growing waits between restarts of one release.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// After the first restart.
    pub duration: SignedDuration,
    /// By how much each further wait is longer; at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max_duration: SignedDuration,
    /// Up to this share is added, so that releases that failed together do not return together.
    pub jitter: f64,
}

/// What may be done to a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name; `default` is the one for releases that no other matches.
    pub name: Arc<str>,
    /// Whether these releases are restarted at all.
    pub enabled: bool,
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// Restarts per config key; 0 for none at all.
    pub limit: u32,
    /// Waits between them.
    pub backoff: Backoff,
    /// After the limit, one more restart each time this has gone by; `None` for no more.
    pub slow_lane: Option<SignedDuration>,
    /// Ask a stalled release for one forced upgrade instead of resetting what Flux has counted.
    pub force: bool,
    /// What a cause that no rule knows counts as: [`Class::Permanent`] or [`Class::Transient`].
    pub unknown: Class,
    /// Whether to restart once although Flux rolled back: that deploys the version that failed again.
    pub after_rollback: AfterRemediation,
    /// Whether to restart once although Flux uninstalled: that installs what failed again.
    pub after_uninstall: AfterRemediation,
    /// Write `fluxcd.io/reconcileAt` too, as the first helmreboot did.
    pub legacy_annotation: bool,
    /// Whether [`AFTER_ROLLBACK`] may allow more than `after_rollback`.
    pub allow_after_rollback: bool,
}

/// Which releases a policy is for. What is empty matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// Names of clusters; `*` at the end matches any rest.
    pub clusters: Vec<String>,
    /// Namespaces, in the same form.
    pub namespaces: Vec<String>,
    /// Labels of the release, all of them.
    pub labels: BTreeMap<String, String>,
}

/// All policies.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// For releases that no other matches.
    pub base: Policy,
    /// First match wins.
    pub listed: Vec<(Match, Policy)>,
    /// Clusters where nothing is written.
    pub observed: Vec<Arc<str>>,
}

/// An annotation that is not valid, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InvalidAnnotation {
    /// The annotation.
    pub annotation: &'static str,
    /// What is wrong with it, and what to write instead.
    pub problem: &'static str,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            name: "default".into(),
            enabled: true,
            mode: Mode::Act,
            limit: 5,
            backoff: Backoff {
                duration: SignedDuration::from_mins(1),
                factor: 2.0,
                max_duration: SignedDuration::from_hours(1),
                jitter: 0.1,
            },
            slow_lane: Some(SignedDuration::from_hours(6)),
            force: false,
            unknown: Class::Permanent,
            after_rollback: AfterRemediation::Infrastructure,
            after_uninstall: AfterRemediation::Infrastructure,
            legacy_annotation: true,
            allow_after_rollback: true,
        }
    }
}

impl Policies {
    /// The policy for a release, as its annotations narrow it, and the annotations that are not valid.
    pub fn for_release(
        &self,
        cluster: &str,
        release: &Release,
    ) -> (Policy, Vec<InvalidAnnotation>) {
        let matching = self
            .listed
            .iter()
            .find(|(wanted, _)| wanted.matches(cluster, release));
        let mut policy = matching.map_or(&self.base, |(_, policy)| policy).clone();
        let mut invalid = Vec::new();
        // What is switched to observing as a whole stays so, whatever policy was chosen.
        if self.base.mode == Mode::Observe || self.observed.iter().any(|name| **name == *cluster) {
            policy.mode = Mode::Observe;
        }
        policy.annotated(release, &mut invalid);
        (policy, invalid)
    }
}

impl From<Policy> for Policies {
    fn from(base: Policy) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }
}

impl Match {
    fn matches(&self, cluster: &str, release: &Release) -> bool {
        let metadata = &release.metadata;
        let any = |patterns: &[String], name: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| matches_name(pattern, name))
        };
        any(&self.clusters, cluster)
            && any(&self.namespaces, &metadata.namespace)
            && self
                .labels
                .iter()
                .all(|(name, value)| metadata.labels.get(name) == Some(value))
    }
}

/// A truth value as people write it in annotations, in upper or lower case. `None` for anything else: the
/// caller then does less, because a person wanted something and what it was is not known.
fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" | "enabled" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" | "disabled" => Some(false),
        _ => None,
    }
}

fn matches_name(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

impl Policy {
    /// What the annotations of a release make of its policy.
    fn annotated(&mut self, release: &Release, invalid: &mut Vec<InvalidAnnotation>) {
        let mut read = |annotation, apply: &mut dyn FnMut(&str) -> Result<(), &'static str>| {
            let value = release.annotation(annotation).map(str::trim);
            if let Some(Err(problem)) = value.map(apply) {
                invalid.push(InvalidAnnotation {
                    annotation,
                    problem,
                });
            }
        };
        read(ENABLED, &mut |value| {
            let enabled = truth(value);
            self.enabled &= enabled.unwrap_or(false);
            let problem = "expected \"true\" or \"false\"; the release is not restarted until it is one of them";
            enabled.map(drop).ok_or(problem)
        });
        read(MODE, &mut |value| {
            let acts = value.eq_ignore_ascii_case("act");
            if !acts {
                self.mode = Mode::Observe;
            }
            let known = acts || value.eq_ignore_ascii_case("observe");
            let problem = "expected \"act\" or \"observe\"; nothing is written on this release until it is \"act\"";
            known.then_some(()).ok_or(problem)
        });
        read(LIMIT, &mut |value| {
            let Ok(limit) = value.parse::<u32>() else {
                self.limit = 0;
                return Err(
                    "expected a number of restarts such as \"2\"; it counts as 0 until it is one",
                );
            };
            if limit > self.limit {
                return Err("is more than the limit of the policy, which counts");
            }
            self.limit = limit;
            Ok(())
        });
        read(AFTER_ROLLBACK, &mut |value| {
            self.apply_after_rollback(value)
        });
        read(RENEW, &mut |value| {
            if value.is_empty() {
                return Err("is empty; write any new value, such as the date");
            }
            Ok(())
        });
    }

    /// The restarts for a failure of a rule with this share of the limit, in percent; at least one, unless the share or
    /// the limit is 0.
    pub fn limit_for(&self, share: u16) -> u32 {
        let limit = (u64::from(self.limit) * u64::from(share)).div_ceil(100);
        u32::try_from(limit).unwrap_or(u32::MAX)
    }
}

impl Backoff {
    /// The earliest time for the next restart, after `attempts` restarts of which the last was at
    /// `last` under `token`.
    pub fn until(&self, attempts: u32, last: Timestamp, token: &str) -> Timestamp {
        let steps = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
        let wait = self.duration.as_secs_f64() * self.factor.powi(steps);
        let wait = wait.min(self.max_duration.as_secs_f64());
        self.after(wait, last, token)
    }

    /// The earliest time for a try of the slow lane.
    pub fn slow(&self, lane: SignedDuration, last: Timestamp, token: &str) -> Timestamp {
        self.after(lane.as_secs_f64(), last, token)
    }

    /// Jitter comes out of the token, so that every replica and every reconcile compute the same time. Whole
    /// seconds, as API servers report them.
    fn after(&self, wait: f64, last: Timestamp, token: &str) -> Timestamp {
        let hash = Sha256::digest(token.as_bytes());
        let share = f64::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
            / f64::from(u32::MAX);
        let wait = (wait * (1.0 + self.jitter * share)).ceil();
        let wait = SignedDuration::try_from_secs_f64(wait);
        last.saturating_add(wait.unwrap_or(self.max_duration))
            .unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests;
