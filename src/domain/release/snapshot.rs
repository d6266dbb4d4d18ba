//! The Helm revisions in the status of a release.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{config, or_default};
use crate::domain::short_hash::short_hash;

/// One Helm revision in `status.history`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Snapshot {
    /// Helm's revision number; starts again after an uninstall.
    pub version: i64,
    /// Helm's word: `deployed`, `failed`, `superseded`, `uninstalled` ...
    #[serde(deserialize_with = "or_default")]
    pub status: String,
    /// Version of the chart.
    #[serde(deserialize_with = "or_default")]
    pub chart_version: String,
    /// Version of the application in the chart.
    #[serde(deserialize_with = "or_default")]
    pub app_version: String,
    /// Digest of the chart, where it came from an OCI registry.
    #[serde(deserialize_with = "or_default")]
    pub oci_digest: String,
    /// Digest of the values.
    #[serde(deserialize_with = "or_default")]
    pub config_digest: String,
    /// When Helm ran for it.
    #[serde(deserialize_with = "or_default")]
    pub last_deployed: String,
    /// How its tests ended; Helm calls a revision whose tests failed `deployed` all the same.
    #[serde(deserialize_with = "or_default")]
    pub test_hooks: BTreeMap<String, TestHook>,
}

/// One test of a revision.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TestHook {
    /// Helm's word: `Succeeded`, `Failed` ...
    #[serde(deserialize_with = "or_default")]
    pub phase: String,
}

impl Snapshot {
    /// Whether Helm deployed it; a test of it may have failed.
    pub(super) fn is_deployed(&self) -> bool {
        matches!(self.status.as_str(), "deployed" | "superseded")
    }

    /// Whether it was deployed, and no test of it failed.
    pub(super) fn is_good(&self) -> bool {
        let mut hooks = self.test_hooks.values();
        self.is_deployed() && hooks.all(|hook| hook.phase != "Failed")
    }

    /// As [`super::ConfigKey::config_hash`].
    pub(super) fn config_hash(&self) -> String {
        let digest = Some(self.config_digest.as_str()).filter(|digest| !digest.is_empty());
        short_hash(&config(Some(&self.chart_version), digest))
    }
}
