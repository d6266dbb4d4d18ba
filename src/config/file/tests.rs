//! Errors of names and types, and the schema of the chart.

use serde_json::{Value, json};

use super::*;
use crate::config::settings;

fn fault(yaml: &str) -> String {
    let thread = std::thread::current().id();
    let file = std::env::temp_dir().join(format!("helmreboot-types-{thread:?}.yaml"));
    std::fs::write(&file, yaml).expect("a file");
    let fault = File::read(&file).expect_err(yaml).to_string();
    fault.replace(&file.display().to_string(), "file")
}

#[test]
fn an_error_of_a_name_or_a_type_says_where_it_is_and_what_to_write() {
    for (yaml, expected) in [
        (
            "policy: {limit: many}",
            "file: policy.limit (line 1): expected a whole number of at most 9 digits, without a sign; there is no value for endless",
        ),
        (
            "policy: {limit: -1}",
            "file: policy.limit (line 1): expected a whole number of at most 9 digits, without a sign; there is no value for endless",
        ),
        (
            "policy:\n  backoff: {factor: x}",
            "file: policy.backoff.factor (line 2): expected a number",
        ),
        (
            "policy:\n  enabled: perhaps",
            "file: policy.enabled (line 2): expected true or false",
        ),
        (
            "mode: watch",
            "file: mode (line 1): expected one of observe, act",
        ),
        (
            "mode: [act]",
            "file: mode (line 1): expected a single value",
        ),
        (
            "clusterName: {a: b}",
            "file: clusterName (line 1): expected a single value",
        ),
        (
            "policy: {action: request}",
            "file: policy.action (line 1): expected one of reset, force",
        ),
        (
            "rules: [{class: unknown}]",
            "file: rules[0].class (line 1): expected one of benign, permanent, transient",
        ),
        (
            "policy: 5",
            "file: policy (line 1): expected a mapping; write `name: value` lines",
        ),
        (
            "clusters: {name: a}",
            "file: clusters (line 1): expected a list; write `- ` lines",
        ),
        (
            "sweepNamespaces: {a: b}",
            "file: sweepNamespaces (line 1): expected a list of names; put a name such as \"1\" into quotes",
        ),
        (
            "policies:\n- 5",
            "file: policies[0] (line 2): expected a mapping; write `name: value` lines",
        ),
        (
            "limits: {burts: 1}",
            "file: limits.burts (line 1): there is no such field; expected one of ratePerMinute, burst, inFlight, breakerThreshold, breakerWindow, breakerWait",
        ),
        (
            "clusters: [{name: a, keys: [{value: x}]}]",
            "file: clusters[0].keys[0].value (line 1): there is no such field; expected one of file, env, namespaces",
        ),
        (
            "policies: [{name: a, limit: 1, match: {namespace: b}}]",
            "file: policies[0].match.namespace (line 1): there is no such field; expected one of clusters, namespaces, labels",
        ),
        (
            "clusters: [{keys: []}]",
            "file: clusters[0] (line 1): name is missing",
        ),
        (
            "clusters: [{name: a}]",
            "file: clusters[0] (line 1): keys is missing",
        ),
        (
            "rules: [{pattern: a}]",
            "file: rules[0] (line 1): name is missing",
        ),
        (
            "mode: act\nmode: observe",
            "file (line 2): mode is set twice; keep one",
        ),
        (
            "limits: {burst: 1, burst: 2}",
            "file: limits (line 1): burst is set twice; keep one",
        ),
        (
            "mode: act\n---\nmode: act\n",
            "file (line 3): the file has several YAML documents; keep one",
        ),
        (
            "5",
            "file (line 1): expected a mapping; write `name: value` lines",
        ),
    ] {
        assert_eq!(fault(yaml), expected, "{yaml}");
    }
}

#[test]
fn an_error_never_repeats_a_value() {
    for yaml in [
        "clusters: [{name: a, keys: [hunter2]}]",
        "clusters: [{name: a, keys: hunter2}]",
        "clusters: [{name: a, keys: [{file: [hunter2]}]}]",
        "policy: hunter2",
        "policy: {limit: hunter2}",
        "mode: hunter2",
        "leaderElect: hunter2",
        "clusters: [\npassword: hunter2",
        "key: \"hunter2",
        "tokenFile: hunter2: x",
        "clusters:\n- {name: a, keys: [{env: &k hunter2}], mode: *k}",
        "clusters: [{name: a, keys: [{token:hunter2}]}]",
        "clusters: [{name: a, keys: [{hunter2}]}]",
        "mode: !hunter2 act",
        "sweepNamespaces: !hunter2 {a: b}",
        "clusterName: [hunter2, hunter2: {]",
    ] {
        let fault = fault(yaml);
        assert!(!fault.contains("hunter2"), "{yaml}: {fault}");
    }
}

#[test]
fn a_file_without_settings_is_a_file() {
    let file = std::env::temp_dir().join("helmreboot-empty.yaml");
    for yaml in [
        "",
        "# nothing\n",
        "~",
        "{}",
        "policy:\nlimits: ~\nclusters:\nrules: []\nmode:\n",
    ] {
        std::fs::write(&file, yaml).expect("a file");
        let read = File::read(&file).unwrap_or_else(|fault| panic!("{yaml}: {fault}"));
        assert!(read.mode.is_none() && read.clusters.is_empty(), "{read:?}");
    }
}

/// A hub with more clusters than the default limit for aliases.
#[test]
fn many_clusters_may_share_what_an_anchor_names() {
    let entry = |number: usize| match number {
        0 => "- {name: c0, keys: [{env: K}], sweepNamespaces: &ns [a]}\n".to_owned(),
        _ => format!("- {{name: c{number}, keys: [{{env: K}}], sweepNamespaces: *ns}}\n"),
    };
    let clusters: String = (0..1000).map(entry).collect();
    let file = std::env::temp_dir().join("helmreboot-anchors.yaml");
    std::fs::write(&file, format!("clusters:\n{clusters}")).expect("a file");
    assert_eq!(File::read(&file).expect("a file").clusters.len(), 1000);
}

#[test]
fn a_file_that_is_no_file_is_an_error_and_is_not_waited_for() {
    let problem = File::read(Path::new("/dev/zero")).expect_err("no file");
    assert!(
        problem.to_string().contains("not a regular file"),
        "{problem}"
    );
}

/// The schema of the value `config` of the chart is the schema of [`File`]. After a change of the types, copy it from
/// the file that the failed test names.
#[test]
fn the_chart_has_the_schema_of_the_file() {
    let generator = schemars::generate::SchemaSettings::draft07()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut expected = generator.into_root_schema_for::<File>().to_value();
    plain(&mut expected);
    for setting in settings::PROCESS {
        if let Some(path) = setting.path {
            let pointer = format!("/properties/{}", path.replace('.', "/properties/"));
            let field = expected.pointer_mut(&pointer).expect(path);
            field["description"] = json!(setting.help);
        }
    }
    let chart = include_str!("../../../deploy/helm/helmreboot/values.schema.json");
    let chart: Value = serde_json::from_str(chart).expect("JSON");
    if chart["properties"]["config"] != expected {
        let file = std::env::temp_dir().join("helmreboot-config.schema.json");
        let text = serde_json::to_string_pretty(&expected).expect("JSON");
        std::fs::write(&file, text).expect("a file");
        panic!(
            "properties.config of values.schema.json is not {}",
            file.display()
        );
    }
}

/// Leaves out what says nothing to a reader of the schema, and allows null for every field.
fn plain(schema: &mut Value) {
    let Value::Object(fields) = schema else {
        return;
    };
    for name in ["$schema", "title", "format", "default"] {
        fields.remove(name);
    }
    if let Some(items) = fields.get_mut("items") {
        plain(items);
    }
    let required = fields.get("required").cloned().unwrap_or_default();
    let required = |name: &String| {
        required
            .as_array()
            .is_some_and(|names| names.contains(&json!(name)))
    };
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    for (name, field) in properties.into_iter().flatten() {
        plain(field);
        if required(name) {
            continue;
        }
        if let Some(words) = words(field) {
            let description = field["description"].take();
            *field = json!({"description": description, "enum": words});
        } else if let Some(kind) = field["type"].as_str() {
            field["type"] = json!([kind, "null"]);
        }
    }
}

/// The words of a field that has one of some words.
fn words(field: &Value) -> Option<Vec<Value>> {
    let variants = field["anyOf"][0]["oneOf"].as_array()?;
    let words = variants.iter().map(|variant| variant["const"].clone());
    Some(words.chain([Value::Null]).collect())
}
