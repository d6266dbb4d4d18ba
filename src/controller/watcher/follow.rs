//! Lists and watches of the API server, and what follows from errors.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use super::{LIST_INTERVAL_WITHOUT_WATCH, LONGEST_RETRY_DELAY, SeenBy, Watcher};
use crate::{
    clock::wait_until,
    domain::alert::ReleaseRef,
    kubernetes::{Change, Error, Item, ServerChanges, Unreadable, Watch},
    metrics::Found,
};

/// After so many errors in a row, a watch starts again with a list.
const ERRORS: u32 = 5;

/// The least time between the starts of two watches.
const BETWEEN_WATCHES: Duration = Duration::from_secs(1);

/// The most unreadable releases that are remembered, so that each is logged once.
const REMEMBERED: usize = 1000;

impl Watcher {
    /// Lists all releases, page by page. Returns the resourceVersion of the list.
    pub(super) async fn list(&mut self) -> Result<String, Error> {
        let mut failing = BTreeSet::new();
        self.in_progress.clear();
        let (cluster, namespace) = (self.cluster.clone(), self.namespace.clone());
        let mut pages = cluster.list(namespace.as_deref());
        while let Some(page) = pages.next().await? {
            for item in &page {
                failing.extend(self.handle_item(item, SeenBy::List).await);
            }
        }
        self.list_complete(&failing);
        Ok(pages.version())
    }

    /// Lists and then watches, until an error that does not pass by itself.
    pub(super) async fn watch(&mut self) -> Error {
        loop {
            let mut server_changes = self.cluster.server_changes();
            let followed = match self.list().await {
                Ok(version) => self.follow(version, &mut server_changes).await,
                Err(error) => return error,
            };
            if let Err(error) = followed {
                return error;
            }
        }
    }

    /// Watches from a resourceVersion on, until that has expired, or another API server answers.
    async fn follow(
        &mut self,
        mut version: String,
        server_changes: &mut ServerChanges,
    ) -> Result<(), Error> {
        loop {
            let begun = Instant::now();
            let cluster = self.cluster.clone();
            let changes = tokio::select! {
                biased;
                () = server_changes.next() => return Ok(()),
                changes = self.changes(&mut version) => changes,
            };
            match changes {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // After many in a row, the resourceVersion itself may be the problem.
                Err(error) if error.is_transient() && self.errors < ERRORS => {
                    let delay = self.log_error(&error);
                    tokio::select! {
                        biased;
                        () = server_changes.next() => return Ok(()),
                        () = cluster.reconnected() => {}
                        () = sleep(delay) => {}
                    }
                }
                Err(error) => return Err(error),
            }
            // Some servers end watches as soon as they start.
            sleep_until(begun + BETWEEN_WATCHES).await;
        }
    }

    /// Handles the changes of one watch to its end. False if the resourceVersion has expired.
    async fn changes(&mut self, version: &mut String) -> Result<bool, Error> {
        let namespace = self.namespace.as_deref();
        let mut changes = match self.cluster.watch(namespace, version).await? {
            Watch::Running(changes) => changes,
            Watch::Expired => return Ok(false),
        };
        self.up_to_date();
        // The same error after this is logged again.
        self.logged_error = None;
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
                    set_version(version, &item);
                    self.handle_item(&item, SeenBy::Change).await;
                }
                Change::Deleted(item) => {
                    set_version(version, &item);
                    if let Ok(release) = &item {
                        self.deleted(release);
                    }
                }
                Change::Reached(newer) if !newer.is_empty() => *version = newer,
                Change::Reached(_) => {}
                Change::Expired => return Ok(false),
            }
        }
    }

    /// Handles one listed item. Returns its name if it fails. An item that cannot be read is logged once and skipped.
    async fn handle_item(&mut self, item: &Item, seen_by: SeenBy) -> Option<ReleaseRef> {
        match item {
            Ok(release) => self.handle(release, seen_by).await,
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

    /// Logs an error, once, and returns how long to wait.
    pub(super) fn log_error(&mut self, error: &Error) -> Duration {
        self.errors += 1;
        let kind = error.result().as_str();
        let (cluster, errors) = (&self.cluster.name, self.errors);
        if error.is_transient() {
            // An API server that does not answer is logged where it is called.
            if errors.is_multiple_of(ERRORS) && self.cluster.answers() {
                tracing::warn!(%cluster, kind, "cannot list and watch HelmReleases in cluster {cluster}, retrying: {error}");
            } else {
                tracing::debug!(%cluster, kind, errors, "cannot list and watch HelmReleases in cluster {cluster}, retrying: {error}");
            }
            let delay = Duration::from_secs(1 << errors.min(6));
            return delay.min(LONGEST_RETRY_DELAY);
        }
        if self.logged_error.as_deref() == Some(kind) {
            return LIST_INTERVAL_WITHOUT_WATCH;
        }
        let every = LIST_INTERVAL_WITHOUT_WATCH.as_secs() / 60;
        let advice = match error {
            Error::Forbidden(_) => "; grant the verb, or set sweepNamespaces, or sweep: off",
            _ => "",
        };
        tracing::warn!(%cluster, kind, "cannot list and watch HelmReleases in cluster {cluster}, retrying every {every} min: {error}{advice}");
        self.logged_error = Some(kind.to_owned());
        if self.when == Found::AtStart {
            // The other namespaces do not wait for this one.
            self.status.cannot_list();
            self.log_first_list();
        }
        // An API server that has just started may refuse requests that it allows a moment later.
        LONGEST_RETRY_DELAY
    }
}

/// Continues from the resourceVersion of a change.
fn set_version(version: &mut String, item: &Item) {
    if let Ok(release) = item
        && !release.metadata.resource_version.is_empty()
    {
        version.clone_from(&release.metadata.resource_version);
    }
}
