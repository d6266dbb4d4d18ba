//! The way to one API server, which may not be there yet, may go, and may change: credentials are read
//! again and again, and when the server does not accept them.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use super::{
    Error,
    connect::{self, Connected},
};
use crate::{config::clusters::Reach, metrics::Health};

/// How often files are read again. The kubelet brings a changed Secret within a minute or so.
const INTERVAL: Duration = Duration::from_secs(5);

/// The longest wait between two tries of a way that does not work; a changed file ends it.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// A credential that expires is renewed so long before.
const EARLY: Duration = Duration::from_mins(1);

/// Credentials that the server does not accept are read again at most so often.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(1);

/// The current client of a cluster. Clones share it.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    state: watch::Sender<State>,
    refused: Notify,
    health: Arc<Health>,
    /// The client was handed in, and no files lead to another one.
    fixed: bool,
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
    /// One that is yet to be made.
    pub fn pending(health: Arc<Health>) -> Self {
        Self::new(State::Pending, health, false)
    }

    /// One through a client that never changes.
    pub fn to(client: Client) -> Self {
        let health = Arc::new(Health::default());
        health.access(true);
        Self::new(State::Up(client), health, true)
    }

    fn new(state: State, health: Arc<Health>, fixed: bool) -> Self {
        Self(Arc::new(Inner {
            state: watch::Sender::new(state),
            refused: Notify::new(),
            health,
            fixed,
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

    /// Waits for another client than the one of the moment.
    pub async fn changed(&self) {
        // The sender is here, so that it cannot have gone.
        let _ = self.0.state.subscribe().changed().await;
    }

    /// Makes the client, and makes it anew whenever what it rests on changes. Tells of each change: the
    /// problem, or none.
    pub async fn maintain(self, reach: Reach, tell: impl Fn(Option<&str>)) {
        if self.0.fixed {
            return std::future::pending().await;
        }
        let mut known = Known::default();
        loop {
            self.pass(&reach, &mut known, &tell).await;
            let again = Instant::now() + INTERVAL;
            tokio::select! {
                biased;
                () = self.0.refused.notified() => {
                    let earliest = known.made + BETWEEN_REFUSALS;
                    sleep_until(earliest).await;
                    known.refused = true;
                }
                () = sleep_until(again) => {}
            }
        }
    }

    /// One look at the files, and what follows from it.
    async fn pass(&self, reach: &Reach, known: &mut Known, tell: &impl Fn(Option<&str>)) {
        let material = match connect::read(reach).await {
            Ok(material) => material,
            Err(problem) => {
                self.failed(known, None, problem, tell);
                return;
            }
        };
        let digest = material.digest;
        let same = known.digest == Some(digest);
        let due = known.due.is_some_and(|due| due <= Instant::now());
        // A program may have another credential although no file has changed.
        let runs = material.exec.is_some();
        // One that always gives a refused credential is not run over and over.
        let pause = (BETWEEN_REFUSALS * 2_u32.pow(known.refusals.min(9))).min(LONGEST_WAIT);
        let refused = runs && known.refused && known.made + pause <= Instant::now();
        if same && !due && !refused {
            return;
        }
        known.refusals = if same && refused {
            known.refusals + 1
        } else {
            0
        };
        match connect::client(material, None).await {
            Ok(connected) => self.made(known, digest, connected, tell),
            Err(problem) => self.failed(known, Some(digest), problem, tell),
        }
    }

    fn made(
        &self,
        known: &mut Known,
        digest: [u8; 32],
        Connected { client, expires }: Connected,
        tell: &impl Fn(Option<&str>),
    ) {
        let until = expires.map(|at| {
            let left = at.duration_since(Timestamp::now());
            let left = Duration::try_from(left).unwrap_or_default();
            Instant::now() + left.saturating_sub(EARLY).max(INTERVAL)
        });
        *known = Known {
            digest: Some(digest),
            due: until,
            made: Instant::now(),
            refusals: known.refusals,
            ..Known::default()
        };
        self.0.health.access(true);
        self.0.state.send_replace(State::Up(client));
        tell(None);
    }

    fn failed(
        &self,
        known: &mut Known,
        digest: Option<[u8; 32]>,
        problem: String,
        tell: &impl Fn(Option<&str>),
    ) {
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
        tell(Some(&problem));
        known.problem = Some(problem);
    }
}

/// What a client was last made from, and when to try again.
struct Known {
    digest: Option<[u8; 32]>,
    due: Option<Instant>,
    made: Instant,
    failures: u32,
    refused: bool,
    /// How many times in a row a program was run because its credential was refused.
    refusals: u32,
    problem: Option<String>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            digest: None,
            due: None,
            made: Instant::now(),
            failures: 0,
            refused: false,
            refusals: 0,
            problem: None,
        }
    }
}
