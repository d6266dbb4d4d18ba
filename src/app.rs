//! The composition root: a configuration and clients become a running service.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use axum::Router;
use axum_server::Handle;
use jiff::SignedDuration;
use kube::Client;
use prometheus_client::registry::Registry as Series;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{
    clock::Clock,
    cluster::Cluster,
    config::{Config, clusters::ClusterConfig, keys::shared},
    domain::{classify::Classifier, journal::Journal, policy::Policy, signature::Keys},
    metrics::Metrics,
    queue::Queue,
    registry::{Member, Registry},
    server::{
        self,
        admin::{self, Readiness},
        webhook::{self, ROOM, Webhook},
    },
    worker::{Pace, Shared, Worker},
};

/// How long stopping may take: Kubernetes kills after 30 s, and a call to an API server takes up to 8.
const STOP_TIMEOUT: Duration = Duration::from_secs(9);

/// Beyond the settle time: an alert that was accepted just before the end gets its first look.
const GRACE: Duration = Duration::from_millis(200);

/// How often key files are read again. The kubelet brings a changed Secret within a minute or so.
const KEY_INTERVAL: Duration = Duration::from_secs(5);

/// What a cluster brings with it.
pub struct Entrance {
    /// How it is configured.
    pub config: ClusterConfig,
    /// Its keys, as they were at the start.
    pub keys: Keys,
    /// The way to its API server.
    pub client: Client,
}

/// What the service is told beside its clusters.
#[derive(Clone, Debug)]
pub struct Options {
    /// What may be done to releases.
    pub policy: Policy,
    /// Releases that may wait, for each cluster.
    pub queue_capacity: usize,
    /// The oldest event that is taken.
    pub max_event_age: SignedDuration,
    /// How far an event may be in the future.
    pub max_event_ahead: SignedDuration,
    /// How long things take.
    pub pace: Pace,
}

/// Three ports, bound.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Listeners {
    pub webhook: TcpListener,
    pub metrics: TcpListener,
    pub probes: TcpListener,
}

/// The service as a value: its routers can be called without a socket, its workers run anywhere.
pub struct App {
    registry: Arc<Registry>,
    shared: Shared,
    series: Arc<Series>,
    readiness: Readiness,
    webhook: Webhook,
    workers: Vec<Worker>,
    clusters: Vec<ClusterConfig>,
}

impl Options {
    /// The part of a configuration that the service itself is told.
    pub fn of(config: &Config) -> Self {
        Self {
            policy: config.policy.clone(),
            queue_capacity: config.queue_capacity,
            max_event_age: config.max_event_age,
            max_event_ahead: config.max_event_ahead,
            pace: Pace::default(),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            queue_capacity: 4096,
            max_event_age: SignedDuration::from_mins(15),
            max_event_ahead: SignedDuration::from_mins(5),
            pace: Pace::default(),
        }
    }
}

impl App {
    /// Wires everything together. Nothing runs yet.
    pub fn new(options: Options, entrances: Vec<Entrance>, clock: Clock) -> Self {
        let Options {
            policy,
            queue_capacity,
            max_event_age,
            max_event_ahead,
            pace,
        } = options;
        let settle = pace.settle;
        let metrics = Metrics::default();
        let classifier = Arc::new(Classifier::default());
        let shared = Shared {
            classifier: Arc::clone(&classifier),
            policy: Arc::new(policy),
            journal: Arc::new(Journal::default()),
            metrics: metrics.clone(),
            clock: clock.clone(),
            pace: Arc::new(pace),
        };
        let (mut members, mut workers, mut clusters) = (Vec::new(), Vec::new(), Vec::new());
        for Entrance {
            config,
            keys,
            client,
        } in entrances
        {
            let queue = Arc::new(Queue::new(queue_capacity));
            let cluster = Cluster::new(Arc::clone(&config.name), client, metrics.clone());
            workers.push(Worker::new(cluster, Arc::clone(&queue), shared.clone()));
            members.push(Member::new(Arc::clone(&config.name), keys, queue));
            clusters.push(config);
        }
        let registry = Arc::new(Registry::new(members));
        let series = Arc::new(metrics.register(registry.members().map(|member| &member.name)));
        let webhook = Webhook {
            clusters: Arc::clone(&registry),
            classifier,
            metrics,
            clock,
            settle,
            max_age: max_event_age,
            max_ahead: max_event_ahead,
            quiet: Arc::default(),
            room: Arc::new(Semaphore::new(ROOM)),
        };
        Self {
            registry,
            shared,
            series,
            readiness: Readiness::default(),
            webhook,
            workers,
            clusters,
        }
    }

    /// The webhook's routes.
    pub fn webhook(&self) -> Router {
        webhook::router(self.webhook.clone())
    }

    /// `/metrics`.
    pub fn metrics(&self) -> Router {
        admin::metrics(
            Arc::clone(&self.series),
            self.shared.metrics.clone(),
            Arc::clone(&self.registry),
        )
    }

    /// `/healthz` and `/readyz`.
    pub fn probes(&self) -> Router {
        admin::probes(self.readiness.clone())
    }

    /// What happened lately.
    pub fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.shared.journal)
    }

    /// Who may speak, and whose failures wait.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// The workers, for somebody who runs them without ports.
    pub fn take_workers(&mut self) -> Vec<Worker> {
        std::mem::take(&mut self.workers)
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
        let Listeners {
            webhook,
            metrics,
            probes,
        } = listeners;
        let (stop_webhook, stop_admin) = (Handle::new(), Handle::new());
        let mut servers = JoinSet::new();
        servers.spawn(server::serve(webhook, self.webhook(), stop_webhook.clone()));
        servers.spawn(server::serve(metrics, self.metrics(), stop_admin.clone()));
        servers.spawn(server::serve(probes, self.probes(), stop_admin.clone()));
        let mut workers: JoinSet<()> = self.take_workers().into_iter().map(Worker::run).collect();
        let keys = tokio::spawn(refresh_keys(
            Arc::clone(&self.registry),
            std::mem::take(&mut self.clusters),
        ));

        self.readiness.set(true);
        let signal = tokio::select! {
            biased;
            signal = signals.recv() => signal.unwrap_or("the end of the program"),
            Some(ended) = servers.join_next() => return Err(broken("a listener", ended.map(|served| served.err()))),
            Some(ended) = workers.join_next() => return Err(broken("a worker", ended.map(|()| None))),
        };
        self.readiness.set(false);
        self.registry.close(self.webhook.settle + GRACE);
        tracing::info!(signal, "stopping on {signal}: finishing what is due");
        stop_webhook.graceful_shutdown(Some(STOP_TIMEOUT));
        keys.abort();
        let drained = async {
            while workers.join_next().await.is_some() {}
            // Whoever is in the middle of a request gets an answer.
            while stop_webhook.connection_count() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let outcome = tokio::select! {
            biased;
            Some(signal) = signals.recv() => Err(anyhow!("stopped at once by a second signal ({signal}); what was due is not finished")),
            drained = tokio::time::timeout(STOP_TIMEOUT, drained) => {
                if drained.is_err() {
                    tracing::warn!("an API server did not answer in time; stopping all the same");
                }
                Ok(())
            }
        };
        stop_admin.shutdown();
        let left: usize = self
            .registry
            .members()
            .map(|member| member.queue.len())
            .sum();
        if left > 0 {
            tracing::warn!(
                left,
                "stopped with {left} releases that were waited for; those still stuck need a further alert"
            );
        }
        tracing::info!("stopped");
        outcome
    }
}

/// What a task that should never end died of.
fn broken(
    what: &str,
    ended: Result<Option<std::io::Error>, tokio::task::JoinError>,
) -> anyhow::Error {
    match ended {
        Ok(Some(error)) => anyhow!(error).context(format!("{what} broke")),
        Ok(None) => anyhow!("{what} ended by itself; please report it"),
        Err(panic) => anyhow!(panic).context(format!("{what} panicked; please report it")),
    }
}

/// Reads key files again and again. What cannot be used is reported, and the old keys stay in force.
async fn refresh_keys(registry: Arc<Registry>, clusters: Vec<ClusterConfig>) {
    let clusters: Vec<_> = clusters
        .into_iter()
        .filter(ClusterConfig::has_key_files)
        .collect();
    let mut ticks = interval(KEY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut problems: BTreeMap<Arc<str>, String> = BTreeMap::new();
    while !clusters.is_empty() {
        ticks.tick().await;
        for config in &clusters {
            let Some(member) = registry.get(&config.name) else {
                continue;
            };
            let problem = match renewed(config, member, &registry) {
                Err(problem) => problem,
                Ok(changed) => {
                    problems.remove(&config.name);
                    if let Some(keys) = changed {
                        member.set_keys(keys);
                        tracing::info!(cluster = %config.name, "the keys of {} changed and are in force", config.name);
                    }
                    continue;
                }
            };
            if problems.get(&config.name) != Some(&problem) {
                tracing::warn!(cluster = %config.name, "the keys of {} stay as they were: {problem}", config.name);
                problems.insert(Arc::clone(&config.name), problem);
            }
        }
    }
}

/// The keys of a cluster, if they differ from those in force.
fn renewed(
    config: &ClusterConfig,
    member: &Member,
    registry: &Registry,
) -> Result<Option<Keys>, String> {
    let (new, old) = (config.read_keys()?, member.keys());
    let same = new.iter().count() == old.iter().count()
        && new
            .iter()
            .zip(old.iter())
            .all(|(new, old)| new.identical(old));
    if same {
        return Ok(None);
    }
    let others = registry.members().filter(|other| other.name != member.name);
    match others.into_iter().find(|other| shared(&new, &other.keys())) {
        Some(other) => Err(format!(
            "{} has the same key; give each cluster its own",
            other.name
        )),
        None => Ok(Some(new)),
    }
}

/// Binds `host:port`; an empty host is every interface, over IPv6 too where the machine has it.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(address: &str) -> anyhow::Result<TcpListener> {
    let listener = match address.strip_prefix(':') {
        Some(port) => TcpListener::bind(format!("[::]:{port}"))
            .or_else(|_| TcpListener::bind(format!("0.0.0.0:{port}"))),
        None => TcpListener::bind(address),
    };
    let listener = listener.with_context(|| {
        format!("cannot listen on {address}; choose an address of this machine that is free")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Where a listener ended up, for port 0.
pub fn address_of(listener: &TcpListener) -> SocketAddr {
    listener
        .local_addr()
        .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}
