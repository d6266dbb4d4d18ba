//! Leases, for the leader election: read, create, and update with `resourceVersion`.

use std::collections::BTreeMap;

use axum::response::Response;
use http::{Method, StatusCode};
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};

use super::{FakeCluster, Key, Refusal, page::json_response, path::Path};

/// The Leases of a cluster.
#[derive(Debug, Default)]
pub(super) struct Leases {
    objects: BTreeMap<Key, Value>,
    versions: u64,
    /// The verbs that are allowed; `None` for all.
    allowed: Option<Vec<&'static str>>,
}

impl FakeCluster {
    /// The holder of a Lease; empty for none.
    pub fn lease_holder(&self, key: &Key) -> String {
        let inner = self.lock();
        let holder = inner.leases.objects.get(key);
        let holder = holder.and_then(|lease| lease["spec"]["holderIdentity"].as_str());
        holder.unwrap_or_default().to_owned()
    }

    /// Writes a Lease as another client does.
    pub fn write_lease(&self, key: &Key, spec: &Value) {
        self.lock().leases.put(key, json!({"spec": spec}));
    }

    /// From now on, only these verbs are allowed on Leases.
    pub fn grant_leases(&self, verbs: Option<Vec<&'static str>>) {
        self.lock().leases.allowed = verbs;
    }

    pub(super) fn lease(
        &self,
        path: &Path,
        method: &Method,
        body: Value,
    ) -> Result<Response, Refusal> {
        let mut inner = self.lock();
        let leases = &mut inner.leases;
        let verb = path.verb(method);
        if leases
            .allowed
            .as_ref()
            .is_some_and(|allowed| !allowed.contains(&verb))
        {
            return Err(Refusal::fault(403));
        }
        let Some(namespace) = path.namespace.clone() else {
            return Err(Refusal::method_not_allowed());
        };
        let name = body["metadata"]["name"].as_str().map(str::to_owned);
        let named = path.name.clone().or(name.clone()).unwrap_or_default();
        let key = Key::new(&namespace, &named);
        if matches!(*method, Method::POST | Method::PUT) {
            check(&key, &body)?;
        }
        match *method {
            Method::GET => {
                let found = leases.objects.get(&key);
                found
                    .map(|lease| json_response(StatusCode::OK, lease))
                    .ok_or_else(|| not_found(&key))
            }
            Method::POST if path.name.is_none() && leases.objects.contains_key(&key) => {
                Err(Refusal::status(
                    409,
                    "AlreadyExists",
                    format!("leases.coordination.k8s.io \"{named}\" already exists"),
                ))
            }
            Method::POST if path.name.is_none() => {
                Ok(json_response(StatusCode::CREATED, &leases.put(&key, body)))
            }
            Method::PUT if path.name.is_some() => {
                let version = &body["metadata"]["resourceVersion"];
                if name.is_none_or(|name| name != key.name) {
                    return Err(Refusal::bad_request(
                        "the name of the object does not match the name on the URL",
                    ));
                }
                // An update creates a Lease that does not exist.
                let Some(old) = leases.objects.get(&key) else {
                    return Ok(json_response(StatusCode::CREATED, &leases.put(&key, body)));
                };
                if version.as_str().is_none_or(str::is_empty) {
                    return Err(invalid(
                        &key,
                        "metadata.resourceVersion: Invalid value: 0: must be specified for an update",
                    ));
                }
                if *version != old["metadata"]["resourceVersion"] {
                    let message = format!(
                        "Operation cannot be fulfilled on leases.coordination.k8s.io \"{named}\": the object has been modified; please apply your changes to the latest version and try again"
                    );
                    return Err(Refusal::status(409, "Conflict", message));
                }
                Ok(json_response(StatusCode::OK, &leases.put(&key, body)))
            }
            _ => Err(Refusal::method_not_allowed()),
        }
    }
}

impl Leases {
    fn put(&mut self, key: &Key, mut lease: Value) -> Value {
        lease["apiVersion"] = json!("coordination.k8s.io/v1");
        lease["kind"] = json!("Lease");
        lease["metadata"]["name"] = json!(key.name);
        lease["metadata"]["namespace"] = json!(key.namespace);
        self.versions += 1;
        lease["metadata"]["resourceVersion"] = json!(self.versions.to_string());
        self.objects.insert(key.clone(), lease.clone());
        lease
    }
}

/// What the API server checks of a Lease (`pkg/apis/coordination/validation`).
fn check(key: &Key, body: &Value) -> Result<(), Refusal> {
    let lease: Lease = serde_json::from_value(body.clone()).map_err(|_| {
        Refusal::bad_request("Lease in version \"v1\" cannot be handled as a Lease")
    })?;
    let spec = lease.spec.unwrap_or_default();
    if key.name.is_empty() {
        return Err(invalid(
            key,
            "metadata.name: Required value: name or generateName is required",
        ));
    }
    if spec
        .lease_duration_seconds
        .is_some_and(|seconds| seconds <= 0)
    {
        return Err(invalid(
            key,
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        ));
    }
    if spec
        .lease_transitions
        .is_some_and(|transitions| transitions < 0)
    {
        return Err(invalid(
            key,
            "spec.leaseTransitions: Invalid value: must be greater than or equal to 0",
        ));
    }
    Ok(())
}

fn not_found(key: &Key) -> Refusal {
    Refusal::status(
        404,
        "NotFound",
        format!("leases.coordination.k8s.io \"{}\" not found", key.name),
    )
}

fn invalid(key: &Key, what: &str) -> Refusal {
    Refusal::status(
        422,
        "Invalid",
        format!(
            "Lease.coordination.k8s.io \"{}\" is invalid: {what}",
            key.name
        ),
    )
}
