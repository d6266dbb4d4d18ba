//! `helmreboot run --once`: what is due is restarted, and the program ends.

use helmreboot::demo::fake_cluster::{FakeCluster, Rights};
use serde_json::{Value, json};

use crate::{
    program::{run, text},
    running::config_file,
    status::{cluster, command, kubeconfig_of},
};

fn patches(cluster: &FakeCluster) -> usize {
    let calls = cluster.calls();
    calls.iter().filter(|call| call.verb == "patch").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn run_once_restarts_what_is_due_and_ends() {
    let cluster = cluster();
    let file = kubeconfig_of("run-once", &cluster).await;
    let patches = || patches(&cluster);
    let observed = command("run", &file, &["--once", "-A", "--mode", "observe"]).await;
    assert!(observed.status.success(), "{observed:?}");
    assert!(
        text(&observed.stdout).contains("would restart (reset)"),
        "{observed:?}"
    );
    assert_eq!((patches(), cluster.events().len()), (0, 0));
    let output = command("run", &file, &["--once", "-A", "-o", "json"]).await;
    let done: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let of = |name: &str| {
        let mut all = done.as_array().expect("a list").iter();
        let one = all.find(|done| done["name"] == name).expect("the release");
        (one["done"].clone(), one["reason"].clone())
    };
    assert_eq!(of("stuck"), (json!("restart"), json!("reset")));
    assert_eq!(of("broken"), (json!("leave"), json!("permanent")));
    assert!(output.status.success(), "{output:?}");
    assert_eq!((patches(), cluster.events().len()), (1, 2));
    // The next run waits for Flux.
    let again = command("run", &file, &["--once", "-A"]).await;
    assert!(
        text(&again.stdout).contains("waits (token-pending)"),
        "{again:?}"
    );
    assert_eq!(patches(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_once_without_rights_is_exit_code_1() {
    let cluster = cluster();
    let verbs = ["get", "list"].map(str::to_owned).to_vec();
    cluster.grant(Rights {
        verbs,
        namespaces: None,
    });
    let file = kubeconfig_of("run-forbidden", &cluster).await;
    let output = command("run", &file, &["--once", "-A"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stdout).contains("failed (forbidden)"),
        "{output:?}"
    );
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("cannot reconcile default/apps/stuck")
            && stderr.contains("grant get and patch"),
        "{stderr}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn run_once_says_that_events_are_not_allowed() {
    let cluster = cluster();
    cluster.grant_events(false);
    let file = kubeconfig_of("run-no-events", &cluster).await;
    let output = command("run", &file, &["--once", "-A"]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!((patches(&cluster), cluster.events().len()), (1, 0));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("cannot deliver kubernetes events of cluster default")
            && stderr.contains("grant create on events"),
        "{stderr}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn run_once_keeps_to_the_file() {
    let cluster = cluster();
    let file = kubeconfig_of("run-file", &cluster).await;
    let patches = || patches(&cluster);
    let pause = config_file("run-pause", "clusterName: prod\n");
    let with = |yaml: &str| config_file("run-file", yaml);
    let path = file.display();
    let cases = [
        (
            "clusterName: prod\npolicies: [{name: p, match: {clusters: [prod]}, mode: observe}]\n"
                .to_owned(),
            0,
        ),
        (
            format!(
                "clusters: [{{name: prod, kubeconfig: {path}, mode: observe, keys: [{{file: /x}}]}}]\n"
            ),
            0,
        ),
        (format!("pauseFile: {pause}\n"), 0),
        (
            format!(
                "clusters: [{{name: prod, kubeconfig: {path}, sweepNamespaces: [other], keys: [{{file: /x}}]}}]\n"
            ),
            0,
        ),
    ];
    for (yaml, expected) in cases {
        let config = with(&yaml);
        let listed = yaml.starts_with("clusters");
        let arguments = vec!["--once", "-A", "--config", &config, "--context", "c"];
        let output = if listed {
            let all: Vec<_> = std::iter::once("run")
                .chain(arguments)
                .map(str::to_owned)
                .collect();
            let run = move || run(&all.iter().map(String::as_str).collect::<Vec<_>>(), b"");
            tokio::task::spawn_blocking(run).await.expect("no panic")
        } else {
            command("run", &file, &arguments).await
        };
        assert!(output.status.success(), "{yaml}: {output:?}");
        assert_eq!(patches(), expected, "{yaml}: {output:?}");
    }
    let outside = format!(
        "clusters: [{{name: prod, kubeconfig: {path}, sweepNamespaces: [other], keys: [{{file: /x}}]}}]\n"
    );
    let config = with(&outside);
    let all = ["run", "--once", "-n", "apps", "--config", &config].map(str::to_owned);
    let run = move || run(&all.iter().map(String::as_str).collect::<Vec<_>>(), b"");
    let output = tokio::task::spawn_blocking(run).await.expect("no panic");
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(
        text(&output.stderr).contains("apps is not in sweepNamespaces of cluster prod"),
        "{output:?}"
    );
}
