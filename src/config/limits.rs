//! The section `limits`.

use jiff::SignedDuration;
use serde::Deserialize;

use super::{
    parse::{duration, within},
    section::Section,
};
use crate::domain::limits::LimitConfig;

/// The limits of each cluster.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct LimitsSection {
    /// restarts per minute in one cluster
    rate_per_minute: Option<u32>,
    /// restarts that one cluster may have at once before ratePerMinute applies
    burst: Option<u32>,
    /// concurrent restarts in one cluster: those whose outcome is not known
    in_flight: Option<usize>,
    /// releases that fail for the same cause within breakerWindow open the circuit breaker
    breaker_threshold: Option<usize>,
    /// time in which these failures are counted
    breaker_window: Option<String>,
    /// wait after a restart that failed while the breaker is open; it doubles up to 1h
    breaker_wait: Option<String>,
}

impl LimitsSection {
    /// The limits, with defaults for those that are not set.
    pub(super) fn check(self, mut section: Section<'_>) -> LimitConfig {
        let hour = SignedDuration::from_hours(1);
        let mut limits = LimitConfig::default();
        let (rate, burst) = (&mut limits.rate.per_minute, &mut limits.rate.burst);
        let (window, wait) = (&mut limits.window, &mut limits.wait);
        section.set(
            rate,
            "ratePerMinute",
            self.rate_per_minute,
            within(1..=6000),
        );
        section.set(burst, "burst", self.burst, within(1..=1000));
        section.set(
            &mut limits.in_flight,
            "inFlight",
            self.in_flight,
            within(1..=1000),
        );
        section.set(
            &mut limits.threshold,
            "breakerThreshold",
            self.breaker_threshold,
            within(2..=10_000),
        );
        section.set(window, "breakerWindow", self.breaker_window, |text| {
            duration(text, hour * 24)
        });
        section.set(wait, "breakerWait", self.breaker_wait, |text| {
            duration(text, hour)
        });
        limits
    }
}
