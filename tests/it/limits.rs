//! Many releases that fail together are not restarted together; and what keeps everything from being
//! written.

use std::collections::BTreeSet;

use helmreboot::{
    app::Options,
    demo::{fake_cluster::Key, fake_flux::FakeFlux},
    domain::limits::{LimitConfig, Rate},
};
use serde_json::json;

use crate::support::{Live, TestApp, pass, ready};

fn limits() -> Options {
    let rate = Rate {
        per_minute: 600,
        burst: 100,
    };
    let limits = LimitConfig {
        rate,
        in_flight: 200,
        ..LimitConfig::default()
    };
    Options {
        limits,
        ..Options::default()
    }
}

/// So many releases that need one webhook, which is away.
fn releases(app: &TestApp, flux: &FakeFlux, many: usize) -> Vec<Key> {
    let names = (0..many).map(|number| Key::new("apps", &format!("r{number:04}")));
    let releases: Vec<_> = names.collect();
    for release in &releases {
        let spec = json!({"timeout": "30s", "values": {"mode": "webhook"}});
        app.cluster("a").apply(release, &json!({"spec": spec}));
        flux.ail(release);
    }
    releases
}

/// Releases that were restarted so far.
fn restarted(app: &TestApp) -> BTreeSet<String> {
    let writes = app.writes();
    let names = writes
        .iter()
        .map(|write| write.uri.split('?').next().unwrap_or_default().to_owned());
    names.collect()
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_that_fail_on_one_cause_one_is_tried_and_when_it_helps_the_others_follow() {
    let app = TestApp::with(limits(), &["a"]);
    let flux = app.flux(true);
    let running = tokio::spawn(flux.clone().run());
    let releases = releases(&app, &flux, 1000);
    pass(50).await;
    assert_eq!(restarted(&app).len(), 1, "one probe");
    assert_eq!(app.cluster_facts(), [["breaker", "opened"]]);
    assert_eq!(
        app.metric("helmreboot_breakers_open{cluster=\"a\"}").await,
        1.0
    );
    // Probes after 1, 2, 4 and 8 minutes more, each of them one release.
    pass(15 * 60).await;
    assert!(
        (2..=6).contains(&restarted(&app).len()),
        "{:?}",
        restarted(&app)
    );
    // The webhook is back.
    releases
        .iter()
        .for_each(|release| flux.remove_cause(release));
    pass(20 * 60).await;
    let mut steps = vec![restarted(&app).len()];
    let healthy = || {
        releases
            .iter()
            .filter(|release| ready(&app.cluster("a").get(release).expect("it")))
            .count()
    };
    while healthy() < 1000 && steps.len() < 60 {
        pass(10).await;
        steps.push(restarted(&app).len());
    }
    assert_eq!(healthy(), 1000, "{steps:?}");
    // The journal no longer holds that it opened.
    assert_eq!(app.cluster_facts(), [["breaker", "closed"]]);
    assert_eq!(
        app.metric("helmreboot_breakers_open{cluster=\"a\"}").await,
        0.0
    );
    assert_eq!(
        app.metric("helmreboot_restarts_in_flight{cluster=\"a\"}")
            .await,
        0.0
    );
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_rate_allows_are_restarted() {
    let options = Options {
        limits: LimitConfig {
            threshold: 10_000,
            ..LimitConfig::default()
        },
        ..Options::default()
    };
    let app = TestApp::with(options, &["a"]);
    for number in 0..100 {
        app.holds(Live::stalled(&format!("r{number}")));
    }
    pass(10).await;
    // Ten at once, then one every two seconds, until twenty run.
    assert!(
        (10..=15).contains(&app.writes().len()),
        "{}",
        app.writes().len()
    );
    pass(600).await;
    assert_eq!(app.writes().len(), 20, "as many as may run at once");
    assert_eq!(
        app.metric("helmreboot_restarts_in_flight{cluster=\"a\"}")
            .await,
        20.0
    );
}

#[tokio::test(start_paused = true)]
async fn a_release_that_was_given_up_comes_back_when_the_shared_cause_is_gone() {
    let mut options = limits();
    options.policies.base.limit = 1;
    options.policies.base.slow_lane = None;
    let app = TestApp::with(options, &["a"]);
    let flux = app.flux(true);
    let running = tokio::spawn(flux.clone().run());
    let releases = releases(&app, &flux, 6);
    pass(6 * 60).await;
    let spent = restarted(&app).len();
    assert!(
        (2..6).contains(&spent),
        "{spent} probes have failed and were given up"
    );
    releases
        .iter()
        .for_each(|release| flux.remove_cause(release));
    pass(3600).await;
    for release in &releases {
        assert!(
            ready(&app.cluster("a").get(release).expect("it")),
            "{}",
            release.name
        );
    }
    app.writes();
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_pause_keeps_everything_from_being_written_and_its_end_lets_it_go_on() {
    let app = TestApp::swept();
    let pause = app.pause.clone();
    pause.set(true);
    let stuck = app.holds(Live::stalled("stuck"));
    app.alert(&stuck).await;
    pass(3600).await;
    assert_eq!((app.writes().len(), app.why(&stuck)), (0, "reset"));
    pause.set(false);
    pass(700).await;
    assert_eq!(app.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_waits_for_a_dependency_gives_its_place_away() {
    let mut options = limits();
    options.limits.in_flight = 1;
    let app = TestApp::with(options, &["a"]);
    let dependent = app.holds(Live::stalled("dependent"));
    pass(5).await;
    let token = app.annotation(&dependent, "reconcile.fluxcd.io/requestedAt");
    app.holds(Live::stalled("needed"));
    pass(60).await;
    assert_eq!(app.writes().len(), 1, "one at a time");
    // Flux has taken the request and waits for what is itself stuck.
    app.holds(
        Live::named("dependent")
            .reconciling("Progressing", "Fulfilling prerequisites")
            .condition(
                "Ready",
                "False",
                "DependencyNotReady",
                "dependency 'apps/needed' is not ready",
            )
            .status(&json!({"lastHandledReconcileAt": token})),
    );
    pass(120).await;
    assert_eq!(app.why(&Key::new("apps", "needed")), "token-pending");
    assert_eq!(app.writes().len(), 2);
}
