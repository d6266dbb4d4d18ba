//! `helmreboot classify` and `helmreboot rules`: the same verdicts as the service's.

use std::process::{Command, Output, Stdio};

use helmreboot::domain::rules::{FAMILIES, built_in};
use serde_json::{Value, json};

use crate::{
    corpus::corpus,
    program::{run, text},
};

fn lines(output: &Output) -> Vec<Value> {
    let lines = text(&output.stdout).lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn file(name: &str, yaml: &str) -> String {
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, yaml).expect("a file");
    file.display().to_string()
}

#[test]
fn each_line_of_json_gets_a_verdict_in_its_place() {
    let input = include_str!("../fixtures/messages.jsonl");
    let output = run(&["classify", "--output", "json"], input.as_bytes());
    assert!(output.status.success(), "{output:?}");
    let (verdicts, labelled) = (lines(&output), corpus());
    assert_eq!(verdicts.len(), labelled.len());
    for (verdict, line) in verdicts.iter().zip(labelled) {
        assert_eq!(verdict["class"], line.class, "{}", line.id);
        let fields: Vec<_> = verdict.as_object().expect("an object").keys().collect();
        assert_eq!(fields, ["class", "description", "rule", "target"]);
    }
}

#[test]
fn what_is_no_message_is_an_error_in_its_place_and_the_rest_goes_on() {
    let long = format!("{{\"message\": \"{}\"}}", "x".repeat(3 << 20));
    let input = format!(
        "{{\"message\": \"unexpected EOF\", \"extra\": [1]}}\n\nnonsense\n{{\"reason\": \"UpgradeFailed\"}}\n{long}\n{{\"message\": \"field is immutable\", \"reason\": null}}"
    );
    for format in ["json", "text"] {
        let output = run(&["classify", "--output", format], input.as_bytes());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            text(&output.stderr).contains("3 lines could not be read"),
            "{output:?}"
        );
        assert_eq!(text(&output.stdout).lines().count(), 5, "{output:?}");
    }
    let output = run(&["classify", "--output", "json"], input.as_bytes());
    let verdicts = lines(&output);
    assert_eq!(verdicts[0]["rule"], "connection");
    for (verdict, number) in verdicts[1..4].iter().zip(["line 3 ", "line 4 ", "line 5 "]) {
        assert!(
            verdict["error"]
                .as_str()
                .expect("an error")
                .starts_with(number),
            "{verdict}"
        );
    }
    assert_eq!(verdicts[4]["rule"], "immutable-field");
}

#[test]
fn a_message_alone_shows_what_decided_and_what_also_fired() {
    let message = "cannot patch \"a\" with kind Job: Job.batch \"a\" is invalid: spec.template: field is immutable: context deadline exceeded, password=hunter2";
    let by_argument = run(&["classify", message], b"");
    assert!(by_argument.status.success(), "{by_argument:?}");
    let shown = text(&by_argument.stdout);
    for part in [
        "class    permanent\n",
        "rule     immutable-field: Kubernetes never changes this field in place\n",
        "target   kind Job\n",
        "»field is immutable«",
        "invalid-object (permanent)",
        "deadline (transient): ",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "colours go to terminals only");
    let by_input = run(&["classify"], message.as_bytes());
    assert_eq!(by_input.stdout, by_argument.stdout);
}

#[test]
fn a_message_alone_may_have_several_lines_and_any_bytes() {
    let output = run(
        &["classify"],
        b"2 errors occurred:\n\t* connection refused\n\t* \xff\xfe qwerty\n",
    );
    assert!(output.status.success(), "{output:?}");
    assert!(
        text(&output.stdout).contains("class    unknown"),
        "{output:?}"
    );
    assert!(
        text(&output.stdout).contains("no rule knows all of them"),
        "{output:?}"
    );
    let empty = run(&["classify"], b"");
    assert!(
        text(&empty.stdout).contains("class    unknown"),
        "{empty:?}"
    );
}

#[test]
fn the_reason_counts() {
    let verdict = |arguments: &[&str], input: &str| {
        let arguments = [&["classify", "--output", "json"], arguments].concat();
        lines(&run(&arguments, input.as_bytes()))[0]["class"].clone()
    };
    let message = "context deadline exceeded";
    assert_eq!(verdict(&[message], ""), "transient");
    assert_eq!(
        verdict(&[message, "--reason", "DependencyNotReady"], ""),
        "benign"
    );
    let line = json!({"message": message, "reason": "DependencyNotReady"}).to_string();
    assert_eq!(verdict(&["--reason", "UpgradeFailed"], &line), "benign");
}

#[test]
fn rules_of_ones_own_add_change_and_switch_off() {
    let config = file(
        "rules.yaml",
        "rules:\n\
         - name: proxy\n  pattern: 'the proxy is having a moment'\n\
         - name: quota\n  class: permanent\n  patterns: ['no room', 'no more room']\n  budget: 50%\n  description: the tenant is full\n\
         - name: deadline\n  class: permanent\n\
         - name: connection\n  enabled: false\n\
         - name: known-denial\n  exception: true\n  pattern: 'denied the request: try me again'\n  action: force\n\
         - name: only-tests\n  reasons: [TestFailed]\n  budget: 0.2\n",
    );
    for (message, reason, class, rule) in [
        ("the proxy is having a moment", "", "transient", "proxy"),
        ("no more room", "", "permanent", "quota"),
        ("context deadline exceeded", "", "permanent", "deadline"),
        ("broken pipe", "", "unknown", "none"),
        (
            "admission webhook \"a\" denied the request: try me again",
            "",
            "transient",
            "known-denial",
        ),
        ("whatever", "TestFailed", "transient", "only-tests"),
        (
            "field is immutable",
            "TestFailed",
            "permanent",
            "immutable-field",
        ),
    ] {
        let arguments = [
            "classify", "--output", "json", "--config", &config, "--reason", reason, message,
        ];
        let verdict = &lines(&run(&arguments, b""))[0];
        assert_eq!(
            (&verdict["class"], &verdict["rule"]),
            (&json!(class), &json!(rule)),
            "{message}"
        );
    }
    let listed = lines(&run(
        &["rules", "--output", "json", "--config", &config],
        b"",
    ));
    let rule = |name: &str| listed.iter().find(|rule| rule["name"] == name);
    assert_eq!(listed[0]["name"], "proxy", "own rules come first");
    assert_eq!(rule("connection"), None);
    let quota = rule("quota").expect("the rule");
    assert_eq!(
        (&quota["family"], &quota["budget"], &quota["description"]),
        (&json!("own"), &json!(50), &json!("the tenant is full"))
    );
    assert_eq!(rule("known-denial").expect("the rule")["action"], "force");
    assert_eq!(rule("deadline").expect("the rule")["family"], "network");
}

#[test]
fn rules_that_cannot_be_are_faults_with_their_place() {
    let config = file(
        "bad-rules.yaml",
        "rules:\n\
         - name: open\n  pattern: 'a(b'\n\
         - name: anything\n  pattern: 'x*'\n\
         - name: lonely\n\
         - name: twice\n  pattern: abc\n\
         - name: twice\n  pattern: abd\n\
         - name: Shouting\n  pattern: abc\n\
         - name: wide\n  pattern: abc\n  budget: 5000%\n\
         - name: huge\n  pattern: '(a{1000}){1000}'\n\
         - name: all\n  pattern: '.+'\n\
         - name: conection\n  enabled: false\n\
         - name: sly\n  pattern: abc\n  description: \"a\u{202e}b\"\n\
         - name: inside\n  reasons: [UpgradeFailed]\n  exception: true\n",
    );
    for command in ["classify", "rules"] {
        let output = run(&[command, "--config", &config], b"");
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert!(output.stdout.is_empty());
        let said = text(&output.stderr);
        for (place, problem) in [
            ("rules[0].pattern", "is no regular expression"),
            ("rules[1].pattern", "matches every message"),
            ("rules[2].pattern", "is missing"),
            ("rules[4]", "is here twice"),
            ("rules[5].name", "lower-case letters"),
            ("rules[6].budget", "expected a share of the limit"),
            ("rules[7].pattern", "is no regular expression"),
            ("rules[8].pattern", "matches every message"),
            ("rules[9].name", "there is nothing to switch off"),
            ("rules[10].description", "is not one plain line"),
            ("rules[11].exception", "needs a pattern"),
        ] {
            let found = said
                .lines()
                .any(|line| line.contains(&format!("{place}: ")) && line.contains(problem));
            assert!(found, "{place}: {problem} is not in\n{said}");
        }
        let faults = said.lines().filter(|line| line.contains("rules[")).count();
        assert_eq!(faults, 11, "one fault each\n{said}");
    }
}

#[test]
fn the_table_of_rules_is_the_one_verdicts_are_made_by() {
    let listed = lines(&run(&["rules", "--output", "json"], b""));
    let names: Vec<_> = listed
        .iter()
        .map(|rule| rule["name"].as_str().expect("a name"))
        .collect();
    let expected: Vec<_> = built_in().map(|(_, rule)| rule.name).collect();
    assert_eq!(names, expected);
    let shown = run(&["rules"], b"");
    let shown = text(&shown.stdout);
    assert_eq!(shown.lines().count(), expected.len() + 1);
    let column = shown
        .lines()
        .next()
        .expect("a heading")
        .find("CLASS")
        .expect("a column");
    for (line, (_, rule)) in shown.lines().skip(1).zip(built_in()) {
        assert!(
            line.starts_with(rule.name) && line[column..].starts_with(rule.class.as_str()),
            "{line}"
        );
    }
    assert!(FAMILIES.iter().all(|family| shown.contains(family.name)));
}

#[test]
fn whoever_stops_reading_is_not_told_of_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_helmreboot"))
        .args(["rules", "--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[test]
fn machines_write_lines_whatever_they_look_like() {
    let input = b"\xef\xbb\xbf{\"message\": \"EOF\"}\r\n[\"EOF\"]\n\"password=hunter2\"\n   {\"message\": \"EOF\"}";
    let output = run(&["classify", "--output", "json"], input);
    assert_eq!(output.status.code(), Some(1));
    let verdicts = lines(&output);
    assert_eq!(
        (&verdicts[0]["rule"], &verdicts[3]["rule"]),
        (&json!("connection"), &json!("connection"))
    );
    assert!(verdicts[1]["error"].is_string() && verdicts[2]["error"].is_string());
    let plain = run(&["classify", "--output", "json"], b"unexpected EOF\n");
    assert_eq!(
        plain.status.code(),
        Some(1),
        "a message that is no object is said to be none: {plain:?}"
    );
    let wrong = run(
        &["classify"],
        b"{\"message\": {\"password\": \"hunter2\"}}\n{\"message\": 1, \"token\": \"hunter2\"}",
    );
    assert_eq!(wrong.status.code(), Some(1));
    assert!(!text(&wrong.stdout).contains("hunter2"), "{wrong:?}");
}

#[test]
fn no_secret_of_a_message_is_shown_however_it_is_cut() {
    let secret = "s".repeat(300);
    for message in [
        format!("password={secret} unexpected EOF"),
        format!("{{\"password\":\"{secret}\"}} unexpected EOF"),
        format!("Get \"https://user:{secret}@host/x\": unexpected EOF"),
        format!("Get \"https://host/x?X-Amz-Signature={secret}\": unexpected EOF"),
        format!("unexpected EOF token: {secret}"),
    ] {
        let alone = run(&["classify", &message], b"");
        let row = run(
            &["classify"],
            json!({"message": message}).to_string().as_bytes(),
        );
        for output in [alone, row] {
            assert!(
                output.status.success() && !text(&output.stdout).contains("sss"),
                "{output:?}"
            );
        }
    }
}
