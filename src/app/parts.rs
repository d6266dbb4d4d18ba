//! The parts of the service, for callers that run them without ports.

use std::sync::Arc;

use axum::Router;
use tokio::sync::watch;

use super::{App, run_election};
use crate::{
    clusters::Registry,
    config::DashboardPort,
    controller::{Pause, Reconciler, watcher::Watcher},
    domain::journal::Journal,
    leadership::Leadership,
    notify::Delivery,
    server::admin,
    webhook,
};

impl App {
    /// The webhook's routes.
    pub fn webhook(&self) -> Router {
        webhook::router(self.webhook.clone())
    }

    /// `/metrics`, and the page if it is on the same port.
    pub fn metrics(&self) -> Router {
        let metrics = admin::metrics(
            Arc::clone(&self.series),
            self.shared.metrics.clone(),
            Arc::clone(&self.registry),
            self.shared.clock.clone(),
        );
        match self.dashboard_port {
            DashboardPort::Metrics => metrics.merge(self.dashboard()),
            DashboardPort::At(_) | DashboardPort::Off => metrics,
        }
    }

    /// The page and its API.
    pub fn dashboard(&self) -> Router {
        self.dashboard.router()
    }

    /// Tells the event streams what is new, for a caller that runs the parts without ports. Does not return.
    pub fn watch_changes(&self) -> impl Future<Output = ()> + Send + use<> {
        self.dashboard.clone().watch_changes()
    }

    /// `/healthz` and `/readyz`.
    pub fn probes(&self) -> Router {
        admin::probes(self.readiness.clone())
    }

    /// What happened lately.
    pub fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.shared.journal)
    }

    /// Who may speak, and whose failures wait.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// The reconcilers, for a caller that runs them without ports.
    pub fn take_reconcilers(&mut self) -> Vec<Reconciler> {
        std::mem::take(&mut self.reconcilers)
    }

    /// The watchers, for the same caller.
    pub fn take_watchers(&mut self) -> Vec<Watcher> {
        std::mem::take(&mut self.watchers)
    }

    /// The deliveries of events, for the same caller.
    pub fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    /// The election, for the same caller; `None` without one. It ends when `resigned` is true.
    pub fn take_election(
        &mut self,
        resigned: watch::Receiver<bool>,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let (leadership, metrics) = (self.leadership(), self.shared.metrics.clone());
        let lease = self.lease.take()?;
        Some(run_election(lease, leadership, resigned, metrics))
    }

    /// The switch that keeps everything from being written.
    pub fn pause(&self) -> Pause {
        self.shared.pause.clone()
    }

    /// Whether this replica acts.
    pub fn leadership(&self) -> Leadership {
        self.shared.leadership.clone()
    }
}
