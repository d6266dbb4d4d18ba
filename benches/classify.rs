//! One message, all labelled ones, and messages of growing length: the time must grow in step.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use helmreboot::domain::{
    classify::{Classifier, HEAD_LIMIT},
    failure_text::FailureText,
};

const MESSAGES: [(&str, &str); 4] = [
    (
        "transient",
        "Helm upgrade failed for release apps/web with chart web@1.0.0: timeout waiting for: [Deployment/apps/web status: 'InProgress']",
    ),
    (
        "permanent",
        "Helm upgrade failed for release monitoring/infra with chart infra@4.2.0: cannot patch \"infra-server\" with kind Deployment: Deployment.apps \"infra-server\" is invalid: spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{\"app.kubernetes.io/instance\":\"infra\"}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable",
    ),
    (
        "exception",
        "pods \"api\" is forbidden: status unknown for quota: small, resources: pods",
    ),
    (
        "unknown",
        "Helm upgrade failed for release apps/web with chart web@1.0.0: nobody has ever seen this",
    ),
];

fn one_message(criterion: &mut Criterion) {
    let classifier = Classifier::default();
    let mut group = criterion.benchmark_group("one message");
    for (name, message) in MESSAGES {
        group.bench_function(name, |bencher| {
            bencher.iter(|| classifier.verdict(black_box(message).into()))
        });
    }
    group.finish();
}

fn labelled(criterion: &mut Criterion) {
    let classifier = Classifier::default();
    let lines = [
        include_str!("../tests/fixtures/messages.jsonl"),
        include_str!("../tests/fixtures/threads.jsonl"),
    ];
    let lines: Vec<serde_json::Value> = lines
        .iter()
        .flat_map(|lines| lines.lines())
        .map(|line| serde_json::from_str(line).expect("a line of the corpus"))
        .collect();
    let said = |line: &serde_json::Value| {
        let text = |field: &str| line[field].as_str().expect("a text").to_owned();
        (text("reason"), text("message"))
    };
    let lines: Vec<_> = lines.iter().map(said).collect();
    let mut group = criterion.benchmark_group("all labelled messages");
    group.throughput(Throughput::Elements(lines.len() as u64));
    group.bench_function("verdicts", |bencher| {
        bencher.iter(|| {
            for (reason, message) in &lines {
                black_box(classifier.verdict(FailureText::by_event(reason, message)));
            }
        });
    });
    group.finish();
}

fn growing(criterion: &mut Criterion) {
    let classifier = Classifier::default();
    let mut group = criterion.benchmark_group("length");
    for length in [1024, 4096, HEAD_LIMIT] {
        let text = "cannot create \"x\" with kind y: Get \"https://z/\": no luck; ".repeat(length);
        let text = &text[..length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| classifier.verdict(black_box(text).into()));
        });
    }
    group.finish();
}

criterion_group!(benches, one_message, labelled, growing);
criterion_main!(benches);
