//! The recorded stories, decided step by step: the table in `tests/fixtures/decisions.txt` says what
//! helmreboot would do at each version of each object, repeats collapsed.

use std::fmt::Write;

use helmreboot::domain::{
    classify::{Classifier, Verdict},
    decide::{Decision, Inputs, Trigger, decide},
    ledger::Record,
    policy::Policy,
    release::Release,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::stories::{self, Entry, Kind};

/// A version that stands for so long is looked at a second time: 2 s and 5 s after the alert.
const SECOND_LOOK: f64 = 7.0;

#[test]
fn the_recorded_stories_are_decided_as_the_table_says() {
    let mut decided = String::new();
    for (name, story) in stories::all() {
        writeln!(decided, "{name}").expect("text");
        for line in sequence(&story) {
            writeln!(decided, "{line}").expect("text");
        }
        writeln!(decided).expect("text");
    }
    let table = include_str!("../fixtures/decisions.txt");
    let table = table.split_once("\n\n").map_or("", |(_, stories)| stories);
    if let Some((line, (ours, agreed))) = decided
        .lines()
        .zip(table.lines())
        .enumerate()
        .find(|(_, (a, b))| a != b)
    {
        panic!("line {line}: decided\n{ours}\nbut agreed\n{agreed}\n\nall decisions:\n{decided}");
    }
    assert_eq!(
        decided.lines().count(),
        table.trim_end().lines().count() + 1,
        "\n{decided}"
    );
}

fn sequence(story: &[Entry]) -> Vec<String> {
    let classifier = Classifier::default();
    let (mut steps, mut alerted) = (Vec::new(), false);
    for (index, entry) in story.iter().enumerate() {
        match &entry.kind {
            Kind::Alert { body, .. } => {
                let event: Value = serde_json::from_str(body).expect("an event");
                if event["severity"] == "error" {
                    alerted = true;
                    steps.push((
                        entry.at,
                        format!("(alert {})", event["reason"].as_str().expect("a reason")),
                    ));
                }
            }
            Kind::Seen { event, object } => {
                let release: Release = serde_json::from_value(object.clone()).expect("a release");
                let release = (event != "DELETED").then_some(&release);
                let next = story[index + 1..]
                    .iter()
                    .find(|next| matches!(next.kind, Kind::Seen { .. }));
                let stands = next.is_some_and(|next| next.at - entry.at >= SECOND_LOOK);
                for settled in [false, true] {
                    let at = if settled {
                        entry.at + SECOND_LOOK
                    } else {
                        entry.at
                    };
                    if !settled || (stands && alerted) {
                        steps.push((
                            at,
                            step(
                                &classifier,
                                release,
                                &Trigger {
                                    settled,
                                    ..Trigger::default()
                                },
                            ),
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    steps.dedup_by(|later, earlier| later.1 == earlier.1);
    steps
        .into_iter()
        .map(|(at, text)| format!("{at:7.1}  {text}"))
        .collect()
}

/// When the conditions of a release changed last.
fn latest(release: &Release) -> Timestamp {
    let conditions = release.status.conditions.iter();
    let times =
        conditions.filter_map(|condition| condition.last_transition_time.as_deref()?.parse().ok());
    times.max().unwrap_or(Timestamp::UNIX_EPOCH)
}

fn step(classifier: &Classifier, release: Option<&Release>, trigger: &Trigger) -> String {
    let verdict = release
        .and_then(|release| classifier.cause(release))
        .map(|(verdict, _)| verdict)
        .unwrap_or(Verdict::UNKNOWN);
    let decision = decide(&Inputs {
        trigger,
        verdict,
        release,
        policy: &Policy::default(),
        record: &release.map(Record::of).unwrap_or_default(),
        now: release.map_or(Timestamp::UNIX_EPOCH, latest),
    });
    let why = decision.reason().as_str();
    match decision {
        Decision::Restart { request, .. } => format!(
            "restart  {why} ({}) because of {}",
            request.action.as_str(),
            verdict.rule
        ),
        Decision::Leave { .. } if why == "permanent" => {
            format!("leave    {why} because of {}", verdict.rule)
        }
        other => format!("{:<8} {why}", other.as_str()),
    }
}
