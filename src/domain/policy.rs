//! How much is allowed, in the words of Argo CD's sync retry: `limit`, `backoff.duration`,
//! `backoff.factor`, `backoff.maxDuration`.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::{classify::Class, release::Release};

/// Set by people: `"false"` keeps helmreboot away from this release.
pub const ENABLED: &str = "helmreboot.io/enabled";
/// Set by people: a lower limit for this release.
pub const LIMIT: &str = "helmreboot.io/limit";
/// Set by people: `"true"` allows one restart after Flux rolled back.
pub const AFTER_ROLLBACK: &str = "helmreboot.io/after-rollback";

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Decide, record and report everything; write nothing.
    Observe,
    /// Carry decisions out.
    #[default]
    Act,
}

/// Growing waits between restarts of one release.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// After the first restart.
    pub duration: SignedDuration,
    /// By how much each further wait is longer; at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max_duration: SignedDuration,
    /// Up to this share is added, so that releases that failed together do not return together.
    pub jitter: f64,
}

/// What may be done to a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Restarts per config key.
    pub limit: u32,
    /// Waits between them.
    pub backoff: Backoff,
    /// What a cause that no rule knows counts as: [`Class::Permanent`] or [`Class::Transient`].
    pub unknown: Class,
    /// Restart once although Flux rolled back: it deploys the broken version again.
    pub after_rollback: bool,
    /// Restart once although Flux uninstalled: it installs what failed again.
    pub after_uninstall: bool,
    /// Whether the annotation [`AFTER_ROLLBACK`] may allow what [`Self::after_rollback`] does not.
    pub allow_after_rollback: bool,
    /// Write `fluxcd.io/reconcileAt` too, as the first helmreboot did.
    pub legacy_annotation: bool,
    /// Whether decisions are carried out.
    pub mode: Mode,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            limit: 5,
            backoff: Backoff {
                duration: SignedDuration::from_mins(1),
                factor: 2.0,
                max_duration: SignedDuration::from_hours(1),
                jitter: 0.1,
            },
            unknown: Class::Permanent,
            after_rollback: false,
            after_uninstall: false,
            allow_after_rollback: true,
            legacy_annotation: true,
            mode: Mode::Act,
        }
    }
}

impl Policy {
    /// Whether somebody opted this release out.
    pub fn opted_out(release: &Release) -> bool {
        release
            .annotation(ENABLED)
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("false"))
    }

    /// The limit for this release; an annotation can only lower it, and one that is no number is ignored.
    pub fn limit_for(&self, release: &Release) -> u32 {
        let own = release
            .annotation(LIMIT)
            .and_then(|value| value.trim().parse().ok());
        own.map_or(self.limit, |own: u32| own.min(self.limit))
    }

    /// Whether a rolled back release may be restarted (once).
    pub fn allows_after_rollback(&self, release: &Release) -> bool {
        let asked = || {
            release
                .annotation(AFTER_ROLLBACK)
                .is_some_and(|value| value.trim() == "true")
        };
        self.after_rollback || (self.allow_after_rollback && asked())
    }
}

impl Backoff {
    /// The earliest time for the next restart, after `attempts` restarts of which the last was at
    /// `last` under `token`. Jitter comes out of the token, so that every replica and every look reach
    /// the same answer.
    pub fn until(&self, attempts: u32, last: Timestamp, token: &str) -> Timestamp {
        let steps = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
        let wait = self.duration.as_secs_f64() * self.factor.powi(steps);
        let wait = wait.min(self.max_duration.as_secs_f64());
        let hash = Sha256::digest(token.as_bytes());
        let share = f64::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
            / f64::from(u32::MAX);
        let wait = SignedDuration::try_from_secs_f64(wait * (1.0 + self.jitter * share));
        last.saturating_add(wait.unwrap_or(self.max_duration))
            .unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(key: &str, value: &str) -> Release {
        serde_json::from_value(serde_json::json!({"metadata": {"annotations": {key: value}}}))
            .expect("a release")
    }

    #[test]
    fn waits_double_up_to_the_longest_and_never_come_early() {
        let backoff = Policy::default().backoff;
        let last = Timestamp::UNIX_EPOCH;
        for (attempts, least) in [
            (1, 60),
            (2, 120),
            (3, 240),
            (6, 1920),
            (7, 3600),
            (40, 3600),
            (u32::MAX, 3600),
        ] {
            let until = backoff.until(attempts, last, "token").as_second();
            assert!(
                (least..=least + least / 10).contains(&until),
                "{attempts}: {until}"
            );
        }
    }

    #[test]
    fn jitter_differs_by_token_and_stays_within_its_share() {
        let backoff = Policy::default().backoff;
        let waits: std::collections::BTreeSet<_> = (0..50)
            .map(|n| {
                backoff
                    .until(7, Timestamp::UNIX_EPOCH, &n.to_string())
                    .as_millisecond()
            })
            .collect();
        assert!(waits.len() > 40);
        assert!(
            waits
                .iter()
                .all(|wait| (3_600_000..=3_960_000).contains(wait))
        );
    }

    #[test]
    fn annotations_narrow_and_nonsense_is_ignored() {
        let policy = Policy::default();
        for (value, limit) in [
            ("2", 2),
            (" 2 ", 2),
            ("0", 0),
            ("50", 5),
            ("-1", 5),
            ("many", 5),
            ("", 5),
        ] {
            assert_eq!(
                policy.limit_for(&annotated(LIMIT, value)),
                limit,
                "{value:?}"
            );
        }
        for (value, out) in [
            ("false", true),
            ("False", true),
            ("true", false),
            ("no", false),
            ("", false),
        ] {
            assert_eq!(
                Policy::opted_out(&annotated(ENABLED, value)),
                out,
                "{value:?}"
            );
        }
    }

    #[test]
    fn an_annotation_opts_in_only_where_it_may() {
        let asked = annotated(AFTER_ROLLBACK, "true");
        assert!(Policy::default().allows_after_rollback(&asked));
        assert!(!Policy::default().allows_after_rollback(&annotated(AFTER_ROLLBACK, "yes")));
        let strict = Policy {
            allow_after_rollback: false,
            ..Policy::default()
        };
        assert!(!strict.allows_after_rollback(&asked));
        assert!(
            Policy {
                after_rollback: true,
                ..strict
            }
            .allows_after_rollback(&Release::default())
        );
    }
}
