//! The page and its API: what is stuck, why, what was tried, and what comes next. It only reads.
//!
//! It shows what this process knows: the boards of the clusters and the journal. No request causes a call to an API
//! server. Links are relative, so it works behind a proxy that adds a path.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, middleware, response::Response, routing::get};
use http::{HeaderValue, header};
use tokio::sync::{Semaphore, watch};
use tower_http::compression::{
    CompressionLayer,
    predicate::{DefaultPredicate, NotForContentType, Predicate},
};

use crate::{
    clock::Clock,
    clusters::Registry,
    controller::Pause,
    domain::{journal::Journal, link::Link},
    http_client::Transport,
    leadership::Leadership,
};

mod api;
mod assets;
mod changes;
mod leader;
mod page;
mod query;
mod stream;
mod view;
pub use query::Parameter;

/// Nothing may be loaded but the files of the page itself, and nothing may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Event streams that may be open. More are refused.
const STREAMS: usize = 1024;

/// What the page shows, and what it knows that from.
#[derive(Clone)]
pub struct Dashboard {
    sources: Arc<Sources>,
}

/// What the page knows.
pub struct Sources {
    /// The clusters with their boards.
    pub registry: Arc<Registry>,
    /// What happened lately.
    pub journal: Arc<Journal>,
    /// The clock of this process.
    pub clock: Clock,
    /// Whether helmreboot is paused.
    pub pause: Pause,
    /// Whether this replica acts.
    pub leadership: Leadership,
    /// Links to other programs.
    pub links: Vec<Link>,
    /// Where the page of the leader is, if this replica is not the leader.
    pub leader_page: watch::Receiver<Option<SocketAddr>>,
    /// How requests get there.
    pub transport: Transport,
    /// Differs between two processes: the numbers of events begin again with each.
    run: u32,
    streams: Arc<Semaphore>,
    revision: watch::Sender<u64>,
}

impl Dashboard {
    /// A page about these clusters.
    pub fn new(
        registry: Arc<Registry>,
        journal: Arc<Journal>,
        clock: Clock,
        pause: Pause,
        leadership: Leadership,
        links: Vec<Link>,
        (leader_page, transport): (watch::Receiver<Option<SocketAddr>>, Transport),
    ) -> Self {
        let sources = Sources {
            run: clock_run(&clock),
            registry,
            journal,
            clock,
            pause,
            leadership,
            links,
            leader_page,
            transport,
            streams: Arc::new(Semaphore::new(STREAMS)),
            revision: watch::Sender::new(0),
        };
        Self {
            sources: Arc::new(sources),
        }
    }

    /// The routes of the page, its files and the API.
    pub fn router(&self) -> Router {
        let compressed = DefaultPredicate::new().and(NotForContentType::SSE);
        Router::new()
            .route("/", get(page::overview))
            .route("/releases/{cluster}/{namespace}/{name}", get(page::release))
            .route("/causes/{id}", get(page::cause))
            .route("/clusters", get(page::clusters))
            .route("/assets/{file}", get(assets::file))
            .nest("/api/v1", api::router())
            .layer(CompressionLayer::new().compress_when(compressed))
            .layer(middleware::from_fn_with_state(
                self.clone(),
                leader::pass_on,
            ))
            .layer(middleware::map_response(with_headers))
            .with_state(self.clone())
    }
}

/// The nanoseconds of the start.
fn clock_run(clock: &Clock) -> u32 {
    clock.now().subsec_nanosecond().unsigned_abs()
}

async fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        let value = HeaderValue::from_static("no-store");
        headers.insert(header::CACHE_CONTROL, value);
    }
    response
}
