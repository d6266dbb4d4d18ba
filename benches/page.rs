//! The first page, with one release that is not ready and with a thousand, in a thousand clusters:
//!
//! ```console
//! cargo bench --bench page
//! ```

use std::{hint::black_box, sync::Arc};

use axum::{Router, body::Body};
use criterion::{Criterion, criterion_group, criterion_main};
use helmreboot::{
    clock::Clock,
    clusters::{ClusterEntry, Registry},
    controller::Pause,
    dashboard::Dashboard,
    domain::{
        alert::ReleaseRef, classify::Classifier, decide::Trigger, evaluate::Evaluator,
        ledger::Record, limits::Limits, policy::Policies, release::Release, signature::Keys,
        summary::ReleaseSummary,
    },
    http_client,
    leadership::Leadership,
    queue::Queue,
};
use http::Request;
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::json;
use tower::ServiceExt;

const CLUSTERS: usize = 1000;

/// A page about a thousand clusters, of which so many have a release that is not ready.
fn page(failing: usize) -> Router {
    let now = Timestamp::now();
    let (classifier, policies) = (Classifier::built_in(), Policies::default());
    let entry = |number: usize| {
        let name: Arc<str> = format!("cluster-{number:04}").into();
        let entry = ClusterEntry::new(
            Arc::clone(&name),
            Keys::default(),
            Arc::new(Queue::new(16)),
            Limits::new(helmreboot::domain::limits::LimitConfig::default()),
            Arc::default(),
            1,
        );
        if number < failing {
            let message = format!(
                "cannot patch \"web\" with kind Job: Job.batch \"web\" is invalid: spec.template: {}: field is immutable",
                "x".repeat(500)
            );
            let object = json!({"metadata": {"name": format!("web-{number}"), "namespace": "apps"},
                "status": {"conditions": [
                    {"type": "Stalled", "status": "True", "reason": "RetriesExceeded", "message": "m"},
                    {"type": "Ready", "status": "False", "reason": "UpgradeFailed", "message": message}]}});
            let release: Release = serde_json::from_value(object).expect("a release");
            let evaluator = Evaluator {
                classifier: &classifier,
                policies: &policies,
                cluster: &name,
            };
            let record = Record::of(&release);
            let evaluation = evaluator.evaluate(Some(&release), &record, &Trigger::default(), now);
            let summary = ReleaseSummary::of(&name, &release, &evaluation, &classifier, 1000);
            let key = ReleaseRef {
                cluster: Arc::clone(&name),
                namespace: "apps".into(),
                name: format!("web-{number}").into(),
            };
            entry.board.put(&key, summary, now);
        }
        entry
    };
    let registry = Arc::new(Registry::new((0..CLUSTERS).map(entry)));
    Dashboard::new(
        registry,
        Arc::default(),
        Clock::system(),
        Pause::default(),
        Leadership::new(true),
        Vec::new(),
        (tokio::sync::watch::channel(None).1, http_client::over_tcp()),
    )
    .router()
}

async fn load(page: Router) -> usize {
    let request = Request::get("/").body(Body::empty()).expect("a request");
    let answer = page.oneshot(request).await.expect("an answer");
    let body = answer.into_body().collect().await.expect("a body");
    body.to_bytes().len()
}

fn pages(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for failing in [1, 1000] {
        let page = page(failing);
        let size = runtime.block_on(load(page.clone()));
        let name = format!("page/{CLUSTERS} clusters, {failing} not ready, {size} bytes");
        criterion.bench_function(&name, |bench| {
            bench.iter(|| runtime.block_on(load(black_box(page.clone()))));
        });
    }
}

criterion_group!(benches, pages);
criterion_main!(benches);
