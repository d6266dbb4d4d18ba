//! The chart and the kustomizations render what they promise. Rendering takes real Helm and kubectl: where
//! a machine lacks them, these tests say so and stop; `.ci/run` brings both and demands them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

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
pub(crate) fn chart(arguments: &[&str]) -> Option<Result<Vec<Value>, String>> {
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

/// The overlay for one cluster with one more component.
fn with_component(component: &str) -> Option<Vec<Value>> {
    let name = format!("one-with-{component}");
    built(
        &name,
        &format!(
            "resources: [../deploy/kustomize/overlays/in-cluster]\ncomponents: [../deploy/kustomize/components/{component}]\n"
        ),
    )
}

/// A kustomization beside ours, as a person would write it.
fn built(name: &str, text: &str) -> Option<Vec<Value>> {
    tool("kubectl")?;
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kustomize-{name}"));
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(home.join("own")).expect("a folder");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(root().join("deploy"))
        .arg(&home)
        .status();
    assert!(copied.expect("cp runs").success());
    fs::write(home.join("own/kustomization.yaml"), text).expect("a file");
    kustomized(&home.join("own"))
}

pub(crate) fn name_of(object: &Value) -> String {
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
            // The chart knows where it is installed.
            *text = text
                .replace("{namespace=\"helmreboot\"}", "")
                .replace("[7200s]", "[2h]");
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
        ("spoke", overlay("spoke")),
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

#[test]
fn every_component_goes_with_every_overlay_and_what_is_prefixed_still_holds_together() {
    let components = fs::read_dir(root().join("deploy/kustomize/components")).expect("a folder");
    let components: Vec<_> = components
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .collect();
    for overlay in ["in-cluster", "hub", "spoke"] {
        let own = fs::read_to_string(root().join(format!(
            "deploy/kustomize/overlays/{overlay}/kustomization.yaml"
        )))
        .expect("a file");
        for component in &components {
            // What it has already cannot be added again.
            if own.contains(&format!("\n  - ../../components/{component}\n")) {
                continue;
            }
            let text = format!(
                "namePrefix: acme-\nresources: [../deploy/kustomize/overlays/{overlay}]\ncomponents: [../deploy/kustomize/components/{component}]\n"
            );
            let Some(objects) = built(&format!("{overlay}-with-{component}"), &text) else {
                return;
            };
            let has = |kind: &str| objects.iter().any(|object| object["kind"] == kind);
            assert_eq!(
                has("Deployment"),
                overlay != "spoke",
                "{overlay} {component}"
            );
            let account = "acme-helmreboot";
            for object in &objects {
                let name = name_of(object);
                strictly(object)
                    .unwrap_or_else(|error| panic!("{overlay} {component}: {name}: {error}"));
                if let Some(subject) = object["subjects"].get(0) {
                    assert_eq!(subject["name"], account, "{overlay} {component}: {name}");
                }
                if object["type"] == "kubernetes.io/service-account-token" {
                    assert_eq!(
                        object["metadata"]["annotations"]["kubernetes.io/service-account.name"],
                        account
                    );
                }
            }
        }
    }
}

/// Parses an object as its kind; what the kind has no field for is an error. Kinds of others are known by
/// their own definitions only, and pass.
pub(crate) fn strictly(object: &Value) -> Result<(), String> {
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
