//! Leader election with a Lease, as client-go does it (`k8s.io/client-go/tools/leaderelection`).
//!
//! A Lease of another replica is valid until its duration has passed in this process without a change of the Lease.
//! The times in the Lease are not compared with anything, because other clocks wrote them. All times here are the time
//! since the start of the election, by a clock that does not jump.

use std::time::Duration;

/// How long a Lease is valid after its last change.
pub const LEASE_DURATION: Duration = Duration::from_secs(30);

/// The leader stops acting after this time without a renewal. It is shorter than [`LEASE_DURATION`], so that the leader
/// stops before another replica takes the Lease.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(20);

/// The longest duration that another replica's Lease is believed to have.
const LONGEST_DURATION: Duration = Duration::from_mins(5);

super::string_enum! {
    /// What a replica does.
    Role {
        /// It holds the Lease, and acts.
        Leader = "leader",
        /// Another replica holds the Lease, or the holder is not known, or it could not renew the Lease.
        Standby = "standby",
        /// The Lease could not be read or written for [`LEASE_DURATION`]. It acts, so that a failure of the Lease stops no restart.
        WithoutLease = "without-lease",
    }
}

impl Role {
    /// Whether it reconciles and watches.
    pub fn acts(self) -> bool {
        self != Self::Standby
    }
}

/// The fields of a Lease that the election compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The identity of the holder; empty for none.
    pub holder: String,
    /// How long it is valid after its last change.
    pub duration: Duration,
    /// A value that each write changes.
    pub version: String,
}

/// What to do about a Lease that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Write it, with this replica as its new holder.
    Take,
    /// Write it again: this replica holds it.
    Renew,
    /// Another replica holds it.
    Follow,
}

/// The election as one replica sees it.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    role: Role,
    /// The Lease, and when its content was seen first.
    seen: Option<(LeaseRecord, Duration)>,
    /// When a replica was last known to hold the Lease; initially the start of the election.
    led_at: Duration,
    /// When the first attempt after `led_at` failed.
    failing_since: Option<Duration>,
}

impl Election {
    /// A replica that is a standby.
    pub fn new(identity: String) -> Self {
        Self {
            identity,
            role: Role::Standby,
            seen: None,
            led_at: Duration::ZERO,
            failing_since: None,
        }
    }

    /// What this replica does.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The holder that was seen last; empty for none.
    pub fn holder(&self) -> &str {
        self.seen.as_ref().map_or("", |(seen, _)| &seen.holder)
    }

    /// The Lease was read; `None` if there is none.
    pub fn read(&mut self, lease: Option<LeaseRecord>, now: Duration) -> NextStep {
        let Some(lease) = lease else {
            self.seen = None;
            return NextStep::Take;
        };
        let since = match self.seen.take() {
            Some((seen, since)) if seen == lease => since,
            _ => now,
        };
        let until = since + lease.duration.min(LONGEST_DURATION);
        let next = match &*lease.holder {
            "" => NextStep::Take,
            holder if *holder == self.identity => NextStep::Renew,
            _ if now < until => NextStep::Follow,
            _ => NextStep::Take,
        };
        self.seen = Some((lease, since));
        if next == NextStep::Follow {
            (self.led_at, self.failing_since) = (since, None);
            self.role = Role::Standby;
        }
        next
    }

    /// This replica has written the Lease as its holder.
    pub fn written(&mut self, lease: LeaseRecord, now: Duration) {
        self.seen = Some((lease, now));
        (self.led_at, self.failing_since) = (now, None);
        self.role = Role::Leader;
    }

    /// The Lease could not be read, or not be written.
    pub fn failed(&mut self, now: Duration) {
        let since = *self.failing_since.get_or_insert(now);
        let unknown_for = now.saturating_sub(self.led_at);
        if self.role == Role::Leader && unknown_for >= RENEW_DEADLINE {
            self.role = Role::Standby;
        }
        // After a pause of the process, `led_at` is old although no attempt failed. So the failed attempts must also
        // last this long.
        let tried_for = now.saturating_sub(since);
        if self.role == Role::Standby && unknown_for.min(tried_for) >= LEASE_DURATION {
            self.role = Role::WithoutLease;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn held_by(holder: &str, version: u64) -> LeaseRecord {
        LeaseRecord {
            holder: holder.into(),
            duration: LEASE_DURATION,
            version: version.to_string(),
        }
    }

    fn replica() -> Election {
        Election::new("me".into())
    }

    #[test]
    fn a_lease_without_a_holder_is_taken_at_once() {
        for lease in [None, Some(held_by("", 1))] {
            assert_eq!(replica().read(lease, seconds(0)), NextStep::Take);
        }
    }

    #[test]
    fn the_lease_of_another_is_taken_when_it_has_not_changed_for_its_duration() {
        let mut election = replica();
        for (version, now, next) in [
            (1, 0, NextStep::Follow),
            (1, 29, NextStep::Follow),
            // It was renewed.
            (2, 30, NextStep::Follow),
            (2, 59, NextStep::Follow),
            (2, 60, NextStep::Take),
        ] {
            let lease = Some(held_by("other", version));
            assert_eq!(election.read(lease, seconds(now)), next, "{version} {now}");
            assert_eq!(election.role(), Role::Standby);
        }
    }

    #[test]
    fn a_leader_that_cannot_renew_stops_before_the_lease_expires() {
        let mut election = replica();
        election.read(None, seconds(100));
        election.written(held_by("me", 1), seconds(100));
        assert_eq!(election.role(), Role::Leader);
        for (now, role) in [
            (105, Role::Leader),
            (119, Role::Leader),
            (120, Role::Standby),
            (134, Role::Standby),
            // No other replica is known to lead.
            (135, Role::WithoutLease),
        ] {
            election.failed(seconds(now));
            assert_eq!(election.role(), role, "{now}");
        }
        assert_eq!(
            election.read(Some(held_by("other", 2)), seconds(136)),
            NextStep::Follow
        );
        assert_eq!(election.role(), Role::Standby);
    }

    #[test]
    fn a_leader_that_lost_the_lease_follows_at_once() {
        let mut election = replica();
        election.written(held_by("me", 1), seconds(0));
        let lease = Some(held_by("other", 2));
        assert_eq!(election.read(lease, seconds(1)), NextStep::Follow);
        assert_eq!(election.role(), Role::Standby);
    }

    #[test]
    fn without_an_answer_each_replica_acts_after_the_duration_of_the_lease() {
        let mut election = replica();
        election.failed(seconds(0));
        election.failed(seconds(29));
        assert_eq!(election.role(), Role::Standby);
        election.failed(seconds(30));
        assert_eq!(election.role(), Role::WithoutLease);
        // It can be read, and its holder is dead, and it cannot be written.
        let mut election = replica();
        election.read(Some(held_by("dead", 1)), seconds(0));
        election.failed(seconds(1));
        election.failed(seconds(29));
        assert_eq!(election.role(), Role::Standby);
        assert_eq!(
            election.read(Some(held_by("dead", 1)), seconds(31)),
            NextStep::Take
        );
        election.failed(seconds(31));
        assert_eq!(election.role(), Role::WithoutLease);
    }

    #[test]
    fn a_leader_that_stood_still_is_a_standby_first() {
        let mut election = replica();
        election.written(held_by("me", 1), seconds(0));
        election.failed(seconds(45));
        assert_eq!(election.role(), Role::Standby);
        election.failed(seconds(74));
        assert_eq!(election.role(), Role::Standby);
        election.failed(seconds(75));
        assert_eq!(election.role(), Role::WithoutLease);
    }

    #[test]
    fn a_lease_with_an_absurd_duration_is_taken_after_minutes() {
        let mut election = replica();
        let mut lease = held_by("other", 1);
        lease.duration = Duration::from_secs(1 << 31);
        assert_eq!(
            election.read(Some(lease.clone()), seconds(0)),
            NextStep::Follow
        );
        assert_eq!(election.read(Some(lease), seconds(300)), NextStep::Take);
    }
}
