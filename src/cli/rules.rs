//! `helmreboot rules`: the table of rules in force.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::ArgMatches;
use serde::Serialize;

use super::{
    classify::classifier,
    output::{self, Format},
};
use crate::{config::Flags, domain::classify::Entry, telemetry::coloured};

/// One line for machines.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    family: &'a str,
    class: &'a str,
    rank: &'a str,
    patterns: &'a [&'a str],
    reasons: &'a [&'a str],
    action: Option<&'a str>,
    /// In percent of the policy's limit.
    budget: u16,
    /// Whether a rollback for such a cause is followed by a restart.
    infrastructure: bool,
    description: &'a str,
    source: &'a str,
}

/// Lists the rules in force, in the order in which they are asked.
///
/// # Errors
/// [`super::serve::Misconfigured`] for a configuration with faults.
pub fn rules(matches: &ArgMatches, flags: &Flags) -> anyhow::Result<ExitCode> {
    let classifier = classifier(flags)?;
    let format = Format::of(matches);
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = if format.is_for_machines() {
        lines(&mut out, format, classifier.entries())
    } else {
        table(&mut out, classifier.entries(), coloured(&io::stdout()))
    };
    match printed.and_then(|()| out.flush()) {
        // The reader has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.context("cannot write to standard output")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(out: &mut impl Write, format: Format, entries: &[Entry]) -> io::Result<()> {
    for Entry { family, rule } in entries {
        let line = Line {
            name: rule.name,
            family,
            class: rule.class.as_str(),
            rank: rule.rank.as_str(),
            patterns: rule.patterns,
            reasons: rule.reasons,
            action: rule.action.map(|action| action.as_str()),
            budget: rule.budget,
            infrastructure: rule.infrastructure,
            description: rule.description,
            source: rule.source,
        };
        output::record(out, format, &line)?;
    }
    Ok(())
}

fn table(out: &mut impl Write, entries: &[Entry], colours: bool) -> io::Result<()> {
    let (bold, plain) = if colours {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    let width = |of: fn(&Entry) -> &str| {
        entries
            .iter()
            .map(|entry| of(entry).len())
            .max()
            .unwrap_or(0)
            .max(6)
    };
    let (name, family) = (width(|entry| entry.rule.name), width(|entry| entry.family));
    writeln!(
        out,
        "{bold}{:<name$}  CLASS      {:<family$}  RANK       BUDGET  WHY{plain}",
        "RULE", "FAMILY"
    )?;
    for Entry { family: of, rule } in entries {
        let budget = format!("{}%", rule.budget);
        writeln!(
            out,
            "{:<name$}  {:<9}  {of:<family$}  {:<9}  {budget:>6}  {}",
            rule.name,
            rule.class.as_str(),
            rule.rank.as_str(),
            rule.description
        )?;
    }
    Ok(())
}
