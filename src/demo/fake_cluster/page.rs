//! Answers in JSON, and pages that hold only the metadata of their objects.

use axum::{
    body::to_bytes,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::{Value, json};

/// Whether only the metadata of objects is requested.
pub(super) fn names_only(headers: &http::HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("as=PartialObjectMetadataList"))
}

/// A page of `PartialObjectMetadata`.
pub(super) async fn without_contents(page: Response) -> Response {
    let bytes = to_bytes(page.into_body(), usize::MAX)
        .await
        .unwrap_or_default();
    let mut page: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    page["kind"] = json!("PartialObjectMetadataList");
    page["apiVersion"] = json!("meta.k8s.io/v1");
    for item in page["items"].as_array_mut().into_iter().flatten() {
        *item = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": item["metadata"]});
    }
    json_response(StatusCode::OK, &page)
}

pub(super) fn json_response(status: StatusCode, value: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}
