//! What the Helm chart makes of its values: names, labels, keys, and whom it tells what.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::packaging::{chart, name_of, strictly};

/// The object of that kind, by its name.
pub(crate) fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let wanted = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects
        .iter()
        .find(wanted)
        .unwrap_or_else(|| panic!("there is no {kind} {name}"))
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
                .filter(|rule| rule["alert"] == "HelmrebootWatchStale")
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
                "time() - max by (namespace, cluster) (max_over_time(helmreboot_watch_last_success_timestamp_seconds[{}s])) > {bound}\nand\n\
                 max by (namespace, cluster) (max_over_time(helmreboot_watch_last_success_timestamp_seconds[10m])) >= 0",
                bound * 4
            )),
            "{sweep}"
        );
    }
}

#[test]
fn what_is_all_comments_is_not_said() {
    let plain = chart(&[]);
    for set in [
        "config=null",
        "config.policy=null,config.limits=null",
        "podLabels=null,commonLabels=null,podAnnotations=null",
        "httpRoute.hostnames=null,nodeSelector=null,extraEnv=null,resources.limits=null",
        "podSecurityContext=null,securityContext=null",
    ] {
        let Some(rendered) = chart(&["--set", set]) else {
            return;
        };
        let rendered = rendered.unwrap_or_else(|error| panic!("{set}: {error}"));
        for object in &rendered {
            strictly(object).unwrap_or_else(|error| panic!("{set}: {error}"));
        }
        if set == "config=null" {
            assert_eq!(Some(Ok(rendered)), plain);
        }
    }
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

#[test]
fn the_page_has_a_port_of_its_own_and_alerts_lead_to_it() {
    let url = "dashboard.url=https://h.example.com/,metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true,dashboard.service.enabled=true,networkPolicy.enabled=true";
    let Some(rendered) = chart(&["--set", url]) else {
        return;
    };
    let rendered = rendered.expect("a chart");
    let container = |rendered: &[Value]| {
        let pod = &find(rendered, "Deployment", "helmreboot")["spec"]["template"]["spec"];
        pod["containers"][0].clone()
    };
    let variable = |rendered: &[Value]| {
        let container = container(rendered);
        let mut variables = container["env"].as_array().expect("variables").iter();
        let page = variables.find(|it| it["name"] == "HELMREBOOT_DASHBOARD_BIND_ADDRESS");
        page.expect("the page's address")["value"].clone()
    };
    assert_eq!(variable(&rendered), ":8082");
    let service = find(&rendered, "Service", "helmreboot-dashboard");
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "http-dashboard");
    // Only other replicas: the page has no login.
    let rules = &find(&rendered, "NetworkPolicy", "helmreboot")["spec"]["ingress"];
    let mut rules = rules.as_array().expect("rules").iter();
    let page = rules.find(|rule| rule["ports"][0]["port"] == "http-dashboard");
    let peers = page.expect("a rule")["from"].as_array().expect("peers");
    assert!(
        peers.len() == 1 && peers[0]["podSelector"].is_object(),
        "{peers:?}"
    );
    let alerts = find(&rendered, "PrometheusRule", "helmreboot").to_string();
    assert!(alerts.contains("https://h.example.com/?cluster={{ $labels.cluster }}"));
    assert!(alerts.contains("https://h.example.com/?q={{ $labels.rule }}"));
    let grafana = find(&rendered, "ConfigMap", "helmreboot-dashboard");
    let grafana = grafana["data"]["helmreboot.json"]
        .as_str()
        .expect("a dashboard");
    let grafana: Value = serde_json::from_str(grafana).expect("JSON");
    assert_eq!(grafana["links"][0]["url"], "https://h.example.com/");
    let off = chart(&["--set", "dashboard.enabled=false"])
        .expect("helm")
        .expect("a chart");
    assert_eq!(variable(&off), "off");
    assert!(
        !container(&off)["ports"]
            .to_string()
            .contains("http-dashboard")
    );
}
