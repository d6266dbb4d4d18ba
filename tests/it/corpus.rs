//! Every failure message that people have labelled gets their class: the corpus, and messages out of
//! public threads.

use helmreboot::domain::{classify::Classifier, failure_text::FailureText};
use serde::Deserialize;

/// A message with the class that people gave it.
#[derive(Deserialize)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) class: String,
    why: String,
}

/// Composed from the controllers' format strings and real inner errors.
pub(crate) fn corpus() -> Vec<Line> {
    read(include_str!("../fixtures/messages.jsonl"))
}

/// Out of issues, pull requests and pages; `thread` says where.
pub(crate) fn own() -> Vec<Line> {
    read(include_str!("../fixtures/threads.jsonl"))
}

/// More of the kind of the corpus: what the sources print, with inner errors from the field.
pub(crate) fn composed() -> Vec<Line> {
    read(include_str!("../fixtures/composed.jsonl"))
}

/// Collected and labelled before any rule saw them: Helm 4, Flux 2.8 and 2.9, cloud registries, SOPS, scheduling,
/// webhooks; `source` says where each wording was found.
pub(crate) fn third() -> Vec<Line> {
    read(include_str!("../fixtures/third.jsonl"))
}

fn read(lines: &str) -> Vec<Line> {
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line of the corpus"))
        .collect()
}

/// Lines whose label cannot be reached by reading the message alone, with the reason.
const EXPLAINED: &[(&str, &str)] = &[
    (
        "disc-pingcap-crd-race",
        "the same words mostly mean a stale APIService that somebody has to delete",
    ),
    ("tidb-apis-notfound-race", "likewise"),
    (
        "conv-zero-length",
        "client-go prints this for an answer that was cut off",
    ),
    (
        "hook-del-crd-race-elemental",
        "no matches for kind is permanent: most wait for a person (README of the corpus, 7)",
    ),
    ("elemental-hook-delete-kind-race", "likewise"),
    (
        "fx-another-op-v0",
        "helm-controller since 0.37 unlocks the release itself, and the words are the same",
    ),
    (
        "fx-parse-digest-empty",
        "seen once, while two versions of Flux ran beside each other",
    ),
    (
        "fx-incluster-token-denied",
        "seen once; a file that may not be read mostly stays so",
    ),
    (
        "flyway-job-failed-in-log",
        "the failed job stands only in the log tail, where anybody can write",
    ),
    (
        "uninstall-purge-notfound",
        "release: not found mostly needs a person",
    ),
    ("atomic-uninstall-after-notfound", "likewise"),
    (
        "kyverno-tuf-server-misbehaving",
        "a policy's text, folded over several lines: a denial until it is plain that it is none",
    ),
    (
        "acr-imds-token-timed-out",
        "the last thing it says is that something is not found",
    ),
    (
        "wh-san-mismatch-mimir",
        "x509 towards a webhook counts as a certificate on its way, and two others label the same words so",
    ),
    (
        "gcp-metadata-not-on-gce",
        "says that there is no metadata service, not that it was slow",
    ),
    (
        "a-sops-gpg-wrong-key-flaky",
        "the words say that the key is the wrong one",
    ),
    (
        "a-uninstall-finalizer-orphan",
        "says only that an object is still being deleted when time runs out",
    ),
    (
        "b-external-secrets-x509-wrong-names",
        "x509 towards a webhook counts as a certificate on its way, as in wh-san-mismatch-mimir",
    ),
    (
        "b-uninstall-hook-backofflimit",
        "the same words mostly mean a job that fails by itself",
    ),
    ("b-test-connection-pod-failed", "likewise"),
    (
        "b-load-chart-refused",
        "a download that was refused is transient in the other sets",
    ),
    (
        "b-atomic-release-canceled",
        "Flux was interrupted, and does not go on where retries are used up",
    ),
];

/// Says what is wrong, if anything is.
pub(crate) fn expect_none(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What is not judged as people did.
fn wrong(lines: Vec<Line>) -> Vec<String> {
    let classifier = Classifier::default();
    let judged = lines.into_iter().filter_map(|line| {
        let verdict = classifier.verdict(FailureText::by_event(&line.reason, &line.message));
        let class = verdict.class.as_str();
        let explained = EXPLAINED.iter().any(|(id, _)| *id == line.id);
        // What is explained is wrong: an explanation that is no longer needed is one too.
        ((class != line.class) != explained).then(|| {
            format!(
                "{}: {class} by {}, not {} ({})",
                line.id, verdict.rule, line.class, line.why
            )
        })
    });
    judged.collect()
}

#[test]
fn the_corpus_is_classified_as_people_did() {
    let wrong = wrong(corpus());
    expect_none(&wrong);
}

#[test]
fn messages_of_public_threads_and_of_the_sources_are_classified_as_people_did() {
    assert!(own().len() >= 150);
    let all: Vec<_> = own().into_iter().chain(composed()).chain(third()).collect();
    let ids: std::collections::BTreeSet<_> = all.iter().map(|line| line.id.clone()).collect();
    assert_eq!(ids.len(), all.len(), "ids are unique");
    let mut explained = EXPLAINED.iter();
    assert!(
        explained.all(|(id, _)| ids.contains(*id)),
        "an explanation for no line"
    );
    let wrong = wrong(all);
    expect_none(&wrong);
}
