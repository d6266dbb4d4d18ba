//! Accepted alerts beside a bare axum handler that only checks the HMAC and parses the JSON, and forged
//! ones. Ratios within one run are what counts.

use std::{
    cell::Cell,
    hint::black_box,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    routing::post,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::StreamExt;
use helmreboot::{
    app::{App, ClusterHandle, Options, address_of, bind},
    clock::Clock,
    config::clusters::{ClusterAccess, ClusterConfig},
    demo::fake_cluster::FakeCluster,
    domain::{
        alert::Event,
        signature::{Key, Keys, Secret},
    },
    kubernetes::Connection,
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::ServiceExt;

fn key(secret: &str) -> Key {
    Key::new(Secret::new(secret).expect("a key"), None)
}

const MESSAGE: &str = "Helm upgrade failed for release apps/web with chart web@1.0.0: timeout waiting for: [Deployment/apps/web status: 'InProgress']";

/// A recorded alert's size: about 1.5 KiB, most of it log tail.
fn body(number: u64) -> String {
    let tail = "2026-11-23T07:38:40.182089684Z: checking resources for changes\\n".repeat(14);
    format!(
        r#"{{"involvedObject":{{"kind":"HelmRelease","namespace":"apps","name":"web-{}","uid":"0ef80c09","apiVersion":"helm.toolkit.fluxcd.io/v2","resourceVersion":"{number}"}},"severity":"error","timestamp":"{:.0}","message":"{MESSAGE}\n\nLast Helm logs:\n\n{tail}","reason":"UpgradeFailed","metadata":{{"cluster":"default","revision":"1.0.0"}},"reportingController":"helm-controller"}}"#,
        number % 1000,
        jiff::Timestamp::now(),
    )
}

fn request(number: u64, key: &Key) -> Request<Body> {
    let body = body(number);
    Request::post("/webhook")
        .header("content-type", "application/json")
        .header("x-signature", key.sign(body.as_bytes()))
        .body(Body::from(body))
        .expect("a request")
}

/// What the figure is measured beside.
fn bare(keys: Arc<Keys>) -> Router {
    Router::new().route(
        "/webhook",
        post(move |headers: HeaderMap, body: Bytes| {
            let keys = Arc::clone(&keys);
            async move {
                let signature = headers
                    .get("x-signature")
                    .map_or(&[][..], |value| value.as_bytes());
                if keys.verify(&body, signature).is_none() {
                    return StatusCode::UNAUTHORIZED;
                }
                match serde_json::from_slice::<Event>(&body) {
                    Ok(event) => {
                        black_box(event);
                        StatusCode::ACCEPTED
                    }
                    Err(_) => StatusCode::BAD_REQUEST,
                }
            }
        }),
    )
}

/// Serves a router as the program does.
async fn listen(router: Router) -> SocketAddr {
    let listener = bind("127.0.0.1:0").expect("a port");
    let address = address_of(&listener);
    tokio::spawn(helmreboot::server::serve(
        listener,
        router,
        axum_server::Handle::new(),
        None,
        helmreboot::server::connections::Connections::new(1024),
        std::time::Duration::from_secs(75),
    ));
    address
}

/// How long so many requests take, each with a body of its own.
async fn load(address: SocketAddr, key: &Key, requests: u64, number: &Cell<u64>) -> Duration {
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
    let requests: Vec<_> = (0..requests)
        .map(|_| {
            number.set(number.get() + 1);
            let mut request = request(number.get(), key);
            *request.uri_mut() = format!("http://{address}/webhook")
                .parse()
                .expect("an address");
            request
        })
        .collect();
    let start = Instant::now();
    let answers = futures::stream::iter(requests)
        .map(|request| client.request(request))
        .buffer_unordered(32);
    answers
        .for_each(|answer| async {
            let body = answer.expect("an answer").into_body();
            black_box(body.collect().await.expect("a body"));
        })
        .await;
    start.elapsed()
}

fn webhook(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let (ours, stranger) = (key("the key"), key("a guess"));
    let keys = Keys::new(vec![ours.clone()]);
    let cluster = FakeCluster::new(Clock::system());
    let config = ClusterConfig {
        name: "default".into(),
        keys: Vec::new(),
        access: ClusterAccess::default(),
        mode: helmreboot::domain::policy::Mode::Act,
        namespaces: Vec::new(),
        events_addr: None,
        place: String::new(),
        access_place: String::new(),
    };
    let handle = ClusterHandle {
        config,
        keys: keys.clone(),
        connection: Connection::to(cluster.client()),
        destinations: helmreboot::notify::Destinations {
            kubernetes: true,
            flux: None,
        },
    };
    let app = App::new(Options::default(), vec![handle], Clock::system());
    let (whole, bare) = (app.webhook(), bare(Arc::new(keys)));
    let number = Cell::new(0);

    let mut group = criterion.benchmark_group("webhook");
    group.throughput(Throughput::Elements(1));
    for (name, router, signer, status) in [
        ("bare handler, accepted", &bare, &ours, 202),
        ("whole service, accepted", &whole, &ours, 202),
        ("bare handler, forged", &bare, &stranger, 401),
        ("whole service, forged", &whole, &stranger, 401),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    number.set(number.get() + 1);
                    request(number.get(), signer)
                },
                |request| {
                    let response = runtime
                        .block_on(router.clone().oneshot(request))
                        .expect("a router never fails");
                    assert_eq!(response.status().as_u16(), status);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("over HTTP, 32 connections");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    let threads = tokio::runtime::Runtime::new().expect("a runtime");
    for (name, router, signer) in [
        ("bare handler, accepted", &bare, &ours),
        ("whole service, accepted", &whole, &ours),
        ("bare handler, forged", &bare, &stranger),
        ("whole service, forged", &whole, &stranger),
    ] {
        let address = threads.block_on(listen(router.clone()));
        group.bench_function(name, |bencher| {
            bencher
                .iter_custom(|requests| threads.block_on(load(address, signer, requests, &number)));
        });
    }
    group.finish();
}

criterion_group!(benches, webhook);
criterion_main!(benches);
