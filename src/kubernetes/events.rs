//! Kubernetes Events on HelmReleases: create only.
//!
//! core/v1 with `eventTime` and the older fields: `kubectl` reads the newer ones, and the Flux Web UI `lastTimestamp`.
//! The recorder of `kube` writes `events.k8s.io/v1`, which allows only the newer ones.

use http::{Request, header};
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time},
};
use serde::de::IgnoredAny;

use super::{Cluster, Error, error::Failed, json};
use crate::{domain::report::Notice, metrics::Verb};

/// The controller that the Events name.
const CONTROLLER: &str = "helmreboot";

/// The most bytes of the release's name in the name of the Event, which may have 253.
const NAME_LIMIT: usize = 200;

impl Cluster {
    /// Creates the Event of a notice. It is created once: the same notice has the same name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_event(&self, notice: &Notice, instance: &str) -> Result<(), Error> {
        let event = event(notice, instance);
        let namespace = &notice.object.namespace;
        let body = serde_json::to_vec(&event).map_err(|error| unreadable(&error))?;
        let request = Request::post(format!("/api/v1/namespaces/{namespace}/events"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| unreadable(&error))?;
        let created: Result<(IgnoredAny, _), _> = self.call(Verb::Create, request, json).await;
        match created {
            Ok(_) | Err(Failed::Error(Error::Exists)) => Ok(()),
            Err(Failed::NoSuchPath) => Err(Error::Gone),
            Err(Failed::Error(error)) => Err(error),
        }
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> Error {
    Error::Unreadable(error.to_string())
}

fn event(notice: &Notice, instance: &str) -> Event {
    let object = &notice.object;
    let short = &object.name[..object.name.floor_char_boundary(NAME_LIMIT)];
    let name = format!("{}.{}", short.trim_end_matches(['.', '-']), notice.id);
    let time = Some(Time(notice.at));
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(object.namespace.clone()),
            annotations: (!notice.metadata.is_empty()).then(|| notice.metadata.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(object.api_version.clone()),
            kind: Some("HelmRelease".into()),
            namespace: Some(object.namespace.clone()),
            name: Some(object.name.clone()),
            uid: Some(object.uid.clone()),
            resource_version: Some(object.resource_version.clone()),
            ..ObjectReference::default()
        },
        type_: Some(notice.kind.as_str().into()),
        reason: Some(notice.reason.into()),
        action: Some(notice.reason.into()),
        message: Some(notice.message.clone()),
        event_time: Some(MicroTime(notice.at)),
        first_timestamp: time.clone(),
        last_timestamp: time,
        count: Some(1),
        reporting_component: Some(CONTROLLER.into()),
        reporting_instance: Some(instance.into()),
        source: Some(EventSource {
            component: Some(CONTROLLER.into()),
            ..EventSource::default()
        }),
        ..Event::default()
    }
}
