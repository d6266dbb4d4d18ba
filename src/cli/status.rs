//! `helmreboot status`: what is stuck in a cluster, why, and what to do about it. It needs no installation, and only the
//! right to list HelmReleases.

use std::process::ExitCode;

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
    /// HelmReleases that were read.
    total: usize,
    /// What cannot be read, and why.
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
    let names = matches.get_many::<String>("release").into_iter().flatten();
    let names: Result<Vec<_>, _> = names.map(|name| access::release_name(name)).collect();
    let selection = Selection {
        names: names?,
        all: matches.get_flag("all"),
    };
    // A namespace that is part of a name stands for itself.
    if selection
        .names
        .iter()
        .any(|(namespace, _)| namespace.is_some())
    {
        targets
            .iter_mut()
            .for_each(|target| target.namespace = None);
    }
    let format = Format::of(matches);
    let mut printer = Printer::new(
        format,
        targets.len() > 1,
        targets.iter().any(|it| it.namespace.is_none()),
    );
    let mut failed = false;
    let mut found = Vec::new();
    for target in &targets {
        match list(target, &selection).await {
            Ok(listed) => {
                listed.unreadable.iter().for_each(|problem| {
                    eprintln!("✗ {problem}");
                    failed = true;
                });
                found.push(listed);
            }
            Err(error) => {
                eprintln!("✗ {error:#}");
                failed = true;
                found.push(Listed::default());
            }
        }
    }
    printer.rows(&found)?;
    if matches.get_flag("watch") && !failed {
        let versions = found.into_iter().map(|listed| listed.version);
        watch::follow(targets.into_iter().zip(versions), &selection, &mut printer).await?;
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn list(target: &Target, selection: &Selection) -> anyhow::Result<Listed> {
    let mut listed = Listed::default();
    let now = Timestamp::now();
    let mut pages = target.cluster.list(target.namespace.as_deref());
    while let Some(page) = pages
        .next()
        .await
        .map_err(|error| target.problem("cannot list the HelmReleases", error))?
    {
        for item in page {
            listed.total += 1;
            match row(target, selection, item, now) {
                Ok(row) => listed.rows.extend(row),
                Err(problem) => listed.unreadable.push(problem),
            }
        }
    }
    listed.version = pages.version();
    listed
        .rows
        .sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(listed)
}

/// The row of a release, if it is listed.
fn row(
    target: &Target,
    selection: &Selection,
    item: Item,
    now: Timestamp,
) -> Result<Option<Row>, String> {
    let release = item.map_err(|unreadable| {
        format!(
            "cannot read the HelmRelease {}/{}: {}",
            unreadable.namespace, unreadable.name, unreadable.problem
        )
    })?;
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
    let row = Row::of(&target.cluster.name, &target.config, &release, now);
    let shown = selection.all || !selection.names.is_empty() || !row.is_fine();
    Ok(shown.then_some(row))
}
