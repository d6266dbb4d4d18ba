//! The keys of a cluster: where they come from, and for which namespaces they speak.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use super::{Fault, Sources, fields::Fields};
use crate::{
    blocking,
    domain::signature::{Key, Keys, Secret},
};

/// The most bytes of a key: no Secret holds more than 1 MiB, and no HMAC key needs more than 64.
const KEY_LIMIT: u64 = 64 * 1024;

/// One key and the namespaces it may speak for.
#[derive(Clone, Debug)]
pub struct KeySource {
    from: Origin,
    namespaces: Option<BTreeSet<String>>,
}

#[derive(Clone, Debug)]
enum Origin {
    Value(Secret),
    File(PathBuf),
}

impl KeySource {
    /// A key in a file, which may change while the service runs.
    pub(super) fn file(path: PathBuf) -> Self {
        Self {
            from: Origin::File(path),
            namespaces: None,
        }
    }

    /// A key that is part of the configuration itself.
    pub(super) fn given(&self) -> Option<Key> {
        (!self.is_file()).then(|| self.read().ok()).flatten()
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self.from, Origin::File(_))
    }

    /// A key that was given as it is.
    pub fn value(secret: Secret) -> Self {
        Self {
            from: Origin::Value(secret),
            namespaces: None,
        }
    }

    pub(super) fn read(&self) -> Result<Key, String> {
        let secret = match &self.from {
            Origin::Value(secret) => secret.clone(),
            Origin::File(path) => {
                let bytes = blocking::contents(path, KEY_LIMIT).map_err(|error| {
                    format!(
                        "cannot read the key file {}: {error}; write the path of a file that holds the key",
                        path.display()
                    )
                })?;
                Secret::new(bytes).map_err(|_| {
                    format!(
                        "the key file {} is empty; put the key into it",
                        path.display()
                    )
                })?
            }
        };
        Ok(Key::new(secret, self.namespaces.clone()))
    }
}

/// The list of keys of a cluster, at least one.
pub(super) fn read(sources: &mut Sources<'_>, cluster: &mut Fields) -> Vec<KeySource> {
    let place = cluster.place("keys");
    let list = cluster.take_list("keys").unwrap_or_else(|problem| {
        sources.fault(&place, problem);
        Vec::new()
    });
    if list.is_empty() {
        sources.fault(
            &place,
            "is missing; write at least one of `- file: path` or `- env: NAME`",
        );
    }
    let each = list.into_iter().enumerate();
    each.filter_map(|(index, value)| key(sources, format!("{place}[{index}]"), value))
        .collect()
}

fn key(sources: &mut Sources<'_>, place: String, value: Value) -> Option<KeySource> {
    let mut fields = Fields::of(place.clone(), value)
        .map_err(|problem| sources.fault(&place, problem))
        .ok()?;
    let (file, env) = (
        scalar(sources, &mut fields, "file"),
        scalar(sources, &mut fields, "env"),
    );
    let namespaces = namespaces(sources, &mut fields);
    let known = "there is no such field; a key has file or env, and namespaces";
    sources
        .faults
        .extend(fields.unknown().into_iter().map(|fault| Fault {
            problem: known.into(),
            ..fault
        }));
    let from = match (file, env) {
        (Some(file), None) => Origin::File(file.into()),
        (None, Some(env)) => {
            match Secret::new(sources.variable(&env).unwrap_or_default()) {
                Ok(secret) => Origin::Value(secret),
                Err(_) => {
                    sources.fault(fields.place("env"), format!("the environment variable {env} is not set or empty; put the key into it"));
                    return None;
                }
            }
        }
        _ => {
            sources.fault(
                place,
                "needs exactly one of file and env; the key itself does not belong into this file",
            );
            return None;
        }
    };
    Some(KeySource { from, namespaces })
}

/// The namespaces a key is limited to. An empty list is a fault: it must not read as all of them.
fn namespaces(sources: &mut Sources<'_>, fields: &mut Fields) -> Option<BTreeSet<String>> {
    let value = fields.take("namespaces")?;
    let names: Option<Vec<&str>> = value
        .as_array()
        .and_then(|list| list.iter().map(Value::as_str).collect());
    let names = names.unwrap_or_default();
    let set: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    if set.is_empty() || set.len() != names.len() {
        let problem =
            "is not a list of different names; write each namespace once, or leave the field out";
        sources.fault(fields.place("namespaces"), problem);
    }
    Some(set)
}

/// A single value out of an entry.
pub(super) fn scalar(sources: &mut Sources<'_>, fields: &mut Fields, name: &str) -> Option<String> {
    fields.take_scalar(name).unwrap_or_else(|problem| {
        sources.fault(fields.place(name), problem);
        None
    })
}

/// Whether any key is in both.
pub(crate) fn shared(ours: &Keys, theirs: &Keys) -> bool {
    ours.iter()
        .any(|key| theirs.iter().any(|other| key.same_secret(other)))
}
