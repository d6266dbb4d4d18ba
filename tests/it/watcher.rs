//! What no alert announced is found all the same.

use std::time::Duration;

use helmreboot::{
    app::Options,
    config::SweepMode,
    demo::fake_cluster::{Key, Rights},
};
use serde_json::json;

use crate::{
    log::Log,
    stories,
    support::{Live, SLOW, TestApp, pass},
};

pub(crate) const FOUND: &str = "helmreboot_found_by_watch_total{cluster=\"a\",when=\"later\"}";
pub(crate) const LOOKED: &str = "helmreboot_watch_last_success_timestamp_seconds{cluster=\"a\"}";

/// How long ago all releases were looked at; since 1970 if never.
pub(crate) async fn age(app: &TestApp) -> f64 {
    app.clock.now().as_duration().as_secs_f64() - app.metric(LOOKED).await
}

pub(crate) fn verbs(app: &TestApp, verb: &str) -> usize {
    let calls = app.cluster("a").calls();
    calls.iter().filter(|call| call.verb == verb).count()
}

#[tokio::test(start_paused = true)]
async fn a_release_that_no_alert_announced_is_restarted() {
    for mode in [SweepMode::Watch, SweepMode::Every(Duration::from_secs(60))] {
        let options = Options {
            sweep: mode,
            ..Options::default()
        };
        let app = TestApp::with(options, &["a"]);
        pass(5).await;
        let release = app.holds(Live::stalled("web"));
        pass(65).await;
        assert_eq!(app.writes().len(), 1, "{mode:?}");
        assert_eq!(app.metric(FOUND).await, 1.0);
        assert_eq!(app.why(&release), "token-pending");
        assert_eq!(
            app.metric("helmreboot_failing_releases{cluster=\"a\"")
                .await,
            1.0
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_before_the_start_is_found_too_page_by_page() {
    let app = TestApp::swept();
    let mut stuck = Vec::new();
    for number in 0..250 {
        let live = if number % 50 == 0 {
            Live::stalled(&format!("r{number}"))
        } else {
            Live::named(&format!("r{number}")).condition("Ready", "True", "UpgradeSucceeded", "")
        };
        let failing = number % 50 == 0;
        let key = app.holds(live);
        stuck.extend(failing.then_some(key));
    }
    let (clusters, clock) = app.kill();
    let app = TestApp::around(Options::default(), clusters, clock);
    let lists = verbs(&app, "list");
    pass(5).await;
    assert_eq!(verbs(&app, "list") - lists, 3, "250 in pages of 100");
    let at_start = "helmreboot_found_by_watch_total{cluster=\"a\",when=\"start\"}";
    assert_eq!(app.metric(at_start).await, 5.0);
    assert!(!app.writes().is_empty());
    for release in &stuck {
        assert_ne!(app.why(release), "nothing");
    }
}

/// A release in a namespace of its own choice.
pub(crate) fn stalled_in(namespace: &str) -> Live {
    let mut live = Live::stalled("web");
    live.key.namespace = namespace.into();
    live
}

#[tokio::test(start_paused = true)]
async fn with_rights_in_some_namespaces_each_is_swept_and_nothing_else_is_asked_for() {
    for (mode, verb) in [
        (SweepMode::Watch, "watch"),
        (SweepMode::Every(Duration::from_secs(60)), "list"),
    ] {
        let options = Options {
            sweep: mode,
            ..Options::default()
        };
        let log = Log::capture();
        let app = TestApp::swept_in(options, &["get", verb, "list", "patch"], &["one", "two"]);
        let (one, two) = (app.holds(stalled_in("one")), app.holds(stalled_in("two")));
        let hidden = app.holds(stalled_in("three"));
        pass(65).await;
        assert_eq!(app.writes().len(), 2, "{mode:?}");
        for release in [&one, &two] {
            assert_eq!(app.why(release), "token-pending");
        }
        assert_eq!(app.why(&hidden), "nothing");
        let failing = "helmreboot_failing_releases{cluster=\"a\"";
        assert_eq!(app.metric(failing).await, 2.0, "both sweeps count");
        let lines = log.with(&["first list of cluster a"]);
        assert!(
            lines.len() == 1 && lines[0].contains(": 2 HelmReleases fail: 2 transient"),
            "{lines:#?}"
        );
        assert!(age(&app).await < 70.0);
        let refused = "helmreboot_kubernetes_requests_total{cluster=\"a\",verb=\"list\",result=\"forbidden\"}";
        assert_eq!(app.metric(refused).await, 0.0);
    }
}

#[tokio::test(start_paused = true)]
async fn one_namespace_that_cannot_be_seen_shows_in_the_age_and_blinds_no_other() {
    let app = TestApp::swept_in(
        Options::default(),
        &["get", "list", "watch", "patch"],
        &["one", "two"],
    );
    app.cluster("a").grant(Rights {
        verbs: ["get", "list", "watch", "patch"]
            .map(str::to_owned)
            .to_vec(),
        namespaces: Some(vec!["two".into()]),
    });
    let seen = app.holds(stalled_in("two"));
    pass(600).await;
    assert_eq!(app.why(&seen), "token-pending");
    assert!(!app.writes().is_empty());
    assert!(age(&app).await > 500.0);
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_the_one_that_leads_acts_and_another_takes_over() {
    for mode in [SweepMode::Watch, SweepMode::Every(Duration::from_secs(60))] {
        let options = Options {
            sweep: mode,
            ..Options::default()
        };
        let app = TestApp::with(options, &["a"]);
        app.leads.set(false);
        pass(120).await;
        let before = app.cluster("a").calls().len();
        let release = app.holds(Live::stalled("web"));
        pass(600).await;
        assert_eq!(
            app.cluster("a").calls().len(),
            before,
            "{mode:?}: nobody asks"
        );
        assert!(age(&app).await > 500.0);

        let alerted = app.holds(Live::stalled("alerted"));
        assert_eq!(app.alert(&alerted).await.status, 202);
        pass(30).await;
        assert!(
            app.writes().is_empty(),
            "{mode:?}: a standby writes nothing"
        );

        app.leads.set(true);
        pass(30).await;
        assert_eq!(
            app.writes().len(),
            2,
            "{mode:?}: found on taking over, and told before"
        );
        assert_eq!(app.why(&release), "token-pending");
        let failing = "helmreboot_failing_releases{cluster=\"a\"";
        assert_eq!(app.metric(failing).await, 2.0);
        app.leads.set(false);
        pass(5).await;
        assert_eq!(
            app.metric(failing).await,
            0.0,
            "{mode:?}: it no longer knows"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn stalled_beside_ready_unknown_is_found() {
    let app = TestApp::swept();
    let release = app.holds(
        Live::named("web")
            .condition(
                "Stalled",
                "True",
                "RetriesExceeded",
                "Failed to upgrade after 1 attempt(s)",
            )
            .condition(
                "Ready",
                "Unknown",
                "Progressing",
                "reconciliation in progress",
            )
            .condition("Released", "False", "UpgradeFailed", SLOW),
    );
    pass(5).await;
    assert_eq!(app.writes().len(), 1);
    assert_eq!(app.why(&release), "reset");
}

#[tokio::test(start_paused = true)]
async fn with_an_alert_it_is_still_one_get_and_one_patch() {
    let app = TestApp::swept();
    pass(1).await;
    let release = app.holds(Live::stalled("web"));
    app.alert(&release).await;
    pass(4).await;
    assert_eq!((verbs(&app, "get"), app.writes().len()), (1, 1));
    assert_eq!(app.metric(FOUND).await, 0.0, "the alert was first");
}

#[tokio::test(start_paused = true)]
async fn what_needs_nothing_costs_no_look() {
    let app = TestApp::swept();
    app.holds(Live::stalled("suspended").with(&json!({"spec": {"suspend": true}})));
    app.holds(Live::stalled("opted-out").annotated("helmreboot.io/enabled", "false"));
    app.holds(
        Live::named("retries")
            .failed(SLOW)
            .reconciling("ProgressingWithRetry", "soon"),
    );
    app.holds(Live::named("ready").condition("Ready", "True", "UpgradeSucceeded", ""));
    pass(600).await;
    assert_eq!(verbs(&app, "get"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_ends_a_wait_early() {
    let app = TestApp::swept();
    pass(1).await;
    let release = app.holds(
        Live::named("web")
            .failed(SLOW)
            .reconciling("Progressing", "Running 'rollback' action"),
    );
    app.alert(&release).await;
    // Looks come 2, 7, 17, 37, 77 s after the alert: the next would be 40 s away.
    pass(40).await;
    assert_eq!(app.why(&release), "working");
    app.holds(Live::stalled("web"));
    pass(1).await;
    assert_eq!(app.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_people_keep_helmreboot_from_counts_as_nobody_s_trouble() {
    let app = TestApp::swept();
    let failing = "helmreboot_failing_releases{cluster=\"a\"";
    app.holds(Live::stalled("suspended").with(&json!({"spec": {"suspend": true}})));
    app.holds(Live::stalled("opted-out").annotated("helmreboot.io/enabled", "false"));
    pass(60).await;
    assert_eq!(app.metric(failing).await, 0.0);
    app.holds(Live::stalled("invalid").failed(crate::support::IMMUTABLE));
    pass(60).await;
    assert_eq!(app.metric(failing).await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_flux_shows_as_one() {
    let app = TestApp::swept();
    app.cluster("a").serve_versions(&[]);
    pass(600).await;
    let counted = |result: &str| {
        format!(
            "helmreboot_kubernetes_requests_total{{cluster=\"a\",verb=\"list\",result=\"{result}\"}}"
        )
    };
    assert!(!app.scrape().await.contains(&counted("gone")));
    assert!(app.metric(&counted("unsupported")).await >= 1.0);
}

#[tokio::test(start_paused = true)]
async fn more_failing_releases_than_the_queue_holds_are_all_looked_at() {
    let options = Options {
        queue_capacity: 3,
        ..Options::default()
    };
    let app = TestApp::with(options, &["a"]);
    let releases: Vec<_> = (0..20)
        .map(|number| {
            app.holds(Live::stalled(&format!("r{number}")).failed(crate::support::IMMUTABLE))
        })
        .collect();
    pass(60).await;
    for release in &releases {
        assert_eq!(app.why(release), "permanent");
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_deleted_is_forgotten() {
    let app = TestApp::swept();
    let release = app.holds(Live::stalled("web").failed(crate::support::IMMUTABLE));
    pass(5).await;
    app.cluster("a").delete(&release);
    pass(5).await;
    assert_eq!(
        app.metric("helmreboot_failing_releases{cluster=\"a\"")
            .await,
        0.0
    );
}

/// What a release shows at the end: conditions, and how often it was restarted.
fn end(app: &TestApp, release: &Key) -> String {
    let Some(object) = app.cluster("a").get(release) else {
        return "gone".into();
    };
    let conditions = object["status"]["conditions"].as_array().cloned();
    let conditions: Vec<_> = conditions
        .iter()
        .flatten()
        .map(|condition| {
            format!(
                "{}={}/{}",
                condition["type"], condition["status"], condition["reason"]
            )
        })
        .collect();
    let attempts = &object["metadata"]["annotations"]["helmreboot.io/restarts"];
    let gave_up = object["metadata"]["annotations"]["helmreboot.io/gave-up"].is_string();
    format!(
        "{} attempts {attempts} gave up {gave_up}",
        conditions.join(" ")
    )
}

#[tokio::test(start_paused = true)]
async fn without_any_alert_every_recorded_story_ends_as_with_alerts() {
    for (name, story) in stories::all() {
        let mut ends = Vec::new();
        for alerts in [true, false] {
            let app = TestApp::swept();
            let flux = app.flux(alerts);
            let running = tokio::spawn(flux.clone().run());
            let release = Key::new("apps", &name);
            stories::perform(&story, &release, app.cluster("a"), &flux).await;
            // Time for all restarts, so that no end depends on which look came first.
            pass(4 * 3600).await;
            ends.push(end(&app, &release));
            app.writes();
            running.abort();
        }
        assert_eq!(ends[0], ends[1], "{name}");
    }
}

/// Flux retries a thousand permanent failures every ten minutes. The watcher has each reconciled once for each attempt,
/// which is one GET.
#[tokio::test(start_paused = true)]
async fn failures_that_flux_keeps_retrying_cost_one_get_for_each_attempt() {
    const RELEASES: usize = 1_000;
    let app = TestApp::swept();
    pass(5).await;
    let cause = "Helm upgrade failed for release apps/web with chart web@1.0.0: cannot patch \"web\" with kind Deployment: Deployment.apps \"web\" is invalid: spec.selector: Invalid value: {}: field is immutable";
    let releases: Vec<_> = (0..RELEASES)
        .map(|number| {
            let live = Live::named(&format!("web-{number}")).failed(cause);
            app.holds(live.reconciling("ProgressingWithRetry", "retrying after a failure"))
        })
        .collect();
    let cluster = app.cluster("a");
    let gets = || {
        cluster
            .calls()
            .iter()
            .filter(|call| call.verb == "get")
            .count()
    };
    let failed: Vec<_> = releases
        .iter()
        .map(|release| cluster.get(release).expect("the release")["status"].clone())
        .collect();
    for attempt in 2..5 {
        for (release, failed) in releases.iter().zip(&failed) {
            let mut running = failed.clone();
            running["conditions"][0]["status"] = json!("Unknown");
            running["conditions"][0]["reason"] = json!("Progressing");
            running["conditions"][0]["message"] =
                json!("Running 'upgrade' action with timeout of 5m0s");
            cluster.write_status(release, &running);
            let mut failed = failed.clone();
            failed["failures"] = json!(attempt);
            cluster.write_status(release, &failed);
        }
        pass(600).await;
        assert_eq!(gets(), RELEASES * (attempt - 1));
    }
}
