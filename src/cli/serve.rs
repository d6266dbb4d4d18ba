//! `helmreboot serve`.

use std::{fmt, net::SocketAddr, process::ExitCode, sync::Arc};

use anyhow::Context;
use http::Uri;

use super::variable;
use crate::{
    app::{
        App, ClusterHandle, Listeners, Options, address_of, bind, descriptors, first_keys, random,
    },
    clock::Clock,
    config::{Config, DashboardPort, Fault, Flags, clusters::ClusterConfig, settings},
    domain::signature::Keys,
    kubernetes::{Connection, lease::Lease},
    notify::{Destinations, FluxReceiver},
    server::tls::{self, Tls},
    telemetry,
};

/// Faults in the configuration: exit code 64.
#[derive(Debug)]
pub struct Misconfigured(pub Vec<Fault>);

impl std::error::Error for Misconfigured {}

impl fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(f, "{only}");
        }
        writeln!(f, "the configuration has {} faults:", self.0.len())?;
        self.0.iter().try_for_each(|fault| writeln!(f, "  {fault}"))
    }
}

/// The variable with the IP address of the pod, from the downward API.
const POD_IP: &str = "POD_IP";

/// Reads the configuration, makes clients, binds ports, and serves until a signal.
///
/// # Errors
/// [`Misconfigured`] before a port is bound; anything else later.
pub async fn serve(flags: &Flags) -> anyhow::Result<ExitCode> {
    let (config, mut faults) = Config::read(flags, &variable);
    faults.extend(not_unicode());
    telemetry::init(config.log_level, config.log_format, config.log_output);
    let tls = config.tls.as_ref().and_then(|files| {
        let opened = Tls::new(tls::Files {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        });
        let fault = |problem| Fault {
            place: files.place.clone(),
            problem,
        };
        opened.map_err(|problem| faults.push(fault(problem))).ok()
    });
    if !faults.is_empty() {
        return Err(Misconfigured(faults).into());
    }
    let listeners = Listeners {
        webhook: bind(&config.webhook_address)?,
        metrics: bind(&config.metrics_address)?,
        probes: bind(&config.probe_address)?,
        dashboard: match &config.dashboard {
            DashboardPort::At(address) => Some(bind(address)?),
            DashboardPort::Metrics | DashboardPort::Off => None,
        },
    };
    let signals = telemetry::signals().context("cannot handle signals")?;
    let dashboard = listeners.dashboard.as_ref();
    let named = [
        ("webhook", &listeners.webhook),
        ("metrics", &listeners.metrics),
        ("probes", &listeners.probes),
    ];
    for (name, listener) in named
        .into_iter()
        .chain(dashboard.map(|it| ("dashboard", it)))
    {
        let address = address_of(listener);
        tracing::info!(listener = name, %address, "{name} listens on {address}");
    }
    let clusters: Vec<_> = config
        .clusters
        .iter()
        .map(|cluster| &*cluster.name)
        .collect();
    let clusters = clusters.join(", ");
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        clusters,
        mode = config.policies.base.mode.as_str(),
        "helmreboot {} serves {clusters}",
        env!("CARGO_PKG_VERSION")
    );
    let lease = config.leader_elect.then(|| {
        let page = page_address(&config, &listeners);
        Lease::at(config.lease.clone(), identity()).with_page(page)
    });
    let handles = handles(&config).await;
    let host = host();
    let options = Options {
        lease,
        tls,
        max_connections: max_connections(&config),
        instance: host.into(),
        ..Options::of(&config)
    };
    App::new(options, handles, Clock::system())
        .run(listeners, signals)
        .await?;
    Ok(ExitCode::SUCCESS)
}

/// Where other replicas reach the page of this one: the address of the pod, which the variable POD_IP holds.
fn page_address(config: &Config, listeners: &Listeners) -> Option<SocketAddr> {
    let listener = match config.dashboard {
        DashboardPort::Metrics => &listeners.metrics,
        DashboardPort::At(_) => listeners.dashboard.as_ref()?,
        DashboardPort::Off => return None,
    };
    let ip = variable(POD_IP)?.parse().ok()?;
    Some(SocketAddr::new(ip, address_of(listener).port()))
}

/// Connections that the webhook may have open: fewer than configured where the system allows too few files.
fn max_connections(config: &Config) -> usize {
    let limit = descriptors::raise_limit();
    let configured = config.max_connections;
    let allowed = descriptors::webhook_connections(configured, limit, config.clusters.len());
    if limit < descriptors::FEW {
        let few = descriptors::FEW;
        tracing::warn!(
            "this process may open only {limit} files, so a flood of connections can keep probes from being answered; raise the hard limit of open files to {few} or more"
        );
    }
    if allowed < configured {
        tracing::warn!(
            "the webhook takes {allowed} connections at a time, not {configured} (maxConnections), because this process may open only {limit} files; raise the hard limit of open files (of the container runtime, LimitNOFILE of systemd, or ulimit -Hn), or lower maxConnections"
        );
    }
    allowed
}

/// The name of this replica in leader election: the host name and a random number.
fn identity() -> String {
    format!("{}-{}", host(), random())
}

/// The name of the pod.
fn host() -> String {
    std::env::var("HOSTNAME").unwrap_or_else(|_| "helmreboot".into())
}

/// The notification-controller at an address.
pub(super) fn receiver(address: Uri) -> Option<FluxReceiver> {
    let opened = FluxReceiver::at(address.clone());
    opened
        .map_err(|problem| tracing::warn!("Flux events are not sent to {address}: {problem}"))
        .ok()
}

/// Variables that are set to what is no text: they must not read as unset.
fn not_unicode() -> impl Iterator<Item = Fault> {
    let names = settings::PROCESS
        .iter()
        .map(|setting| setting.env)
        .chain([settings::TOKEN_ENV]);
    let broken =
        names.filter(|name| matches!(std::env::var(name), Err(std::env::VarError::NotUnicode(_))));
    broken.map(|name| Fault {
        place: name.into(),
        problem: "is not UTF-8; write plain text".into(),
    })
}

/// What each cluster begins with. What is wrong with one of them is its own affair.
async fn handles(config: &Config) -> Vec<ClusterHandle> {
    let keys = first_keys(&config.clusters).await;
    let clusters = config.clusters.iter().zip(keys);
    let handle = |(cluster, keys): (&ClusterConfig, Keys)| ClusterHandle {
        config: cluster.clone(),
        keys,
        connection: Connection::pending(Arc::default()),
        destinations: Destinations {
            kubernetes: config.kubernetes_events,
            flux: cluster.events_addr.clone().and_then(receiver),
        },
    };
    clusters.map(handle).collect()
}
