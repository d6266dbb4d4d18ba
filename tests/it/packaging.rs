//! The chart and the kustomizations render what they promise. Rendering takes real Helm and kubectl: where
//! a machine lacks them, these tests say so and stop; `.ci/run` brings both and demands them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use helmreboot::{
    app::Options,
    config::{SweepMode, settings},
    demo::fake_cluster::Rights,
    domain::policy::{Mode, Policy},
};
use serde_json::{Value, json};

use crate::support::{Live, TestApp, pass};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program, unless this machine lacks it and need not have it.
pub(crate) fn tool(name: &str) -> Option<Command> {
    let found = Command::new(name).arg("--help").output().is_ok();
    if !found {
        let demanded = std::env::var_os("HELMREBOOT_TEST_TOOLS").is_some();
        assert!(!demanded, "{name} is demanded and missing");
        eprintln!("{name} is missing: what it shows is not looked at");
    }
    found.then(|| Command::new(name))
}

/// The documents a program prints, or what it says instead.
fn documents(command: &mut Command) -> Result<Vec<Value>, String> {
    let output = command.output().expect("the program runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).expect("text");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    Ok(documents.into_iter().filter(|it| !it.is_null()).collect())
}

/// The chart with further arguments.
fn chart(arguments: &[&str]) -> Option<Result<Vec<Value>, String>> {
    let mut helm = tool("helm")?;
    helm.args(["template", "helmreboot"])
        .arg(root().join("deploy/helm/helmreboot"));
    Some(documents(
        helm.args(["--namespace=helmreboot", "--kube-version=1.35"])
            .args(arguments),
    ))
}

/// The chart with one of the value files.
fn chart_with(values: &str) -> Option<Vec<Value>> {
    let file = root().join(format!("tests/fixtures/values/{values}.yaml"));
    let rendered = chart(&["--values", file.to_str().expect("a path")])?;
    Some(rendered.unwrap_or_else(|error| panic!("{values}: {error}")))
}

fn value_files() -> Vec<String> {
    let files = fs::read_dir(root().join("tests/fixtures/values")).expect("a folder");
    let stem = |path: PathBuf| {
        path.file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    files
        .map(|file| stem(file.expect("a file").path()))
        .collect()
}

fn kustomized(folder: &Path) -> Option<Vec<Value>> {
    let mut kubectl = tool("kubectl")?;
    let rendered = documents(kubectl.arg("kustomize").arg(folder));
    Some(rendered.unwrap_or_else(|error| panic!("{}: {error}", folder.display())))
}

/// The overlay for one cluster with one more component, as a person would write it.
fn with_component(component: &str) -> Option<Vec<Value>> {
    tool("kubectl")?;
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kustomize-{component}"));
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(home.join("own")).expect("a folder");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(root().join("deploy"))
        .arg(&home)
        .status();
    assert!(copied.expect("cp runs").success());
    let text = format!(
        "resources: [../deploy/kustomize/overlays/in-cluster]\ncomponents: [../deploy/kustomize/components/{component}]\n"
    );
    fs::write(home.join("own/kustomization.yaml"), text).expect("a file");
    kustomized(&home.join("own"))
}

fn name_of(object: &Value) -> String {
    let field = |field: &str| object["metadata"][field].as_str().unwrap_or("-").to_owned();
    format!(
        "{} {}/{}",
        object["kind"].as_str().expect("a kind"),
        field("namespace"),
        field("name")
    )
}

/// What an object means, whoever rendered it: without Helm's labels and checksums, without the suffixes of
/// generators, and with lists that have no order in an order.
fn meaning(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // The chart names the one account; kustomize cannot, and holds it by its name anywhere.
            if let Some(conditions) = map.get_mut("matchConditions") {
                conditions[0]["expression"].take();
            }
            for key in [
                "app.kubernetes.io/instance",
                "app.kubernetes.io/version",
                "app.kubernetes.io/managed-by",
                "helm.sh/chart",
                "checksum/config",
            ] {
                map.remove(key);
            }
            if let Some(Value::String(text)) = map.get_mut("config.yaml") {
                map["config.yaml"] = serde_saphyr::from_str(text).expect("YAML");
            }
            map.values_mut().for_each(meaning);
        }
        Value::Array(list) => {
            list.iter_mut().for_each(meaning);
            list.sort_by_key(|item| {
                [&item["name"], &item["mountPath"]]
                    .map(|it| it.as_str().unwrap_or_default().to_owned())
            });
        }
        Value::String(text) => {
            if let Some((name, suffix)) = text.rsplit_once('-')
                && name == "helmreboot-config"
                && suffix.len() == 10
            {
                *text = name.to_owned();
            }
        }
        _ => {}
    }
}

/// By name, but for what only one of the two ways has: the namespace, and the test.
fn meanings(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let mut by_name = BTreeMap::new();
    for mut object in objects {
        let only_one = object["kind"] == "Namespace"
            || object["metadata"]["annotations"]["helm.sh/hook"] == "test";
        if only_one {
            continue;
        }
        meaning(&mut object);
        let name = name_of(&object);
        assert!(
            by_name.insert(name.clone(), object).is_none(),
            "{name} stands twice"
        );
    }
    by_name
}

#[test]
fn the_chart_and_the_kustomizations_render_the_same_objects() {
    let overlay = |name: &str| kustomized(&root().join("deploy/kustomize/overlays").join(name));
    let pairs = [
        ("default", overlay("in-cluster")),
        ("hub", overlay("hub")),
        ("high-availability", with_component("high-availability")),
        ("network-policy", with_component("network-policy")),
        ("monitored", with_component("prometheus-operator")),
        ("cert-manager", with_component("cert-manager")),
        ("namespaced", with_component("namespaced")),
        ("observe", with_component("observe")),
    ];
    for (values, kustomized) in pairs {
        let (Some(chart), Some(kustomized)) = (chart_with(values), kustomized) else {
            return;
        };
        let (chart, kustomized) = (meanings(chart), meanings(kustomized));
        assert_eq!(
            chart.keys().collect::<Vec<_>>(),
            kustomized.keys().collect::<Vec<_>>(),
            "{values}"
        );
        for (name, object) in &chart {
            assert_eq!(*object, kustomized[name], "{values}: {name}");
        }
    }
}

/// Parses an object as its kind; what the kind has no field for is an error. Kinds of others are known by
/// their own definitions only, and pass.
fn strictly(object: &Value) -> Result<(), String> {
    use k8s_openapi::api::{
        admissionregistration::v1 as admission, apps::v1 as apps, core::v1 as core,
        networking::v1 as networking, policy::v1 as policy, rbac::v1 as rbac,
    };
    macro_rules! kinds {
        ($($version:literal $kind:literal => $type:ty,)+) => {
            match (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default()) {
                $(($version, $kind) => {
                    let mut unknown = Vec::new();
                    let parsed: Result<$type, _> = serde_ignored::deserialize(object, |path| unknown.push(path.to_string()));
                    parsed.map_err(|error| error.to_string())?;
                    if unknown.is_empty() { Ok(()) } else { Err(format!("no such fields: {unknown:?}")) }
                })+
                ("monitoring.coreos.com/v1" | "cert-manager.io/v1" | "gateway.networking.k8s.io/v1" | "notification.toolkit.fluxcd.io/v1beta3", _) => Ok(()),
                (version, kind) => Err(format!("{version} {kind} is not expected here")),
            }
        };
    }
    kinds! {
        "v1" "Namespace" => core::Namespace,
        "v1" "ServiceAccount" => core::ServiceAccount,
        "v1" "Service" => core::Service,
        "v1" "Secret" => core::Secret,
        "v1" "ConfigMap" => core::ConfigMap,
        "v1" "Pod" => core::Pod,
        "apps/v1" "Deployment" => apps::Deployment,
        "policy/v1" "PodDisruptionBudget" => policy::PodDisruptionBudget,
        "networking.k8s.io/v1" "NetworkPolicy" => networking::NetworkPolicy,
        "networking.k8s.io/v1" "Ingress" => networking::Ingress,
        "rbac.authorization.k8s.io/v1" "Role" => rbac::Role,
        "rbac.authorization.k8s.io/v1" "RoleBinding" => rbac::RoleBinding,
        "rbac.authorization.k8s.io/v1" "ClusterRole" => rbac::ClusterRole,
        "rbac.authorization.k8s.io/v1" "ClusterRoleBinding" => rbac::ClusterRoleBinding,
        "admissionregistration.k8s.io/v1" "ValidatingAdmissionPolicy" => admission::ValidatingAdmissionPolicy,
        "admissionregistration.k8s.io/v1" "ValidatingAdmissionPolicyBinding" => admission::ValidatingAdmissionPolicyBinding,
    }
}

#[test]
fn whatever_is_rendered_has_only_fields_that_exist_and_names_that_do_not_clash() {
    let mut rendered: Vec<_> = value_files()
        .iter()
        .map(|file| (file.clone(), chart_with(file)))
        .collect();
    assert!(rendered.len() >= 12, "default, maximal and ten others");
    for overlay in ["in-cluster", "hub", "spoke"] {
        let folder = root().join("deploy/kustomize/overlays").join(overlay);
        rendered.push((overlay.to_owned(), kustomized(&folder)));
    }
    for (from, objects) in rendered {
        let Some(objects) = objects else { return };
        let mut names = BTreeSet::new();
        for object in &objects {
            let name = name_of(object);
            strictly(object).unwrap_or_else(|error| panic!("{from}: {name}: {error}"));
            assert!(names.insert(name.clone()), "{from}: {name} stands twice");
        }
        let account = objects
            .iter()
            .find(|object| object["kind"] == "ServiceAccount");
        let policy = objects
            .iter()
            .find(|object| object["kind"] == "ValidatingAdmissionPolicy");
        if let (Some(account), Some(policy)) = (account, policy) {
            let field = |field: &str| {
                account["metadata"][field]
                    .as_str()
                    .expect("text")
                    .to_owned()
            };
            let user = format!(
                "system:serviceaccount:{}:{}",
                field("namespace"),
                field("name")
            );
            let held = &policy["spec"]["matchConditions"][0]["expression"];
            let held = held.as_str().expect("an expression");
            let anywhere = "request.userInfo.username.matches('^system:serviceaccount:[a-z0-9-]+:helmreboot$')";
            assert!(
                held == format!("request.userInfo.username == '{user}'") || held == anywhere,
                "{from}: {held}"
            );
            let by_chart = objects
                .iter()
                .any(|object| object["metadata"]["labels"].get("helm.sh/chart").is_some());
            assert_eq!(held == anywhere, !by_chart, "{from}");
        }
    }
    assert!(
        strictly(&json!({"apiVersion": "v1", "kind": "Service", "spec": {"prots": []}})).is_err()
    );
}

#[test]
fn wrong_values_are_refused_with_what_to_write() {
    let wrong = [
        ("sweep=5s", "an interval from 10s to 168h"),
        ("sweep=0m", "an interval from 10s to 168h"),
        (
            "fullnameOverride=My_App",
            "write lower-case letters, digits and -",
        ),
        (
            "config.clusters[0].inCluster=true,config.clusters[1].inCluster=true",
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
            "key.value=a,config.clusters[0].name=x",
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
            "config.clusters[0].name=x,flux.enabled=true,flux.namespaces={a}",
            "set inCluster: true on its entry",
        ),
        (
            "config.clusters[0].name=x,config.clusterName=x",
            "take it away",
        ),
        (
            "config.clusters[0].name=x,config.clusters[0].inCluster=true,rbac.namespaces={a}",
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
    let listed = schema["properties"]["config"]["properties"]
        .as_object()
        .expect("settings")
        .keys()
        .cloned();
    let paths = settings::ALL.iter().filter_map(|setting| setting.path);
    let heads = paths.map(|path| path.split('.').next().unwrap_or(path));
    let known: BTreeSet<_> = heads
        .chain(["clusters", "policies", "rules"])
        .map(str::to_owned)
        .collect();
    assert_eq!(listed.collect::<BTreeSet<_>>(), known);
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

/// The object of that kind, by its name.
fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let wanted = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects
        .iter()
        .find(wanted)
        .unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

#[test]
fn flux_is_told_the_name_that_helmreboot_knows_its_own_cluster_by() {
    let set = "config.clusters[0].name=hub,config.clusters[0].inCluster=true,flux.enabled=true,flux.namespaces={apps}";
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
    let Some(ours) = chart(&[]) else { return };
    let theirs = chart(&["--namespace=other"]).expect("helm");
    let names = |objects: Result<Vec<Value>, String>| -> BTreeSet<String> {
        let objects = objects.expect("a chart");
        objects
            .iter()
            .map(name_of)
            .filter(|name| name.contains("-/") || name.contains("flux-system"))
            .collect()
    };
    let (ours, theirs) = (names(ours), names(theirs));
    assert!(
        ours.len() >= 4 && ours.is_disjoint(&theirs),
        "{ours:?} {theirs:?}"
    );
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
            bound.map(|bound| format!("min by (cluster) (helmreboot_sweep_age_seconds) > {bound}")),
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
