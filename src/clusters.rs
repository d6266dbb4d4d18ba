//! The clusters that may speak here: each with its keys and its queue.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::{
        failing::Failing,
        limits::Limits,
        signature::{Key, Keys, Secret, Tag},
    },
    metrics::{ClusterGauges, Health},
    queue::Queue,
};

mod board;
mod status;
pub use board::{Board, BoardRow, Healed};
pub use status::ClusterStatus;

/// All clusters, by name.
#[derive(Debug)]
pub struct Registry {
    entries: BTreeMap<Arc<str>, Arc<ClusterEntry>>,
    decoy: Keys,
}

/// One cluster as the webhook sees it.
#[derive(Debug)]
pub struct ClusterEntry {
    /// The configured name.
    pub name: Arc<str>,
    /// Where its failures go.
    pub queue: Arc<Queue>,
    /// The namespaces that are watched; none for all.
    pub namespaces: Vec<Arc<str>>,
    /// Its releases that are not ready.
    pub board: Arc<Board>,
    /// What each of its watchers sees.
    pub statuses: Vec<Arc<ClusterStatus>>,
    limits: Limits,
    health: Arc<Health>,
    keys: RwLock<Arc<Keys>>,
    seen: Mutex<Seen>,
}

/// Bodies accepted lately, by their signature: bounded in number and in time.
#[derive(Debug, Default)]
struct Seen {
    known: HashSet<Tag>,
    order: VecDeque<(Timestamp, Tag)>,
}

/// How many accepted bodies are remembered for each cluster (32 bytes each, twice).
const REMEMBERED_BODIES: usize = 8192;

impl Registry {
    /// The clusters, their keys and queues.
    pub fn new(entries: impl IntoIterator<Item = ClusterEntry>) -> Self {
        let entries = entries
            .into_iter()
            .map(|entry| (Arc::clone(&entry.name), Arc::new(entry)));
        let decoy =
            Secret::new("an unknown cluster costs as much time as a known one").expect("not empty");
        Self {
            entries: entries.collect(),
            decoy: Keys::new(vec![Key::new(decoy, None)]),
        }
    }

    /// The cluster of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<ClusterEntry>> {
        self.entries.get(name)
    }

    /// All clusters, in order of name.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<ClusterEntry>> {
        self.entries.values()
    }

    /// Keys that nothing was ever signed with, to check against where there is no cluster.
    pub fn decoy(&self) -> &Keys {
        &self.decoy
    }

    /// Accepts no more alerts. Items that are due within `grace` are still reconciled.
    pub fn close(&self, grace: Duration) {
        self.entries().for_each(|entry| entry.queue.close(grace));
    }
}

impl ClusterEntry {
    /// A cluster with its keys and queue, and so many watchers.
    pub fn new(
        name: Arc<str>,
        keys: Keys,
        queue: Arc<Queue>,
        limits: Limits,
        health: Arc<Health>,
        watchers: usize,
    ) -> Self {
        health.keys(!keys.is_empty());
        Self {
            name,
            queue,
            namespaces: Vec::new(),
            board: Arc::default(),
            statuses: std::iter::repeat_with(Arc::default)
                .take(watchers)
                .collect(),
            limits,
            health,
            keys: RwLock::new(Arc::new(keys)),
            seen: Mutex::default(),
        }
    }

    /// Whether a watcher reads this namespace.
    pub fn watches(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|it| **it == *namespace)
    }

    /// What keeps its restarts apart.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Its gauges.
    pub fn gauges(&self, now: Timestamp) -> ClusterGauges {
        let mut limits = self.limits.lock();
        ClusterGauges {
            queued: self.queue.len(),
            failing: Failing::sum(self.statuses.iter().map(|status| status.failing())),
            in_flight: limits.in_flight(),
            breakers: limits.open(now),
            up_to_date: self
                .statuses
                .iter()
                .map(|it| it.last_up_to_date(now))
                .min()
                .flatten(),
            up: self.health.is_up(),
        }
    }

    /// Whether alerts can be verified, and its API server answers.
    pub fn is_up(&self) -> bool {
        self.health.is_up()
    }

    /// When the credential of its kubeconfig expires, if that is known.
    pub fn credential_expires(&self) -> Option<Timestamp> {
        self.health.credential_expires()
    }

    /// Whether its API server cannot be reached for want of a kubeconfig that can be used.
    pub fn has_no_access(&self) -> bool {
        self.health.has_no_access()
    }

    /// The keys in force.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other keys in force.
    pub fn set_keys(&self, keys: Keys) {
        self.health.keys(!keys.is_empty());
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Whether a body with this signature was accepted within `window`.
    pub fn seen(&self, tag: &Tag, now: Timestamp, window: SignedDuration) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while seen
            .order
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) > window)
        {
            seen.forget_oldest();
        }
        seen.known.contains(tag)
    }

    /// Remembers that a body with this signature was accepted.
    pub fn remember(&self, tag: Tag, now: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.known.insert(tag) {
            seen.order.push_back((now, tag));
        }
        if seen.order.len() > REMEMBERED_BODIES {
            seen.forget_oldest();
        }
    }
}

impl Seen {
    fn forget_oldest(&mut self) {
        if let Some((_, tag)) = self.order.pop_front() {
            self.known.remove(&tag);
        }
    }
}
