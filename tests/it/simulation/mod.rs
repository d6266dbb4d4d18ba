//! Thousands of histories: the real service against embedded clusters in which everything goes wrong
//! that can, on one thread and a paused clock. The same seed gives the same history, to the last write.

use std::{
    panic,
    sync::{Arc, Mutex, MutexGuard, Once},
    time::Duration,
};

use helmreboot::clock::Clock;
use jiff::Timestamp;

mod chaos;
mod check;
mod options;
mod people;
mod replica;
mod scene;

use scene::Scene;

/// When every history begins.
const START: &str = "2026-11-23T12:00:00Z";

/// What came of one history.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Promises that were broken, in order.
    pub(crate) broken: Vec<String>,
    /// What happened, line by line.
    pub(crate) trace: Vec<String>,
    /// Versions of objects that were checked.
    pub(crate) steps: usize,
    /// Faults that struck.
    pub(crate) faults: usize,
    /// Restarts that the clusters saw.
    pub(crate) restarts: usize,
    /// Releases that were ready at the end, and all of them.
    pub(crate) ready: (usize, usize),
}

/// Panics that are planted say nothing; any other is told as usual.
pub(crate) fn silence_planted_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let planted = info
                .payload_as_str()
                .is_some_and(|text| text.starts_with("planted"));
            if !planted {
                usual(info);
            }
        }));
    });
}

/// Plays the history of a seed, and writes it down if it is wanted.
pub(crate) fn play(seed: u64, trace: bool) -> Outcome {
    silence_planted_panics();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut scene = Scene::new(seed, trace);
        scene.play().await;
        scene.outcome()
    })
}

/// Dice, and what is noted on the way. Everything happens on one thread.
#[derive(Clone)]
pub(crate) struct Fate {
    dice: Arc<Mutex<fastrand::Rng>>,
    notes: Arc<Mutex<Notes>>,
    trace: bool,
    clock: Clock,
}

#[derive(Default)]
struct Notes {
    trace: Vec<String>,
    faults: usize,
    /// Nothing goes wrong any more.
    calm: bool,
    /// Panics that were planted.
    panics: usize,
    /// Writes by replicas that do not act.
    unled: usize,
    /// How often an answer was lost, or a process killed: what was done and not counted.
    unknown: usize,
}

impl Fate {
    fn new(seed: u64, trace: bool) -> Self {
        let clock = Clock::with_tokio(START.parse().expect("a time"));
        Self {
            dice: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
            notes: Arc::default(),
            trace,
            clock,
        }
    }

    /// Whether something of this probability happens.
    fn chance(&self, share: f64) -> bool {
        self.dice().f64() < share
    }

    fn number(&self, range: std::ops::Range<u64>) -> u64 {
        self.dice().u64(range)
    }

    fn seconds(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.number(range.start * 1000..range.end * 1000))
    }

    fn one_of<T: Clone>(&self, all: &[T]) -> T {
        let index = self.dice().usize(..all.len());
        all[index].clone()
    }

    fn dice(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.dice.lock().expect("one thread")
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("one thread")
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Writes down what happens, where somebody wants to read it.
    fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            let line = format!("{:.3}  {}", self.now(), what());
            self.notes().trace.push(line);
        }
    }

    /// Something goes wrong.
    fn fault(&self, what: impl FnOnce() -> String) {
        self.notes().faults += 1;
        self.note(|| format!("FAULT {}", what()));
    }

    fn is_calm(&self) -> bool {
        self.notes().calm
    }
}
