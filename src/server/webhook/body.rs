//! Reading a body from somebody we do not know yet: bounded in size and in time.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::LengthLimitError;

use super::Rejection;
use crate::domain::answer::Answer;

/// The most bytes of an event. Flux bounds the message at 39,000 characters
/// (`fluxcd/pkg:apis/event/v1beta1/event.go`), so this is ample.
pub(super) const LIMIT: usize = 256 * 1024;

/// How long a body may take. notification-controller gives the whole exchange 15 s by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether the body claims to be JSON. Flux always says so.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// The whole body.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Rejection> {
    let too_large = || Rejection::early(Answer::TooLarge, "an event has at most 262144 bytes");
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: u64| bytes > LIMIT as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(TIMEOUT, to_bytes(body, LIMIT)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(match error.into_inner().is::<LengthLimitError>() {
            true => too_large(),
            false => Rejection::early(Answer::TooSlow, "the body ended early"),
        }),
        Err(_) => Err(Rejection::early(
            Answer::TooSlow,
            "the body did not arrive within 10 s",
        )),
    }
}
