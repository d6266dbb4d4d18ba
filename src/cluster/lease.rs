//! Which of several replicas sweeps: the one that holds a Lease in helmreboot's own namespace. Nothing worse
//! than a double look hinges on it: every write is a compare-and-swap.

use std::{pin::pin, time::Duration};

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::time::{sleep, timeout};

use crate::domain::mask::mask;

/// The Lease's name.
pub const LEASE: &str = "helmreboot";

/// How long the holder may be silent before another takes over, in seconds; Flux's own controllers give 35.
const DURATION: u64 = 30;

/// How long before that the holder renews it, in seconds.
const GRACE: u64 = 10;

/// How long to wait after something went wrong.
const AGAIN: Duration = Duration::from_secs(10);

/// How long letting go may take; after that the Lease runs out by itself.
const FAREWELL: Duration = Duration::from_secs(3);

/// The most of an error that is told.
const SAID: usize = 300;

/// The way to the Lease.
#[derive(Clone)]
pub struct Lease {
    client: Client,
    identity: String,
}

impl Lease {
    /// A Lease in the namespace the client is at home in, held by nobody else of that identity. The client
    /// must not wait for answers for ever.
    pub fn new(client: Client, identity: String) -> Self {
        Self { client, identity }
    }

    /// Campaigns until `resigned`, and then lets go of the Lease. Each change is told.
    pub async fn campaign(self, tell: impl Fn(bool), resigned: impl Future<Output = ()>) {
        let mut resigned = pin!(resigned);
        let mut said = None;
        loop {
            let manager = tokio::select! {
                biased;
                () = &mut resigned => return,
                manager = self.manager() => manager,
            };
            let error = match manager {
                Err(error) => error,
                Ok(manager) => loop {
                    let changed = tokio::select! {
                        biased;
                        () = &mut resigned => {
                            let _ = timeout(FAREWELL, manager.release()).await;
                            return;
                        }
                        changed = manager.changed() => changed,
                    };
                    match changed {
                        Ok(leads) => {
                            let who = if leads { "this" } else { "another" };
                            tracing::info!(
                                identity = self.identity,
                                "{who} replica sweeps from now on"
                            );
                            tell(leads);
                            said = None;
                        }
                        Err(error) => break error,
                    }
                },
            };
            tell(false);
            let problem = self.problem(&error);
            if said.as_ref() != Some(&problem) {
                tracing::warn!("no replica is chosen to sweep: {problem}");
                said = Some(problem);
            }
            tokio::select! {
                biased;
                () = &mut resigned => return,
                () = sleep(AGAIN) => {}
            }
        }
    }

    /// A fresh one makes the Lease anew where somebody took it away.
    async fn manager(&self) -> Result<LeaseManager, LeaseManagerError> {
        LeaseManagerBuilder::new(self.client.clone(), LEASE)
            .with_namespace(self.client.default_namespace())
            .with_identity(&self.identity)
            .with_field_manager(format!("helmreboot-{}", self.identity))
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await
    }

    /// What went wrong, and where rights are missing, which.
    fn problem(&self, error: &LeaseManagerError) -> String {
        let said = mask(&error.to_string(), SAID);
        if !said.contains("is forbidden") {
            return said;
        }
        format!(
            "{said}; grant create, get and patch on leases.coordination.k8s.io in namespace {}, or set leaderElect: false",
            self.client.default_namespace()
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
