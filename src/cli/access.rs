//! The clusters that `status`, `explain` and `run` read, with the flags that kubectl has for them.

use std::sync::Arc;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches};

use super::{choose, cluster_arg, flag, serve::Misconfigured, usage, variable};
use crate::{
    config::{
        Config, Flags,
        clusters::ClusterConfig,
        settings::{self, Setting},
    },
    domain::alert::is_dns_name,
    kubernetes::{AnswerMemory, Cluster, Connection, Error, connect::connect},
    metrics::Metrics,
};

/// The settings that matter for reading a cluster.
const SETTINGS: [Setting; 5] = [
    settings::CONFIG,
    settings::CLUSTER_NAME,
    settings::KUBECONFIG,
    settings::INSECURE_KUBECONFIG_TLS,
    settings::MODE,
];

/// Kinds that may stand before a name, as kubectl takes them.
const KINDS: [&str; 5] = [
    "hr",
    "helmrelease",
    "helmreleases",
    "helmrelease.helm.toolkit.fluxcd.io",
    "helmreleases.helm.toolkit.fluxcd.io",
];

/// One cluster to read.
pub(super) struct Target {
    pub(super) cluster: Cluster,
    /// How it is configured.
    pub(super) entry: ClusterConfig,
    pub(super) connection: Connection,
    /// None for all namespaces.
    pub(super) namespace: Option<String>,
    pub(super) config: Arc<Config>,
}

impl Target {
    /// An error of this cluster, for people.
    pub(super) fn problem(&self, what: &str, error: Error) -> anyhow::Error {
        let name = &self.cluster.name;
        anyhow::Error::new(error).context(format!("{what} of cluster {name}"))
    }
}

/// The flags.
pub(super) fn arguments() -> Vec<Arg> {
    let mut arguments = vec![
        Arg::new("namespace")
            .short('n')
            .long("namespace")
            .value_name("NAMESPACE")
            .help("Namespace; default: that of the context"),
        Arg::new("all-namespaces")
            .short('A')
            .long("all-namespaces")
            .help("All namespaces")
            .action(ArgAction::SetTrue)
            .conflicts_with("namespace"),
        Arg::new("contexts")
            .long("context")
            .value_name("CONTEXT")
            .help("Context in the kubeconfig; several, also with commas, for several clusters")
            .value_delimiter(',')
            .action(ArgAction::Append),
        cluster_arg(),
    ];
    arguments.extend(SETTINGS.iter().map(flag));
    arguments
}

/// Reads the configuration. A kubeconfig of a person may run a program to log in, as it may for kubectl.
///
/// # Errors
/// All faults.
pub(super) fn config(flags: &Flags) -> Result<Config, Misconfigured> {
    let mut flags = flags.clone();
    flags
        .entry(settings::INSECURE_KUBECONFIG_EXEC.flag)
        .or_insert_with(|| "true".to_owned());
    let (config, faults) = Config::read_without_keys(&flags, &variable);
    if faults.is_empty() {
        Ok(config)
    } else {
        Err(Misconfigured(faults))
    }
}

/// The clusters that were named: contexts, an entry of the file, or all entries.
///
/// # Errors
/// [`Misconfigured`] for bad usage, and for a kubeconfig that cannot be used.
pub(super) async fn targets(matches: &ArgMatches, flags: &Flags) -> anyhow::Result<Vec<Target>> {
    let config = Arc::new(config(flags)?);
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let contexts: Vec<_> = matches
        .get_many::<String>("contexts")
        .into_iter()
        .flatten()
        .collect();
    let mut clusters: Vec<ClusterConfig> = match text("cluster") {
        Some(wanted) => vec![choose(&config.clusters, Some(&wanted))?.clone()],
        None => config.clusters.clone(),
    };
    if !contexts.is_empty() {
        let only = choose(&clusters, None)?.clone();
        let named = |context: &&String| {
            let mut cluster = only.clone();
            cluster.name = context.as_str().into();
            cluster.access.context = Some((*context).clone());
            cluster.access_place = "--context".into();
            cluster
        };
        clusters = contexts.iter().map(named).collect();
    }
    let namespace = text("namespace");
    if let Some(namespace) = namespace.as_deref().filter(|name| !is_dns_name(name, 63)) {
        return Err(usage(
            "--namespace",
            format!("{namespace} is no name of a namespace"),
        )
        .into());
    }
    let mut targets = Vec::new();
    for cluster in clusters {
        let client = connect(&cluster.access).await.map_err(|problem| {
            usage(
                &cluster.access_place,
                format!("cluster {}: {problem}", cluster.name),
            )
        })?;
        let namespace = if matches.get_flag("all-namespaces") {
            None
        } else {
            Some(
                namespace
                    .clone()
                    .unwrap_or_else(|| client.default_namespace().to_owned()),
            )
        };
        let connection = Connection::to(client);
        targets.push(Target {
            cluster: Cluster::new(
                Arc::clone(&cluster.name),
                connection.clone(),
                AnswerMemory::default(),
                Metrics::default(),
            ),
            entry: cluster,
            connection,
            namespace,
            config: Arc::clone(&config),
        });
    }
    targets.first().context("no cluster is configured")?;
    Ok(targets)
}

/// A release as people write it: `NAME`, `NAMESPACE/NAME`, or `hr/NAME`.
///
/// # Errors
/// It is none of these.
pub(super) fn release_name(text: &str) -> Result<(Option<String>, String), Misconfigured> {
    let (namespace, name) = match text.split_once('/') {
        Some((kind, name)) if KINDS.contains(&kind.to_ascii_lowercase().as_str()) => (None, name),
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    if namespace.is_none_or(|it| is_dns_name(it, 63)) && is_dns_name(name, 253) {
        return Ok((namespace.map(str::to_owned), name.to_owned()));
    }
    Err(usage(
        text,
        "is no release; write NAMESPACE/NAME, NAME -n NAMESPACE, or hr/NAME -n NAMESPACE",
    ))
}
