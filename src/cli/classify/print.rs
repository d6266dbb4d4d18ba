//! Verdicts, for people and for machines.

use std::{
    fmt,
    io::{self, Write},
};

use serde::Serialize;

use crate::cli::output::{self, Format};
use crate::domain::{
    classify::{Class, Classifier, Explained, Fired, Rule, Verdict},
    failure_text::FailureText,
    mask::mask,
    target::Target,
};

/// Where verdicts go.
pub(super) struct Printer<'a, W> {
    pub(super) classifier: &'a Classifier,
    pub(super) format: Format,
    pub(super) colours: bool,
    pub(super) out: W,
}

/// One line for machines.
#[derive(Serialize)]
struct Line<'a> {
    class: &'static str,
    rule: &'static str,
    description: &'a str,
    target: Option<Shown<'a>>,
}

/// The most of a message that is shown around what decided, in characters on each side.
const AROUND: usize = 60;

impl<W: Write> Printer<'_, W> {
    /// A single message, with every rule that matches.
    pub(super) fn alone(&mut self, said: FailureText<'_>) -> io::Result<()> {
        if self.format.is_for_machines() {
            return self.row(said);
        }
        let verdict = self.classifier.verdict(said);
        let rule = self.rule(verdict);
        let (bold, plain) = if self.colours {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        let head = said.message;
        let Explained { text, fired } = self.classifier.fired(said);
        let out = &mut self.out;
        writeln!(out, "class    {bold}{}{plain}", verdict.class.as_str())?;
        writeln!(out, "rule     {}: {}", rule.name, rule.description)?;
        writeln!(out, "source   {}", rule.source)?;
        let target = Target::of(head).map_or("none".into(), |target| Shown(target).to_string());
        writeln!(out, "target   {target}")?;
        let decided = fired.iter().find(|fired| fired.rule.name == verdict.rule);
        if let Some(decided) = decided {
            writeln!(out, "because  {}", quote(&text, decided, bold, plain))?;
        }
        let also = fired.iter().filter(|fired| fired.rule.name != verdict.rule);
        for (index, fired) in also.enumerate() {
            let name = if index == 0 { "also" } else { "" };
            let hidden = if fired.excepted {
                ", inside the exception"
            } else {
                ""
            };
            let rule = fired.rule;
            let matched = quote(&text, fired, "", "");
            writeln!(
                out,
                "{name:<7}  {} ({}{hidden}): {matched}",
                rule.name,
                rule.class.as_str()
            )?;
        }
        if verdict.class == Class::Unknown && !fired.is_empty() {
            writeln!(
                out,
                "but      the message lists several failures, and no rule knows all of them"
            )?;
        }
        Ok(())
    }

    /// A message among many: one line.
    pub(super) fn row(&mut self, said: FailureText<'_>) -> io::Result<()> {
        let verdict = self.classifier.verdict(said);
        let rule = self.rule(verdict);
        let head = said.message;
        let target = Target::of(head).map(Shown);
        if self.format.is_for_machines() {
            let line = Line {
                class: verdict.class.as_str(),
                rule: verdict.rule,
                description: rule.description,
                target,
            };
            return output::record(&mut self.out, self.format, &line);
        }
        let target = target.map_or("-".into(), |target| target.to_string());
        let masked = mask(head, usize::MAX);
        let start = masked.char_indices().rev().nth(2 * AROUND - 1);
        let end = &masked[start.map_or(0, |(at, _)| at)..];
        writeln!(
            self.out,
            "{:<9}  {:<23}  {target:<40}  {end}",
            verdict.class.as_str(),
            verdict.rule
        )
    }

    /// A line that is no message, in its place.
    pub(super) fn error(&mut self, problem: &str) -> io::Result<()> {
        if self.format.is_for_machines() {
            serde_json::to_writer(&mut self.out, &serde_json::json!({ "error": problem }))?;
            writeln!(self.out)
        } else {
            writeln!(self.out, "{:<9}  {problem}", "error")
        }
    }

    fn rule(&self, verdict: Verdict) -> &'static Rule {
        self.classifier.find(verdict.rule).unwrap_or(&Rule::NONE)
    }
}

/// What a rule matched, with some text around it.
fn quote(head: &str, fired: &Fired, bold: &str, plain: &str) -> String {
    if fired.rule.patterns.is_empty() {
        return "the reason of the condition".into();
    }
    let start = head.floor_char_boundary(fired.span.start);
    let end = head.ceil_char_boundary(fired.span.end);
    let (before, matched, after) = (&head[..start], &head[start..end], &head[end..]);
    // Masked as a whole: a secret that is cut off is not known by its name any more.
    let whole = |text: &str| mask(text, usize::MAX);
    let (before, after) = (whole(before), whole(after));
    let start = before.char_indices().rev().nth(AROUND - 1);
    let from = start.map_or(0, |(at, _)| at);
    let to = after.char_indices().nth(AROUND);
    let (to, more) = to.map_or((after.len(), ""), |(at, _)| (at, "…"));
    let less = if from > 0 { "…" } else { "" };
    let matched: String = whole(matched).chars().take(4 * AROUND).collect();
    format!(
        "{less}{}{bold}»{matched}«{plain}{}{more}",
        &before[from..],
        &after[..to]
    )
}

/// A target for people's eyes.
struct Shown<'a>(Target<'a>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(&self.0.to_string(), 100))
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
