//! The section `limits`.

use serde::Deserialize;

/// The limits of each cluster.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct LimitsSection {
    /// restarts per minute in one cluster
    pub(crate) rate_per_minute: Option<u32>,
    /// restarts that one cluster may have at once before ratePerMinute applies
    pub(crate) burst: Option<u32>,
    /// concurrent restarts in one cluster: those whose outcome is not known
    pub(crate) in_flight: Option<usize>,
    /// releases that fail for the same cause within breakerWindow open the circuit breaker
    pub(crate) breaker_threshold: Option<usize>,
    /// time in which these failures are counted
    pub(crate) breaker_window: Option<String>,
    /// wait after a restart that failed while the breaker is open; it doubles up to 1h
    pub(crate) breaker_wait: Option<String>,
}
