//! `helmreboot serve`.

use std::{fmt, process::ExitCode};

use anyhow::Context;

use crate::{
    app::{App, Entrance, Listeners, Options, address_of, bind},
    clock::Clock,
    cluster::connect::connect,
    config::{Config, Fault, Flags},
    telemetry,
};

/// Faults in the configuration: exit code 64.
#[derive(Debug)]
pub struct Misconfigured(pub Vec<Fault>);

impl std::error::Error for Misconfigured {}

impl fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "the configuration has {} fault{}:",
            self.0.len(),
            if self.0.len() == 1 { "" } else { "s" }
        )?;
        self.0.iter().try_for_each(|fault| writeln!(f, "  {fault}"))
    }
}

/// Reads the configuration, makes clients, binds ports, serves until told to stop.
///
/// # Errors
/// [`Misconfigured`] before a port is bound; anything else later.
pub async fn serve(flags: &Flags) -> anyhow::Result<ExitCode> {
    let config = Config::load(flags, &|name| std::env::var(name).ok()).map_err(Misconfigured)?;
    telemetry::init(config.log_level, config.log_format);
    let entrances = entrances(&config).await.map_err(Misconfigured)?;
    let listeners = Listeners {
        webhook: bind(&config.webhook_address)?,
        metrics: bind(&config.metrics_address)?,
        probes: bind(&config.probe_address)?,
    };
    let signals = telemetry::signals().context("cannot handle signals")?;
    for (name, listener) in [
        ("webhook", &listeners.webhook),
        ("metrics", &listeners.metrics),
        ("probes", &listeners.probes),
    ] {
        let address = address_of(listener);
        tracing::info!(listener = name, %address, "{name} listens on {address}");
    }
    let clusters: Vec<_> = config
        .clusters
        .iter()
        .map(|cluster| &*cluster.name)
        .collect();
    let clusters = clusters.join(", ");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), clusters, mode = ?config.policy.mode, "helmreboot {} serves {clusters}", env!("CARGO_PKG_VERSION"));
    if config.leader_elect {
        tracing::info!(
            "leader election is not needed yet: every replica takes alerts and acts, and none acts twice"
        );
    }
    App::new(Options::of(&config), entrances, Clock::system())
        .run(listeners, signals)
        .await?;
    Ok(ExitCode::SUCCESS)
}

/// A client and keys for each cluster; all that fail are named.
async fn entrances(config: &Config) -> Result<Vec<Entrance>, Vec<Fault>> {
    let (mut entrances, mut faults) = (Vec::new(), Vec::new());
    for cluster in &config.clusters {
        let fault = |problem| Fault {
            place: cluster.place.clone(),
            problem: format!("cluster {}: {problem}", cluster.name),
        };
        match (connect(&cluster.reach).await, cluster.read_keys()) {
            (Ok(client), Ok(keys)) => entrances.push(Entrance {
                config: cluster.clone(),
                keys,
                client,
            }),
            (client, keys) => faults.extend(client.err().into_iter().chain(keys.err()).map(fault)),
        }
    }
    if faults.is_empty() {
        Ok(entrances)
    } else {
        Err(faults)
    }
}
