//! The service in a test: real router, real workers, embedded clusters, paused time.

use std::{cell::Cell, collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use helmreboot::{
    app::{App, ClusterHandle, Options},
    clock::Clock,
    clusters::Registry,
    config::{
        SweepMode,
        clusters::{ClusterAccess, ClusterConfig},
        keys::KeySource,
    },
    controller::Pause,
    demo::{
        fake_cluster::{Call, FakeCluster, Fault, FaultKind, Key, Rights},
        fake_flux::{Era, EventReceiver, FakeFlux, Notifier, Provider},
    },
    domain::{
        journal::Journal,
        ledger,
        limits::{LimitConfig, Rate},
        policy::Mode,
        release,
        signature::{Key as SigningKey, Keys, Secret},
    },
    kubernetes::Connection,
    leadership::Leadership,
    notify::{Destinations, FluxReceiver},
};
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};

mod front_door;
mod observe;
pub(crate) use crate::live::*;

/// Every annotation that helmreboot ever writes.
pub(crate) const WRITTEN: [&str; 9] = [
    release::REQUESTED_AT,
    release::RESET_AT,
    release::FORCE_AT,
    ledger::LEGACY_RECONCILE_AT,
    ledger::LAST_RESTART,
    ledger::RESTARTS,
    ledger::CAUSE,
    ledger::STATE,
    ledger::GAVE_UP,
];

pub(crate) const NOW: &str = "2026-11-23T12:00:00Z";

/// The service with its clusters. Dropping it fails the test if a cluster was written to without the
/// test having looked.
pub(crate) struct TestApp {
    pub(crate) clock: Clock,
    pub(crate) journal: Arc<Journal>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) pause: Pause,
    pub(crate) leads: Leadership,
    /// True ends the election, and releases the Lease.
    pub(crate) resign: tokio::sync::watch::Sender<bool>,
    webhook: Router,
    metrics: Router,
    clusters: BTreeMap<String, FakeCluster>,
    receivers: BTreeMap<String, EventReceiver>,
    keys: BTreeMap<String, SigningKey>,
    workers: Vec<JoinHandle<()>>,
    claimed: Cell<usize>,
}

/// An answer of the webhook.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl TestApp {
    /// One cluster, `a`, from which only alerts are heard.
    pub(crate) fn new() -> Self {
        Self::with(alerts_only(), &["a"])
    }

    /// One cluster, `a`, and the usual settings: the sweep watches it.
    pub(crate) fn swept() -> Self {
        Self::with(Options::default(), &["a"])
    }

    /// Several clusters, each with a key of its own.
    pub(crate) fn with(options: Options, names: &[&str]) -> Self {
        let clock = Clock::with_tokio(NOW.parse().expect("a time"));
        let clusters = names
            .iter()
            .map(|name| ((*name).to_owned(), FakeCluster::new(clock.clone())));
        Self::around(options, clusters.collect(), clock)
    }

    /// The service on clusters that exist already, as after a restart of the process.
    pub(crate) fn around(
        options: Options,
        clusters: BTreeMap<String, FakeCluster>,
        clock: Clock,
    ) -> Self {
        let keys = clusters
            .keys()
            .map(|name| (name.clone(), key(&format!("key of {name}"))))
            .collect();
        Self::keyed(options, clusters, clock, keys)
    }

    /// One cluster, `a`, with rights in these namespaces only, which are swept one by one.
    pub(crate) fn swept_in(options: Options, verbs: &[&str], namespaces: &[&str]) -> Self {
        let clock = Clock::with_tokio(NOW.parse().expect("a time"));
        let cluster = FakeCluster::new(clock.clone());
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        cluster.grant(Rights {
            verbs: own(verbs),
            namespaces: Some(own(namespaces)),
        });
        let clusters = BTreeMap::from([("a".to_owned(), cluster)]);
        let keys = BTreeMap::from([("a".to_owned(), key("key of a"))]);
        Self::built(options, clusters, clock, keys, namespaces)
    }

    /// The same as [`Self::around`], with the keys given.
    pub(crate) fn keyed(
        options: Options,
        clusters: BTreeMap<String, FakeCluster>,
        clock: Clock,
        keys: BTreeMap<String, SigningKey>,
    ) -> Self {
        Self::built(options, clusters, clock, keys, &[])
    }

    fn built(
        options: Options,
        clusters: BTreeMap<String, FakeCluster>,
        clock: Clock,
        keys: BTreeMap<String, SigningKey>,
        namespaces: &[&str],
    ) -> Self {
        let receivers: BTreeMap<_, _> = clusters
            .keys()
            .map(|name| (name.clone(), EventReceiver::new(Notifier::new(None, 1.0))))
            .collect();
        let handle = |(name, cluster): (&String, &FakeCluster)| ClusterHandle {
            config: ClusterConfig {
                name: Arc::from(name.as_str()),
                keys: Vec::<KeySource>::new(),
                access: ClusterAccess::default(),
                mode: Mode::Act,
                namespaces: namespaces.iter().copied().map(Arc::from).collect(),
                events_addr: None,
                place: "test".into(),
                access_place: String::new(),
            },
            keys: Keys::new(vec![keys[name].clone()]),
            connection: Connection::to(cluster.client()),
            destinations: Destinations {
                kubernetes: true,
                flux: Some(FluxReceiver::with(
                    "http://notification-controller/"
                        .parse()
                        .expect("an address"),
                    receivers[name].transport(),
                )),
            },
        };
        let mut app = App::new(
            options,
            clusters.iter().map(handle).collect(),
            clock.clone(),
        );
        let workers = app.take_reconcilers().into_iter();
        let mut workers: Vec<_> = workers.map(|worker| tokio::spawn(worker.run())).collect();
        let sweeps = app.take_watchers().into_iter();
        workers.extend(sweeps.map(|sweep| tokio::spawn(sweep.run())));
        let deliveries = app.take_deliveries().into_iter();
        workers
            .extend(deliveries.map(|delivery| tokio::spawn(async { drop(delivery.run().await) })));
        workers.push(tokio::spawn(app.watch_changes()));
        let (resign, resigned) = tokio::sync::watch::channel(false);
        workers.extend(app.take_election(resigned).map(tokio::spawn));
        let (webhook, metrics, journal, registry) =
            (app.webhook(), app.metrics(), app.journal(), app.registry());
        let (pause, leads) = (app.pause(), app.leadership());
        let claimed = Cell::new(
            clusters
                .values()
                .map(|cluster| patches(cluster).len())
                .sum(),
        );
        Self {
            clock,
            journal,
            registry,
            pause,
            leads,
            resign,
            webhook,
            metrics,
            clusters,
            receivers,
            keys,
            workers,
            claimed,
        }
    }

    pub(crate) fn cluster(&self, name: &str) -> &FakeCluster {
        &self.clusters[name]
    }

    /// The chat that the Alerts of cluster `a` post to.
    pub(crate) fn chat(&self) -> &EventReceiver {
        &self.receivers["a"]
    }

    /// The webhook as a service.
    pub(crate) fn router(&self) -> Router {
        self.webhook.clone()
    }

    /// The port of the metrics and the page, as a service.
    pub(crate) fn metrics_router(&self) -> Router {
        self.metrics.clone()
    }

    /// The Flux of cluster `a`, which reports to the service, or to nobody.
    pub(crate) fn flux(&self, alerts: bool) -> FakeFlux {
        let transport = BoxCloneSyncService::new(ServiceExt::<Request<Body>>::map_err(
            self.router(),
            BoxError::from,
        ));
        let target = Provider {
            address: "http://helmreboot/webhook/a".into(),
            key: self.keys["a"].clone(),
            cluster: "a".into(),
            info: true,
            transport,
        };
        let notifier = Notifier::new(alerts.then_some(target), 1.0);
        let (cluster, clock) = (self.cluster("a").clone(), self.clock.clone());
        FakeFlux::new(cluster, notifier, clock, Era::Current, 1.0)
    }

    /// Puts a release into cluster `a`.
    pub(crate) fn holds(&self, live: Live) -> Key {
        self.holds_in("a", live)
    }

    pub(crate) fn holds_in(&self, cluster: &str, live: Live) -> Key {
        live.put(self.cluster(cluster));
        live.key
    }

    /// The process dies.
    pub(crate) fn kill(mut self) -> (BTreeMap<String, FakeCluster>, Clock) {
        self.workers.iter().for_each(JoinHandle::abort);
        self.writes();
        (std::mem::take(&mut self.clusters), self.clock.clone())
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.workers.iter().for_each(JoinHandle::abort);
        let writes: usize = self
            .clusters
            .values()
            .map(|cluster| patches(cluster).len())
            .sum();
        if !std::thread::panicking() && !self.clusters.is_empty() {
            assert_eq!(
                writes,
                self.claimed.get(),
                "a cluster was written to and the test did not look"
            );
        }
    }
}

/// What was tried on releases: patches, and anything else that is not reading.
fn patches(cluster: &FakeCluster) -> Vec<Call> {
    let reads = ["get", "list", "watch", "discover"];
    cluster
        .calls()
        .into_iter()
        .filter(|call| {
            !reads.contains(&call.verb)
                && !["/leases", "/events"]
                    .iter()
                    .any(|path| call.uri.contains(path))
        })
        .collect()
}

pub(crate) fn key(secret: &str) -> SigningKey {
    SigningKey::new(Secret::new(secret).expect("a key"), None)
}

/// The usual settings, but that only alerts are heard.
pub(crate) fn alerts_only() -> Options {
    Options {
        sweep: SweepMode::Off,
        ..Options::default()
    }
}

/// The same for tests of many releases at once that are not about storms.
pub(crate) fn unlimited() -> Options {
    let rate = Rate {
        per_minute: 6000,
        burst: 1000,
    };
    let limits = LimitConfig {
        rate,
        in_flight: 1000,
        threshold: 10_000,
        ..LimitConfig::default()
    };
    Options {
        limits,
        ..alerts_only()
    }
}

/// Time goes by.
pub(crate) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Whether the release is ready.
pub(crate) fn ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

pub(crate) fn seconds(time: &str) -> i64 {
    let time: jiff::Timestamp = time.parse().expect("a time");
    time.as_second()
}

/// A switch for one kind of call.
pub(crate) fn fault(verb: &'static str, times: u32, kind: FaultKind) -> Fault {
    Fault {
        verb: Some(verb),
        times,
        kind,
    }
}
