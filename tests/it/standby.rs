//! A standby passes requests for the page on to the leader, because only the leader knows the releases.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Body};
use helmreboot::app::Options;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::{BoxError, ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::{
    leader::Installation,
    live::Live,
    support::{TestApp, pass},
};

/// The pages of the replicas, by the last part of their address.
type Pages = Arc<Mutex<Vec<(&'static str, Router)>>>;

/// The network between the replicas.
fn network(pages: &Pages) -> Options {
    let pages = Arc::clone(pages);
    let replicas = service_fn(move |request: Request<Body>| {
        let pages = pages.lock().expect("the pages").clone();
        async move {
            let host = request.uri().authority().expect("an address").to_string();
            let found = pages.into_iter().find(|(address, _)| *address == host);
            let (_, router) = found.ok_or("no route to host")?;
            Ok::<Response<Body>, BoxError>(router.oneshot(request).await?)
        }
    });
    Options {
        replicas: BoxCloneSyncService::new(replicas),
        ..Options::default()
    }
}

async fn get(app: &TestApp, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let answer = app
        .metrics_router()
        .oneshot(request)
        .await
        .expect("an answer");
    let status = answer.status();
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test(start_paused = true)]
async fn a_standby_shows_what_the_leader_knows_and_after_a_handover_the_other_way_round() {
    let pages = Pages::default();
    let installation = Installation::new(network(&pages));
    let (first, second) = installation.two().await;
    Live::stalled("web")
        .failed("admission webhook \"x\" denied the request: no")
        .put(&installation.cluster);
    pass(20).await;
    // The leader cannot be reached.
    let (status, text) = get(&second, "/").await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(
        text.contains("the leader at 10.0.0.1:8082 does not answer"),
        "{text}"
    );
    *pages.lock().expect("the pages") = vec![
        ("10.0.0.1:8082", first.metrics_router()),
        ("10.0.0.2:8082", second.metrics_router()),
    ];
    for path in [
        "/",
        "/api/v1/releases",
        "/api/v1/releases/a/apps/web",
        "/api/v1/releases?q=web",
    ] {
        let (status, text) = get(&second, path).await;
        assert!(
            status.is_success() && text.contains("web"),
            "{path}: {text}"
        );
    }
    assert!(
        get(&second, "/metrics")
            .await
            .1
            .contains("helmreboot_leader 0"),
        "its own metrics"
    );
    first.resign.send_replace(true);
    pass(60).await;
    let (status, text) = get(&first, "/api/v1/status").await;
    assert!(
        status.is_success() && text.contains("\"acts\":true"),
        "{text}"
    );
    assert!(get(&first, "/").await.1.contains("apps/web"));
    first.writes();
    second.writes();
}
