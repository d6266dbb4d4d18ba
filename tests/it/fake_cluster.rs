//! The manners of a Kubernetes API server that the embedded cluster keeps, as they were seen on a real
//! one: never kinder.

use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt};
use helmreboot::{clock::Clock, demo::fake_cluster::FakeCluster};
use kube::{
    Api, Client, Config, Error,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::support::NOW;

fn embedded() -> (FakeCluster, Api<DynamicObject>) {
    let cluster = FakeCluster::new(Clock::with_tokio(NOW.parse().expect("a time")));
    let api = api(cluster.client());
    (cluster, api)
}

/// The embedded API server and, where `HELMREBOOT_TEST_KUBECONFIG` names one, a real one with the CRD
/// of HelmRelease and a namespace `apps`: the same must hold for both.
async fn servers() -> Vec<Api<DynamicObject>> {
    let mut servers = vec![embedded().1];
    servers.extend(real_server().await.map(api));
    servers
}

/// A client of the API server that `HELMREBOOT_TEST_KUBECONFIG` names, at home in its namespace `apps`.
pub(crate) async fn real_server() -> Option<Client> {
    let path = std::env::var_os("HELMREBOOT_TEST_KUBECONFIG")?;
    let kubeconfig = Kubeconfig::read_from(path).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.expect("a configuration");
    config.default_namespace = "apps".into();
    Some(Client::try_from(config).expect("a client"))
}

fn api(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("helm.toolkit.fluxcd.io", "v2", "HelmRelease");
    Api::namespaced_with(client, "apps", &ApiResource::from_gvk(&kind))
}

/// A name nobody had before, for the real server remembers.
fn fresh(name: &str) -> String {
    format!("{name}-{}", jiff::Timestamp::now().as_nanosecond())
}

fn release(name: &str) -> DynamicObject {
    let source = json!({"kind": "HelmRepository", "name": "charts"});
    serde_json::from_value(
        json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": "apps"},
        "spec": {"interval": "1h", "chart": {"spec": {"chart": "app", "sourceRef": source}}}}),
    )
    .expect("an object")
}

async fn patch(api: &Api<DynamicObject>, name: &str, patch: Value) -> Result<DynamicObject, Error> {
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Error>, code: u16, reason: &str) {
    match answer {
        Err(Error::Api(status)) => assert_eq!(
            (status.code, status.reason.as_str()),
            (code, reason),
            "{status:?}"
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn objects_are_created_once_and_found_by_name() {
    for api in servers().await {
        let name = fresh("web");
        let created = api
            .create(&PostParams::default(), &release(&name))
            .await
            .expect("a release");
        assert_eq!(created.metadata.generation, Some(1));
        assert!(created.metadata.uid.is_some() && created.metadata.creation_timestamp.is_some());
        assert_eq!(
            created.data["status"],
            json!({"observedGeneration": -1}),
            "the default in the CRD"
        );
        refused(
            api.create(&PostParams::default(), &release(&name)).await,
            409,
            "AlreadyExists",
        );
        refused(api.get("other").await, 404, "NotFound");
        refused(patch(&api, "other", json!({})).await, 404, "NotFound");
        api.delete(&name, &DeleteParams::default())
            .await
            .expect("a deletion");
    }
}

#[tokio::test]
async fn a_patch_on_a_stale_version_is_refused_and_one_that_changes_nothing_is_not_written() {
    for api in servers().await {
        let name = fresh("web");
        let old = api
            .create(&PostParams::default(), &release(&name))
            .await
            .expect("a release");
        let stale = old.metadata.resource_version.clone();
        let annotate = |value: &str| json!({"metadata": {"resourceVersion": stale, "annotations": {"a": value}}});
        let new = patch(&api, &name, annotate("1")).await.expect("the first");
        assert_ne!(new.metadata.resource_version, old.metadata.resource_version);
        assert_eq!(
            new.metadata.generation,
            Some(1),
            "annotations are no new generation"
        );
        refused(patch(&api, &name, annotate("2")).await, 409, "Conflict");
        refused(
            patch(&api, &name, json!({"metadata": {"uid": "another"}})).await,
            422,
            "Invalid",
        );
        let same = patch(
            &api,
            &name,
            json!({"metadata": {"annotations": {"a": "1"}}}),
        )
        .await
        .expect("no change");
        assert_eq!(
            same.metadata.resource_version,
            new.metadata.resource_version
        );
        let removed = patch(
            &api,
            &name,
            json!({"metadata": {"annotations": {"a": null}}}),
        )
        .await
        .expect("a removal");
        assert!(
            !removed
                .metadata
                .annotations
                .unwrap_or_default()
                .contains_key("a")
        );
        api.delete(&name, &DeleteParams::default())
            .await
            .expect("a deletion");
    }
}

#[tokio::test]
async fn spec_and_status_have_doors_of_their_own() {
    for api in servers().await {
        let name = fresh("web");
        api.create(&PostParams::default(), &release(&name))
            .await
            .expect("a release");
        let both = json!({"spec": {"interval": "2h"}, "status": {"failures": 1}});
        let main = patch(&api, &name, both).await.expect("a patch");
        assert_eq!(
            (main.metadata.generation, &main.data["status"]["failures"]),
            (Some(2), &Value::Null)
        );
        let both = Patch::Merge(json!({"spec": {"interval": "3h"}, "status": {"failures": 1}}));
        let status = api
            .patch_status(&name, &PatchParams::default(), &both)
            .await
            .expect("a patch");
        assert_eq!(
            (
                &status.data["spec"]["interval"],
                &status.data["status"]["failures"]
            ),
            (&json!("2h"), &json!(1))
        );
        api.delete(&name, &DeleteParams::default())
            .await
            .expect("a deletion");
    }
}

#[tokio::test]
async fn bad_patches_are_refused() {
    for api in servers().await {
        let name = fresh("web");
        api.create(&PostParams::default(), &release(&name))
            .await
            .expect("a release");
        refused(patch(&api, &name, json!([1])).await, 400, "BadRequest");
        refused(
            patch(&api, &name, json!({"metadata": {"annotations": {"a": 1}}})).await,
            422,
            "Invalid",
        );
        refused(
            patch(
                &api,
                &name,
                json!({"metadata": {"annotations": {"a": "x".repeat(300_000)}}}),
            )
            .await,
            422,
            "Invalid",
        );
        let version =
            |version: &str| json!({"metadata": {"resourceVersion": version, "labels": {"a": "b"}}});
        refused(patch(&api, &name, version("0")).await, 422, "Invalid");
        refused(patch(&api, &name, version("")).await, 422, "Invalid");
        let nameless = api.create(&PostParams::default(), &release("")).await;
        refused(nameless, 422, "Invalid");
        let strategic = api
            .patch(&name, &PatchParams::default(), &Patch::Strategic(json!({})))
            .await;
        refused(strategic, 415, "UnsupportedMediaType");
        api.delete(&name, &DeleteParams::default())
            .await
            .expect("a deletion");
    }
}

#[tokio::test]
async fn finalizers_hold_deletion_up() {
    for api in servers().await {
        let name = fresh("web");
        api.create(&PostParams::default(), &release(&name))
            .await
            .expect("a release");
        patch(
            &api,
            &name,
            json!({"metadata": {"finalizers": ["example.com/f"]}}),
        )
        .await
        .expect("a finalizer");
        api.delete(&name, &DeleteParams::default())
            .await
            .expect("a deletion");
        let going = api.get(&name).await.expect("still there");
        assert!(going.metadata.deletion_timestamp.is_some());
        assert_eq!(going.metadata.generation, Some(2));
        patch(&api, &name, json!({"metadata": {"finalizers": null}}))
            .await
            .expect("no finalizer");
        refused(api.get(&name).await, 404, "NotFound");
    }
}

#[tokio::test]
async fn lists_come_in_pages_that_expire() {
    let (cluster, api) = embedded();
    for number in 0..5 {
        api.create(&PostParams::default(), &release(&format!("r{number}")))
            .await
            .expect("a release");
    }
    let first = api
        .list(&ListParams::default().limit(2))
        .await
        .expect("a page");
    assert_eq!(
        (first.items.len(), first.metadata.remaining_item_count),
        (2, Some(3))
    );
    let token = first.metadata.continue_.expect("more");
    let second = api
        .list(&ListParams::default().limit(2).continue_token(&token))
        .await
        .expect("a page");
    assert_eq!(second.items[0].metadata.name.as_deref(), Some("r2"));
    patch(&api, "r0", json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .expect("a write");
    cluster.compact();
    refused(
        api.list(&ListParams::default().limit(2).continue_token(&token))
            .await,
        410,
        "Expired",
    );
    refused(
        api.list(&ListParams::default().labels("a=b")).await,
        400,
        "BadRequest",
    );
}

/// The events of a watch until it is silent.
async fn watch(cluster: &FakeCluster, query: &str) -> Vec<Value> {
    let uri = format!("/apis/helm.toolkit.fluxcd.io/v2/helmreleases?watch=true&{query}");
    let request = http::Request::get(uri).body(Vec::new()).expect("a request");
    let lines = cluster
        .client()
        .request_stream(request)
        .await
        .expect("a stream")
        .lines();
    let quiet = tokio::time::timeout(Duration::from_millis(200), async {});
    let mut events = Vec::new();
    let mut lines = std::pin::pin!(lines);
    quiet.await.expect("nothing to wait for");
    while let Ok(Some(line)) = tokio::time::timeout(Duration::from_millis(200), lines.next()).await
    {
        events.push(serde_json::from_str(&line.expect("a line")).expect("an event"));
    }
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect()
}

#[tokio::test]
async fn a_watch_tells_what_is_there_and_what_comes_and_expires_when_it_comes_too_late() {
    let (cluster, api) = embedded();
    let created = api
        .create(&PostParams::default(), &release("web"))
        .await
        .expect("a release");
    let old = created.metadata.resource_version.expect("a version");
    patch(&api, "web", json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .expect("a write");
    assert_eq!(
        kinds(&watch(&cluster, &format!("resourceVersion={old}")).await),
        ["MODIFIED"]
    );
    let initial = watch(
        &cluster,
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
    )
    .await;
    assert_eq!(kinds(&initial), ["ADDED", "BOOKMARK"]);
    assert_eq!(
        initial[1]["object"]["metadata"]["annotations"],
        json!({"k8s.io/initial-events-end": "true"})
    );
    cluster.compact();
    let expired = watch(&cluster, &format!("resourceVersion={old}")).await;
    assert_eq!(
        (kinds(&expired), &expired[0]["object"]["code"]),
        (vec!["ERROR"], &json!(410))
    );
}

#[tokio::test]
async fn paths_that_are_not_served_are_not_found_and_discovery_names_what_is() {
    let cluster = FakeCluster::serving(&["v2beta2", "v2beta1"], Clock::system());
    let get = |uri: &'static str| http::Request::get(uri).body(Vec::new()).expect("a request");
    let group: Value = cluster
        .client()
        .request(get("/apis/helm.toolkit.fluxcd.io"))
        .await
        .expect("the group");
    assert_eq!(group["preferredVersion"]["version"], "v2beta2");
    for uri in [
        "/apis/helm.toolkit.fluxcd.io/v2/namespaces/apps/helmreleases/web",
        "/apis/other.example/v1/things",
        "/nothing",
    ] {
        match cluster.client().request::<Value>(get(uri)).await {
            Err(Error::Api(status)) => assert_eq!(status.code, 404),
            other => panic!("{uri}: {other:?}"),
        }
    }
}
