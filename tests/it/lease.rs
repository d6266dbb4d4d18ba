//! The campaign for the Lease: what it does where the API server does not let it, or does not answer; and, where
//! `HELMREBOOT_TEST_KUBECONFIG` names a real one, that one wins and the other follows. The Lease is written by
//! server-side apply, which the embedded API server does not serve.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, http::StatusCode, response::IntoResponse, routing::any};
use helmreboot::cluster::lease::Lease;
use kube::Client;
use serde_json::json;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{fake_cluster::real_server, support::pass};

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
    let lease = Lease::new(client, identity.into());
    let tell = {
        let told = Arc::clone(&told);
        move |leads| told.lock().expect("a lock").push(leads)
    };
    let running = tokio::spawn(lease.campaign(tell, async { drop(resigned.await) }));
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
