//! One fault stays one fault: a panic costs the release, the object or the request in which it happens.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use helmreboot::{app::Options, clock::Clock, demo::fake_cluster::FakeCluster};
use http::StatusCode;

use crate::{
    simulation::silence_planted_panics,
    support::{Live, NOW, TestApp, alerts_only, pass},
};

/// A service whose clock panics when it is read, as often as is planted; the clock of its cluster works.
fn app(options: Options) -> (TestApp, Arc<AtomicU32>) {
    silence_planted_panics();
    let time = Clock::with_tokio(NOW.parse().expect("a time"));
    let clusters = BTreeMap::from([("a".to_owned(), FakeCluster::new(time.clone()))]);
    let planted = Arc::new(AtomicU32::new(0));
    let left = Arc::clone(&planted);
    let clock = Clock::new(move || {
        let plant = |left: u32| left.checked_sub(1);
        let struck = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, plant);
        assert!(struck.is_err(), "planted: a secret of the data");
        time.now()
    });
    (TestApp::around(options, clusters, clock), planted)
}

async fn panics(app: &TestApp, part: &str) -> f64 {
    app.metric(&format!("helmreboot_panics_total{{part=\"{part}\"}}"))
        .await
}

#[tokio::test(start_paused = true)]
async fn a_reconcile_that_panics_is_tried_again_at_the_slow_interval_and_disturbs_no_other() {
    let (app, planted) = app(alerts_only());
    let first = app.holds(Live::stalled("first"));
    let second = app.holds(Live::stalled("second"));
    app.alert(&first).await;
    app.alert(&second).await;
    planted.store(1, Ordering::Relaxed);
    pass(30).await;
    assert_eq!(app.why(&first), "panic");
    assert_eq!(app.why(&second), "token-pending");
    assert_eq!(app.writes().len(), 1);
    assert_eq!(panics(&app, "reconcile").await, 1.0);
    pass(9 * 60).await;
    assert_eq!(app.writes().len(), 1, "not before the slow interval");
    pass(2 * 60).await;
    assert_eq!(app.writes().len(), 2);
    assert_eq!(app.why(&first), "token-pending");
    let flying = "helmreboot_restarts_in_flight{cluster=\"a\"}";
    assert_eq!(app.metric(flying).await, 2.0);
}

#[tokio::test(start_paused = true)]
async fn an_object_the_watcher_panics_over_disturbs_no_other_of_its_page() {
    let (app, planted) = app(Options::default());
    let releases: Vec<_> = ["a", "b", "c"]
        .into_iter()
        .map(|name| app.holds(Live::stalled(name)))
        .collect();
    planted.store(1, Ordering::Relaxed);
    pass(30).await;
    assert_eq!(panics(&app, "watcher").await, 1.0);
    assert_eq!(app.writes().len(), 2, "the other two");
    pass(11 * 60).await;
    assert_eq!(app.writes().len(), 3);
    for release in &releases {
        assert_eq!(app.why(release), "token-pending");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_panics_is_answered_500_and_the_next_is_taken() {
    let (app, planted) = app(alerts_only());
    let release = app.holds(Live::stalled("web"));
    let event = app.event("a", &release);
    planted.store(1, Ordering::Relaxed);
    let answer = app.send("a", &event).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.body.to_string().contains("planted"));
    assert_eq!(panics(&app, "webhook").await, 1.0);
    assert_eq!(app.send("a", &event).await.status, StatusCode::ACCEPTED);
    pass(30).await;
    assert_eq!(app.writes().len(), 1);
}
