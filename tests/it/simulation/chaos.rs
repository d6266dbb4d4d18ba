//! What goes wrong between the service and a cluster, and between Flux and the service.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use futures::{StreamExt, stream};
use helmreboot::{
    demo::fake_flux::{EventReceiver, Transport},
    leadership::Leadership,
    notify::FluxReceiver,
};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use kube::Client;
use tokio::time::sleep;
use tower::{BoxError, ServiceExt, service_fn, util::BoxCloneSyncService};

use super::Fate;

/// The replica that a way belongs to, once it has started.
pub(super) type Owner = Arc<OnceLock<Leadership>>;

/// A way to an API server on which everything happens that happens on networks.
pub(super) fn client(api: Router, fate: Fate, owner: Owner) -> Client {
    let service = service_fn(move |request: Request<kube::client::Body>| {
        let (api, fate) = (api.clone(), fate.clone());
        let owner = Arc::clone(&owner);
        async move {
            // A request that was sent in the moment in which the replica stopped is cancelled now.
            tokio::task::yield_now().await;
            let waits = owner.get().is_some_and(Leadership::waits);
            if waits && request.method() == Method::PATCH {
                fate.notes().unled += 1;
            }
            call(api, &fate, request.map(Body::new), &REFUSALS).await
        }
    });
    Client::new(service, "default")
}

/// What an API server refuses with.
const REFUSALS: [u16; 9] = [401, 403, 409, 422, 429, 500, 502, 503, 504];

async fn call(
    api: Router,
    fate: &Fate,
    request: Request<Body>,
    refusals: &[u16],
) -> Result<Response<Body>, BoxError> {
    let query = request.uri().query().unwrap_or_default();
    let watch = query.contains("watch=true");
    let what = format!("{} {}", request.method(), request.uri().path());
    sleep(Duration::from_millis(fate.number(1..60))).await;
    if fate.is_calm() {
        return Ok(api.oneshot(request).await?);
    }
    if fate.chance(0.04) {
        fate.fault(|| format!("slow: {what}"));
        sleep(fate.seconds(1..20)).await;
    }
    if fate.chance(0.05) {
        let code = fate.one_of(refusals);
        fate.fault(|| format!("refused {code}: {what}"));
        return Ok(refusal(code));
    }
    if fate.chance(0.01) {
        fate.fault(|| format!("no connection: {what}"));
        return Err("connection refused".into());
    }
    let answer = api.oneshot(request).await?;
    if watch {
        return Ok(cut_some_time(answer, fate));
    }
    if fate.chance(0.03) {
        fate.fault(|| format!("answer lost: {what}"));
        fate.notes().unknown += 1;
        return Err("connection reset by peer".into());
    }
    if fate.chance(0.01) {
        fate.fault(|| format!("cut in the middle of the answer: {what}"));
        fate.notes().unknown += 1;
        let (mut parts, body) = answer.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        let bytes = body.collect().await?.to_bytes();
        let half = bytes.slice(..bytes.len() / 2);
        let cut = stream::iter([Ok(half), Err(BoxError::from("connection reset by peer"))]);
        return Ok(Response::from_parts(parts, Body::from_stream(cut)));
    }
    Ok(answer)
}

/// A way to a notification-controller, with the same faults. It answers 429 only to a duplicate.
pub(super) fn receiver(receiver: &EventReceiver, fate: Fate) -> FluxReceiver {
    let router = receiver.router();
    let service = service_fn(move |request: Request<Body>| {
        let (router, fate) = (router.clone(), fate.clone());
        async move { call(router, &fate, request, &[500, 502, 503, 504]).await }
    });
    let address = "http://notification-controller/".parse();
    FluxReceiver::with(
        address.expect("an address"),
        BoxCloneSyncService::new(service),
    )
}

/// A watch that breaks off after a while, often in the middle of a line.
fn cut_some_time(answer: Response<Body>, fate: &Fate) -> Response<Body> {
    if fate.chance(0.5) {
        return answer;
    }
    let (parts, body) = answer.into_parts();
    let until = tokio::time::Instant::now() + fate.seconds(1..250);
    let fate = fate.clone();
    let lines = body.into_data_stream();
    let cut = stream::unfold(
        (lines, fate, false),
        move |(mut lines, fate, over)| async move {
            if over {
                return None;
            }
            let next = tokio::time::timeout_at(until, lines.next()).await;
            match next {
                Ok(Some(Ok(bytes))) => Some((Ok(bytes), (lines, fate, false))),
                Ok(Some(Err(error))) => Some((Err(BoxError::from(error)), (lines, fate, true))),
                Ok(None) => None,
                Err(_) => {
                    fate.fault(|| "watch cut".into());
                    let half = Bytes::from_static(b"{\"type\":\"MODIF");
                    let broken = if fate.chance(0.5) {
                        Ok(half)
                    } else {
                        Err("reset".into())
                    };
                    Some((broken, (lines, fate, true)))
                }
            }
        },
    );
    Response::from_parts(parts, Body::from_stream(cut))
}

fn refusal(code: u16) -> Response<Body> {
    let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": "a fault", "reason": "Fault", "code": code});
    Response::builder()
        .status(code)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(status.to_string()))
        .expect("an answer")
}

/// The webhooks of the replicas that live at the moment.
pub(super) type Doors = Arc<Mutex<Vec<Router>>>;

/// A way from notification-controller to whichever replica answers, on which alerts get lost, doubled,
/// and delayed past each other.
pub(super) fn post(doors: Doors, fate: Fate) -> Transport {
    BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
        let (doors, fate) = (Arc::clone(&doors), fate.clone());
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await?.to_bytes();
            let again = |bytes: Bytes| Request::from_parts(parts.clone(), Body::from(bytes));
            if fate.is_calm() {
                return deliver(&doors, &fate, again(bytes)).await;
            }
            if fate.chance(0.25) {
                fate.fault(|| "alert lost".into());
                return Ok(accepted());
            }
            if fate.chance(0.15) {
                fate.fault(|| "alert delayed".into());
                let (late, doors, fate) = (again(bytes), doors, fate);
                tokio::spawn(async move {
                    sleep(fate.seconds(1..3600)).await;
                    deliver(&doors, &fate, late).await.map(drop)
                });
                return Ok(accepted());
            }
            if fate.chance(0.1) {
                fate.fault(|| "alert doubled".into());
                drop(deliver(&doors, &fate, again(bytes.clone())).await);
            }
            deliver(&doors, &fate, again(bytes)).await
        }
    }))
}

fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

pub(super) async fn deliver(
    doors: &Doors,
    fate: &Fate,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let open = doors.lock().expect("one thread").clone();
    if open.is_empty() {
        return Err("connection refused".into());
    }
    Ok(fate.one_of(&open).oneshot(request).await?)
}
