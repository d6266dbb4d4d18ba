//! The files of the page.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};

use crate::domain::short_hash::short_hash;

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/page.js");
const ICON: &str = include_str!("assets/icon.svg");
const OPENAPI: &str = include_str!("assets/openapi.json");

/// One file.
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match name.as_str() {
        "style.css" => cached(&headers, "text/css; charset=utf-8", STYLE),
        "page.js" => cached(&headers, "text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => cached(&headers, "image/svg+xml", ICON),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The description of the API.
pub(super) async fn openapi(headers: HeaderMap) -> Response {
    cached(&headers, "application/json", OPENAPI)
}

/// A file that the browser has already is not sent again.
fn cached(headers: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    let tag = format!("\"{}\"", short_hash(text));
    let known = headers.get(header::IF_NONE_MATCH);
    let answer = [
        (header::ETAG, tag.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    // A proxy that compresses marks the tag as weak.
    if known.is_some_and(|known| known.to_str().is_ok_and(|known| known.ends_with(&tag))) {
        return (StatusCode::NOT_MODIFIED, answer).into_response();
    }
    (answer, [(header::CONTENT_TYPE, kind)], text).into_response()
}
