//! What a worker tells about its cluster as a whole: breakers, limits that are used up, and a summary while
//! releases are held back or lines were.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use jiff::Timestamp;

use super::Worker;
use crate::{
    clock::spoken,
    domain::{
        ledger::Ended,
        storm::{BreakerChange, HeldBack, StormControl},
    },
    registry::Failing,
};

/// Ticks between two summaries.
const EVERY: u32 = 5;

/// What happened to releases since the last summary.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) restarted: AtomicU32,
    pub(super) recovered: AtomicU32,
    pub(super) failed_again: AtomicU32,
    pub(super) gave_up: AtomicU32,
}

/// What was told of a cluster as a whole.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ticks: u32,
    /// Restarts had to wait for a slot or for the rate at the last tick.
    limited: bool,
    /// That was told.
    limited_told: bool,
    /// The last summary told of releases that are held back.
    held: bool,
}

impl Tally {
    pub(super) fn ended(&self, end: Ended) {
        match end {
            Ended::Recovered => self.recovered.fetch_add(1, Ordering::Relaxed),
            Ended::FailedAgain => self.failed_again.fetch_add(1, Ordering::Relaxed),
            Ended::Swallowed | Ended::Superseded => 0,
        };
    }

    /// For the summary; counts begin at 0 again.
    fn take_text(&self) -> String {
        let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
        format!(
            "{} restarts, {} recovered, {} failed again, {} given up",
            take(&self.restarted),
            take(&self.recovered),
            take(&self.failed_again),
            take(&self.gave_up),
        )
    }
}

/// Tells of breakers that opened or closed.
pub fn tell_breakers(cluster: &str, storm: &StormControl) {
    let (changes, caps) = {
        let mut storm = storm.lock();
        (storm.take_changes(), storm.caps())
    };
    for change in changes {
        match change {
            BreakerChange::Opened { cause, releases } => {
                let window = caps.window.as_mins();
                tracing::warn!(%cluster, %cause, releases, "the breaker for {cause} of {cluster} is open: {releases} releases failed for it within {window} min, so one is restarted at a time; the others follow when a restart helps");
            }
            BreakerChange::Closed { cause, after } => {
                let after = spoken(after.unsigned_abs());
                tracing::info!(%cluster, %cause, "the breaker for {cause} of {cluster} is closed, after {after}");
            }
        }
    }
}

impl Worker {
    /// Once a minute: says what holds restarts back for long, and now and then a summary.
    pub(super) fn tell_of_all(&self) {
        let now = self.shared.clock.now();
        let (held, caps, in_flight) = {
            let mut storm = self.storm.lock();
            storm.open(now);
            (storm.held_back(now), storm.caps(), storm.in_flight())
        };
        let cluster = &*self.cluster.name;
        tell_breakers(cluster, &self.storm);
        let mut state = self.told.0.lock().unwrap_or_else(PoisonError::into_inner);
        let limited = held.by_slots + held.by_rate > 0;
        if limited && state.limited && !state.limited_told {
            state.limited_told = true;
            let waiting = held.by_slots + held.by_rate;
            let (slots, rate) = (caps.in_flight, caps.rate.per_minute);
            let what = if held.by_slots > 0 {
                format!("all {slots} slots for running restarts")
            } else {
                format!("the {rate} restarts a minute")
            };
            tracing::warn!(%cluster, waiting, in_flight, "{what} of {cluster} have been in use for a minute: {waiting} releases wait for their restart");
        } else if !limited && state.limited_told {
            state.limited_told = false;
            tracing::info!(%cluster, "restarts of {cluster} no longer wait for a slot or for the rate");
        }
        state.limited = limited;
        state.ticks += 1;
        if state.ticks.is_multiple_of(EVERY) {
            self.summarize(&mut state, &held, now);
        }
    }

    fn summarize(&self, state: &mut State, held: &HeldBack, now: Timestamp) {
        let lines = self.reports.take_held_back();
        let happened = self.reports.tally.take_text();
        let was_held = std::mem::replace(&mut state.held, held.total() > 0);
        if !state.held && !was_held && lines == 0 {
            return;
        }
        let cluster = &*self.cluster.name;
        let failing = Failing::sum(self.outlooks.iter().map(|outlook| outlook.failing()));
        let (total, waiting) = (failing.total(), held.total());
        let failing = if total == 0 {
            "no release fails".to_owned()
        } else {
            format!("{total} releases fail: {}", failing.text())
        };
        let held = text_of(held, now);
        let hidden = if lines == 0 {
            String::new()
        } else {
            format!("; {lines} lines about single releases are at level debug")
        };
        tracing::info!(%cluster, failing = total, waiting, "summary of {cluster}: {failing}; {held}; in the last 5 min: {happened}{hidden}");
    }
}

/// The breakers that a summary names.
const BREAKERS: usize = 4;

/// Who waits for what.
fn text_of(held: &HeldBack, now: Timestamp) -> String {
    if held.total() == 0 {
        return "no restart is held back".to_owned();
    }
    let mut parts = Vec::new();
    for breaker in held.breakers.iter().take(BREAKERS) {
        let probe = match breaker.next_probe {
            Some(at) if at > now => format!(
                "next try in {}",
                spoken(at.duration_since(now).unsigned_abs())
            ),
            _ => "one is being tried".to_owned(),
        };
        parts.push(format!(
            "{} by the breaker for {} ({probe})",
            breaker.releases, breaker.cause
        ));
    }
    let others = held
        .breakers
        .iter()
        .skip(BREAKERS)
        .map(|breaker| breaker.releases);
    for (count, reason) in [
        (others.sum(), "by other breakers"),
        (held.by_slots, "until a running restart ends"),
        (held.by_rate, "by the rate"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {reason}"));
        }
    }
    format!(
        "{} restarts are held back: {}",
        held.total(),
        parts.join(", ")
    )
}
