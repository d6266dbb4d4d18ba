//! Serves the page with embedded clusters and fixed releases, for the tests in a browser:
//!
//! ```console
//! cargo run --example page -- 127.0.0.1:8085
//! ```
//!
//! It reads commands from standard input, one in each line: `fail NAMESPACE/NAME`,
//! `hostile NAMESPACE/NAME`, `heal NAMESPACE/NAME`, `burst NUMBER`.

use std::{io::BufRead, sync::Arc};

use anyhow::Context;
use helmreboot::{
    app::{App, ClusterHandle, Listeners, Options, bind},
    clock::Clock,
    config::clusters::{ClusterAccess, ClusterConfig},
    controller::Intervals,
    demo::fake_cluster::{FakeCluster, Key as ReleaseKey},
    domain::{
        link::Link,
        policy::Mode,
        signature::{Key, Keys, Secret},
    },
    kubernetes::Connection,
    notify::Destinations,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const SLOW: &str = "timeout waiting for: [Deployment/shop/web status: 'InProgress']";
const IMMUTABLE: &str = "cannot patch \"db\" with kind StatefulSet: StatefulSet.apps \"db\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden";
const REGISTRY: &str =
    "Get \"https://registry.example.com/v2/\": dial tcp 10.0.0.1:443: connect: connection refused";
const HOSTILE: &str = "<script>document.title='owned';alert(1)</script><img src=x onerror=alert(2)><style>*{display:none}</style> \"' & \u{1b}[31mred \u{202e}txet </pre></details>";

/// A release that failed for `cause` so many minutes ago.
fn status(cause: &str, minutes: i64, stalled: bool) -> Value {
    let since = Timestamp::now() - SignedDuration::from_mins(minutes);
    let message = format!("Helm upgrade failed for release with chart app@1.0.0: {cause}");
    let condition = |kind: &str, value: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": value, "reason": reason, "message": message,
            "observedGeneration": 1, "lastTransitionTime": format!("{since:.0}")})
    };
    let mut conditions = vec![
        condition("Ready", "False", "UpgradeFailed", &message),
        condition("Released", "False", "UpgradeFailed", &message),
    ];
    if stalled {
        let gave_up = "Failed to upgrade after 1 attempt(s)";
        conditions.push(condition("Stalled", "True", "RetriesExceeded", gave_up));
    }
    json!({"observedGeneration": 1, "lastAttemptedGeneration": 1, "lastAttemptedRevision": "1.0.0",
        "lastAttemptedConfigDigest": "sha256:0123456789abcdef", "failures": 1, "upgradeFailures": 1,
        "conditions": conditions,
        "history": [{"version": 2, "status": "failed", "chartVersion": "1.0.0",
            "configDigest": "sha256:0123456789abcdef", "lastDeployed": format!("{since:.0}")}]})
}

fn put(cluster: &FakeCluster, key: &ReleaseKey, status: &Value) {
    cluster.apply(key, &json!({"spec": {"interval": "1h"}}));
    cluster.write_status(key, status);
}

/// Flux has handled the request, and the release is ready.
fn heal(cluster: &FakeCluster, key: &ReleaseKey) {
    let Some(object) = cluster.get(key) else {
        return;
    };
    let now = format!("{:.0}", Timestamp::now());
    let mut status = object["status"].clone();
    status["conditions"] = json!([{"type": "Ready", "status": "True", "reason": "UpgradeSucceeded",
        "message": "Helm upgrade succeeded", "observedGeneration": 1, "lastTransitionTime": now}]);
    status["lastHandledReconcileAt"] =
        object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].clone();
    status["history"] = json!([{"version": 3, "status": "deployed", "chartVersion": "1.0.0",
        "configDigest": "sha256:0123456789abcdef", "lastDeployed": now}]);
    cluster.write_status(key, &status);
}

fn start(clusters: &[FakeCluster]) {
    let [eu, us] = clusters else { return };
    for (name, minutes) in [("db", 6 * 24 * 60), ("search", 190)] {
        let key = ReleaseKey::new("shop", name);
        let cause = IMMUTABLE.replace("\"db\"", &format!("\"{name}\""));
        put(eu, &key, &status(&cause, minutes, true));
    }
    let odd = "post-upgrade hooks failed: job report-migration: exit status 3";
    put(
        us,
        &ReleaseKey::new("team", "reports"),
        &status(odd, 45, true),
    );
    put(
        us,
        &ReleaseKey::new("team", "cache"),
        &status(SLOW, 2, true),
    );
    for number in 0..7 {
        let key = ReleaseKey::new("apps", &format!("web-{number}"));
        put(eu, &key, &status(REGISTRY, 4, true));
    }
}

fn obey(line: &str, clusters: &[FakeCluster]) {
    let key = |name: &str| {
        let (namespace, name) = name.split_once('/').unwrap_or(("apps", name));
        ReleaseKey::new(namespace, name)
    };
    let us = &clusters[1];
    match line.split_once(' ') {
        Some(("fail", name)) => put(us, &key(name), &status(IMMUTABLE, 1, true)),
        Some(("hostile", name)) => {
            let long = format!("{HOSTILE}{}", "x".repeat(39_000));
            put(us, &key(name), &status(&long, 30, true));
        }
        Some(("heal", name)) => heal(us, &key(name)),
        Some(("burst", number)) => {
            for number in 0..number.parse().unwrap_or(0) {
                let key = ReleaseKey::new("burst", &format!("r{number:04}"));
                put(us, &key, &status(IMMUTABLE, 1, true));
            }
        }
        _ => eprintln!("unknown command {line:?}"),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:8085".into());
    let clock = Clock::system();
    let (mut clusters, mut handles) = (Vec::new(), Vec::new());
    for name in ["prod-eu", "prod-us"] {
        let cluster = FakeCluster::new(clock.clone());
        let secret = Secret::new("a key that nothing is signed with").context("a key")?;
        let config = ClusterConfig {
            name: Arc::from(name),
            keys: Vec::new(),
            access: ClusterAccess::default(),
            mode: Mode::Act,
            namespaces: Vec::new(),
            events_addr: None,
            place: "page".into(),
            access_place: String::new(),
        };
        handles.push(ClusterHandle {
            config,
            keys: Keys::new(vec![Key::new(secret, None)]),
            connection: Connection::to(cluster.client()),
            destinations: Destinations::default(),
        });
        clusters.push(cluster);
    }
    start(&clusters);
    let links = vec![Link {
        name: "Flux Web UI".into(),
        url: "https://flux.example.com/resource/HelmRelease/{namespace}/{name}".into(),
    }];
    let options = Options {
        links,
        intervals: Intervals::default(),
        ..Options::default()
    };
    let listeners = Listeners {
        webhook: bind("127.0.0.1:0")?,
        metrics: bind(&address)?,
        probes: bind("127.0.0.1:0")?,
        dashboard: None,
    };
    let (stop, stopped) = mpsc::channel(1);
    let running = tokio::spawn(App::new(options, handles, clock).run(listeners, stopped));
    // The end of the input is the end of the program.
    tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            obey(line.trim(), &clusters);
        }
    })
    .await?;
    stop.send("the end of the input").await?;
    running.await?
}
