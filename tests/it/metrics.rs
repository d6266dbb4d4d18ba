//! What is counted: names, series that exist from the start, closed labels.

use std::collections::BTreeSet;

use crate::support::{Live, TestApp, alerts_only, pass};

#[tokio::test(start_paused = true)]
async fn every_series_exists_at_zero_from_the_start_and_no_other_appears() {
    let app = TestApp::with(alerts_only(), &["a", "b"]);
    let before = app.scrape().await;
    let series = |text: &str| -> BTreeSet<String> {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(series, _)| series.to_owned())
            .collect()
    };
    let counters = before.lines().filter(|line| line.contains("_total{"));
    let not_zero: Vec<_> = counters.filter(|line| !line.ends_with(" 0")).collect();
    assert!(not_zero.is_empty(), "{not_zero:?}");
    for name in ["stuck", "lasting", "ready"] {
        let live = match name {
            "lasting" => Live::stalled(name).failed("field is immutable"),
            "ready" => Live::stalled(name).condition("Ready", "True", "UpgradeSucceeded", ""),
            _ => Live::stalled(name),
        };
        let release = app.holds(live);
        app.alert(&release).await;
    }
    app.post("/webhook", &[], "x").await;
    app.post("/webhook/a", &[], "x").await;
    pass(600).await;
    app.writes();
    let after = app.scrape().await;
    let new: Vec<_> = series(&after)
        .difference(&series(&before))
        .cloned()
        .collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(
        !after.contains("stuck\"") && !after.contains("apps"),
        "no release is a label"
    );
}

#[tokio::test(start_paused = true)]
async fn the_names_are_those_people_build_dashboards_on() {
    let app = TestApp::new();
    let text = app.scrape().await;
    for name in [
        "helmreboot_build_info{version=\"0.1.0\"} 1",
        "helmreboot_alerts_total{cluster=\"\",result=\"unauthorized\"} 0",
        "helmreboot_alerts_total{cluster=\"a\",result=\"queue-full\"} 0",
        "helmreboot_alerts_ignored_total{cluster=\"a\",why=\"severity\"} 0",
        "helmreboot_verdicts_total{class=\"transient\",rule=\"wait-timeout\"} 0",
        "helmreboot_verdicts_total{class=\"unknown\",rule=\"none\"} 0",
        "helmreboot_decisions_total{cluster=\"a\",decision=\"restart\",why=\"stalled\"} 0",
        "helmreboot_decisions_total{cluster=\"a\",decision=\"leave\",why=\"budget-spent\"} 0",
        "helmreboot_restarts_total{cluster=\"a\",action=\"reset\"} 0",
        "helmreboot_restart_ends_total{cluster=\"a\",result=\"swallowed\"} 0",
        "helmreboot_gave_up_total{cluster=\"a\"} 0",
        "helmreboot_alert_to_restart_seconds_count{cluster=\"a\"} 0",
        "helmreboot_queue_entries{cluster=\"a\"} 0",
        "helmreboot_kubernetes_requests_total{cluster=\"a\",verb=\"patch\",result=\"conflict\"} 0",
        "helmreboot_kubernetes_request_seconds_count{cluster=\"a\",verb=\"get\"} 0",
        "controller_runtime_reconcile_total{controller=\"helmrelease\",result=\"success\"} 0",
        "controller_runtime_reconcile_errors_total{controller=\"helmrelease\"} 0",
        "controller_runtime_reconcile_time_seconds_count{controller=\"helmrelease\"} 0",
    ] {
        assert!(
            text.lines().any(|line| line == name),
            "{name} is missing in\n{text}"
        );
    }
    assert!(text.ends_with("# EOF\n"));
}
