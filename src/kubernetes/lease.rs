//! The Lease of the leader election: only its holder acts. If two replicas act at the same time, only one of two writes to
//! an object succeeds, because each write contains the resourceVersion that was read.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    pin::pin,
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease as LeaseObject, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::Connection;
use crate::{
    clock::Clock,
    config::{LeasePlace, clusters::ClusterAccess},
    domain::{
        election::{Election, LEASE_DURATION, LeaseRecord, NextStep, Role},
        mask::mask,
    },
};

mod page;

/// The Lease's name.
pub const LEASE: &str = "helmreboot";

/// The time between two renewals by the leader.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);

/// The time between two reads by a standby, and between two attempts after an error. A Lease that was released is taken
/// within this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the release of the Lease may take; after that it expires.
pub const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long an attempt that runs at the end may take.
const ATTEMPT_FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the Lease is read and written in one attempt, if each write has a conflict.
const MAX_TRIES: usize = 3;

/// The most characters of an error in the log.
const ERROR_LENGTH: usize = 300;

/// The Lease, and the connection to the API server that keeps it.
#[derive(Clone)]
pub struct Lease {
    connection: Connection,
    place: LeasePlace,
    identity: String,
    clock: Clock,
    retry_interval: Duration,
    /// Where other replicas reach the page of this one.
    page: Option<SocketAddr>,
    leader_page: watch::Sender<Option<SocketAddr>>,
}

/// What was logged about one election.
#[derive(Default)]
struct Logged {
    role: Option<(Role, String)>,
    problem: Option<String>,
}

impl Lease {
    /// A Lease in the namespace of the connection's client. `identity` differs for each replica.
    pub fn new(connection: Connection, identity: String, clock: Clock) -> Self {
        Self {
            connection,
            place: LeasePlace::default(),
            identity,
            clock,
            retry_interval: RETRY_INTERVAL,
            page: None,
            leader_page: watch::Sender::new(None),
        }
    }

    /// The same, and as the leader it says in the Lease where its page is.
    pub fn with_page(self, page: Option<SocketAddr>) -> Self {
        Self { page, ..self }
    }

    /// Where the page of the leader is, unless this replica is the leader.
    pub fn leader_page(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.leader_page.subscribe()
    }

    /// The same with another time between two reads by a standby.
    pub fn retrying_every(self, interval: Duration) -> Self {
        Self {
            retry_interval: interval,
            ..self
        }
    }

    /// A Lease in the cluster and namespace that are configured.
    pub fn at(place: LeasePlace, identity: String) -> Self {
        Self {
            place,
            ..Self::new(Connection::pending_with_limit(), identity, Clock::system())
        }
    }

    /// Keeps the client up to date with its files. `report` gets each problem, and `None` when it is solved.
    pub async fn keep_connection(self, report: impl Fn(Option<&str>)) {
        let access = ClusterAccess {
            prefer_in_cluster: self.place.kubeconfig.is_none(),
            kubeconfig: self.place.kubeconfig.clone(),
            ..ClusterAccess::default()
        };
        self.connection.maintain(access, report).await;
    }

    /// Takes part in the election until `resigned`, and then releases the Lease. `report` gets the role after each
    /// attempt.
    pub async fn elect(self, report: impl Fn(Role), resigned: impl Future<Output = ()>) {
        let mut resigned = pin!(resigned);
        let start = Instant::now();
        let (mut election, mut logged) = (Election::new(self.identity.clone()), Logged::default());
        tokio::select! {
            biased;
            () = &mut resigned => return,
            _ = timeout(ATTEMPT_TIMEOUT, self.connection.first_attempt_done()) => {}
        }
        loop {
            let attempted = {
                let mut attempt =
                    pin!(timeout(ATTEMPT_TIMEOUT, self.attempt(&mut election, start)));
                tokio::select! {
                    biased;
                    () = &mut resigned => {
                        // It may be in the middle of a write.
                        let _ = timeout(ATTEMPT_FINISH_TIMEOUT, attempt).await;
                        break;
                    }
                    attempted = &mut attempt => attempted,
                }
            };
            let problem = match attempted {
                Ok(Ok(())) => None,
                Ok(Err(problem)) => Some(problem),
                Err(_) => Some("the API server does not answer".to_owned()),
            };
            if problem.is_some() {
                election.failed(start.elapsed());
            }
            self.log(&mut logged, &election, problem.as_deref());
            report(election.role());
            let interval = match election.role() {
                Role::Leader if problem.is_none() => RENEW_INTERVAL,
                _ => self.with_jitter(self.retry_interval),
            };
            tokio::select! {
                biased;
                () = &mut resigned => break,
                // Other credentials, or another server.
                () = self.connection.changed() => {}
                () = sleep(interval) => {}
            }
        }
        let _ = timeout(RELEASE_TIMEOUT, self.release()).await;
    }

    /// Reads the Lease, and writes it where this replica holds it or may take it. After a conflict, it reads it again.
    async fn attempt(&self, election: &mut Election, start: Instant) -> Result<(), String> {
        for _ in 0..MAX_TRIES {
            if self.attempt_once(election, start).await? {
                return Ok(());
            }
        }
        Err("each attempt had a conflict with the write of another client".into())
    }

    /// Returns false after a conflict.
    async fn attempt_once(&self, election: &mut Election, start: Instant) -> Result<bool, String> {
        // The connection logs its problem.
        let client = self.connection.client().map_err(|_| String::new())?;
        let leases = self.leases(&client);
        let error = |error: kube::Error| self.problem(&error);
        let found = leases.get_opt(LEASE).await.map_err(error)?;
        let next = election.read(found.as_ref().map(holding), start.elapsed());
        let page = found.as_ref().filter(|_| next == NextStep::Follow);
        let page = page.and_then(page::announced);
        self.leader_page.send_if_modified(|known| {
            let changed = *known != page;
            *known = page;
            changed
        });
        if next == NextStep::Follow {
            return Ok(true);
        }
        // The time before the write: otherwise this replica would believe for too long that it holds the Lease.
        let written_at = start.elapsed();
        let (mut lease, now) = (found.unwrap_or_default(), MicroTime(self.clock.now()));
        let spec = lease.spec.take().unwrap_or_default();
        let kept = (next == NextStep::Renew)
            .then_some(spec.acquire_time)
            .flatten();
        let transitions = spec.lease_transitions.unwrap_or_default();
        lease.metadata.name = Some(LEASE.into());
        lease.metadata.managed_fields = None;
        page::announce(&mut lease, self.page);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: kept.or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions.saturating_add(i32::from(next == NextStep::Take))),
            ..LeaseSpec::default()
        });
        let parameters = PostParams::default();
        let written = if lease.metadata.resource_version.is_some() {
            leases.replace(LEASE, &parameters, &lease).await
        } else {
            leases.create(&parameters, &lease).await
        };
        match written {
            Ok(lease) => election.written(holding(&lease), written_at),
            // Another replica was faster. The next read shows which.
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(false),
            Err(other) => return Err(error(other)),
        }
        Ok(true)
    }

    /// Gives the Lease up, if this replica holds it. The next replica takes it at its next read.
    async fn release(&self) -> Result<(), String> {
        for _ in 0..MAX_TRIES {
            if self.release_once().await? {
                break;
            }
        }
        Ok(())
    }

    /// Returns false after a conflict.
    async fn release_once(&self) -> Result<bool, String> {
        let client = self
            .connection
            .client()
            .map_err(|error| error.to_string())?;
        let leases = self.leases(&client);
        let error = |error: kube::Error| self.problem(&error);
        let Some(mut lease) = leases.get_opt(LEASE).await.map_err(error)? else {
            return Ok(true);
        };
        if holding(&lease).holder != self.identity {
            return Ok(true);
        }
        lease.metadata.managed_fields = None;
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(self.clock.now())),
            ..lease.spec.unwrap_or_default()
        });
        match leases.replace(LEASE, &PostParams::default(), &lease).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(other) => Err(error(other)),
        }
    }

    fn leases(&self, client: &Client) -> Api<LeaseObject> {
        Api::namespaced(client.clone(), &self.namespace(client))
    }

    fn namespace(&self, client: &Client) -> String {
        let own = self.place.namespace.clone();
        own.unwrap_or_else(|| client.default_namespace().to_owned())
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

    /// Up to a fifth more, the same for each attempt of a replica, so that replicas do not ask at the same time.
    fn with_jitter(&self, interval: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        self.identity.hash(&mut hasher);
        interval + interval.mul_f64(0.2 * (hasher.finish() % 1000) as f64 / 1000.0)
    }

    /// An error of the API server, with what to do.
    fn problem(&self, error: &kube::Error) -> String {
        let code = match error {
            kube::Error::Api(status) => status.code,
            _ => 0,
        };
        let advice = match code {
            401 => {
                self.connection.refused();
                "; renew the token or certificate of the kubeconfig, which is read again"
            }
            403 => {
                "; grant create, get and update on leases.coordination.k8s.io in that namespace, or set leaderElect: false"
            }
            _ => "",
        };
        format!("{}{advice}", mask(&error.to_string(), ERROR_LENGTH))
    }

    /// Logs each change of the role, and each problem once.
    fn log(&self, logged: &mut Logged, election: &Election, problem: Option<&str>) {
        let (identity, name, holder) = (&self.identity, self.name(), election.holder());
        let role = election.role();
        if let Some(problem) = problem
            && !problem.is_empty()
            && logged.problem.as_deref() != Some(problem)
        {
            tracing::warn!(
                identity,
                "cannot read or write the Lease {name}, retrying: {problem}"
            );
        }
        logged.problem = problem.map(str::to_owned);
        let state = match role {
            Role::Standby => (role, holder.to_owned()),
            role => (role, String::new()),
        };
        // At the start, nothing is known yet.
        let unknown = logged.role.is_none() && role == Role::Standby && holder.is_empty();
        if unknown || logged.role.as_ref() == Some(&state) {
            return;
        }
        match role {
            Role::Leader => tracing::info!(
                identity,
                "this replica is the leader and acts: it holds the Lease {name}"
            ),
            Role::Standby if holder.is_empty() || *holder == self.identity => tracing::info!(
                identity,
                "this replica is a standby and does not act: it could not take or renew the Lease {name}"
            ),
            Role::Standby => tracing::info!(
                identity,
                holder,
                "this replica is a standby and does not act: {holder} holds the Lease {name}"
            ),
            Role::WithoutLease => tracing::warn!(
                identity,
                "no replica is known to hold the Lease {name}, and it cannot be taken: this replica acts without it, and other replicas may do the same; limits and circuit breakers then apply to each replica separately"
            ),
        }
        logged.role = Some(state);
    }
}

fn holding(lease: &LeaseObject) -> LeaseRecord {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    let duration = u64::try_from(seconds).map(Duration::from_secs);
    LeaseRecord {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: duration
            .ok()
            .filter(|it| !it.is_zero())
            .unwrap_or(LEASE_DURATION),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
