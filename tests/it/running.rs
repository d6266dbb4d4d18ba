//! The compiled program while it serves, and requests to it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use helmreboot::{
    clock::Clock,
    demo::fake_cluster::{FakeCluster, Key},
};
use serde_json::{Value, json};

use crate::stories::{self, Kind};

pub(crate) fn helmreboot() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_helmreboot"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// Serves a router on a port of its own, until the test ends.
pub(crate) async fn listen(router: axum::Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
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
    let (process, thread) = (std::process::id(), std::thread::current().id());
    let own = file.with_extension(format!("{process}-{thread:?}"));
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
    pub(crate) fn serve(name: &str, api_server: SocketAddr) -> Self {
        Self::serve_with(name, api_server, ("HELMREBOOT_TOKEN", stories::KEY))
    }

    /// The same, with the key from elsewhere.
    pub(crate) fn serve_with(name: &str, api_server: SocketAddr, key: (&str, &str)) -> Self {
        let config = config_file(name, "shutdownDelay: 0s\nsweep: off\n");
        Self::serve_told(name, api_server, &[key, ("HELMREBOOT_CONFIG", &config)])
    }

    /// The same, with these variables.
    pub(crate) fn serve_told(name: &str, api_server: SocketAddr, told: &[(&str, &str)]) -> Self {
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
        let deadline = Instant::now() + Duration::from_secs(40);
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
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    // The answer may come, and the connection go, before all is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
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
