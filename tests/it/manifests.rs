//! The manifests agree with the code: ports, paths, variables, verbs, versions.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use helmreboot::{
    config::{Config, settings},
    webhook,
};
use serde_json::{Value, json};

/// All documents in the manifests below `folder`, by kind and name.
fn manifests(folder: &str) -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut documents = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a manifest");
        let parsed: Vec<Value> = serde_saphyr::from_multiple(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for document in parsed {
            let name = document["metadata"]["name"].as_str().unwrap_or("-");
            let key = format!("{} {name}", document["kind"].as_str().expect("a kind"));
            assert!(
                documents.insert(key.clone(), document).is_none(),
                "{key} stands twice"
            );
        }
    }
    documents
}

fn port(setting: &settings::Setting) -> i64 {
    setting
        .default
        .trim_start_matches(':')
        .parse()
        .expect("a port")
}

#[test]
fn the_deployment_sets_only_variables_that_exist_and_ports_that_are_served() {
    let base = manifests("deploy/kustomize/base");
    let pod = &base["Deployment helmreboot"]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["args"], json!(["serve"]));
    let variables = container["env"].as_array().expect("variables");
    let known = |name: &Value| settings::PROCESS.iter().any(|setting| name == setting.env);
    assert!(
        variables.iter().all(|variable| known(&variable["name"])),
        "{variables:?}"
    );
    let ports: BTreeMap<_, _> = container["ports"]
        .as_array()
        .expect("ports")
        .iter()
        .map(|port| {
            (
                port["name"].as_str().expect("a name"),
                port["containerPort"].as_i64(),
            )
        })
        .collect();
    let of_page = |variable: &&Value| {
        let name = variable["name"].as_str();
        name == Some(settings::DASHBOARD_BIND_ADDRESS.env)
    };
    let page = variables.iter().find(of_page).expect("the page's address");
    let page = page["value"].as_str().and_then(|it| it.strip_prefix(':'));
    let page = page.and_then(|port| port.parse().ok());
    let served = BTreeMap::from([
        ("http-webhook", Some(port(&settings::WEBHOOK_BIND_ADDRESS))),
        ("http-prom", Some(port(&settings::METRICS_BIND_ADDRESS))),
        ("healthz", Some(port(&settings::HEALTH_PROBE_BIND_ADDRESS))),
        ("http-dashboard", page),
    ]);
    assert_eq!(ports, served);
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(
            container[probe]["httpGet"],
            json!({"path": path, "port": "healthz"})
        );
    }
    for (service, name) in [
        ("Service helmreboot", "http-webhook"),
        ("Service helmreboot-metrics", "http-prom"),
    ] {
        assert_eq!(base[service]["spec"]["ports"][0]["targetPort"], name);
        assert_eq!(
            base[service]["spec"]["ports"][0]["port"].as_i64(),
            served[name]
        );
        assert_eq!(
            base[service]["spec"]["selector"],
            base["Deployment helmreboot"]["spec"]["selector"]["matchLabels"]
        );
    }
    let token = variables
        .iter()
        .find(|variable| variable["name"] == "HELMREBOOT_TOKEN_FILE")
        .expect("the token's file");
    let mount = container["volumeMounts"][0]["mountPath"]
        .as_str()
        .expect("a path");
    assert_eq!(token["value"], format!("{mount}/token"));
}

#[test]
fn the_pod_may_do_nothing_it_does_not_need() {
    let base = manifests("deploy/kustomize/base");
    let pod = &base["Deployment helmreboot"]["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    assert_eq!(
        pod["containers"][0]["securityContext"],
        json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
    );
    assert!(pod["containers"][0]["resources"]["limits"]["memory"].is_string());
    // GET, merge PATCH and creating Events are all that `src/kubernetes.rs` sends (and discovery, which every account may).
    assert_eq!(
        base["ClusterRole helmreboot"]["rules"],
        json!([
        {"apiGroups": ["helm.toolkit.fluxcd.io"], "resources": ["helmreleases"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}])
    );
    let binding = &base["ClusterRoleBinding helmreboot"];
    assert_eq!(binding["roleRef"]["name"], "helmreboot");
    assert_eq!(binding["subjects"][0]["name"], pod["serviceAccountName"]);
}

/// All folders with a kustomization below this one.
fn kustomizations(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let folders = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> = folders
        .filter(|path| path.is_dir())
        .flat_map(|path| kustomizations(&path))
        .collect();
    if folder.join("kustomization.yaml").is_file() {
        found.push(folder.to_owned());
    }
    found
}

/// Also those that are left to choose, in a comment.
#[test]
fn every_file_is_named_in_its_kustomization() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        kustomizations(&root.join("deploy")),
        kustomizations(&root.join("flux-config")),
    ];
    let folders = folders.concat();
    assert!(folders.len() >= 15, "{folders:?}");
    for folder in folders {
        let kustomization = fs::read_to_string(folder.join("kustomization.yaml")).expect("a file");
        for file in fs::read_dir(&folder).expect("a folder") {
            let name = file
                .expect("a file")
                .file_name()
                .to_string_lossy()
                .into_owned();
            let named = name == "kustomization.yaml" || kustomization.contains(&name);
            assert!(named, "{}/{name}", folder.display());
        }
    }
}

#[test]
fn flux_is_wired_as_it_expects_and_as_we_listen() {
    let base = manifests("deploy/kustomize/base");
    for folder in ["one-cluster", "many-clusters", "tenants"] {
        let flux = manifests(&format!("flux-config/{folder}"));
        let (provider, alert) = (&flux["Provider helmreboot"], &flux["Alert helmreboot"]);
        for object in [provider, alert] {
            let version = &object["apiVersion"];
            assert_eq!(
                version, "notification.toolkit.fluxcd.io/v1beta3",
                "{folder}"
            );
            assert_eq!(
                object["metadata"]["namespace"],
                flux["Secret helmreboot-token"]["metadata"]["namespace"]
            );
        }
        assert_eq!(provider["spec"]["type"], "generic-hmac");
        assert_eq!(provider["spec"]["timeout"], "60s");
        assert_eq!(provider["spec"]["secretRef"]["name"], "helmreboot-token");
        assert!(flux["Secret helmreboot-token"]["stringData"]["token"].is_string());
        assert_eq!(alert["spec"]["providerRef"]["name"], "helmreboot");
        assert_eq!(alert["spec"]["eventSeverity"], "error");
        let sources = alert["spec"]["eventSources"].as_array().expect("sources");
        let listed = |source: &Value| source["kind"] == "HelmRelease" && source["namespace"] != "*";
        assert!(sources.iter().all(listed), "{folder}");
        let (address, cluster) = (
            &provider["spec"]["address"],
            &alert["spec"]["eventMetadata"]["cluster"],
        );
        let (address, cluster) = (
            address.as_str().expect("text"),
            cluster.as_str().expect("text"),
        );
        if folder == "one-cluster" {
            let service = &base["Service helmreboot"];
            let host = format!(
                "helmreboot.{}.svc.cluster.local",
                service["metadata"]["namespace"]
                    .as_str()
                    .expect("a namespace")
            );
            assert_eq!(
                address,
                format!(
                    "http://{host}:{}{}",
                    service["spec"]["ports"][0]["port"],
                    webhook::PATH
                )
            );
            assert_eq!(cluster, settings::CLUSTER_NAME.default);
        } else {
            assert!(
                address.ends_with(&format!("{}/{cluster}", webhook::PATH)),
                "{address}"
            );
        }
    }
}

/// The hub's configuration is one that helmreboot takes, but for the files that are not here.
#[test]
fn the_hub_s_configuration_has_no_other_fault_than_files_that_are_not_here() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/deploy/kustomize/overlays/hub/config.yaml"
    );
    let flags = [(settings::CONFIG.flag, file.to_owned())].into();
    let config = Config::load(&flags, &|_| None).expect("a configuration");
    assert_eq!(config.clusters.len(), 2);
    for cluster in &config.clusters {
        let problem = cluster.read_keys().expect_err("no keys here");
        assert!(problem.contains("cannot read the key file"), "{problem}");
    }
}

#[test]
fn the_image_runs_the_binary_as_nobody() {
    let dockerfile = include_str!("../../Dockerfile");
    let last = dockerfile.rsplit("\nFROM ").next().expect("a stage");
    assert!(
        last.starts_with("gcr.io/distroless/static") && last.contains("USER 65532"),
        "{last}"
    );
    assert!(
        last.contains("ENTRYPOINT [\"/usr/local/bin/helmreboot\"]")
            && last.contains("EXPOSE 9292 8080 8081"),
        "{last}"
    );
}

/// What is pinned in several places is pinned to the same.
#[test]
fn one_rust_builds_checks_and_releases() {
    let dockerfile = include_str!("../../Dockerfile");
    let (_, image) = dockerfile.split_once("FROM rust:").expect("a base");
    let (rust, _) = image.split_once("-alpine@sha256:").expect("a pinned one");
    for workflow in ["ci", "release"] {
        let file = format!(
            "{}/.github/workflows/{workflow}.yml",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = fs::read_to_string(&file).expect("a workflow");
        assert!(
            text.contains(&format!("rustup default {rust}\n")),
            "{workflow}"
        );
    }
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    let workflow = include_str!("../../.github/workflows/ci.yml");
    assert!(workflow.contains(&format!("cargo +{oldest} check --locked")));
}

#[test]
fn what_flux_would_take_for_a_variable_is_kept_from_its_substitution() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut generated = 0;
    for folder in kustomizations(&deploy) {
        let file = folder.join("kustomization.yaml");
        let text = fs::read_to_string(&file).expect("a kustomization");
        let document: Value = serde_saphyr::from_str(&text).expect("YAML");
        let generators = document["configMapGenerator"].as_array();
        for generator in generators.into_iter().flatten() {
            let annotations = &generator["options"]["annotations"];
            let substitute = &annotations["kustomize.toolkit.fluxcd.io/substitute"];
            assert_eq!(substitute, "disabled", "{}", file.display());
            generated += 1;
        }
        // In a manifest there is nothing to be kept from it.
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                let text = fs::read_to_string(&path).expect("a manifest");
                let code = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with('#'));
                assert!(
                    code.into_iter().all(|line| !line.contains("${")),
                    "{}",
                    path.display()
                );
            }
        }
    }
    assert!(generated >= 1, "the hub has one");
}
