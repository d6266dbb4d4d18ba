//! Messages in the forms that logs, terminals and web pages give them, and messages that are cut: never is one
//! that people called permanent taken for a transient one, and few change their class.

use helmreboot::domain::{
    classify::{Class, Classifier},
    failure_text::{FailureText, head},
};

use crate::corpus::{Line, composed, corpus, expect_none, own, third};

fn all() -> Vec<Line> {
    let sets = corpus().into_iter().chain(own()).chain(composed());
    sets.chain(third()).collect()
}

fn class(classifier: &Classifier, line: &Line, message: &str) -> Class {
    let reason = &line.reason;
    classifier.verdict(FailureText { reason, message }).class
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

/// Each line of a message, broken by `lines`.
fn broken(message: &str, lines: impl Fn(&str) -> Vec<String>) -> String {
    let all: Vec<String> = message.split('\n').flat_map(lines).collect();
    all.join("\n")
}

/// Broken at spaces only, as a person's editor does.
fn wrapped(message: &str, columns: usize) -> String {
    broken(message, |line| {
        let mut lines = vec![String::new()];
        for (index, word) in line.split(' ').enumerate() {
            let last = lines.last_mut().expect("there is one");
            if index == 0 {
                last.push_str(word);
            } else if last.chars().count() + 1 + word.chars().count() <= columns {
                *last += " ";
                *last += word;
            } else {
                lines.push(word.to_owned());
            }
        }
        lines
    })
}

/// As Python's `textwrap` does: a word that is longer than a line is broken anywhere, and with `hyphens`, others
/// are broken behind a hyphen.
fn filled(message: &str, columns: usize, hyphens: bool) -> String {
    broken(message, |line| {
        let mut chunks: Vec<String> = Vec::new();
        for word in line.split_inclusive(' ') {
            let (word, space) = word.split_at(word.trim_end().len());
            let ends = word.match_indices('-').map(|(at, _)| at + 1);
            let is_letter = |character: Option<char>| character.is_some_and(char::is_alphabetic);
            let is_inside = |at: &usize| {
                let before = word[..at - 1].chars().next_back();
                is_letter(before) && is_letter(word[*at..].chars().next())
            };
            let mut begin = 0;
            for end in ends
                .filter(|at| hyphens && is_inside(at))
                .chain([word.len()])
            {
                chunks.push(word[begin..end].to_owned());
                begin = end;
            }
            chunks.push(space.to_owned());
        }
        let mut lines = vec![String::new()];
        for chunk in chunks {
            let mut rest: Vec<char> = chunk.chars().collect();
            loop {
                let used = lines.last().map_or(0, |line| line.chars().count());
                if used == 0 && rest == [' '] && lines.len() > 1 {
                    break;
                }
                let room = columns.saturating_sub(used);
                let taken = match rest.len() {
                    length if length <= room => length,
                    length if length > columns => room,
                    _ => 0,
                };
                let last = lines.last_mut().expect("there is one");
                last.extend(rest.drain(..taken));
                if rest.is_empty() {
                    break;
                }
                lines.push(String::new());
            }
        }
        let trimmed = lines.iter().map(|line| line.trim_end().to_owned());
        trimmed.collect()
    })
}

/// Broken anywhere, as `fold` does; with `spaces`, behind the last space that fits, as `fold -s` does.
fn folded(message: &str, columns: usize, spaces: bool) -> String {
    broken(message, |line| {
        let mut rest: Vec<char> = line.chars().collect();
        let mut lines = Vec::new();
        while rest.len() > columns {
            let space = rest[..columns]
                .iter()
                .rposition(|character| *character == ' ');
            let end = space.filter(|_| spaces).map_or(columns, |space| space + 1);
            lines.push(rest.drain(..end).collect());
        }
        lines.push(rest.into_iter().collect());
        lines
    })
}

/// Each line with a margin.
fn behind(margin: &str, message: &str) -> String {
    format!("{margin}{}", message.replace('\n', &format!("\n{margin}")))
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

fn behind_warnings(message: &str) -> String {
    let warning = "coalesce.go:286: warning: cannot overwrite table with non table for app.ingress.annotations (map[timeout:30s])\n";
    format!("{}{message}", warning.repeat(1000))
}

fn behind_slog(message: &str) -> String {
    let warning = "time=2025-11-01T10:00:00.000Z level=WARN msg=\"skipped value for app.ingress: Not a table.\"\n";
    format!("{}{message}", warning.repeat(1000))
}

type Form = (&'static str, fn(&str) -> String);

const FORMS: [Form; 11] = [
    ("upper case", str::to_uppercase),
    ("ANSI codes", coloured),
    ("CRLF", |message| message.replace('\n', "\r\n")),
    ("non-breaking spaces", |message| {
        message.replace(' ', "\u{a0}")
    }),
    ("HTML escapes", escaped),
    ("typographic quotes", typographic),
    ("tabs and spaces", spaced),
    ("links", linked),
    ("escaped twice", escaped_twice),
    ("behind warnings of slog", behind_slog),
    ("behind warnings", behind_warnings),
];

type Wrap = (&'static str, fn(&str, usize) -> String);

const WRAPS: [Wrap; 9] = [
    ("wrapped", wrapped),
    ("filled", |message, columns| filled(message, columns, false)),
    ("filled, hyphens", |message, columns| {
        filled(message, columns, true)
    }),
    ("folded", |message, columns| folded(message, columns, false)),
    ("folded at spaces", |message, columns| {
        folded(message, columns, true)
    }),
    ("first line out", |message, columns| {
        wrapped(message, columns).replace('\n', "\n    ")
    }),
    ("indented", |message, columns| {
        behind("    ", &folded(message, columns, false))
    }),
    ("quoted", |message, columns| {
        behind("> ", &wrapped(message, columns))
    }),
    ("quoted, filled", |message, columns| {
        behind("> ", &filled(message, columns, true))
    }),
];

/// Of one change of form: the messages whose class changes, and the lasting failures that pass.
#[derive(Default)]
struct Changes {
    tried: usize,
    changed: Vec<String>,
    pass: Vec<String>,
}

impl Changes {
    fn compare(&mut self, classifier: &Classifier, line: &Line, formed: &str, form: &str) {
        let plain = class(classifier, line, head(&line.message));
        let formed = class(classifier, line, formed);
        self.tried += 1;
        if plain == formed {
            return;
        }
        let id = &line.id;
        self.changed.push(format!("{id} {plain:?}->{formed:?}"));
        if line.class == "permanent" && formed == Class::Transient {
            self.pass.push(format!("{form}: {id} is transient"));
        }
    }

    /// What is wrong with this form.
    fn faults(self, form: &str) -> Vec<String> {
        let (changed, tried) = (self.changed.len(), self.tried);
        let mut faults = self.pass;
        if changed * 100 > tried * 3 {
            let all = self.changed;
            faults.push(format!("{form}: {changed} of {tried} change: {all:?}"));
        }
        faults
    }
}

#[test]
fn the_form_of_a_message_makes_no_lasting_failure_pass_and_changes_few_classes() {
    let classifier = Classifier::built_in();
    let lines = all();
    let mut wrong = Vec::new();
    for (name, form) in FORMS {
        let mut changes = Changes::default();
        for line in &lines {
            changes.compare(&classifier, line, &form(head(&line.message)), name);
        }
        wrong.extend(changes.faults(name));
    }
    expect_none(&wrong);
}

/// Every width is tried on many messages, and every message at three widths of each kind.
#[test]
fn wrapped_at_any_width_no_lasting_failure_passes_and_few_classes_change() {
    const WIDTHS: usize = 41;
    let classifier = Classifier::built_in();
    let lines = all();
    let mut wrong = Vec::new();
    for (name, wrap) in WRAPS {
        let mut changes = Changes::default();
        for (index, line) in lines.iter().enumerate() {
            for nth in 0..3 {
                let columns = 40 + (index + nth * 14) % WIDTHS;
                let text = wrap(head(&line.message), columns);
                changes.compare(&classifier, line, &text, &format!("{name} at {columns}"));
            }
        }
        wrong.extend(changes.faults(name));
    }
    expect_none(&wrong);
}

/// Messages that each passed once at one of these widths.
#[test]
fn lasting_failures_that_passed_at_one_width_do_not_pass_again() {
    let classifier = Classifier::built_in();
    let lines = all();
    let mut changes = Changes::default();
    for id in [
        "b-sched-gpu-taint",
        "camunda-test-pod-failed",
        "chg048-postgres-failed",
        "d-tpl-required",
        "ecr-imds-deadline",
        "load-chart-status-403",
        "mclaude-hook-status-failed",
    ] {
        let line = lines.iter().find(|line| line.id == id).expect("a message");
        for ((name, wrap), columns) in WRAPS
            .iter()
            .flat_map(|wrap| (40..=80).map(move |columns| (wrap, columns)))
        {
            let text = wrap(head(&line.message), columns);
            changes.compare(&classifier, line, &text, &format!("{name} at {columns}"));
        }
    }
    expect_none(&changes.pass);
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
                        .verdict(FailureText {
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
