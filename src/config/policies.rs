//! The policies: one for all releases, and a list for the releases that they match.

use std::{collections::BTreeMap, mem};

use jiff::SignedDuration;
use serde::Deserialize;

#[cfg(test)]
use super::file::schema;
use super::{
    file::or_default,
    parse::{cluster_name, duration, or_off, share, within},
    section::Section,
};
use crate::domain::{
    classify::Class,
    ledger::Action,
    policy::{AfterRemediation, Match, Mode, Policy},
};

/// serde cannot flatten a struct into another one that denies unknown fields, so the settings of a policy are written
/// once here, for the section `policy` and for the entries of `policies`.
macro_rules! policies {
    ($($(#[$meta:meta])* $field:ident: $type:ty,)+) => {
        /// The section `policy`.
        #[derive(Debug, Default, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub(super) struct PolicySection {
            $($(#[$meta])* $field: $type,)+
        }

        /// An entry of `policies`.
        #[derive(Debug, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub(super) struct PolicyEntry {
            /// name of the policy
            #[cfg_attr(test, schemars(regex(pattern = super::parse::CLUSTER_NAME), length(max = 63)))]
            name: String,
            /// the releases that the policy is for
            #[serde(default, rename = "match", deserialize_with = "or_default")]
            matching: MatchSection,
            /// act, or observe: decide and report, but write nothing
            mode: Option<Mode>,
            $($(#[$meta])* $field: $type,)+
        }

        impl PolicyEntry {
            fn settings(&mut self) -> PolicySection {
                PolicySection { $($field: mem::take(&mut self.$field)),+ }
            }
        }
    };
}

policies! {
    /// whether releases are restarted at all
    enabled: Option<bool>,
    /// restarts for each configuration of a release, from 0 to 100
    limit: Option<u32>,
    /// the waits between restarts
    #[serde(default, deserialize_with = "or_default")]
    backoff: BackoffSection,
    /// random share that is added to each wait, so that releases are not restarted at the same time
    #[serde(default)]
    #[cfg_attr(test, schemars(schema_with = "schema::text_or_number"))]
    jitter: Option<String>,
    /// interval of further restarts after the limit is reached, or off
    #[serde(default)]
    #[cfg_attr(test, schemars(schema_with = "schema::text_or_off"))]
    slow_lane: Option<String>,
    /// how a Stalled release is restarted: reset (resetAt) or force (forceAt, one forced upgrade)
    action: Option<Action>,
    /// class of a failure that no rule matches: permanent or transient
    unknown: Option<Class>,
    /// restart once after Flux rolled back, which deploys the failed version again: never, infrastructure (only if infrastructure is the cause) or always
    after_rollback: Option<AfterRemediation>,
    /// restart once after Flux uninstalled, which installs the failed version again: never, infrastructure (only if infrastructure is the cause) or always
    after_uninstall: Option<AfterRemediation>,
    /// what annotations of a release may widen
    #[serde(default, deserialize_with = "or_default")]
    allow: AllowSection,
    /// also write fluxcd.io/reconcileAt, as the first HelmReboot did
    legacy_annotation: Option<bool>,
}

/// The waits between restarts.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct BackoffSection {
    /// wait after the first restart
    duration: Option<String>,
    /// factor between one wait and the next, from 1 to 10
    factor: Option<f64>,
    /// the longest wait
    max_duration: Option<String>,
}

/// What annotations of a release may widen.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct AllowSection {
    /// whether the annotation helmreboot.io/after-rollback may allow more than afterRollback
    after_rollback: Option<bool>,
}

/// The releases that a policy is for. A field that is absent or empty matches everything.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct MatchSection {
    /// names of clusters; * at the end matches any remainder
    #[serde(deserialize_with = "or_default")]
    clusters: Vec<String>,
    /// names of namespaces; * at the end matches any remainder
    #[serde(deserialize_with = "or_default")]
    namespaces: Vec<String>,
    /// labels of the release
    #[serde(deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

/// The policy for the releases that no entry of the list matches.
pub(super) fn base(settings: PolicySection, section: &mut Section<'_>) -> Policy {
    let mut policy = Policy::default();
    settings.apply(&mut policy, section);
    policy
}

/// The list, whose entries start from the policy for all releases.
pub(super) fn listed(
    entries: Vec<PolicyEntry>,
    base: &Policy,
    mut section: Section<'_>,
) -> Vec<(Match, Policy)> {
    let mut listed: Vec<(Match, Policy)> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let mut section = section.item(index);
        let Some((matching, policy)) = entry.check(base, &mut section) else {
            continue;
        };
        let mut names = listed.iter().map(|(_, other)| &other.name);
        if policy.name == base.name || names.any(|name| *name == policy.name) {
            section.fault(format!(
                "the name {} is taken; give each policy its own",
                policy.name
            ));
        }
        listed.push((matching, policy));
    }
    listed
}

impl PolicyEntry {
    fn check(mut self, base: &Policy, section: &mut Section<'_>) -> Option<(Match, Policy)> {
        let mut policy = base.clone();
        let settings = self.settings();
        settings.apply(&mut policy, section);
        policy.mode = self.mode.unwrap_or(policy.mode);
        let matching = Match {
            clusters: self.matching.clusters,
            namespaces: self.matching.namespaces,
            labels: self.matching.labels,
        };
        for (field, names) in [
            ("match.clusters", &matching.clusters),
            ("match.namespaces", &matching.namespaces),
        ] {
            if names.iter().any(String::is_empty) {
                section.field_fault(field, "has an empty name; write a name, or remove it");
            }
        }
        policy.name = section.checked("name", Some(self.name), |name| cluster_name(name))?;
        Some((matching, policy))
    }
}

impl PolicySection {
    /// Takes over the settings that are there.
    fn apply(self, policy: &mut Policy, section: &mut Section<'_>) {
        let year = SignedDuration::from_hours(24 * 365);
        let (backoff, allow) = (&mut policy.backoff, self.allow);
        section.set(&mut policy.limit, "limit", self.limit, within(0..=100));
        section.set(&mut backoff.jitter, "jitter", self.jitter, |text| {
            share(text)
        });
        section.set(&mut policy.slow_lane, "slowLane", self.slow_lane, |text| {
            or_off(text, year)
        });
        section.set(
            &mut policy.unknown,
            "unknown",
            self.unknown,
            |class| match class {
                Class::Benign => Err("expected one of permanent, transient".into()),
                class => Ok(*class),
            },
        );
        let mut section = section.inner("backoff");
        let BackoffSection {
            duration: first,
            factor,
            max_duration,
        } = self.backoff;
        section.set(&mut backoff.duration, "duration", first, |text| {
            duration(text, year)
        });
        section.set(&mut backoff.factor, "factor", factor, within(1.0..=10.0));
        section.set(
            &mut backoff.max_duration,
            "maxDuration",
            max_duration,
            |text| duration(text, year),
        );
        let replace = |to: &mut bool, given: Option<bool>| *to = given.unwrap_or(*to);
        replace(&mut policy.enabled, self.enabled);
        replace(&mut policy.legacy_annotation, self.legacy_annotation);
        replace(&mut policy.allow_after_rollback, allow.after_rollback);
        replace(
            &mut policy.force,
            self.action.map(|action| action == Action::Force),
        );
        policy.after_rollback = self.after_rollback.unwrap_or(policy.after_rollback);
        policy.after_uninstall = self.after_uninstall.unwrap_or(policy.after_uninstall);
    }
}
