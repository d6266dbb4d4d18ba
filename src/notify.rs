//! Sends notices about releases: Kubernetes Events on the HelmRelease, and Flux events.
//!
//! A notice never delays a reconcile: it is put into a bounded queue, and delivered in the background. What cannot be
//! delivered is dropped, and counted.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{
        Mutex,
        mpsc::{self, Receiver, Sender},
    },
    time::sleep,
};

use crate::{
    domain::report::Notice,
    isolation::{self, Part},
    kubernetes::{Cluster, Error},
    metrics::{Destination, Metrics},
};

mod flux;
pub use flux::FluxReceiver;

/// Notices that wait for each destination of a cluster. More are dropped.
const CAPACITY: usize = 1024;

/// The least time between two notices to one destination: at most twenty each second.
const SPACING: Duration = Duration::from_millis(50);

/// The times between the tries to deliver one notice.
const RETRIES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// The time between a panic in a delivery and its next start.
const RESTART_PAUSE: Duration = Duration::from_secs(10);

/// Where the notices of one cluster go.
#[derive(Clone, Debug, Default)]
pub struct Destinations {
    /// Whether Kubernetes Events are created.
    pub kubernetes: bool,
    /// The notification-controller for Flux events.
    pub flux: Option<FluxReceiver>,
}

/// Takes the notices of one cluster. Never waits.
#[derive(Clone, Debug)]
pub struct Outbox {
    kubernetes: Option<Sender<Notice>>,
    flux: Option<Sender<Notice>>,
    /// Whether the line about a full queue was logged.
    full: Arc<AtomicBool>,
    cluster: Arc<str>,
    metrics: Metrics,
}

/// Delivers the notices of one cluster to one destination.
pub struct Delivery {
    cluster: Arc<str>,
    queue: Mutex<Receiver<Notice>>,
    to: To,
    instance: Arc<str>,
    metrics: Metrics,
    /// What went wrong with the last event that was dropped.
    problem: Arc<std::sync::Mutex<Option<String>>>,
}

enum To {
    Kubernetes(Box<Cluster>),
    Flux(FluxReceiver),
}

/// Why a notice was not delivered.
struct Undelivered {
    /// What went wrong, and what to do.
    problem: String,
    /// Whether a further try may succeed.
    transient: bool,
    /// Its namespace is gone, or is being deleted: this is no outage.
    gone: bool,
}

/// The outbox of a cluster, and its deliveries. `instance` is the name of this replica, as people see it.
pub fn outbox(
    cluster: &Cluster,
    destinations: Destinations,
    instance: &Arc<str>,
    metrics: &Metrics,
) -> (Outbox, Vec<Delivery>) {
    let mut deliveries = Vec::new();
    let mut open = |to: To| {
        let (sender, queue) = mpsc::channel(CAPACITY);
        deliveries.push(Delivery {
            cluster: Arc::clone(&cluster.name),
            queue: Mutex::new(queue),
            to,
            instance: Arc::clone(instance),
            metrics: metrics.clone(),
            problem: Arc::default(),
        });
        sender
    };
    let kubernetes = destinations
        .kubernetes
        .then(|| open(To::Kubernetes(Box::new(cluster.clone()))));
    let flux = destinations.flux.map(|receiver| open(To::Flux(receiver)));
    let outbox = Outbox {
        kubernetes,
        flux,
        full: Arc::default(),
        cluster: Arc::clone(&cluster.name),
        metrics: metrics.clone(),
    };
    (outbox, deliveries)
}

impl Outbox {
    /// Queues a notice for each destination; dropped where the queue is full.
    pub fn send(&self, notice: Notice) {
        let severe = notice.severity.is_some();
        for (queue, destination) in [
            (&self.kubernetes, Destination::Kubernetes),
            (&self.flux, Destination::Flux),
        ] {
            let wanted = destination == Destination::Kubernetes || severe;
            let Some(queue) = queue.as_ref().filter(|_| wanted) else {
                continue;
            };
            let sent = queue.try_send(notice.clone()).is_ok();
            if sent {
                // The next outage is logged again when the queue has been empty.
                if queue.capacity() == CAPACITY - 1 {
                    self.full.store(false, Ordering::Relaxed);
                }
                continue;
            }
            self.metrics.event(destination, false);
            if !self.full.swap(true, Ordering::Relaxed) {
                let (cluster, kind) = (&self.cluster, destination.as_str());
                tracing::warn!(%cluster, "more than {CAPACITY} {kind} events of cluster {cluster} wait to be delivered; further events are dropped until some are delivered");
            }
        }
    }
}

impl Delivery {
    /// Delivers until the outbox is dropped and its queue is empty. Returns what went wrong with the last event that
    /// was dropped.
    pub async fn run(self) -> Option<String> {
        let destination = self.destination().as_str();
        let name = format!("the delivery of {destination} events of {}", self.cluster);
        isolation::supervised(
            Part::Background,
            &name,
            &self.metrics,
            RESTART_PAUSE,
            || self.deliver_all(),
        )
        .await;
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        problem.take()
    }

    fn destination(&self) -> Destination {
        match self.to {
            To::Kubernetes(_) => Destination::Kubernetes,
            To::Flux(_) => Destination::Flux,
        }
    }

    async fn deliver_all(&self) {
        let mut failing = false;
        loop {
            // Not held across the delivery: after a panic, the next start takes the next notice.
            let Some(notice) = self.queue.lock().await.recv().await else {
                return;
            };
            let delivered = self.deliver(&notice).await;
            self.metrics.event(self.destination(), delivered.is_ok());
            let cluster = &self.cluster;
            let kind = self.destination().as_str();
            match delivered {
                Ok(()) if std::mem::take(&mut failing) => {
                    tracing::info!(%cluster, "{kind} events of cluster {cluster} are delivered again");
                }
                Ok(()) => {}
                Err(undelivered) if undelivered.gone => {
                    let problem = undelivered.problem;
                    tracing::debug!(%cluster, "a {kind} event of cluster {cluster} is dropped: {problem}");
                }
                // An outage is one line when it begins and one when it ends.
                Err(Undelivered { problem, .. }) => {
                    let text =
                        format!("cannot deliver {kind} events of cluster {cluster}: {problem}");
                    if std::mem::replace(&mut failing, true) {
                        tracing::debug!(%cluster, "{text}");
                    } else {
                        tracing::warn!(%cluster, "{text}; events are dropped until a delivery succeeds");
                    }
                    *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                }
            }
            sleep(SPACING).await;
        }
    }

    async fn deliver(&self, notice: &Notice) -> Result<(), Undelivered> {
        for wait in RETRIES.into_iter().map(Some).chain([None]) {
            let Err(undelivered) = self.try_once(notice).await else {
                return Ok(());
            };
            match wait.filter(|_| undelivered.transient) {
                Some(wait) => sleep(wait).await,
                None => return Err(undelivered),
            }
        }
        Ok(())
    }

    async fn try_once(&self, notice: &Notice) -> Result<(), Undelivered> {
        match &self.to {
            To::Kubernetes(cluster) => {
                let created = cluster.create_event(notice, &self.instance).await;
                created.map_err(|error| undelivered(&error))
            }
            To::Flux(receiver) => receiver.post(notice, &self.instance).await,
        }
    }
}

fn undelivered(error: &Error) -> Undelivered {
    let text = error.to_string();
    // `kubernetes/plugin/pkg/admission/namespace/lifecycle/admission.go`
    let gone = text.contains("because it is being terminated")
        || text.contains("namespaces \"") && text.contains("not found");
    let problem = match error {
        Error::Forbidden(text) | Error::Unavailable(text) if gone => text.clone(),
        Error::Forbidden(text) => format!(
            "the API server refuses: {text}; grant create on events, or set kubernetesEvents to false"
        ),
        Error::Rejected(text) => format!(
            "the API server rejects the Event: {text}; if an admission policy or webhook says so, allow helmreboot to create Events"
        ),
        other => other.to_string(),
    };
    Undelivered {
        problem,
        transient: error.is_transient() && !gone,
        gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As an API server says it.
    #[test]
    fn a_namespace_that_is_gone_is_no_outage_and_needs_no_right() {
        let terminated = "events \"web.1\" is forbidden: unable to create new content in namespace apps because it is being terminated";
        let missing = "namespaces \"apps\" not found";
        for error in [
            Error::Forbidden(terminated.into()),
            Error::Unavailable(missing.into()),
        ] {
            let undelivered = undelivered(&error);
            assert!(undelivered.gone && !undelivered.transient);
            assert!(!undelivered.problem.contains("grant"));
        }
        let forbidden = undelivered(&Error::Forbidden("events is forbidden".into()));
        assert!(!forbidden.gone && forbidden.problem.contains("grant create on events"));
        assert!(undelivered(&Error::Unavailable("etcd".into())).transient);
    }
}
