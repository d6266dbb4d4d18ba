//! Releases that are not missed although nothing about them changes any more, and slots that are not kept.

use std::time::Duration;

use helmreboot::{
    app::Options,
    config::SweepMode,
    demo::fake_cluster::FaultKind,
    domain::{
        limits::LimitConfig,
        policy::{Policies, Policy},
    },
};
use serde_json::json;

use crate::support::{IMMUTABLE, Live, TestApp, alerts_only, fault, pass, seconds};

/// Another object gets the name while the patch of the first one has no answer. It fails in its own right.
#[tokio::test(start_paused = true)]
async fn an_object_that_replaces_another_during_a_reconcile_is_restarted() {
    let app = TestApp::swept();
    pass(10).await;
    let hangs = FaultKind::Slow(Duration::from_secs(3600));
    app.cluster("a").fault(fault("patch", 1, hangs));
    let web = app.holds(Live::stalled("web"));
    pass(4).await;
    app.cluster("a").delete(&web);
    pass(1).await;
    app.holds(Live::stalled("web"));
    pass(3600).await;
    assert!(app.restarts_that_landed(&web) >= 1, "{}", app.why(&web));
    app.writes();
}

/// Two configurations used up the budget that a third one shares with them. A day later it has its own.
#[tokio::test(start_paused = true)]
async fn a_shared_budget_that_ends_with_time_leads_to_a_restart_without_any_event() {
    for sweep in [SweepMode::Watch, SweepMode::Every(Duration::from_secs(600))] {
        let policies = Policies::from(Policy {
            limit: 2,
            slow_lane: None,
            ..Policy::default()
        });
        let options = Options {
            sweep,
            policies,
            ..Options::default()
        };
        let app = TestApp::with(options, &["a"]);
        let at = seconds("2026-11-23T11:00:00Z");
        let state = json!({"v": 1, "token": "t", "sends": 1, "total": 2, "keys": [
            {"key": "1-aaaa", "base": 0, "at": at, "since": at}, {"key": "1-bbbb", "base": 1, "at": at, "since": at}],
            "before": {"revision": 9, "hash": "x"}});
        let live = Live::stalled("web").annotated("helmreboot.io/state", &state.to_string());
        let web = app.holds(live);
        pass(600).await;
        assert_eq!(app.why(&web), "budget-spent");
        pass(26 * 3600).await;
        let writes = app.writes();
        assert!(writes.len() >= 2, "{sweep:?}: {}", app.why(&web));
        let body = writes[1].body.to_string();
        assert!(body.contains("requestedAt"), "{body}");
    }
}

/// The spec changes before Flux has handled the request.
#[tokio::test(start_paused = true)]
async fn a_superseded_restart_keeps_no_slot() {
    let limits = LimitConfig {
        in_flight: 1,
        ..LimitConfig::default()
    };
    let options = Options {
        limits,
        ..alerts_only()
    };
    let app = TestApp::with(options, &["a"]);
    let web = app.holds(Live::stalled("web"));
    app.alert(&web).await;
    pass(4).await;
    assert_eq!(app.writes().len(), 1);
    let change = json!({"spec": {"values": {"replicas": 3}}});
    app.cluster("a").apply(&web, &change);
    pass(3600).await;
    let in_flight = app.metric("helmreboot_restarts_in_flight").await;
    assert_eq!(in_flight, 0.0);
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_release_that_is_left_are_no_further_entries_of_the_journal() {
    let app = TestApp::swept();
    pass(10).await;
    let web = app.holds(Live::stalled("web").failed(IMMUTABLE));
    pass(60).await;
    for number in 0..10 {
        let label = json!({"metadata": {"labels": {"touched": number.to_string()}}});
        app.cluster("a").apply(&web, &label);
        pass(30).await;
    }
    let (entries, _) = app.journal.since(0);
    let same = entries.iter().filter(|entry| entry.reason == "permanent");
    assert_eq!(same.count(), 1);
}
