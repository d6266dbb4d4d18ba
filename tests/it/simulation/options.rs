//! The settings of a history.

use std::time::Duration;

use helmreboot::{
    app::Options,
    config::SweepMode,
    domain::{
        limits::{LimitConfig, Rate},
        policy::{AfterRemediation, Policies, Policy},
    },
};
use jiff::SignedDuration;

use super::Fate;

pub(super) fn options(fate: &Fate) -> Options {
    let hours = |hours| Some(SignedDuration::from_hours(hours));
    let policy = Policy {
        limit: u32::try_from(fate.number(1..6)).expect("small"),
        slow_lane: fate.one_of(&[None, hours(1), hours(2)]),
        after_rollback: fate.one_of(AfterRemediation::ALL),
        after_uninstall: fate.one_of(AfterRemediation::ALL),
        force: fate.chance(0.1),
        ..Policy::default()
    };
    let observed = if fate.chance(0.1) {
        vec!["us".into()]
    } else {
        Vec::new()
    };
    let limits = LimitConfig {
        in_flight: fate.one_of(&[2, 20]),
        threshold: fate.one_of(&[3, 5]),
        rate: Rate {
            per_minute: 30,
            burst: 3,
        },
        ..LimitConfig::default()
    };
    let every = SweepMode::Every(Duration::from_secs(300));
    Options {
        policies: Policies {
            base: policy,
            observed,
            ..Policies::default()
        },
        limits,
        sweep: fate.one_of(&[
            SweepMode::Watch,
            SweepMode::Watch,
            SweepMode::Watch,
            SweepMode::Watch,
            every,
            SweepMode::Off,
        ]),
        queue_capacity: fate.one_of(&[3, 4096]),
        ..Options::default()
    }
}
