//! What happened lately, as a list and as a stream of the API.

use axum::body::Body;
use http::{Request, header};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

use crate::{
    dashboard::{api, broken},
    support::{TestApp, pass},
};

#[tokio::test(start_paused = true)]
async fn events_are_a_list_and_a_stream_that_continues_where_it_ended() {
    let app = TestApp::swept();
    app.holds(broken("db"));
    pass(10).await;
    let listed = api(&app, "/events").await;
    let first = &listed["events"][0];
    assert_eq!(
        (&first["name"], &first["id"]),
        (&json!("db"), &json!(0)),
        "{listed:#}"
    );
    let next = listed["next"].as_u64().expect("a number");
    assert!(
        api(&app, &format!("/events?after={next}")).await["events"]
            .as_array()
            .expect("a list")
            .is_empty()
    );
    let stream = |last: Option<&str>| {
        let mut request =
            Request::get("/api/v1/events").header(header::ACCEPT, "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Body::empty()).expect("a request");
        app.metrics_router().oneshot(request)
    };
    let mut new = stream(None).await.expect("a stream").into_body();
    read(&mut new, "connected").await;
    app.holds(broken("shop"));
    pass(2).await;
    let text = read(&mut new, "\"name\":\"shop\"").await;
    assert!(
        text.contains("event: fact") && !text.contains("\"name\":\"db\""),
        "{text}"
    );
    let id = text.split("id: ").nth(1).expect("an id");
    let (run, _) = id.split_once('-').expect("the number of the process");
    read(&mut new, "event: changed\ndata: now").await;
    // A reader that comes back gets what it missed; one of another process gets everything that is kept.
    for (last, all) in [(format!("{run}-0"), false), ("7-900".into(), true)] {
        let mut resumed = stream(Some(&last)).await.expect("a stream").into_body();
        let text = read(&mut resumed, "\"name\":\"shop\"").await;
        assert_eq!(text.contains("\"name\":\"db\""), all, "{last}: {text}");
    }
    // A number that is not possible.
    let mut odd = stream(Some("7-18446744073709551615"))
        .await
        .expect("a stream")
        .into_body();
    read(&mut odd, "connected").await;
}

/// Reads a stream until it holds this text.
async fn read(body: &mut Body, until: &str) -> String {
    let mut text = String::new();
    while !text.contains(until) {
        let frame = body.frame().await.expect("more").expect("a frame");
        text += std::str::from_utf8(frame.data_ref().expect("data")).expect("text");
    }
    text
}
