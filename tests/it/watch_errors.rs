//! Watches that end, expire or are not allowed.

use helmreboot::demo::fake_cluster::FaultKind;

use crate::{
    log::Log,
    support::{Live, TestApp, fault, pass},
};

use crate::watcher::{LOOKED, age, verbs};

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_or_has_expired_is_begun_again() {
    for expired in [false, true] {
        let app = TestApp::swept();
        pass(1).await;
        if expired {
            app.cluster("a")
                .fault(fault("watch", 3, FaultKind::Refuse(503)));
        }
        app.cluster("a").cut_watches();
        pass(1).await;
        app.holds(Live::stalled("web"));
        if expired {
            app.cluster("a").compact();
        }
        pass(60).await;
        assert_eq!(app.writes().len(), 1, "expired: {expired}");
    }
}

#[tokio::test(start_paused = true)]
async fn rights_that_go_again_after_they_came_back_are_reported_again() {
    let log = Log::capture();
    let app = TestApp::swept();
    let forbid = || {
        let refused = fault("watch", u32::MAX, FaultKind::Refuse(403));
        app.cluster("a").fault(refused);
        app.cluster("a").cut_watches();
    };
    let reports = || log.with(&["WARN", "retrying every 5 min"]).len();
    forbid();
    pass(20 * 60).await;
    assert_eq!(reports(), 1, "once, although it is retried");
    app.cluster("a").no_faults();
    pass(6 * 60).await;
    forbid();
    pass(20 * 60).await;
    assert_eq!(reports(), 2, "the rights were there in between");
}

#[tokio::test(start_paused = true)]
async fn where_watching_is_forbidden_everything_is_listed_from_time_to_time() {
    let app = TestApp::swept();
    app.cluster("a")
        .fault(fault("watch", u32::MAX, FaultKind::Refuse(403)));
    pass(10).await;
    app.holds(Live::stalled("web"));
    pass(300).await;
    assert_eq!(app.writes().len(), 1);
    assert!(verbs(&app, "list") <= 3);
    // Once it is allowed, the watch is on again.
    app.cluster("a").no_faults();
    pass(600).await;
    app.holds(Live::stalled("other"));
    pass(5).await;
    assert_eq!(app.writes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_was_away_is_looked_at_again() {
    let app = TestApp::swept();
    pass(1).await;
    app.cluster("a")
        .fault(fault("list", u32::MAX, FaultKind::Refuse(503)));
    app.cluster("a")
        .fault(fault("watch", u32::MAX, FaultKind::Refuse(503)));
    app.cluster("a").cut_watches();
    app.holds(Live::stalled("web"));
    pass(3600).await;
    assert!(age(&app).await > 3500.0, "the metric shows it");
    assert!(verbs(&app, "watch") < 100, "and the server is not pressed");
    app.cluster("a").no_faults();
    pass(90).await;
    assert_eq!(app.writes().len(), 1);
    assert!(age(&app).await < 100.0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_works_is_never_old() {
    let app = TestApp::swept();
    for _ in 0..40 {
        pass(97).await;
        assert!(age(&app).await < 400.0);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_sweep_nothing_is_listed_and_the_metric_shows_it() {
    let app = TestApp::new();
    app.holds(Live::stalled("web"));
    pass(3600).await;
    assert_eq!(app.cluster("a").calls().len(), 0);
    assert_eq!(app.metric(LOOKED).await, 0.0);
}
