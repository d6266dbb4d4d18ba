//! Whether a cluster can be worked with.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

/// The health of one cluster.
#[derive(Debug, Default)]
pub struct Health {
    /// There is a key that alerts can be verified with.
    keys: AtomicBool,
    /// [`UP`], [`DOWN`], or neither before the first try.
    access: AtomicU8,
    /// Calls in a row that the API server did not answer, or did not accept.
    failed: AtomicU32,
    /// When the first request of an outage failed, and whether its begin was logged.
    outage: Mutex<Option<(Instant, bool)>>,
    expires: Mutex<Option<Timestamp>>,
}

/// The API server of a cluster went away, or came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// No call succeeded for some seconds.
    Began,
    /// It answers again, after so long.
    Ended(Duration),
}

const UP: u8 = 1;
const DOWN: u8 = 2;

/// One lost call may be a restart of the API server.
const FAILED: u32 = 2;

/// For so long no call succeeds before an outage is logged. Behind a balancer, one API server of several may be gone.
const LASTING: Duration = Duration::from_secs(5);

impl Health {
    /// Whether there are keys.
    pub fn keys(&self, there: bool) {
        self.keys.store(there, Ordering::Relaxed);
    }

    /// Whether the kubeconfig leads anywhere.
    pub fn access(&self, works: bool) {
        let state = if works { UP } else { DOWN };
        self.access.store(state, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
    }

    /// When the credential in use expires; `None` where that is not known.
    pub fn set_credential_expires(&self, at: Option<Timestamp>) {
        *self.expires.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// As [`Self::set_credential_expires`].
    pub fn credential_expires(&self) -> Option<Timestamp> {
        *self.expires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a call came out. Whether an outage began or ended with it.
    pub fn called(&self, answered: bool) -> Option<Outage> {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            self.failed.store(0, Ordering::Relaxed);
            let (since, logged) = outage.take()?;
            return logged.then(|| Outage::Ended(since.elapsed()));
        }
        let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
        let (since, logged) = outage.get_or_insert_with(|| (Instant::now(), false));
        let news = failed >= FAILED && since.elapsed() >= LASTING && !*logged;
        *logged |= news;
        news.then_some(Outage::Began)
    }

    /// Whether the kubeconfig was tried, and leads nowhere.
    pub fn has_no_access(&self) -> bool {
        self.access.load(Ordering::Relaxed) == DOWN
    }

    /// Whether the API server answered lately.
    pub fn answers(&self) -> bool {
        self.failed.load(Ordering::Relaxed) < FAILED
    }

    /// Whether alerts can be verified, and the API server answers.
    pub fn is_up(&self) -> bool {
        self.keys.load(Ordering::Relaxed)
            && self.access.load(Ordering::Relaxed) == UP
            && self.failed.load(Ordering::Relaxed) < FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_logged_once_when_no_call_has_succeeded_for_some_seconds() {
        let health = Health::default();
        health.keys(true);
        health.access(true);
        assert_eq!(health.called(false), None);
        assert_eq!(health.called(true), None, "one lost call is none");
        assert_eq!(health.called(false), None);
        assert_eq!(health.called(false), None, "not yet");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(health.called(false), Some(Outage::Began));
        tokio::time::advance(Duration::from_secs(235)).await;
        health.access(true);
        assert_eq!(health.called(false), None);
        assert_eq!(health.called(false), None);
        assert!(!health.is_up());
        let after = Duration::from_secs(240);
        assert_eq!(health.called(true), Some(Outage::Ended(after)));
        assert_eq!(health.called(true), None);
    }
}
