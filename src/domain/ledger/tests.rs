use jiff::SignedDuration;

use super::*;

mod success;

fn release(annotations: serde_json::Value) -> Release {
    serde_json::from_value(serde_json::json!({
        "metadata": {"generation": 2, "annotations": annotations},
        "status": {"lastAttemptedRevision": "1.0.0", "lastAttemptedConfigDigest": "sha256:abc",
            "history": [{"version": 3, "status": "failed"}], "failures": 1},
    }))
    .expect("a release")
}

fn request(action: Action, attempt: u32) -> RestartRequest {
    RestartRequest {
        action,
        attempt,
        sends: 1,
    }
}

fn attempt_state(release: &Release) -> AttemptState {
    super::attempt_state(release, &Record::of(release))
}

fn attempt_state_with_limit(release: &Release, limit: u32, now: Timestamp) -> AttemptState {
    super::attempt_state_with_limit(release, &Record::of(release), limit, now)
}

fn restart(
    release: &Release,
    request: RestartRequest,
    cause: &str,
    legacy: bool,
    stamp: Stamp,
) -> Changes {
    super::restart(release, &Record::of(release), request, cause, legacy, stamp)
}

fn stamp() -> Stamp {
    Stamp {
        now: now(),
        salt: 0,
    }
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

/// The release after `changes` were written.
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
    let restarted = restarted(&release(serde_json::json!({})));
    let changes = restart(
        &restarted,
        request(Action::Reset, 2),
        "wait-timeout",
        true,
        stamp(),
    );
    assert_eq!(changes.len(), 7);
    assert_eq!(changes[REQUESTED_AT], changes[RESET_AT]);
    assert_eq!(
        changes[REQUESTED_AT].as_deref(),
        Some("2026-01-01T00:00:00.000000001Z")
    );
    assert_eq!(changes[RESTARTS].as_deref(), Some("2"));
    let state = attempt_state(&after(restarted, changes));
    assert_eq!(state.attempts, 2);
    assert_eq!(
        state.last,
        Some((now(), "2026-01-01T00:00:00.000000001Z".into()))
    );
}

#[test]
fn a_request_asks_for_nothing_but_a_reconciliation() {
    let changes = restart(
        &release(serde_json::json!({})),
        request(Action::Request, 1),
        "deadline",
        false,
        stamp(),
    );
    assert!(!changes.contains_key(RESET_AT) && !changes.contains_key(LEGACY_RECONCILE_AT));
}

#[test]
fn a_token_is_never_used_twice() {
    let first = release(serde_json::json!({REQUESTED_AT: "2026-01-01T00:00:00.000000000Z"}));
    let changes = restart(
        &first,
        request(Action::Reset, 1),
        "deadline",
        false,
        stamp(),
    );
    assert_eq!(
        changes[REQUESTED_AT].as_deref(),
        Some("2026-01-01T00:00:00.000000001Z")
    );
}

/// The release, restarted once more under a limit of five.
fn restarted(release: &Release) -> Release {
    restarted_at(release, now())
}

fn restarted_at(release: &Release, at: Timestamp) -> Release {
    let attempt = attempt_state_with_limit(release, 5, at).attempts + 1;
    let stamp = Stamp { now: at, ..stamp() };
    let changes = restart(release, request(Action::Reset, attempt), "c", false, stamp);
    after(release.clone(), changes)
}

fn with_digest(mut release: Release, digest: &str) -> Release {
    release.status.last_attempted_config_digest = Some(format!("sha256:{digest}"));
    release
}

#[test]
fn each_configuration_has_a_count_of_its_own_and_the_wait_grows_over_all() {
    let first = restarted(&restarted(&release(serde_json::json!({}))));
    assert_eq!(
        (attempt_state(&first).attempts, attempt_state(&first).total),
        (2, 2)
    );
    let other = with_digest(first, "other");
    assert_eq!(
        (attempt_state(&other).attempts, attempt_state(&other).total),
        (0, 2)
    );
    assert!(
        attempt_state(&other).last.is_some(),
        "the last restart still counts"
    );
    let other = restarted(&other);
    assert_eq!(
        (attempt_state(&other).attempts, attempt_state(&other).total),
        (1, 3)
    );
}

#[test]
fn what_alternates_has_one_budget_for_all_configurations() {
    let mut release = release(serde_json::json!({}));
    for (restarts, digest) in ["a", "b", "a", "b", "a"].into_iter().enumerate() {
        release = with_digest(release, digest);
        let charged = u32::try_from(restarts).expect("small");
        let expected = if restarts == 1 { 0 } else { charged };
        assert_eq!(
            attempt_state(&release).attempts,
            expected,
            "restart {restarts}"
        );
        release = restarted(&release);
    }
    for digest in ["a", "b"] {
        let state = attempt_state(&with_digest(release.clone(), digest));
        assert_eq!((state.attempts, state.total), (5, 5), "{digest}");
    }
}

#[test]
fn the_last_four_configurations_keep_their_counts() {
    let mut release = release(serde_json::json!({}));
    for digest in ["a", "b", "c", "d", "a"] {
        release = restarted(&with_digest(release, digest));
    }
    for digest in ["a", "b", "c", "d"] {
        let state = attempt_state(&with_digest(release.clone(), digest));
        assert_eq!(state.attempts, 5, "{digest}");
    }
}

#[test]
fn a_configuration_that_never_stops_changing_gains_nothing() {
    let mut release = release(serde_json::json!({}));
    for number in 0..5 {
        release = with_digest(release, &format!("d{number}"));
        let expected = if number < 4 { 0 } else { 4 };
        let attempts = attempt_state_with_limit(&release, 5, now()).attempts;
        assert_eq!(attempts, expected, "{number}");
        release = restarted(&release);
    }
    let next = with_digest(release, "next");
    assert_eq!(attempt_state_with_limit(&next, 5, now()).attempts, 5);
}

#[test]
fn a_day_after_the_others_a_new_configuration_has_a_budget_of_its_own() {
    let later = |hours| {
        now()
            .saturating_add(SignedDuration::from_hours(hours))
            .expect("a time")
    };
    for (limit, configurations) in [(1, 1), (3, 3), (4, 4), (5, 4), (8, 4)] {
        let mut first = release(serde_json::json!({}));
        for number in 0..configurations {
            first = restarted(&with_digest(first, &format!("d{number}")));
        }
        // The slow lane tried the last one again since then.
        let tried = restarted_at(&first, later(23));
        for release in [first, tried] {
            let next = with_digest(release, "next");
            let attempts = |at| attempt_state_with_limit(&next, limit, at).attempts;
            assert!(attempts(later(23)) >= limit.min(4), "limit {limit}");
            assert_eq!(attempts(later(25)), 0, "limit {limit}");
        }
    }
}

#[test]
fn a_state_that_cannot_be_read_counts_as_spent_until_a_person_renews() {
    let written = restarted(&release(serde_json::json!({})));
    let readable = written.annotation(STATE).expect("a state");
    assert_eq!(attempt_state(&written).attempts, 1);
    // A time that no calendar has.
    let seconds = readable.split("\"at\":").nth(1).expect("a time");
    let seconds = seconds.split('}').next().expect("its end");
    let never = readable.replace(seconds, &i64::MAX.to_string());
    for text in ["", "lots", "{}", "{\"v\":2}", "[]", &never] {
        let damaged = release(serde_json::json!({STATE: text}));
        assert_eq!(attempt_state(&damaged).attempts, u32::MAX, "{text}");
        let renewed = release(serde_json::json!({STATE: text, RENEW: "now"}));
        assert_eq!(attempt_state(&renewed).attempts, 0, "{text}");
    }
    let taken = release(serde_json::json!({LAST_RESTART: "2026-01-01T00:00:00Z"}));
    assert_eq!(attempt_state(&taken).attempts, u32::MAX);
}

#[test]
fn a_state_is_small_whatever_a_release_calls_its_versions() {
    let mut release = release(serde_json::json!({RENEW: "x".repeat(5000)}));
    release.metadata.generation = Some(i64::MAX);
    release.status.last_attempted_revision = Some("v".repeat(5000));
    for number in 0..9 {
        release = restarted(&with_digest(release, &format!("{number:0>64}")));
    }
    let text = release.annotation(STATE).expect("a state");
    assert!(text.len() <= 1024, "{} bytes", text.len());
}

#[test]
fn a_new_value_of_renew_starts_afresh_and_taking_it_away_does_not() {
    let spent = (0..5).fold(release(serde_json::json!({})), |release, _| {
        restarted(&release)
    });
    let renew = |release: &Release, value: &str| {
        after(
            release.clone(),
            Changes::from([(RENEW, Some(value.into()))]),
        )
    };
    let renewed = renew(&spent, "monday");
    assert_eq!(attempt_state(&renewed).attempts, 0);
    assert!(
        attempt_state(&renewed).last.is_some(),
        "the first wait stays"
    );
    assert_eq!(attempt_state(&renew(&spent, " ")).attempts, 5);
    let again = after(
        renewed.clone(),
        restart(&renewed, request(Action::Reset, 1), "c", false, stamp()),
    );
    assert_eq!(attempt_state(&again).attempts, 1);
    let taken_away = after(again.clone(), Changes::from([(RENEW, None)]));
    assert_eq!(attempt_state(&taken_away).attempts, 1);
    let third = after(
        taken_away.clone(),
        restart(&taken_away, request(Action::Reset, 2), "c", false, stamp()),
    );
    assert_eq!(
        attempt_state(&renew(&third, "monday")).attempts,
        2,
        "not twice"
    );
    assert_eq!(attempt_state(&renew(&again, "tuesday")).attempts, 0);
}

#[test]
fn a_value_that_is_put_back_is_noticed_and_a_person_s_new_one_is_none() {
    let first = release(serde_json::json!({REQUESTED_AT: "from git"}));
    let restarted = after(
        first.clone(),
        restart(&first, request(Action::Reset, 1), "c", false, stamp()),
    );
    let requested = |value: &str| {
        after(
            restarted.clone(),
            Changes::from([(REQUESTED_AT, Some(value.into()))]),
        )
    };
    assert!(!attempt_state(&restarted).contested);
    assert!(attempt_state(&requested("from git")).contested);
    assert!(!attempt_state(&requested("by hand")).contested);
}

#[test]
fn giving_up_is_noted_once_and_forgotten_by_the_next_restart() {
    let base = after(
        release(serde_json::json!({})),
        restart(
            &release(serde_json::json!({})),
            request(Action::Reset, 5),
            "c",
            false,
            stamp(),
        ),
    );
    let gave_up = after(
        base,
        give_up(5, "wait-timeout (a slow start)", Some(now()), now()),
    );
    assert!(attempt_state(&gave_up).gave_up);
    assert_eq!(
        gave_up.annotation(GAVE_UP),
        Some(
            "2026-01-01T00:00:00Z: 5 restarts did not help against wait-timeout (a slow start). The next attempt is not before 2026-01-01T00:00:00Z. For new attempts, correct the release, or set the annotation helmreboot.io/renew to a new value."
        )
    );
    let slow_lane = restart(&gave_up, request(Action::Reset, 6), "c", false, stamp());
    assert!(!slow_lane.contains_key(GAVE_UP), "it stays given up");
    let renewed = after(gave_up, Changes::from([(RENEW, Some("please".into()))]));
    let fresh = restart(&renewed, request(Action::Reset, 1), "c", false, stamp());
    assert_eq!(fresh[GAVE_UP], None);
}

#[test]
fn two_processes_never_write_the_same_token() {
    let base = release(serde_json::json!({}));
    let token = |salt| {
        let stamp = Stamp { now: now(), salt };
        let written = restart(&base, request(Action::Reset, 1), "c", false, stamp);
        written[REQUESTED_AT].clone()
    };
    assert_eq!(token(5).as_deref(), Some("2026-01-01T00:00:00.000000005Z"));
    assert_ne!(token(5), token(6));
}
