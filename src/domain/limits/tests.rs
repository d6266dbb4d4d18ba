use super::*;

mod slots;

const RULE: &str = "registry-unavailable";

fn cause() -> Fingerprint {
    Fingerprint::of(RULE, "Get \"https://registry.example/v2/\": EOF")
}

fn name(number: usize) -> ReleaseRef {
    ReleaseRef {
        cluster: "a".into(),
        namespace: "apps".into(),
        name: format!("r{number:04}").into(),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn config() -> LimitConfig {
    let rate = Rate {
        per_minute: 6000,
        burst: 1000,
    };
    LimitConfig {
        rate,
        in_flight: 1000,
        ..LimitConfig::default()
    }
}

/// A limits in which so many fail at second 0.
fn raging(config: LimitConfig, many: usize) -> LimitState {
    let mut limits = LimitState::new(config);
    for number in 0..many {
        limits.failed(&name(number), &cause(), at(0));
    }
    limits
}

fn admitted(
    limits: &mut LimitState,
    releases: impl IntoIterator<Item = usize>,
    now: i64,
) -> Vec<usize> {
    let admitted = releases
        .into_iter()
        .filter(|number| limits.admit(&name(*number), &cause(), at(now)).0.is_ok());
    admitted.collect()
}

fn wake(number: usize, second: i64, others_recovered_since: Option<i64>) -> Wake {
    Wake {
        release: name(number),
        at: at(second),
        others_recovered_since: others_recovered_since.map(at),
    }
}

#[test]
fn below_the_threshold_everybody_goes() {
    let mut limits = raging(config(), 4);
    assert_eq!(admitted(&mut limits, 0..4, 1).len(), 4);
    assert_eq!(limits.open(at(9)), 0);
}

#[test]
fn failures_that_are_far_apart_or_differ_are_no_storm() {
    let mut limits = LimitState::new(config());
    for number in 0..9 {
        let second = i64::try_from(number).expect("small") * 120;
        limits.failed(&name(number), &cause(), at(second));
        limits.failed(&name(number), &Fingerprint::of("other", ""), at(second));
    }
    assert_eq!(limits.open(at(9)), 0);
}

#[test]
fn one_is_tried_and_the_wait_doubles_while_that_fails() {
    let mut limits = raging(config(), 9);
    assert_eq!(admitted(&mut limits, 0..9, 1), [0]);
    let mut now = 2;
    for wait in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
        let probe = limits.running.keys().next().expect("a probe").clone();
        let wakes = limits.ended(&probe, Some(RestartOutcome::FailedAgain), at(now));
        assert_eq!(wakes.len(), 1, "the next is told when to come");
        assert_eq!(wakes[0].at, at(now + wait));
        assert!(admitted(&mut limits, 0..9, now + wait - 1).is_empty());
        now += wait;
        assert_eq!(admitted(&mut limits, 0..9, now).len(), 1);
    }
}

#[test]
fn when_it_helps_the_others_follow_in_widening_steps_and_the_breaker_closes() {
    let mut limits = raging(config(), 40);
    assert_eq!(admitted(&mut limits, 0..40, 1), [0]);
    let (mut steps, mut helped) = (Vec::new(), 0);
    while let Some(running) = limits.running.keys().next().cloned() {
        let wakes = limits.ended(&running, Some(RestartOutcome::Recovered), at(10));
        helped += 1;
        for wake in wakes {
            let (admitted, _) = limits.admit(&wake.release, &cause(), at(10));
            admitted.expect("its turn");
        }
        steps.push(limits.running.len());
    }
    assert_eq!(helped, 40);
    assert_eq!(limits.open(at(9)), 0);
    assert!(steps.iter().max() >= Some(&8), "{steps:?}");
    assert!(steps[0] == 2 && steps[1] <= 2, "{steps:?}");
}

#[test]
fn a_failure_while_widening_holds_everybody_back_again() {
    let mut limits = raging(config(), 9);
    admitted(&mut limits, 0..9, 1);
    limits.ended(&name(0), Some(RestartOutcome::Recovered), at(10));
    assert_eq!(admitted(&mut limits, 1..9, 11).len(), 2);
    limits.ended(&name(1), Some(RestartOutcome::FailedAgain), at(12));
    assert!(admitted(&mut limits, 3..9, 13).is_empty());
}

#[test]
fn a_probe_that_is_lost_is_followed_by_another() {
    for lost in ["deleted", "never ends"] {
        let mut limits = raging(config(), 9);
        admitted(&mut limits, 0..9, 1);
        let now = if lost == "deleted" {
            limits.ended(&name(0), None, at(2));
            2
        } else {
            7201
        };
        assert_eq!(admitted(&mut limits, 1..9, now).len(), 1, "{lost}");
    }
}

#[test]
fn a_probe_that_turns_out_to_fail_for_something_else_holds_nobody_up() {
    let mut limits = raging(config(), 9);
    admitted(&mut limits, 0..9, 1);
    limits.start(&name(0), &Fingerprint::of("other", ""), at(2));
    limits.ended(&name(0), Some(RestartOutcome::FailedAgain), at(3));
    assert_eq!(admitted(&mut limits, 1..9, 4).len(), 1);
}

#[test]
fn whoever_is_woken_and_needs_it_no_more_makes_room_for_the_next() {
    let mut limits = raging(config(), 9);
    admitted(&mut limits, 0..9, 1);
    let mut wakes = limits.ended(&name(0), Some(RestartOutcome::Recovered), at(2));
    let mut seen = 0;
    while let Some(wake) = wakes.pop() {
        seen += 1;
        wakes.extend(limits.forget(&wake.release, at(3)));
    }
    assert!(seen >= 8, "{seen}");
    assert_eq!(limits.open(at(4)), 0);
}

#[test]
fn those_that_were_given_up_are_woken_when_it_is_over() {
    let mut limits = raging(config(), 9);
    admitted(&mut limits, 0..1, 1);
    limits.gave_up(&name(7), &cause());
    let wakes = limits.ended(&name(0), Some(RestartOutcome::FailedAgain), at(1));
    assert!(wakes.is_empty(), "not as a probe: {wakes:?}");
    admitted(&mut limits, 0..1, 61);
    let wakes = limits.ended(&name(0), Some(RestartOutcome::Recovered), at(62));
    assert_eq!(wakes, [wake(7, 62, Some(61))]);
}

#[test]
fn an_old_storm_is_forgotten() {
    let mut limits = raging(config(), 9);
    assert_eq!(limits.open(at(7201)), 0);
}

#[test]
fn a_breaker_closes_when_all_who_needed_it_got_well_by_themselves() {
    let mut limits = raging(config(), 6);
    assert_eq!(admitted(&mut limits, 0..6, 1), [0]);
    assert_eq!(
        limits.ended(&name(0), Some(RestartOutcome::FailedAgain), at(10)),
        [wake(1, 70, None)]
    );
    for number in 0..6 {
        assert_eq!(limits.open(at(20)), 1, "before r{number:04}");
        // A release that was to be the next probe and leaves is replaced by another.
        let next = (1..5).contains(&number).then(|| wake(number + 1, 70, None));
        assert_eq!(limits.forget(&name(number), at(20)), Vec::from_iter(next));
    }
    assert_eq!(limits.open(at(20)), 0);
}

#[test]
fn a_breaker_that_holds_nobody_back_is_forgotten_after_the_window() {
    let mut watched = raging(config(), 5);
    assert_eq!((watched.open(at(299)), watched.open(at(301))), (1, 0));
    let mut asked = raging(config(), 5);
    assert_eq!(admitted(&mut asked, 0..5, 1), [0]);
    assert_eq!(asked.open(at(301)), 1);
}

#[test]
fn so_many_at_once_and_then_one_by_one() {
    let rate = Rate {
        per_minute: 30,
        burst: 10,
    };
    let mut limits = LimitState::new(LimitConfig { rate, ..config() });
    assert_eq!(admitted(&mut limits, 0..100, 0).len(), 10);
    let held: Vec<_> = (10..100)
        .map(|number| {
            let (admitted, _) = limits.admit(&name(number), &cause(), at(0));
            admitted.expect_err("held")
        })
        .collect();
    for (number, hold) in held.iter().enumerate() {
        let number = i64::try_from(number).expect("small");
        assert_eq!(
            (hold.reason, hold.until),
            (Reason::RateLimited, at(2 * (number + 1)))
        );
    }
    assert_eq!(
        admitted(&mut limits, 10..100, 2),
        [10],
        "each at its own time"
    );
    for number in 11..100 {
        let turn = 2 * (i64::try_from(number).expect("small") - 9);
        assert_eq!(admitted(&mut limits, [number], turn), [number]);
    }
}

#[test]
fn a_clock_that_is_set_back_holds_nobody_up_for_long() {
    let mut limits = LimitState::new(LimitConfig::default());
    admitted(&mut limits, 0..10, 100_000);
    let (admitted, _) = limits.admit(&name(50), &cause(), at(0));
    let hold = admitted.expect_err("held");
    assert!(hold.until <= at(60), "{hold:?}");
}

#[test]
fn one_that_was_to_be_tried_next_and_does_not_come_holds_the_others_up_for_a_minute() {
    let mut limits = raging(config(), 9);
    admitted(&mut limits, 0..9, 1);
    let wakes = limits.ended(&name(0), Some(RestartOutcome::FailedAgain), at(2));
    assert_eq!(wakes, [wake(1, 62, None)]);
    assert_eq!(admitted(&mut limits, 2..9, 63), [] as [usize; 0]);
    assert_eq!(admitted(&mut limits, 2..9, 130), [2]);
}

#[test]
fn bookkeeping_of_many_failing_releases_stays_small() {
    let mut limits = LimitState::new(config());
    for number in 0..20_000 {
        limits.failed(&name(number), &cause(), at(0));
    }
    for number in 0..20_000 {
        limits.forget(&name(number), at(1));
    }
    assert_eq!(limits.open(at(2)), 0);
}
