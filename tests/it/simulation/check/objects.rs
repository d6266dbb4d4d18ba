//! What an object shows.

use std::collections::BTreeSet;

use serde_json::Value;

/// Whether a cause is one of those that never pass.
pub(super) fn lasting(object: &Value) -> bool {
    let texts = [
        "is invalid",
        "execution error",
        "updates to statefulset spec",
    ];
    ["Ready", "Released"]
        .iter()
        .filter_map(|kind| condition(object, kind))
        .filter(|condition| condition["status"] == "False")
        .filter_map(|condition| condition["message"].as_str())
        .any(|message| texts.iter().any(|text| message.contains(text)))
}

/// Whether a webhook or the network made the release fail.
pub(super) fn blames_infrastructure(object: &Value) -> bool {
    let message = condition(object, "Released").and_then(|released| released["message"].as_str());
    let texts = ["failed calling webhook", "connection refused"];
    message.is_some_and(|message| texts.iter().any(|text| message.contains(text)))
}

pub(super) fn uninstalled(object: &Value) -> bool {
    let history = object["status"]["history"].as_array();
    history
        .and_then(|history| history.first())
        .is_some_and(|newest| newest["status"] == "uninstalling")
}

pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

pub(super) fn is(object: &Value, kind: &str, status: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == status)
}

pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    object["metadata"]["annotations"][name]
        .as_str()
        .unwrap_or_default()
}

/// Whether a person keeps helmreboot away: anything but a clear yes does.
pub(super) fn opted_out(object: &Value) -> bool {
    let enabled = object["metadata"]["annotations"]["helmreboot.io/enabled"].as_str();
    enabled.is_some_and(|text| !text.trim().eq_ignore_ascii_case("true"))
}

/// Whether a person wants nothing to be written: anything but `act` says so.
pub(super) fn only_observed(object: &Value) -> bool {
    let annotations = &object["metadata"]["annotations"];
    let mode = annotations["helmreboot.io/mode"].as_str();
    mode.is_some_and(|mode| !mode.trim().eq_ignore_ascii_case("act"))
}

/// What helmreboot keeps for itself.
pub(super) fn state(object: &Value) -> Value {
    serde_json::from_str(annotation(object, "helmreboot.io/state")).unwrap_or_default()
}

/// Names of annotations that differ.
pub(super) fn changed(before: &Value, after: &Value) -> Vec<String> {
    let map = |object: &Value| {
        object["metadata"]["annotations"]
            .as_object()
            .cloned()
            .unwrap_or_default()
    };
    let (before, after) = (map(before), map(after));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
    names
        .into_iter()
        .filter(|name| before.get(name) != after.get(name))
        .collect()
}

/// Everything but annotations and the version.
pub(super) fn stripped(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("annotations");
        metadata.remove("resourceVersion");
    }
    object
}

pub(super) fn summary(object: &Value) -> String {
    let conditions = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let conditions: Vec<_> = conditions
        .iter()
        .map(|condition| {
            format!(
                "{}={}/{}",
                text(&condition["type"]),
                text(&condition["status"]),
                text(&condition["reason"])
            )
        })
        .collect();
    format!(
        "gen {} tried {} {} [{}] requested {} handled {} attempts {} gave-up {} failures {}/{}",
        object["metadata"]["generation"],
        object["status"]["lastAttemptedGeneration"],
        if object["spec"]["suspend"] == true {
            "suspended"
        } else {
            ""
        },
        conditions.join(" "),
        annotation(object, "reconcile.fluxcd.io/requestedAt"),
        text(&object["status"]["lastHandledReconcileAt"]),
        annotation(object, "helmreboot.io/restarts"),
        !annotation(object, "helmreboot.io/gave-up").is_empty(),
        object["status"]["installFailures"],
        object["status"]["upgradeFailures"],
    )
}
