//! One cluster's API server. The only production file that calls kube.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt, LengthLimitError, Limited};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::{
    Client,
    client::Body,
    core::{
        Status,
        params::{GetParams, Patch, PatchParams},
        request::Request,
    },
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    domain::{
        alert::{HELM_GROUP, ReleaseRef},
        ledger::Changes,
        mask::mask,
        release::Release,
    },
    metrics::{CallResult, Metrics, Verb},
};

pub mod connect;

/// The field manager of our patches. Never a name that starts with `kubectl`: kustomize-controller
/// takes such fields back.
pub const FIELD_MANAGER: &str = "helmreboot";

/// API versions of HelmRelease, best first (Flux 2.0 to 2.9).
const VERSIONS: [&str; 3] = ["v2", "v2beta2", "v2beta1"];

/// How long one call may take: longer than a busy API server needs, shorter than the 10 s in which
/// the service must be able to stop.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// A cluster, by name, and the way to its API server.
#[derive(Clone)]
pub struct Cluster {
    /// The configured name.
    pub name: Arc<str>,
    client: Client,
    version: Arc<Mutex<Option<&'static str>>>,
    metrics: Metrics,
}

/// What went wrong, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object is not there: nothing to do.
    #[error("the HelmRelease does not exist")]
    Gone,
    /// Somebody wrote in between: observe and decide again.
    #[error("the HelmRelease was changed by somebody else in the meantime")]
    Conflict,
    /// Rights are missing: somebody has to grant them.
    #[error("the API server refuses: {0}; grant get and patch on helmreleases.{HELM_GROUP}")]
    Forbidden(String),
    /// The credentials are not accepted: somebody has to renew them.
    #[error(
        "the API server does not accept the credentials: {0}; renew the token or certificate of the kubeconfig"
    )]
    Unauthorized(String),
    /// The request is refused for what it holds: mostly, somebody has to change an admission policy.
    #[error(
        "the API server rejects the request: {0}; if an admission policy or webhook says so, let helmreboot's annotations pass"
    )]
    Rejected(String),
    /// No HelmRelease API here: somebody has to install Flux, or to point us elsewhere.
    #[error(
        "this cluster serves no HelmRelease API that is known here (v2, v2beta2, v2beta1); is Flux installed?"
    )]
    Unsupported,
    /// The answer makes no sense: perhaps not an API server.
    #[error("the API server's answer cannot be read: {0}")]
    Unreadable(String),
    /// Too busy: come again later.
    #[error("the API server asks for patience (429)")]
    Throttled,
    /// Not reachable, too slow, or broken: come again later.
    #[error("the API server does not answer as it should: {0}")]
    Unavailable(String),
}

impl Error {
    /// The same, as a word.
    pub fn result(&self) -> CallResult {
        match self {
            Self::Gone => CallResult::Gone,
            Self::Conflict => CallResult::Conflict,
            Self::Forbidden(_) => CallResult::Forbidden,
            Self::Unauthorized(_) => CallResult::Unauthorized,
            Self::Rejected(_) => CallResult::Rejected,
            Self::Unsupported => CallResult::Unsupported,
            Self::Unreadable(_) => CallResult::Unreadable,
            Self::Throttled => CallResult::Throttled,
            Self::Unavailable(_) => CallResult::Unavailable,
        }
    }

    /// Whether time alone may mend it; otherwise a person has to.
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::Conflict | Self::Throttled | Self::Unavailable(_)
        )
    }
}

impl Cluster {
    /// A cluster behind any client: a real API server's, or a service without a socket.
    pub fn new(name: Arc<str>, client: Client, metrics: Metrics) -> Self {
        Self {
            name,
            client,
            version: Arc::default(),
            metrics,
        }
    }

    /// The live release.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Gone`] if there is none of that name.
    pub async fn observe(&self, release: &ReleaseRef) -> Result<Release, Error> {
        let build = |path: String| Request::new(path).get(&release.name, &GetParams::default());
        let live: Release = self.on_release(Verb::Get, release, build).await?;
        genuine(live, release)
    }

    /// Writes annotations on exactly the version of the object that was observed: a merge patch with
    /// `resourceVersion` in it is a compare-and-swap.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Conflict`] if the object has changed since. After
    /// [`Error::Unavailable`] the patch may have been applied: observe again.
    pub async fn annotate(
        &self,
        release: &ReleaseRef,
        seen: &Release,
        changes: &Changes,
    ) -> Result<(), Error> {
        let patch = Patch::Merge(json!({"metadata": {
            "resourceVersion": seen.metadata.resource_version,
            "annotations": changes,
        }}));
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        let build = |path: String| Request::new(path).patch(&release.name, &params, &patch);
        let written: Release = self.on_release(Verb::Patch, release, build).await?;
        genuine(written, release).map(|_| ())
    }

    /// Calls the API in the version this cluster serves. A path that is not there means that Flux was
    /// upgraded to another version, so discovery is asked once more.
    async fn on_release<T: DeserializeOwned>(
        &self,
        verb: Verb,
        release: &ReleaseRef,
        build: impl Fn(String) -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, Error> {
        for rediscovered in [false, true] {
            let version = self.version(rediscovered).await?;
            let path = format!(
                "/apis/{HELM_GROUP}/{version}/namespaces/{}/helmreleases",
                release.namespace
            );
            let request = build(path).map_err(|error| Error::Unreadable(error.to_string()))?;
            match self.call(verb, request).await {
                Err(Failed::NoSuchPath) if !rediscovered => {}
                Err(Failed::NoSuchPath) => return Err(Error::Unsupported),
                Err(Failed::Error(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
        }
        Err(Error::Unsupported)
    }

    /// The best version served. Where discovery is closed to us, the newest is assumed, not kept.
    async fn version(&self, afresh: bool) -> Result<&'static str, Error> {
        let known = *self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(version), false) = (known, afresh) {
            return Ok(version);
        }
        let request = http::Request::get(format!("/apis/{HELM_GROUP}")).body(Vec::new());
        let request = request.map_err(|error| Error::Unreadable(error.to_string()))?;
        let group: APIGroup = match self.call(Verb::Discover, request).await {
            Ok(group) => group,
            Err(Failed::NoSuchPath | Failed::Error(Error::Forbidden(_) | Error::Gone)) => {
                return Ok(VERSIONS[0]);
            }
            Err(Failed::Error(error)) => return Err(error),
        };
        let served = |version: &&&str| {
            group
                .versions
                .iter()
                .any(|served| served.version == **version)
        };
        let version = VERSIONS.iter().find(served).ok_or(Error::Unsupported)?;
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        Ok(version)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        verb: Verb,
        request: http::Request<Vec<u8>>,
    ) -> Result<T, Failed> {
        let timer = self.metrics.kubernetes_request(&self.name, verb);
        let answer = match tokio::time::timeout(CALL_TIMEOUT, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                let said = format!("no answer within {} s", CALL_TIMEOUT.as_secs());
                Err(Error::Unavailable(said).into())
            }
        };
        timer.done(match &answer {
            Ok(_) => CallResult::Ok,
            Err(Failed::NoSuchPath) => CallResult::Unsupported,
            Err(Failed::Error(error)) => error.result(),
        });
        answer
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<T, Failed> {
        let response = self.client.send(request.map(Body::from)).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT);
        let bytes = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(Error::Unreadable(format!("more than {ANSWER_LIMIT} bytes")).into());
            }
            Err(error) => return Err(Error::Unavailable(mask(&error.to_string(), 300)).into()),
        };
        if status.is_success() {
            parse(&bytes)
        } else {
            Err(refused(status.as_u16(), &bytes))
        }
    }
}

/// The most bytes of an answer: etcd keeps no object over 1.5 MiB, and a server that sends more must not
/// cost the other clusters their memory.
const ANSWER_LIMIT: usize = 4 << 20;

/// A failed call, before it is known whether the path or the object is missing.
enum Failed {
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
        Error::Unavailable(mask(&chain(&error), 300)).into()
    }
}

/// What an answer that is no success means.
fn refused(code: u16, bytes: &[u8]) -> Failed {
    // Outside of any API the server answers with plain text.
    let status: Status = serde_json::from_slice(bytes).unwrap_or_default();
    // An object that is missing is named in the answer; a path that is missing is not.
    let names_object = status
        .details
        .as_ref()
        .is_some_and(|details| !details.name.is_empty())
        || status.message.contains("\" not found");
    // Behind "Invalid value" the server repeats what stands in the object, values and all.
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
    Failed::Error(match code {
        404 if names_object => Error::Gone,
        404 => return Failed::NoSuchPath,
        409 => Error::Conflict,
        401 => Error::Unauthorized(message),
        403 => Error::Forbidden(message),
        429 => Error::Throttled,
        300..=399 => Error::Unreadable(format!("it sends us elsewhere ({code})")),
        408 | 410 => Error::Unavailable(message),
        400..=499 => Error::Rejected(message),
        _ => Error::Unavailable(message),
    })
}

/// Whether the answer is the object that was asked for: a proxy may answer anything with 200, and
/// nothing is decided about, or written over, what is not known for sure.
fn genuine(answer: Release, asked: &ReleaseRef) -> Result<Release, Error> {
    let metadata = &answer.metadata;
    if answer.kind == "HelmRelease"
        && metadata.name == *asked.name
        && !metadata.resource_version.is_empty()
    {
        Ok(answer)
    } else {
        Err(Error::Unreadable(
            "it is not the HelmRelease that was asked for".into(),
        ))
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failed> {
    serde_json::from_slice(bytes).map_err(|error| {
        // Line and column, never the value that stood there.
        let (line, column) = (error.line(), error.column());
        Error::Unreadable(format!(
            "no HelmRelease at line {line}, column {column}; is this an API server?"
        ))
        .into()
    })
}

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
    text
}
