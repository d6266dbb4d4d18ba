//! The recorded stories: what a real Flux did, step by step (helm-controller 1.6.3 and, where the name
//! says so, 1.3.0), with every alert as it was signed and delivered.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::Value;

/// The key all recorded alerts are signed with.
pub(crate) const KEY: &str = "s3cr3t-demo-key-0123456789";

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    /// Seconds since the first entry.
    pub(crate) at: f64,
    #[serde(flatten)]
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Kind {
    Apply {
        what: Value,
    },
    Patch {
        what: Value,
    },
    Annotate {
        what: BTreeMap<String, String>,
    },
    Heal,
    Delete,
    Seen {
        event: String,
        object: Value,
    },
    Alert {
        headers: BTreeMap<String, String>,
        body: String,
    },
}

/// All stories, by name.
pub(crate) fn all() -> BTreeMap<String, Vec<Entry>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stories");
    let files = std::fs::read_dir(folder).expect("the stories");
    let story = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.expect("a file").path();
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a name")
            .to_owned();
        let text = std::fs::read_to_string(path).expect("a story");
        let entries = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, entries)
    };
    let stories: BTreeMap<_, _> = files.map(story).collect();
    assert!(stories.len() >= 28, "only {} stories", stories.len());
    stories
}
