//! One cluster's API server. The only production file that calls kube.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::{
    Client,
    client::Body,
    core::{
        params::{GetParams, ListParams, Patch, PatchParams},
        request::Request,
    },
};
use serde::{Deserialize, de::DeserializeOwned};
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
mod error;
pub mod lease;
mod watch;
pub use error::Error;
use error::{Failed, refused};
pub use watch::{Seen, Watching};

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

    /// The live release, and the API server's time of day.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Gone`] if there is none of that name.
    pub async fn observe(&self, release: &ReleaseRef) -> Result<Observed, Error> {
        let build = |path: String| Request::new(path).get(&release.name, &GetParams::default());
        let scope = Some(&*release.namespace);
        let (live, at) = self.on_releases(Verb::Get, scope, build).await?;
        let release = genuine(live, release)?;
        Ok(Observed { release, at })
    }

    /// One page of all releases, or those of one namespace, in order of namespace and name, and how to
    /// ask for the next.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Unavailable`] also where the list has changed too much to go on.
    pub async fn page(
        &self,
        namespace: Option<&str>,
        next: Option<&str>,
    ) -> Result<(Vec<Release>, Option<String>), Error> {
        let mut params = ListParams::default().limit(PAGE);
        params.continue_token = next.map(str::to_owned);
        let build = |path: String| Request::new(path).list(&params);
        let (page, _): (Page, _) = self.on_releases(Verb::List, namespace, build).await?;
        let next = page.metadata.next.filter(|next| !next.is_empty());
        Ok((page.items, next))
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
        let scope = Some(&*release.namespace);
        let (written, _) = self.on_releases(Verb::Patch, scope, build).await?;
        genuine(written, release).map(|_| ())
    }

    /// Calls the API in the version this cluster serves. A path that is not there means that Flux was
    /// upgraded to another version, so discovery is asked once more.
    async fn on_releases<T: DeserializeOwned>(
        &self,
        verb: Verb,
        namespace: Option<&str>,
        build: impl Fn(String) -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<(T, Option<Timestamp>), Error> {
        for rediscovered in [false, true] {
            let version = self.version(rediscovered).await?;
            let scope = namespace.map(|namespace| format!("namespaces/{namespace}/"));
            let path = format!(
                "/apis/{HELM_GROUP}/{version}/{}helmreleases",
                scope.unwrap_or_default()
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
            Ok((group, _)) => group,
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
    ) -> Result<(T, Option<Timestamp>), Failed> {
        let limit = if verb == Verb::List {
            PAGE_LIMIT
        } else {
            ANSWER_LIMIT
        };
        let timer = self.metrics.kubernetes_request(&self.name, verb);
        let answer = match tokio::time::timeout(CALL_TIMEOUT, self.exchange(request, limit)).await {
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
        limit: usize,
    ) -> Result<(T, Option<Timestamp>), Failed> {
        let response = self.client.send(request.map(Body::from)).await?;
        let status = response.status();
        let at = date(response.headers());
        let body = Limited::new(response.into_body(), limit);
        let bytes = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(Error::Unreadable(format!("more than {limit} bytes")).into());
            }
            Err(error) => return Err(Error::Unavailable(mask(&error.to_string(), 300)).into()),
        };
        if status.is_success() {
            parse(&bytes).map(|answer| (answer, at))
        } else {
            Err(refused(status.as_u16(), &bytes))
        }
    }
}

/// The most bytes of an answer: etcd keeps no object over 1.5 MiB, and a server that sends more must not
/// cost the other clusters their memory.
const ANSWER_LIMIT: usize = 4 << 20;

/// Releases in one page of a list: enough to be quick, little enough to be small.
const PAGE: u32 = 100;

/// The most bytes of a page.
const PAGE_LIMIT: usize = 16 << 20;

/// A live release.
#[derive(Clone, Debug)]
pub struct Observed {
    /// As it stands.
    pub release: Release,
    /// The time of day where it stands. Replicas whose clocks differ agree on it, and so do the ledgers
    /// they write; whole seconds, and `None` where a proxy took it away.
    pub at: Option<Timestamp>,
}

/// The used part of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    metadata: PageMetadata,
    items: Vec<Release>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// When the answer was sent, by the clock of the sender (RFC 9110, section 6.6.1).
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(zoned.timestamp())
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
