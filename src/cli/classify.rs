//! `helmreboot classify`: what messages are worth, and why. The same verdict as the service's.

use std::{
    borrow::Cow,
    io::{self, BufRead, BufWriter, Read, Write},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::ArgMatches;
use serde::Deserialize;

use super::{output::Format, serve::Misconfigured, variable};
use crate::{
    config::{Config, Flags},
    domain::{classify::Classifier, failure_text::FailureText, mask::mask},
    telemetry::coloured,
};

mod print;

use print::Printer;

/// What some programs write before UTF-8 text.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// The most of a line that is read, in bytes; no Kubernetes object is larger.
const LINE_LIMIT: u64 = 2 << 20;

/// A line for machines. Other fields are ignored.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
}

/// Classifies one message, or each line of standard input.
///
/// # Errors
/// [`Misconfigured`] for bad usage; input that cannot be read.
pub fn classify(matches: &ArgMatches, flags: &Flags) -> anyhow::Result<ExitCode> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let classifier = classifier(flags)?;
    let reason = text("reason").unwrap_or_default();
    let mut printer = Printer {
        classifier: &classifier,
        format: Format::of(matches),
        colours: coloured(&io::stdout()),
        out: BufWriter::new(io::stdout().lock()),
    };
    let printed = match text("message") {
        Some(message) => printer
            .alone(FailureText::by_event(reason, message))
            .map(|()| 0),
        None => input(io::stdin().lock(), reason, &mut printer),
    };
    match printed.and_then(|bad| printer.out.flush().map(|()| bad)) {
        Ok(0) => Ok(ExitCode::SUCCESS),
        Ok(bad) => bail!(
            "{bad} line{} could not be read; the output says which, each in its place",
            if bad == 1 { "" } else { "s" }
        ),
        // The reader has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).context("cannot read or write on"),
    }
}

/// The rules in force with this configuration.
pub(super) fn classifier(flags: &Flags) -> Result<Arc<Classifier>, Misconfigured> {
    let (config, faults) = Config::read_without_keys(flags, &variable);
    if faults.is_empty() {
        Ok(config.classifier)
    } else {
        Err(Misconfigured(faults))
    }
}

/// Classifies the input, and returns how many lines could not be read. Lines of JSON are taken one by
/// one, so that memory does not grow with their number.
fn input(
    mut input: impl BufRead,
    reason: &str,
    printer: &mut Printer<'_, impl Write>,
) -> io::Result<usize> {
    // Machines write lines; people may also paste a message as it is.
    let start = input.fill_buf()?;
    let start = start.strip_prefix(BOM).unwrap_or(start).trim_ascii_start();
    if !printer.format.is_for_machines() && !start.starts_with(b"{") && !start.starts_with(b"[") {
        let mut message = Vec::new();
        (&mut input).take(LINE_LIMIT).read_to_end(&mut message)?;
        let message = String::from_utf8_lossy(&message);
        printer.alone(FailureText::by_event(reason, &message))?;
        return Ok(0);
    }
    let (mut line, mut number, mut bad) = (Vec::new(), 0, 0);
    loop {
        line.clear();
        if (&mut input).take(LINE_LIMIT).read_until(b'\n', &mut line)? == 0 {
            return Ok(bad);
        }
        number += 1;
        let whole = line.ends_with(b"\n") || input.fill_buf()?.is_empty();
        if !whole {
            input.skip_until(b'\n')?;
        }
        if whole && line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let text = line.strip_prefix(BOM).unwrap_or(&line).trim_ascii();
        let read = if !text.starts_with(b"{") && whole {
            Err("it does not begin with {".into())
        } else if whole {
            serde_json::from_slice(text).map_err(|error| error.to_string())
        } else {
            Err(format!("it is longer than {LINE_LIMIT} bytes"))
        };
        match read {
            Ok(Line {
                message,
                reason: own,
            }) => {
                let own = own.as_deref().unwrap_or(reason);
                printer.row(FailureText::by_event(own, &message))?;
            }
            Err(problem) => {
                bad += 1;
                let problem = mask(&problem, 200);
                printer.error(&format!(
                    "line {number} is no object with a message: {problem}"
                ))?;
            }
        }
    }
}
