//! The admission policy lets through what helmreboot writes, and nothing else. Its expressions are
//! evaluated here on objects before and after real patches; on a real API server the same policy refused
//! the same changes (with 422, or 403 for other kinds of objects).

use std::collections::BTreeSet;

use cel::{Context, Program};
use helmreboot::{app::Options, demo::fake_cluster::Key, domain::policy::Policy};
use serde_json::{Value, json};

use crate::support::{Live, TestApp, WRITTEN, alerts_only, pass};

const POLICY: &str =
    include_str!("../../deploy/helm/helmreboot/files/admission-policy/policy.yaml");

/// The policy, compiled.
pub(crate) struct Admission {
    variables: Vec<(String, Program)>,
    validations: Vec<(Program, String)>,
}

impl Admission {
    pub(crate) fn new() -> Self {
        let policy: Value = serde_saphyr::from_str(POLICY).expect("YAML");
        let list = |field: &str| policy["spec"][field].as_array().cloned().expect("a list");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let compile = |item: &Value| {
            let source = text(&item["expression"]);
            Program::compile(&source).unwrap_or_else(|error| panic!("{source}\n{error}"))
        };
        Self {
            variables: list("variables")
                .iter()
                .map(|item| (text(&item["name"]), compile(item)))
                .collect(),
            validations: list("validations")
                .iter()
                .map(|item| (compile(item), text(&item["message"])))
                .collect(),
        }
    }

    /// Why a request is refused; empty where it passes. What fails to evaluate is refused too, as
    /// `failurePolicy: Fail` says.
    pub(crate) fn refuses(&self, request: &Value, before: &Value, after: &Value) -> Vec<String> {
        let mut context = Context::default();
        for (name, value) in [
            ("request", request),
            ("oldObject", before),
            ("object", after),
        ] {
            context
                .add_variable(name, value.clone())
                .expect("a variable");
        }
        let mut variables = serde_json::Map::new();
        for (name, program) in &self.variables {
            context
                .add_variable("variables", Value::Object(variables.clone()))
                .expect("variables");
            let value = program
                .execute(&context)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            variables.insert(name.clone(), value.json().expect("a value"));
        }
        context
            .add_variable("variables", Value::Object(variables))
            .expect("variables");
        let holds = |program: &Program| program.execute(&context) == Ok(cel::Value::Bool(true));
        let refused = self
            .validations
            .iter()
            .filter(|(program, _)| !holds(program));
        refused.map(|(_, message)| message.clone()).collect()
    }
}

/// An update of a HelmRelease.
fn update() -> Value {
    json!({"operation": "UPDATE", "resource": {"group": "helm.toolkit.fluxcd.io", "version": "v2", "resource": "helmreleases"}})
}

/// Objects before and after each write of annotations, out of stories in which everything is written that
/// helmreboot ever writes.
async fn written() -> Vec<(Value, Value)> {
    let mut pairs = Vec::new();
    for force in [false, true] {
        let policy = Policy {
            force,
            ..Policy::default()
        };
        let app = TestApp::with(
            Options {
                policies: policy.into(),
                ..Options::default()
            },
            &["a"],
        );
        let flux = app.flux(true);
        let stuck = Key::new("apps", "stuck");
        let failing = json!({"spec": {"timeout": "30s", "values": {"mode": "webhook"}}});
        app.cluster("a").apply(&stuck, &failing);
        let running = tokio::spawn(flux.run());
        let bare = app.holds(Live::named("bare").condition(
            "Ready",
            "False",
            "UpgradeFailed",
            crate::support::SLOW,
        ));
        pass(12 * 3600).await;
        running.abort();
        assert!(app.writes().len() > 5);
        for release in [&stuck, &bare] {
            let versions = app.cluster("a").versions_of(release);
            let writes = versions.windows(2).filter(|pair| {
                pair[0]["metadata"]["annotations"] != pair[1]["metadata"]["annotations"]
            });
            pairs.extend(writes.map(|pair| (pair[0].clone(), pair[1].clone())));
        }
    }
    pairs
}

#[tokio::test(start_paused = true)]
async fn everything_helmreboot_writes_is_let_through_and_no_key_more_than_it_writes_is_listed() {
    let admission = Admission::new();
    let mut keys = BTreeSet::new();
    let pairs = written().await;
    assert!(pairs.len() > 10, "{}", pairs.len());
    for (before, after) in &pairs {
        assert_eq!(admission.refuses(&update(), before, after), [""; 0]);
        let annotations = after["metadata"]["annotations"]
            .as_object()
            .expect("annotations");
        for (key, value) in annotations {
            assert!(
                value.as_str().expect("text").len() < 512,
                "{key}: half of what may be"
            );
        }
        keys.extend(annotations.keys().cloned());
    }
    assert_eq!(keys, WRITTEN.map(str::to_owned).into());
    let quoted = POLICY
        .split("name: ours")
        .nth(1)
        .and_then(|rest| rest.split(']').next());
    let quoted = quoted
        .expect("the list")
        .split('\'')
        .skip(1)
        .step_by(2)
        .map(str::to_owned);
    assert_eq!(quoted.collect::<BTreeSet<_>>(), keys);
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_let_through() {
    let admission = Admission::new();
    let spec = "helmreboot may not change the spec";
    let labels = "helmreboot may not change labels";
    let annotations =
        "helmreboot may change no annotations but its own and those that make Flux reconcile";
    let changes = [
        (json!({"spec": {"suspend": true}}), spec),
        (json!({"spec": null}), spec),
        (json!({"metadata": {"labels": {"team": "b"}}}), labels),
        (json!({"metadata": {"labels": null}}), labels),
        (
            json!({"metadata": {"finalizers": []}}),
            "helmreboot may not change finalizers",
        ),
        (
            json!({"metadata": {"ownerReferences": [{"name": "x"}]}}),
            "helmreboot may not change owner references",
        ),
        (
            json!({"metadata": {"annotations": {"helmreboot.io/enabled": "true"}}}),
            annotations,
        ),
        (
            json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/prune": "disabled"}}}),
            annotations,
        ),
        (
            json!({"metadata": {"annotations": {"theirs": "changed"}}}),
            annotations,
        ),
        (
            json!({"metadata": {"annotations": {"theirs": null}}}),
            annotations,
        ),
        (json!({"metadata": {"annotations": null}}), annotations),
        (
            json!({"metadata": {"annotations": {"helmreboot.io/cause": "x".repeat(1025)}}}),
            "helmreboot may write at most 1024 characters into an annotation",
        ),
    ];
    for (mut before, mut after) in written().await {
        let theirs = json!({"metadata": {"labels": {"team": "a"}, "finalizers": ["finalizers.fluxcd.io"], "annotations": {"theirs": "as it was"}}});
        for object in [&mut before, &mut after] {
            json_patch::merge(object, &theirs);
        }
        assert_eq!(admission.refuses(&update(), &before, &after), [""; 0]);
        for (change, message) in &changes {
            let mut changed = after.clone();
            json_patch::merge(&mut changed, change);
            assert_eq!(
                admission.refuses(&update(), &before, &changed),
                [*message],
                "{change}"
            );
        }
        let mut long = before.clone();
        json_patch::merge(
            &mut long,
            &json!({"metadata": {"annotations": {"helmreboot.io/cause": "x".repeat(2000)}}}),
        );
        assert_eq!(
            admission.refuses(&update(), &long, &long),
            [""; 0],
            "what stood there before may stay"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_suspended_or_opted_out_is_left_alone() {
    let admission = Admission::new();
    for (before, after) in written().await {
        for (closed, message) in [
            (
                json!({"spec": {"suspend": true}}),
                "helmreboot may write nothing on what is suspended",
            ),
            (
                json!({"metadata": {"annotations": {"helmreboot.io/enabled": "false"}}}),
                "helmreboot may write nothing on what has opted out",
            ),
            (
                json!({"metadata": {"annotations": {"helmreboot.io/enabled": " False\n"}}}),
                "helmreboot may write nothing on what has opted out",
            ),
        ] {
            let (mut before, mut after) = (before.clone(), after.clone());
            json_patch::merge(&mut before, &closed);
            json_patch::merge(&mut after, &closed);
            assert_eq!(admission.refuses(&update(), &before, &after), [message]);
        }
    }
}

#[test]
fn other_objects_and_other_doors_are_closed() {
    let admission = Admission::new();
    let release = json!({"metadata": {"name": "web"}, "spec": {}});
    let only = ["helmreboot may write nothing but HelmReleases, Events on them, and its Lease"];
    let asked = |patch: Value| {
        let mut request = update();
        json_patch::merge(&mut request, &patch);
        request
    };
    for request in [
        asked(json!({"operation": "CREATE"})),
        asked(json!({"operation": "DELETE"})),
        asked(json!({"subResource": "status"})),
        asked(json!({"resource": {"resource": "kustomizations"}})),
        asked(json!({"resource": {"group": "", "resource": "secrets"}})),
        asked(
            json!({"resource": {"group": "rbac.authorization.k8s.io", "resource": "clusterroles"}}),
        ),
    ] {
        for (before, after) in [
            (&release, &release),
            (&Value::Null, &release),
            (&release, &Value::Null),
        ] {
            assert_eq!(
                admission.refuses(&request, before, after),
                only,
                "{request}"
            );
        }
    }
    assert_eq!(
        admission.refuses(&asked(json!({"subResource": ""})), &release, &release),
        [""; 0]
    );
}

#[test]
fn the_policy_holds_one_account_and_lets_it_ask_what_it_may_do() {
    let policy: Value = serde_saphyr::from_str(POLICY).expect("YAML");
    let conditions = policy["spec"]["matchConditions"]
        .as_array()
        .expect("conditions")
        .clone();
    let holds = |user: &str, group: &str, resource: &str| {
        let request = json!({"userInfo": {"username": user}, "resource": {"group": group, "resource": resource}});
        let mut context = Context::default();
        context
            .add_variable("request", request)
            .expect("a variable");
        conditions.iter().all(|condition| {
            let source = condition["expression"].as_str().expect("an expression");
            let program = Program::compile(source).expect("CEL");
            program.execute(&context) == Ok(cel::Value::Bool(true))
        })
    };
    let (ours, releases) = ("system:serviceaccount:platform:helmreboot", "helmreleases");
    assert!(holds(ours, "helm.toolkit.fluxcd.io", releases));
    assert!(holds(ours, "authorization.k8s.io", "subjectaccessreviews"));
    assert!(!holds(
        ours,
        "authorization.k8s.io",
        "selfsubjectaccessreviews"
    ));
    for other in [
        "admin",
        "system:serviceaccount:platform:helmreboot-2",
        "x:system:serviceaccount:a:helmreboot",
    ] {
        assert!(!holds(other, "helm.toolkit.fluxcd.io", releases), "{other}");
    }
}

#[test]
fn the_lease_of_its_own_namespace_is_open_and_no_other() {
    let admission = Admission::new();
    let lease = |name: &str| json!({"metadata": {"name": name}, "spec": {"holderIdentity": "one"}});
    let asked = |namespace: &str, operation: &str| {
        json!({"operation": operation, "namespace": namespace,
            "resource": {"group": "coordination.k8s.io", "version": "v1", "resource": "leases"},
            "userInfo": {"username": "system:serviceaccount:helmreboot:helmreboot"}})
    };
    let own = lease("helmreboot");
    for operation in ["CREATE", "UPDATE"] {
        let refused = admission.refuses(&asked("helmreboot", operation), &own, &own);
        assert_eq!(refused, [""; 0], "{operation}");
    }
    for (request, lease) in [
        (asked("kube-system", "UPDATE"), &own),
        (asked("helmreboot", "DELETE"), &own),
        (asked("helmreboot", "UPDATE"), &lease("another")),
    ] {
        assert_eq!(
            admission.refuses(&request, lease, lease).len(),
            1,
            "{request}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_the_policy_is_reported_and_not_repeated_at_once() {
    use helmreboot::demo::fake_cluster::FaultKind;
    let app = TestApp::with(alerts_only(), &["a"]);
    let release = app.holds(Live::stalled("web"));
    app.cluster("a")
        .fault(crate::support::fault("patch", 100, FaultKind::Refuse(422)));
    app.alert(&release).await;
    pass(60).await;
    let tried = app.writes().len();
    assert!((1..=3).contains(&tried), "{tried} tries in a minute");
    let rejected =
        "helmreboot_kubernetes_requests_total{cluster=\"a\",verb=\"patch\",result=\"rejected\"}";
    assert!(app.metric(rejected).await >= 1.0);
}
