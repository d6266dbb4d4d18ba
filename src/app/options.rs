//! The options of the service.

use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use jiff::SignedDuration;

use crate::{
    config::{Config, DashboardPort, SweepMode},
    controller::Intervals,
    domain::{classify::Classifier, limits::LimitConfig, link::Link, policy::Policies},
    http_client::{self, Transport},
    kubernetes::lease::Lease,
    server::tls::Tls,
};

/// The options of the service, without its clusters.
#[derive(Clone, Debug)]
pub struct Options {
    /// The classifier, with all rules.
    pub classifier: Arc<Classifier>,
    /// What may be done to releases.
    pub policies: Policies,
    /// The limits of each cluster.
    pub limits: LimitConfig,
    /// How failures are found without an alert.
    pub sweep: SweepMode,
    /// The Lease of the leader election; without one, each replica is a leader.
    pub lease: Option<Lease>,
    /// The TLS configuration of the webhook; `None` for HTTP.
    pub tls: Option<Tls>,
    /// While this file exists, nothing is written.
    pub pause_file: Option<PathBuf>,
    /// Connections that may be open at the webhook.
    pub max_connections: usize,
    /// How long an idle connection stays open.
    pub keep_alive: Duration,
    /// How long alerts are still taken after the first signal.
    pub shutdown_delay: Duration,
    /// Releases that may wait for their first reconcile, for each cluster.
    pub queue_capacity: usize,
    /// Where the page is served.
    pub dashboard: DashboardPort,
    /// Links on the page of each release.
    pub links: Vec<Link>,
    /// How a standby reaches the page of the leader.
    pub replicas: Transport,
    /// The oldest event that is taken.
    pub max_event_age: SignedDuration,
    /// How far an event may be in the future.
    pub max_event_ahead: SignedDuration,
    /// A random number: makes the tokens of this process differ from those of others in the same second.
    pub salt: u32,
    /// The name of this process in the events that it sends.
    pub instance: Arc<str>,
    /// The intervals between reconciles.
    pub intervals: Intervals,
}

impl Options {
    /// The options in a configuration, without those that need a file.
    pub fn of(config: &Config) -> Self {
        Self {
            classifier: Arc::clone(&config.classifier),
            policies: config.policies.clone(),
            limits: config.limits,
            sweep: config.sweep,
            lease: None,
            tls: None,
            pause_file: config.pause_file.clone(),
            max_connections: config.max_connections,
            keep_alive: config.keep_alive,
            shutdown_delay: config.shutdown_delay,
            queue_capacity: config.queue_capacity,
            dashboard: config.dashboard.clone(),
            links: config.links.clone(),
            replicas: http_client::over_tcp(),
            max_event_age: config.max_event_age,
            max_event_ahead: config.max_event_ahead,
            salt: random(),
            instance: "helmreboot".into(),
            intervals: Intervals::default(),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            classifier: Classifier::built_in(),
            policies: Policies::default(),
            limits: LimitConfig::default(),
            sweep: SweepMode::Watch,
            lease: None,
            tls: None,
            pause_file: None,
            max_connections: 1024,
            keep_alive: Duration::from_secs(75),
            shutdown_delay: Duration::from_secs(5),
            queue_capacity: 4096,
            dashboard: DashboardPort::Metrics,
            links: Vec::new(),
            replicas: http_client::over_tcp(),
            max_event_age: SignedDuration::from_mins(15),
            max_event_ahead: SignedDuration::from_mins(5),
            salt: 0,
            instance: "helmreboot".into(),
            intervals: Intervals::default(),
        }
    }
}

/// A number that another process is not likely to have too.
pub fn random() -> u32 {
    let hash = RandomState::new().hash_one(std::process::id());
    u32::try_from(hash % 1_000_000_000).unwrap_or_default()
}
