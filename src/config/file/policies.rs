//! The section `policy` and the list `policies`.

use std::{collections::BTreeMap, mem};

use serde::Deserialize;

use super::text::or_default;
#[cfg(test)]
use super::text::schema;
use crate::domain::{
    ledger::Action,
    policy::{AfterRemediation, Mode},
};

/// serde cannot flatten a struct into another one that denies unknown fields, so the settings of a policy are written
/// once here, for the section `policy` and for the entries of `policies`.
macro_rules! policies {
    ($($(#[$meta:meta])* $field:ident: $type:ty,)+) => {
        /// The section `policy`.
        #[derive(Debug, Default, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub(crate) struct PolicySection {
            $($(#[$meta])* pub(crate) $field: $type,)+
        }

        /// An entry of `policies`.
        #[derive(Debug, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub(crate) struct PolicyEntry {
            /// name of the policy
            #[cfg_attr(test, schemars(regex(pattern = crate::config::parse::CLUSTER_NAME), length(max = 63)))]
            pub(crate) name: String,
            /// the releases that the policy is for
            #[serde(default, rename = "match", deserialize_with = "or_default")]
            pub(crate) matching: MatchSection,
            /// act, or observe: decide and report, but write nothing
            pub(crate) mode: Option<Mode>,
            $($(#[$meta])* pub(crate) $field: $type,)+
        }

        impl PolicyEntry {
            pub(crate) fn settings(&mut self) -> PolicySection {
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
    unknown: Option<UnknownClass>,
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
pub(crate) struct BackoffSection {
    /// wait after the first restart
    pub(crate) duration: Option<String>,
    /// factor between one wait and the next, from 1 to 10
    #[serde(default)]
    #[cfg_attr(test, schemars(schema_with = "schema::text_or_number"))]
    pub(crate) factor: Option<f64>,
    /// the longest wait
    pub(crate) max_duration: Option<String>,
}

/// What annotations of a release may widen.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct AllowSection {
    /// whether the annotation helmreboot.io/after-rollback may allow more than afterRollback
    pub(crate) after_rollback: Option<bool>,
}

/// The releases that a policy is for. A field that is absent or empty matches everything.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct MatchSection {
    /// names of clusters; * at the end matches any remainder
    #[serde(deserialize_with = "or_default")]
    pub(crate) clusters: Vec<String>,
    /// names of namespaces; * at the end matches any remainder
    #[serde(deserialize_with = "or_default")]
    pub(crate) namespaces: Vec<String>,
    /// labels of the release
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
}

/// The class of a failure that no rule matches.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub(crate) enum UnknownClass {
    /// It is not restarted.
    Permanent,
    /// It is restarted.
    Transient,
}
