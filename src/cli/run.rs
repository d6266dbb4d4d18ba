//! `helmreboot run --once`: evaluates every failing release once, restarts those that are due, and ends. For a CronJob, a
//! pipeline, or a person.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    access::{self, Target},
    output::{self, Format, Table},
    serve::{Misconfigured, receiver},
    usage,
};
use crate::{
    app::{App, ClusterHandle, Options},
    clock::Clock,
    config::{Flags, SweepMode},
    controller::{Intervals, Reconciler, watcher::Watcher},
    domain::{classify::Verdict, journal::Entry, signature::Keys},
    notify::{Delivery, Destinations},
};

/// The longest time for all of it.
const LONGEST: Duration = Duration::from_mins(5);

/// The time between two checks of whether it is done.
const TICK: Duration = Duration::from_millis(50);

/// How long the events may take at the end.
const DELIVERY: Duration = Duration::from_secs(60);

/// The subcommand.
pub(super) fn command() -> Command {
    Command::new("run")
        .about("Evaluate the failing HelmReleases of a namespace (-A: all) once, restart those that are due, and end")
        .after_help("With --mode observe, nothing is written. The exit code is 1 if a cluster or a HelmRelease could not be\nread or written. To run all the time, use helmreboot serve.")
        .arg(
            Arg::new("once")
                .long("once")
                .help("Required; to run all the time, use helmreboot serve")
                .action(ArgAction::SetTrue)
                .required(true),
        )
        .arg(output::flag(&["table", "json", "yaml"], "table, json or yaml"))
        .args(access::arguments())
}

/// The result of one release. Its fields are those of `-o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    cluster: String,
    namespace: String,
    name: String,
    /// `restart`, `observe`, `wait`, `leave` or `error`.
    #[serde(rename = "done")]
    what: &'static str,
    reason: &'static str,
    rule: &'static str,
    attempts: u32,
    /// The same in words; with an error, what to do.
    text: String,
}

/// Runs once.
///
/// # Errors
/// [`super::serve::Misconfigured`] for bad usage; a cluster that cannot be listed; it takes too long.
pub async fn run(matches: &ArgMatches, flags: &Flags) -> anyhow::Result<ExitCode> {
    let targets = access::targets(matches, flags).await?;
    let mut unreadable = false;
    for target in &targets {
        check_scope(target)?;
        let problem = |error| target.problem("cannot list the HelmReleases", error);
        let mut pages = target.cluster.list(target.namespace.as_deref());
        while let Some(page) = pages.next().await.map_err(problem)? {
            for bad in page.into_iter().filter_map(Result::err) {
                unreadable = true;
                eprintln!("✗ {bad}");
            }
        }
    }
    let mut app = app(&targets);
    if let Some(file) = &targets[0].config.pause_file
        && !matches!(file.try_exists(), Ok(false))
    {
        eprintln!(
            "⚠️ paused, nothing is written: {} exists, or cannot be checked",
            file.display()
        );
        app.pause().set(true);
    }
    let (journal, registry) = (app.journal(), app.registry());
    let mut deliveries: JoinSet<Option<String>> = app
        .take_deliveries()
        .into_iter()
        .map(Delivery::run)
        .collect();
    let mut reconcilers: JoinSet<()> = app
        .take_reconcilers()
        .into_iter()
        .map(Reconciler::run)
        .collect();
    let mut watchers: JoinSet<()> = app.take_watchers().into_iter().map(Watcher::run).collect();
    let begun = Instant::now();
    let mut late = false;
    let (mut next, mut entries) = (0, Vec::new());
    let mut read = || {
        let (some, after) = journal.since(next);
        next = after;
        entries.extend(some);
    };
    loop {
        read();
        let settled = registry.entries().all(|entry| {
            entry
                .statuses
                .iter()
                .all(|status| status.first_list_ended())
                && entry.queue.is_settled()
        });
        if settled {
            break;
        }
        if begun.elapsed() > LONGEST {
            late = true;
            break;
        }
        sleep(TICK).await;
    }
    watchers.abort_all();
    registry.close(Duration::ZERO);
    reconcilers.shutdown().await;
    read();
    drop(app);
    let delivered = async {
        while let Some(delivered) = deliveries.join_next().await {
            if let Ok(Some(problem)) = delivered {
                eprintln!("⚠️ {problem}; the restarts were written");
            }
        }
    };
    if timeout(DELIVERY, delivered).await.is_err() {
        eprintln!(
            "⚠️ not all Kubernetes Events could be created within 60 s; the restarts were written"
        );
    }
    let done = last_of_each(&entries);
    print(&done, Format::of(matches))?;
    if late {
        bail!(
            "not every HelmRelease was evaluated within 5 min; what is printed above was done; check that the API servers answer, and run it again"
        );
    }
    let failed = unreadable || done.iter().any(|done| done.what == "error");
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn app(targets: &[Target]) -> App {
    let config = &targets[0].config;
    let options = Options {
        lease: None,
        pause_file: None,
        sweep: SweepMode::Every(LONGEST * 2),
        intervals: Intervals {
            first: Duration::ZERO,
            ..Intervals::default()
        },
        ..Options::of(config)
    };
    // The targets of one cluster follow each other, one for each namespace.
    let clusters = targets.chunk_by(|a, b| a.cluster.name == b.cluster.name);
    let handle = |targets: &[Target]| {
        let mut entry = targets[0].entry.clone();
        let namespaces = targets
            .iter()
            .filter_map(|target| target.namespace.as_deref());
        entry.namespaces = namespaces.map(Into::into).collect();
        let flux = entry.events_addr.clone().and_then(receiver);
        ClusterHandle {
            config: entry,
            keys: Keys::default(),
            connection: targets[0].connection.clone(),
            destinations: Destinations {
                kubernetes: config.kubernetes_events,
                flux,
            },
        }
    };
    App::new(options, clusters.map(handle).collect(), Clock::system())
}

/// A cluster of the file is only acted on in the namespaces that the file names.
fn check_scope(target: &Target) -> Result<(), Misconfigured> {
    let allowed = &target.entry.namespaces;
    let namespace = target.namespace.as_deref().unwrap_or_default();
    if allowed.is_empty() || allowed.iter().any(|allowed| **allowed == *namespace) {
        return Ok(());
    }
    let problem = format!(
        "{namespace} is not in sweepNamespaces of cluster {}; use one of these",
        target.entry.name
    );
    Err(usage("--namespace", problem))
}

/// The last thing that happened to each release, by name.
fn last_of_each(entries: &[Entry]) -> Vec<Done> {
    let mut last = std::collections::BTreeMap::new();
    for entry in entries {
        let Some(release) = entry.about.release() else {
            continue;
        };
        // A restart is followed by a wait for Flux.
        let restarted = |before: &&Entry| before.what == "restart" && entry.what == "wait";
        if last.get(release).is_none_or(|before| !restarted(before)) {
            last.insert(release, entry);
        }
    }
    last.into_iter()
        .map(|(release, entry)| Done {
            cluster: release.cluster.to_string(),
            namespace: release.namespace.to_string(),
            name: release.name.to_string(),
            what: entry.what,
            reason: entry.reason,
            rule: entry.rule,
            attempts: entry.attempt,
            text: entry.line.clone(),
        })
        .collect()
}

fn print(done: &[Done], format: Format) -> anyhow::Result<()> {
    if format.is_for_machines() {
        output::print(&output::document(format, &done)?)?;
        return Ok(());
    }
    let count = |what: &str| done.iter().filter(|done| done.what == what).count();
    if !done.is_empty() {
        let header = ["CLUSTER", "NAMESPACE", "NAME", "DONE", "RULE"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        rows.extend(done.iter().map(Done::cells));
        let table = Table::of(&rows);
        let lines: Vec<_> = rows.iter().map(|row| table.line(row)).collect();
        output::print(&lines.join("\n"))?;
    }
    for done in done.iter().filter(|done| done.what == "error") {
        eprintln!("✗ {}", done.text);
    }
    eprintln!(
        "► {} evaluated: {} restarted, {} would be restarted, {} not restarted, {} wait, {} failed",
        done.len(),
        count("restart"),
        count("observe"),
        count("leave"),
        count("wait"),
        count("error"),
    );
    Ok(())
}

impl Done {
    fn cells(&self) -> Vec<String> {
        let what = match self.what {
            "restart" => format!("restarted ({}, attempt {})", self.reason, self.attempts),
            "observe" => format!("would restart ({})", self.reason),
            "leave" => format!("not restarted ({})", self.reason),
            "wait" => format!("waits ({})", self.reason),
            "error" => format!("failed ({})", self.reason),
            other => format!("{other} ({})", self.reason),
        };
        vec![
            self.cluster.clone(),
            self.namespace.clone(),
            self.name.clone(),
            what,
            if self.rule == Verdict::NO_RULE {
                "-"
            } else {
                self.rule
            }
            .to_owned(),
        ]
    }
}
