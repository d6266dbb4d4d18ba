//! The election of the leader: what a replica does where the API server does not let it write the Lease, or does not
//! answer, and where the Lease is in another cluster; and, where `HELMREBOOT_TEST_KUBECONFIG` names a real API server,
//! that one replica leads and another follows.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::Request,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use helmreboot::{
    clock::Clock,
    demo::fake_cluster::{FakeCluster, Key},
    domain::election::Role,
    kubernetes::{Connection, lease::Lease},
};
use kube::Client;
use serde_json::json;
use tokio::{sync::oneshot, task::JoinHandle};
use tower::ServiceExt;

use crate::{
    clusters::{Server, at, become_a_pipe},
    fake_cluster::real_server,
    running::{Running, helmreboot, kubeconfig},
    support::pass,
};

/// The embedded API server, for the bearer of a token where one is wanted.
#[derive(Clone)]
struct LeaseServer {
    cluster: FakeCluster,
    token: Arc<Mutex<&'static str>>,
    /// Another writer is always faster when the Lease is given up.
    contended: Arc<AtomicBool>,
    /// Requests that were let in.
    answered: Arc<AtomicUsize>,
}

impl LeaseServer {
    fn new() -> Self {
        Self {
            cluster: FakeCluster::new(Clock::system()),
            token: Arc::default(),
            contended: Arc::default(),
            answered: Arc::default(),
        }
    }

    fn wants(&self, token: &'static str) {
        *self.token.lock().expect("a lock") = token;
        self.answered.store(0, Ordering::Relaxed);
    }

    /// Another replica holds the Lease, and renewed it a moment ago.
    fn give_to(&self, namespace: &str, identity: &str) {
        let now = format!("{:.6}", jiff::Timestamp::now());
        let spec = json!({"holderIdentity": identity, "leaseDurationSeconds": 30, "renewTime": now, "acquireTime": now});
        self.cluster
            .write_lease(&Key::new(namespace, "helmreboot"), &spec);
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    fn router(&self) -> Router {
        let server = self.clone();
        let answer = any(move |request: Request| async move { server.answer(request).await });
        Router::new().fallback(answer)
    }

    async fn serve(&self) -> std::net::SocketAddr {
        crate::running::listen(self.router()).await
    }

    fn holder(&self, namespace: &str) -> String {
        self.cluster
            .lease_holder(&Key::new(namespace, "helmreboot"))
    }

    async fn answer(&self, request: Request) -> Response {
        let refused = |code: StatusCode, reason: &str| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": reason, "message": reason, "code": code.as_u16()});
            (code, Json(status)).into_response()
        };
        let wanted = *self.token.lock().expect("a lock");
        let bearer = request.headers().get(header::AUTHORIZATION);
        let bearer = bearer.and_then(|value| value.to_str().ok());
        if !wanted.is_empty() && bearer != Some(&*format!("Bearer {wanted}")) {
            return refused(StatusCode::UNAUTHORIZED, "Unauthorized");
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        let held = !self.holder("default").is_empty();
        if *request.method() == Method::PUT && held && self.contended.load(Ordering::Relaxed) {
            return refused(StatusCode::CONFLICT, "Conflict");
        }
        let answer = self.cluster.router().oneshot(request).await;
        answer.expect("a router never fails")
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
    let leases = LeaseServer::new();
    let (told, resign, running) = campaign(leases.router());
    until("it leads", || {
        told.lock().expect("a lock").last() == Some(&Role::Leader)
    })
    .await;
    assert_eq!(leases.holder("helmreboot"), "one");
    drop(resign);
    running.await.expect("no panic");
    assert_eq!(leases.holder("helmreboot"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_while_the_lease_is_released_does_not_delay_the_end() {
    let (server, leases) = (Server::new(), LeaseServer::new());
    let (address, leases_at) = (server.serve().await, leases.serve().await);
    leases.contended.store(true, Ordering::Relaxed);
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
    program.wait_for(&["this replica is the leader and acts"]);
    program.signal("-TERM");
    let (code, took, said) = program.end();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(took < Duration::from_secs(8), "{took:?}: {said:#?}");
}

/// A hub lists its clusters in a file. The Lease is in another cluster, and another replica holds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_says_where_its_lease_is_and_a_follower_that_it_follows() {
    let (server, leases) = (Server::new(), LeaseServer::new());
    let (address, leases_at) = (server.serve().await, leases.serve().await);
    leases.give_to("operations", "another");
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
    let (server, leases) = (Server::new(), LeaseServer::new());
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
        "cannot read or write the Lease default/helmreboot",
        "Unauthorized",
    ]);
    kubeconfig(
        "home-of-the-lease",
        &at(leases_at),
        &json!({"token": "first"}),
    );
    program.wait_for(&["this replica is the leader and acts"]);
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
    leases.give_to("default", "another");
    leases.wants("third");
    kubeconfig(
        "home-of-the-lease",
        &at(leases_at),
        &json!({"token": "third"}),
    );
    program.wait_for(&["this replica is a standby and does not act"]);
}

/// A campaign against an API server that always answers so, what it told, and the way to end it.
fn campaign(api_server: Router) -> (Arc<Mutex<Vec<Role>>>, oneshot::Sender<()>, JoinHandle<()>) {
    campaign_of("one", Client::new(api_server, "helmreboot"))
}

fn campaign_of(
    identity: &str,
    client: Client,
) -> (Arc<Mutex<Vec<Role>>>, oneshot::Sender<()>, JoinHandle<()>) {
    let told: Arc<Mutex<Vec<Role>>> = Arc::default();
    let (resign, resigned) = oneshot::channel::<()>();
    let lease = Lease::new(
        Connection::to(client),
        identity.into(),
        Clock::with_tokio(jiff::Timestamp::now()),
    );
    let tell = {
        let told = Arc::clone(&told);
        move |role: Role| told.lock().expect("a lock").push(role)
    };
    let running = tokio::spawn(lease.elect(tell, async { drop(resigned.await) }));
    (told, resign, running)
}

#[tokio::test(start_paused = true)]
async fn without_rights_it_acts_without_the_lease_asks_again_and_ends_at_once() {
    let asked: Arc<Mutex<usize>> = Arc::default();
    let count = Arc::clone(&asked);
    let refuse = any(move || async move {
        *count.lock().expect("a lock") += 1;
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": "leases.coordination.k8s.io is forbidden: User \"x\" cannot get resource"});
        (StatusCode::FORBIDDEN, axum::Json(status)).into_response()
    });
    let (told, resign, running) = campaign(Router::new().fallback(refuse));
    pass(28).await;
    let standby = |roles: &Vec<Role>| roles.iter().all(|role| *role == Role::Standby);
    assert!(standby(&told.lock().expect("a lock")));
    pass(92).await;
    assert_eq!(
        told.lock().expect("a lock").last(),
        Some(&Role::WithoutLease)
    );
    let asked = *asked.lock().expect("a lock");
    assert!((60..=120).contains(&asked), "{asked} times in two minutes");
    drop(resign);
    let ended = tokio::time::timeout(Duration::from_secs(1), running).await;
    ended.expect("soon").expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_never_answers_does_not_hold_up_the_end() {
    let hang = any(|| async { std::future::pending::<StatusCode>().await });
    let (told, resign, running) = campaign(Router::new().fallback(hang));
    pass(60).await;
    assert_eq!(
        told.lock().expect("a lock").last(),
        Some(&Role::WithoutLease)
    );
    drop(resign);
    let ended = tokio::time::timeout(Duration::from_secs(5), running).await;
    ended.expect("soon").expect("no panic");
}

/// In real time: a real API server has a clock of its own.
#[tokio::test]
async fn on_a_real_api_server_one_leads_and_when_it_lets_go_the_other_does() {
    let Some(client) = real_server().await else {
        return;
    };
    let (first, resign, ended) = campaign_of("first", client.clone());
    let told = |told: &Arc<Mutex<Vec<Role>>>| told.lock().expect("a lock").last().copied();
    let leads = |who: Arc<Mutex<Vec<Role>>>| async move {
        while told(&who) != Some(Role::Leader) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // Whoever held it before may have died.
    let patience = Duration::from_secs(60);
    let won = tokio::time::timeout(patience, leads(Arc::clone(&first))).await;
    won.expect("the first leads");
    let (second, resign_too, ended_too) = campaign_of("second", client);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        (told(&first), told(&second)),
        (Some(Role::Leader), Some(Role::Standby))
    );
    drop(resign);
    ended.await.expect("no panic");
    let followed = tokio::time::timeout(patience, leads(second)).await;
    followed.expect("the second follows");
    drop(resign_too);
    ended_too.await.expect("no panic");
}
