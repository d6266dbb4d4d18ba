//! The clusters that `status`, `explain` and `run` read, with the flags that kubectl has for them.

use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches};
use jiff::{SignedDuration, Timestamp};

use super::{choose, cluster_arg, flag, serve::Misconfigured, usage, variable};
use crate::{
    clock::Clock,
    config::{
        Config, Flags,
        clusters::ClusterConfig,
        settings::{self, Setting},
    },
    domain::{
        alert::{ReleaseRef, is_dns_name},
        decide::Trigger,
        evaluate::{Evaluation, Evaluator},
        ledger::Record,
        release::Release,
    },
    kubernetes::{AnswerMemory, Cluster, Connection, Error, connect::connect},
    metrics::Metrics,
    reporter::Reporter,
};

/// The settings that matter for reading a cluster.
const SETTINGS: [Setting; 5] = [
    settings::CONFIG,
    settings::CLUSTER_NAME,
    settings::KUBECONFIG,
    settings::INSECURE_KUBECONFIG_TLS,
    settings::MODE,
];

/// Kinds that people write before a name, as kubectl accepts them.
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
    /// The flags with which flux and kubectl reach the same cluster; begins with a space where there are any.
    pub(super) flags: String,
    pub(super) config: Arc<Config>,
}

impl Target {
    /// A release, and the time by the clock of the API server where it is known.
    ///
    /// # Errors
    /// It does not exist, or cannot be read.
    pub(super) async fn observe(
        &self,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<(Release, Timestamp)> {
        let release = ReleaseRef {
            cluster: Arc::clone(&self.cluster.name),
            namespace: namespace.into(),
            name: name.into(),
        };
        match self.cluster.observe(&release).await {
            Ok(observed) => Ok((observed.release, observed.at.unwrap_or_else(Timestamp::now))),
            Err(Error::Gone) => bail!(self.missing(&format!("{namespace}/{name}"))),
            Err(error) => Err(self.problem(&format!("cannot get {namespace}/{name}"), error)),
        }
    }

    /// That a release does not exist, for people.
    pub(super) fn missing(&self, name: &str) -> String {
        let cluster = &self.cluster.name;
        format!(
            "there is no HelmRelease {name} in cluster {cluster}; helmreboot status --all -A lists them"
        )
    }

    /// An error of this cluster, for people.
    pub(super) fn problem(&self, what: &str, error: Error) -> anyhow::Error {
        let name = &self.cluster.name;
        anyhow::Error::new(error).context(format!("{what} of cluster {name}"))
    }
}

/// The time in which a status settles: after it, Ready=False with Reconciling=True means that Flux
/// backs off by itself.
const SETTLE: SignedDuration = SignedDuration::from_secs(7);

/// Evaluates a release as the service does, without the memory of the service.
pub(super) fn evaluate(
    config: &Config,
    cluster: &str,
    release: &Release,
    now: Timestamp,
) -> Evaluation {
    let evaluator = Evaluator {
        classifier: &config.classifier,
        policies: &config.policies,
        cluster,
    };
    let trigger = Trigger {
        settled: settled(release, now),
        ..Trigger::default()
    };
    evaluator.evaluate(Some(release), &Record::of(release), &trigger, now)
}

/// Whether the status is old enough to be final.
fn settled(release: &Release, now: Timestamp) -> bool {
    let ready = release.condition("Ready");
    let since = ready.and_then(|ready| ready.last_transition_time.as_deref()?.parse().ok());
    since.is_none_or(|since| now.duration_since(since) >= SETTLE)
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
    if contexts.len() > 1
        && (flags.contains_key("config") || variable("HELMREBOOT_CONFIG").is_some())
    {
        // Policies and modes belong to the names of clusters in the file.
        let problem = "several contexts are not possible with a configuration file; list the clusters in the file";
        return Err(usage("--context", problem).into());
    }
    if !contexts.is_empty() {
        let only = choose(&clusters, None)?.clone();
        let named = |context: &&String| {
            let mut cluster = only.clone();
            if contexts.len() > 1 {
                cluster.name = context.as_str().into();
            }
            cluster.access.context = Some((*context).clone());
            cluster.access_place = "--context".into();
            cluster
        };
        clusters = contexts.iter().map(named).collect();
        clusters.dedup_by(|a, b| a.access.context == b.access.context);
    }
    let namespace = text("namespace");
    if let Some(namespace) = namespace.as_deref().filter(|name| !is_dns_name(name, 63)) {
        return Err(usage(
            "--namespace",
            format!("invalid value \"{namespace}\"; expected the name of a namespace"),
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
        let scopes: Vec<Option<String>> = match &namespace {
            Some(namespace) => vec![Some(namespace.clone())],
            None if !cluster.namespaces.is_empty() => cluster
                .namespaces
                .iter()
                .map(|it| Some(it.to_string()))
                .collect(),
            None if matches.get_flag("all-namespaces") => vec![None],
            None => vec![Some(client.default_namespace().to_owned())],
        };
        let connection = Connection::to(client);
        let flags = flags_of(&cluster);
        for namespace in scopes {
            targets.push(Target {
                cluster: Cluster::new(
                    Arc::clone(&cluster.name),
                    connection.clone(),
                    AnswerMemory::default(),
                    Metrics::default(),
                    Reporter::new(Arc::clone(&cluster.name), Arc::default(), Clock::system()),
                ),
                entry: cluster.clone(),
                connection: connection.clone(),
                namespace,
                flags: flags.clone(),
                config: Arc::clone(&config),
            });
        }
    }
    targets.first().context("no cluster is configured")?;
    Ok(targets)
}

/// The flags with which flux and kubectl reach a cluster.
fn flags_of(cluster: &ClusterConfig) -> String {
    let access = &cluster.access;
    let kubeconfig = access
        .kubeconfig
        .as_ref()
        .map(|file| format!(" --kubeconfig {}", file.display()));
    let context = access
        .context
        .as_ref()
        .map(|context| format!(" --context {context}"));
    kubeconfig.unwrap_or_default() + &context.unwrap_or_default()
}

/// For the help of the commands that read clusters.
pub(super) const EXIT_CODES: &str = "Exit codes: 0; 1 if a cluster or a HelmRelease cannot be read; 64 for invalid flags or configuration.\nReleases that are not ready do not change the exit code.";

/// The releases that were named; a kind as a word of its own before them is skipped, as in `hr web`.
///
/// # Errors
/// One of them is no name of a release.
pub(super) fn release_names(
    matches: &ArgMatches,
) -> Result<Vec<(Option<String>, String)>, Misconfigured> {
    let mut names: Vec<_> = matches
        .get_many::<String>("release")
        .into_iter()
        .flatten()
        .collect();
    if names.len() > 1 && KINDS.contains(&names[0].to_ascii_lowercase().as_str()) {
        names.remove(0);
    }
    let names: Result<Vec<_>, _> = names.into_iter().map(|name| release_name(name)).collect();
    let names = names?;
    let wanted = matches.get_one::<String>("namespace");
    let other = |(namespace, _): &&(Option<String>, String)| {
        wanted.is_some() && namespace.is_some() && namespace.as_ref() != wanted
    };
    match names.iter().find(other) {
        Some((_, name)) => Err(usage(
            "--namespace",
            format!("contradicts the namespace of {name}; keep one"),
        )),
        None => Ok(names),
    }
}

/// A release as people write it: `NAME`, `NAMESPACE/NAME`, or `hr/NAME`.
///
/// # Errors
/// It is none of these.
fn release_name(text: &str) -> Result<(Option<String>, String), Misconfigured> {
    let (namespace, name) = match text.split_once('/') {
        Some((kind, name)) if KINDS.contains(&kind.to_ascii_lowercase().as_str()) => (None, name),
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    if namespace.is_none_or(|it| is_dns_name(it, 63) && !it.contains('.')) && is_dns_name(name, 253)
    {
        return Ok((namespace.map(str::to_owned), name.to_owned()));
    }
    Err(usage(
        text,
        "is no HelmRelease; write NAME, NAMESPACE/NAME, or hr/NAME",
    ))
}
