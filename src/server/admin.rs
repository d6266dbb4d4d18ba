//! Probes and metrics, each on a port of its own.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header};
use prometheus_client::registry::Registry as MetricsRegistry;

use crate::{
    clock::Clock,
    metrics::{self, Metrics},
    registry::Registry,
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
    let scrape = move || {
        for member in clusters.members() {
            metrics.stands(&member.name, member.standing(clock.now()));
        }
        let answer = match metrics::encode(&series) {
            Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
            Err(error) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("cannot encode metrics: {error}\n"),
            )
                .into_response(),
        };
        std::future::ready(answer)
    };
    Router::new().route("/metrics", get(scrape))
}
