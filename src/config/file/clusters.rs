//! The lists `clusters` and `keys`.

use serde::Deserialize;

#[cfg(test)]
use super::text::schema;
use super::text::{Names, or_default};
use crate::domain::policy::Mode;

/// An entry of `clusters`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ClusterEntry {
    /// name of the cluster, as in the path of the Provider and in eventMetadata.cluster
    #[cfg_attr(test, schemars(regex(pattern = crate::config::parse::CLUSTER_NAME), length(max = 63)))]
    pub(crate) name: String,
    /// at least one of file: PATH or env: NAME; several during a rotation
    #[serde(deserialize_with = "or_default")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub(crate) keys: Vec<KeyEntry>,
    /// a kubeconfig
    pub(crate) kubeconfig: Option<String>,
    /// a context in it other than the current one
    pub(crate) context: Option<String>,
    /// true: use the service account of the pod
    pub(crate) in_cluster: Option<bool>,
    /// the notification-controller of the cluster, for Flux events
    pub(crate) events_addr: Option<String>,
    /// act or observe for this cluster
    pub(crate) mode: Option<Mode>,
    /// namespaces to watch; necessary if helmreboot may not watch all namespaces
    #[serde(default)]
    #[cfg_attr(test, schemars(schema_with = "schema::names"))]
    pub(crate) sweep_namespaces: Option<Names>,
}

/// An entry of `keys`. A key for no namespace is an error: it must not be a key for all of them.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct KeyEntry {
    /// file with the key; re-read when it changes
    pub(crate) file: Option<String>,
    /// environment variable with the key
    pub(crate) env: Option<String>,
    /// the namespaces that the key is limited to
    pub(crate) namespaces: Option<Vec<String>>,
}
