//! `helmreboot status`: what is stuck in a cluster, with read rights and without an installation.

use std::{path::PathBuf, process::Output};

use helmreboot::{
    clock::Clock,
    demo::fake_cluster::{FakeCluster, Rights},
};
use serde_json::{Value, json};

use crate::{
    live::{IMMUTABLE, Live, recovers},
    program::{run, text},
    running::{kubeconfig, listen},
};

/// A cluster with a release that is stuck, one with a permanent cause, and one that is ready.
pub(crate) fn cluster() -> FakeCluster {
    let cluster = FakeCluster::new(Clock::system());
    Live::stalled("stuck").put(&cluster);
    let permanent = Live::named("broken").condition("Stalled", "True", "RetriesExceeded", "m");
    permanent.failed(IMMUTABLE).put(&cluster);
    let ready = Live::stalled("fine");
    ready.put(&cluster);
    recovers(&cluster, &ready.key);
    cluster
}

pub(crate) async fn kubeconfig_of(name: &str, cluster: &FakeCluster) -> PathBuf {
    let address = listen(cluster.router()).await;
    let server = json!({"server": format!("http://{address}")});
    kubeconfig(name, &server, &json!({}))
}

async fn status(file: &std::path::Path, arguments: &[&str]) -> Output {
    command("status", file, arguments).await
}

pub(crate) async fn command(name: &str, file: &std::path::Path, arguments: &[&str]) -> Output {
    let mut all = vec![name, "--kubeconfig", file.to_str().expect("text")];
    all.extend(arguments);
    let all: Vec<_> = all.into_iter().map(str::to_owned).collect();
    let run = move || run(&all.iter().map(String::as_str).collect::<Vec<_>>(), b"");
    tokio::task::spawn_blocking(run).await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_lists_what_is_not_ready_with_the_cause_and_what_to_type() {
    let cluster = cluster();
    let verbs = vec!["list".to_owned()];
    cluster.grant(Rights {
        verbs,
        namespaces: None,
    });
    let file = kubeconfig_of("status", &cluster).await;
    let output = status(&file, &["-A"]).await;
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let columns = [
        "NAMESPACE",
        "NAME",
        "RULE",
        "CLASS",
        "SINCE",
        "DECISION",
        "NEXT STEP",
    ];
    assert_eq!(
        lines[0]
            .split("   ")
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .collect::<Vec<_>>(),
        columns
    );
    for (line, parts) in lines[1..].iter().zip([
        [
            "apps        broken   immutable-field   permanent",
            "leave (permanent)",
            "correct the cause, then: flux reconcile helmrelease broken -n apps --reset",
        ],
        [
            "apps        stuck    wait-timeout      transient",
            "restart (stalled)",
            "flux reconcile helmrelease stuck -n apps --reset",
        ],
    ]) {
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
    let stderr = text(&output.stderr);
    assert!(stderr.contains("3 HelmReleases read, 2 not ready: 1 can be restarted, 1 waiting for a person, 0 that continue by themselves"), "{stderr}");
    assert!(
        cluster
            .calls()
            .iter()
            .all(|call| ["list", "discover"].contains(&call.verb))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn for_machines_it_is_one_document() {
    let file = kubeconfig_of("status-json", &cluster()).await;
    let output = status(&file, &["-A", "-o", "json"]).await;
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["total"], 3);
    let stuck = &document["releases"][1];
    for (field, value) in [
        ("namespace", json!("apps")),
        ("name", json!("stuck")),
        ("ready", json!(false)),
        ("decision", json!("restart")),
        ("rule", json!("wait-timeout")),
    ] {
        assert_eq!(stuck[field], value, "{stuck:#}");
    }
    let yaml = status(&file, &["-A", "-o", "yaml"]).await;
    let same: Value = serde_saphyr::from_slice(&yaml.stdout).expect("YAML");
    assert_eq!(same, document);
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_and_names_mean_what_kubectl_users_expect() {
    let file = kubeconfig_of("status-names", &cluster()).await;
    let names = async |arguments: &[&str]| {
        let output = status(&file, arguments).await;
        let lines = text(&output.stdout).lines().skip(1).map(str::to_owned);
        let name = |line: String| {
            line.split_whitespace()
                .find(|word| ["broken", "stuck", "fine"].contains(word))
                .map(str::to_owned)
        };
        lines.filter_map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&["-n", "apps"]).await, ["broken", "stuck"]);
    assert_eq!(
        names(&["-n", "apps", "--all"]).await,
        ["broken", "fine", "stuck"]
    );
    for arguments in [
        &["apps/fine"][..],
        &["fine", "-n", "apps"],
        &["hr/fine", "-n", "apps"],
        &["helmrelease/fine", "-A"],
        &["hr", "fine", "-n", "apps"],
    ] {
        assert_eq!(names(arguments).await, ["fine"], "{arguments:?}");
    }
    // The namespace of the context is `default`.
    assert_eq!(names(&[]).await, [""; 0]);
    let missing = status(&file, &["apps/fone"]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stderr).contains("there is no HelmRelease apps/fone in cluster default"),
        "{missing:?}"
    );
    let twice = status(&file, &["-A", "--context", "c,c"]).await;
    assert_eq!(text(&twice.stdout).lines().count(), 3, "{twice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_cannot_be_listed_is_an_error_that_says_why() {
    let cluster = cluster();
    cluster.grant(Rights {
        verbs: Vec::new(),
        namespaces: None,
    });
    let file = kubeconfig_of("status-forbidden", &cluster).await;
    let output = status(&file, &["-A"]).await;
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains("cannot list the HelmReleases of cluster"),
        "{stderr}"
    );
    assert!(stderr.contains("forbidden"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_prints_what_changes() {
    use std::io::{BufRead, BufReader};
    let cluster = cluster();
    let file = kubeconfig_of("status-watch", &cluster).await;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_helmreboot"))
        .args(["status", "-A", "-w", "--kubeconfig"])
        .arg(&file)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (sender, mut printed) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .all(|line| sender.send(line).is_ok())
    });
    for _ in 0..3 {
        printed.recv().await.expect("a line");
    }
    Live::stalled("new").put(&cluster);
    let line = async {
        while let Some(line) = printed.recv().await {
            if line.contains("restart (stalled)") && line.contains("new") {
                return;
            }
        }
        panic!("the program ended");
    };
    line.await;
    // A release of the first table recovers.
    recovers(
        &cluster,
        &helmreboot::demo::fake_cluster::Key::new("apps", "stuck"),
    );
    loop {
        let line = printed.recv().await.expect("a line");
        if line.contains("stuck") && line.contains("leave (recovered)") {
            break;
        }
    }
    // The watch expires, and the release that fails in the meantime is found by a list.
    cluster.compact();
    cluster.cut_watches();
    Live::stalled("later").put(&cluster);
    loop {
        let line = printed.recv().await.expect("a line");
        if line.contains("later") && line.contains("restart (stalled)") {
            break;
        }
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_release_from_a_restart_is_the_next_step() {
    let cluster = FakeCluster::new(Clock::system());
    Live::stalled("off")
        .annotated("helmreboot.io/enabled", "false")
        .put(&cluster);
    Live::stalled("odd")
        .annotated("helmreboot.io/limit", "many")
        .put(&cluster);
    let file = kubeconfig_of("status-steps", &cluster).await;
    let output = status(&file, &["-A"]).await;
    let lines: Vec<_> = text(&output.stdout).lines().skip(1).collect();
    assert!(
        lines[0].contains("odd")
            && lines[0].contains("correct the annotation helmreboot.io/limit: expected a number"),
        "{lines:#?}"
    );
    assert!(
        lines[1].contains("leave (opted-out)")
            && lines[1].contains("flux reconcile helmrelease off -n apps --reset"),
        "{lines:#?}"
    );
    assert!(
        text(&output.stderr).contains("2 waiting for a person"),
        "{output:?}"
    );
}

/// Whatever the flags for the cluster are, the modes and the namespaces of the file hold.
#[tokio::test(flavor = "multi_thread")]
async fn commands_lead_to_the_cluster_that_was_read() {
    let file = kubeconfig_of("status-context", &cluster()).await;
    let output = status(&file, &["-A", "--context", "c"]).await;
    let flags = format!("--reset --kubeconfig {} --context c", file.display());
    assert_eq!(
        text(&output.stdout).matches(&flags).count(),
        2,
        "{output:?}"
    );
}
