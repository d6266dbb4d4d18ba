//! What is shown, collected from the boards of the clusters, their limits and the journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Sources,
    query::{Query, cause_id},
};
use crate::{
    clusters::{BoardRow, ClusterEntry, Healed},
    domain::{
        alert::ReleaseRef,
        journal::Entry,
        limits::{Admission, OpenBreaker},
        spoken::spoken,
        summary::Band,
    },
};

/// A cause is shared if so many releases have it.
const SHARED_BY: usize = 2;

/// Releases that are named with a cause.
const EXAMPLES: usize = 3;

/// A cause that several releases have.
pub(super) struct SharedCause {
    pub(super) id: String,
    /// The rule, and what the messages name.
    pub(super) text: String,
    /// What the rule means.
    pub(super) meaning: &'static str,
    pub(super) releases: usize,
    pub(super) clusters: BTreeSet<String>,
    /// The names of the first releases.
    pub(super) examples: Vec<String>,
    /// The breakers that hold releases back for it, by cluster.
    pub(super) breakers: Vec<(Arc<str>, OpenBreaker)>,
}

impl SharedCause {
    /// The rule.
    pub(super) fn rule(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// What the messages name, if there is anything.
    pub(super) fn subject(&self) -> Option<&str> {
        self.text.split_once(' ').map(|(_, subject)| subject)
    }
}

/// Everything that is selected.
pub(super) struct View {
    pub(super) now: Timestamp,
    /// The releases that are not ready, those that fail for longest first.
    rows: Vec<BoardRow>,
    pub(super) causes: Vec<SharedCause>,
    pub(super) healed: Vec<Arc<Healed>>,
    /// Releases that are not ready, and that are not kept, because there are too many.
    pub(super) omitted: usize,
    pub(super) clusters: usize,
    pub(super) unavailable: usize,
}

impl Sources {
    /// What a query selects.
    pub(super) fn view(&self, query: &Query) -> View {
        let now = self.clock.now();
        let (mut rows, mut healed) = (Vec::new(), Vec::new());
        let (mut breakers, mut omitted) = (Vec::new(), 0);
        let (mut clusters, mut unavailable) = (0, 0);
        for entry in self.registry.entries() {
            clusters += 1;
            unavailable += usize::from(!entry.is_up());
            if query
                .cluster
                .as_deref()
                .is_some_and(|it| *it != *entry.name)
            {
                continue;
            }
            omitted += entry.board.omitted();
            let of_board = entry.board.rows().into_iter();
            let shown = |row: &BoardRow| is_current(row, entry, now) && query.selects(&row.summary);
            rows.extend(of_board.filter(shown));
            let lately = entry.board.all_healed(now).into_iter();
            healed.extend(lately.filter(|healed| selects_healed(query, healed)));
            let held = entry.limits().lock().held_back(now);
            let of_cluster = held.breakers.into_iter();
            breakers.extend(of_cluster.map(|breaker| (Arc::clone(&entry.name), breaker)));
        }
        let key = |row: &BoardRow| (row.summary.since.is_none(), row.summary.since.clone());
        rows.sort_by_cached_key(key);
        healed.sort_by_key(|healed| std::cmp::Reverse(healed.at));
        View {
            now,
            causes: causes(&rows, breakers),
            rows,
            healed,
            omitted,
            clusters,
            unavailable,
        }
    }

    /// The row of one release.
    pub(super) fn row(&self, release: &ReleaseRef) -> Option<BoardRow> {
        let entry = self.registry.get(&release.cluster)?;
        let row = entry.board.row(release)?;
        is_current(&row, entry, self.clock.now()).then_some(row)
    }

    /// When a release recovered lately.
    pub(super) fn healed(&self, release: &ReleaseRef) -> Option<Arc<Healed>> {
        let board = &self.registry.get(&release.cluster)?.board;
        let healed = board.all_healed(self.clock.now()).into_iter();
        healed.into_iter().find(|healed| healed.release == *release)
    }

    /// What the journal says about a release, the newest first.
    pub(super) fn timeline(&self, release: &ReleaseRef) -> Vec<Entry> {
        let (entries, _) = self.journal.since(0);
        let about_it = |entry: &Entry| entry.about.release() == Some(release);
        entries.into_iter().rev().filter(about_it).collect()
    }
}

impl View {
    /// All rows.
    pub(super) fn rows(&self) -> &[BoardRow] {
        &self.rows
    }

    /// The rows of one band.
    pub(super) fn of(&self, band: Band) -> Vec<&BoardRow> {
        let rows = self.rows.iter();
        rows.filter(|row| row.summary.band == band).collect()
    }
}

/// For so long a release is shown that no watcher sees: nothing says when it recovers.
const UNWATCHED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Whether a row still shows how the release is.
fn is_current(row: &BoardRow, entry: &ClusterEntry, now: Timestamp) -> bool {
    let watched = entry.watches(&row.summary.namespace)
        && entry.statuses.iter().any(|status| status.counts());
    watched || now.duration_since(row.observed) <= UNWATCHED_FOR
}

fn selects_healed(query: &Query, healed: &Healed) -> bool {
    let release = &healed.release;
    let elsewhere = query
        .namespace
        .as_deref()
        .is_some_and(|it| *it != *release.namespace);
    let name = format!("{}/{}/{}", release.cluster, release.namespace, release.name);
    !elsewhere && query.cause.is_none() && query.finds(&[&name, healed.rule])
}

/// The causes that several releases have, the most frequent first.
fn causes(rows: &[BoardRow], breakers: Vec<(Arc<str>, OpenBreaker)>) -> Vec<SharedCause> {
    let mut causes = BTreeMap::<&str, SharedCause>::new();
    for row in rows {
        let summary = &row.summary;
        let (Some(text), Some(meaning)) = (&summary.shared_cause, summary.cause) else {
            continue;
        };
        if summary.band == Band::Excluded {
            continue;
        }
        let cause = causes.entry(text).or_insert_with(|| SharedCause {
            id: cause_id(text),
            text: text.clone(),
            meaning,
            releases: 0,
            clusters: BTreeSet::new(),
            examples: Vec::new(),
            breakers: Vec::new(),
        });
        if cause.examples.len() < EXAMPLES {
            cause
                .examples
                .push(format!("{}/{}", summary.namespace, summary.name));
        }
        cause.releases += 1;
        if !cause.clusters.contains(&summary.cluster) {
            cause.clusters.insert(summary.cluster.clone());
        }
    }
    for (cluster, breaker) in breakers {
        if let Some(cause) = causes.get_mut(&*breaker.cause.to_string()) {
            cause.breakers.push((cluster, breaker));
        }
    }
    let shared = |cause: &SharedCause| cause.releases >= SHARED_BY || !cause.breakers.is_empty();
    let mut causes: Vec<_> = causes.into_values().filter(shared).collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.releases));
    causes
}

/// What a breaker admits, as a sentence.
pub(super) fn admission(breaker: &OpenBreaker, now: Timestamp) -> String {
    let held = breaker.releases;
    let next = match breaker.admits {
        Admission::ProbeAt(at) if at > now => {
            let wait = spoken(at.duration_since(now).unsigned_abs());
            format!("one of them is restarted in {wait}")
        }
        Admission::ProbeAt(_) => "one of them is about to be restarted".to_owned(),
        Admission::Probe => "one of them is being restarted".to_owned(),
        Admission::UpTo(many) => {
            format!("restarted releases recover, so at most {many} are restarted at once")
        }
    };
    format!("The circuit breaker delays the restarts of {held} releases; {next}.")
}
