//! Reports facts about one cluster as a whole: to the log and to the journal.

use std::sync::Arc;

use tracing::{error, info, warn};

use crate::{
    clock::Clock,
    domain::{
        journal::Journal,
        report::{ClusterFact, Level},
    },
};

/// Reports facts about one cluster.
#[derive(Clone, Debug)]
pub struct Reporter {
    cluster: Arc<str>,
    journal: Arc<Journal>,
    clock: Clock,
}

impl Reporter {
    /// A reporter for a cluster, by its name.
    pub fn new(cluster: Arc<str>, journal: Arc<Journal>, clock: Clock) -> Self {
        Self {
            cluster,
            journal,
            clock,
        }
    }

    /// Reports a fact. The caller reports each fact once.
    pub fn publish(&self, fact: &ClusterFact) {
        let cluster = &self.cluster;
        self.journal.push(fact.entry(cluster, self.clock.now()));
        let (line, (what, reason)) = (fact.line(cluster), fact.words());
        match fact.level() {
            Level::Error => error!(%cluster, what, reason, "{line}"),
            Level::Warn => warn!(%cluster, what, reason, "{line}"),
            Level::Info | Level::Debug => info!(%cluster, what, reason, "{line}"),
        }
    }
}
