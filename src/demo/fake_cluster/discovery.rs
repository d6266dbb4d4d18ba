//! Which versions of the group the API server serves.

use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::{FakeCluster, answer::Refusal, page::json_response, path::Path};
use crate::domain::alert::HELM_GROUP;

impl FakeCluster {
    pub(super) fn serves(&self, version: &str) -> bool {
        self.lock().versions.contains(&version)
    }

    /// `/apis/{group}`, which says what versions there are.
    pub(super) fn discover(&self, path: &Path) -> Option<Result<Response, Refusal>> {
        if !path.plural.is_empty() {
            return None;
        }
        let versions = self.lock().versions.clone();
        let names = |version: &&str| json!({"groupVersion": format!("{HELM_GROUP}/{version}"), "version": version});
        let all: Vec<_> = versions.iter().map(names).collect();
        if path.group != HELM_GROUP || !path.version.is_empty() || all.is_empty() {
            return Some(Err(Refusal::no_such_path()));
        }
        let group = json!({"kind": "APIGroup", "apiVersion": "v1", "name": HELM_GROUP,
            "versions": all, "preferredVersion": all[0]});
        Some(Ok(json_response(StatusCode::OK, &group)))
    }
}
