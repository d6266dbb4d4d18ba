//! Leader election: of several replicas, the holder of a Lease in helmreboot's own namespace watches. If two replicas
//! watch for a moment, both reconcile and one writes: every write is a compare-and-swap.

use std::{pin::pin, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::time::{Instant, sleep, timeout};

use super::{CALL_TIMEOUT, Connection};
use crate::{
    clock::wait_until,
    config::{LeasePlace, clusters::ClusterAccess},
    domain::mask::mask,
};

/// The Lease's name.
pub const LEASE: &str = "helmreboot";

/// How long the holder may be silent before another takes over, in seconds; Flux's own controllers give 35.
const DURATION: u64 = 30;

/// How long before that the holder renews it, in seconds.
const GRACE: u64 = 10;

/// The wait after an error.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// How long the release of the Lease may take; after that it expires.
pub const RELEASE_LIMIT: Duration = Duration::from_secs(3);

/// The most characters of an error in the log.
const ERROR_LENGTH: usize = 300;

/// The Lease, and the connection to the API server that keeps it.
#[derive(Clone)]
pub struct Lease {
    connection: Connection,
    place: LeasePlace,
    identity: String,
}

/// The end of one wait in the election.
enum Outcome {
    /// This replica holds the Lease, or no longer holds it.
    Holds(bool),
    /// The client of the Lease was replaced, or became unavailable.
    ConnectionChanged,
    /// After a change of the connection, the Lease was not confirmed in time.
    Unconfirmed,
    Failed(LeaseManagerError),
}

/// The state of one election.
#[derive(Default)]
struct Election {
    manager: Option<LeaseManager>,
    leader: bool,
    /// Until when a leader whose connection changed has to see that it still holds the Lease.
    confirm_by: Option<Instant>,
    /// The last error in the log.
    logged: Option<String>,
    /// The holder that was logged, where it is another replica.
    holder: Option<String>,
}

impl Lease {
    /// A Lease in the namespace of the connection's client, which must have a request timeout. `identity`
    /// differs for each replica.
    pub fn new(connection: Connection, identity: String) -> Self {
        Self {
            connection,
            place: LeasePlace::default(),
            identity,
        }
    }

    /// A Lease in the cluster and namespace that are configured.
    pub fn at(place: LeasePlace, identity: String) -> Self {
        Self {
            connection: Connection::pending_with_limit(),
            place,
            identity,
        }
    }

    /// Keeps the client up to date with its files. `report` gets each problem, and `None` when it is solved.
    pub async fn keep_connection(self, report: impl Fn(Option<&str>)) {
        let reach = ClusterAccess {
            prefer_in_cluster: self.place.kubeconfig.is_none(),
            kubeconfig: self.place.kubeconfig.clone(),
            ..ClusterAccess::default()
        };
        self.connection.maintain(reach, report).await;
    }

    /// Takes part in the election until `resigned`, and then releases the Lease. `report` gets each change: true
    /// when this replica becomes the leader.
    pub async fn elect(self, report: impl Fn(bool), resigned: impl Future<Output = ()>) {
        let mut resigned = pin!(resigned);
        let mut election = Election::default();
        tokio::select! {
            biased;
            () = &mut resigned => return,
            () = self.connection.first_attempt_done() => {}
        }
        loop {
            let Election {
                manager,
                confirm_by,
                holder,
                ..
            } = &mut election;
            let outcome = tokio::select! {
                biased;
                () = &mut resigned => {
                    if let Some(manager) = manager {
                        let _ = timeout(RELEASE_LIMIT, LeaseManager::release(manager)).await;
                    }
                    return;
                }
                () = self.connection.changed() => Outcome::ConnectionChanged,
                outcome = self.next(manager, holder) => outcome,
                () = wait_until(*confirm_by) => Outcome::Unconfirmed,
            };
            match outcome {
                Outcome::Holds(holds) => {
                    election.confirm_by = None;
                    election.logged = None;
                    self.set(&mut election, holds, &report);
                }
                Outcome::ConnectionChanged => {
                    // The next manager reads the Lease again, and only reports that this replica holds it.
                    election.manager = None;
                    let until = Instant::now() + CALL_TIMEOUT;
                    election.confirm_by = election.leader.then_some(until);
                }
                Outcome::Unconfirmed => {
                    election.confirm_by = None;
                    self.set(&mut election, false, &report);
                }
                Outcome::Failed(error) => {
                    election.manager = None;
                    election.confirm_by = None;
                    self.set(&mut election, false, &report);
                    self.log(&mut election, &error);
                    if is_unauthorized(&error) {
                        self.connection.refused();
                    }
                    tokio::select! {
                        biased;
                        () = &mut resigned => return,
                        () = self.connection.changed() => {}
                        () = sleep(RETRY_INTERVAL) => {}
                    }
                }
            }
        }
    }

    /// This replica is the leader, or a standby.
    fn set(&self, election: &mut Election, leader: bool, report: &impl Fn(bool)) {
        report(leader);
        if leader == election.leader {
            return;
        }
        election.leader = leader;
        let (identity, name) = (&self.identity, self.name());
        if leader {
            tracing::info!(
                identity,
                "this replica is the leader and watches: it holds the Lease {name}"
            );
        } else {
            tracing::info!(
                identity,
                "this replica is a standby and does not watch: it no longer holds the Lease {name}"
            );
        }
    }

    /// Logs an error once, until the next success.
    fn log(&self, election: &mut Election, error: &LeaseManagerError) {
        let (name, seconds) = (self.name(), RETRY_INTERVAL.as_secs());
        let text = mask(&error.to_string(), ERROR_LENGTH);
        let advice = if text.contains("is forbidden") {
            "; grant create, get and patch on leases.coordination.k8s.io in that namespace, or set leaderElect: false"
        } else if is_unauthorized(error) {
            "; renew the token or certificate of the kubeconfig, which is read again"
        } else {
            ""
        };
        let problem = format!("{text}{advice}");
        if election.logged.as_ref() != Some(&problem) {
            tracing::warn!(
                identity = self.identity,
                "cannot get or renew the Lease {name}, so this replica does not watch; alerts are handled; retrying every {seconds} s: {problem}"
            );
            election.logged = Some(problem);
        }
    }

    /// Namespace and name of the Lease.
    fn name(&self) -> String {
        let namespace = self
            .connection
            .client()
            .map(|client| self.namespace(&client));
        namespace.map_or_else(
            |_| LEASE.to_owned(),
            |namespace| format!("{namespace}/{LEASE}"),
        )
    }

    fn namespace(&self, client: &Client) -> String {
        let own = self.place.namespace.clone();
        own.unwrap_or_else(|| client.default_namespace().to_owned())
    }

    /// Logs which replica leads if it is another one that was not logged.
    async fn log_leader(&self, client: Client, known: &mut Option<String>) {
        let leases: Api<LeaseObject> = Api::namespaced(client.clone(), &self.namespace(&client));
        let spec = leases.get_opt(LEASE).await.ok().flatten();
        let spec = spec.and_then(|lease| lease.spec).unwrap_or_default();
        let renewed = spec.renew_time.map(|time| time.0);
        let expired = renewed.is_none_or(|at| {
            let age = Timestamp::now().duration_since(at);
            age.as_secs() > i64::from(spec.lease_duration_seconds.unwrap_or_default())
        });
        let holder = spec.holder_identity.filter(|holder| {
            !expired
                && !holder.is_empty()
                && *holder != self.identity
                && known.as_ref() != Some(holder)
        });
        if let Some(holder) = holder {
            let (identity, name) = (&self.identity, self.name());
            tracing::info!(
                identity,
                holder,
                "this replica is a standby and does not watch: {holder} holds the Lease {name}"
            );
            *known = Some(holder);
        }
    }

    /// The next change, through a manager that is made where there is none.
    async fn next(
        &self,
        manager: &mut Option<LeaseManager>,
        holder: &mut Option<String>,
    ) -> Outcome {
        let made = match manager {
            Some(manager) => manager,
            None => {
                let Ok(client) = self.connection.client() else {
                    // The connection logged the problem. The next client is a change of the connection.
                    return std::future::pending().await;
                };
                match self.manager(client.clone()).await {
                    Ok(made) => {
                        self.log_leader(client, holder).await;
                        manager.insert(made)
                    }
                    Err(error) => return Outcome::Failed(error),
                }
            }
        };
        made.changed()
            .await
            .map_or_else(Outcome::Failed, Outcome::Holds)
    }

    /// A manager that makes the Lease where there is none.
    async fn manager(&self, client: Client) -> Result<LeaseManager, LeaseManagerError> {
        let namespace = self.namespace(&client);
        LeaseManagerBuilder::new(client, LEASE)
            .with_namespace(namespace)
            .with_identity(&self.identity)
            .with_field_manager(format!("helmreboot-{}", self.identity))
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await
    }
}

fn is_unauthorized(error: &LeaseManagerError) -> bool {
    let LeaseManagerError::KubeError(kube::Error::Api(status)) = error else {
        return false;
    };
    status.code == 401
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
