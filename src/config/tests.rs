use std::{collections::HashMap, io::Write};

use super::*;

/// Loads from flags, variables and the text of a file.
fn load(
    flags: &[(&'static str, &str)],
    env: &[(&str, &str)],
    yaml: &str,
) -> Result<Config, Vec<String>> {
    let file =
        std::env::temp_dir().join(format!("helmreboot-{:?}.yaml", std::thread::current().id()));
    std::fs::File::create(&file)
        .and_then(|mut file| file.write_all(yaml.as_bytes()))
        .expect("a file");
    let mut flags: Flags = flags
        .iter()
        .map(|(flag, value)| (*flag, (*value).to_owned()))
        .collect();
    flags.insert("config", file.display().to_string());
    let env: HashMap<_, _> = env.iter().copied().collect();
    let loaded = Config::load(&flags, &|name| {
        env.get(name).map(|value| (*value).to_owned())
    });
    let name = format!("{}: ", file.display());
    loaded.map_err(|faults| {
        faults
            .iter()
            .map(|fault| fault.to_string().replace(&name, "file: "))
            .collect()
    })
}

const TOKEN: (&str, &str) = ("HELMREBOOT_TOKEN", "s3cr3t");

#[test]
fn a_token_is_all_that_is_needed() {
    let config = load(&[], &[TOKEN], "").expect("a configuration");
    assert_eq!(config.policy, Policy::default());
    assert_eq!(config.webhook_address, ":9292");
    assert_eq!(&*config.clusters[0].name, "default");
    assert!(!format!("{config:?}").contains("s3cr3t"));
}

#[test]
fn flags_come_before_variables_and_variables_before_the_file() {
    let yaml = "metricsBindAddress: ':3'\nhealthProbeBindAddress: ':3'\nwebhookBindAddress: ':3'\npolicy: {limit: 3}";
    let env = [
        TOKEN,
        ("METRICS_BIND_ADDRESS", ":2"),
        ("HEALTH_PROBE_BIND_ADDRESS", ":2"),
        ("LEADER_ELECT", "true"),
    ];
    let config = load(&[("metrics-bind-address", ":1")], &env, yaml).expect("a configuration");
    assert_eq!(
        [
            config.metrics_address,
            config.probe_address,
            config.webhook_address
        ],
        [":1", ":2", ":3"]
    );
    assert!(config.leader_elect);
    assert_eq!(config.policy.limit, 3);
}

#[test]
fn every_fault_is_reported_at_once_with_its_place() {
    let yaml = "policy: {limit: many, backoff: {factor: 0.5}, limt: 3}\nclusters:\n- name: Prod\n  keys: [{value: x}]\n- keys: []\n- name: a\n  inCluster: true\n  context: c\n  keys: [{env: NOT_SET}]\n";
    let faults =
        load(&[("mode", "watch")], &[TOKEN, ("LOG_LEVEL", "loud")], yaml).expect_err("faults");
    let expected = [
        "LOG_LEVEL: \"loud\" does not do; write error, warn, info, debug or trace",
        "--mode: \"watch\" does not do; write observe or act",
        "file: policy.limit: \"many\" does not do; write a number from 0 to 100",
        "file: policy.backoff.factor: \"0.5\" does not do; write a number from 1 to 10",
        "HELMREBOOT_TOKEN: is for a single cluster; write it into the entry under clusters, or take the list away",
        "file: clusters[0].name: write up to 63 lower-case letters, digits, - and .",
        "file: clusters[0].keys[0].value: there is no such field; a key has file or env, and namespaces",
        "file: clusters[0].keys[0]: needs exactly one of file and env; the key itself does not belong into this file",
        "file: clusters[1].name: is missing; write the cluster's name, as metadata.cluster says it",
        "file: clusters[1].keys: is missing; write at least one of `- file: path` or `- env: NAME`",
        "file: clusters[2].keys[0].env: the environment variable NOT_SET is not set or empty; put the key into it",
        "file: clusters[2].inCluster: contradicts kubeconfig and context; keep one way to the cluster",
        "file: policy.limt: there is no such setting; see helmreboot serve --help for the names",
    ];
    assert_eq!(faults, expected);
}

#[test]
fn clusters_need_names_and_keys_of_their_own() {
    let yaml = "clusters:\n- {name: a, keys: [{env: K1}]}\n- {name: b, keys: [{env: K2}]}\n- {name: a, keys: [{env: K3}, {env: K4}]}\n";
    let env = [
        ("K1", "one"),
        ("K2", "one\n"),
        ("K3", "three"),
        ("K4", "three"),
    ];
    let faults = load(&[], &env, yaml).expect_err("faults");
    assert_eq!(
        faults,
        [
            "file: clusters[1]: has the same key as file: clusters[0]; give each cluster its own",
            "file: clusters[2]: the name a is taken by another cluster; give each its own",
            "file: clusters[2]: lists the same key twice; keep one, with all its namespaces",
        ]
    );
}

#[test]
fn a_key_for_no_namespace_is_not_a_key_for_all() {
    for namespaces in ["[]", "[a, a]", "a", "[1]"] {
        let yaml =
            format!("clusters:\n- name: a\n  keys: [{{env: K, namespaces: {namespaces}}}]\n");
        let faults = load(&[], &[("K", "one")], &yaml).expect_err("a fault");
        assert_eq!(faults.len(), 1, "{namespaces}: {faults:?}");
        assert!(
            faults[0].starts_with("file: clusters[0].keys[0].namespaces: "),
            "{faults:?}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_the_only_fault() {
    let flags = [("config", "/nowhere/config.yaml".to_owned())].into();
    let faults = Config::load(&flags, &|_| None).expect_err("a fault");
    assert_eq!(faults.len(), 1, "{faults:?}");
}

#[test]
fn without_a_key_or_with_an_empty_one_nothing_starts() {
    assert_eq!(load(&[], &[], "").expect_err("a fault").len(), 1);
    let faults = load(&[], &[("HELMREBOOT_TOKEN", " \n")], "").expect_err("a fault");
    assert_eq!(
        faults,
        ["HELMREBOOT_TOKEN: the key is empty; put the token of the Provider's Secret into it"]
    );
    let faults = load(&[("token-file", "/nowhere/token")], &[], "").expect_err("a fault");
    assert!(
        faults[0].starts_with("--token-file: cannot read the key file /nowhere/token"),
        "{faults:?}"
    );
}

#[test]
fn text_that_is_no_yaml_is_one_fault_that_shows_no_secret() {
    let faults = load(&[], &[TOKEN], "clusters: [\npassword: hunter2").expect_err("a fault");
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].contains("is not YAML") && !faults[0].contains("hunter2"),
        "{faults:?}"
    );
}

#[test]
fn go_style_addresses_and_durations_are_understood() {
    for good in [":8080", "0.0.0.0:0", "[::1]:80", "localhost:9292"] {
        assert!(parse::address(good).is_ok(), "{good}");
    }
    for bad in ["8080", ":x", "::1:80", "", ":99999", "a b:1"] {
        assert!(parse::address(bad).is_err(), "{bad}");
    }
    let day = SignedDuration::from_hours(24);
    assert_eq!(
        parse::duration("1m30s", day),
        Ok(SignedDuration::from_secs(90))
    );
    for bad in ["0s", "-1m", "25h", "soon", "5"] {
        assert!(parse::duration(bad, day).is_err(), "{bad}");
    }
    assert_eq!(parse::share("10%"), Ok(0.1));
    assert!(parse::share("200%").is_err());
}
