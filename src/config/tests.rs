use std::{collections::HashMap, io::Write};

use super::*;
use crate::domain::policy::{Mode, Policy};

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
    assert_eq!(config.policies.base, Policy::default());
    assert_eq!(config.limits, LimitConfig::default());
    assert_eq!(config.sweep, SweepMode::Watch);
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
    assert_eq!(config.policies.base.limit, 3);
}

#[test]
fn every_value_that_is_not_valid_is_reported_at_once_with_its_place() {
    let yaml = "policy: {limit: 101, backoff: {factor: 0.5, duration: 2h}}\nlimits: {burst: 0}\nkeepAlive: 1s\nclusters:\n- name: Prod\n  keys: [{}]\n- {name: b, keys: []}\n- name: a\n  inCluster: true\n  context: c\n  keys: [{env: NOT_SET}]\n";
    let faults =
        load(&[("mode", "watch")], &[TOKEN, ("LOG_LEVEL", "loud")], yaml).expect_err("faults");
    let expected = [
        "HELMREBOOT_TOKEN: is for a single cluster; write it into the entry under clusters, or take the list away",
        "file: clusters[0].name: invalid value \"Prod\": expected up to 63 lower-case letters, digits, - and .",
        "file: clusters[0].keys[0]: needs exactly one of file and env; the key itself does not belong into this file",
        "file: clusters[1].keys: is missing; write at least one of `- file: path` or `- env: NAME`",
        "file: clusters[2].keys[0].env: the environment variable NOT_SET is not set or empty; put the key into it",
        "file: clusters[2].inCluster: contradicts kubeconfig and context; keep one way to the cluster",
        "file: policy.limit: invalid value 101: expected a number from 0 to 100",
        "file: policy.backoff.factor: invalid value 0.5: expected a number from 1 to 10",
        "file: policy.backoff.duration: is longer than maxDuration, which is 1h",
        "file: limits.burst: invalid value 0: expected a number from 1 to 1000",
        "file: keepAlive: invalid value \"1s\": expected a duration such as 75s, from 5s to 1h",
        "--mode: invalid value \"watch\": expected one of observe, act",
        "LOG_LEVEL: invalid value \"loud\": expected one of error, warn, info, debug, trace",
    ];
    assert_eq!(faults, expected);
}

/// The other sources are checked all the same.
#[test]
fn an_error_of_a_type_is_reported_with_those_of_flags_and_variables() {
    let faults = load(&[("mode", "watch")], &[], "policy: {limt: 3}").expect_err("faults");
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("policy.limt (line 1): there is no such field"));
    assert!(faults[1].starts_with("--mode: "));
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
        ]
    );
}

#[test]
fn a_key_for_no_namespace_is_not_a_key_for_all() {
    for namespaces in ["[]", "[a, a]", "['team-*']", "['']"] {
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
    // What a file holds is its cluster's affair, and read again.
    let config = load(&[("token-file", "/nowhere/token")], &[], "").expect("a configuration");
    let problem = config.clusters[0].read_keys().expect_err("no file");
    assert!(
        problem.starts_with("cannot read the key file /nowhere/token"),
        "{problem}"
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

#[test]
fn policies_start_from_the_one_for_everything_and_match_in_order() {
    let yaml = "policy: {limit: 3, slowLane: off}\n\
        policies:\n- name: databases\n  match: {clusters: [prod-*], namespaces: [db], labels: {tier: data}}\n  limit: 1\n  action: force\n  backoff: {duration: 5m}\n\
        - {name: careful, mode: observe, slowLane: 12h, allow: {afterRollback: false}}\n";
    let policies = load(&[], &[TOKEN], yaml).expect("a configuration").policies;
    let base = &policies.base;
    assert_eq!((base.limit, base.slow_lane), (3, None));
    let [(databases, first), (anything, second)] = &*policies.listed else {
        panic!("{policies:?}")
    };
    assert_eq!(databases.clusters, ["prod-*"]);
    assert_eq!(databases.namespaces, ["db"]);
    assert_eq!(databases.labels["tier"], "data");
    assert_eq!((first.limit, first.force, first.slow_lane), (1, true, None));
    assert_eq!(first.backoff.duration, SignedDuration::from_mins(5));
    assert_eq!(first.backoff.factor, 2.0);
    assert_eq!(*anything, crate::domain::policy::Match::default());
    assert_eq!((second.limit, second.mode), (3, Mode::Observe));
    assert_eq!(second.slow_lane, Some(SignedDuration::from_hours(12)));
    assert!(!second.allow_after_rollback);
}

#[test]
fn every_value_of_a_policy_is_reported_with_its_place() {
    let yaml = "policies:\n- {name: b, limit: 101, slowLane: soon}\n\
        - {name: default, match: {clusters: [a], namespaces: ['']}}\n- {name: a}\n- {name: a}\n";
    let faults = load(&[], &[TOKEN], yaml).expect_err("faults");
    let expected = [
        "file: policies[0].limit: invalid value 101: expected a number from 0 to 100",
        "file: policies[0].slowLane: invalid value \"soon\": expected a duration such as 90s, 1m30s or 6h, at most 8760h, or off",
        "file: policies[1].match.namespaces: contains an invalid name; write lower-case names, with a * only at the end",
        "file: policies[1]: the name default is taken; give each policy its own",
        "file: policies[3]: the name a is taken; give each policy its own",
    ];
    assert_eq!(faults, expected);
}

#[test]
fn namespaces_to_sweep_are_a_list_or_a_line() {
    fn watched(yaml: &str) -> Result<Vec<Arc<str>>, Vec<String>> {
        load(&[], &[TOKEN], yaml).map(|config| config.clusters[0].namespaces.clone())
    }
    let both = Ok(vec![Arc::from("one"), Arc::from("two")]);
    assert_eq!(watched("sweepNamespaces: two, one"), both);
    assert_eq!(watched("sweepNamespaces: [one, two]"), both);
    assert_eq!(watched("{}"), Ok(Vec::new()));
    assert_eq!(watched("sweepNamespaces: [no]"), Ok(vec![Arc::from("no")]));
    for bad in ["[One]", "'*'", "[[a]]", "-a", "','", "[]", "1"] {
        let faults = watched(&format!("sweepNamespaces: {bad}")).expect_err("a fault");
        assert_eq!(faults.len(), 1, "{bad}: {faults:?}");
    }
    let keys = [("K1", "one"), ("K2", "two")];
    let yaml = "clusters:\n- {name: a, sweepNamespaces: [x], keys: [{env: K1}]}\n- {name: b, keys: [{env: K2}]}\n";
    let clusters = load(&[], &keys, yaml).expect("a configuration").clusters;
    assert_eq!(clusters[0].namespaces, [Arc::from("x")]);
    assert!(clusters[1].namespaces.is_empty());
}

#[test]
fn a_certificate_and_its_key_go_together() {
    fn tls(flags: &[(&'static str, &str)]) -> Result<bool, Vec<String>> {
        load(flags, &[TOKEN], "{}").map(|config| config.tls.is_some())
    }
    assert_eq!(tls(&[]), Ok(false));
    assert_eq!(
        tls(&[("tls-cert-file", "c"), ("tls-key-file", "k")]),
        Ok(true)
    );
    for alone in ["tls-cert-file", "tls-key-file"] {
        let faults = tls(&[(alone, "file")]).expect_err("a fault");
        assert!(
            faults[0].starts_with(&format!("--{alone}: has no ")),
            "{faults:?}"
        );
    }
}

#[test]
fn the_sweep_and_the_slow_lane_take_what_people_write() {
    let sweep = |text| {
        let config = load(&[], &[TOKEN], &format!("sweep: {text}"));
        config.map(|config| config.sweep)
    };
    assert_eq!(sweep("off"), Ok(SweepMode::Off));
    assert_eq!(sweep("10m"), Ok(SweepMode::Every(Duration::from_secs(600))));
    for bad in ["1s", "often", "200h"] {
        assert_eq!(sweep(bad).expect_err("a fault").len(), 1, "{bad}");
    }
    // YAML reads a bare off as false.
    let config = load(
        &[],
        &[TOKEN],
        "sweep: off\npolicy: {slowLane: off}\nclusterName: a\n",
    );
    let config = config.expect("a configuration");
    assert_eq!(
        (config.sweep, config.policies.base.slow_lane),
        (SweepMode::Off, None)
    );
}

#[test]
fn a_name_is_the_text_that_is_written() {
    let yaml = "clusters:\n- {name: no, keys: [{env: K1}]}\n- {name: 1e3, keys: [{env: K2}]}\npolicies:\n- {name: on, match: {labels: {tier: 1}}}\n";
    let config = load(&[], &[("K1", "one"), ("K2", "two")], yaml).expect("a configuration");
    let names: Vec<_> = config
        .clusters
        .iter()
        .map(|cluster| &*cluster.name)
        .collect();
    assert_eq!(names, ["no", "1e3"]);
    let (matching, policy) = &config.policies.listed[0];
    assert_eq!((&*policy.name, &*matching.labels["tier"]), ("on", "1"));
}

#[test]
fn a_cluster_can_be_observed_by_itself() {
    let yaml = "clusters:\n- {name: a, keys: [{env: K1}], mode: observe}\n- {name: b, keys: [{env: K2}]}\n";
    let config = load(&[], &[("K1", "one"), ("K2", "two")], yaml).expect("a configuration");
    assert_eq!(config.policies.observed, ["a".into()]);
}
