//! `POST /webhook` and `POST /webhook/{cluster}`: verify the raw bytes, then parse, then queue, then
//! answer. No Kubernetes call happens inside a request.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{FromRequest, State},
    response::{IntoResponse, Response},
};
use http::{Method, Request, StatusCode};
use jiff::SignedDuration;
use serde::Serialize;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    clock::Clock,
    clusters::{ClusterEntry, Registry},
    domain::{
        alert::{BadField, Event, Failure, Ignored, Meaning},
        alert_result::AlertResult,
        signature::{self, SIGNATURE_HEADER, Tag},
    },
    isolation::{self, Panicked, Part},
    leadership::Leadership,
    metrics::Metrics,
    queue::{Enqueued, Source, WorkItem},
    server::connections::Sender,
};

mod body;
mod claimed_cluster;
mod log_limit;
mod parse;
mod problem;
mod rejection;
pub use log_limit::LogLimit;
use parse::parse;
use problem::Problem;
use rejection::Rejection;

/// The path of the webhook.
pub const PATH: &str = "/webhook";
/// The header that names the cluster where the path does not.
pub const CLUSTER_HEADER: &str = "X-Helmreboot-Cluster";
/// The cluster of an alert that names none.
pub const DEFAULT_CLUSTER: &str = "default";

/// What the webhook needs.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Who may speak.
    pub clusters: Arc<Registry>,
    /// What is counted.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
    /// From the alert to the first reconcile.
    pub first_reconcile: Duration,
    /// The oldest event that is taken.
    pub max_age: SignedDuration,
    /// How far an event may be in the future.
    pub max_ahead: SignedDuration,
    /// Whether this replica acts.
    pub leadership: Leadership,
    /// Keeps refusals from filling the log.
    pub log_limit: Arc<LogLimit>,
    /// Room for bodies that are being read, in KiB, so that memory is bounded before a signature is verified.
    pub room: Arc<Semaphore>,
}

/// The room for bodies that are being read, in KiB: 128 of the largest, some 10,000 usual ones.
pub const ROOM: usize = 32 * 1024;

/// An event whose sender is known, with the cluster it speaks for.
struct SignedAlert {
    entry: Arc<ClusterEntry>,
    event: Event,
    tag: Tag,
}

/// The router of the webhook. It has one route, because `claimed_cluster` accepts several forms of the path.
pub fn router(webhook: Webhook) -> Router {
    // axum clones the state several times for each request.
    Router::new()
        .fallback(receive)
        .with_state(Arc::new(webhook))
}

/// Answers one request. A panic is caught here, so that the connection stays open for the next one.
async fn receive(State(webhook): State<Arc<Webhook>>, request: Request<Body>) -> Response {
    let answer = webhook.answer(request);
    match isolation::caught(Part::Webhook, &webhook.metrics, answer).await {
        Ok(response) => response,
        Err(Panicked { location }) => {
            tracing::error!(
                location,
                "internal error at {location} in a request; please report it"
            );
            let detail = "an error in helmreboot; please report it";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
    }
}

impl FromRequest<Webhook> for SignedAlert {
    type Rejection = Rejection;

    async fn from_request(request: Request<Body>, webhook: &Webhook) -> Result<Self, Rejection> {
        let (parts, body) = request.into_parts();
        let Some(path) = claimed_cluster::Path::of(parts.uri.path()) else {
            let detail = "no such path; alerts go to POST /webhook or /webhook/{cluster}";
            return Err(Rejection::early(AlertResult::NotFound, detail));
        };
        if parts.method != Method::POST {
            return Err(Rejection::early(
                AlertResult::Method,
                "only POST is answered here",
            ));
        }
        if !body::is_json(&parts.headers) {
            return Err(Rejection::early(
                AlertResult::MediaType,
                "send application/json, as Flux does",
            ));
        }
        // The body of a request without a signature is not read.
        let signature = parts
            .headers
            .get(SIGNATURE_HEADER)
            .map_or(&[][..], |value| value.as_bytes());
        if !signature::well_formed(signature) {
            return Err(Rejection::early(
                AlertResult::Unauthorized,
                "the signature is missing or malformed",
            ));
        }
        let (bytes, _room) = body::read(&parts.headers, body, &webhook.room).await?;
        let claim = claimed_cluster::of(&path, &parts, &bytes);
        let unauthorized = || {
            let hint = match webhook.clusters.get(claim.cluster) {
                Some(entry) if entry.keys().is_empty() => {
                    "this cluster has no key that can be used"
                }
                Some(_) => "the signature does not match",
                None => "no such cluster is configured",
            };
            Rejection::early(AlertResult::Unauthorized, hint)
        };
        let entry = webhook.clusters.get(claim.cluster);
        // Where there is none, as much time is taken as where there is one.
        let keys = entry
            .map(|entry| entry.keys())
            .filter(|keys| !keys.is_empty());
        let verified = keys
            .as_deref()
            .unwrap_or(webhook.clusters.decoy())
            .verify(&bytes, signature);
        let (Some(entry), Some((key, tag))) = (entry, verified) else {
            return Err(unauthorized());
        };
        // Without a socket there is no connection.
        if let Some(sender) = parts.extensions.get::<Sender>() {
            sender.is_known();
        }

        let reject = |answer, detail: String| Rejection::of(entry, answer, detail);
        let event = parse(&bytes).map_err(|detail| reject(AlertResult::Malformed, detail))?;
        if claim.contradicted || event.cluster().is_some_and(|said| said != &*entry.name) {
            let detail = "path, X-Helmreboot-Cluster and metadata.cluster name different clusters";
            return Err(reject(AlertResult::Contradiction, detail.into()));
        }
        let namespace = event.involved_object.namespace.as_deref();
        if !key.covers(namespace.unwrap_or_default()) {
            let detail = "this key is not valid for that namespace";
            return Err(reject(AlertResult::Scope, detail.into()));
        }
        Ok(Self {
            entry: Arc::clone(entry),
            event,
            tag,
        })
    }
}

impl Webhook {
    async fn answer(&self, request: Request<Body>) -> Response {
        let alert = SignedAlert::from_request(request, self).await;
        match alert.and_then(|alert| self.take(alert)) {
            Ok(response) => response,
            Err(rejection) => {
                match &rejection.cluster {
                    Some(cluster) => self.metrics.answered(cluster, rejection.answer),
                    None => self.metrics.refused(rejection.answer),
                }
                let cluster = rejection.cluster.as_deref().unwrap_or_default();
                self.log_limit.log(&rejection, cluster, self.clock.now());
                rejection.into_response()
            }
        }
    }

    /// What a verified event leads to.
    fn take(&self, alert: SignedAlert) -> Result<Response, Rejection> {
        let SignedAlert { entry, event, tag } = alert;
        let reject = |answer, detail: String| Rejection::of(&entry, answer, detail);
        let now = self.clock.now();
        if let Some(at) = event.timestamp {
            let age = now.duration_since(at);
            if age > self.max_age || -age > self.max_ahead {
                let detail = format!(
                    "the event's timestamp is {} s away from the time here; check both clocks",
                    age.as_secs()
                );
                return Err(reject(AlertResult::Stale, detail));
            }
        }
        let window = self.max_age.saturating_add(self.max_ahead);
        if entry.seen(&tag, now, window) {
            return Ok(self.accepted(&entry, AlertResult::Duplicate, Accepted::default()));
        }
        let meaning = event.meaning(&entry.name);
        let meaning = meaning.map_err(|BadField(path)| {
            reject(
                AlertResult::Malformed,
                format!("the event's field {path} cannot be right"),
            )
        })?;
        let response = match meaning {
            Meaning::Ignored(reason) => self.ignore(&entry, reason),
            Meaning::Failure(failure) => self.queue(&entry, failure, &event)?,
        };
        entry.remember(tag, now);
        Ok(response)
    }

    fn ignore(&self, entry: &Arc<ClusterEntry>, reason: Ignored) -> Response {
        self.metrics.ignored(reason);
        let details = Accepted {
            reason: Some(reason.as_str()),
            ..Accepted::default()
        };
        self.accepted(entry, AlertResult::Ignored, details)
    }

    fn queue(
        &self,
        entry: &Arc<ClusterEntry>,
        failure: Failure,
        event: &Event,
    ) -> Result<Response, Rejection> {
        let reject = |answer, detail: &str| Err(Rejection::of(entry, answer, detail));
        let object = &event.involved_object;
        let (namespace, name) = (object.namespace.as_deref(), object.name.as_deref());
        let details = Accepted {
            namespace,
            name,
            ..Accepted::default()
        };
        if entry.has_no_access() {
            let detail =
                "the kubeconfig of this cluster cannot be used; the log of helmreboot says why";
            return reject(AlertResult::NoAccess, detail);
        }
        let item = WorkItem::new(failure, Source::Alert);
        let due = Instant::now() + self.first_reconcile;
        let enqueued = if self.leadership.acts() {
            entry.queue.enqueue(item, due)
        } else if !entry.watches(namespace.unwrap_or_default()) {
            let detail = "this replica is a standby, and no watcher of the leader reads this namespace; send it again, so that the leader gets it";
            return reject(AlertResult::Standby, detail);
        } else {
            // The watcher of the leader finds the failure. This replica may have to act before that.
            let since = Instant::now().checked_sub(self.max_age.unsigned_abs());
            entry.queue.keep(item, due, since)
        };
        match enqueued {
            Enqueued::Queued => Ok(self.accepted(entry, AlertResult::Queued, details)),
            Enqueued::Merged => Ok(self.accepted(entry, AlertResult::Merged, details)),
            Enqueued::Full => reject(AlertResult::QueueFull, "the queue of this cluster is full"),
            Enqueued::Closed => reject(AlertResult::Closing, "shutting down"),
        }
    }

    fn accepted(
        &self,
        entry: &Arc<ClusterEntry>,
        answer: AlertResult,
        body: Accepted<'_>,
    ) -> Response {
        self.metrics.answered(&entry.name, answer);
        let body = Accepted {
            status: answer.as_str(),
            cluster: &entry.name,
            ..body
        };
        tracing::debug!(cluster = %entry.name, result = body.status, ?body, "alert {}", body.status);
        (StatusCode::ACCEPTED, Json(body)).into_response()
    }
}

/// The body of a 202: the release that will be reconciled, or the reason why none will.
#[derive(Debug, Default, Serialize)]
struct Accepted<'a> {
    status: &'static str,
    cluster: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}
