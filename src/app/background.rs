//! Tasks in the background: keys and certificates that change, and the pause file.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    blocking::BlockingRead,
    clusters::{ClusterEntry, Registry},
    config::{clusters::ClusterConfig, keys::shared},
    controller::Pause,
    domain::{election::Role, report::ClusterFact, signature::Keys},
    isolation::{self, Part},
    kubernetes::{
        Connection,
        lease::{Lease, RELEASE_TIMEOUT},
    },
    leadership::Leadership,
    metrics::Metrics,
    reporter::Reporter,
    server::tls::Tls,
};

/// How often key files are read again. The kubelet brings a changed Secret within a minute or so.
const KEY_INTERVAL: Duration = Duration::from_secs(5);

/// How long the first read of keys may keep the start waiting.
const FIRST_READ: Duration = Duration::from_secs(1);

/// The time from a panic in a task in the background to its next start.
const TASK_RESTART_DELAY: Duration = Duration::from_secs(10);

/// The pause file, and what it switches.
#[derive(Clone)]
pub(super) struct PauseFile {
    pub(super) path: PathBuf,
    pub(super) pause: Pause,
    pub(super) metrics: Metrics,
    pub(super) registry: Arc<Registry>,
}

/// The interval between two checks of the pause file.
const PAUSE_INTERVAL: Duration = Duration::from_secs(1);

impl PauseFile {
    /// Checks for the file periodically.
    pub(super) async fn watch(self, metrics: Metrics) {
        isolation::supervised(
            Part::Background,
            "the check for the pause file",
            &metrics,
            TASK_RESTART_DELAY,
            || self.check_periodically(),
        )
        .await;
    }

    async fn check_periodically(&self) {
        let mut reads = BlockingRead::default();
        let mut ticks = interval(PAUSE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.check(&mut reads).await;
        }
    }

    /// Pauses, or ends the pause. At its end, the releases that waited are reconciled.
    pub(super) async fn check(&self, reads: &mut BlockingRead<Result<bool, String>>) {
        let path = self.path.clone();
        let check = move || path.try_exists().map_err(|error| error.to_string());
        let exists = reads.read(check).await.and_then(|exists| exists);
        // If the check fails, the file counts as one that exists: nothing is written in doubt.
        let paused = *exists.as_ref().unwrap_or(&true);
        self.metrics.paused(paused);
        if !self.pause.set(paused) {
            return;
        }
        let file = self.path.display();
        if paused {
            let reason = match exists {
                Ok(_) => format!("{file} exists; delete it to resume"),
                Err(problem) => {
                    format!("cannot check for {file}: {problem}; correct the path or the volume")
                }
            };
            tracing::warn!("paused: decisions are reported, and nothing is written: {reason}");
        } else {
            tracing::info!(
                "no longer paused: {file} does not exist; the releases that waited are reconciled"
            );
            for entry in self.registry.entries() {
                entry.queue.wake_all(Instant::now());
            }
        }
    }
}

/// Reads the webhook's certificate periodically. One that cannot be used is reported, and the earlier one
/// stays in use.
pub(super) async fn refresh_certificate(tls: Tls, metrics: Metrics) {
    let task = "the check of the webhook's certificate";
    isolation::supervised(Part::Background, task, &metrics, TASK_RESTART_DELAY, || {
        refresh_periodically(tls.clone())
    })
    .await;
}

async fn refresh_periodically(mut tls: Tls) {
    let mut reads = BlockingRead::default();
    let mut ticks = interval(KEY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut logged = None;
    loop {
        ticks.tick().await;
        let read = reads.read(tls.reader()).await;
        match read.and_then(|read| tls.renew(read?)) {
            Ok(changed) => {
                logged = None;
                if changed {
                    tracing::info!("the changed certificate of the webhook is now used");
                }
            }
            Err(problem) if logged.as_ref() != Some(&problem) => {
                tracing::warn!("the webhook's certificate stays as it was: {problem}");
                logged = Some(problem);
            }
            Err(_) => {}
        }
    }
}

/// Keeps the client of the Lease up to date with its files.
pub(super) async fn keep_lease_connection(lease: Lease, metrics: Metrics) {
    let log = |problem: Option<&str>| match problem {
        Some(problem) => tracing::warn!(
            "cannot connect to the cluster of the Lease, retrying when its files change, and periodically: {problem}"
        ),
        None => tracing::debug!("the client of the Lease is made"),
    };
    let task = "the connection for the Lease";
    isolation::supervised(Part::Background, task, &metrics, TASK_RESTART_DELAY, || {
        lease.clone().keep_connection(log)
    })
    .await;
}

/// Takes part in leader election until `resigned` is true.
pub(super) async fn run_election(
    lease: Lease,
    leadership: Leadership,
    resigned: watch::Receiver<bool>,
    metrics: Metrics,
) {
    let mut stopping = resigned.clone();
    let stopped = async {
        let _ = stopping.wait_for(|resigned| *resigned).await;
        // The Lease expires by itself.
        tokio::time::sleep(RELEASE_TIMEOUT).await;
    };
    let task = "leader election";
    let election =
        isolation::supervised(Part::Background, task, &metrics, TASK_RESTART_DELAY, || {
            let (leadership, metrics) = (leadership.clone(), metrics.clone());
            let report = move |role: Role| {
                leadership.set_sole(role != Role::WithoutLease);
                leadership.set(role.acts());
                metrics.leader(role.acts());
            };
            // After a panic this replica is a standby until the election says otherwise.
            report(Role::Standby);
            let mut resigned = resigned.clone();
            let resigned = async move { drop(resigned.wait_for(|resigned| *resigned).await) };
            lease.clone().elect(report, resigned)
        });
    // A panic while the Lease is released does not delay the end.
    tokio::select! {
        biased;
        () = election => {}
        () = stopped => {}
    }
}

/// Keeps one cluster's keys and the way to it as its files are.
#[derive(Clone)]
pub(super) struct Keeper {
    pub(super) config: ClusterConfig,
    pub(super) registry: Arc<Registry>,
    pub(super) reporter: Reporter,
    pub(super) metrics: Metrics,
}

impl Keeper {
    /// Makes the client, and a new one when files change or the server refuses it.
    pub(super) async fn keep_connection(self, connection: Connection) {
        let name = &self.config.name;
        let logged = Mutex::new(None);
        let report = |problem: Option<&str>| self.report_access(&logged, problem);
        let task = format!("the connection to {name}");
        isolation::supervised(
            Part::Background,
            &task,
            &self.metrics,
            TASK_RESTART_DELAY,
            || {
                connection
                    .clone()
                    .maintain(self.config.access.clone(), report)
            },
        )
        .await;
    }

    /// Logs that the connection to the API server cannot be used, or that it was replaced.
    fn report_access(&self, logged: &Mutex<Option<bool>>, problem: Option<&str>) {
        let name = &self.config.name;
        let before = logged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(problem.is_none());
        match (problem, before) {
            (Some(problem), _) => {
                self.reporter.publish(&ClusterFact::NoAccess {
                    problem: problem.to_owned(),
                    place: self.config.access_place.to_string(),
                });
            }
            (None, None) => {}
            (None, Some(false)) => {
                self.reporter.publish(&ClusterFact::Access);
            }
            (None, Some(true)) => {
                tracing::info!(cluster = %name, "the changed credentials of cluster {name} are now used");
            }
        }
        if problem.is_none()
            && let Some(entry) = self.registry.get(name)
        {
            entry.queue.retry_all(Instant::now());
        }
    }

    /// Reads key files again and again. What cannot be used is reported, and the old keys stay in force.
    pub(super) async fn keep_keys(self) {
        let name = &self.config.name;
        let task = format!("the keys of {name}");
        isolation::supervised(
            Part::Background,
            &task,
            &self.metrics,
            TASK_RESTART_DELAY,
            || self.read_keys_again_and_again(),
        )
        .await;
    }

    async fn read_keys_again_and_again(&self) {
        let name = &self.config.name;
        let Some(entry) = self
            .registry
            .get(name)
            .filter(|_| self.config.has_key_files())
        else {
            return std::future::pending().await;
        };
        let mut ticks = interval(KEY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reads = BlockingRead::default();
        let mut logged = None;
        loop {
            ticks.tick().await;
            let config = self.config.clone();
            let read = reads.read(move || config.read_keys()).await;
            let renewed = read.and_then(|read| renewed(read?, entry, &self.registry));
            match renewed {
                Ok(changed) => {
                    logged = None;
                    if let Some(keys) = changed {
                        entry.set_keys(keys);
                        tracing::info!(cluster = %name, "the changed keys of cluster {name} are now used");
                    }
                }
                Err(problem) if logged.as_ref() != Some(&problem) => {
                    let place = &self.config.place;
                    if entry.keys().is_empty() {
                        tracing::warn!(cluster = %name, "alerts of cluster {name} are refused, for it has no key: {problem} (configured by {place}; it is read again every {} s)", KEY_INTERVAL.as_secs());
                    } else {
                        tracing::warn!(cluster = %name, "the keys of {name} stay as they were: {problem} (configured by {place})");
                    }
                    logged = Some(problem);
                }
                Err(_) => {}
            }
        }
    }
}

/// The keys of a cluster, if they differ from those in force.
fn renewed(new: Keys, entry: &ClusterEntry, registry: &Registry) -> Result<Option<Keys>, String> {
    let old = entry.keys();
    let same = new.iter().count() == old.iter().count()
        && new
            .iter()
            .zip(old.iter())
            .all(|(new, old)| new.identical(old));
    if same {
        return Ok(None);
    }
    let others = registry.entries().filter(|other| other.name != entry.name);
    let others = others.map(|other| (&other.name, other.keys()));
    apart(&new, others).map(|()| Some(new))
}

/// One key for two clusters would let either speak for the other: the second is refused.
fn apart<'a>(
    new: &Keys,
    mut others: impl Iterator<Item = (&'a Arc<str>, Arc<Keys>)>,
) -> Result<(), String> {
    match others.find(|(_, theirs)| shared(new, theirs)) {
        Some((other, _)) => Err(format!(
            "{other} has the same key; give each cluster its own"
        )),
        None => Ok(()),
    }
}

/// The keys of all clusters as they are at the start, none where they cannot be used: a file that cannot
/// be read costs its own cluster only, and one that hangs keeps the start waiting no longer than this.
pub async fn first_keys(clusters: &[ClusterConfig]) -> Vec<Keys> {
    let reads = clusters.iter().map(|config| {
        let config = config.clone();
        async move {
            let mut read = BlockingRead::default();
            read.read_with_timeout(FIRST_READ, move || config.read_keys())
                .await
        }
    });
    let mut kept: Vec<(&Arc<str>, Arc<Keys>)> = Vec::new();
    for (config, read) in clusters.iter().zip(futures::future::join_all(reads).await) {
        let name = &config.name;
        let read = read.and_then(|read| read);
        let known = kept.iter().map(|(name, keys)| (*name, Arc::clone(keys)));
        let keys = read.and_then(|keys| apart(&keys, known).map(|()| keys));
        let keys = keys.unwrap_or_else(|problem| {
            // The background task reads the files again, and logs problems.
            if !config.has_key_files() {
                tracing::warn!(cluster = %name, "alerts of cluster {name} are refused, for it has no key: {problem} (configured by {})", config.place);
            }
            Keys::default()
        });
        kept.push((name, Arc::new(keys)));
    }
    kept.into_iter().map(|(_, keys)| (*keys).clone()).collect()
}
