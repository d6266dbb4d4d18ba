use super::*;

fn release(json: serde_json::Value) -> Release {
    serde_json::from_value(json).expect("a release")
}

#[test]
fn absent_null_and_unknown_fields_are_normal() {
    for json in [
        serde_json::json!({}),
        serde_json::json!({"metadata": null, "spec": null, "status": null}),
        serde_json::json!({"metadata": {"annotations": null}, "spec": {"suspend": null, "x": 1},
            "status": {"conditions": null, "history": null, "failures": null, "inventory": {}}}),
    ] {
        let release = release(json);
        assert_eq!(release.config_key().to_string(), "0/-/-");
        assert_eq!(release.failures().count(), 0);
    }
}

#[test]
fn the_cause_is_sought_in_every_condition_and_in_stalled_last() {
    let stalled = serde_json::json!({"type": "Stalled", "status": "True", "message": "gave up"});
    let released = serde_json::json!({"type": "Released", "status": "False", "message": "cause"});
    let unknown = serde_json::json!({"type": "Ready", "status": "Unknown", "message": "working"});
    let both = release(serde_json::json!({"status": {"conditions": [stalled, unknown, released]}}));
    assert_eq!(
        both.failures().map(|said| said.message).collect::<Vec<_>>(),
        ["cause"]
    );
    let alone = release(serde_json::json!({"status": {"conditions": [stalled, unknown]}}));
    assert_eq!(
        alone
            .failures()
            .map(|said| said.message)
            .collect::<Vec<_>>(),
        ["gave up"]
    );
}

#[test]
fn a_rollback_is_no_success_of_the_configuration_that_was_tried() {
    let history = |digest: &str, status: &str, version: i64| {
        release(serde_json::json!({"status": {
            "lastAttemptedConfigDigest": "sha256:new", "lastAttemptedRevision": "1.0.0",
            "history": [{"version": version, "status": status, "chartVersion": "1.0.0",
                "configDigest": digest}]}}))
    };
    let succeeded = |release: &Release, current| {
        let config = release.config_key().config_hash();
        release.deployed_after(2, &config, current)
    };
    assert!(succeeded(&history("sha256:new", "deployed", 3), true));
    assert!(!succeeded(&history("sha256:old", "deployed", 3), true));
    assert!(!succeeded(&history("sha256:new", "failed", 3), true));
    assert!(!succeeded(&history("sha256:new", "deployed", 2), true));
    assert!(
        succeeded(&history("sha256:new", "superseded", 3), true),
        "another one followed it"
    );
    let mut tested = history("sha256:new", "deployed", 3);
    let failed = serde_json::json!({"phase": "Failed"});
    let hook = serde_json::from_value(failed).expect("a hook");
    tested.status.history[0]
        .test_hooks
        .insert("test".into(), hook);
    assert!(!succeeded(&tested, true));
    let mut undone = history("sha256:new", "deployed", 3);
    undone.status.conditions.push(Condition {
        kind: "Remediated".into(),
        status: Truth::True,
        ..Condition::default()
    });
    assert!(!succeeded(&undone, true));
    undone.status.history[0].status = "superseded".into();
    assert!(!succeeded(&undone, false), "it may be an earlier rollback");

    let mut followed = history("sha256:new", "superseded", 3);
    assert!(succeeded(&followed, false), "another one followed it");
    let older = Snapshot {
        version: 1,
        ..followed.status.history[0].clone()
    };
    followed.status.history.push(older);
    assert!(!succeeded(&followed, false), "version 3 may be a rollback");
}

#[test]
fn progress_tells_its_revision() {
    let history = serde_json::json!({"status": {"history": [{"version": 7}]}});
    assert_eq!(release(history).progress().revision(), 7);
    assert_eq!(Release::default().progress().revision(), 0);
}

#[test]
fn a_condition_may_say_anything() {
    let odd =
        serde_json::json!({"status": {"conditions": [{"type": "Ready", "status": "Perhaps"}]}});
    assert!(release(odd).is("Ready", Truth::Unknown));
}
