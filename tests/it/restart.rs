//! What a restart writes, and that it is written once: whoever else writes, whenever the process dies.

use std::{collections::BTreeSet, time::Duration};

use helmreboot::demo::fake_cluster::{Fault, FaultKind, Key};
use serde_json::json;

use crate::support::{Live, TestApp, alerts_only, config_key, fault, pass, unlimited};

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
        "helmreboot.io/cause",
        "helmreboot.io/last-restart",
        "helmreboot.io/restarts",
        "helmreboot.io/state",
        "reconcile.fluxcd.io/requestedAt",
        "reconcile.fluxcd.io/resetAt",
    ];
    assert_eq!(names, BTreeSet::from(expected));
    assert_eq!(
        annotations["reconcile.fluxcd.io/requestedAt"],
        annotations["reconcile.fluxcd.io/resetAt"]
    );
    let text = annotations["helmreboot.io/state"].as_str().expect("text");
    assert!(text.len() <= 1024, "{text}");
    let state: serde_json::Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(
        annotations["reconcile.fluxcd.io/requestedAt"],
        state["token"]
    );
    assert_eq!((&state["v"], &state["total"]), (&json!(1), &json!(1)));
    assert_eq!(
        state["keys"][0]["key"],
        config_key("1.0.0", "sha256:0123456789abcdef")
    );
    assert_eq!(annotations["helmreboot.io/restarts"], "1");
    assert_eq!(annotations["helmreboot.io/cause"], "wait-timeout");
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
        .filter(|call| call.verb != "create")
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
    let mut options = alerts_only();
    options.policies.base.legacy_annotation = false;
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
        .filter(|call| call.verb != "create")
        .map(|call| call.verb)
        .collect();
    assert_eq!(verbs, ["discover", "get", "patch", "get", "patch"]);
    app.writes();
    assert_eq!(
        app.annotation(&release, "helmreboot.io/restarts")
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
            app.annotation(&release, "helmreboot.io/restarts")
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
    let app = TestApp::with(unlimited(), &["a", "b", "c"]);
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
        app.metric("helmreboot_queue_items{cluster=\"a\"}").await,
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
        app.metric("helmreboot_queue_items{cluster=\"a\"}").await,
        4096.0
    );
    pass(60).await;
    assert_eq!(
        app.metric("helmreboot_queue_items{cluster=\"a\"}").await,
        0.0,
        "all are gone"
    );
}
