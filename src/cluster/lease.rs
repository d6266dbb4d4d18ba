//! Which of several replicas sweeps: the one that holds a Lease in helmreboot's own namespace. Nothing worse
//! than a double look hinges on it: every write is a compare-and-swap.

use std::{pin::pin, time::Duration};

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};

/// The Lease's name.
pub const LEASE: &str = "helmreboot";

/// How long the holder may be silent before another takes over; Flux's own controllers give 35 s.
const DURATION: u64 = 30;

/// How long before that the holder renews it.
const GRACE: u64 = 10;

/// How long to wait where the Lease cannot even be asked for.
const AGAIN: Duration = Duration::from_secs(30);

/// How long letting go may take; after that the Lease runs out by itself.
const FAREWELL: Duration = Duration::from_secs(3);

/// The way to the Lease.
#[derive(Clone)]
pub struct Lease {
    client: Client,
    identity: String,
}

impl Lease {
    /// A Lease in the namespace the client is at home in, held by nobody else of that identity.
    pub fn new(client: Client, identity: String) -> Self {
        Self { client, identity }
    }

    /// Campaigns until `resigned`, and then lets go of the Lease. Each change is told.
    pub async fn campaign(self, tell: impl Fn(bool), resigned: impl Future<Output = ()>) {
        let mut resigned = pin!(resigned);
        let mut said = None;
        loop {
            match self.manager().await {
                Ok(manager) => {
                    said = None;
                    let (mut holds, task) = manager.watch().await;
                    loop {
                        tokio::select! {
                            biased;
                            () = &mut resigned => {
                                // Without anybody to tell, the task lets go and ends.
                                drop(holds);
                                let _ = tokio::time::timeout(FAREWELL, task).await;
                                return;
                            }
                            changed = holds.changed() => if changed.is_err() {
                                break;
                            }
                        }
                        let leads = *holds.borrow_and_update();
                        let who = if leads { "this" } else { "another" };
                        tracing::info!(
                            identity = self.identity,
                            "{who} replica sweeps from now on"
                        );
                        tell(leads);
                    }
                    tell(false);
                }
                Err(error) => {
                    let problem = error.to_string();
                    if said.as_ref() != Some(&problem) {
                        tracing::warn!(
                            "no replica is chosen to sweep: {problem}; grant create, get and patch on leases.coordination.k8s.io in namespace {}, or set leaderElect: false",
                            self.client.default_namespace()
                        );
                        said = Some(problem);
                    }
                }
            }
            tokio::select! {
                biased;
                () = &mut resigned => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

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
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
