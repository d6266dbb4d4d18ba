//! The campaign for the Lease: what it does where the API server does not let it, or does not answer; and, where
//! `HELMREBOOT_TEST_KUBECONFIG` names a real one, that one wins and the other follows. The Lease is written by
//! server-side apply, which the embedded API server does not serve.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use helmreboot::kubernetes::{Connection, lease::Lease};
use kube::Client;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    clusters::{Server, at, become_a_pipe},
    fake_cluster::real_server,
    running::{Running, helmreboot, kubeconfig},
    support::pass,
};

/// An API server that keeps one Lease, for the bearer of a token where one is wanted. It merges what is applied, and does not ask
/// who owns which field.
#[derive(Clone, Default)]
struct LeaseServer(Arc<Mutex<LeaseStore>>);

#[derive(Default)]
struct LeaseStore {
    token: &'static str,
    lease: Option<Value>,
    versions: u64,
    /// Another writer is always faster when the Lease is given up.
    contended: bool,
    /// Requests that were let in.
    answered: usize,
}

impl LeaseServer {
    fn wants(&self, token: &'static str) {
        let mut store = self.0.lock().expect("a lock");
        store.token = token;
        store.answered = 0;
    }

    /// Another replica holds the Lease, and renewed it a moment ago.
    fn give_to(&self, identity: &str) {
        let now = jiff::Timestamp::now();
        let mut store = self.0.lock().expect("a lock");
        store.versions += 1;
        let version = store.versions.to_string();
        let lease = store.lease.as_mut().expect("a Lease");
        let taken = json!({"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": identity,
            "renewTime": format!("{now:.6}"), "acquireTime": format!("{now:.6}")}});
        json_patch::merge(lease, &taken);
    }

    fn answered(&self) -> usize {
        self.0.lock().expect("a lock").answered
    }

    fn router(&self) -> Router {
        let server = self.clone();
        let answer = any(
            move |method: Method, headers: HeaderMap, request: Request| async move {
                let body = axum::body::to_bytes(request.into_body(), 1 << 20).await;
                let body = serde_json::from_slice(&body.expect("a body")).unwrap_or_default();
                server.answer(&method, &headers, &body)
            },
        );
        Router::new().fallback(answer)
    }

    async fn serve(&self) -> std::net::SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = self.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn holder(&self) -> Value {
        let lease = self.0.lock().expect("a lock").lease.clone();
        lease.expect("a Lease")["spec"]["holderIdentity"].clone()
    }

    fn answer(&self, method: &Method, headers: &HeaderMap, body: &Value) -> Response {
        let refused = |code: u16, reason: &str| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": reason, "message": reason, "code": code});
            let code = StatusCode::from_u16(code).expect("a code");
            (code, Json(status)).into_response()
        };
        let mut store = self.0.lock().expect("a lock");
        let bearer = headers.get(header::AUTHORIZATION);
        let bearer = bearer.and_then(|value| value.to_str().ok());
        if !store.token.is_empty() && bearer != Some(&*format!("Bearer {}", store.token)) {
            return refused(401, "Unauthorized");
        }
        store.answered += 1;
        let held = |lease: &Value| lease["spec"]["holderIdentity"].is_string();
        let released = store.lease.as_ref().is_some_and(held) && !held(body);
        if *method != Method::GET && released && store.contended {
            return refused(409, "Conflict");
        }
        match (method, store.lease.take()) {
            (&Method::GET, None) => return refused(404, "NotFound"),
            (&Method::GET, kept) => store.lease = kept,
            (_, kept) => {
                let mut lease = kept.unwrap_or_else(|| json!({}));
                json_patch::merge(&mut lease, body);
                store.versions += 1;
                lease["metadata"]["resourceVersion"] = json!(store.versions.to_string());
                store.lease = Some(lease);
            }
        }
        Json(store.lease.clone()).into_response()
    }
}

/// Waits until `is_so` returns true, for at most 20 s.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{what}: not within 20 s"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_leader_releases_the_lease_at_the_end() {
    let leases = LeaseServer::default();
    let (told, resign, running) = campaign(leases.router());
    until("it leads", || {
        told.lock().expect("a lock").last() == Some(&true)
    })
    .await;
    assert_eq!(leases.holder(), "one");
    drop(resign);
    running.await.expect("no panic");
    let holder = leases.holder();
    assert!(holder.is_null() || holder == "", "{holder}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_while_the_lease_is_released_does_not_delay_the_end() {
    let (server, leases) = (Server::new(), LeaseServer::default());
    let (address, leases_at) = (server.serve().await, leases.serve().await);
    leases.0.lock().expect("a lock").contended = true;
    let mut program = Running::start(
        helmreboot()
            .args(["serve", "--cluster-name=a", "--leader-elect"])
            .arg("--kubeconfig")
            .arg(kubeconfig("contends", &at(address), &json!({})))
            .env(
                "KUBECONFIG",
                kubeconfig("contended-lease", &at(leases_at), &json!({})),
            )
            .env("HELMREBOOT_TOKEN", "the key"),
    );
    program.wait_for(&["this replica is the leader and watches"]);
    program.signal("-TERM");
    let (code, took, said) = program.end();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(took < Duration::from_secs(8), "{took:?}: {said:#?}");
}

/// A hub lists its clusters in a file. The Lease is in another cluster, and another replica holds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_says_where_its_lease_is_and_a_follower_that_it_follows() {
    let (server, leases) = (Server::new(), LeaseServer::default());
    let (address, leases_at) = (server.serve().await, leases.serve().await);
    leases.0.lock().expect("a lock").lease = Some(
        json!({"metadata": {"name": "helmreboot", "resourceVersion": "1"}, "spec": {"leaseDurationSeconds": 30}}),
    );
    leases.give_to("another");
    let cluster = kubeconfig("followed", &at(address), &json!({}));
    let clusters = json!({"clusters": [{"name": "a", "kubeconfig": cluster, "keys": [{"env": "HELMREBOOT_KEY_A"}]}],
        "leaderElect": true, "leaderElectionNamespace": "operations", "shutdownDelay": "0s",
        "leaderElectionKubeconfig": kubeconfig("keeps-the-lease", &at(leases_at), &json!({}))});
    let config = crate::clusters::file("hub-with-lease.yaml", &clusters.to_string());
    let mut program = Running::start(
        helmreboot()
            .args(["serve", "--config"])
            .arg(config)
            .env("HELMREBOOT_KEY_A", "the key"),
    );
    program.wait_for(&[
        "is a standby",
        "another holds the Lease operations/helmreboot",
    ]);
    assert_eq!(server.restarts(), 0);
}

/// In real time: a change of a file does not follow the paused clock.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_the_lease_follows_its_kubeconfig() {
    let (server, leases) = (Server::new(), LeaseServer::default());
    let (address, leases_at) = (server.serve().await, leases.serve().await);
    leases.wants("first");
    let user = json!({"token": "old"});
    let home = kubeconfig("home-of-the-lease", &at(leases_at), &user);
    become_a_pipe(&home);
    let mut program = Running::start(
        helmreboot()
            .args([
                "serve",
                "--cluster-name=a",
                "--leader-elect",
                "--kubeconfig",
            ])
            .arg(kubeconfig("elects", &at(address), &json!({})))
            .env("KUBECONFIG", &home)
            .env("HELMREBOOT_TOKEN", "the key"),
    );
    program.wait_for(&[
        "cannot connect to the cluster of the Lease",
        "it is not a regular file",
    ]);
    std::fs::remove_file(&home).expect("no pipe");
    assert_eq!(server.restarts(), 0, "no replica sweeps");
    kubeconfig("home-of-the-lease", &at(leases_at), &user);
    program.wait_for(&[
        "cannot get or renew the Lease default/helmreboot",
        "Unauthorized",
    ]);
    kubeconfig(
        "home-of-the-lease",
        &at(leases_at),
        &json!({"token": "first"}),
    );
    program.wait_for(&["this replica is the leader and watches"]);
    server.healed(1, Duration::from_secs(10), "swept").await;
    // The leader uses a rotated token before it has to renew the Lease, and goes on leading.
    leases.wants("second");
    kubeconfig(
        "home-of-the-lease",
        &at(leases_at),
        &json!({"token": "second"}),
    );
    until("the new token", || leases.answered() > 0).await;
    server.stuck("other");
    server
        .healed(2, Duration::from_secs(10), "still swept")
        .await;
    assert!(
        program.said(&["is a standby"]).is_empty(),
        "it was the leader all the time"
    );
    // Where another replica has taken the Lease meanwhile, it becomes a standby.
    leases.give_to("another");
    leases.wants("third");
    kubeconfig(
        "home-of-the-lease",
        &at(leases_at),
        &json!({"token": "third"}),
    );
    program.wait_for(&["this replica is a standby and does not watch"]);
}

/// A campaign against an API server that always answers so, what it told, and the way to end it.
fn campaign(api_server: Router) -> (Arc<Mutex<Vec<bool>>>, oneshot::Sender<()>, JoinHandle<()>) {
    campaign_of("one", Client::new(api_server, "helmreboot"))
}

fn campaign_of(
    identity: &str,
    client: Client,
) -> (Arc<Mutex<Vec<bool>>>, oneshot::Sender<()>, JoinHandle<()>) {
    let told: Arc<Mutex<Vec<bool>>> = Arc::default();
    let (resign, resigned) = oneshot::channel::<()>();
    let lease = Lease::new(Connection::to(client), identity.into());
    let tell = {
        let told = Arc::clone(&told);
        move |leads| told.lock().expect("a lock").push(leads)
    };
    let running = tokio::spawn(lease.elect(tell, async { drop(resigned.await) }));
    (told, resign, running)
}

#[tokio::test(start_paused = true)]
async fn without_rights_it_leads_never_asks_again_now_and_then_and_ends_at_once() {
    let asked: Arc<Mutex<usize>> = Arc::default();
    let count = Arc::clone(&asked);
    let refuse = any(move || async move {
        *count.lock().expect("a lock") += 1;
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": "leases.coordination.k8s.io is forbidden: User \"x\" cannot get resource"});
        (StatusCode::FORBIDDEN, axum::Json(status)).into_response()
    });
    let (told, resign, running) = campaign(Router::new().fallback(refuse));
    pass(120).await;
    assert!(told.lock().expect("a lock").iter().all(|leads| !leads));
    let asked = *asked.lock().expect("a lock");
    assert!((5..=30).contains(&asked), "{asked} times in two minutes");
    drop(resign);
    let ended = tokio::time::timeout(Duration::from_millis(10), running).await;
    ended.expect("at once").expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_never_answers_does_not_hold_up_the_end() {
    let hang = any(|| async { std::future::pending::<StatusCode>().await });
    let (told, resign, running) = campaign(Router::new().fallback(hang));
    pass(60).await;
    assert!(told.lock().expect("a lock").is_empty());
    drop(resign);
    let ended = tokio::time::timeout(Duration::from_millis(10), running).await;
    ended.expect("at once").expect("no panic");
}

/// In real time: a real API server has a clock of its own.
#[tokio::test]
async fn on_a_real_api_server_one_leads_and_when_it_lets_go_the_other_does() {
    let Some(client) = real_server().await else {
        return;
    };
    let (first, resign, ended) = campaign_of("first", client.clone());
    let told = |told: &Arc<Mutex<Vec<bool>>>| told.lock().expect("a lock").last().copied();
    let leads = |who: Arc<Mutex<Vec<bool>>>| async move {
        while told(&who) != Some(true) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // Whoever held it before may have died.
    let patience = Duration::from_secs(60);
    let won = tokio::time::timeout(patience, leads(Arc::clone(&first))).await;
    won.expect("the first leads");
    let (second, resign_too, ended_too) = campaign_of("second", client);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((told(&first), told(&second)), (Some(true), None));
    drop(resign);
    ended.await.expect("no panic");
    let followed = tokio::time::timeout(patience, leads(second)).await;
    followed.expect("the second follows");
    drop(resign_too);
    ended_too.await.expect("no panic");
}
