//! notification-controller: drops what it has just seen, signs, posts, and tries again a few times.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::{BoxError, Service, ServiceExt, util::BoxCloneSyncService};

use crate::{
    domain::signature::{Key as SigningKey, SIGNATURE_HEADER},
    http_client::Transport,
};

/// The same event within this time is sent once (`--rate-limit-interval`).
pub(super) const RATE_LIMIT: Duration = Duration::from_mins(5);
/// Waits between tries (go-retryablehttp with `RetryMax` 4).
const RETRIES: [u64; 4] = [2, 4, 8, 16];
/// `Provider.spec.timeout` as in `flux-config`.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The Provider and the Alert.
#[derive(Clone)]
pub struct Provider {
    /// `Provider.spec.address`.
    pub address: String,
    /// The key `token` of the Provider's Secret.
    pub key: SigningKey,
    /// `Alert.spec.eventMetadata.cluster`.
    pub cluster: String,
    /// `Alert.spec.eventSeverity: info` instead of `error`.
    pub info: bool,
    /// How requests get there.
    pub transport: Transport,
}

/// An alert that went out.
#[derive(Clone, Debug)]
pub struct Alert {
    /// When.
    pub at: Instant,
    /// `info` or `error`.
    pub severity: String,
    /// CamelCase reason.
    pub reason: String,
    /// The name of the release.
    pub name: String,
    /// The exact bytes.
    pub body: String,
    /// The signature over them.
    pub signature: String,
}

/// notification-controller. Clones share it.
#[derive(Clone)]
pub struct Notifier {
    target: Option<Arc<Provider>>,
    speed: f64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    seen: HashMap<String, Instant>,
    alerts: Vec<Alert>,
}

/// An event of helm-controller.
pub(super) struct Event<'a> {
    pub(super) object: &'a Value,
    pub(super) severity: &'static str,
    pub(super) reason: &'a str,
    pub(super) message: String,
    /// The chart's version, where a release was tried.
    pub(super) revision: Option<&'a str>,
}

impl Notifier {
    /// Without a target, events are only noted.
    pub fn new(target: Option<Provider>, speed: f64) -> Self {
        Self {
            target: target.map(Arc::new),
            speed,
            state: Arc::default(),
        }
    }

    pub(super) fn alerts(&self) -> Vec<Alert> {
        self.state().alerts.clone()
    }

    /// Takes an event, answers at once, and delivers it in the background: at most once for each try.
    pub(super) fn event(&self, event: &Event<'_>, now: Timestamp) {
        let metadata = &event.object["metadata"];
        let (namespace, name) = (&metadata["namespace"], &metadata["name"]);
        {
            let mut state = self.state();
            let key = format!("{namespace}/{name}/{:?}/{}", event.revision, event.message);
            let last = state.seen.insert(key, Instant::now());
            if last.is_some_and(|last| last.elapsed() < RATE_LIMIT.div_f64(self.speed)) {
                return;
            }
        }
        let cluster = self
            .target
            .as_ref()
            .map_or("a", |target| target.cluster.as_str());
        if event.severity == "info" && self.target.as_ref().is_some_and(|target| !target.info) {
            return;
        }
        let mut labels = json!({"cluster": cluster});
        if let Some(revision) = event.revision {
            labels = json!({"app-version": "1", "cluster": cluster, "revision": revision});
        }
        let body = json!({
            "involvedObject": {"kind": "HelmRelease", "namespace": namespace, "name": name,
                "uid": metadata["uid"], "apiVersion": "helm.toolkit.fluxcd.io/v2",
                "resourceVersion": metadata["resourceVersion"]},
            "severity": event.severity, "timestamp": format!("{now:.0}"), "message": event.message,
            "reason": event.reason, "metadata": labels,
            "reportingController": "helm-controller", "reportingInstance": "helm-controller-demo",
        });
        let body = body.to_string();
        let signature = self
            .target
            .as_ref()
            .map(|target| target.key.sign(body.as_bytes()))
            .unwrap_or_default();
        let alert = Alert {
            at: Instant::now(),
            severity: event.severity.into(),
            reason: event.reason.into(),
            name: name.as_str().unwrap_or_default().into(),
            body: body.clone(),
            signature: signature.clone(),
        };
        self.state().alerts.push(alert);
        if let Some(target) = self.target.clone() {
            let deliver = deliver(target, body, signature, self.speed);
            tokio::spawn(tokio::time::timeout(TIMEOUT.div_f64(self.speed), deliver));
        }
    }

    /// Delivers an event of another controller, if the Alert carries its severity. `cluster` is added to its metadata.
    pub(super) fn forward(&self, severity: &str, mut event: Value) {
        let Some(target) = self.target.clone() else {
            return;
        };
        if severity == "info" && !target.info {
            return;
        }
        event["metadata"]["cluster"] = json!(target.cluster);
        let body = event.to_string();
        let signature = target.key.sign(body.as_bytes());
        let deliver = deliver(target, body, signature, self.speed);
        tokio::spawn(tokio::time::timeout(TIMEOUT.div_f64(self.speed), deliver));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Posts until it is answered for good: connection errors, 429 and 5xx except 501 are tried again.
async fn deliver(target: Arc<Provider>, body: String, signature: String, speed: f64) {
    for wait in RETRIES.into_iter().map(Some).chain([None]) {
        let Ok(request) = request(&target.address, &body, &signature) else {
            return;
        };
        let answer = post(target.transport.clone(), request).await;
        let retried = match &answer {
            Err(_) => true,
            Ok(answer) => match answer.status() {
                StatusCode::NOT_IMPLEMENTED => false,
                status => status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error(),
            },
        };
        let Some(wait) = wait.filter(|_| retried) else {
            return;
        };
        let asked = answer.ok().and_then(|answer| {
            answer
                .headers()
                .get(header::RETRY_AFTER)?
                .to_str()
                .ok()?
                .parse()
                .ok()
        });
        tokio::time::sleep(Duration::from_secs(asked.unwrap_or(wait)).div_f64(speed)).await;
    }
}

fn request(address: &str, body: &str, signature: &str) -> http::Result<Request<Body>> {
    Request::post(address)
        .header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )
        .header("Gotk-Component", "helm-controller")
        .header(header::USER_AGENT, "Go-http-client/1.1")
        .header(SIGNATURE_HEADER, signature)
        .body(Body::from(body.to_owned()))
}

async fn post(
    mut transport: Transport,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    transport.ready().await?.call(request).await
}

/// A transport over real HTTP.
pub fn over_http() -> Transport {
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
    BoxCloneSyncService::new(
        client
            .map_response(|response| response.map(Body::new))
            .map_err(BoxError::from),
    )
}
