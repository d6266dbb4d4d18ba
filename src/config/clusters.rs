//! The clusters of the configuration: their names, their keys, and how to reach them.

use std::{path::PathBuf, sync::Arc};

use serde_json::Value;

use super::{
    Fault, Sources, cluster_name,
    fields::Fields,
    keys::{self, KeySource, scalar},
    parse, settings,
};
use crate::domain::{
    policy::Mode,
    signature::{Key, Keys, Secret},
};

/// One cluster as configured.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Its name.
    pub name: Arc<str>,
    /// Where its keys come from, at least one.
    pub keys: Vec<KeySource>,
    /// The way to its API server.
    pub reach: ClusterAccess,
    /// Whether anything is written there.
    pub mode: Mode,
    /// The namespaces that are watched; none for the whole cluster.
    pub namespaces: Vec<Arc<str>>,
    /// Where its keys are configured, for people.
    pub place: String,
    /// Where the way to it is configured.
    pub reach_place: String,
}

/// The way to an API server.
#[derive(Clone, Debug, Default)]
pub struct ClusterAccess {
    /// A kubeconfig; without one, what the environment offers.
    pub kubeconfig: Option<PathBuf>,
    /// A context in it, instead of the current one.
    pub context: Option<String>,
    /// Nothing but the pod's service account.
    pub in_cluster: bool,
    /// The pod's service account if there is one, otherwise the kubeconfig.
    pub prefer_in_cluster: bool,
    /// Allow kubeconfigs that run a program to log in.
    pub allow_exec: bool,
    /// Allow kubeconfigs that do not check certificates.
    pub allow_insecure_tls: bool,
}

impl ClusterConfig {
    /// Reads the keys as they are now. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read or holds no key, or one key that is listed twice.
    pub fn read_keys(&self) -> Result<Keys, String> {
        let keys = self.keys.iter().map(KeySource::read);
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        let mut others = keys.iter().enumerate();
        if others.any(|(index, key)| keys[..index].iter().any(|other| key.same_secret(other))) {
            return Err("it lists the same key twice; keep one, with all its namespaces".into());
        }
        Ok(Keys::new(keys))
    }

    /// Whether any key can change while the service runs.
    pub fn has_key_files(&self) -> bool {
        self.keys.iter().any(KeySource::is_file)
    }
}

/// Reads the list, or the single cluster that flags and environment describe.
pub(super) fn read(sources: &mut Sources<'_>) -> Vec<ClusterConfig> {
    let (list, place) = sources.list("clusters");
    let allow_exec = sources.read(&settings::INSECURE_KUBECONFIG_EXEC, parse::boolean);
    let allow_insecure_tls = sources.read(&settings::INSECURE_KUBECONFIG_TLS, parse::boolean);
    let single = single(sources, list.is_empty());
    let mut clusters = Vec::new();
    if list.is_empty() {
        clusters.extend(single);
    }
    for (index, value) in list.into_iter().enumerate() {
        clusters.extend(listed(sources, format!("{place}[{index}]"), value));
    }
    for cluster in &mut clusters {
        cluster.reach.allow_exec = allow_exec;
        cluster.reach.allow_insecure_tls = allow_insecure_tls;
    }
    check_apart(&mut sources.faults, &clusters);
    clusters
}

/// The only cluster, from flags and environment. Beside a list of clusters these must not be given.
fn single(sources: &mut Sources<'_>, only: bool) -> Option<ClusterConfig> {
    let mut text = |setting| sources.given(setting);
    let named = text(&settings::CLUSTER_NAME);
    let file = text(&settings::TOKEN_FILE);
    let kubeconfig = text(&settings::KUBECONFIG);
    let context = text(&settings::CONTEXT);
    let watched = sources.given_as(&settings::SWEEP_NAMESPACES, Fields::take_names);
    let token = sources
        .variable(settings::TOKEN_ENV)
        .map(|token| (token, settings::TOKEN_ENV.to_owned()));
    if !only {
        let token = token.filter(|_| sources.keys);
        for (_, place) in [named, file, kubeconfig, context, watched, token]
            .into_iter()
            .flatten()
        {
            sources.fault(place, "is for a single cluster; write it into the entry under clusters, or take the list away");
        }
        return None;
    }
    let (name, place) =
        named.unwrap_or_else(|| (settings::CLUSTER_NAME.default.into(), "clusterName".into()));
    let name = cluster_name(&name)
        .map_err(|instead| sources.fault(place, instead))
        .ok();
    let namespaces = watched.map(|(text, place)| {
        parse::namespaces(&text)
            .map_err(|instead| sources.fault(place, format!("invalid value {text:?}: {instead}")))
    });
    let mut keys = Vec::new();
    if let Some((path, _)) = &file {
        keys.push(KeySource::file(path.into()));
    }
    if let Some((token, place)) = token.as_ref().filter(|_| sources.keys) {
        match Secret::new(token) {
            Ok(secret) => keys.push(KeySource::value(secret)),
            Err(error) => sources.fault(
                place,
                format!("{error}; put the token of the Provider's Secret into it"),
            ),
        }
    }
    if sources.keys && file.is_none() && token.is_none() && !sources.unread {
        let problem = "no key is configured; set HELMREBOOT_TOKEN, --token-file, or clusters in the file of --config";
        sources.fault(settings::TOKEN_ENV, problem);
    }
    let reach_place = kubeconfig
        .as_ref()
        .or(context.as_ref())
        .map_or("KUBECONFIG", |(_, place)| place)
        .to_owned();
    let reach = ClusterAccess {
        kubeconfig: kubeconfig.map(|(path, _)| path.into()),
        context: context.map(|(context, _)| context),
        ..ClusterAccess::default()
    };
    let place = file
        .or(token)
        .map_or_else(|| settings::TOKEN_ENV.to_owned(), |(_, place)| place);
    Some(ClusterConfig {
        name: name?,
        keys,
        reach,
        mode: Mode::Act,
        namespaces: namespaces.and_then(Result::ok).unwrap_or_default(),
        place,
        reach_place,
    })
}

/// An entry of the list.
fn listed(sources: &mut Sources<'_>, place: String, value: Value) -> Option<ClusterConfig> {
    let mut fields = match Fields::of(place.clone(), value) {
        Ok(fields) => fields,
        Err(problem) => {
            sources.fault(place, problem);
            return None;
        }
    };
    let name = fields.take_name("name");
    let name = match name.as_ref().map(|name| name.as_deref().map(cluster_name)) {
        Ok(Some(Ok(name))) => Some(name),
        Ok(Some(Err(instead))) => {
            sources.fault(fields.place("name"), instead);
            None
        }
        Err(problem) => {
            sources.fault(fields.place("name"), problem);
            None
        }
        Ok(None) => {
            sources.fault(
                fields.place("name"),
                "is missing; write the cluster's name, as metadata.cluster says it",
            );
            None
        }
    };
    let faults = sources.faults.len();
    let keys = keys::read(sources, &mut fields);
    if !sources.keys {
        sources.faults.truncate(faults);
    }
    let kubeconfig = scalar(sources, &mut fields, "kubeconfig");
    let context = scalar(sources, &mut fields, "context");
    let in_cluster = scalar(sources, &mut fields, "inCluster");
    let in_cluster = in_cluster
        .map_or(Ok(false), |text| parse::boolean(&text))
        .unwrap_or_else(|instead| {
            sources.fault(fields.place("inCluster"), instead);
            false
        });
    if in_cluster && (kubeconfig.is_some() || context.is_some()) {
        sources.fault(
            fields.place("inCluster"),
            "contradicts kubeconfig and context; keep one way to the cluster",
        );
    }
    let mode = scalar(sources, &mut fields, "mode");
    let mode = mode
        .map_or(Ok(Mode::Act), |text| parse::mode(&text))
        .unwrap_or_else(|instead| {
            sources.fault(fields.place("mode"), instead);
            Mode::Observe
        });
    let namespaces = fields.take_names("sweepNamespaces");
    let namespaces = namespaces
        .and_then(|text| text.map_or(Ok(Vec::new()), |text| parse::namespaces(&text)))
        .unwrap_or_else(|instead| {
            sources.fault(fields.place("sweepNamespaces"), instead);
            Vec::new()
        });
    let known = "there is no such field; a cluster has name, keys, kubeconfig, context, inCluster, mode and sweepNamespaces";
    sources
        .faults
        .extend(fields.unknown().into_iter().map(|fault| Fault {
            problem: known.into(),
            ..fault
        }));
    let reach = ClusterAccess {
        kubeconfig: kubeconfig.map(PathBuf::from),
        context,
        in_cluster,
        ..ClusterAccess::default()
    };
    Some(ClusterConfig {
        name: name?,
        keys,
        reach,
        mode,
        namespaces,
        reach_place: place.clone(),
        place,
    })
}

/// Names and keys must differ: with one key for two clusters, each could send alerts for the other. Keys
/// in files are compared when they are read, for what is wrong with a file of one cluster must not keep the
/// others from being served.
fn check_apart(faults: &mut Vec<Fault>, clusters: &[ClusterConfig]) {
    let mut fault = |place: &str, problem: String| {
        faults.push(Fault {
            place: place.to_owned(),
            problem,
        });
    };
    let given = |cluster: &ClusterConfig| -> Vec<Key> {
        cluster.keys.iter().filter_map(KeySource::given).collect()
    };
    for (index, cluster) in clusters.iter().enumerate() {
        let (place, before) = (&cluster.place, &clusters[..index]);
        if before.iter().any(|other| other.name == cluster.name) {
            let name = &cluster.name;
            let problem = format!("the name {name} is taken by another cluster; give each its own");
            fault(place, problem);
        }
        let keys = given(cluster);
        let same = |other: &&ClusterConfig| {
            let theirs = given(other);
            theirs
                .iter()
                .any(|their| keys.iter().any(|key| key.same_secret(their)))
        };
        if let Some(other) = before.iter().find(same) {
            let other = &other.place;
            fault(
                place,
                format!("has the same key as {other}; give each cluster its own"),
            );
        }
    }
}
