//! Watches: a response without an end, with one JSON line for each write.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    body::{Body, to_bytes},
    response::Response,
};
use bytes::Bytes;
use futures::stream;
use http::header;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{FakeCluster, Refusal, Writes, path::Path, store};
use crate::domain::alert::HELM_GROUP;

/// The API server ends watches after some minutes of its own accord.
const LONGEST: Duration = Duration::from_secs(300);

struct Watch {
    cluster: FakeCluster,
    written: Writes,
    version: String,
    namespace: Option<String>,
    seen: u64,
    cut: u64,
    until: Instant,
    ready: VecDeque<Value>,
    over: bool,
}

/// The same answer, with a body that comes in a hundred parts, each after a pause.
pub(super) async fn in_parts(answer: Response, pause: Duration) -> Response {
    let (parts, body) = answer.into_parts();
    // An answer that cannot be collected is empty; those of this cluster are all in memory.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let size = bytes.len().div_ceil(100).max(1);
    let rest = stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let part = rest.split_to(size.min(rest.len()));
        Some((Ok::<_, Infallible>(part), rest))
    });
    Response::from_parts(parts, Body::from_stream(rest))
}

/// Answers a watch request. A version that is no longer kept is not an error of the request: the stream
/// says so in its first event.
pub(super) fn watch(cluster: &FakeCluster, path: &Path) -> Result<Response, Refusal> {
    if path
        .query("labelSelector")
        .or(path.query("fieldSelector"))
        .is_some()
    {
        return Err(Refusal::bad_request("selectors are not served here"));
    }
    let asked = path.query("resourceVersion").map(str::parse).transpose();
    let asked: Option<u64> =
        asked.map_err(|_| Refusal::bad_request("resourceVersion: Invalid value"))?;
    let limit = path
        .query("timeoutSeconds")
        .and_then(|seconds| seconds.parse().ok())
        .map_or(LONGEST, Duration::from_secs);
    let mut watch = {
        let written = cluster.writes();
        let inner = cluster.lock();
        Watch {
            cluster: cluster.clone(),
            written,
            version: path.version.clone(),
            namespace: path.namespace.clone(),
            seen: asked
                .filter(|version| *version > 0)
                .unwrap_or(inner.store.newest()),
            cut: inner.cut,
            until: Instant::now() + limit.min(LONGEST),
            ready: VecDeque::new(),
            over: false,
        }
    };
    // Version 0 and none at all mean: whatever is there, then what comes.
    if path.flag("sendInitialEvents") || asked.is_none_or(|version| version == 0) {
        watch.send_initial(path.flag("sendInitialEvents"));
    }
    let lines = stream::unfold(watch, |mut watch| async move {
        watch.next().await.map(|line| (line, watch))
    });
    let body = Body::from_stream(lines);
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|_| Refusal::bad_request("no stream"))
}

impl Watch {
    fn send_initial(&mut self, bookmark: bool) {
        let inner = self.cluster.lock();
        self.seen = inner.store.newest();
        let objects = inner
            .store
            .keys()
            .into_iter()
            .filter_map(|key| inner.store.get(&key).cloned());
        let events: Vec<_> = objects
            .filter(|object| self.wants(object))
            .map(|object| self.event("ADDED", object))
            .collect();
        drop(inner);
        self.ready.extend(events);
        if bookmark {
            let end = json!({"k8s.io/initial-events-end": "true"});
            self.ready.push_back(self.bookmark(&end));
        }
    }

    async fn next(&mut self) -> Option<Result<Bytes, std::convert::Infallible>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(Bytes::from(format!("{event}\n"))));
            }
            if self.over || self.cluster.lock().cut != self.cut {
                return None;
            }
            self.collect();
            if !self.ready.is_empty() {
                continue;
            }
            tokio::select! {
                biased;
                () = self.written.next() => {}
                () = tokio::time::sleep_until(self.until) => {
                    self.over = true;
                    let bookmark = self.bookmark(&json!({}));
                    self.ready.push_back(bookmark);
                }
            }
        }
    }

    /// Takes over what was written since the last time.
    fn collect(&mut self) {
        let changes = self.cluster.lock().store.since(self.seen);
        match changes {
            Ok(changes) => {
                for change in changes {
                    self.seen = change.version;
                    if self.wants(&change.object) {
                        self.ready
                            .push_back(self.event(change.kind, Value::clone(&change.object)));
                    }
                }
            }
            Err(expired) => {
                self.over = true;
                self.ready
                    .push_back(json!({"type": "ERROR", "object": expired.to_value()}));
            }
        }
    }

    fn wants(&self, object: &Value) -> bool {
        self.namespace
            .as_ref()
            .is_none_or(|wanted| object["metadata"]["namespace"] == wanted.as_str())
    }

    fn event(&self, kind: &str, object: Value) -> Value {
        json!({"type": kind, "object": store::in_version(object, &self.version)})
    }

    fn bookmark(&self, annotations: &Value) -> Value {
        json!({"type": "BOOKMARK", "object": {
            "kind": "HelmRelease", "apiVersion": format!("{HELM_GROUP}/{}", self.version),
            "metadata": {"resourceVersion": self.seen.to_string(), "annotations": annotations}}})
    }
}
