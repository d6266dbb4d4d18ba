//! The section `limits`.

use jiff::SignedDuration;

use super::{
    file::LimitsSection,
    parse::{duration, within},
    section::Section,
};
use crate::domain::limits::LimitConfig;

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
