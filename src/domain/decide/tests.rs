//! The table as a whole; `tests/it/decisions.rs` has a case for each row.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::ledger::{LAST_RESTART, STATE};

fn conditions() -> impl Strategy<Value = Vec<serde_json::Value>> {
    let kind = prop::sample::select(vec![
        "Ready",
        "Reconciling",
        "Stalled",
        "Released",
        "Remediated",
        "TestSuccess",
    ]);
    let status = prop::sample::select(vec!["True", "False", "Unknown", "Odd"]);
    let reasons = [
        "UpgradeFailed",
        "Progressing",
        "ProgressingWithRetry",
        "RetriesExceeded",
        "RollbackSucceeded",
        "UninstallSucceeded",
        "DependencyNotReady",
        "RetryAfterInterval",
        "",
    ];
    let reason = prop::sample::select(reasons.to_vec());
    let one = (kind, status, reason).prop_map(
        |(kind, status, reason)| json!({"type": kind, "status": status, "reason": reason}),
    );
    prop::collection::vec(one, 0..5)
}

prop_compose! {
    fn release()(
        conditions in conditions(), generation in 0..3_i64, tried in prop::option::of(0..3_i64), observed in -1..3_i64,
        suspended: bool, deleting in prop::bool::weighted(0.1), requested in prop::option::of("[ab]"),
        handled in prop::option::of("[ab]"), attempts in prop::option::of(prop_oneof!["[0-9]", "x", "4294967295"]),
    ) -> Release {
        let mut json = json!({
            "metadata": {"uid": "u", "generation": generation, "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z"), "annotations": {}},
            "spec": {"suspend": suspended},
            "status": {"conditions": conditions, "lastAttemptedGeneration": tried, "observedGeneration": observed, "lastHandledReconcileAt": handled},
        });
        if let Some(requested) = requested {
            json["metadata"]["annotations"][crate::domain::release::REQUESTED_AT] = json!(requested);
        }
        let mut release: Release = serde_json::from_value(json).expect("a release");
        if let Some(attempts) = attempts {
            let state = format!("{{\"v\":1,\"token\":\"a\",\"sends\":1,\"total\":{attempts},\"keys\":[{{\"key\":\"{}\",\"base\":0,\"at\":0}}],\"before\":{{\"revision\":0,\"hash\":\"\"}}}}", release.config_key().id());
            release.metadata.annotations.insert(STATE.into(), state);
            release.metadata.annotations.insert(LAST_RESTART.into(), "1970-01-01T00:00:00Z".into());
        }
        release
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    /// Every input has a decision, and none restarts a release that must not be restarted.
    #[test]
    fn a_restart_is_decided_only_where_it_may_be(release in release(), class in prop::sample::select(Class::ALL), settled: bool) {
        let verdict = Verdict { class, rule: "rule", ..Verdict::UNKNOWN };
        let trigger = Trigger { settled, ..Trigger::default() };
        let policy = Policy::default();
        let now = Timestamp::UNIX_EPOCH;
        let record = Record::of(&release);
        let inputs = Inputs { trigger: &trigger, verdict, release: Some(&release), record: &record, policy: &policy, now };
        let decision = decide(&inputs);
        prop_assert!(TABLE[explain(&inputs).1].words.contains(&decision.reason()));
        if let Decision::Restart { request: RestartRequest { action, attempt, sends }, reason } = decision {
            prop_assert_eq!(sends, 1);
            let stalled = release.is("Stalled", Truth::True);
            prop_assert!(!release.spec.suspend && release.metadata.deletion_timestamp.is_none());
            prop_assert!(!release.token_pending());
            prop_assert!(class != Class::Permanent && class != Class::Unknown);
            prop_assert!(class != Class::Benign || stalled);
            prop_assert!(stalled || !release.is("Reconciling", Truth::True));
            prop_assert!((1..=policy.limit).contains(&attempt));
            prop_assert_eq!(action == Action::Reset, stalled);
            prop_assert_eq!(reason.decides(), "restart");
            prop_assert!(release.status.last_attempted_generation.is_none_or(|tried| Some(tried) == release.metadata.generation));
            prop_assert!(!release.is("Remediated", Truth::True));
        }
    }
}
