//! `status --watch`: prints the releases that change.

use std::time::Duration;

use futures::future::select_all;
use jiff::Timestamp;
use tokio::{sync::mpsc, time::sleep};

use super::{Selection, print::Printer, row};
use crate::{
    cli::access::Target,
    kubernetes::{Change, Item, Watch},
};

/// The time between two watches of a cluster.
const PAUSE: Duration = Duration::from_secs(2);

/// Prints changes until the output is closed.
pub(super) async fn follow(
    targets: impl Iterator<Item = (Target, String)>,
    selection: &Selection,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let (sender, mut changes) = mpsc::channel(64);
    let (targets, versions): (Vec<_>, Vec<_>) = targets.unzip();
    let follows = targets.iter().zip(versions).enumerate();
    let follows = follows.map(|(index, (target, version))| {
        Box::pin(follow_one(index, target, version, sender.clone()))
    });
    let print = async {
        let mut shown = std::collections::BTreeSet::new();
        while let Some((index, item)) = changes.recv().await {
            let target: &Target = &targets[index];
            let all = Selection {
                names: selection.names.clone(),
                all: true,
            };
            match row(target, &all, item, Timestamp::now()) {
                Err(problem) => eprintln!("✗ {problem}"),
                Ok(None) => {}
                Ok(Some(row)) => {
                    let key = (row.cluster.clone(), row.namespace.clone(), row.name.clone());
                    // That a release is ready again is worth a line; that another one is still ready is not.
                    let known = if row.is_fine() {
                        shown.remove(&key)
                    } else {
                        shown.insert(key);
                        true
                    };
                    if (known || selection.all || !selection.names.is_empty())
                        && !printer.change(&row)?
                    {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    };
    tokio::select! {
        printed = print => printed,
        _ = select_all(follows) => Ok(()),
    }
}

async fn follow_one(
    index: usize,
    target: &Target,
    mut version: String,
    changes: mpsc::Sender<(usize, Item)>,
) {
    let namespace = target.namespace.as_deref();
    loop {
        let watch = target.cluster.watch(namespace, &version).await;
        let mut running = match watch {
            Ok(Watch::Running(running)) => running,
            Ok(Watch::Expired) => {
                // Only the version is needed: what changed in the meantime is in the next list of a person.
                let mut pages = target.cluster.list(namespace);
                while matches!(pages.next().await, Ok(Some(_))) {}
                version = pages.version();
                continue;
            }
            Err(error) => {
                eprintln!(
                    "✗ {:#}",
                    target.problem("cannot watch the HelmReleases", error)
                );
                sleep(PAUSE).await;
                continue;
            }
        };
        loop {
            match running.next().await {
                Ok(Some(Change::Changed(item))) => {
                    if let Ok(release) = &item {
                        version.clone_from(&release.metadata.resource_version);
                    }
                    if changes.send((index, item)).await.is_err() {
                        return;
                    }
                }
                Ok(Some(Change::Reached(reached))) => version = reached,
                Ok(Some(Change::Deleted(_))) => {}
                Ok(Some(Change::Expired) | None) | Err(_) => break,
            }
        }
        sleep(PAUSE).await;
    }
}
