//! From the API server to the sweep: lists, watches, and what is done about errors.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use super::{LONGEST_PAUSE, WITHOUT_WATCH, Watcher};
use crate::{
    clock::wait_until,
    domain::alert::ReleaseRef,
    kubernetes::{Change, Error, Item, Moves, Unreadable, Watch},
    metrics::Found,
};

/// After so many errors in a row, a watch is begun anew.
const ERRORS: u32 = 5;

/// A watch begins no sooner than this after the one before it.
const BETWEEN_WATCHES: Duration = Duration::from_secs(1);

/// How many releases that cannot be read are remembered as told.
const REMEMBERED: usize = 1000;

impl Watcher {
    /// One look at everything, page by page. The version that it is true for.
    pub(super) async fn list(&mut self) -> Result<String, Error> {
        let mut failing = BTreeSet::new();
        self.in_progress.clear();
        let (cluster, namespace) = (self.cluster.clone(), self.namespace.clone());
        let mut pages = cluster.list(namespace.as_deref());
        while let Some(page) = pages.next().await? {
            for item in &page {
                failing.extend(self.meet(item).await);
            }
        }
        self.complete(&failing);
        Ok(pages.version())
    }

    /// Everything, and then what becomes of it, until something is wrong that does not pass by itself.
    pub(super) async fn watch(&mut self) -> Error {
        loop {
            let mut moves = self.cluster.moves();
            let followed = match self.list().await {
                Ok(version) => self.follow(version, &mut moves).await,
                Err(error) => return error,
            };
            if let Err(error) = followed {
                return error;
            }
        }
    }

    /// What becomes of everything from a version on, until that is too old to go on from, or the API server is
    /// another one.
    async fn follow(&mut self, mut version: String, moves: &mut Moves) -> Result<(), Error> {
        loop {
            let begun = Instant::now();
            let cluster = self.cluster.clone();
            let changes = tokio::select! {
                biased;
                () = moves.next() => return Ok(()),
                changes = self.changes(&mut version) => changes,
            };
            match changes {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // Many in a row: what the watch remembers may be the trouble.
                Err(error) if error.passes() && self.errors < ERRORS => {
                    let pause = self.trouble(&error);
                    tokio::select! {
                        biased;
                        () = moves.next() => return Ok(()),
                        () = cluster.reconnected() => {}
                        () = sleep(pause) => {}
                    }
                }
                Err(error) => return Err(error),
            }
            // A server that ends watches as soon as they begin is asked no more often than this.
            sleep_until(begun + BETWEEN_WATCHES).await;
        }
    }

    /// The changes of one watch to its end. False if it cannot go on from there.
    async fn changes(&mut self, version: &mut String) -> Result<bool, Error> {
        let namespace = self.namespace.as_deref();
        let mut changes = match self.cluster.watch(namespace, version).await? {
            Watch::Running(changes) => changes,
            Watch::Expired => return Ok(false),
        };
        self.looked();
        // The watch works again. The same error after this is reported again.
        self.said = None;
        loop {
            let deadline = self.next_deadline();
            let change = tokio::select! {
                biased;
                change = changes.next() => change?,
                () = wait_until(deadline) => {
                    self.report_overdue().await;
                    continue;
                }
            };
            let Some(change) = change else {
                return Ok(true);
            };
            match change {
                Change::Changed(item) => {
                    reach(version, &item);
                    self.meet(&item).await;
                }
                Change::Deleted(item) => {
                    reach(version, &item);
                    if let Ok(release) = &item {
                        self.gone(release);
                    }
                }
                Change::Reached(newer) if !newer.is_empty() => *version = newer,
                Change::Reached(_) => {}
                Change::Expired => return Ok(false),
            }
        }
    }

    /// Looks at one listed item and returns its name if it fails. One that cannot be read is logged once
    /// and skipped.
    async fn meet(&mut self, item: &Item) -> Option<ReleaseRef> {
        match item {
            Ok(release) => self.see(release).await,
            Err(unreadable) => {
                if self.unreadable.len() < REMEMBERED && self.unreadable.insert(unreadable.clone())
                {
                    let Unreadable {
                        namespace,
                        name,
                        problem,
                    } = unreadable;
                    let cluster = &self.cluster.name;
                    tracing::warn!(%cluster, %namespace, %name, "skipped {cluster}/{namespace}/{name}, which cannot be read: {problem}; compare it with what kubectl get helmrelease shows");
                }
                None
            }
        }
    }

    /// Says what is wrong, once, and how long to wait.
    pub(super) fn trouble(&mut self, error: &Error) -> Duration {
        self.errors += 1;
        let kind = error.result().as_str();
        let (cluster, errors) = (&self.cluster.name, self.errors);
        if error.passes() {
            // An API server that does not answer is told of where it is called.
            if errors.is_multiple_of(ERRORS) && self.cluster.answers() {
                tracing::warn!(%cluster, kind, "the sweep of {cluster} cannot look, and goes on trying: {error}");
            } else {
                tracing::debug!(%cluster, kind, errors, "the sweep of {cluster} cannot look: {error}");
            }
            let pause = Duration::from_secs(1 << errors.min(6));
            return pause.min(LONGEST_PAUSE);
        }
        if self.said.as_deref() == Some(kind) {
            return WITHOUT_WATCH;
        }
        let every = WITHOUT_WATCH.as_secs() / 60;
        let advice = match error {
            Error::Forbidden(_) => "; or set sweepNamespaces, or sweep: off",
            _ => "",
        };
        tracing::warn!(%cluster, kind, "the sweep of {cluster} looks only every {every} minutes, if at all: {error}{advice}");
        self.said = Some(kind.to_owned());
        if self.when == Found::AtStart {
            // The other namespaces do not wait for this one.
            self.status.cannot_list();
            self.tell_first_list();
        }
        // An API server that has just started refuses what it will allow in a moment.
        LONGEST_PAUSE
    }
}

/// Goes on from the version of a change.
fn reach(version: &mut String, item: &Item) {
    if let Ok(release) = item
        && !release.metadata.resource_version.is_empty()
    {
        version.clone_from(&release.metadata.resource_version);
    }
}
