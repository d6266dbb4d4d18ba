//! Events of core/v1: create, with the checks of the API server.

use std::collections::BTreeMap;

use axum::response::Response;
use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::Event;
use serde_json::Value;

use super::{FakeCluster, Key, Refusal, page::json_response, path::Path};

/// The Events of a cluster.
#[derive(Debug, Default)]
pub(super) struct Events {
    objects: BTreeMap<Key, Value>,
    /// In the order in which they were created.
    order: Vec<Key>,
    forbidden: bool,
}

impl FakeCluster {
    /// All Events, the oldest first.
    pub fn events(&self) -> Vec<Value> {
        let inner = self.lock();
        let events = inner.events.order.iter();
        events
            .filter_map(|key| inner.events.objects.get(key).cloned())
            .collect()
    }

    /// Whether the caller may create Events.
    pub fn grant_events(&self, allowed: bool) {
        self.lock().events.forbidden = !allowed;
    }

    pub(super) fn event(
        &self,
        path: &Path,
        method: &Method,
        body: Value,
    ) -> Result<Response, Refusal> {
        let mut inner = self.lock();
        let (Some(namespace), &Method::POST, None) = (&path.namespace, method, &path.name) else {
            return Err(Refusal::method_not_allowed());
        };
        if inner.events.forbidden {
            return Err(Refusal::fault(403));
        }
        let event: Event = serde_json::from_value(body.clone()).map_err(|_| {
            Refusal::bad_request("Event in version \"v1\" cannot be handled as a Event")
        })?;
        let name = event.metadata.name.clone().unwrap_or_default();
        check(namespace, &name, &event).map_err(|problem| {
            Refusal::status(
                422,
                "Invalid",
                format!("Event \"{name}\" is invalid: {problem}"),
            )
        })?;
        let key = Key::new(namespace, &name);
        if inner.events.objects.contains_key(&key) {
            let message = format!("events \"{name}\" already exists");
            return Err(Refusal::status(409, "AlreadyExists", message));
        }
        inner.events.objects.insert(key.clone(), body.clone());
        inner.events.order.push(key);
        Ok(json_response(StatusCode::CREATED, &body))
    }
}

/// What the API server checks (`kubernetes/pkg/apis/core/validation/events.go`).
fn check(namespace: &str, name: &str, event: &Event) -> Result<(), String> {
    let label = |text: &str| {
        !text.is_empty()
            && text.starts_with(|at: char| at.is_ascii_alphanumeric())
            && text.ends_with(|at: char| at.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|at| at.is_ascii_lowercase() || at.is_ascii_digit() || at == b'-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err("metadata.name: Invalid value: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'".into());
    }
    let object = &event.involved_object;
    if object.namespace.as_deref() != Some(namespace) {
        return Err(
            "involvedObject.namespace: Invalid value: does not match event.namespace".into(),
        );
    }
    if event.event_time.is_none() {
        return Ok(());
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    for (field, value, longest) in [
        ("reportingController", text(&event.reporting_component), 253),
        ("reportingInstance", text(&event.reporting_instance), 128),
        ("action", text(&event.action), 128),
        ("reason", text(&event.reason), 128),
    ] {
        if value.is_empty() {
            return Err(format!("{field}: Required value"));
        }
        if value.len() > longest {
            return Err(format!(
                "{field}: Invalid value: can have at most {longest} characters"
            ));
        }
    }
    if text(&event.message).len() > 1024 {
        return Err("message: Invalid value: can have at most 1024 characters".into());
    }
    if !["Normal", "Warning"].contains(&text(&event.type_).as_str()) {
        return Err("type: Invalid value: has invalid value".into());
    }
    Ok(())
}
