//! The campaign for the Lease: what it does where the API server does not let it, or does not answer. (That
//! one of two replicas wins, and the other follows when it lets go, was seen on a real API server: the Lease
//! is written by server-side apply, which the embedded one does not serve.)

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, http::StatusCode, response::IntoResponse, routing::any};
use helmreboot::cluster::lease::Lease;
use kube::Client;
use serde_json::json;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::support::pass;

/// A campaign against an API server that always answers so, what it told, and the way to end it.
fn campaign(api_server: Router) -> (Arc<Mutex<Vec<bool>>>, oneshot::Sender<()>, JoinHandle<()>) {
    let told: Arc<Mutex<Vec<bool>>> = Arc::default();
    let (resign, resigned) = oneshot::channel::<()>();
    let lease = Lease::new(Client::new(api_server, "helmreboot"), "one".into());
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
