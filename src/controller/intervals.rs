//! The times between the reconciles of one release.

use std::time::Duration;

/// The times between reconciles. [`Self::faster`] shortens them for the demo and the tests.
#[derive(Clone, Debug)]
pub struct Intervals {
    /// From the alert to the first reconcile: in every recorded story, the alert came before the status.
    pub first: Duration,
    /// From one reconcile to the next while a release waits. The last one is repeated.
    pub waiting: Vec<Duration>,
    /// A wait of this length is reported.
    pub long_wait: Duration,
    /// From one reconcile to the next after that, and while a person has to act.
    pub slow: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(2),
            waiting: [5, 10, 20, 40, 60].map(Duration::from_secs).to_vec(),
            long_wait: Duration::from_mins(30),
            slow: Duration::from_mins(10),
        }
    }
}

impl Intervals {
    /// The same, divided by `factor`.
    pub fn faster(&self, factor: f64) -> Self {
        let scale = |duration: &Duration| duration.div_f64(factor);
        Self {
            first: scale(&self.first),
            waiting: self.waiting.iter().map(scale).collect(),
            long_wait: scale(&self.long_wait),
            slow: scale(&self.slow),
        }
    }

    /// The wait after so many reconciles.
    pub(super) fn after(&self, reconciles: u32) -> Duration {
        let index = usize::try_from(reconciles.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = self.waiting.get(index).or(self.waiting.last());
        wait.copied().unwrap_or(self.first)
    }
}
