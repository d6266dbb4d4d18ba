//! From one look to the next.

use std::time::Duration;

/// How long things take. Scaled down where a story is told faster than it happens.
#[derive(Clone, Debug)]
pub struct Intervals {
    /// From the alert to the first look: it came before the status in every recorded story.
    pub settle: Duration,
    /// From one look to the next while waiting; the last is repeated.
    pub looks: Vec<Duration>,
    /// A wait this long is reported, never acted on.
    pub long_wait: Duration,
    /// From one look to the next after that, or while a person has to mend something.
    pub slow: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(2),
            looks: [5, 10, 20, 40, 60].map(Duration::from_secs).to_vec(),
            long_wait: Duration::from_mins(30),
            slow: Duration::from_mins(10),
        }
    }
}

impl Intervals {
    /// The same, `factor` times faster.
    pub fn faster(&self, factor: f64) -> Self {
        let scale = |duration: &Duration| duration.div_f64(factor);
        Self {
            settle: scale(&self.settle),
            looks: self.looks.iter().map(scale).collect(),
            long_wait: scale(&self.long_wait),
            slow: scale(&self.slow),
        }
    }

    /// The wait after so many looks.
    pub(super) fn look(&self, taken: u32) -> Duration {
        let index = usize::try_from(taken.saturating_sub(1)).unwrap_or(usize::MAX);
        self.looks
            .get(index)
            .or(self.looks.last())
            .copied()
            .unwrap_or(self.settle)
    }
}
