//! What Flux and others send to the webhook.

use axum::body::Body;
use helmreboot::demo::fake_cluster::Key;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

impl TestApp {
    /// Flux tells of a failed upgrade in cluster `a`.
    pub(crate) async fn alert(&self, release: &Key) -> Answer {
        self.alert_from("a", release).await
    }

    pub(crate) async fn alert_from(&self, cluster: &str, release: &Key) -> Answer {
        self.send(cluster, &self.event(cluster, release)).await
    }

    /// The event Flux would send now.
    pub(crate) fn event(&self, cluster: &str, release: &Key) -> Value {
        let uid = self
            .cluster(cluster)
            .get(release)
            .map(|object| object["metadata"]["uid"].clone());
        json!({
            "involvedObject": {"kind": "HelmRelease", "namespace": release.namespace, "name": release.name,
                "uid": uid, "apiVersion": "helm.toolkit.fluxcd.io/v2", "resourceVersion": "1"},
            "severity": "error", "timestamp": self.clock.now().to_string(),
            "message": format!("Helm upgrade failed for release {}/{} with chart app@1.0.0: {SLOW}\n\nLast Helm logs:\n\n{}",
                release.namespace, release.name, self.clock.now()),
            "reason": "UpgradeFailed", "metadata": {"cluster": cluster, "revision": "1.0.0"},
            "reportingController": "helm-controller", "reportingInstance": "helm-controller-0",
        })
    }

    /// Posts an event as the cluster's notification-controller would.
    pub(crate) async fn send(&self, cluster: &str, event: &Value) -> Answer {
        let body = event.to_string();
        let signature = self.keys[cluster].sign(body.as_bytes());
        self.post(
            &format!("/webhook/{cluster}"),
            &[("X-Signature", &signature)],
            body,
        )
        .await
    }

    /// Posts anything.
    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::post(path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.request(request.body(body.into()).expect("a request"))
            .await
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> Answer {
        let response = self
            .webhook
            .clone()
            .oneshot(request)
            .await
            .expect("a router never fails");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(crate) fn sign(&self, cluster: &str, body: &str) -> String {
        self.keys[cluster].sign(body.as_bytes())
    }
}
