//! Slots and the rate: who takes them, who gives them back, and who is woken then.

use super::*;

#[test]
fn no_more_than_so_many_run_at_once_and_the_next_is_woken() {
    let mut limits = LimitState::new(LimitConfig {
        in_flight: 3,
        ..config()
    });
    assert_eq!(admitted(&mut limits, 0..9, 0), [0, 1, 2]);
    assert_eq!(limits.in_flight(), 3);
    let wakes = limits.ended(&name(1), Some(RestartOutcome::FailedAgain), at(5));
    assert_eq!(wakes, [wake(3, 5, None)]);
    assert_eq!(admitted(&mut limits, [3, 4], 5), [3]);
}

#[test]
fn whoever_holds_a_place_does_not_need_a_second() {
    let mut limits = LimitState::new(LimitConfig {
        in_flight: 1,
        ..config()
    });
    assert_eq!(admitted(&mut limits, [0, 0, 0, 1], 0), [0, 0, 0]);
}

fn other(number: usize) -> Fingerprint {
    Fingerprint::of(&format!("cause-{number}"), "")
}

/// Asks for a release of another cause than that of the breaker.
fn ask(limits: &mut LimitState, number: usize, cause: &Fingerprint, now: i64) -> (bool, Vec<Wake>) {
    let mut wakes = limits.failed(&name(number), cause, at(now));
    let (admitted, others) = limits.admit(&name(number), cause, at(now));
    wakes.extend(others);
    (admitted.is_ok(), wakes)
}

#[test]
fn a_slot_that_the_woken_one_does_not_take_passes_to_the_next_that_can() {
    let mut limits = LimitState::new(LimitConfig {
        in_flight: 2,
        threshold: 2,
        ..config()
    });
    // Two slots are taken by other causes.
    for taken in [10, 11] {
        assert!(ask(&mut limits, taken, &other(taken), 0).0);
    }
    // A breaker opens, and its pause is over at once; three of its releases ask, then one of a third cause.
    for number in 0..3 {
        assert!(!ask(&mut limits, number, &cause(), 1).0, "no slot is free");
    }
    // The first is to be the probe, was told so, and waits for a slot.
    assert!(!ask(&mut limits, 0, &cause(), 1).0);
    assert!(!ask(&mut limits, 20, &other(20), 2).0);
    assert_eq!(limits.waiting_with_free_slot(at(2)), None);
    // Both slots end: one goes to the probe, the other to the third cause.
    let mut woken = Vec::new();
    for taken in [10, 11] {
        woken.extend(limits.ended(&name(taken), Some(RestartOutcome::Recovered), at(3)));
    }
    let woken: Vec<_> = woken.into_iter().map(|wake| wake.release).collect();
    assert_eq!(woken, [name(0), name(20)]);
    assert!(ask(&mut limits, 0, &cause(), 4).0);
    assert!(ask(&mut limits, 20, &other(20), 4).0);
    assert_eq!(
        (limits.in_flight(), limits.waiting_with_free_slot(at(4))),
        (2, None)
    );
}

#[test]
fn one_that_is_woken_and_needs_it_no_more_or_cannot_be_reached_passes_its_slot_on() {
    for how in ["forgotten", "does not ask", "waits for its breaker"] {
        let mut limits = LimitState::new(LimitConfig {
            in_flight: 1,
            threshold: 2,
            ..config()
        });
        for number in 0..4 {
            ask(&mut limits, number, &other(number), 0);
        }
        let woken = limits.ended(&name(0), Some(RestartOutcome::FailedAgain), at(1));
        assert_eq!(woken, [wake(1, 1, None)]);
        let next = match how {
            "forgotten" => limits.forget(&name(1), at(2)),
            "does not ask" => limits.withdraw(&name(1), at(2)),
            _ => {
                // It fails for another cause now, and the breaker of that one is open.
                limits.failed(&name(7), &cause(), at(2));
                limits.failed(&name(8), &cause(), at(2));
                assert!(limits.admit(&name(7), &cause(), at(2)).0.is_err());
                ask(
                    &mut limits,
                    1,
                    &cause(),
                    at(2).as_second() - at(0).as_second(),
                )
                .1
            }
        };
        assert_eq!(next, [wake(2, 2, None)], "{how}");
    }
}

#[test]
fn a_restart_that_was_not_written_gives_back_its_slot_and_its_share_of_the_rate() {
    let rate = Rate {
        per_minute: 1,
        burst: 1,
    };
    let mut limits = LimitState::new(LimitConfig {
        rate,
        in_flight: 1,
        ..config()
    });
    for number in 0..50 {
        assert!(ask(&mut limits, number, &other(number), 0).0, "{number}");
        limits.refund(&name(number), at(0));
    }
    assert_eq!(limits.in_flight(), 0);
    assert!(ask(&mut limits, 99, &other(99), 0).0, "a healthy one");
    let (admitted, _) = limits.admit(&name(98), &other(98), at(0));
    assert_eq!(admitted.expect_err("held").reason, Reason::RateLimited);
}

#[test]
fn one_whose_answer_was_lost_is_charged_when_it_is_seen_to_be_written() {
    let rate = Rate {
        per_minute: 1,
        burst: 1,
    };
    let mut limits = LimitState::new(LimitConfig { rate, ..config() });
    assert!(ask(&mut limits, 0, &other(0), 0).0);
    limits.refund(&name(0), at(0));
    limits.charge(&name(0), &other(0), at(0), at(0));
    assert_eq!(limits.in_flight(), 1);
    assert!(!ask(&mut limits, 1, &other(1), 0).0, "the rate is used up");
}

#[test]
fn only_a_restart_that_was_not_written_gives_back_its_share_of_the_rate() {
    let rate = Rate {
        per_minute: 1,
        burst: 1,
    };
    for written in [false, true] {
        let mut limits = LimitState::new(LimitConfig { rate, ..config() });
        assert!(ask(&mut limits, 0, &other(0), 0).0);
        if written {
            limits.confirm_written(&name(0));
        }
        // A panic, for example.
        limits.refund(&name(0), at(0));
        assert_eq!(limits.in_flight(), 0);
        assert_eq!(ask(&mut limits, 1, &other(1), 0).0, !written);
    }
}
