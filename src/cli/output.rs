//! Output formats, and tables as kubectl prints them.

use std::io::{self, Write};

use anyhow::Context;
use clap::{Arg, ArgMatches};
use serde::Serialize;

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For people, with more columns.
    Wide,
    /// For machines.
    Json,
    /// For machines.
    Yaml,
}

/// The flag `-o`. `formats` are its values, and the first of them the default.
pub(super) fn flag(formats: &'static [&'static str], help: &'static str) -> Arg {
    Arg::new("output")
        .short('o')
        .long("output")
        .value_name("FORMAT")
        .help(help)
        .default_value(formats[0])
        .value_parser(formats.to_vec())
}

impl Format {
    /// Whether it is for machines.
    pub(super) fn is_for_machines(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }

    /// The format that was asked for.
    pub(super) fn of(matches: &ArgMatches) -> Self {
        match matches.get_one::<String>("output").map(String::as_str) {
            Some("json") => Self::Json,
            Some("yaml") => Self::Yaml,
            Some("wide") => Self::Wide,
            _ => Self::Text,
        }
    }
}

/// A value as one document for machines.
///
/// # Errors
/// The value has no representation in the format.
pub(super) fn document(format: Format, value: &impl Serialize) -> anyhow::Result<String> {
    if format == Format::Yaml {
        let text = serde_saphyr::to_string(value).context("cannot write YAML")?;
        return Ok(text.trim_end().to_owned());
    }
    serde_json::to_string_pretty(value).context("cannot write JSON")
}

/// Writes one of several values: one JSON object in one line, or one YAML document.
///
/// # Errors
/// `out` cannot be written.
pub(super) fn record(
    out: &mut impl Write,
    format: Format,
    value: &impl Serialize,
) -> io::Result<()> {
    if format == Format::Yaml {
        let text = serde_saphyr::to_string(value).map_err(io::Error::other)?;
        return writeln!(out, "---\n{}", text.trim_end());
    }
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// Prints lines. False when the output is closed.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn print(text: &str) -> anyhow::Result<bool> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written
            .map(|()| true)
            .context("cannot write to standard output"),
    }
}

/// The widths of the columns of a table.
#[derive(Debug)]
pub(super) struct Table(Vec<usize>);

impl Table {
    /// Columns as wide as their widest cell.
    pub(super) fn of(rows: &[Vec<String>]) -> Self {
        let mut widths = Vec::new();
        for row in rows {
            widths.resize(row.len().max(widths.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        Self(widths)
    }

    /// A row, with three spaces between its cells.
    pub(super) fn line(&self, row: &[String]) -> String {
        let cells = row.iter().zip(&self.0);
        let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    }
}
