//! What the people around a release read about it, in their own tools.

use std::{fmt::Write, time::Duration};

use serde_json::Value;

use super::{Spoke, breathe};

/// The reason of the event that is shown.
const SHOWN: &str = "GaveUp";

/// How long the last event may take: deliveries are spaced.
const DELIVERY: Duration = Duration::from_secs(5);

/// Waits until the event that is shown is delivered.
pub(super) async fn delivered(spokes: &[Spoke]) {
    let arrived = async {
        let shown = |spoke: &Spoke| {
            let messages = spoke.receiver.messages();
            let created = spoke.cluster.events();
            messages.iter().any(|message| message.reason == SHOWN)
                && created.iter().any(|event| event["reason"] == SHOWN)
        };
        while !spokes.iter().any(shown) {
            breathe(1.0).await;
        }
    };
    let _ = tokio::time::timeout(DELIVERY, arrived).await;
}

/// The Kubernetes Events of one release as kubectl prints it, and one Flux event as a chat shows it.
pub(super) fn text(spokes: &[Spoke]) -> String {
    let mut text = String::new();
    let events = spokes.iter().find_map(|spoke| {
        let events = spoke.cluster.events();
        let shown = events.iter().find(|event| event["reason"] == SHOWN)?;
        let name = field(&shown["involvedObject"], "name");
        let of_release = |event: &&Value| field(&event["involvedObject"], "name") == name;
        let of_release: Vec<_> = events.iter().filter(of_release).cloned().collect();
        Some((spoke, name, of_release))
    });
    let Some((spoke, name, events)) = events else {
        return text;
    };
    let namespace = field(&events[0]["involvedObject"], "namespace");
    let _ = writeln!(
        text,
        "\nIn cluster {}, this is what its team reads:\n\n$ kubectl events --namespace {namespace} --for helmrelease/{name}, without the columns LAST SEEN and OBJECT\nTYPE      REASON        MESSAGE",
        spoke.name
    );
    for event in &events {
        let _ = writeln!(
            text,
            "{:<8}  {:<12}  {}",
            field(event, "type"),
            field(event, "reason"),
            field(event, "message")
        );
    }
    let messages = spoke.receiver.messages();
    let message = messages
        .iter()
        .find(|message| message.reason == SHOWN && message.title.contains(&name));
    if let Some(message) = message {
        let _ = write!(
            text,
            "\nIn Slack, by an Alert that existed before helmreboot:\n\n[{}] {}\n{}\n",
            message.severity, message.title, message.text
        );
        for (field, value) in &message.fields {
            let _ = writeln!(text, "  {field}: {value}");
        }
    }
    text
}

fn field(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}
