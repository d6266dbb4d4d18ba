//! An in-memory Kubernetes API: an axum [`Router`] that `kube::Client` takes for a server.
//!
//! It keeps the manners of the real one that matter to us, and never kinder ones
//! (`tests/it/fake_cluster.rs` holds it to them): compare-and-swap on `resourceVersion`, a patch that
//! changes nothing writes nothing, spec changes raise `generation`, `status` has a door of its own,
//! finalizers hold deletion up, watches from the past expire, lists come in pages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State as Extract,
    response::{IntoResponse, Response},
};
use http::{Method, Request, StatusCode, header};
use jiff::fmt::rfc2822::DateTimePrinter;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::{clock::Clock, domain::alert::HELM_GROUP};

mod answer;
mod discovery;
mod events;
mod fault;
mod leases;
mod page;
mod path;
mod rights;
mod store;
mod stream;
mod writes;

pub use answer::Refusal;
use events::Events;
pub use fault::{Fault, FaultKind};
use leases::Leases;
use page::{json_response, names_only, without_contents};
use path::Path;
pub use rights::Rights;
use store::Store;
pub use store::{Change, Key};
pub use writes::Writes;

/// A Kubernetes API server that serves HelmReleases. Clones share it.
#[derive(Clone, Debug)]
pub struct FakeCluster {
    inner: Arc<Mutex<Inner>>,
    /// Tells watches that something was written, in the order in which they began to wait: a
    /// `tokio::sync::watch` would wake them in a random one.
    written: broadcast::Sender<()>,
    clock: Clock,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    leases: Leases,
    events: Events,
    versions: Vec<&'static str>,
    requests: Vec<Call>,
    faults: Vec<Fault>,
    rights: Option<Rights>,
    /// What a broken proxy answers to every GET.
    nonsense: Option<String>,
    /// Raised to end all watches.
    cut: u64,
}

/// A request as the API server got it.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// `get`, `list`, `watch`, `create`, `patch`, `delete` or `discover`.
    pub verb: &'static str,
    /// Path and query.
    pub uri: String,
    /// The body, null where there is none.
    pub body: Value,
}

impl FakeCluster {
    /// An empty cluster with today's Flux API.
    pub fn new(clock: Clock) -> Self {
        Self::serving(&["v2"], clock)
    }

    /// An empty cluster that serves these versions of HelmRelease.
    pub fn serving(versions: &[&'static str], clock: Clock) -> Self {
        let inner = Inner {
            store: Store::default(),
            leases: Leases::default(),
            events: Events::default(),
            versions: versions.to_vec(),
            requests: Vec::new(),
            faults: Vec::new(),
            rights: None,
            nonsense: None,
            cut: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            written: broadcast::Sender::new(1),
            clock,
        }
    }

    /// The API as a service.
    pub fn router(&self) -> Router {
        Router::new().fallback(handle).with_state(self.clone())
    }

    /// A client of it, without a socket. Needs a tokio runtime.
    pub fn client(&self) -> Client {
        Client::new(self.router(), "default")
    }

    /// The object as stored.
    pub fn get(&self, key: &Key) -> Option<Value> {
        self.lock().store.get(key).cloned()
    }

    /// Every version of the object so far, as a watch would have seen them.
    pub fn versions_of(&self, key: &Key) -> Vec<Value> {
        self.lock().store.versions_of(key)
    }

    /// Every write from number `from` on, in order.
    pub fn changes(&self, from: usize) -> Vec<Change> {
        self.lock().store.changes(from)
    }

    /// All objects.
    pub fn keys(&self) -> Vec<Key> {
        self.lock().store.keys()
    }

    /// Creates, or merges into, an object as `kubectl apply` would: everything but status.
    pub fn apply(&self, key: &Key, patch: &Value) {
        let now = self.clock.now();
        let _ = self.change(|store| {
            if store.get(key).is_some() {
                store.patch(key, patch, false)
            } else {
                let mut object =
                    json!({"metadata": {"name": key.name, "namespace": key.namespace}});
                json_patch::merge(&mut object, patch);
                store.create(key, object, now)
            }
        });
    }

    /// Changes the status, as the controller does.
    pub fn write_status(&self, key: &Key, status: &Value) {
        let _ = self.change(|store| store.replace_status(key, status));
    }

    /// Asks for deletion; finalizers hold it up.
    pub fn delete(&self, key: &Key) {
        let now = self.clock.now();
        let _ = self.change(|store| store.delete(key, now));
    }

    /// Sets a switch.
    pub fn fault(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Takes all switches back.
    pub fn no_faults(&self) {
        self.lock().faults.clear();
    }

    /// Answers every GET with this text and 200, as a broken proxy does.
    pub fn answer_gets_with(&self, text: Option<String>) {
        self.lock().nonsense = text;
    }

    /// Serves other API versions from now on, as after an upgrade of Flux.
    pub fn serve_versions(&self, versions: &[&'static str]) {
        self.lock().versions = versions.to_vec();
    }

    /// Forgets old versions: watches and pages from before expire.
    pub fn compact(&self) {
        self.lock().store.compact();
    }

    /// Ends all watches.
    pub fn cut_watches(&self) {
        self.lock().cut += 1;
        let _ = self.written.send(());
    }

    /// The calls that came in over the API so far.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes on when the caller has hung up, as a server does.
async fn handle(cluster: Extract<FakeCluster>, request: Request<Body>) -> Response {
    let clock = cluster.clock.clone();
    let handled = tokio::spawn(carry_out(cluster, request)).await;
    let mut answer = handled.unwrap_or_else(|_| Refusal::fault(500).into_response());
    let now = DateTimePrinter::new().timestamp_to_rfc9110_string(&clock.now());
    if let Ok(now) = now.unwrap_or_default().parse() {
        answer.headers_mut().insert(header::DATE, now);
    }
    answer
}

async fn carry_out(Extract(cluster): Extract<FakeCluster>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, 3 << 20).await else {
        return Refusal::too_large().into_response();
    };
    let Some(path) = Path::parse(&parts.uri) else {
        return Refusal::no_such_path().into_response();
    };
    let verb = path.verb(&parts.method);
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let call = Call {
        verb,
        uri: parts.uri.to_string(),
        body: body.clone(),
    };
    cluster.lock().requests.push(call);

    let nonsense = cluster.lock().nonsense.clone().filter(|_| verb == "get");
    if let Some(text) = nonsense {
        return text.into_response();
    }
    let faults = cluster.strike(verb, &path);
    for fault in &faults {
        match fault {
            FaultKind::Slow(delay) => tokio::time::sleep(*delay).await,
            FaultKind::SlowItems(each) if !names_only(&parts.headers) => {
                let limit = path.query("limit").and_then(|limit| limit.parse().ok());
                tokio::time::sleep(*each * limit.unwrap_or(1)).await;
            }
            FaultKind::Refuse(code) => return Refusal::fault(*code).into_response(),
            FaultKind::WriteBefore => {
                let touched = json!({"metadata": {"labels": {"touched": cluster.lock().store.newest().to_string()}}});
                if let Some(key) = path.key() {
                    cluster.apply(&key, &touched);
                }
            }
            FaultKind::LoseAnswer
            | FaultKind::SlowAnswer(_)
            | FaultKind::SlowBody(_)
            | FaultKind::SlowItems(_) => {}
        }
    }
    let json_body = bytes.is_empty() || body.is_object();
    let content = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let answer = if json_body {
        let answer = cluster.answer(&path, &parts.method, content, body);
        if verb == "list" && names_only(&parts.headers) {
            match answer {
                Ok(page) => Ok(without_contents(page).await),
                refused => refused,
            }
        } else {
            answer
        }
    } else {
        Err(Refusal::bad_request(
            "the body of the request is not a JSON object",
        ))
    };
    for fault in &faults {
        if let FaultKind::SlowAnswer(delay) = fault {
            tokio::time::sleep(*delay).await;
        }
    }
    if faults
        .iter()
        .any(|fault| matches!(fault, FaultKind::LoseAnswer))
    {
        return Refusal::fault(504).into_response();
    }
    let answer = answer.unwrap_or_else(IntoResponse::into_response);
    let slow_body = faults.iter().find_map(|fault| match fault {
        FaultKind::SlowBody(pause) => Some(*pause),
        _ => None,
    });
    match slow_body {
        Some(pause) => stream::in_parts(answer, pause).await,
        None => answer,
    }
}

impl FakeCluster {
    fn answer(
        &self,
        path: &Path,
        method: &Method,
        content: &str,
        body: Value,
    ) -> Result<Response, Refusal> {
        if let Some(discovered) = self.discover(path) {
            return discovered;
        }
        if path.group == "coordination.k8s.io" && path.version == "v1" && path.plural == "leases" {
            return self.lease(path, method, body);
        }
        if path.group.is_empty() && path.version == "v1" && path.plural == "events" {
            return self.event(path, method, body);
        }
        if path.group != HELM_GROUP || path.plural != "helmreleases" || !self.serves(&path.version)
        {
            return Err(Refusal::no_such_path());
        }
        let now = self.clock.now();
        let version = path.version.as_str();
        match (method, path.key()) {
            (&Method::GET, Some(key)) => {
                let object = self.get(&key).ok_or_else(|| Refusal::not_found(&key))?;
                Ok(json_response(
                    StatusCode::OK,
                    &store::in_version(object, version),
                ))
            }
            (&Method::GET, None) if path.flag("watch") => stream::watch(self, path),
            (&Method::GET, None) => {
                let page = self.lock().store.list(path)?;
                Ok(json_response(StatusCode::OK, &page))
            }
            (&Method::PATCH, Some(key)) => {
                if content != "application/merge-patch+json" {
                    return Err(Refusal::unsupported_patch(content));
                }
                let on_status = path.subresource.as_deref() == Some("status");
                let manager = path.query("fieldManager").unwrap_or("unknown").to_owned();
                let patched = self.change(|store| {
                    store.writes_as(&manager);
                    store.patch(&key, &body, on_status)
                })?;
                Ok(json_response(
                    StatusCode::OK,
                    &store::in_version(patched, version),
                ))
            }
            (&Method::POST, None) => {
                let namespace = path.namespace.clone().ok_or_else(Refusal::no_such_path)?;
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                let key = Key::new(&namespace, name);
                let created = self.change(|store| store.create(&key, body.clone(), now))?;
                Ok(json_response(
                    StatusCode::CREATED,
                    &store::in_version(created, version),
                ))
            }
            (&Method::DELETE, Some(key)) => {
                let deleted = self.change(|store| store.delete(&key, now))?;
                Ok(json_response(
                    StatusCode::OK,
                    &store::in_version(deleted, version),
                ))
            }
            _ => Err(Refusal::method_not_allowed()),
        }
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Store) -> Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        let changed = {
            let mut inner = self.lock();
            inner.store.tick(self.clock.now());
            let changed = change(&mut inner.store);
            inner.store.writes_as("");
            changed
        };
        // There may be no receiver.
        let _ = self.written.send(());
        changed
    }
}
