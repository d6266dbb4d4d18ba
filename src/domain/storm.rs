//! What keeps many restarts apart: how fast, how many at once, and one at first where many fail for the
//! same cause. One value for each cluster; plain state machines that are fed with `now`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    alert::ReleaseRef,
    decide::{Hold, Why},
    fingerprint::Fingerprint,
};

mod breaker;
mod rate;
use breaker::Breaker;
pub use rate::Rate;

/// How much one cluster is asked to bear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Caps {
    /// Restarts in the long run, and at once after a quiet time.
    pub rate: Rate,
    /// Restarts whose end has not been seen.
    pub in_flight: usize,
    /// So many releases failing for the same cause ...
    pub threshold: usize,
    /// ... within this time open the breaker.
    pub window: SignedDuration,
    /// After a probe that failed, until the next.
    pub wait: SignedDuration,
    /// The longest that wait becomes by doubling.
    pub max_wait: SignedDuration,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            rate: Rate::default(),
            in_flight: 20,
            threshold: 5,
            window: SignedDuration::from_mins(5),
            wait: SignedDuration::from_mins(1),
            max_wait: SignedDuration::from_hours(1),
        }
    }
}

/// How a restart ended, for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The cause is gone.
    Helped,
    /// It is still there.
    Failed,
    /// Nobody knows: the token was swallowed, the restart overtaken, the release deleted.
    Unknown,
}

/// A release to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Which.
    pub release: ReleaseRef,
    /// Not before.
    pub at: Timestamp,
    /// A restart that began then helped another: if this one was given up before, it may come back
    /// before its time.
    pub released: Option<Timestamp>,
}

/// The state of one cluster, shared between those who see failures and those who act on them.
#[derive(Clone, Debug)]
pub struct StormControl(Arc<Mutex<Storm>>);

impl StormControl {
    /// A quiet cluster.
    pub fn new(caps: Caps) -> Self {
        Self(Arc::new(Mutex::new(Storm::new(caps))))
    }

    /// For one step, and never longer.
    pub fn lock(&self) -> MutexGuard<'_, Storm> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of one cluster.
#[derive(Debug)]
pub struct Storm {
    caps: Caps,
    rate: rate::Meter,
    /// Running restarts.
    flying: BTreeMap<ReleaseRef, Flight>,
    /// Those that wait for one of them to end.
    grounded: BTreeSet<ReleaseRef>,
    breakers: BTreeMap<Fingerprint, Breaker>,
}

#[derive(Clone, Debug)]
struct Flight {
    since: Timestamp,
    cause: Fingerprint,
}

/// How long a restart without an end takes up room: longer than almost all of Helm's timeouts.
const LONGEST_FLIGHT: SignedDuration = SignedDuration::from_hours(2);

/// How long those that wait for others sleep at most; they are woken when their turn comes.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

impl Storm {
    /// A quiet cluster.
    pub fn new(caps: Caps) -> Self {
        Self {
            caps,
            rate: rate::Meter::default(),
            flying: BTreeMap::new(),
            grounded: BTreeSet::new(),
            breakers: BTreeMap::new(),
        }
    }

    /// A release was seen failing for that cause.
    pub fn failed(&mut self, release: &ReleaseRef, cause: &Fingerprint, now: Timestamp) {
        self.forget_the_old(now);
        let breaker = self.breakers.entry(cause.clone()).or_default();
        breaker.failed(release, &self.caps, now);
    }

    /// Gives a restart its place, or says what it has to wait for.
    ///
    /// # Errors
    /// The reason, and when to ask again.
    pub fn admit(
        &mut self,
        release: &ReleaseRef,
        cause: &Fingerprint,
        now: Timestamp,
    ) -> Result<(), Hold> {
        let patience = now.saturating_add(PATIENCE).unwrap_or(Timestamp::MAX);
        self.land_the_lost(now);
        let flying = self.flying_for(cause, release);
        if let Some(breaker) = self.breakers.get_mut(cause)
            && let Err(until) = {
                let flies = |probe: &ReleaseRef| {
                    let flight = self.flying.get(probe);
                    flight.is_some_and(|flight| flight.cause == *cause)
                };
                breaker.ask(release, flying, flies, now)
            }
        {
            let until = until.unwrap_or(patience);
            return Err(Hold {
                why: Why::Storm,
                until,
            });
        }
        let limited = |until| {
            Err(Hold {
                why: Why::RateLimited,
                until,
            })
        };
        let others = self.flying.len() - usize::from(self.flying.contains_key(release));
        if others >= self.caps.in_flight {
            self.grounded.insert(release.clone());
            return limited(patience);
        }
        if let Err(until) = self.rate.take(self.caps.rate, release, now) {
            return limited(until);
        }
        if let Some(breaker) = self.breakers.get_mut(cause) {
            breaker.take(release);
        }
        self.fly(release, cause, now);
        Ok(())
    }

    /// A restart runs, by whatever right: one that was admitted, or the second token of one.
    pub fn fly(&mut self, release: &ReleaseRef, cause: &Fingerprint, now: Timestamp) {
        self.grounded.remove(release);
        let flight = Flight {
            since: now,
            cause: cause.clone(),
        };
        self.flying.insert(release.clone(), flight);
    }

    /// A restart ended, or was not written after all. Says who may be looked at now.
    pub fn ended(&mut self, release: &ReleaseRef, outcome: Outcome, now: Timestamp) -> Vec<Wake> {
        let Some(flight) = self.flying.remove(release) else {
            return Vec::new();
        };
        let flying = self.flying_for(&flight.cause, release);
        let breaker = self.breakers.get_mut(&flight.cause);
        let mut wakes = breaker.map_or_else(Vec::new, |breaker| {
            breaker.ended((release, flight.since), outcome, flying, &self.caps, now)
        });
        let free = self.caps.in_flight.saturating_sub(self.flying.len());
        let next: Vec<_> = self.grounded.iter().take(free).cloned().collect();
        for release in next {
            self.grounded.remove(&release);
            wakes.push(Wake {
                release,
                at: now,
                released: None,
            });
        }
        wakes
    }

    /// A release was given up; it may come back when the breaker of its cause closes. False if that is
    /// not open.
    pub fn gave_up(&mut self, release: &ReleaseRef, cause: &Fingerprint) -> bool {
        let breaker = self.breakers.get_mut(cause);
        breaker.is_some_and(|breaker| breaker.park(release))
    }

    /// A release needs nothing any more. Says who may be looked at now.
    pub fn forget(&mut self, release: &ReleaseRef, now: Timestamp) -> Vec<Wake> {
        self.stand_down(release);
        self.rate.forget(release);
        let mut wakes = Vec::new();
        for (cause, breaker) in &mut self.breakers {
            wakes.extend(breaker.forget(release, count(&self.flying, cause), now));
        }
        wakes
    }

    /// A release does not ask for a place any more: it has to wait for something else.
    pub fn stand_down(&mut self, release: &ReleaseRef) {
        self.grounded.remove(release);
    }

    /// Breakers that hold restarts back.
    pub fn open(&mut self, now: Timestamp) -> usize {
        self.forget_the_old(now);
        let breakers = self.breakers.values();
        breakers.filter(|breaker| breaker.is_open()).count()
    }

    fn forget_the_old(&mut self, now: Timestamp) {
        let (caps, flying) = (self.caps, &self.flying);
        self.breakers
            .retain(|cause, breaker| !breaker.is_over(count(flying, cause), &caps, now));
    }

    /// Restarts whose end has not been seen.
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// Restarts that run for ever take nobody's place.
    fn land_the_lost(&mut self, now: Timestamp) {
        let is_lost = |flight: &Flight| now.duration_since(flight.since) >= LONGEST_FLIGHT;
        let flying = self.flying.iter().filter(|(_, flight)| is_lost(flight));
        let lost: Vec<_> = flying.map(|(release, _)| release.clone()).collect();
        for release in lost {
            // Whoever might be woken comes by itself before long.
            self.ended(&release, Outcome::Unknown, now);
        }
    }

    fn flying_for(&self, cause: &Fingerprint, but: &ReleaseRef) -> usize {
        let same =
            |(release, flight): &(&ReleaseRef, &Flight)| flight.cause == *cause && *release != but;
        self.flying.iter().filter(same).count()
    }
}

/// How many restarts run for that cause.
fn count(flying: &BTreeMap<ReleaseRef, Flight>, cause: &Fingerprint) -> usize {
    let same = |flight: &&Flight| flight.cause == *cause;
    flying.values().filter(same).count()
}

#[cfg(test)]
mod tests;
