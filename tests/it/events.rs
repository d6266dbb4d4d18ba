//! What the people around a release hear of: Kubernetes Events on it, and Flux events.

use helmreboot::{
    app::Options,
    demo::fake_cluster::{Fault, FaultKind},
    domain::policy::Policy,
};
use serde_json::{Value, json};

use crate::{
    admission::Admission,
    live::{self, IMMUTABLE, Live},
    log::Log,
    support::{TestApp, alerts_only, fault, pass},
};

/// The service with this limit of restarts.
fn limited(limit: u32) -> TestApp {
    let policy = Policy {
        limit,
        ..Policy::default()
    };
    let options = Options {
        policies: policy.into(),
        ..alerts_only()
    };
    TestApp::with(options, &["a"])
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_cluster_is_in_the_journal_once_and_so_is_its_end() {
    let app = TestApp::swept();
    app.holds(broken());
    pass(60).await;
    let down = Fault {
        verb: None,
        times: u32::MAX,
        kind: FaultKind::Refuse(503),
    };
    app.cluster("a").fault(down);
    app.cluster("a").cut_watches();
    pass(20 * 60).await;
    let began = [["unavailable", "unavailable"]];
    assert_eq!(app.cluster_facts(), began);
    app.cluster("a").no_faults();
    pass(20 * 60).await;
    let ended = [["unavailable", "unavailable"], ["available", "recovered"]];
    assert_eq!(app.cluster_facts(), ended);
}

/// A release with a permanent cause.
fn broken() -> Live {
    Live::named("web")
        .condition("Stalled", "True", "RetriesExceeded", "m")
        .failed(IMMUTABLE)
}

/// Reason, type and message of each Event of cluster `a`.
fn told(app: &TestApp) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let events = app.cluster("a").events();
    events
        .iter()
        .map(|event| {
            assert_eq!(event["reportingComponent"], "helmreboot");
            assert_eq!(event["involvedObject"]["kind"], "HelmRelease");
            assert_eq!(
                event["involvedObject"]["apiVersion"],
                "helm.toolkit.fluxcd.io/v2"
            );
            assert_eq!(event["count"], 1);
            assert_eq!(event["firstTimestamp"], event["lastTimestamp"]);
            (
                text(&event["reason"]),
                text(&event["type"]),
                text(&event["message"]),
            )
        })
        .collect()
}

fn reasons(app: &TestApp) -> Vec<String> {
    told(app).into_iter().map(|(reason, ..)| reason).collect()
}

#[tokio::test(start_paused = true)]
async fn a_release_that_recovers_has_an_event_for_the_restart_and_one_for_its_end() {
    let app = TestApp::with(alerts_only(), &["a"]);
    let release = app.holds(Live::stalled("web"));
    app.alert(&release).await;
    pass(10).await;
    live::recovers(app.cluster("a"), &release);
    pass(60).await;
    app.writes();
    let told = told(&app);
    let (reason, kind, message) = &told[0];
    assert_eq!((reason.as_str(), kind.as_str()), ("Restarted", "Normal"));
    assert!(
        message.starts_with("helmreboot restarted this release (reset, attempt 1 of 5). Cause: "),
        "{message}"
    );
    let (reason, kind, message) = &told[1];
    assert_eq!((reason.as_str(), kind.as_str()), ("Recovered", "Normal"));
    assert!(
        message.starts_with("The release recovered after a restart by helmreboot."),
        "{message}"
    );
    assert_eq!(told.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_cause_has_one_event_that_says_what_to_do() {
    let app = TestApp::with(alerts_only(), &["a"]);
    let release = app.holds(broken());
    for _ in 0..3 {
        app.alert(&release).await;
        pass(60).await;
    }
    let told = told(&app);
    assert_eq!(told.len(), 1, "{told:?}");
    let (reason, kind, message) = &told[0];
    assert_eq!(
        (reason.as_str(), kind.as_str()),
        ("NotRestarted", "Warning")
    );
    assert!(
        message.contains("flux reconcile helmrelease web -n apps --reset"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_given_up_has_one_event_with_the_command_for_new_attempts() {
    let app = limited(1);
    let release = app.holds(Live::stalled("web"));
    app.alert(&release).await;
    pass(10).await;
    live::fails_again(app.cluster("a"), &release);
    pass(600).await;
    app.writes();
    let told = told(&app);
    let reasons: Vec<_> = told.iter().map(|(reason, ..)| reason.as_str()).collect();
    assert_eq!(reasons, ["Restarted", "FailedAgain", "GaveUp"]);
    assert!(
        told[2]
            .2
            .contains("kubectl annotate helmrelease web -n apps --overwrite helmreboot.io/renew="),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_created_delays_nothing_and_is_tried_again() {
    let app = TestApp::with(alerts_only(), &["a"]);
    let release = app.holds(Live::stalled("web"));
    app.cluster("a")
        .fault(fault("create", 2, FaultKind::Refuse(503)));
    // Its answer is lost: it was created all the same, and is not created twice.
    app.cluster("a")
        .fault(fault("create", 3, FaultKind::LoseAnswer));
    app.alert(&release).await;
    pass(3).await;
    assert_eq!(app.writes().len(), 1);
    pass(20).await;
    assert_eq!(reasons(&app), ["Restarted"]);
    let delivered = "helmreboot_events_total{destination=\"kubernetes\",result=\"delivered\"}";
    assert_eq!(app.metric(delivered).await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn without_the_right_events_are_dropped_and_releases_restarted() {
    let app = TestApp::with(alerts_only(), &["a"]);
    app.cluster("a").grant_events(false);
    let release = app.holds(Live::stalled("web"));
    app.alert(&release).await;
    pass(30).await;
    assert_eq!(app.writes().len(), 1);
    let dropped = "helmreboot_events_total{destination=\"kubernetes\",result=\"dropped\"}";
    assert_eq!((reasons(&app).len(), app.metric(dropped).await), (0, 1.0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_while_nothing_may_be_written() {
    let app = TestApp::with(alerts_only(), &["a"]);
    let observed = app.holds(Live::stalled("observed").annotated("helmreboot.io/mode", "observe"));
    let off = app.holds(Live::stalled("off").annotated("helmreboot.io/enabled", "false"));
    for release in [&observed, &off] {
        app.alert(release).await;
    }
    pass(30).await;
    app.pause.set(true);
    let paused = app.holds(Live::stalled("paused"));
    app.alert(&paused).await;
    pass(30).await;
    assert_eq!(reasons(&app), [""; 0]);
}

/// Severity, reason and title of each message in the chat.
fn chat(app: &TestApp) -> Vec<(String, String)> {
    let messages = app.chat().messages();
    messages
        .into_iter()
        .map(|message| {
            assert!(message.title.starts_with("helmrelease/web."), "{message:?}");
            (message.severity, message.reason)
        })
        .collect()
}

fn line(severity: &str, reason: &str) -> (String, String) {
    (severity.to_owned(), reason.to_owned())
}

#[tokio::test(start_paused = true)]
async fn the_alerts_of_the_users_carry_each_fact_once() {
    let app = limited(2);
    // Answers that are lost or late are no reason to tell it twice.
    app.chat().fail(3);
    let release = app.holds(Live::stalled("web").annotated("event.toolkit.fluxcd.io/team", "shop"));
    app.alert(&release).await;
    pass(20).await;
    live::fails_again(app.cluster("a"), &release);
    pass(300).await;
    live::fails_again(app.cluster("a"), &release);
    pass(600).await;
    app.writes();
    assert_eq!(
        chat(&app),
        [
            line("info", "Restarted"),
            line("info", "FailedAgain"),
            line("info", "Restarted"),
            line("info", "FailedAgain"),
            line("error", "GaveUp"),
        ]
    );
    let first = &app.chat().messages()[0];
    let fields: Vec<_> = first
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(fields, [("revision", "1.0.0"), ("team", "shop")]);
    assert_eq!(first.text, told(&app)[0].2);
}

/// An Alert that carries errors hands them to the webhook of helmreboot too.
#[tokio::test(start_paused = true)]
async fn an_event_of_helmreboot_is_never_acted_on() {
    let app = TestApp::with(alerts_only(), &["a"]);
    let release = app.holds(Live::stalled("web"));
    let mut event = app.event("a", &release);
    event["reportingController"] = "helmreboot".into();
    event["reason"] = "GaveUp".into();
    let answer = app.send("a", &event).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    pass(60).await;
    assert_eq!(app.cluster("a").calls(), []);
}

#[tokio::test(start_paused = true)]
async fn a_notification_controller_that_is_away_delays_nothing_and_is_one_line() {
    let log = Log::capture();
    let app = TestApp::with(alerts_only(), &["a"]);
    app.chat().fail(usize::MAX);
    for number in 0..3 {
        let release = app.holds(Live::stalled(&format!("web-{number}")));
        app.alert(&release).await;
    }
    pass(3).await;
    assert!(app.writes().len() >= 3);
    pass(120).await;
    app.writes();
    assert_eq!(
        log.with(&["WARN", "cannot deliver flux events of cluster a"])
            .len(),
        1
    );
    let dropped = "helmreboot_events_total{destination=\"flux\",result=\"dropped\"}";
    assert!(app.metric(dropped).await >= 3.0);
    app.chat().fail(0);
    let release = app.holds(Live::stalled("web"));
    app.alert(&release).await;
    pass(120).await;
    app.writes();
    assert_eq!(
        log.with(&["INFO", "flux events of cluster a are delivered again"])
            .len(),
        1
    );
    assert_eq!(
        app.chat().messages().last().map(|last| last.title.clone()),
        Some("helmrelease/web.apps".into())
    );
}

/// Events as they were created, and what differs from them in one point.
#[tokio::test(start_paused = true)]
async fn events_on_releases_in_the_name_of_helmreboot_are_open_and_no_others() {
    let app = TestApp::with(alerts_only(), &["a"]);
    let release = app.holds(Live::stalled("web"));
    app.alert(&release).await;
    pass(60).await;
    app.writes();
    let admission = Admission::new();
    let request = |operation: &str, resource: &str| {
        json!({"operation": operation, "namespace": "apps",
            "resource": {"group": "", "version": "v1", "resource": resource}})
    };
    let events = app.cluster("a").events();
    assert!(!events.is_empty());
    for event in &events {
        let refused = admission.refuses(&request("CREATE", "events"), &Value::Null, event);
        assert_eq!(refused, [""; 0], "{event}");
        for other in [request("DELETE", "events"), request("CREATE", "pods")] {
            assert_eq!(admission.refuses(&other, event, event).len(), 1, "{other}");
        }
        for change in [
            json!({"reportingComponent": "helm-controller"}),
            json!({"involvedObject": {"kind": "Pod"}}),
            json!({"involvedObject": {"apiVersion": "v1"}}),
            json!({"involvedObject": {"namespace": "kube-system"}}),
            json!({"message": "x".repeat(1025)}),
            json!({"reportingComponent": null}),
        ] {
            let mut other = event.clone();
            json_patch::merge(&mut other, &change);
            let refused = admission.refuses(&request("CREATE", "events"), &Value::Null, &other);
            assert_eq!(refused.len(), 1, "{change}");
        }
    }
}

/// The command of the Event leads to new attempts. That these fail too is another fact.
#[tokio::test(start_paused = true)]
async fn a_release_that_is_renewed_and_given_up_again_is_told_again() {
    let app = limited(1);
    let release = app.holds(Live::stalled("web"));
    for renewal in ["1", "2"] {
        let renew = json!({"metadata": {"annotations": {"helmreboot.io/renew": renewal}}});
        app.cluster("a").apply(&release, &renew);
        app.alert(&release).await;
        pass(120).await;
        live::fails_again(app.cluster("a"), &release);
        pass(600).await;
    }
    app.writes();
    let told = reasons(&app);
    let gave_up = told.iter().filter(|reason| *reason == "GaveUp");
    assert_eq!(gave_up.count(), 2, "{told:?}");
    let errors = app.chat().messages().into_iter();
    assert_eq!(
        errors.filter(|message| message.severity == "error").count(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn in_observe_mode_no_end_of_an_earlier_restart_is_told() {
    let app = TestApp::with(alerts_only(), &["a"]);
    let release = app.holds(Live::stalled("web"));
    app.alert(&release).await;
    pass(10).await;
    app.writes();
    let observe = json!({"metadata": {"annotations": {"helmreboot.io/mode": "observe"}}});
    app.cluster("a").apply(&release, &observe);
    live::recovers(app.cluster("a"), &release);
    pass(60).await;
    assert_eq!(reasons(&app), ["Restarted"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_while_paused_and_a_new_object_of_the_same_name_are_told() {
    let app = TestApp::with(alerts_only(), &["a"]);
    app.pause.set(true);
    let release = app.holds(broken());
    app.alert(&release).await;
    pass(60).await;
    assert_eq!(reasons(&app), [""; 0]);
    app.pause.set(false);
    app.alert(&release).await;
    pass(60).await;
    assert_eq!(reasons(&app), ["NotRestarted"]);
    app.cluster("a").delete(&release);
    broken().put(app.cluster("a"));
    app.alert(&release).await;
    pass(60).await;
    assert_eq!(reasons(&app), ["NotRestarted", "NotRestarted"]);
}
