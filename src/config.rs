//! The configuration: one value, read once, before a port is bound. Every fault is reported in one go,
//! with its place and what to write instead.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::SignedDuration;

use crate::domain::{
    classify::Classifier,
    limits::{LimitConfig, Rate},
    policy::{Mode, Policies},
};

pub mod clusters;
pub mod fields;
pub mod keys;
mod kinds;
pub mod parse;
mod policies;
mod rules;
pub mod settings;

use clusters::ClusterConfig;
use fields::Fields;
pub use kinds::{LeasePlace, LogFormat, LogOutput, SweepMode, TlsFiles};
use settings::Setting;

/// A request may take so long to arrive.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Stopping takes up to 9 s more, and Kubernetes kills after 30 s.
const LONGEST_SHUTDOWN_DELAY: SignedDuration = SignedDuration::from_secs(15);

/// Something in the configuration that cannot stay as it is.
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
    /// Where probes are answered.
    pub probe_address: String,
    /// The least severe level that is logged.
    pub log_level: tracing::level_filters::LevelFilter,
    /// The format of log lines.
    pub log_format: LogFormat,
    /// Where they go.
    pub log_output: LogOutput,
    /// What messages are worth.
    pub classifier: Arc<Classifier>,
    /// What may be done to releases.
    pub policies: Policies,
    /// The limits of each cluster.
    pub limits: LimitConfig,
    /// How failures are found without an alert.
    pub sweep: SweepMode,
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
    /// Of several replicas, one watches. All reconcile, and compare-and-swap keeps two from writing twice.
    pub leader_elect: bool,
    /// Where the Lease for that is.
    pub lease: LeasePlace,
}

/// Flags as they were given, by their name.
pub type Flags = BTreeMap<&'static str, String>;

/// Reads all sources.
pub(crate) struct Sources<'a> {
    flags: &'a Flags,
    env: &'a dyn Fn(&str) -> Option<String>,
    file: Fields,
    faults: Vec<Fault>,
    /// Whether keys are needed.
    keys: bool,
    /// A file was named and could not be read: settings that are missing may be in it.
    unread: bool,
}

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
            keys,
            flags,
            env,
            file: Fields::default(),
            faults: Vec::new(),
            unread: false,
        };
        sources.read_file();
        let config = sources.config();
        sources.faults.extend(sources.file.unknown());
        (config, sources.faults)
    }
}

impl Sources<'_> {
    fn read_file(&mut self) {
        let Some((path, place)) = self.given(&settings::CONFIG) else {
            return;
        };
        match Fields::read(Path::new(&path)) {
            Ok(fields) => self.file = fields,
            Err(problem) => {
                self.unread = true;
                self.fault(place, problem);
            }
        }
    }

    /// Names every field, so that a setting cannot be forgotten here.
    fn config(&mut self) -> Config {
        use settings as s;
        let duration_at_most = |most: SignedDuration| move |text: &str| parse::duration(text, most);
        let hour = SignedDuration::from_hours(1);
        let year = SignedDuration::from_hours(24 * 365);
        let clusters = clusters::read(self);
        let observed = clusters
            .iter()
            .filter(|cluster| cluster.mode == Mode::Observe)
            .map(|cluster| Arc::clone(&cluster.name))
            .collect();
        let mut policies = policies::read(self, observed);
        policies.base.mode = self.read(&s::MODE, parse::mode);
        Config {
            webhook_address: self.read(&s::WEBHOOK_BIND_ADDRESS, parse::address),
            tls: self.tls(),
            metrics_address: self.read(&s::METRICS_BIND_ADDRESS, parse::address),
            probe_address: self.read(&s::HEALTH_PROBE_BIND_ADDRESS, parse::address),
            log_level: self.read(&s::LOG_LEVEL, parse::level),
            log_format: self.read(&s::LOG_FORMAT, |text| match text {
                "json" => Ok(LogFormat::Json),
                "text" => Ok(LogFormat::Text),
                _ => Err("expected json or text".into()),
            }),
            log_output: self.read(&s::LOG_OUTPUT, |text| match text {
                "stderr" => Ok(LogOutput::Stderr),
                "stdout" => Ok(LogOutput::Stdout),
                _ => Err("expected stderr or stdout".into()),
            }),
            classifier: rules::read(self),
            policies,
            limits: LimitConfig {
                rate: Rate {
                    per_minute: self.read(&s::RATE, |text| parse::number(text, 1..=6000)),
                    burst: self.read(&s::BURST, |text| parse::number(text, 1..=1000)),
                },
                in_flight: self.read(&s::IN_FLIGHT, |text| parse::number(text, 1..=1000)),
                threshold: self.read(&s::BREAKER_THRESHOLD, |text| {
                    parse::number(text, 2..=10_000)
                }),
                window: self.read(&s::BREAKER_WINDOW, duration_at_most(hour * 24)),
                wait: self.read(&s::BREAKER_WAIT, duration_at_most(hour)),
                max_wait: hour,
            },
            sweep: self.read(&s::SWEEP, parse::sweep),
            pause_file: self.given(&s::PAUSE_FILE).map(|(path, _)| path.into()),
            clusters,
            max_connections: self.read(&s::MAX_CONNECTIONS, |text| {
                parse::number(text, 16..=100_000)
            }),
            keep_alive: self.read(&s::KEEP_ALIVE, |text| {
                let keep_alive = parse::duration(text, hour)?.unsigned_abs();
                if keep_alive < SHORTEST_KEEP_ALIVE {
                    return Err("expected 5s or more, at most 1h".into());
                }
                Ok(keep_alive)
            }),
            shutdown_delay: self.read(&s::SHUTDOWN_DELAY, |text| {
                parse::duration_or_zero(text, LONGEST_SHUTDOWN_DELAY)
                    .map(SignedDuration::unsigned_abs)
            }),
            queue_capacity: self.read(&s::QUEUE_CAPACITY, |text| {
                parse::number(text, 1..=1_000_000)
            }),
            max_event_age: self.read(&s::MAX_EVENT_AGE, duration_at_most(year)),
            max_event_ahead: self.read(&s::MAX_EVENT_AHEAD, duration_at_most(hour)),
            leader_elect: self.read(&s::LEADER_ELECT, parse::boolean),
            lease: LeasePlace {
                namespace: self.lease_namespace(),
                kubeconfig: self
                    .given(&s::LEADER_ELECTION_KUBECONFIG)
                    .map(|(path, _)| path.into()),
            },
        }
    }

    fn lease_namespace(&mut self) -> Option<String> {
        let (text, place) = self.given(&settings::LEADER_ELECTION_NAMESPACE)?;
        let names = parse::namespaces(&text).ok();
        let names = names.filter(|names| names.len() == 1);
        let name = names.and_then(|names| names.first().map(ToString::to_string));
        if name.is_none() {
            self.fault(
                place,
                format!("{text:?} is not the name of a namespace; write one"),
            );
        }
        name
    }

    /// The certificate and its key, which go together.
    fn tls(&mut self) -> Option<TlsFiles> {
        let certificate = self.given(&settings::TLS_CERT_FILE);
        let key = self.given(&settings::TLS_KEY_FILE);
        match (certificate, key) {
            (Some((certificate, place)), Some((key, _))) => Some(TlsFiles {
                certificate: certificate.into(),
                key: key.into(),
                place,
            }),
            (None, None) => None,
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

    /// The value of a setting, or its default; a fault where it does not parse.
    fn read<T>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, String>) -> T {
        if let Some((text, place)) = self.given(setting) {
            match parse(text.trim()) {
                Ok(value) => return value,
                Err(instead) => self.fault(place, format!("invalid value {text:?}: {instead}")),
            }
        }
        parse(setting.default).expect("every default parses, as a test shows")
    }

    /// What was given for a setting and where: flag, environment, file. An empty variable is none.
    fn given(&mut self, setting: &Setting) -> Option<(String, String)> {
        self.given_as(setting, Fields::take_scalar)
    }

    /// The same for what the file may say in another way than with a single value.
    fn given_as(
        &mut self,
        setting: &Setting,
        take: impl FnOnce(&mut Fields, &str) -> Result<Option<String>, String>,
    ) -> Option<(String, String)> {
        let in_file = setting.path.and_then(|path| {
            let place = self.file.place(path);
            match take(&mut self.file, path) {
                Ok(value) => value.map(|value| (value, place)),
                Err(problem) => {
                    self.fault(place, problem);
                    None
                }
            }
        });
        let Some((flag, env)) = setting.process else {
            return in_file;
        };
        if let Some(value) = self.flags.get(flag) {
            return Some((value.clone(), format!("--{flag}")));
        }
        self.variable(env)
            .map(|value| (value, env.to_owned()))
            .or(in_file)
    }

    /// The list at a path, and its place; a fault if it is no list.
    fn list(&mut self, path: &str) -> (Vec<serde_json::Value>, String) {
        let place = self.file.place(path);
        let list = self.file.take_list(path).unwrap_or_else(|problem| {
            self.fault(&place, problem);
            Vec::new()
        });
        (list, place)
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    fn fault(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        self.faults.push(Fault {
            place: place.into(),
            problem: problem.into(),
        });
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// A name that is valid in a URL path, a header and a label of a metric.
pub(crate) fn cluster_name(name: &str) -> Result<Arc<str>, String> {
    let good = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
    };
    let edges = name.as_bytes().first().zip(name.as_bytes().last());
    let framed = edges
        .is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric());
    if name.len() <= 63 && framed && name.bytes().all(good) {
        Ok(Arc::from(name))
    } else {
        Err(format!(
            "invalid value {name:?}: expected up to 63 lower-case letters, digits, - and ."
        ))
    }
}

#[cfg(test)]
mod tests;
