//! The answer to an alert that is not accepted.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use super::problem::Problem;
use crate::{clusters::ClusterEntry, domain::alert_result::AlertResult};

/// A refusal, before or after the sender is known.
pub(super) struct Rejection {
    pub(super) answer: AlertResult,
    pub(super) cluster: Option<Arc<str>>,
    pub(super) detail: String,
}

impl Rejection {
    /// Refused after the sender is known.
    pub(super) fn of(entry: &ClusterEntry, answer: AlertResult, detail: impl Into<String>) -> Self {
        Self {
            answer,
            cluster: Some(Arc::clone(&entry.name)),
            detail: detail.into(),
        }
    }

    /// Refused before that.
    pub(super) fn early(answer: AlertResult, detail: impl Into<String>) -> Self {
        Self {
            answer,
            cluster: None,
            detail: detail.into(),
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let status = match self.answer {
            AlertResult::Unauthorized => {
                // One and the same body, whatever was wrong; the log says more.
                let detail = "X-Signature is missing or does not match; check the Secret's key `token` and the cluster's name";
                return Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
            }
            AlertResult::Contradiction | AlertResult::Scope => StatusCode::FORBIDDEN,
            AlertResult::Malformed | AlertResult::Stale => StatusCode::BAD_REQUEST,
            AlertResult::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            AlertResult::TooSlow => StatusCode::REQUEST_TIMEOUT,
            AlertResult::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            AlertResult::NotFound => StatusCode::NOT_FOUND,
            AlertResult::Method => {
                return Problem::new(StatusCode::METHOD_NOT_ALLOWED, self.detail)
                    .with(header::ALLOW, "POST")
                    .into_response();
            }
            AlertResult::Busy
            | AlertResult::NoAccess
            | AlertResult::QueueFull
            | AlertResult::Closing
            | AlertResult::Standby => {
                // More than the 2 s of notification-controller's first wait would eat its 15 s.
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, self.detail);
                return problem.with(header::RETRY_AFTER, "2").into_response();
            }
            AlertResult::Queued
            | AlertResult::Merged
            | AlertResult::Ignored
            | AlertResult::Duplicate => StatusCode::ACCEPTED,
        };
        Problem::new(status, self.detail).into_response()
    }
}
