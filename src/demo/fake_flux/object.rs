//! A HelmRelease in a reconcile of the embedded Flux: the status it changes, and what is saved of it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A working copy. Conditions are saved before the rest of the status, as Flux's patcher does it.
pub(super) struct Object {
    /// The object as it was read.
    pub(super) read: Value,
    /// The status as it shall be.
    pub(super) status: Map<String, Value>,
    /// Values that come from a ConfigMap.
    pub(super) values_from: Option<String>,
}

/// The order of conditions.
const ORDER: [&str; 6] = [
    "Reconciling",
    "Stalled",
    "Ready",
    "Released",
    "TestSuccess",
    "Remediated",
];

impl Object {
    pub(super) fn new(read: Value, values_from: Option<String>) -> Self {
        let status = read["status"].as_object().cloned().unwrap_or_default();
        Self {
            read,
            status,
            values_from,
        }
    }

    pub(super) fn generation(&self) -> i64 {
        self.read["metadata"]["generation"]
            .as_i64()
            .unwrap_or_default()
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.read["metadata"]["annotations"][key].as_str()
    }

    pub(super) fn spec(&self, pointer: &str) -> &Value {
        self.read["spec"].pointer(pointer).unwrap_or(&Value::Null)
    }

    pub(super) fn count(&self, counter: &str) -> i64 {
        self.status
            .get(counter)
            .and_then(Value::as_i64)
            .unwrap_or_default()
    }

    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.status.get(field).and_then(Value::as_str)
    }

    pub(super) fn put(&mut self, field: &str, value: impl Into<Value>) {
        self.status.insert(field.into(), value.into());
    }

    pub(super) fn conditions(&self) -> Vec<Value> {
        self.status
            .get("conditions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    }

    pub(super) fn condition(&self, kind: &str) -> Option<Value> {
        self.conditions()
            .into_iter()
            .find(|condition| condition["type"] == kind)
    }

    pub(super) fn set(
        &mut self,
        kind: &str,
        status: &str,
        reason: &str,
        message: &str,
        now: Timestamp,
    ) {
        let old = self.condition(kind).filter(|old| old["status"] == status);
        let since = old.map_or_else(
            || json!(format!("{now:.0}")),
            |old| old["lastTransitionTime"].clone(),
        );
        self.remove(kind);
        let mut conditions = self.conditions();
        conditions.push(
            json!({"type": kind, "status": status, "reason": reason, "message": message,
            "observedGeneration": self.generation(), "lastTransitionTime": since}),
        );
        conditions
            .sort_by_key(|condition| ORDER.iter().position(|kind| condition["type"] == *kind));
        self.put("conditions", conditions);
    }

    pub(super) fn remove(&mut self, kind: &str) {
        let rest: Vec<_> = self
            .conditions()
            .into_iter()
            .filter(|condition| condition["type"] != kind)
            .collect();
        self.put("conditions", rest);
    }

    /// Forgets failures counted so far. Counters that are 0 are absent.
    pub(super) fn clear_failures(&mut self) {
        for counter in ["failures", "installFailures", "upgradeFailures"] {
            self.status.remove(counter);
        }
    }

    pub(super) fn raise(&mut self, counter: &str) {
        let count = self.count(counter) + 1;
        self.put(counter, count);
    }

    /// The saved status with only the conditions brought up to date.
    pub(super) fn with_conditions_only(&self, saved: &Value) -> Value {
        let mut status = saved.clone();
        status["conditions"] = self
            .status
            .get("conditions")
            .cloned()
            .unwrap_or_else(|| json!([]));
        status
    }
}
