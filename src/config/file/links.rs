//! The list `dashboardLinks`.

use serde::Deserialize;

/// One link.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct LinkEntry {
    /// the text of the link
    pub(crate) name: String,
    /// its address; {cluster}, {namespace} and {name} are replaced by those of the release
    pub(crate) url: String,
}
