//! Which of several replicas sweeps: the one that holds a Lease in helmreboot's own namespace. If two replicas
//! sweep for a moment, they look twice and write once: every write is a compare-and-swap.

use std::{pin::pin, time::Duration};

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::time::{sleep, timeout};

use super::Connection;
use crate::{config::clusters::Reach, domain::mask::mask};

/// The Lease's name.
pub const LEASE: &str = "helmreboot";

/// How long the holder may be silent before another takes over, in seconds; Flux's own controllers give 35.
const DURATION: u64 = 30;

/// How long before that the holder renews it, in seconds.
const GRACE: u64 = 10;

/// How long to wait after something went wrong.
const AGAIN: Duration = Duration::from_secs(10);

/// How long the release of the Lease may take; after that it expires.
const RELEASE_LIMIT: Duration = Duration::from_secs(3);

/// The most characters of an error in the log.
const ERROR_LENGTH: usize = 300;

/// The Lease, and the way to the API server that keeps it.
#[derive(Clone)]
pub struct Lease {
    connection: Connection,
    identity: String,
}

/// What a campaign waits for while it has a manager.
enum Event {
    /// This replica leads from now on, or no longer.
    Leads(bool),
    /// The credentials changed.
    Reconnected,
    Failed(LeaseManagerError),
}

impl Lease {
    /// A Lease in the namespace of the connection's client. `identity` differs for each replica. Requests
    /// of the client have to end in time.
    pub fn new(connection: Connection, identity: String) -> Self {
        Self {
            connection,
            identity,
        }
    }

    /// A Lease in the cluster that this process runs in, or else in the one that the environment leads to.
    pub fn at_home(identity: String) -> Self {
        Self::new(Connection::pending_with_limit(), identity)
    }

    /// Keeps the client up to date with its files. `tell` gets each problem, and `None` when it is solved.
    pub async fn keep_connection(self, tell: impl Fn(Option<&str>)) {
        let home = Reach {
            home: true,
            ..Reach::default()
        };
        self.connection.maintain(home, tell).await;
    }

    /// Campaigns until `resigned`, and then releases the Lease. `tell` gets each change.
    pub async fn campaign(self, tell: impl Fn(bool), resigned: impl Future<Output = ()>) {
        let mut resigned = pin!(resigned);
        let mut leads = false;
        let mut logged = None;
        let mut manager = None;
        tokio::select! {
            biased;
            () = &mut resigned => return,
            () = self.connection.tried() => {}
        }
        loop {
            let event = tokio::select! {
                biased;
                () = &mut resigned => {
                    if let Some(manager) = &manager {
                        let _ = timeout(RELEASE_LIMIT, LeaseManager::release(manager)).await;
                    }
                    return;
                }
                () = self.connection.changed() => Event::Reconnected,
                event = self.next(&mut manager) => event,
            };
            let problem = match event {
                Event::Leads(now) => {
                    if leads != now {
                        let replica = if now { "this" } else { "another" };
                        let identity = &self.identity;
                        tracing::info!(identity, "{replica} replica sweeps from now on");
                    }
                    leads = now;
                    tell(leads);
                    logged = None;
                    continue;
                }
                // A new manager finds the Lease as this one left it.
                Event::Reconnected => {
                    manager = None;
                    continue;
                }
                Event::Failed(error) => self.problem(&error),
            };
            manager = None;
            leads = false;
            tell(false);
            if logged.as_ref() != Some(&problem) {
                tracing::warn!("this replica does not sweep: {problem}");
                logged = Some(problem);
            }
            tokio::select! {
                biased;
                () = &mut resigned => return,
                () = self.connection.changed() => {}
                () = sleep(AGAIN) => {}
            }
        }
    }

    /// The next change of leadership, through a manager that is made where there is none.
    async fn next(&self, manager: &mut Option<LeaseManager>) -> Event {
        let made = match manager {
            Some(manager) => manager,
            None => {
                let Ok(client) = self.connection.client() else {
                    // What is wrong is in the log already, and another client is an event of its own.
                    return std::future::pending().await;
                };
                match self.manager(client).await {
                    Ok(made) => manager.insert(made),
                    Err(error) => return Event::Failed(error),
                }
            }
        };
        made.changed()
            .await
            .map_or_else(Event::Failed, Event::Leads)
    }

    /// A manager that makes the Lease where there is none.
    async fn manager(&self, client: Client) -> Result<LeaseManager, LeaseManagerError> {
        let namespace = client.default_namespace().to_owned();
        LeaseManagerBuilder::new(client, LEASE)
            .with_namespace(namespace)
            .with_identity(&self.identity)
            .with_field_manager(format!("helmreboot-{}", self.identity))
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await
    }

    /// What went wrong, and which rights are missing. Credentials that the server refuses are read again.
    fn problem(&self, error: &LeaseManagerError) -> String {
        if let LeaseManagerError::KubeError(kube::Error::Api(status)) = error
            && status.code == 401
        {
            self.connection.refused();
        }
        let text = mask(&error.to_string(), ERROR_LENGTH);
        if !text.contains("is forbidden") {
            return text;
        }
        let client = self.connection.client();
        let namespace = client.map(|client| client.default_namespace().to_owned());
        let namespace = namespace.unwrap_or_default();
        format!(
            "{text}; grant create, get and patch on leases.coordination.k8s.io in namespace {namespace}, or set leaderElect: false"
        )
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
