//! The rows, in the order in which they are asked.

use jiff::Timestamp;

use super::{
    Action, CLOCK_SKEW, Case, Class, Decision, Order, Release, Row, SENDS, Truth, Why,
    is_remediation, leave, ledger, remediation::remediated, wait,
};

/// The table of decisions.
pub const TABLE: &[Row] = &[
    Row {
        live: "gone; re-created under the same name; being deleted",
        done: "leave",
        words: &[Why::Gone, Why::Replaced, Why::Deleting],
        holds: gone,
    },
    Row {
        live: "suspended; annotated `helmreboot.io/enabled: \"false\"`, or switched off by its policy",
        done: "leave, never unsuspend",
        words: &[Why::Suspended, Why::OptedOut],
        holds: hands_off,
    },
    Row {
        live: "Ready, for the generation that is wanted",
        done: "leave",
        words: &[Why::Recovered],
        holds: recovered,
    },
    Row {
        live: "a reconcile request waits for Flux, ours or somebody's",
        done: "wait",
        words: &[Why::TokenPending],
        holds: token_pending,
    },
    Row {
        live: "not stalled: Flux says that it tries again by itself",
        done: "leave to Flux",
        words: &[Why::FluxRetries],
        holds: flux_retries,
    },
    Row {
        live: "not stalled: Flux waits for a dependency, a source or values",
        done: "leave to Flux",
        words: &[Why::Prerequisites],
        holds: prerequisites,
    },
    Row {
        live: "not stalled: an action runs",
        done: "wait",
        words: &[Why::Working],
        holds: working,
    },
    Row {
        live: "not stalled: an action runs for longer than its timeouts allow; helm-controller hangs, or was killed",
        done: "leave, say so once",
        words: &[Why::Overdue],
        holds: overdue,
    },
    Row {
        live: "not stalled: failed a moment ago, the status is about to change; after that Flux is in a back-off of its own",
        done: "wait once, then leave to Flux",
        words: &[Why::Settling, Why::FluxRetries],
        holds: settling,
    },
    Row {
        live: "the wanted configuration was not tried yet; no status yet, whatever an alert says",
        done: "wait",
        words: &[Why::NotAttempted, Why::Settling],
        holds: not_attempted,
    },
    Row {
        live: "the cause lasts, and yet the newest Helm revision is a good one of the version and values that Flux tried: Ready may tell of an earlier attempt",
        done: "leave, say so once",
        words: &[Why::ReadyOutdated],
        holds: ready_outdated,
    },
    Row {
        live: "the cause lasts (invalid object, denied, schema, rendering ...); no rule knows it; no failure at all",
        done: "leave, say so once",
        words: &[Why::Permanent, Why::UnknownCause, Why::FluxRetries],
        holds: lasting,
    },
    Row {
        live: "Flux rolled back or uninstalled",
        done: "leave; where infrastructure is to blame (or as the policy says), restart once, 10 min later",
        words: &[Why::RolledBack, Why::Uninstalled, Why::Backoff],
        holds: remediated,
    },
    Row {
        live: "our last request was overwritten with the one before it, as Git does",
        done: "leave, say so once",
        words: &[Why::Contested],
        holds: contested,
    },
    Row {
        live: "**Flux swallowed our token and did nothing**",
        done: "**send a fresh one**, at most twice, uncharged",
        words: &[Why::Stalled],
        holds: swallowed,
    },
    Row {
        live: "all restarts for this configuration are spent",
        done: "give up, note it on the release; the slow lane tries again",
        words: &[Why::BudgetSpent],
        holds: budget_spent,
    },
    Row {
        live: "the wait after the last restart is not over",
        done: "wait until then",
        words: &[Why::Backoff],
        holds: backoff,
    },
    Row {
        live: "many fail for this cause; the cluster's restarts are used up, or enough are running",
        done: "wait for the others",
        words: &[Why::Storm, Why::RateLimited],
        holds: held,
    },
    Row {
        live: "**Stalled, for a passing reason**",
        done: "**restart** with `resetAt`",
        words: &[Why::Stalled],
        holds: stalled,
    },
    Row {
        live: "failed, and Flux idle without saying that it gave up",
        done: "**restart** with `requestedAt`",
        words: &[Why::IdleFailed],
        holds: idle_failed,
    },
];

/// Ready reasons that name the outcome of a Helm action. With any other, Flux has not come as far as
/// running one (`fluxcd/helm-controller:api/v2/condition_types.go`).
const ACTION_REASONS: [&str; 8] = [
    "InstallFailed",
    "UpgradeFailed",
    "TestFailed",
    "RollbackFailed",
    "RollbackSucceeded",
    "UninstallFailed",
    "UninstallSucceeded",
    "HealthCheckCanceled",
];

fn gone(case: &Case<'_>, release: &Release) -> Option<Decision> {
    let uid = case.trigger.uid.as_deref();
    if uid.is_some_and(|uid| uid != release.metadata.uid) {
        return Some(leave(Why::Replaced));
    }
    let deleting = release.metadata.deletion_timestamp.is_some();
    deleting.then(|| leave(Why::Deleting))
}

fn hands_off(case: &Case<'_>, release: &Release) -> Option<Decision> {
    if release.spec.suspend {
        return Some(leave(Why::Suspended));
    }
    (!case.policy.enabled).then(|| leave(Why::OptedOut))
}

fn recovered(_: &Case<'_>, release: &Release) -> Option<Decision> {
    release.recovered().then(|| leave(Why::Recovered))
}

fn token_pending(_: &Case<'_>, release: &Release) -> Option<Decision> {
    release.token_pending().then(|| wait(Why::TokenPending))
}

/// Stalled outranks everything Ready and Reconciling say: after a swallowed reset it stands beside
/// Ready=Unknown for ever (story reset-swallowed-by-dependency).
fn is_stalled(release: &Release) -> bool {
    release.is("Stalled", Truth::True)
}

/// Ready=False and its reason.
fn failure(release: &Release) -> Option<&str> {
    let ready = release.condition("Ready")?;
    (ready.status == Truth::False).then_some(ready.reason.as_str())
}

/// Why Flux says that it is at work, while it has not given up.
fn reconciling(release: &Release) -> Option<(&str, &str)> {
    let condition = release.condition("Reconciling")?;
    (condition.status == Truth::True && !is_stalled(release))
        .then_some((condition.reason.as_str(), condition.message.as_str()))
}

fn flux_retries(_: &Case<'_>, release: &Release) -> Option<Decision> {
    let says_so = reconciling(release).is_some_and(|(reason, _)| reason == "ProgressingWithRetry");
    let waits = !is_stalled(release) && failure(release) == Some("RetryAfterInterval");
    (says_so || waits).then(|| leave(Why::FluxRetries))
}

fn prerequisites(_: &Case<'_>, release: &Release) -> Option<Decision> {
    let (_, message) = reconciling(release)?;
    let reason = failure(release)?;
    (!ACTION_REASONS.contains(&reason) && !is_remediation(message))
        .then(|| leave(Why::Prerequisites))
}

fn working(case: &Case<'_>, release: &Release) -> Option<Decision> {
    let late = release.action_deadline().is_some_and(|at| at <= case.now);
    (release.at_work() && !late).then(|| wait(Why::Working))
}

fn overdue(_: &Case<'_>, release: &Release) -> Option<Decision> {
    release.at_work().then(|| leave(Why::Overdue))
}

/// The alert comes before the status: a look later this is Stalled, or Flux sits in a back-off of its
/// own (story render-error-backs-off).
fn settling(case: &Case<'_>, release: &Release) -> Option<Decision> {
    reconciling(release)?;
    Some(if case.trigger.settled {
        leave(Why::FluxRetries)
    } else {
        wait(Why::Settling)
    })
}

fn not_attempted(_: &Case<'_>, release: &Release) -> Option<Decision> {
    let (status, wanted) = (&release.status, release.metadata.generation);
    let tried = status.last_attempted_generation;
    // An object without a generation is compared with nothing.
    let other = tried
        .zip(wanted)
        .is_some_and(|(tried, wanted)| tried != wanted);
    if other {
        return Some(wait(Why::NotAttempted));
    }
    let blank = status.conditions.is_empty();
    if release.failing() {
        return None;
    }
    // Ready=True for an older generation, or no condition yet: a patch is on its way.
    Some(wait(if blank {
        Why::NotAttempted
    } else {
        Why::Settling
    }))
}

fn ready_outdated(case: &Case<'_>, release: &Release) -> Option<Decision> {
    let lasts = case.verdict.class == Class::Permanent;
    (lasts && release.deploys_what_was_tried()).then(|| leave(Why::ReadyOutdated))
}

fn lasting(case: &Case<'_>, release: &Release) -> Option<Decision> {
    match case.verdict.class {
        Class::Permanent => Some(leave(Why::Permanent)),
        Class::Unknown if case.policy.unknown != Class::Transient => Some(leave(Why::UnknownCause)),
        // Flux itself says that it goes on; only a stall proves it wrong.
        Class::Benign if !is_stalled(release) => Some(leave(Why::FluxRetries)),
        Class::Unknown | Class::Transient | Class::Benign => None,
    }
}

fn contested(_: &Case<'_>, release: &Release) -> Option<Decision> {
    ledger::standing(release)
        .contested
        .then(|| leave(Why::Contested))
}

/// Not charged: nothing was tried. In place of an order that was itself within the budget.
fn swallowed(case: &Case<'_>, release: &Release) -> Option<Decision> {
    let standing = ledger::standing(release);
    let again = is_stalled(release) && standing.swallowed && standing.sends < SENDS;
    let counted = standing.attempts != u32::MAX && case.policy.limit > 0;
    (again && counted).then(|| Decision::Restart {
        order: Order {
            action: stalled_action(case),
            attempt: standing.attempts,
            sends: standing.sends + 1,
        },
        why: Why::Stalled,
    })
}

fn budget_spent(case: &Case<'_>, release: &Release) -> Option<Decision> {
    let policy = case.policy;
    let standing = ledger::standing_with_limit(release, policy.limit, case.now);
    if standing.attempts < policy.limit {
        return None;
    }
    let spent = |again| {
        Some(Decision::Leave {
            again,
            why: Why::BudgetSpent,
        })
    };
    // A count nobody can read, and a limit of none at all, are no way back.
    let (Some((last, token)), true) = (
        &standing.last,
        policy.limit > 0 && standing.attempts != u32::MAX,
    ) else {
        return spent(None);
    };
    let again = policy
        .slow_lane
        .map(|lane| policy.backoff.slow(lane, *last, token));
    let released = case
        .trigger
        .released
        .is_some_and(|at| at.duration_since(*last) > SAME_TIME);
    let due = released || again.is_some_and(|again| case.now >= again || !is_sane(*last, case));
    if due && standing.gave_up {
        return None;
    }
    spent(again)
}

/// Times have whole seconds, and a write may take as long as a call may: what is closer together than
/// this may have been the other way round.
const SAME_TIME: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// A time that lies further ahead than clocks differ was not written by a sane one.
pub(super) fn is_sane(last: Timestamp, case: &Case<'_>) -> bool {
    let ahead = case.now.saturating_add(CLOCK_SKEW);
    last <= ahead.unwrap_or(Timestamp::MAX)
}

fn backoff(case: &Case<'_>, release: &Release) -> Option<Decision> {
    let standing = ledger::standing(release);
    let (last, token) = standing.last.as_ref()?;
    let until = case.policy.backoff.until(standing.total, *last, token);
    (is_sane(*last, case) && case.now < until).then_some(Decision::Wait {
        until: Some(until),
        why: Why::Backoff,
    })
}

fn held(case: &Case<'_>, _: &Release) -> Option<Decision> {
    case.hold.map(|hold| Decision::Wait {
        until: Some(hold.until),
        why: hold.why,
    })
}

fn stalled(case: &Case<'_>, release: &Release) -> Option<Decision> {
    is_stalled(release).then(|| first_token(stalled_action(case), case, release, Why::Stalled))
}

fn idle_failed(case: &Case<'_>, release: &Release) -> Option<Decision> {
    Some(first_token(Action::Request, case, release, Why::IdleFailed))
}

/// What a rule asks for comes before what the policy does by itself.
fn stalled_action(case: &Case<'_>) -> Action {
    let usual = if case.policy.force {
        Action::Force
    } else {
        Action::Reset
    };
    case.verdict.action.unwrap_or(usual)
}

fn first_token(action: Action, case: &Case<'_>, release: &Release, why: Why) -> Decision {
    let standing = ledger::standing_with_limit(release, case.policy.limit, case.now);
    let attempt = standing.attempts.saturating_add(1);
    Decision::Restart {
        order: Order {
            action,
            attempt,
            sends: 1,
        },
        why,
    }
}
