//! Metrics: names, series that exist from the start, closed labels.

use std::collections::BTreeSet;

use axum::body::Body;
use http::Response;
use http_body_util::BodyExt;

use crate::{
    monitoring::COUNTED_LATER,
    support::{Live, TestApp, alerts_only, pass},
};

#[tokio::test(start_paused = true)]
async fn series_exist_at_zero_from_the_start_but_for_those_that_are_counted_by_reason_or_rule() {
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
    let (before, new) = (series(&before), series(&after));
    let new = new.difference(&before).cloned();
    let later = |series: &String| COUNTED_LATER.iter().any(|name| series.starts_with(name));
    let new: Vec<_> = new.filter(|series| !later(series)).collect();
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
        "helmreboot_alerts_ignored_total{reason=\"severity\"} 0",
        "helmreboot_restarts_total{cluster=\"a\",action=\"reset\"} 0",
        "helmreboot_restart_outcomes_total{cluster=\"a\",outcome=\"swallowed\"} 0",
        "helmreboot_gave_up_total{cluster=\"a\"} 0",
        "helmreboot_alert_to_restart_seconds_count 0",
        "helmreboot_queue_items{cluster=\"a\"} 0",
        "helmreboot_kubernetes_requests_total{cluster=\"a\",verb=\"patch\",result=\"forbidden\"} 0",
        "helmreboot_kubernetes_request_seconds_count{verb=\"get\"} 0",
        "controller_runtime_reconcile_total{controller=\"helmrelease\",result=\"success\"} 0",
        "controller_runtime_reconcile_errors_total{controller=\"helmrelease\"} 0",
        "controller_runtime_reconcile_time_seconds_count{controller=\"helmrelease\"} 0",
    ] {
        assert!(
            text.lines().any(|line| line == name),
            "{name} is missing in\n{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_scrape_gets_the_format_it_asks_for_and_compressed_where_it_says_so() {
    let app = TestApp::new();
    for (accept, kind, counter) in [
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text",
            "# TYPE helmreboot_restarts counter",
        ),
        (
            "text/plain",
            "text/plain; version=0.0.4",
            "# TYPE helmreboot_restarts_total counter",
        ),
    ] {
        let answer = app.scrape_as(&[("accept", accept)]).await;
        let found = answer.headers()["content-type"]
            .to_str()
            .expect("text")
            .to_owned();
        assert!(found.starts_with(kind), "{found}");
        let text = text_of(answer).await;
        assert!(text.contains(counter), "{text}");
        assert_eq!(text.ends_with("# EOF\n"), kind.contains("openmetrics"));
    }
    let answer = app.scrape_as(&[("accept-encoding", "gzip")]).await;
    assert_eq!(answer.headers()["content-encoding"], "gzip");
}

async fn text_of(answer: Response<Body>) -> String {
    let bytes = answer
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}
