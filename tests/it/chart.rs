//! What the Helm chart makes of its values: what it refuses, which rights it grants, and whom it tells what.

use std::{collections::BTreeSet, fs, time::Duration};

use helmreboot::{
    app::Options,
    config::{SweepMode, settings},
    demo::fake_cluster::Rights,
    domain::policy::{Mode, Policy},
};
use serde_json::{Value, json};

use crate::{
    packaging::{chart, name_of, root, strictly},
    support::{Live, TestApp, pass},
};

/// The object of that kind, by its name.
fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let wanted = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects
        .iter()
        .find(wanted)
        .unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

#[test]
fn wrong_values_are_refused_with_what_to_write() {
    let wrong = [
        ("sweep=5s", "an interval from 10s to 168h"),
        ("sweep=0m", "an interval from 10s to 168h"),
        (
            "fullnameOverride=My_App",
            "write lower-case letters, digits and -, beginning with a letter, into fullnameOverride",
        ),
        ("fullnameOverride=1x", "beginning with a letter"),
        (
            "nameOverride=My App,fullnameOverride=x",
            "does not do as a label",
        ),
        ("sweep=30m1h", "an interval from 10s to 168h"),
        ("sweep=9999999999999999999h", "an interval from 10s to 168h"),
        ("mode=null", "missing property 'mode'"),
        ("metrics=null", "missing property 'metrics'"),
        (
            "config.policy.limt=3",
            "at '/config/policy': additional properties 'limt' not allowed",
        ),
        ("config.clusterName=Prod EU", "at '/config/clusterName'"),
        (
            "config.clusters[0].name=a,config.clusters[0].tokn=b",
            "additional properties 'tokn' not allowed",
        ),
        (
            "config.clusters[0].name=a,config.clusters[0].keys[0].file=/etc/helmreboot/keys/a",
            "name the Secret that has the entry \"a\"",
        ),
        (
            "config.clusters[0].name=a,config.clusters[0].keys[0].env=A,config.clusters[0].kubeconfig=/etc/helmreboot/kubeconfigs/a",
            "kubeconfigsSecret is empty",
        ),
        (
            "rbac.namespaces={a},flux.enabled=true,flux.namespaces={a,b}",
            "flux.namespaces has b, where rbac.namespaces gives no rights",
        ),
        (
            "config.clusters[0].name=x,config.clusters[0].keys[0].env=A,config.clusters[0].inCluster=true,config.clusters[0].sweepNamespaces={b},rbac.namespaces={a}",
            "config.clusters sweeps b, where rbac.namespaces gives no rights",
        ),
        (
            "config.kubeconfig=/etc/k,flux.enabled=true,flux.namespaces={a}",
            "leads to another: set flux.enabled=false",
        ),
        (
            "extraEnv[0].name=HELMREBOOT_MODE,extraEnv[0].value=act",
            "set mode instead",
        ),
        (
            "extraEnv[0].name=A,extraEnv[0].value=1",
            "at '/extraEnv/0/value': got number, want string",
        ),
        ("extraVolumes[0].name=tls", "choose another name"),
        (
            "serviceAccount.create=false,serviceAccount.name=default",
            "name another account",
        ),
        ("metrics.podMonitor.interval=often", "/interval"),
        (
            "httpRoute.hostnames={https://a.b}",
            "/httpRoute/hostnames/0",
        ),
        ("flux.address=hub.example.com", "at '/flux/address'"),
        (
            "spoke.enabled=true,ingress.enabled=true,ingress.host=a.b",
            "leaves out the Deployment, and ingress is about it",
        ),
        (
            "spoke.enabled=true,flux.enabled=true,flux.namespaces={a}",
            "write where the hub takes this cluster's alerts",
        ),
        (
            "spoke.enabled=true,flux.enabled=true,flux.namespaces={a},flux.address=https://a.b/webhook/prod-eu",
            "set config.clusterName to the name in it",
        ),
        (
            "config.clusters[0].name=a,config.clusters[0].keys[0].env=A,config.clusters[0].inCluster=true,config.clusters[1].name=b,config.clusters[1].keys[0].env=B,config.clusters[1].inCluster=true",
            "runs in one of them",
        ),
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("replica=2", "additional properties 'replica' not allowed"),
        (
            "mode=dry-run",
            "at '/mode': value must be one of 'act', 'observe'",
        ),
        (
            "sweep=sometimes",
            "an interval from 10s to 168h such as 10m",
        ),
        (
            "config.limt=2",
            "at '/config': additional properties 'limt' not allowed",
        ),
        ("config.mode=observe", "set mode beside config"),
        (
            "flux.enabled=true",
            "list the namespaces of your HelmReleases",
        ),
        ("key.value=a,key.existingSecret=b", "keep one of them"),
        (
            "key.value=a,config.clusters[0].name=x,config.clusters[0].keys[0].env=A",
            "put their keys into the Secret that keysSecret names",
        ),
        (
            "rbac.namespaces={*}",
            "write the names of namespaces one by one",
        ),
        (
            "image.digest=latest",
            "write sha256: and 64 hexadecimal digits",
        ),
        (
            "ingress.enabled=true",
            "write the host name that remote clusters post to",
        ),
        (
            "ingress.enabled=true,ingress.host=https://a.b",
            "write the host name alone",
        ),
        (
            "config.clusters[0].name=x,config.clusters[0].keys[0].env=A,flux.enabled=true,flux.namespaces={a}",
            "set inCluster: true on its entry",
        ),
        (
            "config.clusters[0].name=x,config.clusters[0].keys[0].env=A,config.clusterName=x",
            "take it away",
        ),
        (
            "config.clusters[0].name=x,config.clusters[0].keys[0].env=A,config.clusters[0].inCluster=true,rbac.namespaces={a}",
            "under sweepNamespaces of the cluster x",
        ),
        (
            "networkPolicy.enabled=true,service.type=LoadBalancer",
            "so that nobody but Flux gets in",
        ),
        (
            "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true",
            "keep one of them",
        ),
        (
            "tls.existingSecret=a,flux.enabled=true,flux.namespaces={a}",
            "name a Secret of its namespace with the authority",
        ),
        ("httpRoute.enabled=true", "name your Gateway"),
        (
            "tls.certManager.enabled=true",
            "write the name of your Issuer or ClusterIssuer",
        ),
        (
            "tls.certManager.enabled=true,tls.certManager.issuerRef.name=a,tls.existingSecret=b",
            "keep one of them",
        ),
        (
            "serviceAccount.create=false",
            "write the name of an account that exists",
        ),
        (
            "service.port=99999",
            "at '/service/port': maximum: got 99,999, want 65,535",
        ),
    ];
    for (set, expected) in wrong {
        let Some(rendered) = chart(&["--set", set]) else {
            return;
        };
        let said = rendered.err().unwrap_or_else(|| panic!("{set} is taken"));
        assert!(said.contains(expected), "{set}:\n{said}");
    }
    let old = chart(&["--kube-version=1.29"])
        .expect("helm")
        .expect_err("no policies yet");
    assert!(old.contains("set admissionPolicy.enabled=false"), "{old}");
}

#[test]
fn the_chart_knows_every_setting_and_no_other() {
    let text = fs::read_to_string(root().join("deploy/helm/helmreboot/values.schema.json"))
        .expect("the schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    /// The paths of all that the schema names, without what stands in lists.
    fn leaves(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
        let Some(fields) = schema["properties"].as_object() else {
            found.insert(path.to_owned());
            return;
        };
        for (name, field) in fields {
            let below = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            leaves(field, &below, found);
        }
    }
    let mut listed = BTreeSet::new();
    leaves(&schema["properties"]["config"], "", &mut listed);
    // Left to one word, as the chart refuses them.
    listed.remove("tls");
    let paths = settings::ALL.iter().filter_map(|setting| setting.path);
    let known: BTreeSet<_> = paths
        .filter(|path| !path.starts_with("tls."))
        .chain(["clusters", "policies", "rules", "policy.allow.policies"])
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, known);
}

/// Which verbs which settings take: what the chart grants, and what is used.
const RIGHTS: [(&str, &str, &[&str]); 6] = [
    ("act", "watch", &["get", "list", "watch", "patch"]),
    ("act", "10m", &["get", "list", "patch"]),
    ("act", "off", &["get", "patch"]),
    ("observe", "watch", &["get", "list", "watch"]),
    ("observe", "10m", &["get", "list"]),
    ("observe", "off", &["get"]),
];

#[test]
fn the_chart_grants_exactly_these_verbs() {
    for (mode, sweep, verbs) in RIGHTS {
        let Some(rendered) = chart(&["--set", &format!("mode={mode},sweep={sweep}")]) else {
            return;
        };
        let rendered = rendered.expect("a chart");
        let rules: Vec<_> = rendered
            .iter()
            .filter_map(|object| object.get("rules"))
            .collect();
        let expected = json!([{"apiGroups": ["helm.toolkit.fluxcd.io"], "resources": ["helmreleases"], "verbs": verbs}]);
        assert_eq!(rules, [&expected], "{mode} {sweep}");
    }
}

#[tokio::test(start_paused = true)]
async fn exactly_the_granted_verbs_are_used() {
    for (mode, sweep, verbs) in RIGHTS {
        let observe = mode == "observe";
        let policy = Policy {
            mode: if observe { Mode::Observe } else { Mode::Act },
            ..Policy::default()
        };
        let sweep = match sweep {
            "off" => SweepMode::Off,
            "watch" => SweepMode::Watch,
            _ => SweepMode::Every(Duration::from_secs(600)),
        };
        let app = TestApp::with(
            Options {
                policies: policy.into(),
                sweep,
                ..Options::default()
            },
            &["a"],
        );
        app.cluster("a").grant(Rights {
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            namespaces: None,
        });
        let release = app.holds(Live::stalled("web"));
        app.alert(&release).await;
        pass(1200).await;
        let calls = app.cluster("a").calls();
        let used: BTreeSet<_> = calls
            .iter()
            .map(|call| call.verb)
            .filter(|verb| *verb != "discover")
            .collect();
        assert_eq!(used, verbs.iter().copied().collect(), "{mode} {sweep:?}");
        assert_eq!(app.writes().is_empty(), observe);
    }
}

#[test]
fn flux_is_told_the_name_that_helmreboot_knows_its_own_cluster_by() {
    let set = "config.clusters[0].name=hub,config.clusters[0].keys[0].env=HUB,config.clusters[0].inCluster=true,flux.enabled=true,flux.namespaces={apps}";
    let Some(rendered) = chart(&["--set", set]) else {
        return;
    };
    let rendered = rendered.expect("a chart");
    let address = &find(&rendered, "Provider", "helmreboot")["spec"]["address"];
    assert_eq!(
        address,
        "http://helmreboot.helmreboot.svc.cluster.local:9292/webhook/hub"
    );
    let alert = find(&rendered, "Alert", "helmreboot");
    assert_eq!(alert["spec"]["eventMetadata"]["cluster"], "hub");
}

#[test]
fn two_installations_share_nothing_that_has_no_namespace() {
    let names = |namespace: &str, name: &str| -> Option<BTreeSet<String>> {
        let set = format!(
            "fullnameOverride={name},key.value=secret,flux.enabled=true,flux.namespaces={{apps}}"
        );
        let objects = chart(&[&format!("--namespace={namespace}"), "--set", &set])?;
        let objects = objects.expect("a chart");
        let shared = |name: &String| name.contains("-/") || name.contains("flux-system");
        Some(objects.iter().map(name_of).filter(shared).collect())
    };
    let long = "a".repeat(52);
    let installations = [
        ("helmreboot", "helmreboot"),
        ("other", "helmreboot"),
        ("eu", "helmreboot-prod"),
        ("prod-eu", "helmreboot"),
        ("prod", "helmreboot"),
        ("helmreboot-prod", "helmreboot-prod"),
        ("production-eu-1", &long),
        ("production-eu-2", &long),
    ];
    let mut taken = BTreeSet::new();
    for (namespace, name) in installations {
        let Some(names) = names(namespace, name) else {
            return;
        };
        assert!(names.len() >= 7, "{names:?}");
        for name in names {
            assert!(taken.insert(name.clone()), "{name} stands twice");
        }
    }
}

#[test]
fn what_looks_like_a_number_or_a_truth_stays_a_name() {
    let set = "flux.enabled=true,flux.namespace=no,flux.namespaces={123},key.existingSecret=0123,priorityClassName=1e3,serviceAccount.name=true";
    let Some(rendered) = chart(&[
        "--set-string",
        set.trim_start_matches("flux.enabled=true,"),
        "--set",
        "flux.enabled=true",
    ]) else {
        return;
    };
    let rendered = rendered.expect("a chart");
    let pod = &find(&rendered, "Deployment", "helmreboot")["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], "0123");
    assert_eq!(
        (&pod["priorityClassName"], &pod["serviceAccountName"]),
        (&json!("1e3"), &json!("true"))
    );
    let alert = find(&rendered, "Alert", "helmreboot");
    assert_eq!(alert["metadata"]["namespace"], "no");
    assert_eq!(alert["spec"]["eventSources"][0]["namespace"], "123");
    for object in &rendered {
        strictly(object).unwrap_or_else(|error| panic!("{}: {error}", name_of(object)));
    }
}

#[test]
fn the_alert_about_the_sweep_follows_its_interval() {
    let rules = |sweep: &str| -> Option<Vec<Value>> {
        let rendered = chart(&[
            "--set",
            &format!("sweep={sweep},metrics.prometheusRule.enabled=true"),
        ])?;
        let rendered = rendered.expect("a chart");
        let groups = find(&rendered, "PrometheusRule", "helmreboot")["spec"]["groups"]
            .as_array()
            .expect("groups")
            .clone();
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().expect("rules").clone());
        Some(
            rules
                .filter(|rule| rule["alert"] == "HelmrebootSweepStale")
                .collect(),
        )
    };
    for (sweep, bound) in [
        ("watch", Some(1800)),
        ("10m", Some(1800)),
        ("1h30m", Some(10800)),
        ("6h", Some(43200)),
        ("off", None),
    ] {
        let Some(rules) = rules(sweep) else { return };
        let shown = rules
            .first()
            .map(|rule| rule["expr"].as_str().expect("an expression").to_owned());
        assert_eq!(
            shown,
            bound.map(|bound| format!(
                "time() - max by (namespace, cluster) (max_over_time(helmreboot_last_sweep_timestamp_seconds[{}s])) > {bound}",
                bound * 4
            )),
            "{sweep}"
        );
    }
}

#[test]
fn wherever_replicas_choose_one_among_them_they_may() {
    for set in [
        "replicas=2",
        "replicas=2,rbac.create=false",
        "replicas=2,leaderElection=false",
        "replicas=2,sweep=off",
        "replicas=1",
    ] {
        let Some(rendered) = chart(&["--set", set]) else {
            return;
        };
        let rendered = rendered.expect("a chart");
        let container = &find(&rendered, "Deployment", "helmreboot")["spec"]["template"]["spec"]["containers"]
            [0];
        let variables = container["env"].as_array().expect("variables");
        let elects = variables
            .iter()
            .any(|variable| variable["name"] == "LEADER_ELECT");
        let may = rendered.iter().any(|object| {
            object["kind"] == "Role" && object["metadata"]["name"] == "helmreboot-lease"
        });
        assert_eq!(elects, may, "{set}");
        assert_eq!(
            elects,
            set.starts_with("replicas=2")
                && !set.contains("false,")
                && !set.ends_with("Election=false")
                && !set.ends_with("off"),
            "{set}"
        );
    }
}

#[test]
fn rights_are_given_where_something_is_done_and_nowhere_else() {
    let cluster = |more: &str| {
        format!("config.clusters[0].name=a,config.clusters[0].keys[0].env=A{more},sweep=off")
    };
    let rights = [
        (cluster(",config.clusters[0].kubeconfig=/etc/a"), None),
        ("config.kubeconfig=/etc/a,sweep=off".to_owned(), None),
        (
            cluster(",config.clusters[0].inCluster=true"),
            Some(json!(["get", "patch"])),
        ),
        (
            cluster(",config.clusters[0].inCluster=true,config.clusters[0].mode=observe"),
            Some(json!(["get"])),
        ),
        (
            "spoke.enabled=true,sweep=off".to_owned(),
            Some(json!(["get", "patch"])),
        ),
    ];
    for (set, verbs) in rights {
        let Some(rendered) = chart(&["--set", &set]) else {
            return;
        };
        let rendered = rendered.expect("a chart");
        let role = rendered
            .iter()
            .find(|object| object["kind"] == "ClusterRole");
        assert_eq!(
            role.map(|role| role["rules"][0]["verbs"].clone()),
            verbs,
            "{set}"
        );
    }
}

#[test]
fn a_configuration_that_is_all_comments_is_none() {
    let Some(rendered) = chart(&["--set", "config=null"]) else {
        return;
    };
    assert_eq!(
        rendered.expect("a chart"),
        chart(&[]).expect("helm").expect("a chart")
    );
}

#[test]
fn a_key_that_was_given_once_stays() {
    let set = "key.value=secret,flux.enabled=true,flux.namespaces={apps}";
    let Some(rendered) = chart(&["--set", set]) else {
        return;
    };
    let rendered = rendered.expect("a chart");
    let secrets: Vec<_> = rendered
        .iter()
        .filter(|object| object["kind"] == "Secret")
        .collect();
    assert_eq!(secrets.len(), 2);
    for secret in secrets {
        assert_eq!(secret["metadata"]["name"], "helmreboot-token");
        assert_eq!(
            secret["metadata"]["annotations"]["helm.sh/resource-policy"],
            "keep"
        );
    }
}

#[test]
fn labels_of_ones_own_never_part_pods_from_what_selects_them() {
    let own = "app\\.kubernetes\\.io/name=mine";
    let set = format!("podLabels.{own},commonLabels.{own},commonLabels.team=a,replicas=2");
    let Some(rendered) = chart(&[
        "--set-string",
        &set.replace(",replicas=2", ""),
        "--set",
        "replicas=2",
    ]) else {
        return;
    };
    let rendered = rendered.expect("a chart");
    let deployment = find(&rendered, "Deployment", "helmreboot");
    let selector = &deployment["spec"]["selector"]["matchLabels"];
    let pod = &deployment["spec"]["template"]["metadata"]["labels"];
    for (name, value) in selector.as_object().expect("labels") {
        assert_eq!(pod[name], *value);
    }
    assert_eq!(
        find(&rendered, "Service", "helmreboot")["spec"]["selector"],
        *selector
    );
    for object in &rendered {
        assert_eq!(
            object["metadata"]["labels"]["team"],
            "a",
            "{}",
            name_of(object)
        );
    }
}

#[test]
fn what_a_monitor_scrapes_is_not_scraped_by_annotation_too() {
    for (set, annotated) in [
        ("replicas=1", true),
        ("metrics.podMonitor.enabled=true", false),
    ] {
        let Some(rendered) = chart(&["--set", set]) else {
            return;
        };
        let rendered = rendered.expect("a chart");
        let template = &find(&rendered, "Deployment", "helmreboot")["spec"]["template"];
        let scrape = template["metadata"]["annotations"].get("prometheus.io/scrape");
        assert_eq!(scrape.is_some(), annotated, "{set}");
    }
}

/// The commands of a page that install the chart, with what follows its address.
fn installed(page: &str) -> Vec<Vec<String>> {
    let joined = page.replace("\\\n", "");
    let commands = joined
        .lines()
        .filter(|line| line.starts_with("helm install ") || line.starts_with("helm upgrade "));
    let arguments = |command: &str| {
        let command = command
            .replace("$(openssl rand -hex 32)", "secret")
            .replace("$KEY", "secret");
        let words = command
            .split_whitespace()
            .skip(4)
            .map(|word| word.trim_matches('\'').to_owned());
        words.collect::<Vec<_>>()
    };
    commands.map(arguments).collect()
}

/// What only a cluster can be asked for.
const ABOUT_THE_CLUSTER: [&str; 4] = [
    "--create-namespace",
    "--wait",
    "--install",
    "--reset-then-reuse-values",
];

#[test]
fn the_commands_on_our_pages_install_what_they_say() {
    let pages = [
        include_str!("../../README.md"),
        include_str!("../../deploy/README.md"),
    ];
    let home = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // The values that a page shows are in the folder it is read in.
    for (page, name) in [(pages[1], "values.yaml"), (pages[1], "hub.yaml")] {
        let sample = page
            .split("```yaml\n")
            .find(|sample| sample.starts_with(&format!("# {name}\n")));
        let (sample, _) = sample
            .and_then(|sample| sample.split_once("```"))
            .expect("a sample");
        fs::write(home.join(name), sample).expect("a file");
    }
    let commands: Vec<_> = pages.iter().flat_map(|page| installed(page)).collect();
    assert_eq!(commands.len(), 6, "{commands:?}");
    for command in commands {
        let arguments = command
            .iter()
            .filter(|word| !ABOUT_THE_CLUSTER.contains(&word.as_str()));
        let arguments: Vec<_> = arguments
            .map(|word| {
                if word.ends_with(".yaml") {
                    home.join(word).display().to_string()
                } else {
                    word.clone()
                }
            })
            .collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let Some(rendered) = chart(&arguments) else {
            return;
        };
        let rendered = rendered.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let wired = command
            .iter()
            .any(|word| word == "flux.enabled=true" || word == "values.yaml");
        let has = |kind: &str| rendered.iter().any(|object| object["kind"] == kind);
        assert_eq!(
            (has("Provider"), has("Alert")),
            (wired, wired),
            "{command:?}"
        );
        for object in &rendered {
            strictly(object)
                .unwrap_or_else(|error| panic!("{command:?}: {}: {error}", name_of(object)));
        }
    }
}
