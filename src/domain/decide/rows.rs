//! The rows, in the order in which they are asked.

use jiff::Timestamp;

use super::{
    Action, CLOCK_SKEW, Class, Decision, Inputs, Reason, Release, RestartRequest, Row, SENDS,
    Truth, is_remediation, leave, ledger, remediation::remediated, wait,
};

/// The table of decisions.
pub const TABLE: &[Row] = &[
    Row {
        live: "gone; re-created under the same name; being deleted",
        done: "leave",
        words: &[Reason::Gone, Reason::Replaced, Reason::Deleting],
        holds: gone,
    },
    Row {
        live: "suspended; annotated `helmreboot.io/enabled: \"false\"`, or switched off by its policy",
        done: "leave, never unsuspend",
        words: &[Reason::Suspended, Reason::OptedOut],
        holds: hands_off,
    },
    Row {
        live: "Ready, for the generation that is wanted",
        done: "leave",
        words: &[Reason::Recovered],
        holds: recovered,
    },
    Row {
        live: "a reconcile request waits for Flux, ours or somebody's",
        done: "wait",
        words: &[Reason::TokenPending],
        holds: token_pending,
    },
    Row {
        live: "not stalled: Flux says that it tries again by itself",
        done: "leave to Flux",
        words: &[Reason::FluxRetries],
        holds: flux_retries,
    },
    Row {
        live: "not stalled: Flux waits for a dependency, a source or values",
        done: "leave to Flux",
        words: &[Reason::Prerequisites],
        holds: prerequisites,
    },
    Row {
        live: "not stalled: an action runs",
        done: "wait",
        words: &[Reason::Working],
        holds: working,
    },
    Row {
        live: "not stalled: an action runs for longer than its timeouts allow; helm-controller hangs, or was killed",
        done: "leave, say so once",
        words: &[Reason::Overdue],
        holds: overdue,
    },
    Row {
        live: "not stalled: failed a moment ago, the status is about to change; after that Flux is in a back-off of its own",
        done: "wait once, then leave to Flux",
        words: &[Reason::Settling, Reason::FluxRetries],
        holds: settling,
    },
    Row {
        live: "the wanted configuration was not tried yet; no status yet, whatever an alert says",
        done: "wait",
        words: &[Reason::NotAttempted, Reason::Settling],
        holds: not_attempted,
    },
    Row {
        live: "the cause lasts, and yet the newest Helm revision is a good one of the version and values that Flux tried: Ready may tell of an earlier attempt",
        done: "leave, say so once",
        words: &[Reason::ReadyOutdated],
        holds: ready_outdated,
    },
    Row {
        live: "the cause lasts (invalid object, denied, schema, rendering ...); no rule knows it; no failure at all",
        done: "leave, say so once",
        words: &[Reason::Permanent, Reason::UnknownCause, Reason::FluxRetries],
        holds: lasting,
    },
    Row {
        live: "Flux rolled back or uninstalled",
        done: "leave; where infrastructure is to blame (or as the policy says), restart once, 10 min later",
        words: &[Reason::RolledBack, Reason::Uninstalled, Reason::Backoff],
        holds: remediated,
    },
    Row {
        live: "our last request was overwritten with the one before it, as Git does",
        done: "leave, say so once",
        words: &[Reason::Contested],
        holds: contested,
    },
    Row {
        live: "**Flux swallowed our token and did nothing**",
        done: "**send a fresh one**, at most twice, uncharged",
        words: &[Reason::Stalled],
        holds: swallowed,
    },
    Row {
        live: "all restarts for this configuration are spent",
        done: "give up, note it on the release; the slow lane tries again",
        words: &[Reason::BudgetSpent],
        holds: budget_spent,
    },
    Row {
        live: "the wait after the last restart is not over",
        done: "wait until then",
        words: &[Reason::Backoff],
        holds: backoff,
    },
    Row {
        live: "many fail for this cause; the cluster's restarts are used up, or enough are running",
        done: "wait for the others",
        words: &[Reason::LimitState, Reason::RateLimited],
        holds: held,
    },
    Row {
        live: "**Stalled, for a passing reason**",
        done: "**restart** with `resetAt`",
        words: &[Reason::Stalled],
        holds: stalled,
    },
    Row {
        live: "failed, and Flux idle without saying that it gave up",
        done: "**restart** with `requestedAt`",
        words: &[Reason::IdleFailed],
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

fn gone(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let uid = inputs.trigger.uid.as_deref();
    if uid.is_some_and(|uid| uid != release.metadata.uid) {
        return Some(leave(Reason::Replaced));
    }
    let deleting = release.metadata.deletion_timestamp.is_some();
    deleting.then(|| leave(Reason::Deleting))
}

fn hands_off(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    if release.spec.suspend {
        return Some(leave(Reason::Suspended));
    }
    (!inputs.policy.enabled).then(|| leave(Reason::OptedOut))
}

fn recovered(_: &Inputs<'_>, release: &Release) -> Option<Decision> {
    release.recovered().then(|| leave(Reason::Recovered))
}

fn token_pending(_: &Inputs<'_>, release: &Release) -> Option<Decision> {
    release.token_pending().then(|| wait(Reason::TokenPending))
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

fn flux_retries(_: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let says_so = reconciling(release).is_some_and(|(reason, _)| reason == "ProgressingWithRetry");
    let waits = !is_stalled(release) && failure(release) == Some("RetryAfterInterval");
    (says_so || waits).then(|| leave(Reason::FluxRetries))
}

fn prerequisites(_: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let (_, message) = reconciling(release)?;
    let reason = failure(release)?;
    (!ACTION_REASONS.contains(&reason) && !is_remediation(message))
        .then(|| leave(Reason::Prerequisites))
}

fn working(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let late = release.action_deadline().is_some_and(|at| at <= inputs.now);
    (release.at_work() && !late).then(|| wait(Reason::Working))
}

fn overdue(_: &Inputs<'_>, release: &Release) -> Option<Decision> {
    release.at_work().then(|| leave(Reason::Overdue))
}

/// The alert comes before the status: a look later this is Stalled, or Flux sits in a back-off of its
/// own (story render-error-backs-off).
fn settling(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    reconciling(release)?;
    Some(if inputs.trigger.settled {
        leave(Reason::FluxRetries)
    } else {
        wait(Reason::Settling)
    })
}

fn not_attempted(_: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let (status, wanted) = (&release.status, release.metadata.generation);
    let tried = status.last_attempted_generation;
    // An object without a generation is compared with nothing.
    let other = tried
        .zip(wanted)
        .is_some_and(|(tried, wanted)| tried != wanted);
    if other {
        return Some(wait(Reason::NotAttempted));
    }
    let blank = status.conditions.is_empty();
    if release.failing() {
        return None;
    }
    // Ready=True for an older generation, or no condition yet: a patch is on its way.
    Some(wait(if blank {
        Reason::NotAttempted
    } else {
        Reason::Settling
    }))
}

fn ready_outdated(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let lasts = inputs.verdict.class == Class::Permanent;
    (lasts && release.deploys_what_was_tried()).then(|| leave(Reason::ReadyOutdated))
}

fn lasting(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    match inputs.verdict.class {
        Class::Permanent => Some(leave(Reason::Permanent)),
        Class::Unknown if inputs.policy.unknown != Class::Transient => {
            Some(leave(Reason::UnknownCause))
        }
        // Flux itself says that it goes on; only a stall proves it wrong.
        Class::Benign if !is_stalled(release) => Some(leave(Reason::FluxRetries)),
        Class::Unknown | Class::Transient | Class::Benign => None,
    }
}

fn contested(_: &Inputs<'_>, release: &Release) -> Option<Decision> {
    ledger::attempt_state(release)
        .contested
        .then(|| leave(Reason::Contested))
}

/// Not charged: nothing was tried. In place of an order that was itself within the budget.
fn swallowed(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let standing = ledger::attempt_state(release);
    let again = is_stalled(release) && standing.swallowed && standing.sends < SENDS;
    let counted = standing.attempts != u32::MAX && inputs.policy.limit > 0;
    (again && counted).then(|| Decision::Restart {
        order: RestartRequest {
            action: stalled_action(inputs),
            attempt: standing.attempts,
            sends: standing.sends + 1,
        },
        why: Reason::Stalled,
    })
}

fn budget_spent(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let policy = inputs.policy;
    let standing = ledger::attempt_state_with_limit(release, policy.limit, inputs.now);
    if standing.attempts < policy.limit {
        return None;
    }
    let spent = |again| {
        Some(Decision::Leave {
            again,
            why: Reason::BudgetSpent,
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
    let released = inputs
        .trigger
        .released
        .is_some_and(|at| at.duration_since(*last) > SAME_TIME);
    let due = released || again.is_some_and(|again| inputs.now >= again || !is_sane(*last, inputs));
    if due && standing.gave_up {
        return None;
    }
    spent(again)
}

/// Times have whole seconds, and a write may take as long as a call may: what is closer together than
/// this may have been the other way round.
const SAME_TIME: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// A time that lies further ahead than clocks differ was not written by a sane one.
pub(super) fn is_sane(last: Timestamp, inputs: &Inputs<'_>) -> bool {
    let ahead = inputs.now.saturating_add(CLOCK_SKEW);
    last <= ahead.unwrap_or(Timestamp::MAX)
}

fn backoff(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let standing = ledger::attempt_state(release);
    let (last, token) = standing.last.as_ref()?;
    let until = inputs.policy.backoff.until(standing.total, *last, token);
    (is_sane(*last, inputs) && inputs.now < until).then_some(Decision::Wait {
        until: Some(until),
        why: Reason::Backoff,
    })
}

fn held(inputs: &Inputs<'_>, _: &Release) -> Option<Decision> {
    inputs.hold.map(|hold| Decision::Wait {
        until: Some(hold.until),
        why: hold.why,
    })
}

fn stalled(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    is_stalled(release)
        .then(|| first_token(stalled_action(inputs), inputs, release, Reason::Stalled))
}

fn idle_failed(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    Some(first_token(
        Action::Request,
        inputs,
        release,
        Reason::IdleFailed,
    ))
}

/// What a rule asks for comes before what the policy does by itself.
fn stalled_action(inputs: &Inputs<'_>) -> Action {
    let usual = if inputs.policy.force {
        Action::Force
    } else {
        Action::Reset
    };
    inputs.verdict.action.unwrap_or(usual)
}

fn first_token(action: Action, inputs: &Inputs<'_>, release: &Release, why: Reason) -> Decision {
    let standing = ledger::attempt_state_with_limit(release, inputs.policy.limit, inputs.now);
    let attempt = standing.attempts.saturating_add(1);
    Decision::Restart {
        order: RestartRequest {
            action,
            attempt,
            sends: 1,
        },
        why,
    }
}
