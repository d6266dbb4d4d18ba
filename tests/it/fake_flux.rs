//! The fake Flux goes through the recorded stories in the same order of conditions, counters, handled
//! tokens and alerts as the real one did.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use helmreboot::{
    clock::Clock,
    demo::{
        fake_cluster::{FakeCluster, Key},
        fake_flux::{Era, FakeFlux, Notifier},
    },
};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::stories::{self, Entry, Kind};

/// Alerts that the recorded notification-controller held back: texts without a log tail that it had
/// sent shortly before the recording began (it drops what it has seen within five minutes).
const HELD_BACK: [(&str, &str); 2] = [
    ("flux26-render-error-backs-off", "error InstallFailed"),
    (
        "flux26-reset-swallowed-by-dependency",
        "info DependencyNotReady",
    ),
];

#[tokio::test(start_paused = true)]
async fn the_fake_flux_behaves_like_the_recorded_one() {
    let mut wrong = String::new();
    for (name, story) in stories::all() {
        let recorded = recorded(&story);
        let played = played(&name, &story).await;
        let differs = recorded
            .iter()
            .zip(&played)
            .position(|(recorded, played)| recorded != played);
        let differs = differs.or((played.len() < recorded.len()).then_some(played.len()));
        if let Some(at) = differs {
            let show = |lines: &[String]| {
                lines
                    .iter()
                    .skip(at.saturating_sub(1))
                    .take(4)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join("\n    ")
            };
            write!(
                wrong,
                "\n{name}, step {at}\n  recorded\n    {}\n  played\n    {}",
                show(&recorded),
                show(&played)
            )
            .expect("text");
        }
        // What stands still at the end of a recording stands still here too.
        let going_on = played.len().saturating_sub(recorded.len());
        let retries = [
            "backs-off",
            "schema",
            "missing-crd",
            "unlimited",
            "uninstalled",
            "rolled-back",
            "retry",
        ];
        if differs.is_none() && going_on > 0 && !retries.iter().any(|kind| name.contains(kind)) {
            write!(wrong, "\n{name} goes on: {:?}", &played[recorded.len()..]).expect("text");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The steps of a recording, repeats collapsed.
fn recorded(story: &[Entry]) -> Vec<String> {
    let mut steps = Vec::new();
    for entry in story {
        match &entry.kind {
            Kind::Seen { event, object } => push(&mut steps, state(event == "DELETED", object)),
            Kind::Alert { body, .. } => {
                let event: Value = serde_json::from_str(body).expect("an event");
                push(&mut steps, alert(&event));
            }
            _ => {}
        }
    }
    steps
}

/// The same story, told to the fake: the same inputs at the same times.
async fn played(name: &str, story: &[Entry]) -> Vec<String> {
    let clock = Clock::with_tokio("2026-11-23T00:00:00Z".parse().expect("a time"));
    let cluster = FakeCluster::new(clock.clone());
    let era = if name.starts_with("flux26") {
        Era::Flux26
    } else {
        Era::Current
    };
    let flux = FakeFlux::new(cluster.clone(), Notifier::new(None, 1.0), clock, era, 1.0);
    let controllers = tokio::spawn(flux.clone().run());
    let key = Key::new("apps", name);
    let watching = tokio::spawn(watch(cluster.clone(), flux.clone(), key.clone()));
    let start = Instant::now();
    stories::perform(story, &key, &cluster, &flux).await;
    let end = story.last().map_or(0.0, |last| last.at) + 30.0;
    sleep_until(start + Duration::from_secs_f64(end)).await;
    controllers.abort();
    watching.abort();
    let mut steps = STEPS.with_borrow_mut(std::mem::take);
    let held_back = |step: &String| {
        HELD_BACK
            .iter()
            .any(|(story, text)| *story == name && step == &format!("ALERT {text}"))
    };
    steps.retain(|step| !held_back(step));
    steps.dedup();
    steps
}

thread_local! {
    static STEPS: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Notes alerts and versions in the order in which they appear. Between two writes Flux takes a
/// breath, so an alert that is new when a version appears came before it.
async fn watch(cluster: FakeCluster, flux: FakeFlux, key: Key) {
    let (mut alerts, mut versions) = (0, 0);
    let mut writes = cluster.writes();
    loop {
        writes.next().await;
        let (all_alerts, all_versions) = (flux.alerts(), cluster.versions_of(&key));
        let deleted = cluster.get(&key).is_none();
        STEPS.with_borrow_mut(|steps| {
            for sent in &all_alerts[alerts..] {
                let event: Value = serde_json::from_str(&sent.body).expect("an event");
                push(steps, alert(&event));
            }
            for (index, object) in all_versions.iter().enumerate().skip(versions) {
                push(
                    steps,
                    state(deleted && index + 1 == all_versions.len(), object),
                );
            }
        });
        (alerts, versions) = (all_alerts.len(), all_versions.len());
    }
}

fn push(steps: &mut Vec<String>, step: String) {
    if steps.last() != Some(&step) {
        steps.push(step);
    }
}

fn alert(event: &Value) -> String {
    format!(
        "ALERT {} {}",
        event["severity"].as_str().unwrap_or_default(),
        event["reason"].as_str().unwrap_or_default()
    )
}

/// Conditions, counters and handled tokens of one version.
fn state(deleted: bool, object: &Value) -> String {
    if deleted {
        return "DELETED".into();
    }
    let status = &object["status"];
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let mut text: BTreeMap<&str, String> = BTreeMap::new();
    for condition in &conditions {
        let part = |field: &str| condition[field].as_str().unwrap_or_default();
        let mut shown = format!("{}/{}", part("status"), part("reason"));
        if matches!(part("type"), "Reconciling" | "Stalled") {
            write!(shown, " {:?}", part("message")).expect("text");
        }
        text.insert(condition["type"].as_str().expect("a type"), shown);
    }
    let field = |name: &str| {
        if status[name].is_null() {
            "-".into()
        } else {
            status[name].to_string()
        }
    };
    let counters: Vec<_> = [
        "failures",
        "installFailures",
        "upgradeFailures",
        "lastAttemptedGeneration",
        "lastAttemptedReleaseAction",
    ]
    .map(field)
    .into();
    let handled: Vec<_> = [
        "lastHandledReconcileAt",
        "lastHandledResetAt",
        "lastHandledForceAt",
    ]
    .map(field)
    .into();
    format!(
        "{text:?} {} handled {}",
        counters.join(" "),
        handled.join(" ")
    )
}
