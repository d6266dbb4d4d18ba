//! What goes wrong between here and an API server.

use kube::core::Status;

use crate::{
    domain::{alert::HELM_GROUP, mask::mask},
    metrics::CallResult,
};

/// What went wrong, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object is not there: nothing to do.
    #[error("the HelmRelease does not exist")]
    Gone,
    /// Another client wrote in between: get and evaluate again.
    #[error("another client changed the HelmRelease in the meantime")]
    Conflict,
    /// An object of that name is there already.
    #[error("an object of that name exists")]
    Exists,
    /// Rights are missing: a person has to grant them.
    #[error(
        "the API server refuses: {0}; grant get and patch on helmreleases.{HELM_GROUP}, and list and watch for the watcher"
    )]
    Forbidden(String),
    /// The credentials are not accepted: a person has to renew them.
    #[error(
        "the API server does not accept the credentials: {0}; they are read again every few seconds, so put a token or certificate that holds into the kubeconfig"
    )]
    Unauthorized(String),
    /// The content of the request is refused. In most cases a person has to change an admission policy.
    #[error(
        "the API server rejects the request: {0}; if an admission policy or webhook says so, let helmreboot's annotations pass"
    )]
    Rejected(String),
    /// There is no HelmRelease API: a person has to install Flux, or to configure another cluster.
    #[error(
        "this cluster serves no HelmRelease API that is known here (v2, v2beta2, v2beta1); is Flux installed?"
    )]
    Unsupported,
    /// The answer makes no sense: perhaps not an API server.
    #[error("the API server's answer cannot be read: {0}")]
    Unreadable(String),
    /// The answer is larger than any that is read.
    #[error("the API server's answer has more than {0} bytes")]
    TooLarge(usize),
    /// No answer in time: come again later.
    #[error("no answer within {} s", super::CALL_TIMEOUT.as_secs())]
    Late,
    /// Too busy: come again later.
    #[error("the API server is overloaded (429)")]
    Throttled,
    /// There is no client: the kubeconfig cannot be used. `Connection` logs the reason once.
    #[error("there is no way to the API server: {0}")]
    NoAccess(String),
    /// Not reachable, too slow, or broken: come again later.
    #[error("the API server does not answer as it should: {0}")]
    Unavailable(String),
}

impl Error {
    /// Whether a write may have been carried out all the same: its answer is missing.
    pub fn may_have_been_applied(&self) -> bool {
        matches!(
            self,
            Self::Late | Self::TooLarge(_) | Self::Unavailable(_) | Self::Unreadable(_)
        )
    }

    /// The same, as a word.
    pub fn result(&self) -> CallResult {
        match self {
            Self::Gone => CallResult::Gone,
            Self::Conflict | Self::Exists => CallResult::Conflict,
            Self::Forbidden(_) => CallResult::Forbidden,
            Self::Unauthorized(_) => CallResult::Unauthorized,
            Self::Rejected(_) => CallResult::Rejected,
            Self::Unsupported => CallResult::Unsupported,
            Self::Unreadable(_) | Self::TooLarge(_) => CallResult::Unreadable,
            Self::Throttled => CallResult::Throttled,
            Self::Late | Self::NoAccess(_) | Self::Unavailable(_) => CallResult::Unavailable,
        }
    }

    /// Whether it may pass by itself; otherwise a person has to act.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Conflict
                | Self::Throttled
                | Self::Late
                | Self::NoAccess(_)
                | Self::Unavailable(_)
        )
    }
}

/// A failed call, before it is known whether the path or the object is missing.
pub(super) enum Failed {
    NoSuchPath,
    Error(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        Error::Unavailable(mask(&chain(&error), 400)).into()
    }
}

/// What an answer that is no success means.
pub(super) fn refused(code: u16, bytes: &[u8]) -> Failed {
    // Outside of any API the server answers with plain text.
    meaning(code, &serde_json::from_slice(bytes).unwrap_or_default())
}

pub(super) fn meaning(code: u16, status: &Status) -> Failed {
    let missing = Missing::of(status);
    // After "Invalid value" the server repeats the object with its values.
    let said = status
        .message
        .split("Invalid value")
        .next()
        .unwrap_or_default();
    let message = if said.is_empty() {
        format!("status {code}")
    } else {
        mask(said, 300)
    };
    Failed::Error(match CallResult::of(code) {
        CallResult::Gone if missing == Missing::Release => Error::Gone,
        CallResult::Gone if missing == Missing::Other => Error::Unavailable(message),
        CallResult::Gone | CallResult::Ok | CallResult::Unsupported => return Failed::NoSuchPath,
        CallResult::Conflict if status.reason == "AlreadyExists" => Error::Exists,
        CallResult::Conflict => Error::Conflict,
        CallResult::Unauthorized => Error::Unauthorized(message),
        CallResult::Forbidden => Error::Forbidden(message),
        CallResult::Throttled => Error::Throttled,
        CallResult::Unreadable => Error::Unreadable(format!("it sends us elsewhere ({code})")),
        CallResult::Rejected => Error::Rejected(message),
        CallResult::Unavailable => Error::Unavailable(message),
    })
}

/// What an answer with code 404 says is missing.
#[derive(PartialEq, Eq)]
enum Missing {
    /// The requested HelmRelease.
    Release,
    /// Another object, on which the answer depends: a kcp that starts, or a proxy to many clusters, says that a
    /// workspace is not found.
    Other,
    /// No object is named: the path.
    Path,
}

impl Missing {
    fn of(status: &Status) -> Self {
        let details = status.details.as_ref();
        if let Some(details) = details.filter(|details| !details.name.is_empty()) {
            let kinds = ["helmreleases", "HelmRelease"];
            let ours = details.group == HELM_GROUP && kinds.contains(&&*details.kind);
            return if ours { Self::Release } else { Self::Other };
        }
        let ours = format!("helmreleases.{HELM_GROUP} \"");
        match status.message.contains("\" not found") {
            true if status.message.contains(&ours) => Self::Release,
            true => Self::Other,
            false => Self::Path,
        }
    }
}

/// What rustls says of an authority that is itself the server's certificate. OpenSSL and Go let that pass.
const OWN_AUTHORITY: &str = "CaUsedAsEndEntity";

/// An error with its causes, which is where connection failures say what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    if text.contains(OWN_AUTHORITY) {
        return "the server's certificate is that of an authority (CA:TRUE), which is not taken for a server's; keep it as the authority, and sign a certificate for the server with it (CA:FALSE)".into();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_kind_that_is_not_found_is_gone() {
        let gone = |answer: serde_json::Value| match refused(404, answer.to_string().as_bytes()) {
            Failed::NoSuchPath => "path",
            Failed::Error(Error::Gone) => "gone",
            Failed::Error(Error::Unavailable(_)) => "unavailable",
            Failed::Error(other) => panic!("{other}"),
        };
        let status = |message: &str, details: serde_json::Value| {
            serde_json::json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
                "message": message, "details": details})
        };
        let ours = "helmreleases.helm.toolkit.fluxcd.io \"web\" not found";
        let details =
            serde_json::json!({"name": "web", "group": HELM_GROUP, "kind": "helmreleases"});
        assert_eq!(gone(status(ours, details)), "gone");
        assert_eq!(gone(status(ours, serde_json::json!({}))), "gone");
        // A kcp that starts, or a proxy to many clusters.
        let other = "workspaces.tenancy.kcp.io \"root:b\" not found";
        let details =
            serde_json::json!({"name": "root:b", "group": "tenancy.kcp.io", "kind": "workspaces"});
        assert_eq!(gone(status(other, details)), "unavailable");
        assert_eq!(gone(status(other, serde_json::json!({}))), "unavailable");
        let details = serde_json::json!({"name": "web", "group": "apps", "kind": "deployments"});
        assert_eq!(
            gone(status("deployments.apps \"web\" not found", details)),
            "unavailable"
        );
        let path = "the server could not find the requested resource";
        assert_eq!(gone(status(path, serde_json::json!({}))), "path");
        assert_eq!(gone(serde_json::json!("404 page not found")), "path");
    }
}
