//! Limits of restarts: rate, concurrency, and a circuit breaker for each cause. One
//! [`Limits`] for each cluster. State machines without a clock: callers pass `now`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    alert::ReleaseRef,
    decide::{Reason, Refusal},
    fingerprint::Fingerprint,
    ledger::RestartOutcome,
};

mod breaker;
mod changes;
mod inspect;
mod kinds;
mod rate;
mod slots;
use breaker::Breaker;
pub use changes::BreakerChange;
use changes::Changes;
pub use inspect::{Admission, HeldBack, OpenBreaker};
pub use kinds::{LimitConfig, Wake};
pub use rate::Rate;
use slots::Slots;

/// The limits of one cluster, shared between the watcher and the reconciler.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Mutex<LimitState>>);

impl Limits {
    /// Limits without failures and restarts.
    pub fn new(config: LimitConfig) -> Self {
        Self(Arc::new(Mutex::new(LimitState::new(config))))
    }

    /// Locks the state. Do not hold the guard across an await.
    pub fn lock(&self) -> MutexGuard<'_, LimitState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of one cluster.
#[derive(Debug)]
pub struct LimitState {
    config: LimitConfig,
    rate: rate::TokenBucket,
    /// Running restarts.
    running: BTreeMap<ReleaseRef, Running>,
    slots: Slots,
    breakers: BTreeMap<Fingerprint, Breaker>,
    /// The cause each release last failed for.
    causes: BTreeMap<ReleaseRef, Fingerprint>,
    /// When breakers that are over were last removed.
    cleaned_at: Option<Timestamp>,
    /// Breakers that opened or closed.
    changes: Changes,
}

#[derive(Clone, Debug)]
struct Running {
    since: Timestamp,
    cause: Fingerprint,
    /// Its share of the rate was taken here, and the write is not confirmed yet.
    refundable: bool,
}

/// How long a restart without an end takes up a slot: longer than almost all of Helm's timeouts.
const LONGEST_RESTART: SignedDuration = SignedDuration::from_hours(2);

/// The longest time until a delayed release is reconciled; a wake ends the wait earlier.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(10);

/// The interval between two removals of breakers that are over.
const CLEAN_INTERVAL: SignedDuration = SignedDuration::from_secs(10);

impl LimitState {
    /// Limits without failures and restarts.
    pub fn new(config: LimitConfig) -> Self {
        Self {
            config,
            rate: rate::TokenBucket::default(),
            running: BTreeMap::new(),
            slots: Slots::default(),
            breakers: BTreeMap::new(),
            causes: BTreeMap::new(),
            cleaned_at: None,
            changes: Changes::default(),
        }
    }

    /// A release was seen failing for that cause. Returns the releases to wake.
    pub fn failed(
        &mut self,
        release: &ReleaseRef,
        cause: &Fingerprint,
        now: Timestamp,
    ) -> Vec<Wake> {
        self.remove_expired_breakers(now);
        let mut wakes = Vec::new();
        let known = self.causes.insert(release.clone(), cause.clone());
        if let Some(other) = known.filter(|known| known != cause) {
            wakes.extend(self.leave(release, &other, now));
        }
        let breaker = self.breakers.entry(cause.clone()).or_default();
        breaker.failed(release, &self.config, now);
        wakes.extend(self.update_cause(cause, now));
        wakes
    }

    /// Admits a restart, or returns why it has to wait. Also returns the other releases to wake.
    ///
    /// # Errors
    /// The reason, and when to call this again.
    pub fn admit(
        &mut self,
        release: &ReleaseRef,
        cause: &Fingerprint,
        now: Timestamp,
    ) -> (Result<(), Refusal>, Vec<Wake>) {
        let mut wakes = self.expire(now);
        let admitted = self.ask(release, cause, now);
        // A slot that was kept for this release and not taken goes to the next that can take it.
        self.slots.withdraw(release);
        wakes.extend(self.update_cause(cause, now));
        (admitted, wakes)
    }

    fn ask(
        &mut self,
        release: &ReleaseRef,
        cause: &Fingerprint,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let latest = now.saturating_add(LONGEST_WAIT).unwrap_or(Timestamp::MAX);
        let others = self.slots_of(cause, release);
        if let Some(breaker) = self.breakers.get_mut(cause) {
            let runs = |probe: &ReleaseRef| {
                let restart = self.running.get(probe);
                restart.is_some_and(|restart| restart.cause == *cause)
            };
            if let Err(until) = breaker.ask(release, others, runs, now) {
                self.slots.leave(release);
                return Err(Refusal {
                    reason: Reason::BreakerOpen,
                    until: until.unwrap_or(latest),
                });
            }
        }
        let limited = |until| {
            Err(Refusal {
                reason: Reason::RateLimited,
                until,
            })
        };
        let runs = self.running.contains_key(release);
        if !runs && !self.slots.is_reserved(release) && self.free() == 0 {
            self.slots.wait(release, cause);
            return limited(latest);
        }
        if let Err(until) = self.rate.take(self.config.rate, release, now) {
            self.slots.leave(release);
            return limited(until);
        }
        if let Some(breaker) = self.breakers.get_mut(cause) {
            breaker.take(release);
        }
        self.record_start(release, cause, now, true);
        Ok(())
    }

    /// A restart runs since then that was not admitted here: another process began it, its answer was lost, or it is
    /// the second token of one. A release that was given up later than that is not restarted for its success.
    pub fn start(&mut self, release: &ReleaseRef, cause: &Fingerprint, since: Timestamp) {
        self.record_start(release, cause, since, false);
    }

    fn record_start(
        &mut self,
        release: &ReleaseRef,
        cause: &Fingerprint,
        now: Timestamp,
        refundable: bool,
    ) {
        self.slots.leave(release);
        let restart = Running {
            since: now,
            cause: cause.clone(),
            refundable,
        };
        self.running.insert(release.clone(), restart);
    }

    /// A restart ended. Returns the releases to wake.
    pub fn ended(
        &mut self,
        release: &ReleaseRef,
        outcome: Option<RestartOutcome>,
        now: Timestamp,
    ) -> Vec<Wake> {
        let Some(restart) = self.running.remove(release) else {
            return Vec::new();
        };
        if outcome == Some(RestartOutcome::Recovered) {
            self.changes.helped(&restart.cause);
        }
        let others = self.slots_of(&restart.cause, release);
        let breaker = self.breakers.get_mut(&restart.cause);
        let mut wakes = breaker.map_or_else(Vec::new, |breaker| {
            breaker.ended((release, restart.since), outcome, others, &self.config, now)
        });
        wakes.extend(self.update_cause(&restart.cause, now));
        wakes
    }

    /// A restart that was admitted was not written: it gives back its slot and its share of the rate.
    pub fn refund(&mut self, release: &ReleaseRef, now: Timestamp) -> Vec<Wake> {
        if self
            .running
            .get(release)
            .is_some_and(|restart| restart.refundable)
        {
            self.rate.refund(self.config.rate);
        }
        self.ended(release, None, now)
    }

    /// A restart that was admitted was written: its share of the rate is not given back any more.
    pub fn confirm_written(&mut self, release: &ReleaseRef) {
        if let Some(restart) = self.running.get_mut(release) {
            restart.refundable = false;
        }
    }

    /// A restart whose answer was lost turns out to have been written at `since`: it takes a slot and its share of
    /// the rate after all.
    pub fn charge(
        &mut self,
        release: &ReleaseRef,
        cause: &Fingerprint,
        since: Timestamp,
        now: Timestamp,
    ) {
        if !self.running.contains_key(release) {
            self.rate.charge(self.config.rate, now);
        }
        self.start(release, cause, since);
    }

    /// A release was given up; it may come back when the breaker of its cause closes. False if that is
    /// not open.
    pub fn gave_up(&mut self, release: &ReleaseRef, cause: &Fingerprint) -> bool {
        let breaker = self.breakers.get_mut(cause);
        breaker.is_some_and(|breaker| breaker.give_up(release))
    }

    /// Removes a release that needs no restart. Returns the other releases to wake.
    pub fn forget(&mut self, release: &ReleaseRef, now: Timestamp) -> Vec<Wake> {
        self.rate.forget(release);
        self.slots.leave(release);
        let Some(cause) = self.causes.remove(release) else {
            return self.reserve(now);
        };
        self.leave(release, &cause, now)
    }

    /// A release left a cause for good.
    fn leave(&mut self, release: &ReleaseRef, cause: &Fingerprint, now: Timestamp) -> Vec<Wake> {
        let others = self.slots_of(cause, release);
        let breaker = self.breakers.get_mut(cause);
        let mut wakes =
            breaker.map_or_else(Vec::new, |breaker| breaker.forget(release, others, now));
        wakes.extend(self.update_cause(cause, now));
        wakes
    }

    /// The release no longer waits for a slot, because it waits for something else. Returns the
    /// other releases to wake.
    pub fn withdraw(&mut self, release: &ReleaseRef, now: Timestamp) -> Vec<Wake> {
        self.slots.leave(release);
        let Some(cause) = self.causes.get(release).cloned() else {
            return self.reserve(now);
        };
        if let Some(breaker) = self.breakers.get_mut(&cause) {
            breaker.withdraw(release);
        }
        self.update_cause(&cause, now)
    }

    /// After a change of one cause: its breaker names the next probe, and free slots go to those that can
    /// take them.
    fn update_cause(&mut self, cause: &Fingerprint, now: Timestamp) -> Vec<Wake> {
        let mut wakes = Vec::new();
        if let Some(breaker) = self.breakers.get_mut(cause) {
            if breaker.is_probing() {
                // While the breaker is open, only its probe waits for a slot.
                for release in self
                    .slots
                    .leave_for(cause, |release| breaker.is_next(release))
                {
                    breaker.wait(&release);
                }
            }
            wakes.extend(breaker.choose_next_probe());
        }
        self.changes.note(cause, self.breakers.get(cause), now);
        wakes.extend(self.reserve(now));
        wakes
    }

    /// Offers free slots to those that wait and can take them, the longest first.
    fn reserve(&mut self, now: Timestamp) -> Vec<Wake> {
        let mut wakes = Vec::new();
        while self.free() > 0 {
            let next = self
                .slots
                .next(|release, cause| self.admits(release, cause, now));
            let Some(release) = next.cloned() else { break };
            self.slots.reserve(&release);
            wakes.push(Wake {
                release,
                at: now,
                others_recovered_since: None,
            });
        }
        wakes
    }

    /// Releases that a slot is kept for. They are woken again after a panic, which may have lost the first wake.
    pub fn reserved(&self, now: Timestamp) -> Vec<Wake> {
        let reserved = self.slots.all_reserved().map(|release| Wake {
            release: release.clone(),
            at: now,
            others_recovered_since: None,
        });
        reserved.collect()
    }

    /// Whether the breaker of a cause would let a release through now.
    fn admits(&self, release: &ReleaseRef, cause: &Fingerprint, now: Timestamp) -> bool {
        let others = self.slots_of(cause, release);
        let breaker = self.breakers.get(cause);
        breaker.is_none_or(|breaker| breaker.admits(release, others, now))
    }

    /// Slots that are free and not reserved for a waiting release.
    fn free(&self) -> usize {
        let kept = self
            .slots
            .reserved(|release, _| !self.running.contains_key(release));
        self.config
            .in_flight
            .saturating_sub(self.running.len() + kept)
    }

    /// Slots that others hold, or that are kept for others, for that cause.
    fn slots_of(&self, cause: &Fingerprint, but: &ReleaseRef) -> usize {
        let running = self
            .running
            .iter()
            .filter(|(release, restart)| restart.cause == *cause && *release != but);
        let kept = self.slots.reserved(|release, reserved| {
            reserved == cause && release != but && !self.running.contains_key(release)
        });
        running.count() + kept
    }

    fn remove_expired_breakers(&mut self, now: Timestamp) {
        let lately = |cleaned_at: Timestamp| now.duration_since(cleaned_at).abs() < CLEAN_INTERVAL;
        if self.cleaned_at.is_some_and(lately) {
            return;
        }
        self.cleaned_at = Some(now);
        let (config, running) = (self.config, &self.running);
        self.breakers.retain(|cause, breaker| {
            let running = running.values().any(|restart| restart.cause == *cause);
            !breaker.is_removable(running, &config, now)
        });
        self.changes.forget(&self.breakers, now);
        let breakers = &self.breakers;
        self.causes.retain(|_, cause| breakers.contains_key(cause));
    }

    /// Frees the slots of restarts that have run for longer than [`LONGEST_RESTART`].
    fn expire(&mut self, now: Timestamp) -> Vec<Wake> {
        let is_lost = |restart: &Running| now.duration_since(restart.since) >= LONGEST_RESTART;
        let running = self.running.iter().filter(|(_, restart)| is_lost(restart));
        let lost: Vec<_> = running.map(|(release, _)| release.clone()).collect();
        let ended = |release| self.ended(release, None, now);
        lost.iter().flat_map(ended).collect()
    }
}

#[cfg(test)]
mod tests;
