//! The servers of the ports.

use axum_server::Handle;
use tokio::task::JoinSet;

use super::{App, Listeners};
use crate::{
    config::DashboardPort,
    server::{self, connections::Connections, tls::Tls},
};

/// Connections that may be open at the port of the metrics, and at that of the probes. Few clients use them.
const ADMIN_CONNECTIONS: usize = 64;

/// Connections that may be open at the port of the page: each open page has one for its event stream.
const PAGE_CONNECTIONS: usize = 1280;

impl App {
    /// Serves all ports until their handle ends them.
    pub(super) fn serve(
        &self,
        listeners: Listeners,
        stop_webhook: &Handle<std::net::SocketAddr>,
        stop_admin: &Handle<std::net::SocketAddr>,
    ) -> JoinSet<std::io::Result<()>> {
        let Listeners {
            webhook,
            metrics,
            probes,
            dashboard,
        } = listeners;
        let mut servers = JoinSet::new();
        let tls = self.tls.as_ref().map(Tls::served);
        servers.spawn(server::serve(
            webhook,
            self.webhook(),
            stop_webhook.clone(),
            tls,
            Connections::new(self.max_connections),
            self.keep_alive,
        ));
        let dashboard = dashboard.map(|listener| (listener, self.dashboard(), PAGE_CONNECTIONS));
        let of_metrics = match self.dashboard_port {
            DashboardPort::Metrics => PAGE_CONNECTIONS,
            DashboardPort::At(_) | DashboardPort::Off => ADMIN_CONNECTIONS,
        };
        let ports = [
            (metrics, self.metrics(), of_metrics),
            (probes, self.probes(), ADMIN_CONNECTIONS),
        ];
        for (listener, router, connections) in ports.into_iter().chain(dashboard) {
            let connections = Connections::new(connections);
            let stop = stop_admin.clone();
            let serving = server::serve(listener, router, stop, None, connections, self.keep_alive);
            servers.spawn(serving);
        }
        servers
    }
}
