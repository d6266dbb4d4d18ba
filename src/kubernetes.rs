//! One cluster's API server. The only production file that calls kube.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU32},
    time::Duration,
};

use http::{HeaderMap, header};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::{
    client::Body,
    core::{
        params::{GetParams, Patch, PatchParams},
        request::Request,
    },
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use crate::{
    domain::{
        alert::{HELM_GROUP, ReleaseRef},
        ledger::Changes,
        release::Release,
        report::ClusterFact,
    },
    metrics::{CallResult, Metrics, Outage, Verb},
    reporter::Reporter,
};

mod answer;
pub mod connect;
mod connection;
mod error;
mod events;
mod exec;
mod kubeconfig;
pub mod lease;
mod list;
mod proxy;
pub mod tls;
mod token;
mod watch;
pub use answer::AnswerMemory;
use answer::{ANSWER_LIMIT, UNCOUNTED};
pub use connection::{Connection, ServerChanges};
pub use error::Error;
use error::{Failed, refused};
pub use list::{Item, Unreadable};
pub use watch::{Change, Watch};

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
    connection: Connection,
    version: Arc<Mutex<Option<&'static str>>>,
    /// Releases in one page of the last list that came through.
    page_size: Arc<AtomicU32>,
    memory: AnswerMemory,
    metrics: Metrics,
    reporter: Reporter,
}

impl Cluster {
    /// A cluster, the way to it, and the memory that it shares with others for answers. Outages are reported.
    pub fn new(
        name: Arc<str>,
        connection: Connection,
        memory: AnswerMemory,
        metrics: Metrics,
        reporter: Reporter,
    ) -> Self {
        Self {
            name,
            connection,
            version: Arc::default(),
            page_size: Arc::new(AtomicU32::new(list::PAGE)),
            memory,
            metrics,
            reporter,
        }
    }

    /// Waits until there is another way to the API server than the one of the moment.
    pub async fn reconnected(&self) {
        self.connection.changed().await;
    }

    /// Changes of the API server after this call. A list or watch of the earlier server must not be continued.
    pub fn server_changes(&self) -> ServerChanges {
        self.connection.server_changes()
    }

    /// The live release, and the API server's time of day.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Gone`] if there is none of that name.
    pub async fn observe(&self, release: &ReleaseRef) -> Result<Observed, Error> {
        let build = |path: String| Request::new(path).get(&release.name, &GetParams::default());
        let scope = Some(&*release.namespace);
        let (live, at) = self.on_releases(Verb::Get, scope, build, json).await?;
        let release = genuine(live, release)?;
        Ok(Observed { release, at })
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
        let patch = Patch::Merge(serde_json::json!({"metadata": {
            "resourceVersion": seen.metadata.resource_version,
            "annotations": changes,
        }}));
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        let build = |path: String| Request::new(path).patch(&release.name, &params, &patch);
        let scope = Some(&*release.namespace);
        let (written, _) = self.on_releases(Verb::Patch, scope, build, json).await?;
        genuine(written, release).map(|_| ())
    }

    /// Calls the API in the version this cluster serves. A path that is not there means that Flux was
    /// upgraded to another version, so discovery is asked once more.
    async fn on_releases<T>(
        &self,
        verb: Verb,
        namespace: Option<&str>,
        build: impl Fn(String) -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        read: impl Fn(&[u8]) -> serde_json::Result<T>,
    ) -> Result<(T, Option<Timestamp>), Error> {
        for rediscovered in [false, true] {
            let version = self.version(rediscovered).await?;
            let scope = namespace.map(|namespace| format!("namespaces/{namespace}/"));
            let path = format!(
                "/apis/{HELM_GROUP}/{version}/{}helmreleases",
                scope.unwrap_or_default()
            );
            let request = build(path).map_err(|error| Error::Unreadable(error.to_string()))?;
            match self.call(verb, request, &read).await {
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
        let group: APIGroup = match self.call(Verb::Discover, request, json).await {
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

    async fn call<T>(
        &self,
        verb: Verb,
        request: http::Request<Vec<u8>>,
        read: impl Fn(&[u8]) -> serde_json::Result<T>,
    ) -> Result<(T, Option<Timestamp>), Failed> {
        let timer = self.metrics.kubernetes_request(&self.name, verb);
        let answer = self.exchange(verb, request, read).await;
        let result = match &answer {
            Ok(_) => CallResult::Ok,
            Err(Failed::NoSuchPath) => CallResult::Unsupported,
            Err(Failed::Error(error)) => error.result(),
        };
        timer.done(result);
        self.note(verb, result, answer.as_ref().err());
        answer
    }

    /// How a call came out. An outage of the API server is one line when it begins and one when it ends.
    fn note(&self, verb: Verb, result: CallResult, failed: Option<&Failed>) {
        let unanswered = [
            CallResult::Unavailable,
            CallResult::Unauthorized,
            CallResult::Unreadable,
        ];
        // A problem of the kubeconfig is logged where it is read.
        if matches!(failed, Some(Failed::Error(Error::NoAccess(_)))) {
            return;
        }
        let health = self.connection.health();
        let kind = result.as_str();
        // An object that cannot be read says nothing about the API server.
        if result == CallResult::Unreadable && matches!(verb, Verb::Get | Verb::Patch) {
            return;
        }
        match health.called(!unanswered.contains(&result)) {
            Some(Outage::Began) => {
                let problem = match failed {
                    Some(Failed::Error(error)) => error.to_string(),
                    _ => kind.to_owned(),
                };
                self.reporter
                    .publish(&ClusterFact::Unavailable { kind, problem });
            }
            Some(Outage::Ended(after)) => {
                self.reporter.publish(&ClusterFact::Available { after });
            }
            None => {}
        }
        if result == CallResult::Unauthorized {
            self.connection.refused();
        }
    }

    /// Reports facts about the cluster as a whole.
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Whether the API server answers.
    pub fn answers(&self) -> bool {
        self.connection.health().answers()
    }

    async fn exchange<T>(
        &self,
        verb: Verb,
        request: http::Request<Vec<u8>>,
        read: impl Fn(&[u8]) -> serde_json::Result<T>,
    ) -> Result<(T, Option<Timestamp>), Failed> {
        let client = self.connection.client()?;
        let begun = Instant::now();
        let sent = timeout(CALL_TIMEOUT, client.send(request.map(Body::from)));
        let response = sent.await.map_err(|_| Error::Late)??;
        let status = response.status();
        let at = date(response.headers());
        // A page is large: its body gets a timeout of its own, and memory that all clusters share.
        let (pool, uncounted, limit) = match verb {
            Verb::List => (&self.memory.lists, 0, CALL_TIMEOUT),
            _ => {
                let left = CALL_TIMEOUT.saturating_sub(begun.elapsed());
                (&self.memory.objects, UNCOUNTED, left)
            }
        };
        let mut share = pool.share();
        let bytes = answer::read(response.into_body(), limit, (&mut share, uncounted)).await?;
        if !status.is_success() {
            return Err(refused(status.as_u16(), &bytes));
        }
        let answer = read(&bytes).map_err(|error| {
            // Line and column, never the value.
            let (line, column) = (error.line(), error.column());
            Error::Unreadable(format!(
                "no HelmRelease at line {line}, column {column}; is this an API server?"
            ))
        })?;
        Ok((answer, at))
    }
}

/// A live release.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The object.
    pub release: Release,
    /// The time by the clock of the API server. Replicas whose clocks differ agree on it, and so do the ledgers
    /// they write; whole seconds, and `None` where a proxy took it away.
    pub at: Option<Timestamp>,
}

/// When the answer was sent, by the clock of the sender (RFC 9110, section 6.6.1).
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(zoned.timestamp())
}

/// Whether the answer is the requested object: a proxy may answer anything with 200, and
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
            "it is not the requested HelmRelease".into(),
        ))
    }
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes)
}
