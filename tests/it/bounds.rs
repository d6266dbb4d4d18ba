//! What bounds restarts: budgets and waits that no change of the configuration renews.

use std::time::Duration;

use helmreboot::{app::Options, demo::fake_cluster::Key};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::{Live, TestApp, pass};

/// Times of the restarts that were written on a release.
fn restarts(app: &TestApp) -> Vec<Timestamp> {
    let writes = app.writes();
    let at = |write: &helmreboot::demo::fake_cluster::Call| {
        let at = &write.body["metadata"]["annotations"]["helmreboot.io/last-restart"];
        Some(at.as_str()?.parse().expect("a time"))
    };
    writes.iter().filter_map(at).collect()
}

/// Flips what Flux has tried, that often and every so many seconds, while the release stays Stalled. Flux
/// takes each token and fails at once.
async fn flip(
    app: &TestApp,
    release: &Key,
    (flips, every): (u64, u64),
    digest: impl Fn(u64) -> String,
) {
    let cluster = app.cluster("a");
    for second in 0..flips {
        let mut status = cluster.get(release).expect("the release")["status"].clone();
        status["lastAttemptedConfigDigest"] = json!(digest(second));
        let object = cluster.get(release).expect("the release");
        let requested = &object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
        if requested.is_string() {
            status["lastHandledReconcileAt"] = requested.clone();
            status["failures"] = json!(second + 2);
        }
        cluster.write_status(release, &status);
        tokio::time::sleep(Duration::from_secs(every)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn however_often_the_configuration_flips_the_waits_grow_and_the_limit_holds() {
    type Digest = fn(u64) -> String;
    let two: Digest = |second| format!("sha256:{}", second % 2);
    let four: Digest = |second| format!("sha256:{}", second % 4);
    let always_new: Digest = |second| format!("sha256:{second}");
    for (name, digest) in [("two", two), ("four", four), ("always new", always_new)] {
        for slow_lane in [None, Some(SignedDuration::from_hours(6))] {
            let mut options = Options::default();
            options.policies.base.slow_lane = slow_lane;
            let app = TestApp::with(options, &["a"]);
            let release = app.holds(Live::stalled("web"));
            flip(&app, &release, (1200, 1), digest).await;
            flip(&app, &release, (250, 61), digest).await;
            let times = restarts(&app);
            assert_eq!(times.len(), 5, "{name}: {times:?}");
            for (pair, least) in times.windows(2).zip([60, 120, 240, 480]) {
                let gap = pair[1].duration_since(pair[0]).as_secs();
                assert!(gap >= least, "{name}: {gap} s, not {least}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_below_four_bounds_configurations_that_keep_changing_too() {
    for limit in 1..4 {
        let mut options = Options::default();
        options.policies.base.limit = limit;
        options.policies.base.slow_lane = None;
        let app = TestApp::with(options, &["a"]);
        let release = app.holds(Live::stalled("web"));
        flip(&app, &release, (250, 61), |second| {
            format!("sha256:{second}")
        })
        .await;
        let times = restarts(&app);
        assert_eq!(times.len(), limit as usize, "limit {limit}: {times:?}");
        assert_eq!(app.why(&release), "budget-spent");
        // After a day, the last configuration has a budget of its own, and so has a new one if the limit is more than 1.
        pass(24 * 60 * 60).await;
        flip(&app, &release, (1, 61), |_| "sha256:a day later".into()).await;
        pass(600).await;
        let more = if limit == 1 { 1 } else { 2 };
        assert_eq!(restarts(&app).len(), limit as usize + more, "limit {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_comes_back_finds_its_count_and_the_wait_of_the_last_restart() {
    let app = TestApp::swept();
    let release = app.holds(Live::stalled("web"));
    pass(5).await;
    assert_eq!(restarts(&app).len(), 1);
    // Another configuration, a second after the last restart.
    flip(&app, &release, (30, 1), |_| "sha256:other".into()).await;
    assert_eq!(restarts(&app).len(), 1, "no restart inside the wait");
    assert_eq!(app.why(&release), "backoff");
}

#[tokio::test(start_paused = true)]
async fn after_a_success_of_any_configuration_a_new_one_has_a_budget_of_its_own() {
    let revision = |version: i64, digest: &str, status: &str| json!({"version": version, "status": status, "chartVersion": "1.0.0", "configDigest": digest});
    // Flux lists the newest revision, and those before it down to the last that was deployed.
    let success = revision(4, "sha256:success", "deployed");
    let rollback = revision(4, "sha256:0", "deployed");
    for (deployed, expected) in [(success, 2), (rollback, 1)] {
        let mut options = Options::default();
        options.policies.base.limit = 1;
        options.policies.base.slow_lane = None;
        let app = TestApp::with(options, &["a"]);
        let cluster = app.cluster("a");
        let release = app.holds(Live::stalled("web"));
        let mut status = cluster.get(&release).expect("the release")["status"].clone();
        let failed = revision(2, "sha256:1", "failed");
        status["lastAttemptedConfigDigest"] = json!("sha256:1");
        status["history"] = json!([failed, revision(1, "sha256:0", "superseded")]);
        cluster.write_status(&release, &status);
        pass(600).await;
        assert_eq!(restarts(&app).len(), 1);
        status["history"] = json!([revision(5, "sha256:new", "failed"), deployed]);
        cluster.write_status(&release, &status);
        flip(&app, &release, (2, 600), |_| "sha256:new".into()).await;
        assert_eq!(restarts(&app).len(), expected, "{deployed}");
    }
}
