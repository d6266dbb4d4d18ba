//! Probes and metrics, each on a port of its own.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{HeaderMap, StatusCode, header};
use prometheus_client::registry::Registry as MetricsRegistry;
use tower_http::compression::CompressionLayer;

use crate::{
    clock::Clock,
    clusters::Registry,
    metrics::{Exposition, Metrics},
};

/// Whether alerts are taken. It does not depend on remote clusters: one that is gone must not take
/// the service away from the others.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Alerts are taken from now on, or no longer.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// `/healthz` and `/readyz`.
pub fn probes(readiness: Readiness) -> Router {
    let ready = |State(readiness): State<Readiness>| async move {
        if readiness.get() {
            (StatusCode::OK, "ok\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(readiness)
}

/// `/metrics`.
pub fn metrics(
    series: Arc<MetricsRegistry>,
    metrics: Metrics,
    clusters: Arc<Registry>,
    clock: Clock,
) -> Router {
    let scrape = move |headers: HeaderMap| {
        let accept = headers.get(header::ACCEPT);
        let exposition = Exposition::accepted(accept.and_then(|value| value.to_str().ok()));
        for entry in clusters.entries() {
            metrics.set_gauges(&entry.name, entry.gauges(clock.now()));
        }
        let answer = match exposition.encode(&series) {
            Ok(text) => {
                let kind = [
                    (header::CONTENT_TYPE, exposition.content_type()),
                    (header::VARY, "accept"),
                ];
                (kind, text).into_response()
            }
            Err(error) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("cannot encode metrics: {error}\n"),
            )
                .into_response(),
        };
        std::future::ready(answer)
    };
    Router::new()
        .route("/metrics", get(scrape))
        .layer(CompressionLayer::new())
}
