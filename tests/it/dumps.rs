//! Releases as other people's clusters hold them: what their status says beside the usual.

use std::time::Duration;

use helmreboot::{app::Options, config::SweepMode};
use serde_json::{Value, json};

use crate::{
    log::Log,
    program::{run, text},
    support::{IMMUTABLE, Live, NOW, SLOW, TestApp, pass},
};

const FAILING: &str = "helmreboot_failing_releases{cluster=\"a\"";
const RUNNING: &str = "Running 'install' action with timeout of 5m0s";

/// Flux says since then that it installs (fluxcd/helm-controller#1409).
fn installing(name: &str, since: &str) -> Live {
    let mut live = Live::named(name)
        .reconciling("Progressing", RUNNING)
        .condition("Ready", "Unknown", "Progressing", RUNNING);
    live = live.status(&json!({"history": []}));
    live.since(since)
}

/// What `explain` says of a release in a file, as JSON.
fn explained(release: &Value) -> Value {
    let output = run(
        &["explain", "-f", "-", "--output", "json"],
        release.to_string().as_bytes(),
    );
    let line = text(&output.stdout);
    serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("{error}: {line}{}", text(&output.stderr)))
}

#[tokio::test(start_paused = true)]
async fn an_action_that_runs_for_longer_than_its_timeouts_is_overdue_and_reported_once() {
    for mode in [SweepMode::Watch, SweepMode::Every(Duration::from_secs(60))] {
        let log = Log::capture();
        let options = Options {
            sweep: mode,
            ..Options::default()
        };
        let app = TestApp::with(options, &["a"]);
        let release = app.holds(installing("web", NOW));
        let slow = json!({"spec": {"install": {"timeout": "1h"}, "timeout": "10m0s"}});
        let patient = app.holds(installing("patient", NOW).with(&slow));
        // Three times five minutes, and as much again.
        pass(29 * 60).await;
        assert_eq!(app.why(&release), "nothing");
        assert_eq!(app.metric(FAILING).await, 0.0);
        pass(3 * 60).await;
        assert_eq!(app.why(&release), "overdue");
        assert_eq!(app.metric(FAILING).await, 1.0);
        pass(6 * 60 * 60).await;
        assert_eq!(app.why(&patient), "overdue");
        assert_eq!(app.metric(FAILING).await, 2.0);
        let reports = log.with(&["WARN", "a/apps/web is overdue", "helm-controller"]);
        assert_eq!(reports.len(), 1, "{reports:#?}");
        // It ends after all.
        let cluster = app.cluster("a");
        let mut status = cluster.get(&release).expect("the release")["status"].clone();
        status["conditions"] = json!([{"type": "Ready", "status": "True", "reason": "InstallSucceeded",
            "message": "", "observedGeneration": 1, "lastTransitionTime": NOW}]);
        cluster.write_status(&release, &status);
        pass(70).await;
        assert_eq!(app.metric(FAILING).await, 1.0);
        assert!(app.writes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_overdue_before_the_start_is_found_by_the_first_list() {
    let app = TestApp::swept();
    let release = app.holds(installing("web", "2026-11-20T12:00:00Z"));
    let suspended = json!({"spec": {"suspend": true}});
    let left = app.holds(installing("left", "2026-11-20T12:00:00Z").with(&suspended));
    pass(10).await;
    assert_eq!(app.why(&release), "overdue");
    assert_eq!(app.why(&left), "nothing");
    assert_eq!(app.metric(FAILING).await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn ready_is_for_the_generation_that_its_condition_names() {
    let app = TestApp::new();
    let ready = Live::named("web")
        .condition("Ready", "True", "UpgradeSucceeded", "")
        .status(&json!({"observedGeneration": 0}));
    let release = app.holds(ready);
    app.alert(&release).await;
    pass(10).await;
    assert_eq!(app.why(&release), "recovered");
}

#[tokio::test(start_paused = true)]
async fn that_flux_gave_up_is_no_cause_where_another_condition_names_one() {
    let app = TestApp::new();
    // As v2beta1 writes it.
    let live = Live::named("web")
        .condition(
            "Ready",
            "False",
            "InstallFailed",
            "install retries exhausted",
        )
        .condition(
            "Released",
            "False",
            "InstallFailed",
            "Helm install failed: timed out waiting for the condition",
        );
    let alone = Live::named("alone").condition(
        "Ready",
        "False",
        "InstallFailed",
        "install retries exhausted",
    );
    let (release, alone) = (app.holds(live), app.holds(alone));
    app.alert(&release).await;
    app.alert(&alone).await;
    pass(10).await;
    assert_eq!(app.writes().len(), 1);
    assert!(app.annotation(&release, "helmreboot.io/cause").is_some());
    assert_eq!(app.why(&alone), "permanent");
}

#[test]
fn an_object_without_a_generation_is_compared_with_nothing() {
    let failed = json!([{"type": "Stalled", "status": "True", "reason": "RetriesExceeded", "message": ""},
        {"type": "Ready", "status": "False", "reason": "UpgradeFailed", "message": SLOW}]);
    let release = |conditions: &Value| {
        json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "web", "namespace": "apps"},
            "status": {"lastAttemptedGeneration": 3, "observedGeneration": 3, "conditions": conditions}})
    };
    let decided = explained(&release(&failed));
    assert_eq!(
        (&decided["decision"], &decided["reason"]),
        (&json!("restart"), &json!("stalled"))
    );
    let ready =
        json!([{"type": "Ready", "status": "True", "reason": "UpgradeSucceeded", "message": ""}]);
    assert_eq!(explained(&release(&ready))["reason"], "recovered");
}

#[tokio::test(start_paused = true)]
async fn a_cause_that_lasts_is_reported_once_although_flux_goes_on_trying() {
    let log = Log::capture();
    let app = TestApp::new();
    let retried = |name: &str, cause: &str| {
        let live = Live::named(name).failed(cause);
        app.holds(live.reconciling("ProgressingWithRetry", "retrying after a failure"))
    };
    let (lasting, passing) = (retried("lasting", IMMUTABLE), retried("passing", SLOW));
    for release in [&lasting, &passing] {
        for _ in 0..3 {
            app.alert(release).await;
            pass(60).await;
        }
        assert_eq!(app.why(release), "flux-retries");
    }
    let lines = log.with(&["WARN", "fails for a permanent cause (immutable-field)"]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("a/apps/lasting"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn without_an_alert_it_is_reported_once_too() {
    let log = Log::capture();
    let app = TestApp::swept();
    pass(5).await;
    let live = Live::named("web").failed(IMMUTABLE);
    let release = app.holds(live.reconciling("ProgressingWithRetry", "retrying after a failure"));
    let cluster = app.cluster("a");
    pass(5).await;
    let class = "helmreboot_failing_releases{cluster=\"a\",class=\"permanent\"}";
    assert_eq!(app.metric(class).await, 1.0);
    for failures in 2..10 {
        pass(60).await;
        let mut status = cluster.get(&release).expect("the release")["status"].clone();
        status["failures"] = json!(failures);
        cluster.write_status(&release, &status);
    }
    let lines = log.with(&["WARN", "fails for a permanent cause (immutable-field)"]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
}

/// Flux goes on trying, and at first the cause is a transient one.
#[tokio::test(start_paused = true)]
async fn a_lasting_cause_behind_a_transient_one_is_reported_too() {
    let log = Log::capture();
    let app = TestApp::swept();
    pass(5).await;
    let refused = "Helm upgrade failed for release apps/web with chart web@1.0.0: dial tcp 10.0.0.1:443: connect: connection refused";
    let live = Live::named("web").failed(refused);
    app.holds(live.reconciling("ProgressingWithRetry", "retrying after a failure"));
    pass(60).await;
    let live = Live::named("web").failed(IMMUTABLE);
    app.holds(live.reconciling("ProgressingWithRetry", "retrying after a failure"));
    pass(60).await;
    let lines = log.with(&["WARN", "fails for a permanent cause (immutable-field)"]);
    assert_eq!(lines.len(), 1, "{:#?}", log.lines());
}

/// fluxcd/helm-controller#1362: reverted in Git, and Ready is still the old failure.
#[tokio::test(start_paused = true)]
async fn a_release_that_runs_what_was_tried_is_said_to_have_an_outdated_ready() {
    let log = Log::capture();
    let app = TestApp::new();
    let schema = "values don't meet the specifications of the schema(s) in the following chart(s)";
    let history = |status: &str, version: &str| {
        json!({"history": [{"version": 2, "status": status, "chartVersion": version,
            "configDigest": "sha256:0123456789abcdef", "lastDeployed": "2026-11-23T11:50:00Z"}]})
    };
    let live = |name: &str| Live::named(name).failed(schema);
    let reverted = app.holds(live("reverted").status(&history("deployed", "1.0.0")));
    let failed = app.holds(live("failed").status(&history("failed", "1.0.0")));
    let other = app.holds(live("other").status(&history("deployed", "0.9.0")));
    for release in [&reverted, &failed, &other] {
        app.alert(release).await;
    }
    pass(30).await;
    assert_eq!(app.why(&reverted), "ready-outdated");
    assert_eq!(
        (app.why(&failed), app.why(&other)),
        ("permanent", "permanent")
    );
    let lines = log.with(&[
        "WARN",
        "a/apps/reverted",
        "Ready condition may be out of date",
    ]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
}
