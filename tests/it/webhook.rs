//! The contract with notification-controller: every row of its table.

use std::{collections::BTreeMap, time::Duration};

use helmreboot::{
    app::Options,
    clock::Clock,
    demo::fake_cluster::{FakeCluster, Key},
    domain::signature::{Key as SigningKey, Secret},
};
use http::{StatusCode, header};
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    log::Log,
    stories::{self, Kind},
    support::{Live, NOW, TestApp, alerts_only, key, pass},
};

pub(crate) fn web() -> Key {
    Key::new("apps", "web")
}

#[tokio::test(start_paused = true)]
async fn an_alert_is_answered_as_soon_as_it_is_queued_and_before_any_kubernetes_call() {
    let app = TestApp::new();
    let answer = app.alert(&web()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(
        answer.body,
        json!({"status": "queued", "cluster": "a", "namespace": "apps", "name": "web"})
    );
    assert_eq!(app.cluster("a").calls(), []);
}

#[tokio::test(start_paused = true)]
async fn good_events_that_ask_for_nothing_are_accepted_and_counted() {
    let app = TestApp::new();
    let table = [
        (json!({"involvedObject": {"kind": "Kustomization"}}), "kind"),
        (
            json!({"involvedObject": {"apiVersion": "other.example/v1"}}),
            "api-group",
        ),
        (json!({"reportingController": "helmreboot"}), "controller"),
        (json!({"severity": "info"}), "severity"),
        (json!({"reason": "DriftDetected"}), "reason"),
    ];
    for (patch, why) in table {
        let mut event = app.event("a", &web());
        json_patch::merge(&mut event, &patch);
        let answer = app.send("a", &event).await;
        assert_eq!(
            (answer.status, &answer.body["reason"]),
            (StatusCode::ACCEPTED, &json!(why))
        );
        let series = format!("helmreboot_alerts_ignored_total{{reason=\"{why}\"}}");
        assert_eq!(app.metric(&series).await, 1.0);
    }
    pass(60).await;
    assert_eq!(app.cluster("a").calls(), []);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_wrong_with_a_signature_the_answer_is_the_same() {
    let app = TestApp::with(alerts_only(), &["a", "b"]);
    let body = app.event("a", &web()).to_string();
    let good = app.sign("a", &body);
    let others = app.sign("b", &body);
    let changed = body.replace("UpgradeFailed", "InstallFailed");
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let table: [(&str, Headers, &str); 8] = [
        ("/webhook/a", &[], &body),
        ("/webhook/a", &[("X-Signature", "sha256=00")], &body),
        ("/webhook/a", &[("X-Signature", &good[7..])], &body),
        ("/webhook/a", &[("X-Signature", &others)], &body),
        ("/webhook/a", &[("X-Signature", &good)], &changed),
        ("/webhook/nowhere", &[("X-Signature", &good)], &body),
        ("/webhook/%2e%2e", &[("X-Signature", &good)], &body),
        (
            "/webhook",
            &[("X-Signature", &good), ("X-Helmreboot-Cluster", "nowhere")],
            &body,
        ),
    ];
    let mut bodies = std::collections::BTreeSet::new();
    for (path, headers, body) in table {
        let answer = app.post(path, headers, body.to_owned()).await;
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{path} {headers:?}"
        );
        assert_eq!(
            answer.headers[header::CONTENT_TYPE],
            "application/problem+json"
        );
        bodies.insert(answer.body.to_string());
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    pass(60).await;
    assert_eq!(app.cluster("a").calls(), []);
}

#[tokio::test(start_paused = true)]
async fn the_cluster_comes_from_path_header_or_metadata_and_is_bound_to_the_key() {
    let app = TestApp::with(alerts_only(), &["a", "default"]);
    let post =
        |path, claim: Option<&'static str>, said: Option<&'static str>, signed_by: &'static str| {
            let mut event = app.event(
                "a",
                &Key::new(
                    "apps",
                    &format!("r{}", rand(&(path, claim, said, signed_by))),
                ),
            );
            event["metadata"]["cluster"] = json!(said);
            if said.is_none() {
                event["metadata"] = Value::Null;
            }
            let body = event.to_string();
            let signature = app.sign(signed_by, &body);
            let app = &app;
            async move {
                let mut headers = vec![("X-Signature", signature.as_str())];
                headers.extend(claim.map(|claim| ("X-Helmreboot-Cluster", claim)));
                app.post(path, &headers, body).await
            }
        };
    let table = [
        ("/webhook/a", None, Some("a"), "a", 202),
        ("/webhook/a", None, None, "a", 202),
        ("/webhook", Some("a"), Some("a"), "a", 202),
        ("/webhook", Some("a"), None, "a", 202),
        ("/webhook", None, Some("a"), "a", 202),
        ("/webhook", None, None, "default", 202),
        ("/webhook", None, None, "a", 401),
        ("/webhook", None, Some("a"), "default", 401),
        ("/webhook", None, Some("nowhere"), "a", 401),
        ("/webhook/a", None, Some("default"), "a", 403),
        ("/webhook", Some("a"), Some("default"), "a", 403),
        ("/webhook/a", Some("default"), Some("a"), "a", 403),
        ("/webhook/default", None, Some("a"), "a", 401),
        // The same paths, as people write them.
        ("/webhook/", None, Some("a"), "a", 202),
        ("//webhook", Some("a"), None, "a", 202),
        ("/webhook/a/", None, Some("a"), "a", 202),
        ("//webhook//a", None, None, "a", 202),
        ("/webhook/%61", Some("a"), None, "a", 202),
        ("/webhook/%2561", None, None, "a", 401),
        ("/webhook/%ff", None, None, "a", 401),
        ("/webhook/a/b", None, None, "a", 404),
        ("/webhooks/a", None, None, "a", 404),
        ("/", None, None, "a", 404),
    ];
    for (path, claim, said, signed_by, status) in table {
        let answer = post(path, claim, said, signed_by).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{path} {claim:?} {said:?} {signed_by}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_path_is_logged_and_counted() {
    let log = Log::capture();
    let app = TestApp::new();
    for _ in 0..100 {
        let answer = app.post("/hooks/a", &[], "{}".to_owned()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    let lines = log.with(&["WARN", "not-found", "/webhook/{cluster}"]);
    assert!((1..=5).contains(&lines.len()), "{lines:#?}");
    let counted = "helmreboot_alerts_total{cluster=\"\",result=\"not-found\"}";
    assert_eq!(app.metric(counted).await, 100.0);
}

fn rand(value: &impl std::hash::Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[tokio::test(start_paused = true)]
async fn a_key_for_some_namespaces_speaks_for_no_others() {
    let clock = Clock::with_tokio(NOW.parse().expect("a time"));
    let clusters = BTreeMap::from([("a".to_owned(), FakeCluster::new(clock.clone()))]);
    let secret = Secret::new("a tenant's key").expect("a key");
    let tenant = SigningKey::new(secret, Some(["team".to_owned()].into()));
    let app = TestApp::keyed(
        alerts_only(),
        clusters,
        clock,
        BTreeMap::from([("a".to_owned(), tenant)]),
    );
    assert_eq!(
        app.alert(&Key::new("team", "web")).await.status,
        StatusCode::ACCEPTED
    );
    let answer = app.alert(&Key::new("apps", "web")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let mut event = app.event("a", &web());
    event["involvedObject"]["namespace"] = Value::Null;
    assert_eq!(app.send("a", &event).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_is_refused_with_the_name_of_the_field_and_nothing_of_its_content() {
    let app = TestApp::new();
    let event = app.event("a", &web());
    let without = |field: &str| {
        let mut event = event.clone();
        event.as_object_mut().expect("an object").remove(field);
        event.to_string()
    };
    let with = |patch: Value| {
        let mut event = event.clone();
        json_patch::merge(&mut event, &patch);
        event.to_string()
    };
    let truncated = event.to_string();
    let table = [
        (truncated[..truncated.len() / 2].to_owned(), "not JSON"),
        ("hunter2".into(), "not JSON"),
        (String::new(), "not JSON"),
        ("[]".into(), "not a Flux event"),
        (
            r#"{"severity": "info", "severity": "error"}"#.into(),
            "twice",
        ),
        ("\"hunter2\"".into(), "not a Flux event"),
        ("{}".into(), "involvedObject"),
        (format!("{event}{event}"), "one JSON document"),
        (without("severity"), "severity"),
        (without("reportingController"), "reportingController"),
        (with(json!({"message": {"hunter2": 1}})), "message"),
        (with(json!({"reason": 7})), "reason"),
        (with(json!({"timestamp": "hunter2"})), "timestamp"),
        (with(json!({"metadata": {"key": ["hunter2"]}})), "metadata"),
        (with(json!({"involvedObject": "hunter2"})), "involvedObject"),
        (
            with(json!({"involvedObject": {"name": "../../secrets"}})),
            "involvedObject.name",
        ),
        (
            with(json!({"involvedObject": {"namespace": "a/b"}})),
            "involvedObject.namespace",
        ),
        (
            with(json!({"involvedObject": {"uid": "u".repeat(300)}})),
            "involvedObject.uid",
        ),
        (
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            "not a Flux event",
        ),
    ];
    for (body, named) in table {
        let signature = app.sign("a", &body);
        let answer = app
            .post("/webhook/a", &[("X-Signature", &signature)], body.clone())
            .await;
        let detail = answer.body["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body:.80}");
        assert!(detail.contains(named), "{detail:?} does not name {named}");
        assert!(
            !detail.contains("hunter2") && detail.len() < 200,
            "{detail}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn stale_events_are_refused_and_events_without_a_time_are_not() {
    let app = TestApp::new();
    let table = [(-14, 202), (-16, 400), (4, 202), (6, 400)];
    for (minutes, status) in table {
        let mut event = app.event("a", &Key::new("apps", &format!("r{}", minutes + 20)));
        event["timestamp"] =
            json!((app.clock.now() + SignedDuration::from_mins(minutes)).to_string());
        assert_eq!(
            app.send("a", &event).await.status.as_u16(),
            status,
            "{minutes} minutes"
        );
    }
    let mut event = app.event("a", &web());
    event["timestamp"] = Value::Null;
    assert_eq!(app.send("a", &event).await.status, StatusCode::ACCEPTED);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_accepted_is_answered_again_and_dropped() {
    let app = TestApp::new();
    let event = app.event("a", &web());
    assert_eq!(app.send("a", &event).await.body["status"], "queued");
    pass(120).await;
    assert_eq!(app.send("a", &event).await.body["status"], "duplicate");
    pass(60).await;
    assert_eq!(
        app.cluster("a")
            .calls()
            .iter()
            .filter(|call| call.verb == "get")
            .count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn every_recorded_alert_verifies_with_the_recorded_key_and_parses() {
    let mut alerts = 0;
    for (story, entries) in stories::all() {
        let clock = Clock::with_tokio("2026-11-23T07:40:00Z".parse().expect("a time"));
        let cluster = if story.starts_with("flux26") {
            "b"
        } else {
            "a"
        }
        .to_owned();
        let clusters = BTreeMap::from([(cluster.clone(), FakeCluster::new(clock.clone()))]);
        let keys = BTreeMap::from([(cluster, key(stories::KEY))]);
        let options = Options {
            max_event_age: SignedDuration::from_hours(48),
            max_event_ahead: SignedDuration::from_hours(24 * 7),
            ..alerts_only()
        };
        let app = TestApp::keyed(options, clusters, clock, keys);
        for entry in entries {
            let Kind::Alert { headers, body } = entry.kind else {
                continue;
            };
            let answer = app
                .post(
                    "/webhook",
                    &[("X-Signature", &headers["X-Signature"])],
                    body.clone(),
                )
                .await;
            let event: Value = serde_json::from_str(&body).expect("an event");
            let expected: &[&str] = if event["severity"] == "error" {
                &["queued", "merged"]
            } else {
                &["ignored"]
            };
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{story} {body}");
            assert!(
                expected.contains(&answer.body["status"].as_str().unwrap_or_default()),
                "{story} {}",
                answer.body
            );
            alerts += 1;
        }
    }
    assert!(alerts > 60, "{alerts}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever arrives, signed or not, is answered, and nothing panics (a panic would be a 500).
    #[test]
    fn any_bytes_get_a_clear_answer(body in proptest::collection::vec(any::<u8>(), 0..2000), signed: bool, cut in 0..900_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let app = TestApp::new();
            let event = app.event("a", &Key::new("apps", "web")).to_string();
            let mutilated = [&event.as_bytes()[..cut.min(event.len() - 1)], &body].concat();
            for body in [body.clone(), mutilated] {
                let signature = key("key of a").sign(&body);
                let headers: &[(&str, &str)] = if signed { &[("X-Signature", &signature)] } else { &[] };
                let answer = app.post("/webhook", headers, body).await;
                assert!([400, 401].contains(&answer.status.as_u16()), "{answer:?}");
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_release_in_two_alerts_is_one_entry() {
    let app = TestApp::new();
    let release = app.holds(Live::stalled("web"));
    assert_eq!(app.alert(&release).await.body["status"], "queued");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(app.alert(&release).await.body["status"], "merged");
    pass(3).await;
    assert_eq!(app.writes().len(), 1);
}
