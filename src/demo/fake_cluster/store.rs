//! The objects and their history.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Refusal, path::Path};
use crate::domain::alert::HELM_GROUP;

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    /// `namespace/name`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// One write.
#[derive(Clone, Debug)]
pub struct Change {
    /// The resource version it led to.
    pub version: u64,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub kind: &'static str,
    /// Which object.
    pub key: Key,
    /// The object after the change.
    pub object: Arc<Value>,
    /// When.
    pub at: Timestamp,
    /// The field manager of a patch over the API; empty for clients inside of the cluster.
    pub manager: String,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<Key, Value>,
    history: Vec<Change>,
    newest: u64,
    now: Timestamp,
    manager: String,
    compacted: u64,
    uids: u64,
}

/// The most bytes of all annotations of an object together (`k8s.io/apimachinery` validation).
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

impl Store {
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.objects.keys().cloned().collect()
    }

    pub(super) fn versions_of(&self, key: &Key) -> Vec<Value> {
        self.history
            .iter()
            .filter(|change| change.key == *key)
            .map(|change| Value::clone(&change.object))
            .collect()
    }

    pub(super) fn changes(&self, from: usize) -> Vec<Change> {
        self.history.get(from..).unwrap_or_default().to_vec()
    }

    /// Who writes next.
    pub(super) fn writes_as(&mut self, manager: &str) {
        manager.clone_into(&mut self.manager);
    }

    /// What time it is.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.now = now;
    }

    pub(super) fn compact(&mut self) {
        self.compacted = self.newest;
    }

    pub(super) fn create(
        &mut self,
        key: &Key,
        mut object: Value,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        if key.name.is_empty() {
            return Err(Refusal::invalid(
                key,
                "metadata.name: Required value: name or generateName is required",
            ));
        }
        if self.objects.contains_key(key) {
            return Err(Refusal::exists(key));
        }
        self.uids += 1;
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.uids);
        json_patch::merge(
            &mut object,
            &json!({
                "kind": "HelmRelease",
                "metadata": {"namespace": key.namespace, "name": key.name, "uid": uid, "generation": 1,
                    "creationTimestamp": format!("{now:.0}"), "deletionTimestamp": null, "managedFields": null},
                "status": null,
            }),
        );
        // The default in the CRD of HelmRelease.
        object["status"] = json!({"observedGeneration": -1});
        valid(key, &object)?;
        Ok(self.put("ADDED", key, object))
    }

    /// A merge patch of everything but status, or of nothing but status.
    pub(super) fn patch(
        &mut self,
        key: &Key,
        patch: &Value,
        on_status: bool,
    ) -> Result<Value, Refusal> {
        let old = self
            .objects
            .get(key)
            .ok_or_else(|| Refusal::not_found(key))?;
        let expects = |field: &str| {
            let wanted = patch["metadata"][field].as_str();
            wanted.is_none_or(|wanted| old["metadata"][field] == wanted)
        };
        let version = &patch["metadata"]["resourceVersion"];
        if version == "" || version == "0" {
            return Err(Refusal::invalid(
                key,
                "metadata.resourceVersion: Invalid value: 0: must be specified for an update",
            ));
        }
        if !expects("resourceVersion") {
            return Err(Refusal::conflict(key));
        }
        if !expects("uid") {
            return Err(Refusal::invalid(
                key,
                "metadata.uid: Invalid value: field is immutable",
            ));
        }
        let mut merged = old.clone();
        json_patch::merge(&mut merged, patch);
        let mut new = old.clone();
        if on_status {
            new["status"] = merged["status"].take();
        } else {
            new = merged;
            new["status"] = old["status"].clone();
            for kept in [
                "resourceVersion",
                "uid",
                "generation",
                "creationTimestamp",
                "deletionTimestamp",
                "name",
                "namespace",
            ] {
                new["metadata"][kept] = old["metadata"][kept].clone();
            }
            drop_nulls(&mut new["metadata"]);
        }
        valid(key, &new)?;
        self.update(key, new)
    }

    pub(super) fn replace_status(&mut self, key: &Key, status: &Value) -> Result<Value, Refusal> {
        let mut new = self
            .objects
            .get(key)
            .ok_or_else(|| Refusal::not_found(key))?
            .clone();
        new["status"] = status.clone();
        self.update(key, new)
    }

    pub(super) fn delete(&mut self, key: &Key, now: Timestamp) -> Result<Value, Refusal> {
        let old = self
            .objects
            .get(key)
            .ok_or_else(|| Refusal::not_found(key))?;
        if held_up(old) {
            if old["metadata"]["deletionTimestamp"].is_string() {
                return Ok(old.clone());
            }
            let mut new = old.clone();
            new["metadata"]["deletionTimestamp"] = json!(format!("{now:.0}"));
            raise_generation(&mut new);
            return Ok(self.put("MODIFIED", key, new));
        }
        Ok(self.remove(key))
    }

    /// What is written has a new version; what changes nothing is not written.
    fn update(&mut self, key: &Key, mut new: Value) -> Result<Value, Refusal> {
        let old = self
            .objects
            .get(key)
            .ok_or_else(|| Refusal::not_found(key))?;
        if *old == new {
            return Ok(new);
        }
        if old["spec"] != new["spec"] {
            raise_generation(&mut new);
        }
        if new["metadata"]["deletionTimestamp"].is_string() && !held_up(&new) {
            return Ok(self.remove(key));
        }
        Ok(self.put("MODIFIED", key, new))
    }

    fn put(&mut self, kind: &'static str, key: &Key, mut object: Value) -> Value {
        self.newest += 1;
        object["metadata"]["resourceVersion"] = json!(self.newest.to_string());
        self.objects.insert(key.clone(), object.clone());
        self.note(kind, key, &object);
        object
    }

    fn note(&mut self, kind: &'static str, key: &Key, object: &Value) {
        self.history.push(Change {
            version: self.newest,
            kind,
            key: key.clone(),
            object: Arc::new(object.clone()),
            at: self.now,
            manager: self.manager.clone(),
        });
    }

    fn remove(&mut self, key: &Key) -> Value {
        self.newest += 1;
        let mut object = self.objects.remove(key).unwrap_or_default();
        object["metadata"]["resourceVersion"] = json!(self.newest.to_string());
        self.note("DELETED", key, &object);
        object
    }

    /// One page, in order of namespace and name.
    pub(super) fn list(&self, path: &Path) -> Result<Value, Refusal> {
        if path
            .query("labelSelector")
            .or(path.query("fieldSelector"))
            .is_some()
        {
            return Err(Refusal::bad_request("selectors are not served here"));
        }
        let after = path
            .query("continue")
            .map(|token| self.page_after(token))
            .transpose()?;
        let in_namespace = |key: &Key| {
            path.namespace
                .as_ref()
                .is_none_or(|wanted| key.namespace == *wanted)
        };
        let rest: Vec<_> = self
            .objects
            .iter()
            .filter(|(key, _)| in_namespace(key) && after.as_ref().is_none_or(|after| *key > after))
            .collect();
        let limit = path
            .query("limit")
            .and_then(|limit| limit.parse().ok())
            .filter(|limit| *limit > 0);
        let page = &rest[..limit.unwrap_or(rest.len()).min(rest.len())];
        let mut metadata =
            Map::from_iter([("resourceVersion".into(), json!(self.newest.to_string()))]);
        if let (true, Some((last, _))) = (page.len() < rest.len(), page.last()) {
            let token = format!("{}:{}/{}", self.newest, last.namespace, last.name);
            metadata.insert("continue".into(), json!(hex::encode(token)));
            metadata.insert("remainingItemCount".into(), json!(rest.len() - page.len()));
        }
        let items: Vec<_> = page
            .iter()
            .map(|(_, object)| in_version((*object).clone(), &path.version))
            .collect();
        let version = format!("{HELM_GROUP}/{}", path.version);
        Ok(
            json!({"kind": "HelmReleaseList", "apiVersion": version, "metadata": metadata, "items": items}),
        )
    }

    fn page_after(&self, token: &str) -> Result<Key, Refusal> {
        let bad = || Refusal::bad_request("continue key is not valid");
        let token = String::from_utf8(hex::decode(token).map_err(|_| bad())?).map_err(|_| bad())?;
        let (version, rest) = token.split_once(':').ok_or_else(bad)?;
        let (namespace, name) = rest.split_once('/').ok_or_else(bad)?;
        if version.parse::<u64>().map_err(|_| bad())? < self.compacted {
            return Err(Refusal::expired());
        }
        Ok(Key::new(namespace, name))
    }

    /// The writes after `version`, or that they are no longer kept.
    pub(super) fn since(&self, version: u64) -> Result<Vec<Change>, Refusal> {
        if version < self.compacted {
            return Err(Refusal::expired());
        }
        let from = self
            .history
            .partition_point(|change| change.version <= version);
        Ok(self.changes(from))
    }
}

/// The object as that API version shows it. v2beta1 knows neither history nor attempted generation.
pub(super) fn in_version(mut object: Value, version: &str) -> Value {
    object["apiVersion"] = json!(format!("{HELM_GROUP}/{version}"));
    if version == "v2beta1"
        && let Some(status) = object["status"].as_object_mut()
    {
        for newer in [
            "history",
            "lastAttemptedGeneration",
            "lastAttemptedConfigDigest",
            "lastAttemptedReleaseAction",
        ] {
            status.remove(newer);
        }
    }
    object
}

fn held_up(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|finalizers| !finalizers.is_empty())
}

fn raise_generation(object: &mut Value) {
    let generation = object["metadata"]["generation"]
        .as_i64()
        .unwrap_or_default();
    object["metadata"]["generation"] = json!(generation + 1);
}

fn drop_nulls(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
}

/// What the API server checks of metadata, whatever the kind.
fn valid(key: &Key, object: &Value) -> Result<(), Refusal> {
    let Some(annotations) = object["metadata"]
        .get("annotations")
        .filter(|value| !value.is_null())
    else {
        return Ok(());
    };
    let Some(annotations) = annotations.as_object() else {
        return Err(Refusal::invalid(
            key,
            "metadata.annotations: Invalid value: must be a map",
        ));
    };
    let mut bytes = 0;
    for (name, value) in annotations {
        let Some(text) = value.as_str() else {
            return Err(Refusal::invalid(
                key,
                "metadata.annotations: Invalid value: values must be strings",
            ));
        };
        bytes += name.len() + text.len();
    }
    if bytes > ANNOTATIONS_LIMIT {
        return Err(Refusal::invalid(
            key,
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ));
    }
    Ok(())
}
