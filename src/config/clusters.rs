//! The clusters of the configuration: their names, their keys, and how to reach them.

use std::{mem, path::PathBuf, sync::Arc};

use http::Uri;

use super::{
    Fault,
    file::{ClusterEntry, File},
    keys::{self, KeySource},
    parse, settings,
    sources::{Sources, switch},
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
    pub access: ClusterAccess,
    /// Whether anything is written there.
    pub mode: Mode,
    /// The namespaces that are watched; none for the whole cluster.
    pub namespaces: Vec<Arc<str>>,
    /// Its notification-controller, for Flux events.
    pub events_addr: Option<Uri>,
    /// Where its keys are configured, for people.
    pub place: String,
    /// Where the way to it is configured.
    pub access_place: String,
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

/// The list, or the single cluster that flags, variables and the file describe.
pub(super) fn read(sources: &mut Sources<'_>, file: &mut File) -> Vec<ClusterConfig> {
    let allow_exec = sources.read(
        &settings::INSECURE_KUBECONFIG_EXEC,
        switch(file.insecure_kubeconfig_exec),
        parse::boolean,
    );
    let allow_insecure_tls = sources.read(
        &settings::INSECURE_KUBECONFIG_TLS,
        switch(file.insecure_kubeconfig_tls),
        parse::boolean,
    );
    let entries = mem::take(&mut file.clusters);
    let single = single(sources, file, entries.is_empty());
    let mut clusters = Vec::from_iter(single);
    for (index, entry) in entries.into_iter().enumerate() {
        clusters.extend(entry.check(index, sources));
    }
    for cluster in &mut clusters {
        cluster.access.allow_exec = allow_exec;
        cluster.access.allow_insecure_tls = allow_insecure_tls;
    }
    check_apart(&mut sources.faults, &clusters);
    clusters
}

/// The only cluster. Beside a list of clusters these settings must not be there.
fn single(sources: &mut Sources<'_>, file: &mut File, only: bool) -> Option<ClusterConfig> {
    let given = |setting, in_file: &mut Option<String>| sources.given(setting, in_file.take());
    let named = given(&settings::CLUSTER_NAME, &mut file.cluster_name);
    let key_file = given(&settings::TOKEN_FILE, &mut file.token_file);
    let kubeconfig = given(&settings::KUBECONFIG, &mut file.kubeconfig);
    let context = given(&settings::CONTEXT, &mut file.context);
    let events = given(&settings::EVENTS_ADDR, &mut file.events_addr);
    let watched = file.sweep_namespaces.take().map(|names| names.0);
    let watched = sources.given(&settings::SWEEP_NAMESPACES, watched);
    let token = sources
        .variable(settings::TOKEN_ENV)
        .map(|token| (token, settings::TOKEN_ENV.to_owned()));
    if !only {
        let token = token.filter(|_| sources.keys);
        for (_, place) in [named, key_file, kubeconfig, context, events, watched, token]
            .into_iter()
            .flatten()
        {
            sources.fault(place, "is for a single cluster; write it into the entry under clusters, or take the list away");
        }
        return None;
    }
    let named =
        named.unwrap_or_else(|| (settings::CLUSTER_NAME.default.into(), "clusterName".into()));
    let name = sources.checked(named, parse::cluster_name);
    let namespaces = watched.and_then(|watched| sources.checked(watched, parse::namespaces));
    let events_addr = events.and_then(|events| sources.checked(events, parse::http_address));
    let mut keys = Vec::new();
    if let Some((path, _)) = &key_file {
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
    if sources.keys && key_file.is_none() && token.is_none() && !sources.unread {
        let problem = "no key is configured; set HELMREBOOT_TOKEN, --token-file, or clusters in the file of --config";
        sources.fault(settings::TOKEN_ENV, problem);
    }
    let access_place = kubeconfig
        .as_ref()
        .or(context.as_ref())
        .map_or("KUBECONFIG", |(_, place)| place)
        .to_owned();
    let access = ClusterAccess {
        kubeconfig: kubeconfig.map(|(path, _)| path.into()),
        context: context.map(|(context, _)| context),
        ..ClusterAccess::default()
    };
    let place = key_file
        .or(token)
        .map_or_else(|| settings::TOKEN_ENV.to_owned(), |(_, place)| place);
    Some(ClusterConfig {
        name: name?,
        keys,
        access,
        mode: Mode::Act,
        namespaces: namespaces.unwrap_or_default(),
        events_addr,
        place,
        access_place,
    })
}

impl ClusterEntry {
    fn check(self, index: usize, sources: &mut Sources<'_>) -> Option<ClusterConfig> {
        let (needs_keys, env) = (sources.keys, sources.env);
        let mut section = sources.section();
        let mut section = section.inner("clusters");
        let mut section = section.item(index);
        let name = section.checked("name", Some(self.name), |name| parse::cluster_name(name));
        let keys = if needs_keys {
            keys::check(self.keys, section.inner("keys"), env)
        } else {
            Vec::new()
        };
        let in_cluster = self.in_cluster.unwrap_or_default();
        if in_cluster && (self.kubeconfig.is_some() || self.context.is_some()) {
            let problem = "contradicts kubeconfig and context; keep one way to the cluster";
            section.field_fault("inCluster", problem);
        }
        let watched = self.sweep_namespaces.map(|names| names.0);
        let namespaces =
            section.checked("sweepNamespaces", watched, |names| parse::namespaces(names));
        let events_addr = section.checked("eventsAddr", self.events_addr, |text| {
            parse::http_address(text)
        });
        let place = section.place().to_owned();
        Some(ClusterConfig {
            name: name?,
            keys,
            access: ClusterAccess {
                kubeconfig: self.kubeconfig.map(PathBuf::from),
                context: self.context,
                in_cluster,
                ..ClusterAccess::default()
            },
            mode: self.mode.unwrap_or_default(),
            namespaces: namespaces.unwrap_or_default(),
            events_addr,
            access_place: place.clone(),
            place,
        })
    }
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
