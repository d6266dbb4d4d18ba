//! Messages in the forms that logs, terminals and web pages give them, and messages that are cut: never is one
//! that people called permanent taken for a transient one, and few change their class.

use helmreboot::domain::{
    classify::{Class, Classifier},
    said::{Said, head},
};

use crate::corpus::{Line, composed, corpus, expect_none, own, third};

fn all() -> Vec<Line> {
    let sets = corpus().into_iter().chain(own()).chain(composed());
    sets.chain(third()).collect()
}

fn class(classifier: &Classifier, line: &Line, message: &str) -> Class {
    let reason = &line.reason;
    classifier.verdict(Said { reason, message }).class
}

/// Each word in a colour of its own.
fn coloured(message: &str) -> String {
    message.replace(' ', "\u{1b}[0m \u{1b}[1;31m")
}

fn escaped(message: &str) -> String {
    let message = message.replace('&', "&amp;").replace('<', "&lt;");
    let message = message.replace('>', "&gt;").replace('"', "&quot;");
    message.replace('\'', "&#39;")
}

fn typographic(message: &str) -> String {
    let mut open = false;
    let quote = |character| match character {
        '"' => {
            open = !open;
            if open { '\u{201c}' } else { '\u{201d}' }
        }
        '\'' => '\u{2019}',
        other => other,
    };
    message.chars().map(quote).collect()
}

/// Lines of at most so many characters, broken at spaces.
fn wrapped(message: &str, columns: usize) -> String {
    let lines = message.split('\n').map(|line| {
        let mut out = String::new();
        let mut used = 0;
        for word in line.split(' ') {
            let length = word.chars().count();
            if used > 0 {
                let fits = used + 1 + length <= columns;
                out.push(if fits { ' ' } else { '\n' });
                used = if fits { used + 1 } else { 0 };
            }
            out.push_str(word);
            used += length;
        }
        out
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The same, and a word that is longer is broken too.
fn filled(message: &str, columns: usize) -> String {
    let lines = message.split('\n').map(|line| {
        let mut out = String::new();
        let mut used = 0;
        for word in line.split(' ') {
            let mut left: Vec<char> = word.chars().collect();
            if used > 0
                && (used + 1 + left.len() <= columns || left.len() > columns && used + 1 < columns)
            {
                out.push(' ');
                used += 1;
            } else if used > 0 {
                out.push('\n');
                used = 0;
            }
            while left.len() > columns - used {
                out.extend(left.drain(..columns - used));
                out.push('\n');
                used = 0;
            }
            used += left.len();
            out.extend(left);
        }
        out
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Lines of so many characters, broken anywhere.
fn folded(message: &str, columns: usize) -> String {
    let lines = message.split('\n').map(|line| {
        let characters: Vec<char> = line.chars().collect();
        let parts = characters.chunks(columns).map(String::from_iter);
        parts.collect::<Vec<String>>().join("\n")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn behind_warnings(message: &str) -> String {
    let warning = "coalesce.go:286: warning: cannot overwrite table with non table for app.ingress.annotations (map[timeout:30s])\n";
    format!("{}{message}", warning.repeat(1000))
}

/// As `fold -s` writes lines, with the space in front of a break kept, and a margin.
fn indented(message: &str, columns: usize) -> String {
    wrapped(message, columns - 1).replace('\n', " \n    ")
}

fn spaced(message: &str) -> String {
    message.replace(' ', "\t ")
}

fn linked(message: &str) -> String {
    message.replace("https://", "\u{1b}]8;;https://x\u{1b}\\https://")
}

fn escaped_twice(message: &str) -> String {
    escaped(&escaped(message)).replace("&amp;#39;", "&#x27;")
}

fn behind_slog(message: &str) -> String {
    let warning = "time=2025-11-01T10:00:00.000Z level=WARN msg=\"skipped value for app.ingress: Not a table.\"\n";
    format!("{}{message}", warning.repeat(1000))
}

type Form = (&'static str, fn(&str) -> String);

const FORMS: [Form; 19] = [
    ("upper case", str::to_uppercase),
    ("ANSI codes", coloured),
    ("CRLF", |message| message.replace('\n', "\r\n")),
    ("non-breaking spaces", |message| {
        message.replace(' ', "\u{a0}")
    }),
    ("HTML escapes", escaped),
    ("typographic quotes", typographic),
    ("lines of 40", |message| wrapped(message, 40)),
    ("lines of 80", |message| wrapped(message, 80)),
    ("filled lines of 40", |message| filled(message, 40)),
    ("filled lines of 72", |message| filled(message, 72)),
    ("folded at 60", |message| folded(message, 60)),
    ("folded at 77", |message| folded(message, 77)),
    ("indented lines of 72", |message| indented(message, 72)),
    ("quoted lines of 60", |message| {
        format!("> {}", wrapped(message, 60).replace('\n', "\n> "))
    }),
    ("tabs and spaces", spaced),
    ("links", linked),
    ("escaped twice", escaped_twice),
    ("behind warnings of slog", behind_slog),
    ("behind warnings", behind_warnings),
];

#[test]
fn the_form_of_a_message_makes_no_lasting_failure_pass_and_changes_few_classes() {
    let classifier = Classifier::built_in();
    let lines = all();
    let mut wrong = Vec::new();
    for (name, form) in FORMS {
        let mut changed = Vec::new();
        for line in &lines {
            let plain = class(&classifier, line, head(&line.message));
            let formed = class(&classifier, line, &form(head(&line.message)));
            if plain != formed {
                changed.push(format!("{} {plain:?}->{formed:?}", line.id));
            }
            if line.class == "permanent" && formed == Class::Transient && plain != formed {
                wrong.push(format!("{name}: {} is transient", line.id));
            }
        }
        if changed.len() * 100 > lines.len() * 3 {
            let (many, of) = (changed.len(), lines.len());
            wrong.push(format!("{name}: {many} of {of} change: {changed:?}"));
        }
    }
    expect_none(&wrong);
}

/// Messages that list a transient failure first and a lasting one behind it. Cut between the two, or where both
/// began, nothing says that there was another.
const LISTS: &[&str] = &[
    "a-mixed-timeout-and-immutable",
    "d-apf-mixed",
    "d-hook-deadline-two-jobs",
    "d-test-podfailed-two",
    "d-wait-mixed-failed",
    "e-047",
    "mixed-drift-forbidden",
    "mixed-quota-race-and-immutable",
    "mixed-refused-immutable",
    "mixed-stalled-inprogress",
    "mixed-uninstall-forbidden",
    "mixed-webhook-refused-and-route",
    "multi-refused-immutable",
    "wait-mixed-failed-inprogress",
    "b-mixed-selector-immutable-webhook-timeout",
    "b-sched-gpu-taint",
];

/// Messages whose only lasting words are taken out of the middle, or off the end, so that what is left is a whole message.
const GONE: &[&str] = &[
    "chg048-postgres-failed",
    "crowdsec-unexpected-eof-parse",
    "d-cel-crd-rule",
    "d-tpl-required",
    "e-112",
    "ecr-imds-deadline",
    "helm4-cli-watcher-failed",
    "load-chart-status-403",
    "mclaude-hook-status-failed",
    "ns-delete-protected",
    "shakudo-dockerconfigjson",
];

#[test]
fn a_lasting_failure_that_is_cut_anywhere_does_not_pass() {
    let classifier = Classifier::built_in();
    let mut wrong = Vec::new();
    for line in all() {
        let message = head(&line.message);
        let plain = class(&classifier, &line, message);
        if line.class != "permanent"
            || plain == Class::Transient
            || LISTS.contains(&&*line.id)
            || GONE.contains(&&*line.id)
        {
            continue;
        }
        let gap = message.len() / 4;
        for at in (0..message.len()).step_by(3) {
            let at = message.floor_char_boundary(at);
            let behind = message.ceil_char_boundary(at + gap);
            let (begin, end) = (&message[..at], message.get(behind..).unwrap_or_default());
            for (kind, cut) in [
                ("tail", begin.to_owned()),
                ("middle", format!("{begin}{end}")),
            ] {
                if class(&classifier, &line, &cut) == Class::Transient {
                    let rule = classifier
                        .verdict(Said {
                            reason: &line.reason,
                            message: &cut,
                        })
                        .rule;
                    wrong.push(format!(
                        "{} {kind} {at} by {rule}: {:?}",
                        line.id,
                        &cut[cut.len().saturating_sub(80)..]
                    ));
                }
            }
        }
    }
    expect_none(&wrong);
}
