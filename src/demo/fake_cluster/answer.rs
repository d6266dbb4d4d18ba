//! Refusals, in the shape of a Kubernetes `Status`.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::Key;
use crate::domain::alert::HELM_GROUP;

/// An error answer.
#[derive(Debug)]
pub struct Refusal(Kind);

#[derive(Debug)]
enum Kind {
    Status {
        code: u16,
        reason: &'static str,
        message: String,
        details: Value,
    },
    /// What the server says outside of any API.
    Text,
}

impl Refusal {
    pub(super) fn status(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Kind::Status {
            code,
            reason,
            message: message.into(),
            details: json!({}),
        })
    }

    fn about(self, key: &Key) -> Self {
        let details = json!({"name": key.name, "group": HELM_GROUP, "kind": "helmreleases"});
        match self.0 {
            Kind::Status {
                code,
                reason,
                message,
                ..
            } => Self(Kind::Status {
                code,
                reason,
                message,
                details,
            }),
            Kind::Text => self,
        }
    }

    pub(super) fn no_such_path() -> Self {
        Self(Kind::Text)
    }

    pub(super) fn not_found(key: &Key) -> Self {
        let message = format!("helmreleases.{HELM_GROUP} \"{}\" not found", key.name);
        Self::status(404, "NotFound", message).about(key)
    }

    pub(super) fn conflict(key: &Key) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on helmreleases.{HELM_GROUP} \"{}\": the object has been modified; \
             please apply your changes to the latest version and try again",
            key.name
        );
        Self::status(409, "Conflict", message).about(key)
    }

    pub(super) fn exists(key: &Key) -> Self {
        let message = format!("helmreleases.{HELM_GROUP} \"{}\" already exists", key.name);
        Self::status(409, "AlreadyExists", message).about(key)
    }

    pub(super) fn invalid(key: &Key, what: &str) -> Self {
        let message = format!(
            "HelmRelease.{HELM_GROUP} \"{}\" is invalid: {what}",
            key.name
        );
        Self::status(422, "Invalid", message).about(key)
    }

    pub(super) fn bad_request(message: &str) -> Self {
        Self::status(400, "BadRequest", message)
    }

    pub(super) fn too_large() -> Self {
        Self::status(
            413,
            "RequestEntityTooLarge",
            "the request body is too large",
        )
    }

    pub(super) fn expired() -> Self {
        Self::status(
            410,
            "Expired",
            "too old resource version: the version is no longer kept",
        )
    }

    pub(super) fn unsupported_patch(content: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: application/merge-patch+json, not {content}"
        );
        Self::status(415, "UnsupportedMediaType", message)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::status(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    pub(super) fn fault(code: u16) -> Self {
        let (reason, message) = match code {
            401 => ("Unauthorized", "Unauthorized"),
            403 => (
                "Forbidden",
                "helmreleases.helm.toolkit.fluxcd.io is forbidden: User \"system:serviceaccount:helmreboot:helmreboot\" cannot do that",
            ),
            409 => (
                "Conflict",
                "the object has been modified; please apply your changes to the latest version and try again",
            ),
            422 => (
                "Invalid",
                "ValidatingAdmissionPolicy 'helmreboot' with binding 'helmreboot' denied request: not an allowed annotation",
            ),
            429 => (
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
            ),
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => (
                "Timeout",
                "Timeout: request did not complete within the allotted timeout",
            ),
            _ => (
                "InternalError",
                "Internal error occurred: a fault of the test",
            ),
        };
        Self::status(code, reason, message)
    }

    /// The same as the object of a watch event.
    pub(super) fn to_value(&self) -> Value {
        match &self.0 {
            Kind::Text => json!({}),
            Kind::Status {
                code,
                reason,
                message,
                details,
            } => json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": message, "reason": reason, "details": details, "code": code,
            }),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match &self.0 {
            Kind::Text => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
            Kind::Status { code, .. } => {
                let status =
                    StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (
                    status,
                    [(header::CONTENT_TYPE, "application/json")],
                    self.to_value().to_string(),
                )
                    .into_response()
            }
        }
    }
}
