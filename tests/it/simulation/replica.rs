//! One process: it is started, killed at any await, and started again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, body::Body};
use helmreboot::{
    app::{App, ClusterHandle, Options},
    clock::Clock,
    clusters::Registry,
    config::clusters::{ClusterAccess, ClusterConfig},
    demo::fake_cluster::Key as ReleaseKey,
    domain::{
        alert::ReleaseRef,
        journal::Journal,
        policy::Mode,
        signature::{Key, Keys},
    },
    kubernetes::Connection,
    leadership::Leadership,
    notify::{Destinations, FluxReceiver},
};
use http::Request;
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::{sync::watch, task::JoinHandle};
use tower::ServiceExt;

use super::{Fate, scene::Land};

/// What a process counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// By the word of the journal.
    pub(super) journal: BTreeMap<&'static str, u64>,
    /// By the name of the metric, all labels added up.
    pub(super) metrics: BTreeMap<String, u64>,
}

pub(super) struct Replica {
    pub(super) name: &'static str,
    pub(super) door: Router,
    metrics: Router,
    journal: Arc<Journal>,
    read: u64,
    counted: Counted,
    tasks: Vec<JoinHandle<()>>,
    registry: Arc<Registry>,
    /// What it reported: when, about which release, and the words of the journal.
    pub(super) facts: Vec<(Timestamp, ReleaseRef, [&'static str; 2])>,
    /// How far its clock is ahead.
    ahead: SignedDuration,
    /// Its clock, without the panics.
    time: Clock,
    /// Releases whose restart was taken for running at the last look, although Flux was done with it.
    over: BTreeSet<ReleaseRef>,
    /// The next thing that reads the clock panics.
    planted: Arc<AtomicBool>,
    pub(super) leadership: Leadership,
    resign: watch::Sender<bool>,
}

impl Replica {
    /// Starts a process whose clock is `ahead` of the true one.
    pub(super) fn start(
        name: &'static str,
        options: Options,
        ways: &[(&str, Client, Key, FluxReceiver)],
        fate: &Fate,
        ahead: SignedDuration,
    ) -> Self {
        let handle =
            |(name, client, key, receiver): &(&str, Client, Key, FluxReceiver)| ClusterHandle {
                config: ClusterConfig {
                    name: Arc::from(*name),
                    keys: Vec::new(),
                    access: ClusterAccess::default(),
                    mode: Mode::Act,
                    namespaces: Vec::new(),
                    events_addr: None,
                    place: String::new(),
                    access_place: String::new(),
                },
                keys: Keys::new(vec![key.clone()]),
                connection: Connection::to(client.clone()),
                destinations: Destinations {
                    kubernetes: true,
                    flux: Some(receiver.clone()),
                },
            };
        fate.note(|| format!("{name} starts, its clock {ahead:#} ahead"));
        let time = Clock::with_tokio(fate.now() + ahead);
        let planted = Arc::new(AtomicBool::new(false));
        let true_time = time.clone();
        let (strikes, notes) = (Arc::clone(&planted), fate.clone());
        let clock = Clock::new(move || {
            if strikes.swap(false, Ordering::Relaxed) {
                notes.notes().panics += 1;
                panic!("planted");
            }
            true_time.now()
        });
        let mut app = App::new(options, ways.iter().map(handle).collect(), clock);
        let workers = app.take_reconcilers().into_iter();
        let mut tasks: Vec<_> = workers.map(|worker| tokio::spawn(worker.run())).collect();
        let sweeps = app.take_watchers().into_iter();
        tasks.extend(sweeps.map(|sweep| tokio::spawn(sweep.run())));
        let deliveries = app.take_deliveries().into_iter();
        tasks.extend(deliveries.map(|delivery| tokio::spawn(async { drop(delivery.run().await) })));
        let (resign, resigned) = watch::channel(false);
        tasks.extend(app.take_election(resigned).map(tokio::spawn));
        Self {
            name,
            door: app.webhook(),
            metrics: app.metrics(),
            journal: app.journal(),
            read: 0,
            counted: Counted::default(),
            tasks,
            registry: app.registry(),
            time,
            over: BTreeSet::new(),
            facts: Vec::new(),
            ahead,
            planted,
            leadership: app.leadership(),
            resign,
        }
    }

    /// Takes over what it wrote into its journal since the last time.
    pub(super) fn read(&mut self, fate: &Fate) {
        let (entries, next) = self.journal.since(self.read);
        self.read = next;
        for entry in entries {
            *self.counted.journal.entry(entry.what).or_default() += 1;
            let fact = [entry.what, entry.reason];
            let at = entry.at - self.ahead;
            let Some(release) = entry.about.release() else {
                fate.note(|| format!("{}: {}", self.name, entry.line));
                continue;
            };
            self.facts.push((at, release.clone(), fact));
            fate.note(|| {
                format!(
                    "{}: {}/{}/{} {} {} ({}, {})",
                    self.name,
                    release.cluster,
                    release.namespace,
                    release.name,
                    entry.what,
                    entry.reason,
                    entry.rule,
                    entry.attempt
                )
            });
        }
    }

    /// Plants a panic in whatever comes next.
    pub(super) fn plant(&self, fate: &Fate) {
        fate.fault(|| format!("a panic is planted in {}", self.name));
        self.planted.store(true, Ordering::Relaxed);
    }

    /// What is wrong with its limits: a slot is free and a release that could take it waits, or a slot is
    /// taken by a restart that Flux was done with ten minutes ago.
    pub(super) fn limits(&mut self, lands: &[Land], fate: &Fate) -> Vec<String> {
        let (mut broken, mut over) = (Vec::new(), BTreeSet::new());
        let now = self.time.now();
        for member in self.registry.entries() {
            let limits = member.limits().lock();
            // The limits of the one that acts are then those of the installation.
            if self.leadership.waits() && limits.running().next().is_some() {
                broken.push("a replica that does not act counts running restarts".to_owned());
            }
            if let Some(release) = limits.waiting_with_free_slot(now) {
                broken.push(format!("{release} waits for a slot while one is free"));
            }
            if !fate.is_calm() {
                continue;
            }
            let land = lands.iter().find(|land| *land.name == *member.name);
            for release in limits.running() {
                let key = ReleaseKey::new(&release.namespace, &release.name);
                if land.is_some_and(|land| !land.is_working(&key)) {
                    if self.over.contains(release) {
                        broken.push(format!("{release} takes a slot for a restart that is over"));
                    }
                    over.insert(release.clone());
                }
            }
        }
        self.over = over;
        broken
    }

    /// What it counted, in its journal and in its metrics.
    pub(super) async fn counted(&mut self, fate: &Fate) -> Counted {
        self.planted.store(false, Ordering::Relaxed);
        self.read(fate);
        let request = Request::get("/metrics").body(Body::empty());
        let answer = self.metrics.clone().oneshot(request.expect("a request"));
        let body = answer.await.expect("a router never fails").into_body();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        self.counted.metrics.clear();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let value = line
                .rsplit(' ')
                .next()
                .and_then(|value| value.parse::<u64>().ok());
            let value = value.unwrap_or_default();
            if line.starts_with("helmreboot_events_total") && line.contains("dropped") {
                *self
                    .counted
                    .metrics
                    .entry("dropped events".to_owned())
                    .or_default() += value;
            }
            *self.counted.metrics.entry(name.to_owned()).or_default() += value;
        }
        self.counted.clone()
    }

    /// The process gets a signal, finishes what runs, and releases the Lease.
    pub(super) async fn hand_over(&mut self, fate: &Fate) {
        fate.note(|| format!("{} hands over", self.name));
        let finish = self.leadership.finish();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(3), finish).await;
        self.leadership.set(false);
        self.resign.send_replace(true);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }

    /// The process dies, wherever it is.
    pub(super) fn kill(&mut self, fate: &Fate) {
        fate.note(|| format!("{} is killed", self.name));
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
