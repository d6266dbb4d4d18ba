//! From a restart to its end: what heals, what is given up, and what survives kills, replicas and
//! foreign hands.

use std::time::Duration;

use helmreboot::demo::{
    fake_cluster::{FaultKind, Key},
    fake_flux::FakeFlux,
};
use serde_json::{Value, json};

use crate::support::{Live, TestApp, alerts_only, fault, pass, ready};

/// A stuck release in the hands of a fake Flux that reports to the service under test.
pub(crate) async fn with_flux(
    app: &TestApp,
    mode: &str,
    retries: i64,
) -> (FakeFlux, Key, tokio::task::JoinHandle<()>) {
    let (flux, cluster) = (app.flux(true), app.cluster("a"));
    let release = Key::new("apps", "web");
    cluster.apply(
        &release,
        &json!({"spec": {"timeout": "30s", "values": {"mode": mode},
        "upgrade": {"remediation": {"retries": retries}}}}),
    );
    let running = tokio::spawn(flux.clone().run());
    (flux, release, running)
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_heals() {
    let app = TestApp::new();
    let (flux, release, running) = with_flux(&app, "slow", 0).await;
    pass(32).await;
    flux.remove_cause(&release);
    pass(30).await;
    assert!(ready(&app.cluster("a").get(&release).expect("the release")));
    assert_eq!(app.writes().len(), 1);
    assert_eq!(
        app.metric("helmreboot_restart_outcomes_total{cluster=\"a\",outcome=\"recovered\"}")
            .await,
        1.0
    );
    assert_eq!(app.why(&release), "recovered");
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn what_never_heals_is_restarted_five_times_in_growing_steps_and_given_up() {
    let app = TestApp::new();
    let (_flux, release, running) = with_flux(&app, "webhook", 0).await;
    pass(4 * 3600).await;
    let writes = app.writes();
    let token = |write: &helmreboot::demo::fake_cluster::Call| {
        write.body["metadata"]["annotations"]["helmreboot.io/last-restart"]
            .as_str()
            .map(|at| at.parse::<jiff::Timestamp>().expect("a time"))
    };
    let times: Vec<_> = writes.iter().filter_map(token).collect();
    let gaps: Vec<_> = times
        .windows(2)
        .map(|pair| pair[1].duration_since(pair[0]).as_secs())
        .collect();
    assert_eq!(times.len(), 5);
    for (gap, least) in gaps.iter().zip([60, 120, 240, 480]) {
        assert!((least..=least + least / 10 + 10).contains(gap), "{gaps:?}");
    }
    assert_eq!(writes.len(), 6, "five restarts and one note");
    let note = app
        .annotation(&release, "helmreboot.io/gave-up")
        .expect("a note");
    assert!(
        note.contains(": 5 restarts did not help against webhook-unreachable (")
            && note.contains("The next attempt is not before 20")
            && note.contains("set the annotation helmreboot.io/renew to a new value"),
        "{note}"
    );
    assert_eq!(app.why(&release), "budget-spent");
    assert_eq!(
        app.metric("helmreboot_gave_up_total{cluster=\"a\"}").await,
        1.0
    );
    // More alerts about the same configuration change nothing.
    for _ in 0..3 {
        app.alert(&release).await;
        pass(600).await;
    }
    assert_eq!(app.writes().len(), 6);
    // Six hours after the last, the slow lane tries once more, and the note stays.
    pass(3 * 3600).await;
    assert_eq!(app.writes().len(), 7);
    assert_eq!(
        app.annotation(&release, "helmreboot.io/restarts")
            .as_deref(),
        Some("6")
    );
    assert!(app.annotation(&release, "helmreboot.io/gave-up").is_some());
    // A new configuration renews the budget, and the note goes.
    app.cluster("a")
        .apply(&release, &json!({"spec": {"values": {"note": "other"}}}));
    pass(30).await;
    assert_eq!(app.why(&release), "backoff", "the wait goes on");
    pass(3600).await;
    assert_eq!(
        app.annotation(&release, "helmreboot.io/restarts")
            .as_deref(),
        Some("1")
    );
    assert_eq!(app.annotation(&release, "helmreboot.io/gave-up"), None);
    app.writes();
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_swallowed_token_is_noticed_and_the_release_heals_all_the_same() {
    let app = TestApp::new();
    let (flux, release, running) = with_flux(&app, "webhook", 0).await;
    let dependency = Key::new("apps", "database");
    app.cluster("a").apply(
        &release,
        &json!({"spec": {"dependsOn": [{"name": "database"}]}}),
    );
    pass(4).await;
    flux.remove_cause(&release);
    flux.set_ready(&dependency, false);
    pass(10).await;
    flux.set_ready(&dependency, true);
    pass(120).await;
    assert_eq!(
        app.metric("helmreboot_restart_outcomes_total{cluster=\"a\",outcome=\"swallowed\"}")
            .await,
        1.0
    );
    assert_eq!(
        app.metric("helmreboot_restart_outcomes_total{cluster=\"a\",outcome=\"recovered\"}")
            .await,
        1.0
    );
    assert!(ready(&app.cluster("a").get(&release).expect("the release")));
    assert_eq!(app.writes().len(), 2);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_success_renews_the_budget() {
    let app = TestApp::new();
    let (flux, release, running) = with_flux(&app, "webhook", 0).await;
    pass(100).await;
    flux.remove_cause(&release);
    pass(300).await;
    assert!(ready(&app.cluster("a").get(&release).expect("the release")));
    assert_eq!(
        app.annotation(&release, "helmreboot.io/restarts")
            .as_deref(),
        Some("3")
    );
    // The same configuration fails later, for another passing reason.
    flux.ail(&release);
    let force = app.clock.now().to_string();
    app.cluster("a").apply(
        &release,
        &json!({"metadata": {"annotations": {
        "reconcile.fluxcd.io/requestedAt": force, "reconcile.fluxcd.io/forceAt": force}}}),
    );
    pass(20).await;
    assert_eq!(
        app.annotation(&release, "helmreboot.io/restarts")
            .as_deref(),
        Some("1")
    );
    app.writes();
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn killed_between_any_two_steps_it_neither_repeats_a_restart_nor_forgets_its_budget() {
    // Each round kills the process a little later: before the look, between GET and PATCH, after it ...
    for tenth in 0..400_usize {
        let app = TestApp::new();
        let release = app.holds(Live::stalled("web"));
        let slow = [FaultKind::Slow, FaultKind::SlowAnswer][tenth % 2];
        for verb in ["discover", "get", "patch"] {
            app.cluster("a")
                .fault(fault(verb, 2, slow(Duration::from_secs(4))));
        }
        let event = app.event("a", &release);
        app.send("a", &event).await;
        tokio::time::sleep(Duration::from_millis(tenth as u64 * 40)).await;
        let (clusters, clock) = app.kill();
        // What was on the way arrives, and Flux tells of the failure once more.
        pass(10).await;
        clusters["a"].no_faults();
        let app = TestApp::around(alerts_only(), clusters, clock);
        app.alert(&release).await;
        pass(900).await;
        assert_eq!(
            app.annotation(&release, "helmreboot.io/restarts")
                .as_deref(),
            Some("1"),
            "killed after {tenth} tenths"
        );
        assert!(
            app.restarts_that_landed(&release) == 1,
            "killed after {tenth} tenths"
        );
        app.writes();
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_again_and_again_still_keeps_to_the_budget() {
    let mut app = TestApp::new();
    let (_flux, release, running) = with_flux(&app, "webhook", 0).await;
    for round in 0..60 {
        pass(37 + round).await;
        let (clusters, clock) = app.kill();
        app = TestApp::around(alerts_only(), clusters, clock);
        app.alert(&release).await;
    }
    pass(3600).await;
    assert_eq!(
        app.annotation(&release, "helmreboot.io/restarts")
            .as_deref(),
        Some("5")
    );
    assert_eq!(app.restarts_that_landed(&release), 5);
    app.writes();
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn whoever_wipes_the_ledger_at_every_sync_does_not_renew_the_budget() {
    let app = TestApp::new();
    let (_flux, release, running) = with_flux(&app, "webhook", 0).await;
    for _ in 0..2000 {
        pass(7).await;
        let object = app.cluster("a").get(&release).expect("the release");
        let mut wiped = json!({});
        for name in object["metadata"]["annotations"]
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::keys)
        {
            wiped[name] = Value::Null;
        }
        app.cluster("a")
            .apply(&release, &json!({"metadata": {"annotations": wiped}}));
    }
    assert_eq!(app.restarts_that_landed(&release), 5);
    app.writes();
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn whoever_writes_over_the_ledger_does_not_renew_the_budget() {
    for (name, value) in [
        ("helmreboot.io/restarts", "0"),
        ("helmreboot.io/state", "garbage"),
        ("helmreboot.io/state", "{\"v\":1}"),
        ("helmreboot.io/last-restart", "2026-01-01T00:00:00Z"),
    ] {
        let app = TestApp::new();
        let (_flux, release, running) = with_flux(&app, "webhook", 0).await;
        for _ in 0..300 {
            pass(41).await;
            let overwritten = json!({"metadata": {"annotations": {name: value}}});
            app.cluster("a").apply(&release, &overwritten);
        }
        let mut tokens = std::collections::BTreeSet::new();
        for write in app.writes() {
            let requested =
                &write.body["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
            tokens.extend(requested.as_str().map(str::to_owned));
        }
        assert_eq!(tokens.len(), 5, "{name}");
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_was_created_again_owes_nothing_for_its_predecessor() {
    let mut options = alerts_only();
    options.policies.base.limit = 1;
    let app = TestApp::with(options, &["a"]);
    let release = app.holds(Live::stalled("web"));
    app.alert(&release).await;
    pass(3).await;
    app.cluster("a").delete(&release);
    pass(60).await;
    app.holds(Live::stalled("web"));
    app.alert(&release).await;
    pass(3).await;
    assert_eq!(app.restarts_that_landed(&release), 2);
    assert_eq!(app.writes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_something_else_is_not_acted_on() {
    let huge = format!(
        "{{\"kind\": \"HelmRelease\", \"spec\": \"{}\"}}",
        "x".repeat(5 << 20)
    );
    let other =
        json!({"kind": "HelmRelease", "metadata": {"name": "other", "resourceVersion": "1"}});
    let list =
        json!({"kind": "HelmReleaseList", "metadata": {"resourceVersion": "1"}, "items": []});
    for answer in [
        huge,
        other.to_string(),
        list.to_string(),
        "{}".into(),
        "[]".into(),
        "null".into(),
        "<html>".into(),
    ] {
        let app = TestApp::new();
        let release = app.holds(Live::stalled("web"));
        app.cluster("a").answer_gets_with(Some(answer.clone()));
        app.alert(&release).await;
        pass(60).await;
        assert_eq!(app.why(&release), "unreadable", "{answer:.60}");
        assert_eq!(app.writes().len(), 0);
        app.cluster("a").answer_gets_with(None);
        pass(600).await;
        assert_eq!(app.writes().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn two_replicas_never_act_twice() {
    let first = TestApp::new();
    let release = first.holds(Live::stalled("web"));
    let clusters = [("a".to_owned(), first.cluster("a").clone())].into();
    let second = TestApp::around(alerts_only(), clusters, first.clock.clone());
    first
        .cluster("a")
        .fault(fault("patch", 2, FaultKind::Slow(Duration::from_secs(1))));
    let event = first.event("a", &release);
    first.send("a", &event).await;
    second.send("a", &event).await;
    pass(120).await;
    assert_eq!(first.restarts_that_landed(&release), 1);
    assert_eq!(
        first.writes().len(),
        2,
        "one of the two patches was refused with 409"
    );
    second.writes();
}
