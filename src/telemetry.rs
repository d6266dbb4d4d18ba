//! Logs, and the signals that end the process.

use std::{fmt::Result as Formatted, io::IsTerminal};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter,
    filter::Directive,
    fmt::{self, FmtContext, FormatEvent, FormatFields, format::Writer, writer::BoxMakeWriter},
    registry::LookupSpan,
};

use crate::config::{LogFormat, LogOutput};

/// Logs: our own lines from `level` on, libraries' only from warnings on, because what
/// they say at lower levels may hold what we would never print. The Kubernetes client is silent: each
/// failed call is an error to it, and the reconciler logs what follows, once.
pub fn init(level: LevelFilter, format: LogFormat, output: LogOutput) {
    let ours: Directive = format!("helmreboot={level}")
        .parse()
        .expect("a crate and a level make a directive");
    let filter = EnvFilter::default()
        .add_directive(LevelFilter::WARN.into())
        .add_directive(ours)
        .add_directive(silent("kube_client"))
        .add_directive(silent("kube_lease_manager"))
        .add_directive(silent("kube_runtime"));
    let (writer, colours) = match output {
        LogOutput::Stderr => (
            BoxMakeWriter::new(std::io::stderr),
            coloured(&std::io::stderr()),
        ),
        LogOutput::Stdout => (
            BoxMakeWriter::new(std::io::stdout),
            coloured(&std::io::stdout()),
        ),
    };
    let lines = fmt::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_target(false);
    match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .map_event_format(WithSeverity)
            .init(),
        LogFormat::Text => lines.with_ansi(colours).init(),
    }
}

/// JSON lines with `severity` and `level`: Google Cloud Logging and others take the level from there.
struct WithSeverity<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithSeverity<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> Formatted {
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let severity = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        match line.strip_prefix('{') {
            Some(fields) => write!(writer, "{{\"severity\":\"{severity}\",{fields}"),
            None => writer.write_str(&line),
        }
    }
}

/// SIGTERM and SIGINT, as messages by their name: the first asks to stop, the second to stop at once.
///
/// # Errors
/// The operating system refuses handlers.
pub fn signals() -> std::io::Result<mpsc::Receiver<&'static str>> {
    let (sender, receiver) = mpsc::channel(4);
    for (kind, name) in [
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::interrupt(), "SIGINT"),
    ] {
        let mut signals = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() && sender.send(name).await.is_ok() {}
        });
    }
    Ok(receiver)
}

/// Whether colours may be written there: only on a terminal, and not where `NO_COLOR` is set.
pub fn coloured(out: &impl IsTerminal) -> bool {
    out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn silent(library: &str) -> Directive {
    let directive = format!("{library}=off").parse();
    directive.expect("a crate and a level make a directive")
}
