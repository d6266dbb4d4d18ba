//! The compiled program, as a person or a kubelet meets it. The only tests in real time.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use helmreboot::{
    clock::Clock,
    demo::fake_cluster::{FakeCluster, Fault, FaultKind, Key},
};
use serde_json::{Value, json};

use crate::{
    stories::{self, Kind},
    support::key,
};

pub(crate) fn helmreboot() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_helmreboot"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the program runs")
}

#[test]
fn help_and_version_are_on_standard_output_and_bad_usage_is_64() {
    let help = run(helmreboot().arg("--help"));
    assert!(help.status.success() && text(&help.stdout).contains("demo") && help.stderr.is_empty());
    let version = run(helmreboot().arg("--version"));
    assert_eq!(
        text(&version.stdout),
        concat!("helmreboot ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let serve = text(&run(helmreboot().args(["serve", "--help"])).stdout);
    for (flag, env) in helmreboot::config::settings::PROCESS
        .iter()
        .filter_map(|setting| setting.process)
    {
        assert!(
            serve.contains(&format!("--{flag}")) && serve.contains(env),
            "{flag}"
        );
    }
    for bad in [
        &[][..],
        &["server"],
        &["serve", "--limt", "3"],
        &["demo", "--speed", "fast"],
        &["serve", "extra"],
    ] {
        let answer = run(helmreboot().args(bad));
        assert_eq!(answer.status.code(), Some(64), "{bad:?}");
        assert!(
            !answer.stderr.is_empty() && answer.stdout.is_empty(),
            "{bad:?}"
        );
    }
}

#[test]
fn bad_configuration_is_told_in_one_go_and_ends_with_64() {
    let answer = run(helmreboot()
        .args(["serve", "--leader-elect=perhaps", "--config"])
        .arg(config_file("bad", "policy: {limit: many}\n"))
        .env("LOG_LEVEL", "loud"));
    let said = text(&answer.stderr);
    assert_eq!(answer.status.code(), Some(64), "{said}");
    for part in [
        "4 faults",
        "policy.limit: invalid value \"many\"",
        "--leader-elect: invalid value \"perhaps\"",
        "LOG_LEVEL: invalid value \"loud\"",
        "HELMREBOOT_TOKEN: no key",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
}

#[test]
fn a_variable_that_is_no_text_does_not_read_as_unset() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"observe\xff");
    let answer = run(helmreboot()
        .arg("serve")
        .env("HELMREBOOT_TOKEN", "k")
        .env("HELMREBOOT_MODE", odd));
    let said = text(&answer.stderr);
    assert_eq!(answer.status.code(), Some(64), "{said}");
    assert!(said.contains("HELMREBOOT_MODE: is not UTF-8"), "{said}");
}

#[test]
fn a_kubeconfig_that_runs_programs_or_trusts_anybody_is_refused_unless_allowed() {
    let exec = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/true", "interactiveMode": "Never"}});
    let provider = json!({"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/true"}}});
    let lax = json!({"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": true});
    let cases = [
        (
            kubeconfig("exec", &json!({"server": "http://127.0.0.1:1"}), &exec),
            "--insecure-kubeconfig-exec",
        ),
        (
            kubeconfig("lax", &lax, &json!({})),
            "--insecure-kubeconfig-tls",
        ),
        (
            kubeconfig(
                "provider",
                &json!({"server": "http://127.0.0.1:1"}),
                &provider,
            ),
            "--insecure-kubeconfig-exec",
        ),
    ];
    for (file, flag) in cases {
        let mut program = Running::start(
            helmreboot()
                .args(["serve", "--kubeconfig"])
                .arg(file)
                .env("HELMREBOOT_TOKEN", "k"),
        );
        program.wait_for(&["cluster default is not available", flag]);
    }
}

#[test]
fn the_demo_tells_its_story_and_all_comes_out_as_told() {
    let start = Instant::now();
    let answer = run(helmreboot().args(["demo", "--speed", "4"]));
    let said = text(&answer.stdout);
    assert!(answer.status.success(), "{said}{}", text(&answer.stderr));
    for part in [
        "recovered",
        "permanent",
        "rolled-back",
        "suspended",
        "budget-spent",
        "turned away",
        "swallowed",
        "All releases had the expected end.",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    assert!(!said.contains('\x1b'), "colours are for terminals");
    assert!(start.elapsed() < Duration::from_secs(60));
    let answer = run(helmreboot().args(["demo", "--speed", "8", "--output", "json"]));
    let document: Value = serde_json::from_slice(&answer.stdout).expect("one JSON document");
    assert_eq!(document["asExpected"], true, "{document}");
}

#[test]
fn a_story_nobody_listens_to_ends_without_a_panic() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let Ok(full) = full else { return };
    let answer = run(helmreboot().args(["demo", "--speed", "20"]).stdout(full));
    let said = text(&answer.stderr);
    assert_eq!(answer.status.code(), Some(1), "{said}");
    assert!(
        said.contains("standard output") && !said.contains("panicked"),
        "{said}"
    );
}

/// A kubeconfig file.
pub(crate) fn kubeconfig(name: &str, cluster: &Value, user: &Value) -> PathBuf {
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.kubeconfig"));
    std::fs::write(&file, config.to_string()).expect("a file");
    file
}

/// A configuration file. Returns its path.
pub(crate) fn config_file(name: &str, yaml: &str) -> String {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.config.yaml"));
    // Tests that run at the same time may share it: a reader must never see half of it.
    let own = file.with_extension(format!("{:?}", std::thread::current().id()));
    std::fs::write(&own, yaml).expect("a file");
    std::fs::rename(&own, &file).expect("a file");
    file.display().to_string()
}

/// The running program and what it has said so far.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    said: Vec<String>,
}

impl Running {
    /// Starts `serve` on free ports against an API server, with the recorded key.
    fn serve(name: &str, api_server: SocketAddr) -> Self {
        Self::serve_with(name, api_server, ("HELMREBOOT_TOKEN", stories::KEY))
    }

    /// The same, with the key from elsewhere.
    fn serve_with(name: &str, api_server: SocketAddr, key: (&str, &str)) -> Self {
        let config = config_file(name, "shutdownDelay: 0s\nsweep: off\n");
        Self::serve_told(name, api_server, &[key, ("HELMREBOOT_CONFIG", &config)])
    }

    /// The same, with these variables.
    fn serve_told(name: &str, api_server: SocketAddr, told: &[(&str, &str)]) -> Self {
        let cluster = json!({"server": format!("http://{api_server}")});
        Self::start(
            helmreboot()
                .args([
                    "serve",
                    "--log-level=debug",
                    "--cluster-name=a",
                    "--kubeconfig",
                ])
                .arg(kubeconfig(name, &cluster, &json!({})))
                .envs(told.iter().copied()),
        )
    }

    /// A service on ports of its own.
    pub(crate) fn start(command: &mut Command) -> Self {
        let configured = command.get_args().any(|argument| argument == "--config")
            || command
                .get_envs()
                .any(|(name, _)| name == "HELMREBOOT_CONFIG");
        if !configured {
            command.env(
                "HELMREBOOT_CONFIG",
                config_file("no-delay", "shutdownDelay: 0s\n"),
            );
        }
        let mut child = command
            .arg("--webhook-bind-address=127.0.0.1:0")
            .env("METRICS_BIND_ADDRESS", "127.0.0.1:0")
            .env("HEALTH_PROBE_BIND_ADDRESS", "127.0.0.1:0")
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (sender, lines) = mpsc::channel();
        let errors: Box<dyn Read + Send> = Box::new(child.stderr.take().expect("a log"));
        let output: Box<dyn Read + Send> = Box::new(child.stdout.take().expect("a log"));
        for log in [errors, output] {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut lines = BufReader::new(log).lines().map_while(Result::ok);
                lines.try_for_each(|line| sender.send(line))
            });
        }
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// The first line of the log that has all these parts.
    pub(crate) fn wait_for(&mut self, parts: &[&str]) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no {parts:?} in {:#?}", self.said)
            };
            self.said.push(line.clone());
            if parts.iter().all(|part| line.contains(part)) {
                return serde_json::from_str(&line).expect("a line of JSON");
            }
        }
    }

    /// All lines so far with all these parts.
    pub(crate) fn said(&mut self, parts: &[&str]) -> Vec<&String> {
        self.said.extend(self.lines.try_iter());
        let has_all = |line: &&String| parts.iter().all(|part| line.contains(part));
        self.said.iter().filter(has_all).collect()
    }

    pub(crate) fn address(&mut self, listener: &str) -> SocketAddr {
        let line = self.wait_for(&["\"listener\"", listener]);
        line["address"]
            .as_str()
            .expect("an address")
            .parse()
            .expect("an address")
    }

    /// Files and sockets that it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        folder.map_or(0, Iterator::count)
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the end: exit code and how long it took.
    pub(crate) fn end(mut self) -> (Option<i32>, Duration, Vec<String>) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait().expect("a status") {
                self.said.extend(self.lines.try_iter());
                return (
                    status.code(),
                    start.elapsed(),
                    std::mem::take(&mut self.said),
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end: {:#?}", self.said);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// Sends bytes and reads the answer to its end.
fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    // The answer may come, and the connection go, before all is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    text(&answer)
}

pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    exchange(
        address,
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(),
    )
}

pub(crate) fn post(address: SocketAddr, path: &str, signature: &str, body: &str) -> String {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\nx-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    exchange(address, format!("{head}{body}").as_bytes())
}

/// An API server on a socket that holds the release of a recorded story at the moment it is stuck, and
/// the alert of that story, as if it were sent now.
pub(crate) async fn recorded_trouble() -> (FakeCluster, SocketAddr, Key, String) {
    let cluster = FakeCluster::new(Clock::system());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = cluster.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let name = "upgrade-fails-then-reset-heals";
    let story = stories::all().remove(name).expect("the story");
    let stuck = story.iter().find_map(|entry| match &entry.kind {
        Kind::Seen { object, .. } if object["status"]["conditions"][0]["type"] == "Stalled" => {
            Some(object.clone())
        }
        _ => None,
    });
    let stuck = stuck.expect("a stalled version");
    let release = Key::new("apps", name);
    cluster.apply(&release, &json!({"spec": {"interval": "1h"}}));
    cluster.apply(&release, &json!({"spec": stuck["spec"]}));
    cluster.write_status(&release, &stuck["status"]);
    let alert = story.iter().find_map(|entry| match &entry.kind {
        Kind::Alert { body, .. } if body.contains("UpgradeFailed") => Some(body.clone()),
        _ => None,
    });
    let mut event: Value = serde_json::from_str(&alert.expect("an alert")).expect("an event");
    event["timestamp"] = json!(format!("{:.0}", jiff::Timestamp::now()));
    event["involvedObject"]["uid"] =
        cluster.get(&release).expect("the release")["metadata"]["uid"].clone();
    (cluster, address, release, event.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_heals_survives_abuse_and_stops() {
    let (cluster, api_server, release, body) = recorded_trouble().await;
    let mut program = Running::serve("serves", api_server);
    let (webhook, metrics, probes) = (
        program.address("webhook"),
        program.address("metrics"),
        program.address("probes"),
    );
    assert!(get(probes, "/healthz").starts_with("HTTP/1.1 200"));
    // The ports answer a moment before the workers run.
    let ready = || get(probes, "/readyz").starts_with("HTTP/1.1 200");
    assert!((0..100).any(|_| ready() || {
        thread::sleep(Duration::from_millis(20));
        false
    }));

    let signature = key(stories::KEY).sign(body.as_bytes());
    let answer = post(webhook, "/webhook", &signature, &body);
    assert!(
        answer.starts_with("HTTP/1.1 202") && answer.contains("\"queued\""),
        "{answer}"
    );
    program.wait_for(&[
        "\"restarted a/apps/upgrade-fails-then-reset-heals (reset, attempt 1 of 5): wait-timeout\"",
    ]);
    assert!(post(webhook, "/webhook", &signature, &body).contains("\"duplicate\""));
    let stranger = key("a guess").sign(body.as_bytes());
    assert!(post(webhook, "/webhook", &stranger, &body).starts_with("HTTP/1.1 401"));

    // Abuse: each gets an answer, or no more than the door closed.
    let huge_header = format!(
        "POST /webhook HTTP/1.1\r\nhost: x\r\nx-padding: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    assert!(exchange(webhook, huge_header.as_bytes()).starts_with("HTTP/1.1 431"));
    assert!(
        exchange(
            webhook,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"
        )
        .starts_with("HTTP/1.1 400")
    );
    let start = Instant::now();
    exchange(
        webhook,
        b"POST /webhook HTTP/1.1\r\nhost: x\r\nx-never-ends: ",
    );
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "slow headers are cut off"
    );
    let too_large = post(webhook, "/webhook", &signature, &"x".repeat(256 * 1024 + 1));
    assert!(too_large.starts_with("HTTP/1.1 413"), "{too_large}");

    let scraped = get(metrics, "/metrics");
    assert!(
        scraped.contains("helmreboot_restarts_total{cluster=\"a\",action=\"reset\"} 1"),
        "{scraped}"
    );
    program.signal("-TERM");
    let (code, took, said) = program.end();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let patches: Vec<_> = cluster
        .calls()
        .into_iter()
        .filter(|call| call.verb == "patch")
        .collect();
    assert_eq!(patches.len(), 1);
    assert_eq!(
        patches[0].body["metadata"]["annotations"]
            .as_object()
            .map(serde_json::Map::len),
        Some(7)
    );
    let object = cluster.get(&release).expect("the release");
    assert_eq!(
        object["metadata"]["annotations"]["helmreboot.io/restarts"],
        "1"
    );
    for line in said {
        assert!(
            !line.contains(stories::KEY)
                && !line.contains("Last Helm logs")
                && !line.contains(&signature),
            "{line}"
        );
        serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_it_within_ten_seconds_and_a_second_one_at_once() {
    let (cluster, api_server, _, body) = recorded_trouble().await;
    cluster.fault(Fault {
        verb: None,
        times: u32::MAX,
        kind: FaultKind::Slow(Duration::from_secs(60)),
    });
    let signature = key(stories::KEY).sign(body.as_bytes());
    for second in [false, true] {
        let mut program = Running::serve(if second { "twice" } else { "once" }, api_server);
        let (webhook, probes) = (program.address("webhook"), program.address("probes"));
        assert!(post(webhook, "/webhook", &signature, &body).starts_with("HTTP/1.1 202"));
        let asked = cluster.calls().len();
        while cluster.calls().len() == asked {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        program.signal("-TERM");
        program.wait_for(&["stopping on SIGTERM"]);
        assert!(
            get(probes, "/readyz").starts_with("HTTP/1.1 503"),
            "not ready while stopping"
        );
        if second {
            program.signal("-INT");
        }
        let (code, took, said) = program.end();
        if second {
            assert_eq!(code, Some(1), "{said:#?}");
            assert!(took < Duration::from_secs(3), "{took:?}");
        } else {
            assert_eq!(code, Some(0), "{said:#?}");
            assert!(took < Duration::from_secs(10), "{took:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_changes_is_in_force_without_a_restart() {
    let (_, api_server, _, body) = recorded_trouble().await;
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("rotated-token");
    std::fs::write(&file, "the old key\n").expect("a file");
    let path = file.display().to_string();
    let mut program = Running::serve_with("rotation", api_server, ("HELMREBOOT_TOKEN_FILE", &path));
    let webhook = program.address("webhook");
    let sign = |secret| key(secret).sign(body.as_bytes());
    assert!(post(webhook, "/webhook", &sign("the new key"), &body).starts_with("HTTP/1.1 401"));
    std::fs::write(&file, "  \n").expect("a file");
    program.wait_for(&["stay as they were"]);
    assert!(post(webhook, "/webhook", &sign("the old key"), &body).starts_with("HTTP/1.1 202"));
    std::fs::write(&file, "the new key\n").expect("a file");
    program.wait_for(&["are in force"]);
    assert!(post(webhook, "/webhook", &sign("the new key"), &body).starts_with("HTTP/1.1 202"));
    assert!(post(webhook, "/webhook", &sign("the old key"), &body).starts_with("HTTP/1.1 401"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_was_accepted_just_before_the_end_still_gets_its_look() {
    let (cluster, api_server, _, body) = recorded_trouble().await;
    let mut program = Running::serve("just-before", api_server);
    let webhook = program.address("webhook");
    let signature = key(stories::KEY).sign(body.as_bytes());
    assert!(post(webhook, "/webhook", &signature, &body).starts_with("HTTP/1.1 202"));
    program.signal("-TERM");
    let (code, took, said) = program.end();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(
        cluster
            .calls()
            .iter()
            .filter(|call| call.verb == "patch")
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_makes_no_sense_is_not_repeated_in_the_log() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let api_server = listener.local_addr().expect("an address");
    let group = r#"{"name": "helm.toolkit.fluxcd.io", "versions": [{"groupVersion": "helm.toolkit.fluxcd.io/v2", "version": "v2"}]}"#;
    let nonsense = axum::Router::new()
        .route(
            "/apis/{group}",
            axum::routing::get(move || async move { group }),
        )
        .fallback(|| async { r#"{"spec": "hunter2", "metadata": 7}"# });
    tokio::spawn(async move { axum::serve(listener, nonsense).await });
    let (_, _, _, body) = recorded_trouble().await;
    let mut program = Running::serve("nonsense", api_server);
    let webhook = program.address("webhook");
    let signature = key(stories::KEY).sign(body.as_bytes());
    assert!(post(webhook, "/webhook", &signature, &body).starts_with("HTTP/1.1 202"));
    program.wait_for(&["cannot reconcile a/apps/", "\"kind\":\"unreadable\""]);
    program.signal("-TERM");
    let (_, _, said) = program.end();
    assert!(
        said.iter().all(|line| !line.contains("hunter2")),
        "{said:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_alert_it_heals_too_but_not_while_the_pause_file_is_there() {
    let (cluster, api_server, release, _) = recorded_trouble().await;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("pause-{}", std::process::id()));
    std::fs::write(&file, "").expect("a file");
    let told = [
        ("HELMREBOOT_TOKEN", stories::KEY),
        ("HELMREBOOT_PAUSE_FILE", file.to_str().expect("a path")),
    ];
    let mut program = Running::serve_told("pauses", api_server, &told);
    program.wait_for(&["paused: ", "exists"]);
    program.wait_for(&["would restart a/apps/upgrade-fails-then-reset-heals"]);
    assert_eq!(patches(&cluster), 0);
    std::fs::remove_file(&file).expect("no file");
    program.wait_for(&["no longer paused"]);
    program
        .wait_for(&["\"restarted a/apps/upgrade-fails-then-reset-heals (reset, attempt 1 of 5)"]);
    assert_eq!(patches(&cluster), 1);
    assert!(cluster.get(&release).is_some());
}

fn patches(cluster: &FakeCluster) -> usize {
    let calls = cluster.calls();
    calls.iter().filter(|call| call.verb == "patch").count()
}
