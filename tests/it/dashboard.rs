//! The page and its API: what is shown is what the cluster holds and what the service decided, and nothing else happens.

use axum::body::Body;
use helmreboot::{
    app::Options,
    demo::fake_cluster::FaultKind,
    domain::{link::Link, policy::Mode},
};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    live::{self, IMMUTABLE, Live},
    support::{TestApp, fault, pass},
};

/// Text that is markup, a secret, an escape sequence, or turns around what follows.
const HOSTILE: &str = "Helm upgrade failed: <script>alert(1)</script><img src=x onerror=alert(2)> \"' & \u{1b}[31mred \u{202e}txet password=hunter2 </pre>";

async fn answer(app: &TestApp, path: &str, accept: &str) -> Response<Body> {
    let request = Request::get(path).header(header::ACCEPT, accept);
    let request = request.body(Body::empty()).expect("a request");
    app.metrics_router()
        .oneshot(request)
        .await
        .expect("an answer")
}

async fn page(app: &TestApp, path: &str) -> String {
    let answer = answer(app, path, "text/html").await;
    let policy = &answer.headers()[header::CONTENT_SECURITY_POLICY];
    assert!(
        policy
            .to_str()
            .expect("text")
            .starts_with("default-src 'none';")
    );
    let body = answer.into_body().collect().await.expect("a body");
    String::from_utf8(body.to_bytes().to_vec()).expect("text")
}

/// An answer of the API, which is as `openapi.json` describes it.
pub(crate) async fn api(app: &TestApp, path: &str) -> Value {
    let answer = answer(app, &format!("/api/v1{path}"), "application/json").await;
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("a body");
    let body = serde_json::from_slice(&body.to_bytes()).expect("JSON");
    assert_described(path, status, &body);
    body
}

fn assert_described(path: &str, status: StatusCode, body: &Value) {
    let described: Value =
        serde_json::from_str(include_str!("../../src/dashboard/assets/openapi.json"))
            .expect("JSON");
    let name = path.split('?').next().expect("a path");
    let name = if name.matches('/').count() > 1 {
        "/releases/{cluster}/{namespace}/{name}"
    } else {
        name
    };
    let answers = &described["paths"][name]["get"]["responses"];
    let mut schema = answers[status.as_str()]["content"]["application/json"]["schema"].clone();
    assert!(schema.is_object(), "{path} {status} is not described");
    schema["components"] = described["components"].clone();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<_> = validator
        .iter_errors(body)
        .map(|it| it.to_string())
        .collect();
    assert!(errors.is_empty(), "{path}: {errors:#?}\n{body:#}");
}

pub(crate) fn broken(name: &str) -> Live {
    Live::named(name)
        .condition("Stalled", "True", "RetriesExceeded", "m")
        .failed(IMMUTABLE)
}

/// Names of the releases in a band.
async fn names(app: &TestApp, query: &str) -> Vec<String> {
    let found = api(app, &format!("/releases?{query}")).await;
    let releases = found["releases"].as_array().expect("a list");
    let name = |release: &Value| release["name"].as_str().expect("a name").to_owned();
    releases.iter().map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_release_moves_from_in_progress_to_healed_and_a_permanent_one_needs_a_person() {
    let app = TestApp::swept();
    let web = app.holds(Live::stalled("web"));
    app.holds(broken("db"));
    pass(10).await;
    assert_eq!(names(&app, "band=needs-person").await, ["db"]);
    assert_eq!(names(&app, "band=in-progress").await, ["web"]);
    let db = api(&app, "/releases/a/apps/db").await;
    let release = &db["release"];
    assert_eq!(
        release["command"],
        "flux reconcile helmrelease db -n apps --reset"
    );
    assert_eq!(
        (&release["reason"], &release["rule"]),
        (&json!("permanent"), &json!("immutable-field"))
    );
    let matched = release["matched"].as_str().expect("the words that decided");
    assert!(
        release["message"]
            .as_str()
            .expect("a message")
            .contains(matched)
    );
    let held = db["decisionTable"].as_array().expect("a table").iter();
    let held: Vec<_> = held.filter(|row| row["holds"] == true).collect();
    assert_eq!(held.len(), 1);
    assert!(
        held[0]["reasons"]
            .as_array()
            .expect("reasons")
            .contains(&json!("permanent"))
    );
    live::recovers(app.cluster("a"), &web);
    pass(10).await;
    let status = api(&app, "/status").await;
    let counts = ["needsPerson", "inProgress", "healed"].map(|name| status[name].clone());
    assert_eq!(counts, [json!(1), json!(0), json!(1)]);
    let healed = api(&app, "/healed?q=web").await;
    let one = &healed["healed"][0];
    assert_eq!(
        (&one["name"], &one["restarts"], &healed["total"]),
        (&json!("web"), &json!(1), &json!(1))
    );
    let timeline = api(&app, "/releases/a/apps/web").await;
    assert_eq!(timeline["release"], Value::Null);
    let what: Vec<_> = timeline["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| event["what"].clone())
        .collect();
    assert_eq!(
        (what.first(), what.last()),
        (Some(&json!("leave")), Some(&json!("restart"))),
        "{timeline:#}"
    );
    assert!(what.contains(&json!("ended")), "{what:?}");
    let html = page(&app, "/").await;
    for text in [
        "1 needs a person",
        "0 in progress",
        "1 healed",
        "after 1 restart",
    ] {
        assert!(html.contains(text), "{text} in {html}");
    }
    assert_eq!(app.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_leaves_the_cluster_or_is_suspended_leaves_the_bands() {
    let app = TestApp::swept();
    let (db, other) = (app.holds(broken("db")), app.holds(broken("other")));
    pass(10).await;
    assert_eq!(names(&app, "band=needs-person").await, ["db", "other"]);
    app.cluster("a").delete(&db);
    app.cluster("a")
        .apply(&other, &json!({"spec": {"suspend": true}}));
    pass(10).await;
    assert!(names(&app, "band=needs-person").await.is_empty());
    assert_eq!(names(&app, "band=excluded").await, ["other"]);
    let html = page(&app, "/").await;
    assert!(html.contains("No release needs a person") && html.contains("1 release is excluded"));
    let gone = api(&app, "/releases/a/apps/nowhere").await;
    assert!(
        gone["error"]
            .as_str()
            .expect("an error")
            .contains("does not exist")
    );
}

#[tokio::test(start_paused = true)]
async fn releases_that_fail_for_one_cause_are_one_row_with_the_breaker() {
    let app = TestApp::swept();
    for number in 0..6 {
        let message = "Helm install failed for release apps/web with chart web@1.0.0: Get \"https://registry.example.com/v2/\": dial tcp 10.0.0.1:443: connect: connection refused";
        app.holds(Live::stalled(&format!("r{number}")).failed(message));
    }
    app.holds(broken("alone"));
    pass(20).await;
    let causes = api(&app, "/causes").await;
    let causes = causes["causes"].as_array().expect("causes");
    assert_eq!(causes.len(), 1, "{causes:#?}");
    assert_eq!(
        (&causes[0]["releases"], &causes[0]["clusters"]),
        (&json!(6), &json!(["a"]))
    );
    let breaker = causes[0]["breakers"][0]["text"]
        .as_str()
        .expect("a breaker");
    assert!(breaker.contains("The circuit breaker delays"), "{breaker}");
    let id = causes[0]["id"].as_str().expect("an id");
    assert_eq!(names(&app, &format!("cause={id}")).await.len(), 6);
    let html = page(&app, &format!("/causes/{id}")).await;
    assert!(html.contains("6 releases") && !html.contains("apps/alone"));
    app.writes();
}

#[tokio::test(start_paused = true)]
async fn hostile_text_stays_text_and_secrets_are_masked() {
    let app = TestApp::swept();
    let long = format!("{HOSTILE}{}", "x".repeat(39_000));
    app.holds(
        Live::named("web")
            .condition("Stalled", "True", "RetriesExceeded", "m")
            .failed(&long)
            .annotated("helmreboot.io/limit", "<b>many</b>"),
    );
    pass(10).await;
    for path in [
        "/",
        "/releases/a/apps/web",
        "/?q=%3Cscript%3Ealert(1)",
        "/clusters?q=%22%3E%3Cimg",
    ] {
        let html = page(&app, path).await;
        for bad in [
            "<script>alert",
            "<img",
            "<b>many",
            "hunter2",
            "\u{1b}",
            "\u{202e}",
        ] {
            assert!(!html.contains(bad), "{path} has {bad}");
        }
        assert!(html.len() < 20_000, "{path}: {}", html.len());
    }
    let release = api(&app, "/releases/a/apps/web").await.to_string();
    assert!(release.contains("password=***") && !release.contains("hunter2"));
    app.writes();
}

#[tokio::test(start_paused = true)]
async fn filters_and_pages_select_rows_and_a_bad_one_says_what_to_write() {
    let app = TestApp::with(Options::default(), &["a", "b"]);
    for number in 0..25 {
        app.holds(broken(&format!("db-{number:02}")));
    }
    app.holds_in("b", broken("shop"));
    pass(10).await;
    assert_eq!(names(&app, "cluster=b").await, ["shop"]);
    assert_eq!(
        names(&app, "q=db-0*+!a/apps/db-01&limit=2&offset=1").await,
        ["db-02", "db-03"]
    );
    let page = page(&app, "/").await;
    assert!(page.contains("Show all 26") && page.contains("26 need a person"));
    assert_eq!(
        page.matches("class=\"row\"").count(),
        20 + 1,
        "20 rows, and the shared cause"
    );
    let refused = api(&app, "/releases?band=broken").await;
    let error = refused["error"].as_str().expect("an error");
    assert_eq!(
        error,
        "band: expected one of needs-person, in-progress, excluded, ready"
    );
    let missing = answer(&app, "/api/v1/nothing", "application/json").await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn clusters_show_their_health() {
    let app = TestApp::with(Options::default(), &["a", "b"]);
    app.cluster("b")
        .fault(fault("list", u32::MAX, FaultKind::Refuse(503)));
    app.holds(broken("db"));
    pass(60).await;
    let clusters = api(&app, "/clusters").await;
    let of = |name: &str, field: &str| {
        let mut all = clusters["clusters"].as_array().expect("clusters").iter();
        all.find(|it| it["name"] == name).expect("the cluster")[field].clone()
    };
    assert_eq!(
        (of("a", "available"), of("b", "available")),
        (json!(true), json!(false))
    );
    assert_eq!(of("a", "failing")["permanent"], 1);
    let html = page(&app, "/clusters").await;
    assert!(html.contains("its API server does not answer"), "{html}");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_written_a_person_has_to_act() {
    let mut options = Options::default();
    options.policies.base.mode = Mode::Observe;
    let app = TestApp::with(options, &["a"]);
    app.holds(Live::stalled("web"));
    pass(10).await;
    assert_eq!(names(&app, "band=needs-person").await, ["web"]);
    let web = api(&app, "/releases/a/apps/web").await;
    assert_eq!(
        web["release"]["command"],
        "flux reconcile helmrelease web -n apps --reset"
    );
}

#[tokio::test(start_paused = true)]
async fn a_release_that_no_watcher_sees_is_shown_for_an_hour() {
    let app = TestApp::new();
    let db = app.holds(broken("db"));
    app.alert(&db).await;
    pass(30 * 60).await;
    assert_eq!(names(&app, "band=needs-person").await, ["db"]);
    pass(60 * 60).await;
    assert!(names(&app, "").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn links_lead_to_the_release_elsewhere() {
    let options = Options {
        links: vec![Link {
            name: "Flux Web UI".into(),
            url: "https://flux.example.com/{cluster}/resource/HelmRelease/{namespace}/{name}"
                .into(),
        }],
        ..Options::default()
    };
    let app = TestApp::with(options, &["a"]);
    app.holds(broken("db"));
    pass(10).await;
    let html = page(&app, "/releases/a/apps/db").await;
    assert!(
        html.contains("href=\"https://flux.example.com/a/resource/HelmRelease/apps/db\""),
        "{html}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_request_reaches_an_api_server() {
    let app = TestApp::swept();
    app.holds(broken("db"));
    pass(10).await;
    let calls = app.cluster("a").calls().len();
    for path in [
        "/",
        "/releases/a/apps/db",
        "/releases/a/apps/none",
        "/clusters",
        "/api/v1/releases",
        "/api/v1/events",
    ] {
        answer(&app, path, "*/*").await;
    }
    assert_eq!(app.cluster("a").calls().len(), calls);
    let put = Request::post("/api/v1/releases")
        .body(Body::empty())
        .expect("a request");
    let refused = app.metrics_router().oneshot(put).await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
}
