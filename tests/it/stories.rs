//! The recorded stories: what a real Flux did, step by step (helm-controller 1.6.3 and, where the name
//! says so, 1.3.0), with every alert as it was signed and delivered. In the stories `wh-breaks-*`, the chart's mode is called
//! `new-object`: one of its objects, which is new, has a webhook that hangs.

use std::{collections::BTreeMap, path::Path, time::Duration};

use helmreboot::demo::{
    fake_cluster::{FakeCluster, Key},
    fake_flux::FakeFlux,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

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
    assert!(stories.len() >= 30, "only {} stories", stories.len());
    stories
}

/// What a story does not tell: when the dependency was taken away and came back, in seconds.
const DEPENDENCY_AWAY: (f64, f64) = (15.0, 40.0);

/// Does to a release what was done to it in the story, at the same times.
pub(crate) async fn perform(story: &[Entry], key: &Key, cluster: &FakeCluster, flux: &FakeFlux) {
    let start = Instant::now();
    let dependency = story.iter().find_map(|entry| match &entry.kind {
        Kind::Apply { what } => what["dependsOn"][0]["name"]
            .as_str()
            .map(|name| Key::new("apps", name)),
        _ => None,
    });
    tokio::spawn({
        let flux = flux.clone();
        async move {
            sleep(Duration::from_secs_f64(DEPENDENCY_AWAY.0)).await;
            let Some(dependency) = dependency else { return };
            flux.set_ready(&dependency, false);
            sleep_until(start + Duration::from_secs_f64(DEPENDENCY_AWAY.1)).await;
            flux.set_ready(&dependency, true);
        }
    });
    for entry in story {
        let input = !matches!(entry.kind, Kind::Seen { .. } | Kind::Alert { .. });
        if input {
            sleep_until(start + Duration::from_secs_f64(entry.at)).await;
        }
        match &entry.kind {
            Kind::Apply { what } => cluster.apply(key, &replaced(cluster, key, what)),
            Kind::Patch { what } => cluster.apply(key, what),
            Kind::Annotate { what } => {
                cluster.apply(key, &json!({"metadata": {"annotations": what}}))
            }
            Kind::Heal => flux.remove_cause(key),
            Kind::Delete => cluster.delete(key),
            Kind::Seen { .. } | Kind::Alert { .. } => {}
        }
    }
}

/// `kubectl apply` replaces the spec: what is not named any more is taken away.
fn replaced(cluster: &FakeCluster, key: &Key, spec: &Value) -> Value {
    let mut patch = json!({"spec": {}});
    if let Some(old) = cluster.get(key) {
        for field in old["spec"]
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::keys)
        {
            patch["spec"][field] = Value::Null;
        }
    }
    for (field, value) in spec.as_object().expect("a spec") {
        patch["spec"][field] = value.clone();
    }
    patch
}
