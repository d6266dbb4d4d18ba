//! The way to one API server, which may not be there yet, may go, and may change: credentials are read
//! again and again, and when the server does not accept them.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    CALL_TIMEOUT, Error,
    connect::{self, Connected, Reads},
    kubeconfig::Digest,
};
use crate::{config::clusters::ClusterAccess, metrics::Health};

/// How often files are read again. The kubelet brings a changed Secret within a minute or so.
const INTERVAL: Duration = Duration::from_secs(5);

/// The longest wait between two tries of a way that does not work; a changed file ends it.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// A credential that expires is renewed so long before.
const EARLY: Duration = Duration::from_mins(1);

/// Credentials that the server does not accept are read again at most so often.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(1);

/// After more failed renewals in a row than this, a client that works is given up. A file may be in the middle
/// of being replaced, or the process out of descriptors for a moment.
const MAX_RENEWAL_FAILURES: u32 = 3;

/// The current client of a cluster. Clones share it.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    state: watch::Sender<State>,
    /// The API server of the last client; the first one is no change.
    server: watch::Sender<Option<Digest>>,
    refused: Notify,
    health: Arc<Health>,
    /// The client was handed in, and no files lead to another one.
    fixed: bool,
    /// How long the headers of an answer may take, and each part of its body; without it, callers limit that.
    limit: Option<Duration>,
}

#[derive(Clone)]
enum State {
    /// Not tried yet.
    Pending,
    Up(Client),
    /// What is wrong.
    Down(Arc<str>),
}

impl Connection {
    /// A connection without a client yet.
    pub fn pending(health: Arc<Health>) -> Self {
        Self::new(State::Pending, health, false, None)
    }

    /// A connection without a client yet, for code that does not limit the time of its requests itself.
    pub fn pending_with_limit() -> Self {
        Self::new(State::Pending, Arc::default(), false, Some(CALL_TIMEOUT))
    }

    /// One through a client that never changes.
    pub fn to(client: Client) -> Self {
        let health = Arc::new(Health::default());
        health.access(true);
        Self::new(State::Up(client), health, true, None)
    }

    fn new(state: State, health: Arc<Health>, fixed: bool, limit: Option<Duration>) -> Self {
        Self(Arc::new(Inner {
            state: watch::Sender::new(state),
            server: watch::Sender::new(None),
            refused: Notify::new(),
            health,
            fixed,
            limit,
        }))
    }

    /// How the cluster is.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.0.health)
    }

    /// The client of the moment.
    pub(super) fn client(&self) -> Result<Client, Error> {
        match &*self.0.state.borrow() {
            State::Up(client) => Ok(client.clone()),
            State::Pending => Err(Error::NoAccess("it is being made".into())),
            State::Down(problem) => Err(Error::NoAccess(problem.to_string())),
        }
    }

    /// The server does not accept the credentials: they may have been rotated.
    pub(super) fn refused(&self) {
        self.0.refused.notify_one();
    }

    /// Waits until the client was made, or could not be made, for the first time.
    pub(super) async fn first_attempt_done(&self) {
        let tried = |state: &State| !matches!(state, State::Pending);
        // The sender is here, so that it cannot have gone.
        let _ = self.0.state.subscribe().wait_for(tried).await;
    }

    /// Waits for another client than the one of the moment.
    pub async fn changed(&self) {
        // The sender is here, so that it cannot have gone.
        let _ = self.0.state.subscribe().changed().await;
    }

    /// Changes of the API server after this call.
    pub fn server_changes(&self) -> ServerChanges {
        ServerChanges(self.0.server.subscribe())
    }

    /// Makes the client, and a new one whenever its kubeconfig changes. Reports each change: the
    /// problem, or none.
    pub async fn maintain(self, access: ClusterAccess, report: impl Fn(Option<&str>)) {
        if self.0.fixed {
            return std::future::pending().await;
        }
        let (mut known, mut reads) = (Known::default(), Reads::default());
        loop {
            let pass = self.pass(&access, &mut reads, &mut known, &report).await;
            if let Pass::FilesChanged = pass {
                continue;
            }
            let again = Instant::now() + INTERVAL;
            tokio::select! {
                biased;
                () = self.0.refused.notified() => {
                    sleep_until(known.refused_at + BETWEEN_REFUSALS).await;
                    known.refused_at = Instant::now();
                    known.refused = true;
                }
                () = sleep_until(again) => {}
            }
        }
    }

    /// Reads the files once, and makes a new client if they changed.
    async fn pass(
        &self,
        access: &ClusterAccess,
        reads: &mut Reads,
        known: &mut Known,
        report: &impl Fn(Option<&str>),
    ) -> Pass {
        let material = match connect::read(access, reads).await {
            Ok(material) => material,
            Err(problem) => {
                self.failed(known, None, problem, report);
                return Pass::Done;
            }
        };
        let digest = material.digest;
        let same = known.digest == Some(digest);
        let due = known.due.is_some_and(|due| due <= Instant::now());
        // A program may have another credential although no file has changed.
        let runs = material.exec.is_some();
        let pause = plugin_backoff(known.useless_runs);
        let refused = runs && known.refused && known.made + pause <= Instant::now();
        if same && !due && !refused {
            known.failures_to_renew = 0;
            // The files hold no other credential.
            known.refused &= runs;
            return Pass::Done;
        }
        let client = tokio::select! {
            biased;
            client = connect::client(material, self.0.limit) => client,
            // A plugin that hangs must not keep a corrected file waiting.
            () = files_changed(access, reads, digest) => return Pass::FilesChanged,
        };
        match client {
            Ok(connected) => self.made(known, digest, connected, report),
            Err(problem) => self.failed(known, Some(digest), problem, report),
        }
        Pass::Done
    }

    fn made(
        &self,
        known: &mut Known,
        digest: Digest,
        connected: Connected,
        report: &impl Fn(Option<&str>),
    ) {
        let left = connected.expires.map(|at| {
            let left = at.duration_since(Timestamp::now());
            Duration::try_from(left).unwrap_or_default()
        });
        let was_up = matches!(*self.0.state.borrow(), State::Up(_));
        let same_files = known.digest == Some(digest);
        let same_client = was_up && known.client == Some(connected.digest);
        // A plugin that gives the same credential again, or one that has expired, is run less often.
        let useless = same_files && (same_client || left.is_some_and(|left| left.is_zero()));
        let useless_runs = if useless { known.useless_runs + 1 } else { 0 };
        let soonest = INTERVAL.max(plugin_backoff(useless_runs));
        let renewed = was_up && same_files && !known.refused;
        *known = Known {
            digest: Some(digest),
            client: Some(connected.digest),
            due: left.map(|left| Instant::now() + left.saturating_sub(EARLY).max(soonest)),
            made: Instant::now(),
            refused_at: known.refused_at,
            useless_runs,
            ..Known::default()
        };
        let expires = connected.credential_expires;
        self.0.health.set_credential_expires(expires);
        if same_client {
            return;
        }
        self.0.health.access(true);
        self.0.server.send_if_modified(|server| {
            let before = server.replace(connected.server);
            before.is_some_and(|before| before != connected.server)
        });
        self.0.state.send_replace(State::Up(connected.client));
        // That a plugin renews its credential in time is no news.
        if !renewed {
            report(None);
        }
    }

    fn failed(
        &self,
        known: &mut Known,
        digest: Option<Digest>,
        problem: String,
        report: &impl Fn(Option<&str>),
    ) {
        let works = matches!(*self.0.state.borrow(), State::Up(_)) && !known.refused;
        if works && known.failures_to_renew < MAX_RENEWAL_FAILURES {
            known.failures_to_renew += 1;
            let failure = known.failures_to_renew;
            tracing::debug!(
                "cannot renew a client, which stays in use (failure {failure} of {MAX_RENEWAL_FAILURES}): {problem}"
            );
            if digest.is_some() {
                known.digest = digest;
                known.due = Some(Instant::now());
            }
            return;
        }
        known.failures = if known.digest == digest {
            known.failures + 1
        } else {
            0
        };
        let wait = INTERVAL * 2_u32.pow(known.failures.min(8));
        known.due = digest.map(|_| Instant::now() + wait.min(LONGEST_WAIT));
        known.digest = digest;
        known.refused = false;
        known.made = Instant::now();
        if known.problem.as_deref() == Some(&problem) {
            return;
        }
        self.0.health.access(false);
        let shown: Arc<str> = problem.as_str().into();
        self.0.state.send_replace(State::Down(shown));
        report(Some(&problem));
        known.problem = Some(problem);
    }
}

/// How long a plugin is not run again, after so many runs in a row that were useless.
fn plugin_backoff(refusals: u32) -> Duration {
    (BETWEEN_REFUSALS * 2_u32.pow(refusals.min(9))).min(LONGEST_WAIT)
}

/// The result of one check of the files.
enum Pass {
    Done,
    /// They changed before a client was made from them.
    FilesChanged,
}

/// Waits until the files are others than those of this digest.
async fn files_changed(access: &ClusterAccess, reads: &mut Reads, digest: Digest) {
    loop {
        sleep(INTERVAL).await;
        let read = connect::read(access, reads).await;
        if read.is_ok_and(|material| material.digest != digest) {
            return;
        }
    }
}

/// What a client was last made from, and when to try again.
struct Known {
    /// Of the files.
    digest: Option<Digest>,
    /// Of the client.
    client: Option<Digest>,
    due: Option<Instant>,
    made: Instant,
    failures: u32,
    /// Failed tries in a row to renew a client that works.
    failures_to_renew: u32,
    refused: bool,
    /// When the server last refused the credential.
    refused_at: Instant,
    /// How many times in a row a plugin was run and gave no other credential, or one that had expired.
    useless_runs: u32,
    problem: Option<String>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            digest: None,
            client: None,
            due: None,
            made: Instant::now(),
            failures: 0,
            failures_to_renew: 0,
            refused: false,
            refused_at: Instant::now(),
            useless_runs: 0,
            problem: None,
        }
    }
}

/// Changes of the API server that a connection leads to.
pub struct ServerChanges(watch::Receiver<Option<Digest>>);

impl ServerChanges {
    /// Waits for the next change.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests;
