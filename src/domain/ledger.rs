//! What helmreboot remembers, written on the HelmRelease itself: the process can be killed at any
//! instant, and any replica can go on where another stopped.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::release::{Marks, REQUESTED_AT, RESET_AT, Release, Truth};

/// Time of the last restart.
pub const LAST_RESTART: &str = "helmreboot.io/last-restart";
/// Restarts charged to the config key.
pub const ATTEMPTS: &str = "helmreboot.io/attempts";
/// What the attempts count against.
pub const CONFIG_KEY: &str = "helmreboot.io/config-key";
/// The rule that named the cause.
pub const CAUSE: &str = "helmreboot.io/cause";
/// The token of the last restart.
pub const TOKEN: &str = "helmreboot.io/token";
/// Where Flux's books stood before it.
pub const BEFORE: &str = "helmreboot.io/before";
/// When and why helmreboot stopped.
pub const GAVE_UP: &str = "helmreboot.io/gave-up";
/// What the first helmreboot wrote. No current Flux reads it; other tools may.
pub const LEGACY_RECONCILE_AT: &str = "fluxcd.io/reconcileAt";

/// Annotations to set, or with `None` to remove.
pub type Changes = BTreeMap<&'static str, Option<String>>;

words! {
    /// How Flux is asked to try again.
    Action {
        /// `requestedAt`: reconcile now.
        Request = "request",
        /// `requestedAt` and `resetAt`: forget the failures counted so far, then reconcile.
        Reset = "reset",
    }
}

words! {
    /// How an episode, which begins with a restart, came to its end.
    Ended {
        /// The release is ready.
        Recovered = "recovered",
        /// Flux tried, and it failed.
        FailedAgain = "failed-again",
        /// Flux took the token and did nothing (story reset-swallowed-by-dependency).
        Swallowed = "swallowed",
        /// The configuration changed, or somebody suspended, deleted or asked for something themselves.
        Superseded = "superseded",
    }
}

/// What the ledger says about the configuration Flux last tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Restarts charged so far.
    pub attempts: u32,
    /// The last restart: when, and its token.
    pub last: Option<(Timestamp, String)>,
    /// Whether giving up was already reported.
    pub gave_up: bool,
}

/// Reads the ledger. A new config key and a success since the last restart both start afresh; time
/// alone does not. A count that somebody removed or made unreadable counts as spent. Whoever removes the
/// whole ledger removes the budget with it, which is why a worker also keeps what it wrote itself.
pub fn standing(release: &Release) -> Standing {
    let fresh = Standing {
        attempts: 0,
        last: None,
        gave_up: false,
    };
    let Some(key) = release.annotation(CONFIG_KEY) else {
        return fresh;
    };
    let before = release.annotation(BEFORE).and_then(Marks::version_of);
    let succeeded = before.is_some_and(|version| release.succeeded_after(version));
    if key != release.config_key().to_string() || succeeded {
        return fresh;
    }
    let attempts = release
        .annotation(ATTEMPTS)
        .and_then(|attempts| attempts.parse().ok());
    let last = release
        .annotation(LAST_RESTART)
        .and_then(|at| at.parse().ok());
    let token = release.annotation(TOKEN).unwrap_or_default().to_owned();
    Standing {
        attempts: attempts.unwrap_or(u32::MAX),
        last: last.map(|at| (at, token)),
        gave_up: release.annotation(GAVE_UP).is_some(),
    }
}

/// What a restart writes: one fresh token under every request key, and the ledger of the episode.
pub fn restart(
    release: &Release,
    action: Action,
    attempt: u32,
    cause: &str,
    legacy: bool,
    now: Timestamp,
) -> Changes {
    let token = fresh_token(release, now);
    let mut changes = Changes::from([
        (REQUESTED_AT, Some(token.clone())),
        (LAST_RESTART, Some(now.to_string())),
        (ATTEMPTS, Some(attempt.to_string())),
        (CONFIG_KEY, Some(release.config_key().to_string())),
        (CAUSE, Some(cause.to_owned())),
        (BEFORE, Some(release.marks().to_string())),
        (TOKEN, Some(token.clone())),
    ]);
    if action == Action::Reset {
        changes.insert(RESET_AT, Some(token));
    }
    if legacy {
        changes.insert(LEGACY_RECONCILE_AT, Some(now.to_string()));
    }
    if release.annotation(GAVE_UP).is_some() {
        changes.insert(GAVE_UP, None);
    }
    changes
}

/// What giving up writes: when and why, once.
pub fn give_up(attempts: u32, cause: &str, now: Timestamp) -> Changes {
    let restarts = counted(attempts);
    let note = format!("{now:.0} budget-spent: {restarts} did not help against {cause}");
    Changes::from([(GAVE_UP, Some(note))])
}

/// A number of restarts in words.
pub fn counted(attempts: u32) -> String {
    match attempts {
        1 => "1 restart".into(),
        u32::MAX => "restarts that somebody made uncountable".into(),
        some => format!("{some} restarts"),
    }
}

/// Whether, and how, the episode that began with `token` has ended.
pub fn ended(release: &Release, token: &str) -> Option<Ended> {
    let key = release.config_key().to_string();
    let foreign = release.annotation(REQUESTED_AT) != Some(token)
        || release.annotation(CONFIG_KEY) != Some(&key);
    if release.metadata.deletion_timestamp.is_some() || release.spec.suspend || foreign {
        return Some(Ended::Superseded);
    }
    if release.token_pending() {
        return None;
    }
    if release.is("Ready", Truth::True) {
        return Some(Ended::Recovered);
    }
    let working = release.is("Reconciling", Truth::True);
    let failed = release.is("Stalled", Truth::True) || release.is("Ready", Truth::False);
    if working || !failed {
        return None;
    }
    let moved = release.annotation(BEFORE) != Some(release.marks().to_string().as_str());
    Some(if moved {
        Ended::FailedAgain
    } else {
        Ended::Swallowed
    })
}

/// RFC 3339 with nanoseconds, as the Flux CLI writes it, and never a value that stands there already.
fn fresh_token(release: &Release, now: Timestamp) -> String {
    let taken = [
        release.annotation(REQUESTED_AT),
        release.annotation(RESET_AT),
    ];
    let token = format!("{now:.9}");
    if taken.contains(&Some(token.as_str())) {
        return format!("{:.9}", now + jiff::SignedDuration::from_nanos(1));
    }
    token
}

/// The token of our own restart, while Flux has not taken notice of it: an episode has begun, whoever
/// began it and whatever became of their process.
pub fn running(release: &Release) -> Option<&str> {
    let token = release.annotation(TOKEN)?;
    (release.token_pending() && release.annotation(REQUESTED_AT) == Some(token)).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(annotations: serde_json::Value) -> Release {
        serde_json::from_value(serde_json::json!({
            "metadata": {"generation": 2, "annotations": annotations},
            "status": {"lastAttemptedRevision": "1.0.0", "lastAttemptedConfigDigest": "sha256:abc",
                "history": [{"version": 3, "status": "failed"}], "failures": 1},
        }))
        .expect("a release")
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().expect("a time")
    }

    /// The release as it stands after `changes` were written.
    fn after(mut release: Release, changes: Changes) -> Release {
        for (key, value) in changes {
            match value {
                Some(value) => release.metadata.annotations.insert(key.into(), value),
                None => release.metadata.annotations.remove(key),
            };
        }
        release
    }

    #[test]
    fn a_restart_is_read_back_as_it_was_written() {
        let restarted = release(serde_json::json!({}));
        let changes = restart(&restarted, Action::Reset, 2, "wait-timeout", true, now());
        assert_eq!(changes.len(), 9);
        assert_eq!(changes[REQUESTED_AT], changes[RESET_AT]);
        assert_eq!(
            changes[REQUESTED_AT].as_deref(),
            Some("2026-01-01T00:00:00.000000000Z")
        );
        let standing = standing(&after(restarted, changes));
        assert_eq!(standing.attempts, 2);
        assert_eq!(
            standing.last,
            Some((now(), "2026-01-01T00:00:00.000000000Z".into()))
        );
    }

    #[test]
    fn a_request_asks_for_nothing_but_a_reconciliation() {
        let changes = restart(
            &release(serde_json::json!({})),
            Action::Request,
            1,
            "deadline",
            false,
            now(),
        );
        assert!(!changes.contains_key(RESET_AT) && !changes.contains_key(LEGACY_RECONCILE_AT));
    }

    #[test]
    fn a_token_is_never_used_twice() {
        let first = release(serde_json::json!({REQUESTED_AT: "2026-01-01T00:00:00.000000000Z"}));
        let changes = restart(&first, Action::Reset, 1, "deadline", false, now());
        assert_eq!(
            changes[REQUESTED_AT].as_deref(),
            Some("2026-01-01T00:00:00.000000001Z")
        );
    }

    #[test]
    fn a_new_config_key_and_a_success_start_afresh_and_garbage_does_not() {
        let ledger = |key: &str, attempts: &str| {
            release(
                serde_json::json!({CONFIG_KEY: key, ATTEMPTS: attempts, BEFORE: "v3 ran=-",
                LAST_RESTART: "2026-01-01T00:00:00Z", TOKEN: "t"}),
            )
        };
        assert_eq!(standing(&ledger("2/1.0.0/abc", "4")).attempts, 4);
        assert_eq!(standing(&ledger("1/1.0.0/abc", "4")).attempts, 0);
        assert_eq!(standing(&ledger("2/1.0.0/abc", "lots")).attempts, u32::MAX);
        let mut succeeded = ledger("2/1.0.0/abc", "4");
        succeeded.status.history = vec![super::super::release::Snapshot {
            version: 4,
            status: "deployed".into(),
            chart_version: "1.0.0".into(),
            config_digest: "sha256:abc".into(),
            ..super::super::release::Snapshot::default()
        }];
        assert_eq!(standing(&succeeded).attempts, 0);
    }

    #[test]
    fn giving_up_is_noted_once_and_forgotten_by_the_next_restart() {
        let base = after(
            release(serde_json::json!({})),
            restart(
                &release(serde_json::json!({})),
                Action::Reset,
                5,
                "c",
                false,
                now(),
            ),
        );
        let gave_up = after(base, give_up(5, "wait-timeout", now()));
        assert!(standing(&gave_up).gave_up);
        assert_eq!(
            gave_up.annotation(GAVE_UP),
            Some("2026-01-01T00:00:00Z budget-spent: 5 restarts did not help against wait-timeout")
        );
        assert_eq!(
            restart(&gave_up, Action::Reset, 1, "c", false, now())[GAVE_UP],
            None
        );
    }
}
