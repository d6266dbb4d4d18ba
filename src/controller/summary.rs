//! What is logged about the cluster as a whole: breakers, limits that are reached, and a summary if restarts were
//! delayed or lines about single releases were omitted.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use jiff::Timestamp;

use super::Reconciler;
use crate::{
    domain::{
        failing::Failing,
        fingerprint::Fingerprint,
        ledger::RestartOutcome,
        limits::{Admission, BreakerChange, HeldBack, Limits},
        report::ClusterFact,
        spoken::spoken,
    },
    reporter::Reporter,
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

/// State of the log lines about the cluster as a whole.
#[derive(Debug, Default)]
pub(super) struct Summary(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ticks: u32,
    /// Restarts had to wait for a slot or for the rate at the last tick.
    limited: bool,
    /// Whether the line about the reached limit was logged.
    limit_logged: bool,
    /// The last summary reported restarts that are held back.
    held: bool,
}

impl Tally {
    pub(super) fn ended(&self, end: RestartOutcome) {
        match end {
            RestartOutcome::Recovered => self.recovered.fetch_add(1, Ordering::Relaxed),
            RestartOutcome::FailedAgain => self.failed_again.fetch_add(1, Ordering::Relaxed),
            RestartOutcome::Swallowed | RestartOutcome::Superseded => 0,
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

/// Reports the breakers that opened or closed.
pub fn report_breakers(reporter: &Reporter, limits: &Limits) {
    let (changes, config) = {
        let mut limits = limits.lock();
        (limits.take_changes(), limits.config())
    };
    for change in changes {
        reporter.publish(&match change {
            BreakerChange::Opened { cause, releases } => ClusterFact::BreakerOpened {
                cause: cause_text(&cause),
                releases,
                window_minutes: config.window.as_mins().unsigned_abs(),
            },
            BreakerChange::Closed {
                cause,
                after,
                helped,
            } => ClusterFact::BreakerClosed {
                cause: cause_text(&cause),
                after: after.unsigned_abs(),
                helped,
            },
        });
    }
}

impl Reconciler {
    /// Once a minute: logs a limit that is used up, and every few minutes a summary.
    pub(super) fn log_summary(&self) {
        let now = self.shared.clock.now();
        let (held, config, in_flight) = {
            let mut limits = self.limits.lock();
            limits.open(now);
            (limits.held_back(now), limits.config(), limits.in_flight())
        };
        let cluster = &*self.cluster.name;
        report_breakers(self.cluster.reporter(), &self.limits);
        let mut state = self
            .summary
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let limited = held.by_slots + held.by_rate > 0;
        if limited && state.limited && !state.limit_logged {
            state.limit_logged = true;
            let waiting = held.by_slots + held.by_rate;
            let (slots, rate) = (config.in_flight, config.rate.per_minute);
            let limit = if held.by_slots > 0 {
                format!("{slots} running restarts (limits.inFlight)")
            } else {
                format!("{rate} restarts per minute (limits.ratePerMinute)")
            };
            tracing::warn!(%cluster, waiting, in_flight, "cluster {cluster} has been at its limit of {limit} for a minute; {waiting} releases wait for their restart");
        } else if !limited && !state.limited && state.limit_logged {
            state.limit_logged = false;
            tracing::info!(%cluster, "no release of cluster {cluster} waits for a limit any more");
        }
        state.limited = limited;
        state.ticks += 1;
        if state.ticks.is_multiple_of(EVERY) {
            self.summarize(&mut state, &held, now);
        }
    }

    fn summarize(&self, state: &mut State, held: &HeldBack, now: Timestamp) {
        let lines = self.reports.take_omitted();
        let happened = self.reports.tally.take_text();
        let was_held = std::mem::replace(&mut state.held, held.total() > 0);
        if !state.held && !was_held && lines == 0 {
            return;
        }
        let cluster = &*self.cluster.name;
        let failing = Failing::sum(self.statuses.iter().map(|status| status.failing()));
        let (total, waiting) = (failing.total(), held.total());
        let failing =
            if self.statuses.is_empty() || !self.statuses.iter().all(|status| status.counts()) {
                "this replica does not count the releases that fail".to_owned()
            } else if total == 0 {
                "no HelmRelease fails".to_owned()
            } else {
                format!("{} fail: {}", releases(total), failing.text())
            };
        let held = text_of(held, now);
        let hidden = if lines == 0 {
            String::new()
        } else {
            format!("; lines about single releases that were omitted at this log level: {lines}")
        };
        tracing::info!(%cluster, failing = total, held_back = waiting, "summary of cluster {cluster}: {failing}; {held}; in the last 5 min: {happened}{hidden}");
    }
}

/// The breakers that a summary names.
const BREAKERS: usize = 4;

/// The reasons for which restarts are held back.
fn text_of(held: &HeldBack, now: Timestamp) -> String {
    if held.total() == 0 {
        return "no restart is delayed".to_owned();
    }
    let mut parts = Vec::new();
    for breaker in held.breakers.iter().take(BREAKERS) {
        let admission = match breaker.admits {
            Admission::ProbeAt(at) if at > now => {
                let wait = spoken(at.duration_since(now).unsigned_abs());
                format!("the next restart is in {wait}")
            }
            Admission::ProbeAt(_) => "the next restart may begin".to_owned(),
            Admission::Probe => "one release is being restarted".to_owned(),
            Admission::UpTo(many) => {
                format!("restarted releases recover; at most {many} restarts at once")
            }
        };
        let (count, cause) = (breaker.releases, cause_text(&breaker.cause));
        parts.push(format!("{count} by the breaker for {cause}: {admission}"));
    }
    let others = held
        .breakers
        .iter()
        .skip(BREAKERS)
        .map(|breaker| breaker.releases);
    for (count, reason) in [
        (others.sum(), "by other breakers"),
        (held.by_slots, "by the limit of running restarts"),
        (held.by_rate, "by the limit of restarts per minute"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {reason}"));
        }
    }
    format!("delayed restarts: {} ({})", held.total(), parts.join("; "))
}

/// A cause as a rule, and in parentheses what it is about.
fn cause_text(cause: &Fingerprint) -> String {
    let text = cause.to_string();
    match text.split_once(' ') {
        Some((rule, subject)) => format!("{rule} ({subject})"),
        None => text,
    }
}

/// So many releases.
pub fn releases(many: usize) -> String {
    match many {
        1 => "1 HelmRelease".to_owned(),
        _ => format!("{many} HelmReleases"),
    }
}
