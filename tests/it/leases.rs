//! The manners of an API server with Leases: the embedded one keeps those of a real one, and is never kinder.

use helmreboot::{clock::Clock, demo::fake_cluster::FakeCluster};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, Error, api::PostParams};
use serde_json::{Value, json};

use crate::{fake_cluster::real_server, support::NOW};

/// The embedded API server and, where `HELMREBOOT_TEST_KUBECONFIG` names one, a real one.
async fn servers() -> Vec<Api<Lease>> {
    let embedded = FakeCluster::new(Clock::with_tokio(NOW.parse().expect("a time")));
    let clients: [Option<Client>; 2] = [Some(embedded.client()), real_server().await];
    let clients = clients.into_iter().flatten();
    clients
        .map(|client| Api::namespaced(client, "apps"))
        .collect()
}

/// A name that no Lease had before, for the real server remembers.
fn fresh(name: &str) -> String {
    format!("{name}-{}", jiff::Timestamp::now().as_nanosecond())
}

fn lease(name: &str, version: Option<&str>, spec: Value) -> Lease {
    let metadata = json!({"name": name, "resourceVersion": version});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a Lease")
}

#[track_caller]
fn refused(answer: Result<Lease, Error>, code: u16, reason: &str) {
    match answer {
        Err(Error::Api(status)) => {
            assert_eq!(
                (status.code, status.reason.as_str()),
                (code, reason),
                "{status:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_lease_is_created_once_and_updated_by_version() {
    for leases in servers().await {
        let (name, params) = (fresh("lease"), PostParams::default());
        refused(leases.get(&name).await, 404, "NotFound");
        let held = json!({"holderIdentity": "one", "leaseDurationSeconds": 30, "renewTime": "2026-11-23T12:00:00.000000Z"});
        let other = fresh("other");
        let made = leases
            .replace(&other, &params, &lease(&other, Some("1"), held.clone()))
            .await;
        made.expect("an update creates it");
        let created = leases
            .create(&params, &lease(&name, None, held.clone()))
            .await;
        let created = created.expect("a Lease");
        refused(
            leases
                .create(&params, &lease(&name, None, held.clone()))
                .await,
            409,
            "AlreadyExists",
        );
        let first = created.metadata.resource_version.expect("a version");
        let given_up = json!({"holderIdentity": "", "leaseDurationSeconds": 1});
        let updated = leases
            .replace(&name, &params, &lease(&name, Some(&first), given_up))
            .await;
        let updated = updated.expect("a Lease");
        assert_ne!(updated.metadata.resource_version.as_deref(), Some(&*first));
        // The version that was read is no longer the newest.
        refused(
            leases
                .replace(&name, &params, &lease(&name, Some(&first), held.clone()))
                .await,
            409,
            "Conflict",
        );
        refused(
            leases
                .replace(&name, &params, &lease(&name, None, held))
                .await,
            422,
            "Invalid",
        );
        let read = leases.get(&name).await.expect("a Lease");
        let spec = read.spec.expect("a spec");
        assert_eq!(spec.holder_identity.as_deref(), Some(""));
        assert_eq!(spec.renew_time, None);
        assert_eq!(
            read.metadata.resource_version,
            updated.metadata.resource_version
        );
    }
}

#[tokio::test]
async fn a_lease_that_is_not_valid_is_refused() {
    for leases in servers().await {
        let params = PostParams::default();
        for spec in [
            json!({"leaseDurationSeconds": 0}),
            json!({"leaseTransitions": -1}),
        ] {
            let name = fresh("invalid");
            refused(
                leases.create(&params, &lease(&name, None, spec)).await,
                422,
                "Invalid",
            );
        }
        let nameless = leases.create(&params, &lease("", None, json!({}))).await;
        refused(nameless, 422, "Invalid");
    }
}
