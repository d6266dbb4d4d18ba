//! Reads the body of a request whose sender is not known yet: bounded in size and in time.

use std::{pin::pin, time::Duration};

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Rejection;
use crate::domain::alert_result::AlertResult;

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

/// How long the next part of a body may take: a sender who stops keeps no room occupied.
const PAUSE: Duration = Duration::from_secs(3);

/// The whole body, and the room it takes up.
pub(super) async fn read<'a>(
    headers: &HeaderMap,
    body: Body,
    room: &'a Semaphore,
) -> Result<(Bytes, Vec<SemaphorePermit<'a>>), Rejection> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: u64| bytes > LIMIT as u64) {
        return Err(too_large());
    }
    let mut collecting = pin!(collect(body, room));
    // A body that has arrived needs no timer.
    if let Some(read) = collecting.as_mut().now_or_never() {
        return read;
    }
    match tokio::time::timeout(TIMEOUT, collecting).await {
        Ok(read) => read,
        Err(_) => Err(too_slow("the body did not arrive within 10 s")),
    }
}

async fn collect(
    mut body: Body,
    room: &Semaphore,
) -> Result<(Bytes, Vec<SemaphorePermit<'_>>), Rejection> {
    let (mut bytes, mut taken) = (BytesMut::new(), Vec::new());
    loop {
        let frame = match body.frame().now_or_never() {
            Some(frame) => Ok(frame),
            None => tokio::time::timeout(PAUSE, body.frame()).await,
        };
        let frame = match frame {
            Err(_) => return Err(too_slow("nothing of the body arrived for 3 s")),
            Ok(None) => return Ok((bytes.freeze(), taken)),
            Ok(Some(Err(_))) => return Err(too_slow("the body ended early")),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > LIMIT {
            return Err(too_large());
        }
        let more = (bytes.len() + data.len()).div_ceil(1024) - bytes.len().div_ceil(1024);
        let busy = |_| Rejection::early(AlertResult::Busy, "too many requests at once");
        taken.push(
            room.try_acquire_many(u32::try_from(more).unwrap_or(u32::MAX))
                .map_err(busy)?,
        );
        // A usual event comes in one piece, and is not copied.
        if bytes.is_empty() && body.is_end_stream() {
            return Ok((data, taken));
        }
        bytes.extend_from_slice(&data);
    }
}

fn too_large() -> Rejection {
    Rejection::early(AlertResult::TooLarge, "an event has at most 262144 bytes")
}

fn too_slow(how: &str) -> Rejection {
    Rejection::early(AlertResult::TooSlow, how)
}
