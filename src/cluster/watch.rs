//! All releases of a cluster, and what becomes of them: a list in pages, then a watch that goes on.

use std::{borrow::Cow, future::ready, pin::Pin, sync::Arc, time::Duration};

use futures::{
    Stream, StreamExt,
    channel::mpsc::{UnboundedSender, unbounded},
    stream,
};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource,
    client::Body,
    core::{ApiResource, DynamicResourceScope},
    runtime::watcher::{self, Event, watcher},
};
use serde::{Deserialize, Deserializer};
use tokio::{sync::Mutex, time::Instant};

use super::{
    CALL_TIMEOUT, Cluster, Error, PAGE, PAGE_LIMIT,
    error::{Failed, meaning},
};
use crate::{
    domain::{alert::HELM_GROUP, release::Release},
    metrics::{CallResult, Verb},
};

/// What the watch tells.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A list of everything begins.
    Start,
    /// One of the list.
    Listed(Release),
    /// That was all.
    Complete,
    /// The watch goes on: up to now, nothing has been missed.
    Going,
    /// One changed.
    Changed(Release),
    /// One is gone.
    Deleted(Release),
}

/// A running watch. It has no end; after an error it goes on where it was, as far as that is possible.
pub type Watching = Pin<Box<dyn Stream<Item = Result<Seen, Error>> + Send>>;

/// A server that ends watches as soon as they begin is asked no more often than this.
const BETWEEN_WATCHES: Duration = Duration::from_secs(1);

impl Cluster {
    /// Watches all releases. Whoever reads the stream waits a while after an error.
    ///
    /// # Errors
    /// See [`Error`]: which API version to watch could not be found out.
    pub async fn watch(&self, namespace: Option<&str>) -> Result<Watching, Error> {
        let version = self.version(true).await?;
        let resource = ApiResource {
            group: HELM_GROUP.into(),
            version: version.into(),
            api_version: format!("{HELM_GROUP}/{version}"),
            kind: "HelmRelease".into(),
            plural: "helmreleases".into(),
        };
        let (going, goes) = unbounded();
        let client = self.counted(going);
        let api = match namespace {
            Some(namespace) => Api::<Watched>::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let config = watcher::Config::default().page_size(PAGE);
        let events = watcher(api, config).filter_map(|event| ready(seen(event)));
        Ok(Box::pin(stream::select(
            events,
            goes.map(|()| Ok(Seen::Going)),
        )))
    }

    /// The cluster's client, with the manners of every other call: counted, and given up in time. Says
    /// so whenever a watch was begun.
    fn counted(&self, going: UnboundedSender<()>) -> Client {
        let cluster = self.clone();
        let begun = Arc::new(Mutex::new(None::<Instant>));
        Client::new(
            tower::service_fn(move |request: http::Request<Body>| {
                let (cluster, begun, going) = (cluster.clone(), Arc::clone(&begun), going.clone());
                async move {
                    let query = request.uri().query().unwrap_or_default();
                    let verb = if query.split('&').any(|part| part == "watch=true") {
                        let mut begun = begun.lock().await;
                        if let Some(last) = *begun {
                            tokio::time::sleep_until(last + BETWEEN_WATCHES).await;
                        }
                        *begun = Some(Instant::now());
                        Verb::Watch
                    } else {
                        Verb::List
                    };
                    let timer = cluster.metrics.kubernetes_request(&cluster.name, verb);
                    let answer = async {
                        let answer = cluster.client.send(request).await?;
                        if verb == Verb::Watch {
                            return Ok(answer);
                        }
                        // A list that breaks off silently in the middle must not blind the sweep.
                        let (parts, body) = answer.into_parts();
                        let body = Limited::new(body, PAGE_LIMIT).collect().await;
                        let bytes = body.map_err(kube::Error::Service)?.to_bytes();
                        Ok(http::Response::from_parts(parts, Body::from(bytes)))
                    };
                    let answer = tokio::time::timeout(CALL_TIMEOUT, answer);
                    let answer = answer
                        .await
                        .unwrap_or_else(|late| Err(kube::Error::Service(Box::new(late))));
                    timer.done(match &answer {
                        Ok(answer) if answer.status().is_success() => CallResult::Ok,
                        // A list names no object: what is missing is the API.
                        Ok(answer) if answer.status() == http::StatusCode::NOT_FOUND => {
                            CallResult::Unsupported
                        }
                        Ok(answer) => CallResult::of(answer.status().as_u16()),
                        Err(_) => CallResult::Unavailable,
                    });
                    if verb == Verb::Watch
                        && answer.as_ref().is_ok_and(|it| it.status().is_success())
                    {
                        // Nobody listens any more where the watch is being given up.
                        let _ = going.unbounded_send(());
                    }
                    answer
                }
            }),
            "default",
        )
    }
}

/// That a watch has become too old is no trouble: a new list follows.
const EXPIRED: u16 = 410;

fn seen(event: Result<Event<Watched>, watcher::Error>) -> Option<Result<Seen, Error>> {
    Some(Ok(match event {
        Ok(Event::Init) => Seen::Start,
        Ok(Event::InitApply(watched)) => Seen::Listed(watched.release),
        Ok(Event::InitDone) => Seen::Complete,
        Ok(Event::Apply(watched)) => Seen::Changed(watched.release),
        Ok(Event::Delete(watched)) => Seen::Deleted(watched.release),
        Err(watcher::Error::WatchError(status)) if status.code == EXPIRED => return None,
        Err(error) => return Some(Err(trouble(error))),
    }))
}

fn trouble(error: watcher::Error) -> Error {
    let failed = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => match error {
            kube::Error::Api(status) => meaning(status.code, &status),
            other => other.into(),
        },
        watcher::Error::WatchError(status) => meaning(status.code, &status),
        watcher::Error::NoResourceVersion => {
            Error::Unreadable("it has no resourceVersion".into()).into()
        }
    };
    match failed {
        Failed::NoSuchPath => Error::Unsupported,
        Failed::Error(error) => error,
    }
}

/// A release, with the little that a watch needs to know of it.
#[derive(Clone, Debug)]
struct Watched {
    meta: ObjectMeta,
    release: Release,
}

impl<'de> Deserialize<'de> for Watched {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let release = Release::deserialize(deserializer)?;
        let metadata = &release.metadata;
        let meta = ObjectMeta {
            name: Some(metadata.name.clone()),
            namespace: Some(metadata.namespace.clone()),
            resource_version: Some(metadata.resource_version.clone()),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, release })
    }
}

impl Resource for Watched {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
