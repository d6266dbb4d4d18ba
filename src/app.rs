//! The composition root: a configuration and clients become a running service.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum_server::Handle;
use prometheus_client::registry::Registry as Series;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};

use crate::{
    blocking::BlockingRead,
    clock::Clock,
    clusters::{ClusterEntry, ClusterStatus, Registry},
    config::{DashboardPort, SweepMode, clusters::ClusterConfig},
    controller::{Pause, Reconciler, Shared, watcher::Watcher},
    dashboard::Dashboard,
    domain::{journal::Journal, limits::Limits, signature::Keys, spoken::spoken},
    kubernetes::{AnswerMemory, Cluster, Connection, lease::Lease},
    leadership::Leadership,
    metrics::Metrics,
    notify::{self, Delivery, Destinations},
    queue::Queue,
    reporter::Reporter,
    server::{admin::Readiness, tls::Tls},
    webhook::{ROOM, Webhook},
};

mod background;
pub mod descriptors;
mod errors;
mod hand_over;
mod listeners;
mod options;
mod parts;
mod serving;
pub use background::first_keys;
use background::{Keeper, PauseFile, keep_lease_connection, refresh_certificate, run_election};
use errors::{at_once, broken};
use hand_over::hand_over;
pub use listeners::{Listeners, address_of, bind};
pub use options::{Options, random};

/// How long stopping may take: Kubernetes kills after 30 s, and a call to an API server takes up to 8.
const STOP_TIMEOUT: Duration = Duration::from_secs(9);

/// How long events that wait are delivered at the end.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);

/// Beyond the first interval: an alert that was accepted just before the end gets its first reconcile.
const GRACE: Duration = Duration::from_millis(200);

/// What a cluster brings with it.
pub struct ClusterHandle {
    /// How it is configured.
    pub config: ClusterConfig,
    /// Its keys, as they were at the start; none where they cannot be used yet.
    pub keys: Keys,
    /// The way to its API server.
    pub connection: Connection,
    /// Where events about its releases go.
    pub destinations: Destinations,
}

/// The service as a value: its routers can be called without a socket, its reconcilers run anywhere.
pub struct App {
    registry: Arc<Registry>,
    shared: Shared,
    series: Arc<Series>,
    readiness: Readiness,
    dashboard: Dashboard,
    dashboard_port: DashboardPort,
    webhook: Webhook,
    reconcilers: Vec<Reconciler>,
    watchers: Vec<Watcher>,
    deliveries: Vec<Delivery>,
    clusters: Vec<(ClusterConfig, Connection)>,
    lease: Option<Lease>,
    tls: Option<Tls>,
    pause_file: Option<PathBuf>,
    max_connections: usize,
    keep_alive: Duration,
    shutdown_delay: Duration,
}

impl App {
    /// Wires everything together. Nothing runs yet.
    pub fn new(options: Options, handles: Vec<ClusterHandle>, clock: Clock) -> Self {
        let Options {
            classifier,
            policies,
            limits,
            sweep,
            lease,
            tls,
            pause_file,
            max_connections,
            keep_alive,
            shutdown_delay,
            queue_capacity,
            dashboard,
            links,
            replicas: transport,
            max_event_age,
            max_event_ahead,
            salt,
            instance,
            intervals,
        } = options;
        let first_reconcile = intervals.first;
        let metrics = Metrics::default();
        let shared = Shared {
            classifier: Arc::clone(&classifier),
            policies: Arc::new(policies),
            pause: Pause::default(),
            leadership: Leadership::new(lease.is_none()),
            journal: Arc::new(Journal::default()),
            metrics: metrics.clone(),
            clock: clock.clone(),
            salt,
            intervals: Arc::new(intervals),
            kept_for: max_event_age.unsigned_abs(),
        };
        metrics.leader(lease.is_none());
        let memory = AnswerMemory::default();
        let (mut entries, mut reconcilers) = (Vec::new(), Vec::new());
        let (mut watchers, mut clusters) = (Vec::new(), Vec::new());
        let mut deliveries = Vec::new();
        for ClusterHandle {
            config,
            keys,
            connection,
            destinations,
        } in handles
        {
            let queue = Arc::new(Queue::new(queue_capacity));
            let health = connection.health();
            let cluster = Cluster::new(
                Arc::clone(&config.name),
                connection.clone(),
                memory.clone(),
                metrics.clone(),
                Reporter::new(
                    Arc::clone(&config.name),
                    Arc::clone(&shared.journal),
                    clock.clone(),
                ),
            );
            let restart_limits = Limits::new(limits);
            let scopes = scopes(&config);
            let mut entry = ClusterEntry::new(
                Arc::clone(&config.name),
                keys,
                Arc::clone(&queue),
                restart_limits.clone(),
                health,
                scopes.len(),
            );
            entry.namespaces.clone_from(&config.namespaces);
            let watcher = |(namespace, status): (Option<Arc<str>>, &Arc<ClusterStatus>)| {
                Watcher::new(
                    cluster.clone(),
                    namespace,
                    Arc::clone(&queue),
                    (restart_limits.clone(), Arc::clone(&entry.board)),
                    (Arc::clone(status), entry.statuses.clone()),
                    shared.clone(),
                    sweep,
                )
            };
            if sweep != SweepMode::Off {
                watchers.extend(scopes.into_iter().zip(&entry.statuses).map(watcher));
            }
            let statuses = entry.statuses.clone();
            let (outbox, others) = notify::outbox(&cluster, destinations, &instance, &metrics);
            deliveries.extend(others);
            reconcilers.push(Reconciler::new(
                cluster,
                queue,
                restart_limits,
                (statuses, Arc::clone(&entry.board)),
                outbox,
                shared.clone(),
            ));
            entries.push(entry);
            clusters.push((config, connection));
        }
        let registry = Arc::new(Registry::new(entries));
        let leader_page = lease.as_ref().map(Lease::leader_page);
        let leader_page = leader_page.unwrap_or_else(|| watch::channel(None).1);
        let page = Dashboard::new(
            Arc::clone(&registry),
            Arc::clone(&shared.journal),
            clock.clone(),
            shared.pause.clone(),
            shared.leadership.clone(),
            links,
            (leader_page, transport),
        );
        let names = registry.entries().map(|entry| &entry.name);
        let series = Arc::new(metrics.register(names));
        metrics.started(clock.now());
        let webhook = Webhook {
            clusters: Arc::clone(&registry),
            metrics,
            clock,
            first_reconcile,
            max_age: max_event_age,
            max_ahead: max_event_ahead,
            leadership: shared.leadership.clone(),
            log_limit: Arc::default(),
            room: Arc::new(Semaphore::new(ROOM)),
        };
        Self {
            registry,
            shared,
            series,
            readiness: Readiness::default(),
            dashboard: page,
            dashboard_port: dashboard,
            webhook,
            reconcilers,
            watchers,
            deliveries,
            clusters,
            lease,
            tls,
            pause_file,
            max_connections,
            keep_alive,
            shutdown_delay,
        }
    }

    /// Serves and works until the first message on `signals`, then finishes what is due. The second
    /// message ends it at once.
    ///
    /// # Errors
    /// A listener or a task breaks, or a second signal cuts the work off.
    pub async fn run(
        mut self,
        listeners: Listeners,
        mut signals: mpsc::Receiver<&'static str>,
    ) -> anyhow::Result<()> {
        let (stop_webhook, stop_admin) = (Handle::new(), Handle::new());
        let mut servers = self.serve(listeners, &stop_webhook, &stop_admin);
        let mut reconcilers: JoinSet<()> = self
            .take_reconcilers()
            .into_iter()
            .map(Reconciler::run)
            .collect();
        let mut deliveries: JoinSet<Option<String>> = self
            .take_deliveries()
            .into_iter()
            .map(Delivery::run)
            .collect();
        // Dropped, and with it ended, when this function returns.
        let mut background: JoinSet<()> =
            self.take_watchers().into_iter().map(Watcher::run).collect();
        background.spawn(self.dashboard.clone().watch_changes());
        for (config, connection) in std::mem::take(&mut self.clusters) {
            let keeper = Keeper {
                reporter: Reporter::new(
                    Arc::clone(&config.name),
                    self.journal(),
                    self.shared.clock.clone(),
                ),
                config,
                registry: Arc::clone(&self.registry),
                metrics: self.shared.metrics.clone(),
            };
            background.spawn(keeper.clone().keep_keys());
            background.spawn(keeper.keep_connection(connection));
        }
        let metrics = self.shared.metrics.clone();
        let (resign, resigned) = watch::channel(false);
        let mut election = JoinSet::new();
        if let Some(lease) = self.lease.take() {
            background.spawn(keep_lease_connection(lease.clone(), metrics.clone()));
            election.spawn(run_election(
                lease,
                self.leadership(),
                resigned,
                metrics.clone(),
            ));
        }
        if let Some(tls) = self.tls.take() {
            background.spawn(refresh_certificate(tls, metrics.clone()));
        }
        if let Some(path) = self.pause_file.take() {
            let file = PauseFile {
                path,
                pause: self.shared.pause.clone(),
                metrics: self.shared.metrics.clone(),
                registry: Arc::clone(&self.registry),
            };
            file.check(&mut BlockingRead::default()).await;
            background.spawn(file.watch(metrics));
        }

        self.readiness.set(true);
        let signal = tokio::select! {
            biased;
            signal = signals.recv() => signal.unwrap_or("the end of the program"),
            Some(ended) = servers.join_next() => return Err(broken("a listener", ended.map(|served| served.err()))),
            Some(ended) = background.join_next() => return Err(broken("a task in the background", ended.map(|()| None))),
            Some(ended) = election.join_next() => return Err(broken("leader election", ended.map(|()| None))),
            Some(ended) = reconcilers.join_next() => return Err(broken("a worker", ended.map(|()| None))),
        };
        self.readiness.set(false);
        self.dashboard.close();
        let elected = !election.is_empty();
        if elected {
            // The next replica acts while this one still answers the senders that have not noticed.
            tokio::select! {
                biased;
                Some(signal) = signals.recv() => return Err(at_once(signal)),
                () = hand_over(&self.shared.leadership, &resign, &mut election, &self.shared.metrics) => {}
            }
        }
        let delay = self.shutdown_delay;
        tracing::info!(
            signal,
            "stopping on {signal}: readiness is now false; alerts are accepted for {} more",
            spoken(delay)
        );
        tokio::select! {
            biased;
            Some(signal) = signals.recv() => return Err(at_once(signal)),
            () = tokio::time::sleep(delay) => {}
        }
        self.registry.close(self.webhook.first_reconcile + GRACE);
        tracing::info!("alerts are no longer accepted: finishing pending work");
        stop_webhook.graceful_shutdown(Some(STOP_TIMEOUT));
        background.abort_all();
        if elected {
            reconcilers.abort_all();
        }
        let drained = async {
            while reconcilers.join_next().await.is_some() {}
            // A request that is being read gets an answer.
            while stop_webhook.connection_count() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let outcome = tokio::select! {
            biased;
            Some(signal) = signals.recv() => Err(at_once(signal)),
            drained = tokio::time::timeout(STOP_TIMEOUT, drained) => {
                if drained.is_err() {
                    tracing::warn!("work or requests are not finished in time; stopping all the same");
                }
                Ok(())
            }
        };
        // The reconcilers have ended, and with them the outboxes.
        let delivered = async { while deliveries.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DELIVERY_TIMEOUT, delivered).await;
        stop_admin.shutdown();
        let left: usize = self.registry.entries().map(|entry| entry.queue.len()).sum();
        if left > 0 && !elected {
            tracing::warn!(
                left,
                "stopped with {left} releases in the queue; after the next start, the watcher enqueues those that still fail, unless sweep is off"
            );
        }
        tracing::info!("stopped");
        outcome
    }
}

/// What each watcher of a cluster watches: all namespaces, or one.
fn scopes(config: &ClusterConfig) -> Vec<Option<Arc<str>>> {
    if config.namespaces.is_empty() {
        return vec![None];
    }
    config.namespaces.iter().cloned().map(Some).collect()
}
