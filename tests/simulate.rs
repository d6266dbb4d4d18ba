//! Plays many histories, or one with its trace:
//!
//! ```console
//! cargo run --release --example simulate -- --seeds 10000
//! cargo run --release --example simulate -- --seed 17
//! ```

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use clap::{Arg, Command, value_parser};

#[path = "it/simulation/mod.rs"]
mod simulation;
use simulation::{Outcome, play};

fn main() -> ExitCode {
    let number = |name: &'static str| Arg::new(name).long(name).value_parser(value_parser!(u64));
    let matches = Command::new("simulate")
        .about("Holds the service to its promises in simulated histories")
        .arg(
            number("seeds")
                .help("How many histories")
                .default_value("1000"),
        )
        .arg(number("from").help("The first seed").default_value("0"))
        .arg(number("seed").help("Only this one, with its trace"))
        .get_matches();
    let value = |name: &str| matches.get_one::<u64>(name).copied();
    if let Some(seed) = value("seed") {
        let outcome = play(seed, true);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        println!(
            "\nseed {seed}: {} versions checked, {} faults, {} restarts, {} of {} releases ready",
            outcome.steps, outcome.faults, outcome.restarts, outcome.ready.0, outcome.ready.1
        );
        return report(&BTreeMap::from([(seed, outcome)]));
    }
    let (from, many) = (value("from").unwrap_or(0), value("seeds").unwrap_or(1000));
    let start = Instant::now();
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let (broken, sums) = (Mutex::new(BTreeMap::new()), Mutex::new(Outcome::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + many {
                        break;
                    }
                    let outcome = play(seed, false);
                    let mut sums = sums.lock().expect("no panic");
                    sums.steps += outcome.steps;
                    sums.faults += outcome.faults;
                    sums.restarts += outcome.restarts;
                    sums.ready.0 += outcome.ready.0;
                    sums.ready.1 += outcome.ready.1;
                    progress(seed + 1 - from, many, start);
                    if !outcome.broken.is_empty() {
                        let mut broken = broken.lock().expect("no panic");
                        broken.insert(seed, outcome);
                        stop.store(broken.len() >= 10, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let sums = sums.into_inner().expect("no panic");
    let played = next.into_inner().min(from + many) - from;
    eprint!("\r");
    println!(
        "{played} histories, {} versions of objects checked, {} faults, {} restarts, {} of {} releases ready at the end, {:.0} s",
        sums.steps,
        sums.faults,
        sums.restarts,
        sums.ready.0,
        sums.ready.1,
        start.elapsed().as_secs_f64()
    );
    report(&broken.into_inner().expect("no panic"))
}

/// A bar on a terminal, a line now and then elsewhere.
fn progress(done: u64, many: u64, start: Instant) {
    let terminal = std::io::stderr().is_terminal();
    let step = if terminal {
        many.div_ceil(500)
    } else {
        many.div_ceil(10)
    };
    if done.is_multiple_of(step.max(1)) {
        let filled = usize::try_from(done * 40 / many).unwrap_or(40);
        let end = if terminal { "\r" } else { "\n" };
        eprint!(
            "[{:<40}] {done} of {many}, {:.0} s {end}",
            "#".repeat(filled),
            start.elapsed().as_secs_f64()
        );
        let _ = std::io::stderr().flush();
    }
}

fn report(outcomes: &BTreeMap<u64, Outcome>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (seed, outcome) in outcomes
        .iter()
        .filter(|(_, outcome)| !outcome.broken.is_empty())
    {
        code = ExitCode::FAILURE;
        println!(
            "\nseed {seed} breaks a promise; cargo run --release --example simulate -- --seed {seed} tells how:"
        );
        outcome
            .broken
            .iter()
            .take(3)
            .for_each(|line| println!("  {line}"));
    }
    code
}
