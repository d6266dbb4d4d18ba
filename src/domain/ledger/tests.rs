use super::*;

fn release(annotations: serde_json::Value) -> Release {
    serde_json::from_value(serde_json::json!({
        "metadata": {"generation": 2, "annotations": annotations},
        "status": {"lastAttemptedRevision": "1.0.0", "lastAttemptedConfigDigest": "sha256:abc",
            "history": [{"version": 3, "status": "failed"}], "failures": 1},
    }))
    .expect("a release")
}

fn order(action: Action, attempt: u32) -> Order {
    Order {
        action,
        attempt,
        sends: 1,
    }
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
    let changes = restart(
        &restarted,
        order(Action::Reset, 2),
        "wait-timeout",
        true,
        stamp(),
    );
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
        order(Action::Request, 1),
        "deadline",
        false,
        stamp(),
    );
    assert!(!changes.contains_key(RESET_AT) && !changes.contains_key(LEGACY_RECONCILE_AT));
}

#[test]
fn a_token_is_never_used_twice() {
    let first = release(serde_json::json!({REQUESTED_AT: "2026-01-01T00:00:00.000000000Z"}));
    let changes = restart(&first, order(Action::Reset, 1), "deadline", false, stamp());
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
    succeeded.status.history = vec![crate::domain::release::Snapshot {
        version: 4,
        status: "deployed".into(),
        chart_version: "1.0.0".into(),
        config_digest: "sha256:abc".into(),
        ..crate::domain::release::Snapshot::default()
    }];
    assert_eq!(standing(&succeeded).attempts, 0);
}

#[test]
fn a_new_value_of_renew_starts_afresh_and_taking_it_away_does_not() {
    let base = release(serde_json::json!({}));
    let spent = after(
        base.clone(),
        restart(&base, order(Action::Reset, 5), "c", false, stamp()),
    );
    let renew = |release: &Release, value: &str| {
        after(
            release.clone(),
            Changes::from([(RENEW, Some(value.into()))]),
        )
    };
    let renewed = renew(&spent, "monday");
    assert_eq!(standing(&renewed).attempts, 0);
    assert!(standing(&renewed).last.is_some(), "the first wait stays");
    assert_eq!(standing(&renew(&spent, " ")).attempts, 5);
    let again = after(
        renewed.clone(),
        restart(&renewed, order(Action::Reset, 1), "c", false, stamp()),
    );
    assert_eq!(standing(&again).attempts, 1);
    let taken_away = after(again.clone(), Changes::from([(RENEW, None)]));
    assert_eq!(standing(&taken_away).attempts, 1);
    let third = after(
        taken_away.clone(),
        restart(&taken_away, order(Action::Reset, 2), "c", false, stamp()),
    );
    assert_eq!(standing(&renew(&third, "monday")).attempts, 2, "not twice");
    assert_eq!(standing(&renew(&again, "tuesday")).attempts, 0);
}

#[test]
fn a_value_that_is_put_back_is_noticed_and_a_person_s_new_one_is_none() {
    let first = release(serde_json::json!({REQUESTED_AT: "from git"}));
    let restarted = after(
        first.clone(),
        restart(&first, order(Action::Reset, 1), "c", false, stamp()),
    );
    let requested = |value: &str| {
        after(
            restarted.clone(),
            Changes::from([(REQUESTED_AT, Some(value.into()))]),
        )
    };
    assert!(!standing(&restarted).contested);
    assert!(standing(&requested("from git")).contested);
    assert!(!standing(&requested("by hand")).contested);
}

#[test]
fn giving_up_is_noted_once_and_forgotten_by_the_next_restart() {
    let base = after(
        release(serde_json::json!({})),
        restart(
            &release(serde_json::json!({})),
            order(Action::Reset, 5),
            "c",
            false,
            stamp(),
        ),
    );
    let gave_up = after(base, give_up(5, "wait-timeout", now()));
    assert!(standing(&gave_up).gave_up);
    assert_eq!(
        gave_up.annotation(GAVE_UP),
        Some("2026-01-01T00:00:00Z budget-spent: 5 restarts did not help against wait-timeout")
    );
    let slow_lane = restart(&gave_up, order(Action::Reset, 6), "c", false, stamp());
    assert!(!slow_lane.contains_key(GAVE_UP), "it stays given up");
    let renewed = after(gave_up, Changes::from([(RENEW, Some("please".into()))]));
    let fresh = restart(&renewed, order(Action::Reset, 1), "c", false, stamp());
    assert_eq!(fresh[GAVE_UP], None);
}

#[test]
fn two_processes_never_write_the_same_token() {
    let base = release(serde_json::json!({}));
    let token = |salt| {
        let stamp = Stamp { now: now(), salt };
        let written = restart(&base, order(Action::Reset, 1), "c", false, stamp);
        written[REQUESTED_AT].clone()
    };
    assert_eq!(token(5).as_deref(), Some("2026-01-01T00:00:00.000000005Z"));
    assert_ne!(token(5), token(6));
}
