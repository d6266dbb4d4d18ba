//! Credential plugins (`client.authentication.k8s.io`): programs that a kubeconfig names, run in the
//! background and ended in time, so that one that hangs keeps nothing else waiting.

use std::{process::Stdio, time::Duration};

use jiff::Timestamp;
use kube::config::ExecConfig;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};

/// How long a plugin may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of its answer.
const ANSWER_LIMIT: u64 = 1 << 20;

/// What a plugin answers. Does not print: it holds secrets.
#[derive(Deserialize)]
struct Answer {
    status: Option<Credential>,
}

/// A credential that it gave. Does not print.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Credential {
    pub(super) token: Option<String>,
    pub(super) client_certificate_data: Option<String>,
    pub(super) client_key_data: Option<String>,
    pub(super) expiration_timestamp: Option<Timestamp>,
}

/// Runs a plugin.
///
/// # Errors
/// What went wrong with which program, and what to do. Never repeats what it printed.
pub(super) async fn run(exec: &ExecConfig) -> Result<Credential, String> {
    let program = exec.command.as_deref().unwrap_or_default();
    if program.is_empty() {
        return Err("its exec plugin has no command; write one".into());
    }
    let advice = "run it by hand with the same user and environment";
    let version = exec.api_version.as_deref();
    let version = version.unwrap_or("client.authentication.k8s.io/v1");
    let info = json!({"apiVersion": version, "kind": "ExecCredential",
        "spec": {"interactive": false, "cluster": exec.cluster}});
    let mut command = Command::new(program);
    command
        .args(exec.args.iter().flatten())
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that the programs it starts can be ended with it.
        .process_group(0)
        .kill_on_drop(true);
    for pair in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (pair.get("name"), pair.get("value")) {
            command.env(name, value);
        }
    }
    let ran = timeout(TIMEOUT, async {
        let mut child = command
            .spawn()
            .map_err(|error| format!("its exec plugin {program} cannot be started: {error}; install it, or write its path"))?;
        let mut group = Group::of(&child);
        let mut answer = Vec::new();
        if let Some(out) = child.stdout.take() {
            let read = out.take(ANSWER_LIMIT).read_to_end(&mut answer).await;
            read.map_err(|error| {
                format!("its exec plugin {program} broke off: {error}; {advice}")
            })?;
        }
        let ended = child.wait().await;
        let status = ended
            .map_err(|error| format!("its exec plugin {program} is lost: {error}; {advice}"))?;
        group.ended();
        if status.success() {
            Ok(answer)
        } else {
            Err(format!(
                "its exec plugin {program} failed ({status}); {advice}"
            ))
        }
    });
    let seconds = TIMEOUT.as_secs();
    let late = || format!("its exec plugin {program} did not answer within {seconds} s; {advice}");
    let answer = ran.await.unwrap_or_else(|_| Err(late()))?;
    let nonsense =
        || format!("its exec plugin {program} printed no ExecCredential with a status; {advice}");
    let answer: Answer = serde_json::from_slice(&answer).map_err(|_| nonsense())?;
    answer.status.ok_or_else(nonsense)
}

/// The process group of a plugin that runs. If this is dropped before the plugin has ended, the group is killed:
/// the plugin took too long, or its kubeconfig changed.
struct Group(Option<Pid>);

impl Group {
    fn of(plugin: &Child) -> Self {
        let id = plugin.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// The plugin has ended; its number may be given to another process.
    fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(plugin) = self.0 {
            // It may have ended in this moment.
            let _ = kill_process_group(plugin, Signal::KILL);
        }
    }
}
