//! The compiled program, as a person or a kubelet meets it. The only tests in real time.

use std::{
    path::PathBuf,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use helmreboot::demo::fake_cluster::{FakeCluster, Fault, FaultKind};
use serde_json::{Value, json};

use crate::{
    running::{
        Running, config_file, exchange, get, helmreboot, kubeconfig, listen, post, recorded_trouble,
    },
    stories::{self},
    support::key,
};

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
    for setting in helmreboot::config::settings::PROCESS {
        assert!(
            serve.contains(&format!("--{} ", setting.flag))
                || serve.contains(&format!("--{}[", setting.flag)),
            "{}",
            setting.flag
        );
    }
    assert!(
        serve.lines().count() <= 40 && serve.lines().all(|line| line.len() <= 100),
        "more than one screen:\n{serve}"
    );
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
        .arg(config_file("bad", "policy: {limit: 101}\n"))
        .env("LOG_LEVEL", "loud"));
    let said = text(&answer.stderr);
    assert_eq!(answer.status.code(), Some(64), "{said}");
    for part in [
        "4 faults",
        "policy.limit: invalid value 101: expected a number from 0 to 100",
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
    program.wait_for(&["are now used"]);
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
    let group = r#"{"name": "helm.toolkit.fluxcd.io", "versions": [{"groupVersion": "helm.toolkit.fluxcd.io/v2", "version": "v2"}]}"#;
    let nonsense = axum::Router::new()
        .route(
            "/apis/{group}",
            axum::routing::get(move || async move { group }),
        )
        .fallback(|| async { r#"{"spec": "hunter2", "metadata": 7}"# });
    let api_server = listen(nonsense).await;
    let (_, _, _, body) = recorded_trouble().await;
    let mut program = Running::serve("nonsense", api_server);
    let webhook = program.address("webhook");
    let signature = key(stories::KEY).sign(body.as_bytes());
    assert!(post(webhook, "/webhook", &signature, &body).starts_with("HTTP/1.1 202"));
    program.wait_for(&["cannot reconcile a/apps/", "\"reason\":\"unreadable\""]);
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
