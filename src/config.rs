//! The configuration: one value, read once, before a port is bound. Every fault is reported in one go,
//! with its place and what to write instead.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use jiff::SignedDuration;

use crate::domain::{
    classify::Classifier,
    limits::LimitConfig,
    link::Link,
    policy::{Mode, Policies},
};

pub mod clusters;
mod file;
pub mod keys;
mod kinds;
mod limits;
mod links;
mod parse;
mod policies;
mod rules;
mod section;
pub mod settings;
mod sources;

use clusters::ClusterConfig;
use file::{File, TlsSection};
pub use kinds::{DashboardPort, LeasePlace, LogFormat, LogLevel, LogOutput, SweepMode, TlsFiles};
use sources::{Sources, switch};

/// The headers of a request may take as long to arrive (`server::HEADER_TIMEOUT`).
const SHORTEST_KEEP_ALIVE: SignedDuration = SignedDuration::from_secs(5);

/// Stopping takes up to 9 s more, and Kubernetes kills after 30 s.
const LONGEST_SHUTDOWN_DELAY: SignedDuration = SignedDuration::from_secs(15);

/// An error in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Flag, environment variable, or file and path in it.
    pub place: String,
    /// What is wrong, and what to write instead. Never holds a secret.
    pub problem: String,
}

/// The configuration of `serve`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address of the webhook, as `host:port`; an empty host is every interface.
    pub webhook_address: String,
    /// The certificate of the webhook; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Where metrics are served.
    pub metrics_address: String,
    /// Where the page is served.
    pub dashboard: DashboardPort,
    /// Links on the page of each release.
    pub links: Vec<Link>,
    /// Where probes are answered.
    pub probe_address: String,
    /// The least severe level that is logged.
    pub log_level: tracing::level_filters::LevelFilter,
    /// The format of log lines.
    pub log_format: LogFormat,
    /// Where they go.
    pub log_output: LogOutput,
    /// The rules that classify failures.
    pub classifier: Arc<Classifier>,
    /// What may be done to releases.
    pub policies: Policies,
    /// The limits of each cluster.
    pub limits: LimitConfig,
    /// How failures are found without an alert.
    pub sweep: SweepMode,
    /// Whether Kubernetes Events are created on HelmReleases.
    pub kubernetes_events: bool,
    /// While this file exists, nothing is written.
    pub pause_file: Option<PathBuf>,
    /// The clusters, at least one.
    pub clusters: Vec<ClusterConfig>,
    /// Connections that may be open at each of the three ports.
    pub max_connections: usize,
    /// How long an idle connection stays open.
    pub keep_alive: Duration,
    /// How long alerts are still taken after a signal to stop.
    pub shutdown_delay: Duration,
    /// Releases that may wait for their first reconcile, for each cluster.
    pub queue_capacity: usize,
    /// The oldest event that is taken.
    pub max_event_age: SignedDuration,
    /// How far an event may be in the future.
    pub max_event_ahead: SignedDuration,
    /// Whether the replicas elect a leader.
    pub leader_elect: bool,
    /// The namespace and the kubeconfig of the Lease.
    pub lease: LeasePlace,
}

/// Flags as they were given, by their name.
pub type Flags = BTreeMap<&'static str, String>;

impl Config {
    /// Reads flags, then the environment, then the file that `--config` names, then defaults.
    ///
    /// # Errors
    /// All faults at once.
    pub fn load(flags: &Flags, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        let (config, faults) = Self::read(flags, env);
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(faults)
        }
    }

    /// The same for a caller that checks further: with faults, the configuration only shows
    /// what else there is to check.
    pub fn read(flags: &Flags, env: &dyn Fn(&str) -> Option<String>) -> (Self, Vec<Fault>) {
        Self::read_all(flags, env, true)
    }

    /// The same for a caller that accepts no alerts: keys are neither needed nor read.
    pub fn read_without_keys(
        flags: &Flags,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> (Self, Vec<Fault>) {
        Self::read_all(flags, env, false)
    }

    fn read_all(
        flags: &Flags,
        env: &dyn Fn(&str) -> Option<String>,
        keys: bool,
    ) -> (Self, Vec<Fault>) {
        let mut sources = Sources {
            flags,
            env,
            path: PathBuf::new(),
            faults: Vec::new(),
            keys,
            unread: false,
        };
        let file = sources.file();
        let config = sources.config(file);
        (config, sources.faults)
    }
}

impl Sources<'_> {
    /// Names every field, so that a setting cannot be forgotten here.
    fn config(&mut self, mut file: File) -> Config {
        use settings as s;
        let hour = SignedDuration::from_hours(1);
        let year = SignedDuration::from_hours(24 * 365);
        let clusters = clusters::read(self, &mut file);
        let observed = clusters
            .iter()
            .filter(|cluster| cluster.mode == Mode::Observe)
            .map(|cluster| Arc::clone(&cluster.name))
            .collect();
        let mut section = self.section();
        let mut base = policies::base(file.policy, &mut section.inner("policy"));
        let listed = policies::listed(file.policies, &base, section.inner("policies"));
        let limits = file.limits.check(section.inner("limits"));
        let links = links::listed(file.dashboard_links, section.inner("dashboardLinks"));
        let classifier = rules::classifier(file.rules, section.inner("rules"));
        let (mut max_connections, mut queue_capacity) = (1024, 4096);
        let (mut keep_alive, mut shutdown_delay) =
            (SignedDuration::from_secs(75), SignedDuration::from_secs(5));
        let (mut max_event_age, mut max_event_ahead) =
            (SignedDuration::from_mins(15), SignedDuration::from_mins(5));
        section.set(
            &mut max_connections,
            "maxConnections",
            file.max_connections,
            parse::within(16..=100_000),
        );
        section.set(
            &mut queue_capacity,
            "queueCapacity",
            file.queue_capacity,
            parse::within(1..=1_000_000),
        );
        section.set(&mut keep_alive, "keepAlive", file.keep_alive, |text| {
            let keep_alive = parse::duration(text, hour)
                .ok()
                .filter(|given| *given >= SHORTEST_KEEP_ALIVE);
            keep_alive.ok_or_else(|| "expected a duration such as 75s, from 5s to 1h".into())
        });
        section.set(
            &mut shutdown_delay,
            "shutdownDelay",
            file.shutdown_delay,
            |text| parse::duration_or_zero(text, LONGEST_SHUTDOWN_DELAY),
        );
        section.set(
            &mut max_event_age,
            "maxEventAge",
            file.max_event_age,
            |text| parse::duration(text, year),
        );
        section.set(
            &mut max_event_ahead,
            "maxEventAhead",
            file.max_event_ahead,
            |text| parse::duration(text, hour),
        );
        base.mode = self.read(&s::MODE, file.mode.map(Mode::as_str), |text| {
            parse::word(text, Mode::ALL, Mode::as_str)
        });
        let sweep = self.read(&s::SWEEP, file.sweep, parse::sweep);
        let leader_elect = self.read(&s::LEADER_ELECT, switch(file.leader_elect), parse::boolean);
        if leader_elect && sweep == SweepMode::Off {
            let problem = "is not possible with leader election: a standby does not pass its alerts on, so only the watcher of the leader finds these failures; write watch, or an interval";
            self.fault("sweep: off", problem);
        }
        let level = self.read(
            &s::LOG_LEVEL,
            file.log_level.map(LogLevel::as_str),
            |text| parse::word(text, LogLevel::ALL, LogLevel::as_str),
        );
        Config {
            webhook_address: self.read(
                &s::WEBHOOK_BIND_ADDRESS,
                file.webhook_bind_address,
                parse::address,
            ),
            tls: self.tls(file.tls),
            metrics_address: self.read(
                &s::METRICS_BIND_ADDRESS,
                file.metrics_bind_address,
                parse::address,
            ),
            dashboard: self.read(
                &s::DASHBOARD_BIND_ADDRESS,
                file.dashboard_bind_address,
                parse::dashboard,
            ),
            links,
            probe_address: self.read(
                &s::HEALTH_PROBE_BIND_ADDRESS,
                file.health_probe_bind_address,
                parse::address,
            ),
            log_level: level.into(),
            log_format: self.read(
                &s::LOG_FORMAT,
                file.log_format.map(LogFormat::as_str),
                |text| parse::word(text, LogFormat::ALL, LogFormat::as_str),
            ),
            log_output: self.read(
                &s::LOG_OUTPUT,
                file.log_output.map(LogOutput::as_str),
                |text| parse::word(text, LogOutput::ALL, LogOutput::as_str),
            ),
            classifier,
            policies: Policies {
                base,
                listed,
                observed,
            },
            limits,
            sweep,
            kubernetes_events: self.read(
                &s::KUBERNETES_EVENTS,
                switch(file.kubernetes_events),
                parse::boolean,
            ),
            pause_file: self.path(&s::PAUSE_FILE, file.pause_file),
            clusters,
            max_connections,
            keep_alive: keep_alive.unsigned_abs(),
            shutdown_delay: shutdown_delay.unsigned_abs(),
            queue_capacity,
            max_event_age,
            max_event_ahead,
            leader_elect,
            lease: LeasePlace {
                namespace: self
                    .given(
                        &s::LEADER_ELECTION_NAMESPACE,
                        file.leader_election_namespace,
                    )
                    .and_then(|given| self.checked(given, parse::namespace)),
                kubeconfig: self.path(
                    &s::LEADER_ELECTION_KUBECONFIG,
                    file.leader_election_kubeconfig,
                ),
            },
        }
    }

    /// The certificate and its key, which go together.
    fn tls(&mut self, in_file: TlsSection) -> Option<TlsFiles> {
        let certificate = self.given(&settings::TLS_CERT_FILE, in_file.cert_file);
        let key = self.given(&settings::TLS_KEY_FILE, in_file.key_file);
        match (certificate, key) {
            (Some((certificate, place)), Some((key, _))) => Some(TlsFiles {
                certificate: certificate.into(),
                key: key.into(),
                place,
            }),
            (None, None) => None,
            _ if self.unread => None,
            (Some((_, place)), None) => {
                self.fault(place, "has no key; set --tls-key-file too");
                None
            }
            (None, Some((_, place))) => {
                self.fault(place, "has no certificate; set --tls-cert-file too");
                None
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

#[cfg(test)]
mod tests;
