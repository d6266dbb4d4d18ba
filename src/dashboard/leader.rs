//! Passes requests on to the leader: only it knows the releases.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use serde_json::json;
use tokio::time::timeout;
use tower::ServiceExt;

use super::Dashboard;

/// A request with this header was passed on by another replica, and is not passed on again.
const PASSED_ON: HeaderName = HeaderName::from_static("x-helmreboot-passed-on");

/// How long the leader may take until the headers of its answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Answers the request here if this replica acts, and passes it on to the leader otherwise.
pub(super) async fn pass_on(
    State(page): State<Dashboard>,
    mut request: Request,
    next: Next,
) -> Response {
    let sources = &page.sources;
    let leader = *sources.leader_page.borrow();
    let passed_on = request.headers().contains_key(PASSED_ON);
    let Some(leader) = leader.filter(|_| !sources.leadership.acts() && !passed_on) else {
        return next.run(request).await;
    };
    let Some(address) = address(leader, request.uri()) else {
        return next.run(request).await;
    };
    *request.uri_mut() = address;
    // What the router here found in the request.
    request.extensions_mut().clear();
    let headers = request.headers_mut();
    headers.remove(header::HOST);
    headers.insert(PASSED_ON, HeaderValue::from_static("1"));
    let answered = timeout(TIMEOUT, sources.transport.clone().oneshot(request));
    match answered.await {
        Ok(Ok(answer)) => answer.map(Body::new),
        Ok(Err(_)) | Err(_) => {
            let said = format!(
                "this replica is a standby, and the leader at {leader} does not answer; try again, and check that the NetworkPolicy lets replicas reach each other"
            );
            (StatusCode::BAD_GATEWAY, Json(json!({"error": said}))).into_response()
        }
    }
}

fn address(leader: SocketAddr, wanted: &Uri) -> Option<Uri> {
    let path = wanted.path_and_query()?.as_str();
    Uri::builder()
        .scheme("http")
        .authority(leader.to_string())
        .path_and_query(path)
        .build()
        .ok()
}
