//! The circuit breaker of one cause: closed, open (one probe at a time), ramping up (a growing number at once).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Admission, LimitConfig, Wake};
use crate::domain::{alert::ReleaseRef, ledger::RestartOutcome};

/// After this time past its due time, the next probe is replaced by another release.
const PROBE_DELAY_MAX: SignedDuration = SignedDuration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Releases that failed within the window, with the time of their last failure.
    failing: BTreeMap<ReleaseRef, Timestamp>,
    /// The same, the oldest first.
    by_time: BTreeSet<(Timestamp, ReleaseRef)>,
    /// Releases that wait.
    waiting: BTreeSet<ReleaseRef>,
    /// Releases that were given up, and may be restarted when others with this cause recover.
    given_up: BTreeSet<ReleaseRef>,
    phase: Phase,
    last_used: Option<Timestamp>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Closed,
    /// One is tried, not before `until`; after one that failed, `wait` more than before.
    Open {
        until: Timestamp,
        wait: SignedDuration,
        probe: Option<ReleaseRef>,
        /// The release that is woken at `until`.
        next: Option<ReleaseRef>,
    },
    /// At most `step` restarts at once; `step` doubles after `step` recoveries. The latest recovered restart
    /// began at `since`.
    RampingUp {
        step: usize,
        helped: usize,
        since: Timestamp,
    },
}

impl Breaker {
    /// Releases that failed for its cause lately.
    pub(super) fn failing(&self) -> usize {
        self.failing.len()
    }

    /// Releases that wait for it, those that were given up included, but for those that wait `elsewhere`.
    pub(super) fn held(&self, elsewhere: impl Fn(&ReleaseRef) -> bool) -> usize {
        let next = match &self.phase {
            Phase::Open { next, .. } => next.as_ref(),
            Phase::Closed | Phase::RampingUp { .. } => None,
        };
        let all = self.waiting.iter().chain(&self.given_up).chain(next);
        let all: BTreeSet<_> = all.filter(|release| !elsewhere(release)).collect();
        all.len()
    }

    /// Which restarts it admits; `None` while it is closed.
    pub(super) fn admission(&self) -> Option<Admission> {
        match &self.phase {
            Phase::Closed => None,
            Phase::Open {
                until, probe: None, ..
            } => Some(Admission::ProbeAt(*until)),
            Phase::Open { .. } => Some(Admission::Probe),
            Phase::RampingUp { step, .. } => Some(Admission::UpTo(*step)),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Closed)
    }

    /// Whether nothing is left to remember.
    pub(super) fn is_removable(&self, running: bool, config: &LimitConfig, now: Timestamp) -> bool {
        let holds = self.is_open() && (!self.is_idle() || running);
        let longest = if holds {
            config.max_wait * 2
        } else {
            config.window
        };
        let quiet = self
            .last_used
            .is_none_or(|last_used| now.duration_since(last_used) > longest);
        quiet && (holds || self.is_idle())
    }

    /// No release waits for it, was given up for it, or is or will be the probe.
    fn is_idle(&self) -> bool {
        let tried = match &self.phase {
            Phase::Open { probe, next, .. } => probe.is_some() || next.is_some(),
            Phase::Closed | Phase::RampingUp { .. } => false,
        };
        self.waiting.is_empty() && self.given_up.is_empty() && !tried
    }

    pub(super) fn failed(&mut self, release: &ReleaseRef, config: &LimitConfig, now: Timestamp) {
        self.last_used = Some(now);
        if let Some(before) = self.failing.insert(release.clone(), now) {
            self.by_time.remove(&(before, release.clone()));
        }
        self.by_time.insert((now, release.clone()));
        while let Some((at, oldest)) = self.by_time.first()
            && now.duration_since(*at) > config.window
        {
            self.failing.remove(oldest);
            self.by_time.pop_first();
        }
        if matches!(self.phase, Phase::Closed) && self.failing.len() >= config.threshold {
            self.phase = Phase::Open {
                until: now,
                wait: config.wait,
                probe: None,
                next: None,
            };
        }
    }

    /// Whether this release may be restarted now; otherwise when to ask again, where that is known.
    pub(super) fn ask(
        &mut self,
        release: &ReleaseRef,
        others: usize,
        runs: impl Fn(&ReleaseRef) -> bool,
        now: Timestamp,
    ) -> Result<(), Option<Timestamp>> {
        if let Phase::Open {
            probe, next, until, ..
        } = &mut self.phase
        {
            // A probe that turned out to fail for something else says nothing about this cause.
            probe.take_if(|probe| !runs(probe));
            // A next probe that is late must not delay the other releases.
            let late = now.duration_since(*until) > PROBE_DELAY_MAX;
            next.take_if(|next| late && next != release);
            if probe.is_none() {
                next.get_or_insert_with(|| release.clone());
            }
        }
        if self.admits(release, others, now) {
            return Ok(());
        }
        if let Phase::Open {
            until,
            next: Some(next),
            ..
        } = &self.phase
            && next == release
        {
            return Err(Some(*until));
        }
        self.waiting.insert(release.clone());
        Err(None)
    }

    /// Whether this release may be restarted now, while `others` with the same cause are.
    pub(super) fn admits(&self, release: &ReleaseRef, others: usize, now: Timestamp) -> bool {
        match &self.phase {
            Phase::Closed => true,
            Phase::Open {
                probe: Some(probe), ..
            } => probe == release,
            Phase::Open { until, next, .. } => {
                now >= *until && next.as_ref().is_none_or(|next| next == release)
            }
            Phase::RampingUp { step, .. } => others < *step,
        }
    }

    /// Whether one is tried at a time.
    pub(super) fn is_probing(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Whether this release is the one that is tried, or that is to be tried next.
    pub(super) fn is_next(&self, release: &ReleaseRef) -> bool {
        let Phase::Open { probe, next, .. } = &self.phase else {
            return false;
        };
        [probe, next]
            .into_iter()
            .flatten()
            .any(|known| known == release)
    }

    /// A release waits for this breaker.
    pub(super) fn wait(&mut self, release: &ReleaseRef) {
        self.waiting.insert(release.clone());
    }

    /// A release does not ask at the moment: another one is to be tried in its place.
    pub(super) fn withdraw(&mut self, release: &ReleaseRef) {
        self.waiting.remove(release);
        if let Phase::Open { next, .. } = &mut self.phase {
            next.take_if(|next| next == release);
        }
    }

    /// Chooses the next probe, if there is none, and wakes it.
    pub(super) fn choose_next_probe(&mut self) -> Vec<Wake> {
        match &mut self.phase {
            Phase::Open {
                until,
                probe: None,
                next: next @ None,
                ..
            } => {
                *next = self.waiting.pop_first();
                turn(next, *until)
            }
            _ => Vec::new(),
        }
    }

    /// This release is restarted.
    pub(super) fn take(&mut self, release: &ReleaseRef) {
        self.waiting.remove(release);
        self.given_up.remove(release);
        if let Phase::Open { probe, next, .. } = &mut self.phase {
            // The release that was to be the next probe waits again.
            let other = next.take().filter(|next| next != release);
            self.waiting.extend(other);
            *probe = Some(release.clone());
        }
    }

    /// A restart for this cause that began at `since` ended while `running` others run.
    pub(super) fn ended(
        &mut self,
        (release, began): (&ReleaseRef, Timestamp),
        outcome: Option<RestartOutcome>,
        running: usize,
        config: &LimitConfig,
        now: Timestamp,
    ) -> Vec<Wake> {
        self.last_used = Some(now);
        let probed = |probe: &Option<ReleaseRef>| probe.as_ref() == Some(release);
        match (&mut self.phase, outcome) {
            (Phase::Closed, _) => Vec::new(),
            (Phase::Open { .. }, Some(RestartOutcome::Recovered)) => {
                self.phase = Phase::RampingUp {
                    step: 2,
                    helped: 0,
                    since: began,
                };
                self.ramp_up(running, now)
            }
            (Phase::Open { wait, probe, .. }, Some(RestartOutcome::FailedAgain))
                if probed(probe) =>
            {
                let wait = *wait;
                self.reopen(wait, (wait * 2).min(config.max_wait), now)
            }
            (Phase::Open { wait, probe, .. }, _) if probed(probe) => {
                let wait = *wait;
                self.reopen(SignedDuration::ZERO, wait, now)
            }
            (Phase::Open { .. }, _) => Vec::new(),
            (
                Phase::RampingUp {
                    step,
                    helped,
                    since,
                },
                Some(RestartOutcome::Recovered),
            ) => {
                *since = began.max(*since);
                *helped += 1;
                if *helped >= *step {
                    (*step, *helped) = (*step * 2, 0);
                }
                self.ramp_up(running, now)
            }
            (Phase::RampingUp { .. }, Some(RestartOutcome::FailedAgain)) => {
                self.reopen(config.wait, (config.wait * 2).min(config.max_wait), now)
            }
            (Phase::RampingUp { .. }, _) => self.ramp_up(running, now),
        }
    }

    /// A release waits for the breaker to close.
    pub(super) fn give_up(&mut self, release: &ReleaseRef) -> bool {
        if self.is_open() {
            self.given_up.insert(release.clone());
        }
        self.is_open()
    }

    /// A release needs nothing any more, which frees its place for the next.
    pub(super) fn forget(
        &mut self,
        release: &ReleaseRef,
        running: usize,
        now: Timestamp,
    ) -> Vec<Wake> {
        if let Some(at) = self.failing.remove(release) {
            self.by_time.remove(&(at, release.clone()));
        }
        self.withdraw(release);
        self.given_up.remove(release);
        let Phase::Open { probe, .. } = &mut self.phase else {
            return self.ramp_up(running, now);
        };
        probe.take_if(|probe| probe == release);
        let handed_on = self.choose_next_probe();
        if !handed_on.is_empty() {
            return handed_on;
        }
        if self.failing.is_empty() && self.is_idle() && running == 0 {
            self.phase = Phase::Closed;
        }
        Vec::new()
    }

    /// Wakes as many as may run, those that were given up last, and closes when none is left.
    fn ramp_up(&mut self, running: usize, now: Timestamp) -> Vec<Wake> {
        let Phase::RampingUp { step, since, .. } = self.phase else {
            return Vec::new();
        };
        if self.waiting.is_empty() && self.given_up.is_empty() && running == 0 {
            self.phase = Phase::Closed;
            self.failing.clear();
            self.by_time.clear();
        }
        let mut wakes = Vec::new();
        while running + wakes.len() < step {
            let next = self.waiting.pop_first().map(|next| (next, None));
            let Some((release, others_recovered_since)) =
                next.or_else(|| Some((self.given_up.pop_first()?, Some(since))))
            else {
                break;
            };
            wakes.push(Wake {
                release,
                at: now,
                others_recovered_since,
            });
        }
        wakes
    }

    fn reopen(&mut self, pause: SignedDuration, wait: SignedDuration, now: Timestamp) -> Vec<Wake> {
        let until = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        let next = self.waiting.pop_first();
        let wakes = turn(&next, until);
        self.phase = Phase::Open {
            until,
            wait,
            probe: None,
            next,
        };
        wakes
    }
}

/// Wakes the next probe.
fn turn(next: &Option<ReleaseRef>, at: Timestamp) -> Vec<Wake> {
    let wake = |release: &ReleaseRef| Wake {
        release: release.clone(),
        at,
        others_recovered_since: None,
    };
    next.iter().map(wake).collect()
}
