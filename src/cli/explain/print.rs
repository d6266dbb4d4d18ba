//! A judgement, for people and for machines.

use std::fmt::Write;

use anyhow::Context;
use serde::Serialize;

use crate::cli::output::{self, Format};
use crate::domain::{
    classify::{Class, Classifier, Verdict},
    decide::{Decision, TABLE},
    evaluate::Evaluation,
    ledger::{self, Record},
    mask::mask,
    release::Release,
};

/// One line for machines.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    cluster: &'a str,
    decision: &'static str,
    reason: &'static str,
    action: Option<&'static str>,
    class: &'static str,
    rule: &'static str,
    attempts: u32,
    limit: u32,
    retry_at: Option<String>,
    namespace: &'a str,
    name: &'a str,
    policy: &'a str,
    mode: &'static str,
}

/// One JSON object in one line, or one YAML document.
pub(super) fn machine(
    format: Format,
    cluster: &str,
    release: &Release,
    evaluation: &Evaluation,
) -> anyhow::Result<String> {
    let Evaluation {
        policy,
        verdict,
        attempts,
        decision,
        ..
    } = evaluation;
    let line = Line {
        cluster,
        decision: decision.as_str(),
        reason: decision.reason().as_str(),
        action: action(decision),
        class: verdict.class.as_str(),
        rule: verdict.rule,
        attempts: *attempts,
        limit: policy.limit,
        retry_at: decision.next().map(|at| format!("{at:.0}")),
        namespace: &release.metadata.namespace,
        name: &release.metadata.name,
        policy: &policy.name,
        mode: policy.mode.as_str(),
    };
    match format {
        Format::Yaml => output::document(format, &line),
        _ => serde_json::to_string(&line).context("cannot write JSON"),
    }
}

fn action(decision: &Decision) -> Option<&'static str> {
    match decision {
        Decision::Restart { request, .. } => Some(request.action.as_str()),
        Decision::Wait { .. } | Decision::Leave { .. } => None,
    }
}

/// The table with the row that held, and what it rests on.
pub(super) fn text(
    cluster: &str,
    release: &Release,
    evaluation: &Evaluation,
    classifier: &Classifier,
    colours: bool,
) -> String {
    let (bold, dim, plain) = if colours {
        ("\x1b[1m", "\x1b[2m", "\x1b[0m")
    } else {
        ("", "", "")
    };
    let Evaluation {
        policy,
        invalid,
        verdict,
        decision,
        row,
        ..
    } = evaluation;
    let metadata = &release.metadata;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{bold}{cluster}/{}/{}: {}{}: {}{plain}\n",
        clean(&metadata.namespace),
        clean(&metadata.name),
        decision.as_str(),
        action(decision).map_or(String::new(), |action| format!(" ({action})")),
        decision.reason().as_str()
    );
    for (index, shown) in TABLE.iter().enumerate() {
        let (sign, before) = match index.cmp(row) {
            std::cmp::Ordering::Less => ("no ", ""),
            std::cmp::Ordering::Equal => ("YES", bold),
            std::cmp::Ordering::Greater => (" . ", dim),
        };
        let words: Vec<_> = shown.words.iter().map(|reason| reason.as_str()).collect();
        let live = shown.live.replace("**", "").replace('`', "");
        let _ = writeln!(
            text,
            "  {before}{sign}  {:<31}  {live}{plain}",
            words.join(" ")
        );
    }
    let mut fact = |name: &str, value: String| {
        let _ = write!(text, "\n{name:<8}  {value}");
    };
    fact("cause", cause(release, *verdict, classifier));
    fact("budget", budget(release, evaluation));
    if let Some(next) = decision.next() {
        fact("next try", format!("{next:.0}"));
    }
    fact(
        "policy",
        format!("{}, mode {}", policy.name, policy.mode.as_str()),
    );
    for odd in invalid {
        fact("invalid", format!("{}: {}", odd.annotation, odd.problem));
    }
    fact(
        "unknown",
        "whether the limits of the running service delay a restart (breaker-open, rate-limited); see its log and /metrics: helmreboot_breakers_open, helmreboot_restarts_in_flight".into(),
    );
    text
}

/// Names out of a file may hold what a terminal obeys.
fn clean(name: &str) -> String {
    mask(name, 253)
}

fn cause(release: &Release, verdict: Verdict, classifier: &Classifier) -> String {
    match classifier.cause(release) {
        None => "no condition reports a failure".into(),
        Some((_, message)) if verdict.class == Class::Unknown => {
            format!("unknown, no rule matches: {}", mask(message, 160))
        }
        Some((_, message)) => {
            let blames = if verdict.infrastructure {
                ", infrastructure is to blame"
            } else {
                ""
            };
            let (class, rule) = (verdict.class.as_str(), verdict.rule);
            format!("{class} ({rule}{blames}): {}", mask(message, 160))
        }
    }
}

fn budget(release: &Release, evaluation: &Evaluation) -> String {
    let state = ledger::attempt_state(release, &Record::of(release));
    let limit = evaluation.policy.limit;
    match (&state.last, evaluation.attempts) {
        (_, u32::MAX) => format!("unreadable, so it counts as spent; the limit is {limit}"),
        (Some((last, _)), attempts) => {
            format!("{attempts} of {limit} restarts, the last {last:.0}")
        }
        (None, attempts) => format!("{attempts} of {limit} restarts"),
    }
}
