//! `helmreboot explain`: the same words as the worker's.

use std::process::Output;

use serde_json::{Value, json};

use crate::{
    program::{run, text},
    running::config_file,
    stories::{self, Kind},
};

fn explain(arguments: &[&str], input: &str) -> Output {
    run(&[&["explain"], arguments].concat(), input.as_bytes())
}

/// All versions of the release in a recorded story.
fn versions(story: &str) -> Vec<Value> {
    let story = stories::all().remove(story).expect("the story");
    let seen = story.into_iter().filter_map(|entry| match entry.kind {
        Kind::Seen { object, .. } => Some(object),
        _ => None,
    });
    seen.collect()
}

#[test]
fn every_version_of_a_recorded_release_is_one_line_for_machines() {
    let items = versions("reset-swallowed-by-dependency");
    let list = json!({"kind": "List", "apiVersion": "v1", "items": items}).to_string();
    let output = explain(&["-f", "-", "--output", "json"], &list);
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), items.len());
    let whys: std::collections::BTreeSet<_> = lines
        .iter()
        .map(|line| line["reason"].as_str().expect("a word"))
        .collect();
    for why in [
        "stalled",
        "token-pending",
        // The recordings are of days ago.
        "overdue",
        "recovered",
        "prerequisites",
    ] {
        assert!(whys.contains(why), "{whys:?}");
    }
    let stuck = lines
        .iter()
        .find(|line| line["reason"] == "stalled")
        .expect("one that is stuck");
    for (field, value) in [
        ("decision", json!("restart")),
        ("action", json!("reset")),
        ("class", json!("transient")),
        ("rule", json!("wait-timeout")),
        ("attempts", json!(0)),
        ("limit", json!(5)),
        ("retryAt", Value::Null),
        ("name", json!("reset-swallowed-by-dependency")),
    ] {
        assert_eq!(stuck[field], value, "{field}");
    }
}

#[test]
fn for_people_it_is_the_table_with_the_row_that_held() {
    let stuck = versions("upgrade-fails-then-reset-heals")
        .into_iter()
        .find(|object| object["status"]["conditions"][0]["type"] == "Stalled")
        .expect("a stuck version");
    let config = config_file("no-restarts", "policy: {limit: 0}\n");
    let output = explain(&["-f", "-", "--config", &config], &stuck.to_string());
    let shown = text(&output.stdout);
    assert!(
        shown.starts_with("default/apps/upgrade-fails-then-reset-heals: leave: budget-spent"),
        "{shown}"
    );
    assert_eq!(shown.matches("YES").count(), 1, "{shown}");
    assert!(
        shown.contains("cause     transient (wait-timeout)"),
        "{shown}"
    );
    assert!(shown.contains("budget    0 of 0 restarts"), "{shown}");
    assert!(!shown.contains('\x1b'), "no colours into a pipe");
}

#[test]
fn yaml_with_several_documents_is_understood_and_policies_count() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let config = folder.join("explain.yaml");
    std::fs::write(&config, "clusters:\n- {name: eu, keys: [{env: NOT_NEEDED}]}\n- {name: us, keys: [{file: /nowhere}]}\n\
        policies:\n- {name: few, match: {clusters: [us]}, limit: 1}\n").expect("a file");
    let config = config.to_str().expect("a path");
    let yaml = "apiVersion: v1\nkind: Namespace\n---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n\
        metadata: {name: web, namespace: apps, generation: 1}\nstatus:\n  conditions:\n  - {type: Ready, status: 'False', reason: UpgradeFailed, message: context deadline exceeded}\n";
    let output = explain(
        &[
            "-f",
            "-",
            "--output=json",
            "--config",
            config,
            "--cluster",
            "us",
        ],
        yaml,
    );
    let line: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(
        (&line["reason"], &line["limit"], &line["policy"]),
        (&json!("idle-failed"), &json!(1), &json!("few"))
    );
    let output = explain(&["-f", "-", "--config", config], yaml);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        text(&output.stderr)
            .contains("--cluster: is required with several clusters; expected one of: eu, us"),
        "{output:?}"
    );
}

#[test]
fn thousands_of_releases_in_one_yaml_are_no_trouble() {
    let one = "---\nkind: HelmRelease\nmetadata: {name: web, namespace: apps, generation: 1}\n\
        spec: {values: {a: [1, 2, 3], b: {c: d}}}\n";
    let output = explain(&["-f", "-", "--output", "json"], &one.repeat(20_000));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 20_000);
}

#[test]
fn many_releases_take_no_more_memory_than_one() {
    use std::io::{Read, Write};
    let blob = "x".repeat(400_000);
    for list in [
        ("{\"items\": [", ",", "]}"),
        ("items:\n", "", "kind: List\n"),
    ] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_helmreboot"))
            .args(["explain", "-f", "-", "--output", "json"])
            .env_remove("HELMREBOOT_CONFIG")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut input = child.stdin.take().expect("standard input");
        let mut output = child.stdout.take().expect("standard output");
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).map(|_| text)
        });
        let (begin, between, end) = list;
        write!(input, "{begin}").expect("it reads");
        for number in 0..100 {
            let between = if number > 0 { between } else { "" };
            if end.starts_with(']') {
                write!(input, "{between}{{\"kind\": \"HelmRelease\", \"metadata\": {{\"name\": \"r{number}\"}}, \"spec\": {{\"values\": {{\"blob\": \"{blob}\"}}}}}}").expect("it reads");
            } else {
                write!(input, "- kind: HelmRelease\n  metadata: {{name: r{number}}}\n  spec:\n    values:\n      blob: {blob}\n").expect("it reads");
            }
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let most = status.ok().and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:").map(str::to_owned));
            line?.trim().trim_end_matches(" kB").parse::<u64>().ok()
        });
        write!(input, "{end}").expect("it reads");
        drop(input);
        assert!(child.wait().expect("it ends").success());
        let text = reader.join().expect("no panic").expect("text");
        assert_eq!(text.lines().count(), 100);
        if let Some(kib) = most {
            assert!(kib < 30 * 1024, "{kib} KiB for 40 MB of input");
        }
    }
}

#[test]
fn what_cannot_be_explained_says_what_to_do() {
    for (arguments, input, code, said) in [
        (
            &["a/b/c"][..],
            "",
            64,
            "is no HelmRelease; write NAME, NAMESPACE/NAME",
        ),
        (&["apps/web", "-f", "x"], "", 64, "cannot be used with"),
        (
            &["apps/%2e%2e"],
            "",
            64,
            "is no HelmRelease; write NAME, NAMESPACE/NAME",
        ),
        (
            &["-f", "-"],
            "kind: HelmRelease\nmetadata: {name: web, annotations: {a: false}}\n",
            1,
            "web cannot be read: metadata.annotations.a has another type than Flux gives it; put quotes around booleans",
        ),
        (
            &["-f", "-"],
            "{",
            1,
            "cannot be read as JSON or YAML: line 1",
        ),
        (
            &["-f", "-"],
            "kind: Pod\n",
            1,
            "there is no HelmRelease in standard input (found: Pod)",
        ),
        (&["-f", "-"], "", 1, "found: nothing"),
        (
            &["-f", "/nowhere"],
            "",
            1,
            "cannot read /nowhere; write the path",
        ),
        (
            &["-f", "-", "--mode", "perhaps"],
            "",
            64,
            "expected one of observe, act",
        ),
        (
            &["apps/web", "--kubeconfig", "/nowhere"],
            "",
            64,
            "the kubeconfig /nowhere cannot be read",
        ),
        (
            &["-A", "apps/web"],
            "",
            64,
            "is for all releases; write NAMESPACE/NAME",
        ),
        (
            &["-n", "Apps", "web"],
            "",
            64,
            "invalid value \"Apps\"; expected the name of a namespace",
        ),
        (
            &["-f", "-"],
            "Name:         web\nNamespace:    apps\nLabels:       <none>\n",
            1,
            "this is the output of kubectl describe; kubectl get helmrelease NAME -n NAMESPACE -o yaml",
        ),
        (
            &["-f", "-"],
            "NAMESPACE   NAME   AGE   READY   STATUS\napps   web   3d   False   x\n",
            1,
            "this is the table of kubectl get or flux get; kubectl get",
        ),
        (
            &["-f", "-"],
            "apiVersion: helm.fluxcd.io/v1\nkind: HelmRelease\nmetadata: {name: web}\n",
            1,
            "HelmRelease of helm.fluxcd.io/v1, which is not of Flux 2",
        ),
        (
            &["-f", "-"],
            "kind: HelmRelease\nmetadata: {name: web, namespace: apps}\n",
            0,
            "apps/web has no status: is this the live object?",
        ),
        (
            &["-f", "-"],
            "kind: HelmRelease\nkind: HelmRelease\nmetadata: {name: web}",
            1,
            "web cannot be read: kind is set twice; keep one",
        ),
        (
            &["-f", "-"],
            r#"{"items": [{"kind": "HelmRelease", "metadata": {"name": "a", "labels": {"x": "1", "x": "2"}}},
                {"kind": "HelmRelease", "metadata": {"name": "b"}}]}"#,
            1,
            "a cannot be read: metadata.labels.x is set twice; keep one\n⚠️ b has no status",
        ),
    ] {
        let output = explain(arguments, input);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

/// PowerShell writes UTF-16 with `>`.
#[test]
fn utf_16_is_read() {
    let item = versions("reset-swallowed-by-dependency")
        .remove(3)
        .to_string();
    for (mark, bytes) in [
        ([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]),
        ([0xfe, 0xff], u16::to_be_bytes),
    ] {
        let mut input = mark.to_vec();
        input.extend(item.encode_utf16().flat_map(bytes));
        let output = run(&["explain", "-f", "-", "-o", "json"], &input);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(text(&output.stdout).lines().count(), 1);
    }
}

#[test]
fn one_bad_item_of_a_list_hides_no_other() {
    let good = versions("reset-swallowed-by-dependency").remove(3);
    let mut bad = good.clone();
    bad["metadata"]["annotations"] = json!({"helmreboot.io/enabled": false});
    let list = json!({"kind": "HelmReleaseList", "apiVersion": "helm.toolkit.fluxcd.io/v2", "items": [good, bad, good]});
    for format in ["json", "yaml"] {
        let output = explain(&["-f", "-", "-o", format], &list.to_string());
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            text(&output.stdout).matches("decision").count(),
            2,
            "{output:?}"
        );
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains("metadata.annotations.helmreboot.io/enabled has another type"),
            "{stderr}"
        );
        assert!(
            stderr.contains("1 HelmRelease in standard input cannot be read"),
            "{stderr}"
        );
    }
}
