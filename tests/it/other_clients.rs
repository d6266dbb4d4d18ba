//! Other clients that write on the same release: people, Git, and a release that is replaced.

use serde_json::json;

use crate::support::{Live, TestApp, alerts_only, config_key, pass, state};

use crate::decisions::{case, check, last_at, restarted_as};

#[tokio::test(start_paused = true)]
async fn what_is_gone_replaced_or_going_is_left() {
    let app = TestApp::new();
    let gone = helmreboot::demo::fake_cluster::Key::new("apps", "gone");
    app.alert(&gone).await;
    let replaced = app.holds(Live::stalled("replaced"));
    let mut event = app.event("a", &replaced);
    event["involvedObject"]["uid"] = json!("of its predecessor");
    app.send("a", &event).await;
    let going = app.holds(
        Live::stalled("going").with(&json!({"metadata": {"finalizers": ["finalizers.fluxcd.io"]}})),
    );
    app.cluster("a").delete(&going);
    app.alert(&going).await;
    pass(9).await;
    assert_eq!(
        [app.why(&gone), app.why(&replaced), app.why(&going)],
        ["gone", "replaced", "deleting"]
    );
}

#[tokio::test(start_paused = true)]
async fn releases_that_others_have_their_hands_on() {
    let requested = "reconcile.fluxcd.io/requestedAt";
    let cases = vec![
        // The workload is elsewhere; the HelmRelease that is annotated is here.
        case(
            Live::stalled("remote")
                .with(&json!({"spec": {"kubeConfig": {"secretRef": {"name": "spoke"}}}})),
            "reset",
            1,
        ),
        // A person has just asked for something.
        case(
            Live::stalled("asked").annotated(requested, "by hand"),
            "token-pending",
            0,
        ),
        // What a person asked for is done, and did not help.
        case(
            Live::stalled("asked-in-vain")
                .annotated(requested, "by hand")
                .status(&json!({"lastHandledReconcileAt": "by hand"})),
            "reset",
            1,
        ),
        // Moved to another chart: the old budget is no longer its own.
        case(
            restarted_as(
                "moved",
                state(5),
                &last_at(
                    &config_key("0.9.0", "sha256:0123456789ab"),
                    "2026-11-23T10:00:00Z",
                ),
            ),
            "reset",
            1,
        ),
        // The spec has changed, and Flux has not come to it yet.
        case(
            Live::stalled("edited").status(&json!({"lastAttemptedGeneration": 0})),
            "not-attempted",
            0,
        ),
    ];
    check(alerts_only(), cases).await;
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_suspended_or_deleted_during_a_wait_is_left_alone() {
    for (change, why) in [
        (json!({"spec": {"suspend": true}}), "suspended"),
        (
            json!({"metadata": {"annotations": {"helmreboot.io/enabled": "false"}}}),
            "opted-out",
        ),
    ] {
        let app = TestApp::new();
        let release = app.holds(restarted_as(
            "web",
            state(1),
            &last_at(
                &config_key("1.0.0", "sha256:0123456789abcdef"),
                "2026-11-23T11:59:50Z",
            ),
        ));
        app.alert(&release).await;
        pass(9).await;
        assert_eq!(app.why(&release), "backoff");
        app.cluster("a").apply(&release, &change);
        pass(600).await;
        assert_eq!((app.why(&release), app.writes().len()), (why, 0));
    }
}
