//! `helmreboot status`: what is stuck in a cluster, why, and what to do about it. It needs no installation, and only the
//! right to list HelmReleases.

use std::{collections::BTreeSet, process::ExitCode};

use clap::{Arg, ArgAction, ArgMatches, Command};
use jiff::Timestamp;

use super::{
    access::{self, Target},
    output::{self, Format},
};
use crate::{config::Flags, kubernetes::Item};

mod print;
mod row;
mod watch;

use print::Printer;
use row::Row;

/// The subcommand.
pub(super) fn command() -> Command {
    Command::new("status")
        .about("List the HelmReleases that are not ready, with the cause and the next step; needs no installation")
        .after_help(access::EXIT_CODES)
        .arg(
            Arg::new("release")
                .value_name("[NAMESPACE/]NAME")
                .help("Only these HelmReleases, ready or not")
                .num_args(0..),
        )
        .arg(
            Arg::new("all")
                .long("all")
                .help("Also those that are ready or suspended")
                .action(ArgAction::SetTrue),
        )
        .arg(
            Arg::new("watch")
                .short('w')
                .long("watch")
                .help("Print changes until Ctrl-C")
                .action(ArgAction::SetTrue),
        )
        .arg(output::flag(&["table", "wide", "json", "yaml"], "table, wide, json or yaml"))
        .args(access::arguments())
}

/// What is listed.
struct Selection {
    /// None for all namespaces of the target.
    names: Vec<(Option<String>, String)>,
    all: bool,
}

/// The rows of one cluster.
#[derive(Default)]
struct Listed {
    rows: Vec<Row>,
    /// HelmReleases that were read, or selected by name.
    total: usize,
    /// What cannot be read, or does not exist.
    unreadable: Vec<String>,
    /// From where a watch continues.
    version: String,
}

/// Lists what is not ready.
///
/// # Errors
/// [`super::serve::Misconfigured`] for bad usage; a cluster that cannot be listed.
pub async fn status(matches: &ArgMatches, flags: &Flags) -> anyhow::Result<ExitCode> {
    let mut targets = access::targets(matches, flags).await?;
    let selection = Selection {
        names: access::release_names(matches)?,
        all: matches.get_flag("all"),
    };
    let watches = matches.get_flag("watch");
    // A watch is of one namespace, or of all.
    if watches
        && selection
            .names
            .iter()
            .any(|(namespace, _)| namespace.is_some())
    {
        targets
            .iter_mut()
            .for_each(|target| target.namespace = None);
    }
    let clusters: BTreeSet<_> = targets.iter().map(|target| &target.cluster.name).collect();
    let namespaces: BTreeSet<_> = targets.iter().map(|target| &target.namespace).collect();
    let names = selection
        .names
        .iter()
        .any(|(namespace, _)| namespace.is_some());
    let many = namespaces.len() > 1 || namespaces.contains(&None) || names;
    let mut printer = Printer::new(Format::of(matches), clusters.len() > 1, many);
    let (mut failed, mut problems) = (false, false);
    let mut found = Vec::new();
    for target in &targets {
        let mut listed = Listed::default();
        let all = selection.names.is_empty() || matches.get_flag("all-namespaces") || watches;
        let read = if all {
            list(target, &selection, &mut listed).await
        } else {
            get(target, &selection, &mut listed).await
        };
        if let Err(error) = read {
            eprintln!("✗ {error:#}");
            failed = true;
        }
        for problem in &listed.unreadable {
            eprintln!("✗ {problem}");
            problems = true;
        }
        found.push(listed);
    }
    if !failed || found.iter().any(|listed| listed.total > 0) {
        printer.rows(&found)?;
    }
    if watches && !failed {
        watch::follow(&targets, found, &selection, &mut printer).await?;
    }
    Ok(if failed || problems {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Gets the releases that were named.
async fn get(target: &Target, selection: &Selection, listed: &mut Listed) -> anyhow::Result<()> {
    for (namespace, name) in &selection.names {
        let namespace = namespace.as_ref().or(target.namespace.as_ref());
        let namespace = namespace.map_or("default", String::as_str);
        match target.observe(namespace, name).await {
            Ok((release, now)) => {
                listed.total += 1;
                listed.rows.push(Row::of(target, &release, now));
            }
            Err(error) => listed.unreadable.push(format!("{error:#}")),
        }
    }
    Ok(())
}

/// Lists the releases. After an error, those that were read before it stay.
async fn list(target: &Target, selection: &Selection, listed: &mut Listed) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let mut pages = target.cluster.list(target.namespace.as_deref());
    let problem = |error| target.problem("cannot list the HelmReleases", error);
    while let Some(page) = pages.next().await.map_err(problem)? {
        for item in page {
            listed.total += 1;
            match row(target, selection, item, now) {
                Ok(row) => listed.rows.extend(row),
                Err(problem) => listed.unreadable.push(problem),
            }
        }
    }
    listed.version = pages.version();
    for (namespace, name) in &selection.names {
        let found = |row: &Row| {
            row.summary.name == *name
                && namespace
                    .as_ref()
                    .is_none_or(|it| *it == row.summary.namespace)
        };
        if !listed.rows.iter().any(found) {
            let namespace = namespace.as_ref().or(target.namespace.as_ref());
            let name = namespace.map_or(name.clone(), |namespace| format!("{namespace}/{name}"));
            listed.unreadable.push(target.missing(&name));
        }
    }
    if !selection.names.is_empty() {
        listed.total = listed.rows.len();
    }
    listed.rows.sort_by(|a, b| {
        (&a.summary.namespace, &a.summary.name).cmp(&(&b.summary.namespace, &b.summary.name))
    });
    Ok(())
}

/// The row of a release, if it is listed.
fn row(
    target: &Target,
    selection: &Selection,
    item: Item,
    now: Timestamp,
) -> Result<Option<Row>, String> {
    let release = item.map_err(|unreadable| unreadable.to_string())?;
    let metadata = &release.metadata;
    let named = |(namespace, name): &(Option<String>, String)| {
        *name == metadata.name
            && namespace
                .as_ref()
                .is_none_or(|it| *it == metadata.namespace)
    };
    if !selection.names.is_empty() && !selection.names.iter().any(named) {
        return Ok(None);
    }
    let row = Row::of(target, &release, now);
    let shown = selection.all || !selection.names.is_empty() || !row.is_fine();
    Ok(shown.then_some(row))
}
