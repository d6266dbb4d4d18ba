//! HelmReleases out of YAML or JSON: one, several documents, or lists as kubectl prints them.

use anyhow::{Context, anyhow, bail};
use serde_json::Value;
use serde_saphyr::Options;

use crate::domain::{alert::HELM_GROUP, release::Release};

/// All HelmReleases in a text.
pub(super) fn releases(text: &str, file: &str) -> anyhow::Result<Vec<Release>> {
    let (mut releases, mut others) = (Vec::new(), Vec::new());
    for document in documents(text).with_context(|| format!("{file} is neither JSON nor YAML"))? {
        collect(document, &mut releases, &mut others).with_context(|| file.to_owned())?;
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
        Err(_) => {
            serde_saphyr::from_multiple_with_options(text, unbounded(text)).map_err(|error| {
                let error = error.to_string();
                anyhow::anyhow!("{}", error.lines().next().unwrap_or_default().to_owned())
            })
        }
    }
}

/// People's own files are as large as their clusters; what a file refers to more than once stays bounded.
fn unbounded(text: &str) -> Options {
    let most = text.len() + 1024;
    let mut options = Options::default();
    if let Some(budget) = &mut options.budget {
        budget.max_events = most;
        budget.max_nodes = most;
        budget.max_documents = most;
        budget.max_total_scalar_bytes = most;
    }
    options
}

fn collect(
    value: Value,
    releases: &mut Vec<Release>,
    others: &mut Vec<String>,
) -> anyhow::Result<()> {
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
                let named = map.get("metadata").map(|metadata| metadata["name"].clone());
                let release = serde_path_to_error::deserialize(Value::Object(map));
                releases.push(release.map_err(|error| {
                    anyhow!(
                        "the HelmRelease {} cannot be read: {error}",
                        named.unwrap_or_default()
                    )
                })?);
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
