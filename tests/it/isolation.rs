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

/// Panics that are planted in the clock of a service.
#[derive(Clone, Default)]
struct Planted(Arc<(AtomicU32, AtomicU32)>);

impl Planted {
    /// The clock panics when it is read next, after so many reads that go well.
    fn once_after(&self, reads: u32) {
        self.0.0.store(reads, Ordering::Relaxed);
        self.0.1.store(1, Ordering::Relaxed);
    }

    fn strike(&self) {
        let used = |left: &AtomicU32| {
            let less = |left: u32| left.checked_sub(1);
            let used = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            used.is_ok()
        };
        let struck = self.0.1.load(Ordering::Relaxed) > 0 && !used(&self.0.0) && used(&self.0.1);
        assert!(!struck, "planted: a secret of the data");
    }
}

/// A service whose clock panics as is planted; the clock of its cluster works.
fn app(options: Options) -> (TestApp, Planted) {
    silence_planted_panics();
    let time = Clock::with_tokio(NOW.parse().expect("a time"));
    let clusters = BTreeMap::from([("a".to_owned(), FakeCluster::new(time.clone()))]);
    let planted = Planted::default();
    let strikes = planted.clone();
    let clock = Clock::new(move || {
        strikes.strike();
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
    planted.once_after(0);
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
    planted.once_after(0);
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
    planted.once_after(0);
    let answer = app.send("a", &event).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.body.to_string().contains("planted"));
    assert_eq!(panics(&app, "webhook").await, 1.0);
    assert_eq!(app.send("a", &event).await.status, StatusCode::ACCEPTED);
    pass(30).await;
    assert_eq!(app.writes().len(), 1);
}

/// Reads of the clock in the looks that follow; each panics once.
const READS: std::ops::Range<u32> = 0..12;

#[tokio::test(start_paused = true)]
async fn a_panic_keeps_no_slot_from_the_releases_that_wait() {
    let mut hits = 0;
    for reads in READS {
        let mut options = alerts_only();
        options.limits.in_flight = 1;
        let (app, planted) = app(options);
        let releases: Vec<_> = ["first", "second", "third"]
            .into_iter()
            .map(|name| app.holds(Live::stalled(name)))
            .collect();
        for release in &releases {
            app.alert(release).await;
        }
        pass(30).await;
        assert_eq!(app.writes().len(), 1);
        // The first is deleted, and its slot is offered to the second.
        planted.once_after(reads);
        app.cluster("a").delete(&releases[0]);
        pass(120).await;
        let panicked = releases
            .iter()
            .filter(|release| app.why(release) == "panic");
        let panicked = panicked.count();
        let restarted = app.writes().len();
        if panicked == 0 || panics(&app, "reconcile").await == 0.0 {
            continue;
        }
        hits += 1;
        let why = releases
            .iter()
            .map(|release| app.why(release))
            .collect::<Vec<_>>();
        assert!(
            restarted >= 2,
            "after {reads} reads: {restarted} restarts {why:?}"
        );
    }
    assert!(hits > 2, "{hits} panics");
}
