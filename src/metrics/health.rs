//! Whether a cluster can be worked with.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

/// How one cluster is, told by those who see it.
#[derive(Debug, Default)]
pub struct Health {
    /// There is a key that alerts can be verified with.
    keys: AtomicBool,
    /// [`UP`], [`DOWN`], or neither before the first try.
    access: AtomicU8,
    /// Calls in a row that the API server did not answer, or did not accept.
    failed: AtomicU32,
}

const UP: u8 = 1;
const DOWN: u8 = 2;

/// One lost call may be a restart of the API server.
const FAILED: u32 = 2;

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

    /// How a call came out.
    pub fn called(&self, answered: bool) {
        if answered {
            self.failed.store(0, Ordering::Relaxed);
        } else {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the kubeconfig was tried, and leads nowhere.
    pub fn has_no_access(&self) -> bool {
        self.access.load(Ordering::Relaxed) == DOWN
    }

    /// Whether alerts can be verified and releases be looked at.
    pub fn is_up(&self) -> bool {
        self.keys.load(Ordering::Relaxed)
            && self.access.load(Ordering::Relaxed) == UP
            && self.failed.load(Ordering::Relaxed) < FAILED
    }
}
