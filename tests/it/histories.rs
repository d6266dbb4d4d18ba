//! A few hundred of the histories that `simulate` plays by the thousand.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::simulation::play;

/// So many are played at each run.
const HISTORIES: u64 = 250;

#[test]
fn in_no_history_is_a_promise_broken() {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let broken = std::thread::scope(|scope| {
        let play_some = || {
            let mut broken = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= HISTORIES {
                    return broken;
                }
                let outcome = play(seed, false);
                broken.extend(outcome.broken.first().map(|first| {
                    format!("{first}\n  cargo run --release --example simulate -- --seed {seed}")
                }));
            }
        };
        let players: Vec<_> = (0..threads).map(|_| scope.spawn(play_some)).collect();
        let joined = players
            .into_iter()
            .map(|player| player.join().expect("no panic"));
        joined.flatten().collect::<Vec<_>>()
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in [3, 14, 15] {
        let (first, second) = (play(seed, true), play(seed, true));
        assert!(first.trace.len() > 100 && first.steps > 100 && first.faults > 0);
        assert!(first.restarts > 0 && first.ready.1 > 0);
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}
