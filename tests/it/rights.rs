//! The rights that the chart grants are those that are used.

use std::{collections::BTreeSet, time::Duration};

use helmreboot::{
    app::Options,
    config::SweepMode,
    demo::fake_cluster::Rights,
    domain::policy::{Mode, Policy},
};
use serde_json::json;

use crate::{
    chart::find,
    packaging::chart,
    support::{Live, TestApp, pass},
};

/// Which verbs which settings take: what the chart grants, and what is used.
const RIGHTS: [(&str, &str, &[&str]); 6] = [
    ("act", "watch", &["get", "list", "watch", "patch"]),
    ("act", "10m", &["get", "list", "patch"]),
    ("act", "off", &["get", "patch"]),
    ("observe", "watch", &["get", "list", "watch"]),
    ("observe", "10m", &["get", "list"]),
    ("observe", "off", &["get"]),
];

#[test]
fn the_chart_grants_exactly_these_verbs() {
    for (mode, sweep, verbs) in RIGHTS {
        let Some(rendered) = chart(&["--set", &format!("mode={mode},sweep={sweep}")]) else {
            return;
        };
        let rendered = rendered.expect("a chart");
        let rules: Vec<_> = rendered
            .iter()
            .filter_map(|object| object.get("rules"))
            .collect();
        let releases = json!({"apiGroups": ["helm.toolkit.fluxcd.io"], "resources": ["helmreleases"], "verbs": verbs});
        let events = json!({"apiGroups": [""], "resources": ["events"], "verbs": ["create"]});
        let expected = if mode == "act" {
            json!([releases, events])
        } else {
            json!([releases])
        };
        assert_eq!(rules, [&expected], "{mode} {sweep}");
    }
}

#[tokio::test(start_paused = true)]
async fn exactly_the_granted_verbs_are_used() {
    for (mode, sweep, verbs) in RIGHTS {
        let observe = mode == "observe";
        let policy = Policy {
            mode: if observe { Mode::Observe } else { Mode::Act },
            ..Policy::default()
        };
        let sweep = match sweep {
            "off" => SweepMode::Off,
            "watch" => SweepMode::Watch,
            _ => SweepMode::Every(Duration::from_secs(600)),
        };
        let app = TestApp::with(
            Options {
                policies: policy.into(),
                sweep,
                ..Options::default()
            },
            &["a"],
        );
        app.cluster("a").grant(Rights {
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            namespaces: None,
        });
        let release = app.holds(Live::stalled("web"));
        app.alert(&release).await;
        pass(1200).await;
        let calls = app.cluster("a").calls();
        let used: BTreeSet<_> = calls
            .iter()
            .filter(|call| !call.uri.contains("/events"))
            .map(|call| call.verb)
            .filter(|verb| *verb != "discover")
            .collect();
        assert_eq!(used, verbs.iter().copied().collect(), "{mode} {sweep:?}");
        assert_eq!(app.writes().is_empty(), observe);
    }
}

#[test]
fn rights_are_given_where_something_is_done_and_nowhere_else() {
    let cluster = |more: &str| {
        format!("config.clusters[0].name=a,config.clusters[0].keys[0].env=A{more},sweep=off")
    };
    let rights = [
        (cluster(",config.clusters[0].kubeconfig=/etc/a"), None),
        ("config.kubeconfig=/etc/a,sweep=off".to_owned(), None),
        (
            cluster(",config.clusters[0].inCluster=true"),
            Some(json!(["get", "patch"])),
        ),
        (
            cluster(",config.clusters[0].inCluster=true,config.clusters[0].mode=observe"),
            Some(json!(["get"])),
        ),
        (
            "spoke.enabled=true,sweep=off".to_owned(),
            Some(json!(["get", "patch"])),
        ),
    ];
    for (set, verbs) in rights {
        let Some(rendered) = chart(&["--set", &set]) else {
            return;
        };
        let rendered = rendered.expect("a chart");
        let role = rendered
            .iter()
            .find(|object| object["kind"] == "ClusterRole");
        assert_eq!(
            role.map(|role| role["rules"][0]["verbs"].clone()),
            verbs,
            "{set}"
        );
    }
}

#[test]
fn wherever_replicas_choose_one_among_them_they_may() {
    for set in [
        "replicas=2",
        "replicas=2,rbac.create=false",
        "replicas=2,leaderElection=false",
        "replicas=1",
    ] {
        let Some(rendered) = chart(&["--set", set]) else {
            return;
        };
        let rendered = rendered.expect("a chart");
        let container = &find(&rendered, "Deployment", "helmreboot")["spec"]["template"]["spec"]["containers"]
            [0];
        let variables = container["env"].as_array().expect("variables");
        let elects = variables
            .iter()
            .any(|variable| variable["name"] == "LEADER_ELECT");
        let may = rendered.iter().any(|object| {
            object["kind"] == "Role" && object["metadata"]["name"] == "helmreboot-lease"
        });
        assert_eq!(elects, may, "{set}");
        assert_eq!(
            elects,
            set.starts_with("replicas=2")
                && !set.contains("false,")
                && !set.ends_with("Election=false"),
            "{set}"
        );
    }
}
