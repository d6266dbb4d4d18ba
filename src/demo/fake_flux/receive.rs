//! The receiving side of notification-controller: `POST /` takes the events of controllers, drops duplicates, and hands
//! each to the Alerts of the users (`fluxcd/notification-controller:internal/server`).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State as Extract,
    routing::post,
};
use http::{Request, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};

use super::{Notifier, Transport, notify::RATE_LIMIT};
use crate::domain::alert::HELM_GROUP;

/// A message as people read it in their chat: what the Provider type `slack` makes of an event
/// (`internal/notifier/slack.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `info` or `error`, which is the colour.
    pub severity: String,
    /// `helmrelease/NAME.NAMESPACE`.
    pub title: String,
    /// The text.
    pub text: String,
    /// CamelCase reason.
    pub reason: String,
    /// What is left of the metadata, without the prefixes.
    pub fields: BTreeMap<String, String>,
}

/// The endpoint for events. Clones share it.
#[derive(Clone)]
pub struct EventReceiver {
    /// Sends the webhook alerts of the same cluster.
    notifier: Notifier,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    seen: HashMap<String, Instant>,
    messages: Vec<Message>,
    /// Answers that are still to be 503.
    failures: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    involved_object: Object,
    severity: String,
    message: String,
    reason: String,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
}

impl EventReceiver {
    /// An endpoint whose events go to one chat, and to the Provider of `notifier`.
    pub fn new(notifier: Notifier) -> Self {
        Self {
            notifier,
            state: Arc::default(),
        }
    }

    /// The endpoint as a service.
    pub fn router(&self) -> Router {
        let receive =
            |Extract(receiver): Extract<Self>, body: Bytes| async move { receiver.receive(&body) };
        Router::new()
            .route("/", post(receive))
            .with_state(self.clone())
    }

    /// Requests to it, without a socket.
    pub fn transport(&self) -> Transport {
        let router = ServiceExt::<Request<Body>>::map_err(self.router(), BoxError::from);
        BoxCloneSyncService::new(router)
    }

    /// All messages in the chat so far.
    pub fn messages(&self) -> Vec<Message> {
        self.state().messages.clone()
    }

    /// Answers the next requests with 503.
    pub fn fail(&self, times: usize) {
        self.state().failures = times;
    }

    fn receive(&self, body: &[u8]) -> StatusCode {
        {
            let mut state = self.state();
            if state.failures > 0 {
                state.failures -= 1;
                return StatusCode::SERVICE_UNAVAILABLE;
            }
        }
        let Ok(event) = serde_json::from_slice::<Event>(body) else {
            return StatusCode::BAD_REQUEST;
        };
        let Ok(mut whole) = serde_json::from_slice::<Value>(body) else {
            return StatusCode::BAD_REQUEST;
        };
        let object = &event.involved_object;
        let fields = cleaned(
            event.metadata.clone().unwrap_or_default(),
            &object.api_version,
        );
        if self.is_duplicate(&event, &fields) {
            return StatusCode::TOO_MANY_REQUESTS;
        }
        // The Alerts select HelmReleases.
        if object.kind != "HelmRelease" || !object.api_version.starts_with(HELM_GROUP) {
            return StatusCode::ACCEPTED;
        }
        let mut fields = fields;
        fields.remove("token");
        whole["metadata"] = serde_json::json!(fields);
        self.notifier.forward(&event.severity, whole);
        self.state().messages.push(Message {
            severity: event.severity,
            title: format!("helmrelease/{}.{}", object.name, object.namespace),
            text: event.message,
            reason: event.reason,
            fields,
        });
        StatusCode::ACCEPTED
    }

    /// By `eventKeyFunc` of `event_server.go`.
    fn is_duplicate(&self, event: &Event, fields: &BTreeMap<String, String>) -> bool {
        let object = &event.involved_object;
        let kept = ["originRevision", "revision", "token"].map(|name| fields.get(name));
        let key = format!(
            "{}/{}/{}/{}/{kept:?}",
            object.name, object.namespace, object.kind, event.message
        );
        let last = self.state().seen.insert(key, Instant::now());
        last.is_some_and(|last| last.elapsed() < RATE_LIMIT)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys of the object's group and of events survive, without their prefix (`cleanupMetadata`).
fn cleaned(metadata: BTreeMap<String, String>, api_version: &str) -> BTreeMap<String, String> {
    let group = api_version.split('/').next().unwrap_or_default();
    let prefixes = ["event.toolkit.fluxcd.io/".to_owned(), format!("{group}/")];
    let kept = metadata.into_iter().filter_map(|(name, value)| {
        let short = prefixes
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix.as_str()))?;
        let kept = !["checksum", "digest"].contains(&short);
        kept.then(|| (short.to_owned(), value))
    });
    kept.collect()
}
