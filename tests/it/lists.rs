//! Lists that are too large, too slow, or hold what cannot be read: everything else in them is found.

use std::time::Duration;

use helmreboot::{
    app::Options,
    config::SweepMode,
    demo::fake_cluster::{FaultKind, Key},
};
use serde_json::json;

use crate::support::{Live, TestApp, fault, pass, unlimited};

/// The usual sweep, and no limits of restarts.
fn swept(mode: SweepMode) -> Options {
    Options {
        sweep: mode,
        ..unlimited()
    }
}

const MODES: [SweepMode; 2] = [SweepMode::Watch, SweepMode::Every(Duration::from_secs(60))];

fn stuck(app: &TestApp, many: usize, bytes: usize) -> Vec<Key> {
    let names = (0..many).map(|number| format!("r{number:03}"));
    let live = |name: String| {
        app.holds(
            Live::stalled(&name).with(&json!({"spec": {"values": {"blob": "x".repeat(bytes)}}})),
        )
    };
    names.map(live).collect()
}

#[track_caller]
fn all_restarted(app: &TestApp, releases: &[Key]) {
    for release in releases {
        assert_eq!(app.why(release), "token-pending", "{}", release.name);
    }
    assert_eq!(app.writes().len(), releases.len());
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_large_is_asked_for_again_with_fewer_releases() {
    for mode in MODES {
        let app = TestApp::with(swept(mode), &["a"]);
        let releases = stuck(&app, 60, 170_000);
        pass(200).await;
        all_restarted(&app, &releases);
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_slow_is_asked_for_again_with_fewer_releases() {
    for mode in MODES {
        let app = TestApp::with(swept(mode), &["a"]);
        let each = FaultKind::SlowItems(Duration::from_millis(90));
        app.cluster("a").fault(fault("list", u32::MAX, each));
        let releases = stuck(&app, 30, 10);
        pass(200).await;
        all_restarted(&app, &releases);
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_too_large_alone_is_skipped_and_the_others_are_found() {
    let app = TestApp::with(swept(SweepMode::Watch), &["a"]);
    let mut releases = stuck(&app, 5, 10);
    let huge = json!({"spec": {"values": {"blob": "x".repeat(5 << 20)}}});
    app.cluster("a").apply(&releases[2], &huge);
    releases.remove(2);
    pass(200).await;
    all_restarted(&app, &releases);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_does_not_disturb_the_others() {
    for mode in MODES {
        let app = TestApp::with(swept(mode), &["a"]);
        let mut releases = stuck(&app, 3, 10);
        let cluster = app.cluster("a");
        let mut status = cluster.get(&releases[1]).expect("it")["status"].clone();
        status["failures"] = json!("many");
        cluster.write_status(&releases[1], &status);
        let odd = releases.remove(1);
        pass(100).await;
        assert_eq!(app.why(&odd), "nothing");
        // In the watch, too.
        let mut status = cluster.get(&odd).expect("it")["status"].clone();
        status["failures"] = json!({"deep": 1});
        cluster.write_status(&odd, &status);
        releases.extend([app.holds(Live::stalled("later"))]);
        pass(100).await;
        all_restarted(&app, &releases);
    }
}

#[tokio::test(start_paused = true)]
async fn many_clusters_that_send_slowly_do_not_delay_the_first_list_of_another() {
    let slow: Vec<_> = (0..60).map(|number| format!("slow-{number:02}")).collect();
    let mut names: Vec<_> = slow.iter().map(String::as_str).collect();
    names.push("well");
    let app = TestApp::with(swept(SweepMode::Watch), &names);
    for name in &slow {
        let cluster = app.cluster(name);
        // The whole body takes longer than a call may.
        let body = FaultKind::SlowBody(Duration::from_millis(100));
        cluster.fault(fault("list", u32::MAX, body));
        for number in 0..12 {
            let big = json!({"spec": {"values": {"blob": "x".repeat(10_000)}}});
            Live::stalled(&format!("r{number:03}"))
                .with(&big)
                .put(cluster);
        }
    }
    let release = Live::stalled("web");
    release.put(app.cluster("well"));
    pass(3).await;
    assert_eq!(app.why_in("well", &release.key), "reset");
    assert_eq!(app.writes().len(), 1);
}
