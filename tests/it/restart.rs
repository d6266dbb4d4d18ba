//! What a restart writes, and that it is written once: whoever else writes, whenever the process dies.

use std::{collections::BTreeSet, time::Duration};

use axum::body::Body;
use helmreboot::{
    app::Options,
    demo::{
        fake_cluster::{Fault, FaultKind, Key},
        fake_flux::{Era, FakeFlux, Notifier, Target},
    },
};
use http::Request;
use serde_json::{Value, json};
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};

use crate::support::{Live, TestApp, key, pass};

fn fault(verb: &'static str, times: u32, kind: FaultKind) -> Fault {
    Fault {
        verb: Some(verb),
        times,
        kind,
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_one_get_and_one_patch_of_exactly_these_annotations() {
    let app = TestApp::new();
    let release = app.holds(Live::stalled("web").annotated("team", "shop"));
    let before = app.cluster("a").get(&release).expect("the release");
    assert_eq!(app.alert(&release).await.status, 202);
    pass(3).await;
    let writes = app.writes();
    assert_eq!(writes.len(), 1);
    assert!(
        writes[0]
            .uri
            .ends_with("/helmreleases/web?&fieldManager=helmreboot"),
        "{}",
        writes[0].uri
    );
    let metadata = &writes[0].body["metadata"];
    assert_eq!(
        metadata["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
    let annotations = metadata["annotations"].as_object().expect("annotations");
    let names: BTreeSet<_> = annotations.keys().map(String::as_str).collect();
    let expected = [
        "fluxcd.io/reconcileAt",
        "helmreboot.io/attempts",
        "helmreboot.io/before",
        "helmreboot.io/cause",
        "helmreboot.io/config-key",
        "helmreboot.io/last-restart",
        "helmreboot.io/token",
        "reconcile.fluxcd.io/requestedAt",
        "reconcile.fluxcd.io/resetAt",
    ];
    assert_eq!(names, BTreeSet::from(expected));
    assert_eq!(
        annotations["reconcile.fluxcd.io/requestedAt"],
        annotations["reconcile.fluxcd.io/resetAt"]
    );
    assert_eq!(
        annotations["reconcile.fluxcd.io/requestedAt"],
        annotations["helmreboot.io/token"]
    );
    assert_eq!(annotations["helmreboot.io/attempts"], "1");
    assert_eq!(annotations["helmreboot.io/cause"], "wait-timeout");
    assert_eq!(
        annotations["helmreboot.io/config-key"],
        "1/1.0.0/0123456789ab"
    );
    assert_eq!(
        writes[0].body.as_object().map(serde_json::Map::len),
        Some(1),
        "metadata and nothing else"
    );
    assert_eq!(
        metadata.as_object().map(serde_json::Map::len),
        Some(2),
        "{metadata}"
    );
    let verbs: Vec<_> = app
        .cluster("a")
        .calls()
        .iter()
        .map(|call| call.verb)
        .collect();
    assert_eq!(verbs, ["discover", "get", "patch"]);
    let after = app.cluster("a").get(&release).expect("the release");
    assert_eq!(
        (&after["spec"], &after["status"]),
        (&before["spec"], &before["status"])
    );
    assert_eq!(after["metadata"]["annotations"]["team"], "shop");
}

#[tokio::test(start_paused = true)]
async fn the_same_alert_and_further_ones_change_nothing_while_flux_has_not_answered() {
    let app = TestApp::new();
    let release = app.holds(Live::stalled("web"));
    let event = app.event("a", &release);
    for _ in 0..5 {
        app.send("a", &event).await;
        app.alert(&release).await;
        pass(30).await;
    }
    assert_eq!(app.writes().len(), 1);
    assert_eq!(app.why(&release), "token-pending");
}

#[tokio::test(start_paused = true)]
async fn a_legacy_annotation_can_be_left_out() {
    let mut options = Options::default();
    options.policy.legacy_annotation = false;
    let app = TestApp::with(options, &["a"]);
    let release = app.holds(Live::stalled("web"));
    app.alert(&release).await;
    pass(3).await;
    assert_eq!(app.writes().len(), 1);
    assert_eq!(app.annotation(&release, "fluxcd.io/reconcileAt"), None);
}

#[tokio::test(start_paused = true)]
async fn older_flux_is_spoken_to_in_its_own_version_and_an_upgrade_is_noticed() {
    let app = TestApp::new();
    app.cluster("a").serve_versions(&["v2beta1", "v2beta2"]);
    let first = app.holds(Live::stalled("first"));
    app.alert(&first).await;
    pass(3).await;
    assert!(app.writes()[0].uri.contains("/v2beta2/"));
    app.cluster("a").serve_versions(&["v2"]);
    let second = app.holds(Live::stalled("second"));
    app.alert(&second).await;
    pass(3).await;
    assert!(app.writes()[1].uri.contains("/v2/"));
    app.cluster("a").serve_versions(&["v2beta1"]);
    let third = app.holds(Live::stalled("third"));
    app.alert(&third).await;
    pass(3).await;
    assert!(app.writes()[2].uri.contains("/v2beta1/"));
}

#[tokio::test(start_paused = true)]
async fn somebody_else_s_write_in_between_means_to_look_again() {
    let app = TestApp::new();
    let release = app.holds(Live::stalled("web"));
    app.cluster("a")
        .fault(fault("patch", 1, FaultKind::WriteBefore));
    app.alert(&release).await;
    pass(3).await;
    let verbs: Vec<_> = app
        .cluster("a")
        .calls()
        .iter()
        .map(|call| call.verb)
        .collect();
    assert_eq!(verbs, ["discover", "get", "patch", "get", "patch"]);
    app.writes();
    assert_eq!(
        app.annotation(&release, "helmreboot.io/attempts")
            .as_deref(),
        Some("1")
    );
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again_and_what_a_person_must_mend_too() {
    for (verb, code, kind) in [
        ("get", 500, "unavailable"),
        ("get", 503, "unavailable"),
        ("get", 429, "throttled"),
        ("get", 403, "forbidden"),
        ("discover", 500, "unavailable"),
        ("patch", 500, "unavailable"),
        ("patch", 429, "throttled"),
        ("patch", 403, "forbidden"),
        ("patch", 422, "rejected"),
    ] {
        let app = TestApp::new();
        let release = app.holds(Live::stalled("web"));
        app.cluster("a")
            .fault(fault(verb, 2, FaultKind::Refuse(code)));
        app.alert(&release).await;
        pass(4).await;
        assert_eq!(app.why(&release), kind, "{verb} {code}");
        let series = format!(
            "helmreboot_kubernetes_requests_total{{cluster=\"a\",verb=\"{verb}\",result=\"{kind}\"}}"
        );
        assert_eq!(app.metric(&series).await, 1.0);
        pass(600).await;
        assert_eq!(
            app.annotation(&release, "helmreboot.io/attempts")
                .as_deref(),
            Some("1"),
            "{verb} {code}"
        );
        app.writes();
    }
}

#[tokio::test(start_paused = true)]
async fn a_patch_whose_answer_was_lost_is_not_repeated() {
    let app = TestApp::new();
    let release = app.holds(Live::stalled("web"));
    app.cluster("a")
        .fault(fault("patch", 1, FaultKind::LoseAnswer));
    app.alert(&release).await;
    pass(600).await;
    assert_eq!(app.writes().len(), 1);
    assert_eq!(app.why(&release), "token-pending");
    let counted = "helmreboot_restarts_total{cluster=\"a\",action=\"reset\"}";
    assert_eq!(
        app.metric(counted).await,
        1.0,
        "it is seen later that it was written"
    );
    let kinds = [FaultKind::Slow, FaultKind::SlowAnswer];
    for (number, kind) in kinds.into_iter().enumerate() {
        let slow = app.holds(Live::stalled(&format!("slow-{number}")));
        app.cluster("a")
            .fault(fault("patch", 1, kind(Duration::from_secs(20))));
        app.alert(&slow).await;
        pass(600).await;
        assert_eq!(app.restarts_that_landed(&slow), 1);
        app.writes();
    }
    assert_eq!(app.metric(counted).await, 3.0);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_flux_is_reported_and_tried_again() {
    let app = TestApp::new();
    app.cluster("a").serve_versions(&[]);
    let release = app.holds(Live::stalled("web"));
    app.alert(&release).await;
    pass(10).await;
    assert_eq!(app.why(&release), "unsupported");
    app.cluster("a").serve_versions(&["v2"]);
    pass(700).await;
    assert_eq!(app.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_cluster_s_trouble_costs_the_others_nothing() {
    let app = TestApp::with(Options::default(), &["a", "b", "c"]);
    app.cluster("b").fault(Fault {
        verb: None,
        times: u32::MAX,
        kind: FaultKind::Slow(Duration::from_secs(3600)),
    });
    app.cluster("c").fault(Fault {
        verb: None,
        times: u32::MAX,
        kind: FaultKind::Refuse(403),
    });
    let mut releases = Vec::new();
    for cluster in ["b", "c", "a"] {
        for number in 0..20 {
            releases.push((
                cluster,
                app.holds_in(cluster, Live::stalled(&format!("web-{number}"))),
            ));
        }
    }
    for (cluster, release) in &releases {
        assert_eq!(app.alert_from(cluster, release).await.status, 202);
    }
    pass(3).await;
    assert_eq!(app.writes().len(), 20, "all of a, none of b and c");
    pass(10).await;
    assert_eq!(
        [
            app.why_in("b", &releases[0].1),
            app.why_in("c", &releases[20].1)
        ],
        ["unavailable", "forbidden"]
    );
    app.cluster("b").no_faults();
    app.cluster("c").no_faults();
    pass(1800).await;
    assert_eq!(app.writes().len(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_alerts_for_one_release_are_one_entry_and_one_patch() {
    let app = TestApp::new();
    let release = app.holds(Live::stalled("web"));
    let mut event = app.event("a", &release);
    for number in 0..1000 {
        event["message"] = json!(format!("Helm upgrade failed: {number}"));
        assert_eq!(app.send("a", &event).await.status, 202);
    }
    assert_eq!(
        app.metric("helmreboot_queue_entries{cluster=\"a\"}").await,
        1.0
    );
    pass(60).await;
    assert_eq!(app.writes().len(), 1);
    assert_eq!(
        app.metric("helmreboot_alerts_total{cluster=\"a\",result=\"merged\"}")
            .await,
        999.0
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_alerts_for_ten_thousand_releases_meet_the_bound() {
    let app = TestApp::new();
    let (mut queued, mut refused) = (0, 0);
    for number in 0..10_000 {
        match app
            .alert(&Key::new("apps", &format!("r{number}")))
            .await
            .status
            .as_u16()
        {
            202 => queued += 1,
            503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((queued, refused), (4096, 5904));
    assert_eq!(
        app.metric("helmreboot_queue_entries{cluster=\"a\"}").await,
        4096.0
    );
    pass(60).await;
    assert_eq!(
        app.metric("helmreboot_queue_entries{cluster=\"a\"}").await,
        0.0,
        "all are gone"
    );
}

/// A stuck release in the hands of a fake Flux that reports to the service under test.
async fn with_flux(
    app: &TestApp,
    mode: &str,
    retries: i64,
) -> (FakeFlux, Key, tokio::task::JoinHandle<()>) {
    let (webhook, cluster) = (app.router(), app.cluster("a").clone());
    let transport = BoxCloneSyncService::new(ServiceExt::<Request<Body>>::map_err(
        webhook,
        BoxError::from,
    ));
    let target = Target {
        address: "http://helmreboot/webhook/a".into(),
        key: key("key of a"),
        cluster: "a".into(),
        info: true,
        transport,
    };
    let flux = FakeFlux::new(
        cluster.clone(),
        Notifier::new(Some(target), 1.0),
        app.clock.clone(),
        Era::Current,
        1.0,
    );
    let release = Key::new("apps", "web");
    cluster.apply(
        &release,
        &json!({"spec": {"timeout": "30s", "values": {"mode": mode},
        "upgrade": {"remediation": {"retries": retries}}}}),
    );
    let running = tokio::spawn(flux.clone().run());
    (flux, release, running)
}

fn ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_heals() {
    let app = TestApp::new();
    let (flux, release, running) = with_flux(&app, "slow", 0).await;
    pass(32).await;
    flux.heal(&release);
    pass(30).await;
    assert!(ready(&app.cluster("a").get(&release).expect("the release")));
    assert_eq!(app.writes().len(), 1);
    assert_eq!(
        app.metric("helmreboot_restart_ends_total{cluster=\"a\",result=\"recovered\"}")
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
        note.ends_with("budget-spent: 5 restarts did not help against webhook-unreachable"),
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
        pass(3600).await;
    }
    assert_eq!(app.writes().len(), 6);
    // A new configuration renews the budget, and the note goes.
    app.cluster("a")
        .apply(&release, &json!({"spec": {"values": {"note": "other"}}}));
    pass(30).await;
    assert_eq!(
        app.annotation(&release, "helmreboot.io/attempts")
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
    flux.heal(&release);
    flux.set_ready(&dependency, false);
    pass(10).await;
    flux.set_ready(&dependency, true);
    pass(120).await;
    assert_eq!(
        app.metric("helmreboot_restart_ends_total{cluster=\"a\",result=\"swallowed\"}")
            .await,
        1.0
    );
    assert_eq!(
        app.metric("helmreboot_restart_ends_total{cluster=\"a\",result=\"recovered\"}")
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
    flux.heal(&release);
    pass(300).await;
    assert!(ready(&app.cluster("a").get(&release).expect("the release")));
    assert_eq!(
        app.annotation(&release, "helmreboot.io/attempts")
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
        app.annotation(&release, "helmreboot.io/attempts")
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
        let app = TestApp::around(Options::default(), clusters, clock);
        app.alert(&release).await;
        pass(900).await;
        assert_eq!(
            app.annotation(&release, "helmreboot.io/attempts")
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
        app = TestApp::around(Options::default(), clusters, clock);
        app.alert(&release).await;
    }
    pass(3600).await;
    assert_eq!(
        app.annotation(&release, "helmreboot.io/attempts")
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
async fn a_release_that_was_created_again_owes_nothing_for_its_predecessor() {
    let mut options = Options::default();
    options.policy.limit = 1;
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
    let second = TestApp::around(Options::default(), clusters, first.clock.clone());
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
