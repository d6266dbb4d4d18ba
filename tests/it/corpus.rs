//! Every failure message of the corpus gets the class that people gave it.

use helmreboot::domain::classify::Classifier;
use serde::Deserialize;

#[derive(Deserialize)]
struct Line {
    id: String,
    message: String,
    class: String,
    why: String,
}

fn corpus() -> Vec<Line> {
    let lines = include_str!("../fixtures/messages.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line of the corpus"))
        .collect()
}

/// Lines whose label cannot be reached by reading the message alone, with the reason.
const EXPLAINED: &[(&str, &str)] = &[];

#[test]
fn the_corpus_is_classified_as_people_did() {
    let classifier = Classifier::default();
    let wrong: Vec<_> = corpus()
        .into_iter()
        .filter(|line| !EXPLAINED.iter().any(|(id, _)| *id == line.id))
        .filter_map(|line| {
            let verdict = classifier.message(&line.message);
            (verdict.class.as_str() != line.class).then(|| {
                format!(
                    "{}: {} by {}, not {} ({})",
                    line.id,
                    verdict.class.as_str(),
                    verdict.rule,
                    line.class,
                    line.why
                )
            })
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_permanent_sentence_is_never_outvoted() {
    let classifier = Classifier::default();
    for line in corpus().iter().filter(|line| line.class == "transient") {
        let head = line
            .message
            .split("\n\nLast Helm logs:")
            .next()
            .unwrap_or_default();
        let mixed = format!(
            "{head} && cannot patch \"x\" with kind Job: Job.batch \"x\" is invalid: spec: field is immutable"
        );
        assert_eq!(
            classifier.message(&mixed).class.as_str(),
            "permanent",
            "{}",
            line.id
        );
    }
}
