//! The keys of a cluster: where they come from, and for which namespaces they speak.

use std::{collections::BTreeSet, path::PathBuf};

use super::{file::KeyEntry, parse, section::Section};
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
pub(super) fn check(
    entries: Vec<KeyEntry>,
    mut section: Section<'_>,
    variable: impl Fn(&str) -> Option<String>,
) -> Vec<KeySource> {
    if entries.is_empty() {
        section.fault("is missing; write at least one of `- file: path` or `- env: NAME`");
    }
    let each = entries.into_iter().enumerate();
    each.filter_map(|(index, entry)| entry.check(section.item(index), &variable))
        .collect()
}

impl KeyEntry {
    fn check(
        self,
        mut section: Section<'_>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Option<KeySource> {
        let namespaces = self.namespaces.map(|names| {
            let set: BTreeSet<String> = names.iter().cloned().collect();
            if set.is_empty() || set.len() != names.len() {
                let problem = "is not a list of different names; write each namespace once, or leave the field out";
                section.field_fault("namespaces", problem);
            } else if names.iter().any(|name| parse::namespace(name).is_err()) {
                let problem = "has a name that no namespace has; write whole names, in lower case";
                section.field_fault("namespaces", problem);
            }
            set
        });
        let from = match (self.file, self.env) {
            (Some(file), None) => Origin::File(file.into()),
            (None, Some(env)) => match Secret::new(variable(&env).unwrap_or_default()) {
                Ok(secret) => Origin::Value(secret),
                Err(_) => {
                    // What is no usual name of a variable may be the key itself.
                    let usual = |byte: u8| {
                        byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
                    };
                    let name = if env.bytes().all(usual) {
                        &*env
                    } else {
                        "of that name"
                    };
                    let problem = format!(
                        "the environment variable {name} is not set or empty; put the key into it"
                    );
                    section.field_fault("env", problem);
                    return None;
                }
            },
            _ => {
                section.fault("needs exactly one of file and env; the key itself does not belong into this file");
                return None;
            }
        };
        Some(KeySource { from, namespaces })
    }
}

/// Whether any key is in both.
pub(crate) fn shared(ours: &Keys, theirs: &Keys) -> bool {
    ours.iter()
        .any(|key| theirs.iter().any(|other| key.same_secret(other)))
}
