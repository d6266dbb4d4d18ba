//! A Flux event as notification-controller posts it, and what it means to us.
//!
//! The shape is `fluxcd/pkg:apis/event/v1beta1/event.go`. An event is a hint and nothing more: all it
//! can do is cause a reconcile of the live HelmRelease.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::Deserialize;

/// The API group of HelmRelease.
pub const HELM_GROUP: &str = "helm.toolkit.fluxcd.io";

/// Reasons of error events that speak of a release that failed (`fluxcd/helm-controller`, API v2 and
/// v2beta2); `error` is what helm-controller 0.36 and older wrote for all of them. Other error events,
/// such as `DriftDetected`, are not failed releases.
const FAILURE_REASONS: [&str; 11] = [
    "InstallFailed",
    "UpgradeFailed",
    "TestFailed",
    "RollbackFailed",
    "UninstallFailed",
    "PendingRelease",
    "ArtifactFailed",
    "ValuesError",
    "AccessDenied",
    "InvalidCELExpression",
    "error",
];

/// The only key a release is known by: cluster, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseRef {
    /// The cluster, by its configured name.
    pub cluster: Arc<str>,
    /// The namespace of the HelmRelease.
    pub namespace: Box<str>,
    /// The name of the HelmRelease.
    pub name: Box<str>,
}

/// A Flux event, liberal in what it accepts: unknown fields are ignored, `metadata` and `timestamp`
/// may be null or absent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The object the event is about.
    pub involved_object: InvolvedObject,
    /// `trace`, `info` or `error`.
    pub severity: String,
    /// When it happened, to the second; hand-made events carry null.
    #[serde(default)]
    pub timestamp: Option<Timestamp>,
    /// What happened, in words; for Helm failures followed by a tail of logs.
    pub message: String,
    /// CamelCase reason.
    pub reason: String,
    /// Free keys; notification-controller strips the group prefix since 1.5, older ones do not.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// The controller that saw it, for us `helm-controller`.
    pub reporting_controller: String,
}

/// The parts of a Kubernetes `ObjectReference` that matter here; each may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InvolvedObject {
    /// Kind, for us `HelmRelease`.
    pub kind: Option<String>,
    /// Namespace.
    pub namespace: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// UID; an alert about an object that was since re-created must not touch its successor.
    pub uid: Option<String>,
    /// Group and version.
    pub api_version: Option<String>,
}

/// A release that Flux says has failed. Its message has already become a verdict elsewhere: what
/// waits in a queue must not grow with what a stranger wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which release.
    pub release: ReleaseRef,
    /// The UID the event named, if it did.
    pub uid: Option<Box<str>>,
}

string_enum! {
    /// Why an event does not lead to a reconcile.
    Ignored {
        /// About another kind of object.
        Kind = "kind",
        /// A HelmRelease of another API group.
        ApiGroup = "api-group",
        /// Not said by helm-controller: our own events come back this way, and must not start a loop.
        Controller = "controller",
        /// Nothing went wrong.
        Severity = "severity",
        /// An error, but none that leaves a release failed.
        Reason = "reason",
    }
}

/// What an event means.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A release failed: reconcile it.
    Failure(Failure),
    /// Nothing to do.
    Ignored(Ignored),
}

/// A field of the event that cannot be what it says, by its path.
#[derive(Debug, PartialEq, Eq)]
pub struct BadField(pub &'static str);

impl Event {
    /// The cluster the sender claims to speak for (`Alert.spec.eventMetadata.cluster`), with or
    /// without a group prefix on the key.
    pub fn cluster(&self) -> Option<&str> {
        let metadata = self.metadata.as_ref()?;
        CLUSTER_KEYS
            .iter()
            .find_map(|key| metadata.get(*key))
            .map(String::as_str)
    }

    /// Reads the event as a [`Failure`], or returns why it leads to no reconcile.
    ///
    /// # Errors
    /// A HelmRelease failure whose namespace or name Kubernetes could not have given.
    pub fn meaning(&self, cluster: &Arc<str>) -> Result<Meaning, BadField> {
        let object = &self.involved_object;
        let ignored = |why| Ok(Meaning::Ignored(why));
        if object.kind.as_deref() != Some("HelmRelease") {
            return ignored(Ignored::Kind);
        }
        let group = object
            .api_version
            .as_deref()
            .and_then(|version| version.split_once('/'));
        if object.api_version.is_some() && group.is_none_or(|(group, _)| group != HELM_GROUP) {
            return ignored(Ignored::ApiGroup);
        }
        if self.reporting_controller != "helm-controller" {
            return ignored(Ignored::Controller);
        }
        if self.severity != "error" {
            return ignored(Ignored::Severity);
        }
        if !FAILURE_REASONS.contains(&self.reason.as_str()) {
            return ignored(Ignored::Reason);
        }
        let field = |value: &Option<String>, limit, path| match value {
            Some(value) if is_dns_name(value, limit) => Ok(Box::from(value.as_str())),
            _ => Err(BadField(path)),
        };
        let uid = match object.uid.as_deref() {
            None | Some("") => None,
            Some(uid) if uid.len() <= 128 => Some(Box::from(uid)),
            Some(_) => return Err(BadField("involvedObject.uid")),
        };
        Ok(Meaning::Failure(Failure {
            release: ReleaseRef {
                cluster: Arc::clone(cluster),
                namespace: field(&object.namespace, 63, "involvedObject.namespace")?,
                name: field(&object.name, 253, "involvedObject.name")?,
            },
            uid,
        }))
    }
}

/// The spellings of the cluster key in `metadata`, plain first.
pub const CLUSTER_KEYS: [&str; 3] = [
    "cluster",
    "event.toolkit.fluxcd.io/cluster",
    "helm.toolkit.fluxcd.io/cluster",
];

/// Whether `name` is a DNS-1123 subdomain of at most `limit` bytes. The name becomes part of a URL
/// path, so nothing else may pass.
pub fn is_dns_name(name: &str, limit: usize) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    name.len() <= limit
        && edge(name.as_bytes().first())
        && edge(name.as_bytes().last())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
}

impl fmt::Display for ReleaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.cluster, self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(patch: serde_json::Value) -> Event {
        let mut event = serde_json::json!({
            "involvedObject": {"kind": "HelmRelease", "namespace": "apps", "name": "web",
                "apiVersion": "helm.toolkit.fluxcd.io/v2", "uid": "u-1"},
            "severity": "error", "timestamp": "2026-08-01T10:00:00Z", "message": "m",
            "reason": "UpgradeFailed", "reportingController": "helm-controller",
        });
        json_patch::merge(&mut event, &patch);
        serde_json::from_value(event).expect("an event")
    }

    fn meaning(patch: serde_json::Value) -> Result<Meaning, BadField> {
        event(patch).meaning(&Arc::from("a"))
    }

    #[test]
    fn events_that_ask_for_nothing_say_why() {
        use serde_json::json;
        let table = [
            (
                json!({"involvedObject": {"kind": "Kustomization"}}),
                Ignored::Kind,
            ),
            (json!({"involvedObject": {"kind": null}}), Ignored::Kind),
            (
                json!({"involvedObject": {"apiVersion": "example.com/v2"}}),
                Ignored::ApiGroup,
            ),
            (
                json!({"involvedObject": {"apiVersion": "v1"}}),
                Ignored::ApiGroup,
            ),
            (
                json!({"reportingController": "helmreboot"}),
                Ignored::Controller,
            ),
            (json!({"severity": "info"}), Ignored::Severity),
            (json!({"reason": "DriftDetected"}), Ignored::Reason),
        ];
        for (patch, why) in table {
            assert_eq!(meaning(patch.clone()), Ok(Meaning::Ignored(why)), "{patch}");
        }
    }

    #[test]
    fn a_failure_names_its_release_even_without_optional_fields() {
        let bare = serde_json::json!({"timestamp": null, "metadata": null,
            "involvedObject": {"apiVersion": null, "uid": null}});
        let Ok(Meaning::Failure(failure)) = meaning(bare) else {
            panic!("not a failure")
        };
        assert_eq!(failure.release.to_string(), "a/apps/web");
        assert_eq!(failure.uid, None);
    }

    #[test]
    fn names_that_could_leave_their_place_in_a_url_are_refused() {
        for name in [
            "",
            "../secrets",
            "a/b",
            "UPPER",
            "a?b",
            "-a",
            "a-",
            "a%2fb",
            &"a".repeat(254),
        ] {
            let patch = serde_json::json!({"involvedObject": {"name": name}});
            assert_eq!(
                meaning(patch),
                Err(BadField("involvedObject.name")),
                "{name}"
            );
        }
        let patch = serde_json::json!({"involvedObject": {"namespace": null}});
        assert_eq!(meaning(patch), Err(BadField("involvedObject.namespace")));
    }

    #[test]
    fn the_cluster_is_found_under_a_plain_and_a_prefixed_key() {
        for key in CLUSTER_KEYS {
            let mut metadata = serde_json::Map::new();
            metadata.insert(key.into(), "prod".into());
            assert_eq!(
                event(serde_json::json!({"metadata": metadata})).cluster(),
                Some("prod")
            );
        }
        assert_eq!(event(serde_json::json!({})).cluster(), None);
    }
}
