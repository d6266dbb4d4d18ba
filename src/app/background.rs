//! What goes on beside the work: keys and certificates that change, and the switch that pauses everything.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    config::{clusters::ClusterConfig, keys::shared},
    domain::signature::Keys,
    metrics::Metrics,
    registry::{Member, Registry},
    server::tls::Tls,
    worker::Pause,
};

/// How often key files are read again. The kubelet brings a changed Secret within a minute or so.
const KEY_INTERVAL: Duration = Duration::from_secs(5);

/// The pause file, and what it switches.
pub(super) struct PauseFile {
    pub(super) path: PathBuf,
    pub(super) pause: Pause,
    pub(super) metrics: Metrics,
    pub(super) registry: Arc<Registry>,
}

/// How often the pause file is looked for.
const PAUSE_INTERVAL: Duration = Duration::from_secs(1);

impl PauseFile {
    /// Looks for it again and again.
    pub(super) async fn heed_for_ever(self) {
        let mut ticks = interval(PAUSE_INTERVAL);
        loop {
            ticks.tick().await;
            self.heed();
        }
    }

    /// Stops or starts writing. What waited for the end of a pause is looked at again.
    pub(super) fn heed(&self) {
        // A file that cannot be looked for is one: restraint comes first.
        let paused = self.path.try_exists().unwrap_or(true);
        self.metrics.paused(paused);
        if !self.pause.set(paused) {
            return;
        }
        let file = self.path.display();
        if paused {
            tracing::warn!(
                "paused: {file} exists; everything is decided and reported, nothing written"
            );
        } else {
            tracing::info!("no longer paused: {file} is gone");
            for member in self.registry.members() {
                member.queue.hasten_all(Instant::now());
            }
        }
    }
}

/// Reads the webhook's certificate again and again. One that cannot be used is reported, and the old
/// one stays in force.
pub(super) async fn refresh_certificate(mut tls: Tls) {
    let mut ticks = interval(KEY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = None;
    loop {
        ticks.tick().await;
        match tls.renew() {
            Ok(changed) => {
                said = None;
                if changed {
                    tracing::info!("the webhook's certificate changed and is in force");
                }
            }
            Err(problem) if said.as_ref() != Some(&problem) => {
                tracing::warn!("the webhook's certificate stays as it was: {problem}");
                said = Some(problem);
            }
            Err(_) => {}
        }
    }
}

/// Reads key files again and again. What cannot be used is reported, and the old keys stay in force.
pub(super) async fn refresh_keys(registry: Arc<Registry>, clusters: Vec<ClusterConfig>) {
    let mut ticks = interval(KEY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut problems: BTreeMap<Arc<str>, String> = BTreeMap::new();
    loop {
        ticks.tick().await;
        for config in &clusters {
            let Some(member) = registry.get(&config.name) else {
                continue;
            };
            let problem = match renewed(config, member, &registry) {
                Err(problem) => problem,
                Ok(changed) => {
                    problems.remove(&config.name);
                    if let Some(keys) = changed {
                        member.set_keys(keys);
                        tracing::info!(cluster = %config.name, "the keys of {} changed and are in force", config.name);
                    }
                    continue;
                }
            };
            if problems.get(&config.name) != Some(&problem) {
                tracing::warn!(cluster = %config.name, "the keys of {} stay as they were: {problem}", config.name);
                problems.insert(Arc::clone(&config.name), problem);
            }
        }
    }
}

/// The keys of a cluster, if they differ from those in force.
fn renewed(
    config: &ClusterConfig,
    member: &Member,
    registry: &Registry,
) -> Result<Option<Keys>, String> {
    let (new, old) = (config.read_keys()?, member.keys());
    let same = new.iter().count() == old.iter().count()
        && new
            .iter()
            .zip(old.iter())
            .all(|(new, old)| new.identical(old));
    if same {
        return Ok(None);
    }
    let others = registry.members().filter(|other| other.name != member.name);
    match others.into_iter().find(|other| shared(&new, &other.keys())) {
        Some(other) => Err(format!(
            "{} has the same key; give each cluster its own",
            other.name
        )),
        None => Ok(Some(new)),
    }
}
