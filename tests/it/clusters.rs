//! One cluster's fault is that cluster's fault: files that are missing, wrong, rotated or repaired, and
//! the ways to an API server that kubectl takes. In real time, for files and sockets know no other.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Request, middleware, response::Response};
use helmreboot::{
    clock::Clock,
    demo::fake_cluster::{FakeCluster, Key},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    running::{Running, config_file, get, helmreboot, kubeconfig, listen, post},
    support::{Live, key},
};

/// An API server with one stuck release, which asks for a bearer token where one is given.
pub(crate) struct Server {
    cluster: FakeCluster,
    pub(crate) router: Router,
    token: Arc<Mutex<Option<String>>>,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Server {
    pub(crate) fn new() -> Self {
        let cluster = FakeCluster::new(Clock::system());
        let token = Arc::new(Mutex::new(None::<String>));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (wanted, headers) = (Arc::clone(&token), Arc::clone(&seen));
        let check = move |request: Request, next: middleware::Next| {
            let (wanted, headers) = (Arc::clone(&wanted), Arc::clone(&headers));
            async move {
                headers
                    .lock()
                    .expect("no panic")
                    .push(request.headers().clone());
                let wanted = wanted.lock().expect("no panic").clone();
                let given = request.headers().get(header::AUTHORIZATION);
                let given = given.and_then(|value| value.to_str().ok());
                if wanted.is_some_and(|wanted| given != Some(&*format!("Bearer {wanted}"))) {
                    let mut refused = Response::new(Body::from("{\"message\": \"Unauthorized\"}"));
                    *refused.status_mut() = StatusCode::UNAUTHORIZED;
                    return refused;
                }
                next.run(request).await
            }
        };
        let router = cluster.router().layer(middleware::from_fn(check));
        let server = Self {
            cluster,
            router,
            token,
            seen,
        };
        server.stuck("web");
        server
    }

    pub(crate) fn stuck(&self, name: &str) -> Key {
        let live = Live::stalled(name);
        live.put(&self.cluster);
        live.key
    }

    pub(crate) fn wants(&self, token: &str) {
        *self.token.lock().expect("no panic") = Some(token.to_owned());
    }

    pub(crate) async fn serve(&self) -> SocketAddr {
        listen(self.router.clone()).await
    }

    pub(crate) fn restarts(&self) -> usize {
        let calls = self.cluster.calls();
        calls.iter().filter(|call| call.verb == "patch").count()
    }

    /// Waits until the release was restarted.
    pub(crate) async fn healed(&self, many: usize, within: Duration, why: &str) {
        let begun = Instant::now();
        while self.restarts() < many {
            assert!(begun.elapsed() < within, "{why}: not within {within:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) fn file(name: &str, text: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    // A pipe may be left from a test run before.
    let _ = std::fs::remove_file(&file);
    std::fs::write(&file, text).expect("a file");
    file
}

pub(crate) fn at(address: SocketAddr) -> Value {
    json!({"server": format!("http://{address}")})
}

/// A service for the cluster `a`, which a kubeconfig leads to.
pub(crate) fn serve(kubeconfig: &PathBuf) -> Running {
    Running::start(
        helmreboot()
            .args(["serve", "--cluster-name=a", "--kubeconfig"])
            .arg(kubeconfig)
            .env("HELMREBOOT_TOKEN", "the key"),
    )
}

fn event(name: &str) -> String {
    json!({"involvedObject": {"kind": "HelmRelease", "namespace": "apps", "name": name,
        "apiVersion": "helm.toolkit.fluxcd.io/v2"}, "severity": "error",
        "timestamp": jiff::Timestamp::now().to_string(), "message": "m", "reason": "UpgradeFailed",
        "reportingController": "helm-controller"})
    .to_string()
}

fn alert(webhook: SocketAddr, cluster: &str, secret: &str) -> String {
    let body = event("web");
    let signature = key(secret).sign(body.as_bytes());
    post(webhook, &format!("/webhook/{cluster}"), &signature, &body)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_clusters_a_bad_kubeconfig_and_a_hanging_plugin_cost_the_third_nothing() {
    let [first, second, third] = [(); 3].map(|()| Server::new());
    let (first_at, second_at) = (first.serve().await, second.serve().await);
    let third_at = third.serve().await;
    let bad = file("bad.kubeconfig", "apiVersion: v1\nclusters: {");
    let child = file("plugin-child", "");
    let script = format!("sleep 600 & echo $! > {}; wait", child.display());
    let exec = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh",
        "args": ["-c", script], "interactiveMode": "Never"}});
    let hangs = kubeconfig("hangs", &at(second_at), &exec);
    let good = kubeconfig("good", &at(third_at), &json!({}));
    let keys = ["first", "second", "third"].map(|name| file(&format!("{name}.key"), name));
    let config = json!({"insecureKubeconfigExec": true, "shutdownDelay": "0s", "clusters": [
        {"name": "first", "keys": [{"file": keys[0]}], "kubeconfig": bad},
        {"name": "second", "keys": [{"file": keys[1]}], "kubeconfig": hangs},
        {"name": "third", "keys": [{"file": keys[2]}], "kubeconfig": good},
        {"name": "fourth", "keys": [{"file": "/nowhere/key"}], "kubeconfig": "/nowhere/config"}]});
    let config = file("three.yaml", &config.to_string());
    let mut program = Running::start(
        helmreboot()
            .args(["serve", "--config"])
            .arg(config)
            .env("PATH", "/usr/bin:/bin"),
    );
    let (webhook, metrics, probes) = (
        program.address("webhook"),
        program.address("metrics"),
        program.address("probes"),
    );
    third.healed(1, Duration::from_secs(3), "the third").await;
    let said = program.wait_for(&["cluster first is not available"]);
    let said = said["message"].as_str().expect("a message").to_owned();
    assert!(said.contains("bad.kubeconfig"), "{said}");
    assert!(get(probes, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(alert(webhook, "first", "first").starts_with("HTTP/1.1 503"));
    assert!(alert(webhook, "fourth", "any").starts_with("HTTP/1.1 401"));
    assert!(alert(webhook, "third", "third").starts_with("HTTP/1.1 202"));
    let up = |name: &str| {
        let scraped = get(metrics, "/metrics");
        let line = format!("helmreboot_cluster_up{{cluster=\"{name}\"}} ");
        let line = scraped.lines().find_map(|found| found.strip_prefix(&line));
        line.expect("a series").to_owned()
    };
    assert_eq!([up("first"), up("second"), up("third")], ["0", "0", "1"]);

    let repaired = std::fs::read_to_string(kubeconfig("repaired", &at(first_at), &json!({})));
    std::fs::write(&bad, repaired.expect("a file")).expect("a file");
    kubeconfig("hangs", &at(second_at), &json!({}));
    first.healed(1, Duration::from_secs(10), "the first").await;
    second
        .healed(1, Duration::from_secs(10), "the second")
        .await;
    assert_eq!([up("first"), up("second"), up("third")], ["1", "1", "1"]);
    program.wait_for(&["cluster first is available"]);
    // What the plugin started has ended with it.
    let child = std::fs::read_to_string(child).expect("a file");
    assert!(!process_runs(child.trim()), "{child} still runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_rotated_is_used_and_a_refusal_is_reason_enough_to_read_again() {
    let server = Server::new();
    server.wants("new");
    let address = server.serve().await;
    let old = json!({"token": "old\n"});
    let config = kubeconfig("rotated-token", &at(address), &old);
    let mut program = serve(&config);
    program.wait_for(&["does not accept the credentials"]);
    kubeconfig("rotated-token", &at(address), &json!({"token": "new\n"}));
    server
        .healed(1, Duration::from_secs(10), "after the rotation")
        .await;
    program.wait_for(&["the changed credentials of cluster a are now used"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_api_server_in_the_kubeconfig_is_listed_from_the_start() {
    let (first, second) = (Server::new(), Server::new());
    let (first_at, second_at) = (first.serve().await, second.serve().await);
    let config = kubeconfig("moves", &at(first_at), &json!({}));
    let _program = serve(&config);
    first.healed(1, Duration::from_secs(10), "the first").await;
    // The first still answers, and its watch is open. The second holds one more release.
    second.stuck("elsewhere");
    kubeconfig("moves", &at(second_at), &json!({}));
    second
        .healed(1, Duration::from_secs(10), "the second")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_in_the_place_of_files_are_refused_and_not_waited_for() {
    let server = Server::new();
    server.wants("in the file");
    let address = server.serve().await;
    let (token, keys) = (file("token.pipe", ""), file("keys.pipe", ""));
    become_a_pipe(&token);
    become_a_pipe(&keys);
    let user = json!({"tokenFile": token});
    let mut program = Running::start(
        helmreboot()
            .args(["serve", "--cluster-name=a", "--kubeconfig"])
            .arg(kubeconfig("token-pipe", &at(address), &user))
            .env("HELMREBOOT_TOKEN_FILE", &keys),
    );
    let webhook = program.address("webhook");
    let refused = [
        program.wait_for(&["it is not a regular file"]),
        program.wait_for(&["it is not a regular file"]),
    ];
    let refused = refused.map(|line| line["message"].to_string()).join("");
    assert!(refused.contains("cluster a is not available"), "{refused}");
    assert!(
        refused.contains("alerts of cluster a are refused"),
        "{refused}"
    );
    assert!(alert(webhook, "a", "the key").starts_with("HTTP/1.1 401"));
    std::fs::rename(file("token.new", "in the file\n"), &token).expect("replaced");
    std::fs::rename(file("keys.new", "the key\n"), &keys).expect("replaced");
    server
        .healed(1, Duration::from_secs(15), "by the file that replaced it")
        .await;
    program.wait_for(&["the changed keys of cluster a are now used"]);
    assert!(alert(webhook, "a", "the key").starts_with("HTTP/1.1 202"));
}

/// Puts a pipe in the place of a file.
pub(crate) fn become_a_pipe(file: &PathBuf) {
    std::fs::remove_file(file).expect("no file");
    let made = std::process::Command::new("mkfifo").arg(file).status();
    assert!(made.expect("mkfifo runs").success());
}

/// Whether a process of that number runs. One that has ended, and that no other process has waited for, does not.
fn process_runs(number: &str) -> bool {
    if let Ok(status) = std::fs::read_to_string(format!("/proc/{number}/status")) {
        return !status.contains("State:\tZ");
    }
    let kill = std::process::Command::new("kill")
        .args(["-0", number])
        .stderr(std::process::Stdio::null())
        .status();
    kill.expect("kill runs").success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_wins_over_a_token_and_may_end_in_a_line_break() {
    let server = Server::new();
    server.wants("in the file");
    let address = server.serve().await;
    let token = file("token-file", "in the file\n");
    let user = json!({"token": "in the kubeconfig", "tokenFile": token});
    let _program = serve(&kubeconfig("token-file", &at(address), &user));
    server
        .healed(1, Duration::from_secs(10), "by the file")
        .await;
    // The file alone is rotated.
    server.wants("another");
    server.stuck("other");
    std::fs::write(&token, "another\n").expect("a file");
    server.cluster.cut_watches();
    server
        .healed(2, Duration::from_secs(15), "by the new file")
        .await;
    let seen = server.seen.lock().expect("no panic").clone();
    let agent = concat!("helmreboot/", env!("CARGO_PKG_VERSION"));
    assert!(
        seen.iter()
            .all(|headers| headers[header::USER_AGENT] == agent)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_header_may_hold_is_told_without_repeating_it() {
    let user = json!({"token": "hun\nter2"});
    let mut program = serve(&kubeconfig(
        "broken-token",
        &json!({"server": "http://127.0.0.1:1"}),
        &user,
    ));
    let said = program
        .wait_for(&["cluster a is not available", "token"])
        .to_string();
    assert!(!said.contains("ter2"), "{said}");
}

/// Alerts and probes are answered during a flood of silent connections, and fewer descriptors than `most` are
/// open.
async fn withstands_a_flood(program: &mut Running, most: usize) {
    let (webhook, probes) = (program.address("webhook"), program.address("probes"));
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(webhook).await.expect("a connection"));
    }
    for _ in 0..5 {
        assert!(alert(webhook, "a", "the key").starts_with("HTTP/1.1 202"));
        assert!(get(probes, "/healthz").starts_with("HTTP/1.1 200"));
    }
    let descriptors = program.descriptors();
    assert!(descriptors < most, "{descriptors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_silent_connections_keeps_no_alert_and_no_probe_out() {
    let server = Server::new();
    let address = server.serve().await;
    let mut program = Running::start(
        helmreboot()
            .args([
                "serve",
                "--cluster-name=a",
                "--config",
                &config_file("flood", "shutdownDelay: 0s\nmaxConnections: 64\n"),
                "--kubeconfig",
            ])
            .arg(kubeconfig("flood", &at(address), &json!({})))
            .env("HELMREBOOT_TOKEN", "the key"),
    );
    withstands_a_flood(&mut program, 64 + 64 + 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_few_files_may_be_open_the_webhook_leaves_some_to_the_clusters() {
    let server = Server::new();
    let address = server.serve().await;
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", "ulimit -n 400 && exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_helmreboot"))
        .args(["serve", "--cluster-name=a", "--kubeconfig"])
        .arg(kubeconfig("few-files", &at(address), &json!({})))
        .env_clear()
        .env("HELMREBOOT_TOKEN", "the key");
    let mut program = Running::start(&mut limited);
    withstands_a_flood(&mut program, 400).await;
    server.stuck("other");
    server
        .healed(2, Duration::from_secs(10), "in spite of the flood")
        .await;
}
