//! `status --watch`: prints the releases that change.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use jiff::Timestamp;
use tokio::{sync::mpsc, time::sleep};

use super::{Listed, Selection, print::Printer, row, row::Row};
use crate::{
    cli::access::Target,
    kubernetes::{Change, Error, Item, Watch},
};

/// The time between two watches of a cluster.
const PAUSE: Duration = Duration::from_secs(2);

/// The last printed state of each release that is not ready, by cluster, namespace and name.
type Shown = BTreeMap<[String; 3], String>;

/// Prints changes until the output is closed, or no cluster may be watched.
pub(super) async fn follow(
    targets: &[Target],
    listed: Vec<Listed>,
    selection: &Selection,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let (sender, mut changes) = mpsc::channel(64);
    let mut shown: Shown = listed
        .iter()
        .flat_map(|listed| &listed.rows)
        .filter(|row| !row.is_fine())
        .map(|row| (key(row), content(row)))
        .collect();
    let follows = targets.iter().zip(listed).enumerate();
    let follows = follows
        .map(|(index, (target, listed))| follow_one(index, target, listed.version, sender.clone()));
    let print = async {
        let every = Selection {
            names: selection.names.clone(),
            all: true,
        };
        while let Some((index, item)) = changes.recv().await {
            match row(&targets[index], &every, item, Timestamp::now()) {
                Err(problem) => eprintln!("✗ {problem}"),
                Ok(Some(row)) if is_news(&row, selection, &mut shown) => {
                    if !printer.change(&row)? {
                        return Ok(());
                    }
                }
                Ok(_) => {}
            }
        }
        Ok(())
    };
    tokio::select! {
        printed = print => printed,
        _ = join_all(follows) => Ok(()),
    }
}

fn key(row: &Row) -> [String; 3] {
    [
        row.summary.cluster.clone(),
        row.summary.namespace.clone(),
        row.summary.name.clone(),
    ]
}

fn content(row: &Row) -> String {
    format!(
        "{} {} {} {}",
        row.summary.decision, row.summary.reason, row.summary.rule, row.summary.restarts
    )
}

/// Whether a release is to be printed: it is not ready and has changed, or it is ready again.
fn is_news(row: &Row, selection: &Selection, shown: &mut Shown) -> bool {
    if row.is_fine() {
        let known = shown.remove(&key(row)).is_some();
        return known || selection.all;
    }
    let content = content(row);
    shown.insert(key(row), content.clone()) != Some(content)
}

async fn follow_one(
    index: usize,
    target: &Target,
    mut version: String,
    changes: mpsc::Sender<(usize, Item)>,
) {
    let namespace = target.namespace.as_deref();
    let problem = |error| {
        eprintln!(
            "✗ {:#}",
            target.problem("cannot watch the HelmReleases", error)
        )
    };
    loop {
        let expired = match target.cluster.watch(namespace, &version).await {
            Ok(Watch::Expired) => true,
            Ok(Watch::Running(mut running)) => loop {
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
                    Ok(Some(Change::Expired)) => break true,
                    Ok(None) | Err(_) => break false,
                }
            },
            Err(error) => {
                let denied = matches!(error, Error::Forbidden(_));
                problem(error);
                if denied {
                    return;
                }
                false
            }
        };
        if expired {
            let mut pages = target.cluster.list(namespace);
            loop {
                match pages.next().await {
                    Ok(Some(page)) => {
                        for item in page {
                            if changes.send((index, item)).await.is_err() {
                                return;
                            }
                        }
                    }
                    Ok(None) => {
                        version = pages.version();
                        break;
                    }
                    Err(error) => {
                        problem(error);
                        break;
                    }
                }
            }
        }
        sleep(PAUSE).await;
    }
}
