//! Requests that are too large, too slow or too many.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use helmreboot::{app::Options, demo::fake_cluster::Key};
use http::{Request, StatusCode, header};
use serde_json::json;

use crate::support::{Answer, TestApp, alerts_only, pass};

use crate::webhook::web;

#[tokio::test(start_paused = true)]
async fn method_media_type_and_size_are_checked_before_anything_is_read() {
    let app = TestApp::new();
    let get = Request::get("/webhook/a")
        .body(Body::empty())
        .expect("a request");
    let answer = app.request(get).await;
    assert_eq!(
        (answer.status, &answer.headers[header::ALLOW]),
        (
            StatusCode::METHOD_NOT_ALLOWED,
            &"POST".parse().expect("a value")
        )
    );
    let form =
        Request::post("/webhook/a").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(
        app.request(form.body(Body::empty()).expect("a request"))
            .await
            .status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    let charset =
        Request::post("/webhook/a").header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(
        app.request(charset.body(Body::empty()).expect("a request"))
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    let elsewhere = Request::post("/").body(Body::empty()).expect("a request");
    assert_eq!(app.request(elsewhere).await.status, StatusCode::NOT_FOUND);

    let limit = 256 * 1024;
    let padded = |bytes: usize| {
        let mut event = app.event("a", &web());
        let length = event.to_string().len();
        event["metadata"]["padding"] =
            json!("x".repeat(bytes - length - ",\"padding\":\"\"".len()));
        event.to_string()
    };
    let fits = padded(limit);
    assert_eq!(fits.len(), limit);
    let signature = app.sign("a", &fits);
    assert_eq!(
        app.post("/webhook/a", &[("X-Signature", &signature)], fits)
            .await
            .status,
        StatusCode::ACCEPTED
    );
    let too_large = padded(limit + 1);
    let signature = app.sign("a", &too_large);
    let announced = app
        .post(
            "/webhook/a",
            &[("X-Signature", &signature), ("content-length", "262145")],
            Body::empty(),
        )
        .await;
    assert_eq!(announced.status, StatusCode::PAYLOAD_TOO_LARGE);
    let streamed = Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>(
        Bytes::from(too_large),
    )]));
    assert_eq!(
        app.post("/webhook/a", &[("X-Signature", &signature)], streamed)
            .await
            .status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

/// A signature of the right form, which is all that is looked at before the body is read.
const FORMED: &str = "sha256=0000000000000000000000000000000000000000000000000000000000000000";

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_or_stops_is_given_up() {
    let app = TestApp::new();
    let headers = [("X-Signature", FORMED)];
    let drip = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    });
    let answer = app
        .post("/webhook/a", &headers, Body::from_stream(drip))
        .await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    let silent = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    let start = tokio::time::Instant::now();
    let answer = app
        .post("/webhook/a", &headers, Body::from_stream(silent))
        .await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(start.elapsed().as_secs(), 3);
    let broken = futures::stream::iter([
        Ok(Bytes::from_static(b"{")),
        Err(std::io::Error::other("gone")),
    ]);
    let answer = app
        .post("/webhook/a", &headers, Body::from_stream(broken))
        .await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
}

/// Sends so many bytes and then nothing more.
fn stalling(bytes: usize) -> Body {
    let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b' '; bytes]))]);
    Body::from_stream(first.chain(futures::stream::pending()))
}

#[tokio::test(start_paused = true)]
async fn strangers_who_send_nothing_take_no_room_and_those_who_send_much_meet_a_bound() {
    let app = TestApp::new();
    let senders = |bytes: usize, number: usize| {
        let one = |_| app.post("/webhook/a", &[("X-Signature", FORMED)], stalling(bytes));
        futures::future::join_all((0..number).map(one))
    };
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.alert(&web()).await
    };
    let (_, honest) = tokio::join!(senders(0, 2000), meanwhile);
    assert_eq!(honest.status, StatusCode::ACCEPTED);

    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.alert(&Key::new("apps", "other")).await
    };
    let (stalled, honest) = tokio::join!(senders(256 * 1024, 129), meanwhile);
    assert_eq!(honest.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(honest.headers[header::RETRY_AFTER], "2");
    assert_eq!(
        stalled
            .iter()
            .filter(|answer| answer.status == StatusCode::REQUEST_TIMEOUT)
            .count(),
        128
    );
    assert_eq!(
        app.alert(&Key::new("apps", "third")).await.status,
        StatusCode::ACCEPTED
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_and_a_stopping_service_ask_to_come_again_soon() {
    let app = TestApp::with(
        Options {
            queue_capacity: 1,
            ..alerts_only()
        },
        &["a"],
    );
    assert_eq!(app.alert(&web()).await.status, StatusCode::ACCEPTED);
    let event = app.event("a", &Key::new("apps", "other"));
    let come_again = |answer: Answer| {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers[header::RETRY_AFTER], "2");
    };
    come_again(app.send("a", &event).await);
    pass(60).await;
    assert_eq!(
        app.send("a", &event).await.status,
        StatusCode::ACCEPTED,
        "refused is not seen"
    );
    app.registry.close(Duration::ZERO);
    come_again(app.alert(&Key::new("apps", "third")).await);
}
