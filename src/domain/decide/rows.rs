//! The rows, in the order in which they are evaluated.

use super::{
    Action, Class, Decision, Inputs, Reason, Release, RestartRequest, Row, SENDS, Truth,
    is_remediation, leave, ledger, remediation::remediated, wait,
};

/// The table of decisions.
pub const TABLE: &[Row] = &[
    Row {
        live: "does not exist; was recreated under the same name; is being deleted",
        done: "leave",
        words: &[Reason::Gone, Reason::Replaced, Reason::Deleting],
        holds: gone,
    },
    Row {
        live: "is suspended; is annotated `helmreboot.io/enabled: \"false\"`, or its policy is not enabled",
        done: "leave; it is never resumed",
        words: &[Reason::Suspended, Reason::OptedOut],
        holds: excluded,
    },
    Row {
        live: "Ready=True for the current generation",
        done: "leave",
        words: &[Reason::Recovered],
        holds: recovered,
    },
    Row {
        live: "has a reconcile request (`requestedAt`) that Flux has not handled",
        done: "wait",
        words: &[Reason::TokenPending],
        holds: token_pending,
    },
    Row {
        live: "not Stalled, and Flux says that it retries",
        done: "leave to Flux",
        words: &[Reason::FluxRetries],
        holds: flux_retries,
    },
    Row {
        live: "not Stalled, and Flux waits for a dependency, a source or values",
        done: "leave to Flux",
        words: &[Reason::Prerequisites],
        holds: prerequisites,
    },
    Row {
        live: "not Stalled, and an action runs",
        done: "wait",
        words: &[Reason::Working],
        holds: working,
    },
    Row {
        live: "not Stalled, and an action runs for longer than its timeouts allow: helm-controller may hang, or was killed",
        done: "leave, report once",
        words: &[Reason::Overdue],
        holds: overdue,
    },
    Row {
        live: "not Stalled, and failed a moment ago: the status is about to change, or Flux is in its own backoff",
        done: "wait once, then leave to Flux",
        words: &[Reason::Settling, Reason::FluxRetries],
        holds: settling,
    },
    Row {
        live: "Flux has not attempted the current generation; there is no status yet",
        done: "wait",
        words: &[Reason::NotAttempted, Reason::Settling],
        holds: not_attempted,
    },
    Row {
        live: "the cause is permanent, but the newest Helm revision is deployed with the version and values that Flux tried: Ready may be out of date",
        done: "leave, report once",
        words: &[Reason::ReadyOutdated],
        holds: ready_outdated,
    },
    Row {
        live: "the cause is permanent (invalid object, denied, schema, template ...); no rule matches it; there is no failure",
        done: "leave, report once",
        words: &[Reason::Permanent, Reason::UnknownCause, Reason::Benign],
        holds: permanent,
    },
    Row {
        live: "Flux rolled the release back or uninstalled it",
        done: "leave; if infrastructure is the cause (or the policy says `always`), restart once, 10 min later",
        words: &[Reason::RolledBack, Reason::Uninstalled, Reason::Backoff],
        holds: remediated,
    },
    Row {
        live: "another client restored the previous value of `requestedAt`, for example a sync from Git",
        done: "leave, report once",
        words: &[Reason::Contested],
        holds: contested,
    },
    Row {
        live: "**Flux handled the request of helmreboot without an attempt**",
        done: "**send a new one**, at most twice, not counted",
        words: &[Reason::TokenResent],
        holds: swallowed,
    },
    Row {
        live: "all restarts of this configuration are used",
        done: "give up, write `helmreboot.io/gave-up`; restart again every `slowLane`",
        words: &[Reason::BudgetSpent],
        holds: budget_spent,
    },
    Row {
        live: "the backoff after the last restart is not over",
        done: "wait",
        words: &[Reason::Backoff],
        holds: backoff,
    },
    Row {
        live: "**Stalled, for a transient cause**",
        done: "**restart** with `resetAt`",
        words: &[Reason::Stalled],
        holds: stalled,
    },
    Row {
        live: "failed, and Flux neither works on it nor says that it gave up",
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

fn excluded(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
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

/// Stalled outranks everything Ready and Reconciling say: after a swallowed reset it stays with
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

/// The alert comes before the status: at the next reconcile this is Stalled, or Flux is in its own backoff (story
/// render-error-backs-off).
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
    let permanent = inputs.verdict.class == Class::Permanent;
    (permanent && release.deploys_what_was_tried()).then(|| leave(Reason::ReadyOutdated))
}

fn permanent(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    match inputs.verdict.class {
        Class::Permanent => Some(leave(Reason::Permanent)),
        Class::Unknown if inputs.policy.unknown != Class::Transient => {
            Some(leave(Reason::UnknownCause))
        }
        // Flux itself says that it continues; only a stall proves it wrong.
        Class::Benign if !is_stalled(release) => Some(leave(Reason::Benign)),
        Class::Unknown | Class::Transient | Class::Benign => None,
    }
}

fn contested(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    ledger::attempt_state(release, inputs.record)
        .contested
        .then(|| leave(Reason::Contested))
}

/// Not counted: Flux made no attempt. Replaces the token of a restart that the budget already includes.
fn swallowed(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let state = ledger::attempt_state(release, inputs.record);
    let again = is_stalled(release) && state.swallowed && state.sends < SENDS;
    let counted = state.attempts != u32::MAX && inputs.policy.limit > 0;
    (again && counted).then(|| Decision::Restart {
        request: RestartRequest {
            action: stalled_action(inputs),
            attempt: state.attempts,
            sends: state.sends + 1,
        },
        reason: Reason::TokenResent,
    })
}

fn budget_spent(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let policy = inputs.policy;
    let state = ledger::attempt_state_with_limit(release, inputs.record, policy.limit, inputs.now);
    if state.attempts < policy.limit {
        return None;
    }
    let spent = |retry_at| {
        Some(Decision::Leave {
            retry_at,
            reason: Reason::BudgetSpent,
        })
    };
    // With an unreadable count, or a limit of 0, there is no further restart.
    let (Some((last, token)), true) = (&state.last, policy.limit > 0 && state.attempts != u32::MAX)
    else {
        return spent(None);
    };
    let slow = policy
        .slow_lane
        .map(|lane| policy.backoff.slow(lane, *last, token));
    let again = [slow, state.shared_until].into_iter().flatten().min();
    let others_recovered_since = inputs
        .trigger
        .others_recovered_since
        .is_some_and(|at| at.duration_since(*last) > CLOCK_RESOLUTION);
    let due = others_recovered_since
        || again.is_some_and(|again| inputs.now >= again || !inputs.is_plausible(*last));
    if due && state.gave_up {
        return None;
    }
    spent(again)
}

/// Times have whole seconds, and a write may take as long as a call may: what is closer together than
/// this may have been the other way round.
const CLOCK_RESOLUTION: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

fn backoff(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    let state = ledger::attempt_state(release, inputs.record);
    let (last, token) = state.last.as_ref()?;
    let until = inputs.policy.backoff.until(state.total, *last, token);
    (inputs.is_plausible(*last) && inputs.now < until).then_some(Decision::Wait {
        until: Some(until),
        reason: Reason::Backoff,
    })
}

fn stalled(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    is_stalled(release)
        .then(|| new_restart(stalled_action(inputs), inputs, release, Reason::Stalled))
}

fn idle_failed(inputs: &Inputs<'_>, release: &Release) -> Option<Decision> {
    Some(new_restart(
        Action::Request,
        inputs,
        release,
        Reason::IdleFailed,
    ))
}

/// The action of the rule takes precedence over the action of the policy.
fn stalled_action(inputs: &Inputs<'_>) -> Action {
    let usual = if inputs.policy.force {
        Action::Force
    } else {
        Action::Reset
    };
    inputs.verdict.action.unwrap_or(usual)
}

fn new_restart(action: Action, inputs: &Inputs<'_>, release: &Release, reason: Reason) -> Decision {
    let state =
        ledger::attempt_state_with_limit(release, inputs.record, inputs.policy.limit, inputs.now);
    let attempt = state.attempts.saturating_add(1);
    Decision::Restart {
        request: RestartRequest {
            action,
            attempt,
            sends: 1,
        },
        reason,
    }
}
