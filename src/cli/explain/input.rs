//! HelmReleases out of YAML or JSON: one, several documents, or lists as kubectl prints them.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::domain::{alert::HELM_GROUP, release::Release};

/// All HelmReleases in a text.
pub(super) fn releases(text: &str, file: &str) -> anyhow::Result<Vec<Release>> {
    let (mut releases, mut others) = (Vec::new(), Vec::new());
    for document in documents(text).with_context(|| format!("{file} is neither JSON nor YAML"))? {
        collect(document, &mut releases, &mut others)
            .with_context(|| format!("{file} holds a HelmRelease that cannot be read"))?;
    }
    if releases.is_empty() {
        others.dedup();
        let found = if others.is_empty() {
            "nothing".into()
        } else {
            others.join(", ")
        };
        bail!(
            "there is no HelmRelease in {file} (found: {found}); kubectl get helmrelease NAME -o yaml prints one"
        );
    }
    Ok(releases)
}

fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let json: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect();
    match json {
        Ok(documents) => Ok(documents),
        // What begins like JSON is told what is wrong with it as JSON.
        Err(error) if text.trim_start().starts_with(['{', '[']) => {
            bail!("line {}, column {}", error.line(), error.column())
        }
        Err(_) => serde_saphyr::from_multiple(text).map_err(|error| {
            let error = error.to_string();
            anyhow::anyhow!("{}", error.lines().next().unwrap_or_default().to_owned())
        }),
    }
}

fn collect(
    value: Value,
    releases: &mut Vec<Release>,
    others: &mut Vec<String>,
) -> Result<(), serde_json::Error> {
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    match value {
        Value::Array(items) => {
            for item in items {
                collect(item, releases, others)?;
            }
        }
        Value::Object(mut map) if kind.ends_with("List") => {
            if let Some(items) = map.remove("items") {
                collect(items, releases, others)?;
            }
        }
        Value::Object(map) => {
            let group = map.get("apiVersion").and_then(Value::as_str);
            let ours = group.is_none_or(|version| version.starts_with(HELM_GROUP));
            if kind == "HelmRelease" && ours {
                releases.push(serde_json::from_value(Value::Object(map))?);
            } else {
                others.push(if kind.is_empty() {
                    "an object without a kind".into()
                } else {
                    kind
                });
            }
        }
        Value::Null => {}
        _ => others.push("a single value".into()),
    }
    Ok(())
}
