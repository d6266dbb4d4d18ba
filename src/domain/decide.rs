//! The table: what is done about a release that is said to have failed, and why.
//!
//! One total, pure function. The first row that holds decides; the recorded stories in
//! `tests/fixtures/stories` are its proof. Names of stories in comments say where a row was learned.

use jiff::Timestamp;

use super::{
    classify::{Class, Verdict},
    ledger::{self, Action},
    policy::Policy,
    release::{Release, Truth},
};

/// What made us look.
#[derive(Clone, Debug, Default)]
pub struct Trigger {
    /// An alert named the release; otherwise its own status did.
    pub alerted: bool,
    /// The UID the alert named.
    pub uid: Option<Box<str>>,
    /// Whether the release was looked at before for the same failure: one look has passed already.
    pub settled: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Ask Flux to try again; the attempt is charged under this number.
    Restart {
        /// How to ask.
        action: Action,
        /// Number of this restart for this config key, from 1.
        attempt: u32,
        /// Which row.
        why: Why,
    },
    /// Look again, at a known time or after the usual growing wait.
    Wait {
        /// Not before, where that is known.
        until: Option<Timestamp>,
        /// Which row.
        why: Why,
    },
    /// Nothing to do here any more.
    Leave {
        /// Which row.
        why: Why,
    },
}

words! {
    /// Why: the closed list of words, one for each row.
    Why {
        /// The object does not exist.
        Gone = "gone",
        /// Another object took its name.
        Replaced = "replaced",
        /// The object is being deleted.
        Deleting = "deleting",
        /// A person suspended it; nobody else may undo that.
        Suspended = "suspended",
        /// `helmreboot.io/enabled: "false"`.
        OptedOut = "opted-out",
        /// Ready, for the generation that is wanted.
        Recovered = "recovered",
        /// A request waits that Flux has not picked up yet, ours or somebody's.
        TokenPending = "token-pending",
        /// Flux tries again by itself.
        FluxRetries = "flux-retries",
        /// Flux waits for something else: a dependency, a source, values.
        Prerequisites = "prerequisites",
        /// An action runs.
        Working = "working",
        /// The status is about to change.
        Settling = "settling",
        /// Flux has not tried the wanted configuration yet.
        NotAttempted = "not-attempted",
        /// Somebody must change something first.
        Permanent = "permanent",
        /// No rule knows the cause.
        UnknownCause = "unknown-cause",
        /// Flux rolled back: the old version runs, and a restart would break it again.
        RolledBack = "rolled-back",
        /// Flux uninstalled what failed.
        Uninstalled = "uninstalled",
        /// All restarts for this configuration are spent.
        BudgetSpent = "budget-spent",
        /// The wait after the last restart is not over.
        Backoff = "backoff",
        /// Flux has given up: stuck until somebody asks.
        Stalled = "stalled",
        /// Failed, and Flux neither works on it nor says that it gave up.
        IdleFailed = "idle-failed",
    }
}

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

impl Why {
    /// The only decision this row ever comes with: `restart`, `wait` or `leave`.
    pub fn decides(self) -> &'static str {
        match self {
            Self::Stalled | Self::IdleFailed => "restart",
            Self::TokenPending
            | Self::Working
            | Self::Settling
            | Self::NotAttempted
            | Self::Backoff => "wait",
            _ => "leave",
        }
    }
}

impl Decision {
    /// Which row.
    pub fn why(&self) -> Why {
        match self {
            Self::Restart { why, .. } | Self::Wait { why, .. } | Self::Leave { why } => *why,
        }
    }

    /// `restart`, `wait` or `leave`.
    pub fn as_str(&self) -> &'static str {
        self.why().decides()
    }
}

/// Decides. `release` is what the API server holds, `None` if nothing; `verdict` is what the live
/// conditions, or where those are silent the alert, are worth.
pub fn decide(
    trigger: &Trigger,
    verdict: Verdict,
    release: Option<&Release>,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    let leave = |why| Decision::Leave { why };
    let wait = |why| Decision::Wait { until: None, why };
    let Some(release) = release else {
        return leave(Why::Gone);
    };

    if trigger
        .uid
        .as_deref()
        .is_some_and(|uid| uid != release.metadata.uid)
    {
        return leave(Why::Replaced);
    }
    if release.metadata.deletion_timestamp.is_some() {
        return leave(Why::Deleting);
    }
    if release.spec.suspend {
        return leave(Why::Suspended);
    }
    if Policy::opted_out(release) {
        return leave(Why::OptedOut);
    }
    let generation = release.metadata.generation;
    if release.is("Ready", Truth::True) && release.status.observed_generation == generation {
        return leave(Why::Recovered);
    }
    if release.token_pending() {
        return wait(Why::TokenPending);
    }
    // Stalled outranks everything Ready and Reconciling say: after a swallowed reset it stands beside
    // Ready=Unknown for ever (story reset-swallowed-by-dependency).
    let stalled = release.is("Stalled", Truth::True);
    if let (false, Some(decision)) = (stalled, flux_at_work(trigger, release)) {
        return decision;
    }
    if release
        .status
        .last_attempted_generation
        .is_some_and(|tried| Some(tried) != generation)
    {
        return wait(Why::NotAttempted);
    }

    let failed = release.is("Ready", Truth::False);
    let blank = release.status.conditions.is_empty();
    let named = blank && trigger.alerted;
    if !(stalled || failed || named) {
        // Ready=True for an older generation, or nothing said yet: a patch is on its way.
        return wait(if blank {
            Why::NotAttempted
        } else {
            Why::Settling
        });
    }
    match verdict.class {
        Class::Permanent => return leave(Why::Permanent),
        Class::Unknown if policy.unknown != Class::Transient => return leave(Why::UnknownCause),
        // Flux itself says that it goes on; only a stall proves it wrong.
        Class::Benign if !stalled => return leave(Why::FluxRetries),
        Class::Unknown | Class::Transient | Class::Benign => {}
    }
    let standing = ledger::standing(release);
    if let Some((why, allowed)) = remediated(release, policy)
        && (!allowed || standing.attempts > 0)
    {
        return leave(why);
    }
    if standing.attempts >= policy.limit_for(release) {
        return leave(Why::BudgetSpent);
    }
    if let Some((last, token)) = &standing.last {
        let until = policy.backoff.until(standing.attempts, *last, token);
        // A time that lies further ahead than clocks differ was not written by a sane one.
        let sane = *last <= now.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX);
        if sane && now < until {
            return Decision::Wait {
                until: Some(until),
                why: Why::Backoff,
            };
        }
    }
    let attempt = standing.attempts + 1;
    if stalled {
        Decision::Restart {
            action: Action::Reset,
            attempt,
            why: Why::Stalled,
        }
    } else {
        Decision::Restart {
            action: Action::Request,
            attempt,
            why: Why::IdleFailed,
        }
    }
}

/// How far another replica's clock may be ahead of ours.
const CLOCK_SKEW: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// The rows that hold only while Flux has not given up.
fn flux_at_work(trigger: &Trigger, release: &Release) -> Option<Decision> {
    let leave = |why| Some(Decision::Leave { why });
    let wait = |why| Some(Decision::Wait { until: None, why });
    let ready = release.condition("Ready");
    let failed = ready.is_some_and(|ready| ready.status == Truth::False);
    let reason = ready.map_or("", |ready| ready.reason.as_str());
    if failed && reason == "RetryAfterInterval" {
        return leave(Why::FluxRetries);
    }
    let reconciling = release
        .condition("Reconciling")
        .filter(|condition| condition.status == Truth::True);
    let Some(reconciling) = reconciling else {
        // Before 0.37 there is no Reconciling: Ready=Unknown alone means that Flux is at work.
        return if ready.is_some_and(|ready| ready.status == Truth::Unknown) {
            wait(Why::Working)
        } else {
            None
        };
    };
    if reconciling.reason == "ProgressingWithRetry" {
        return leave(Why::FluxRetries);
    }
    // Remediation may take minutes while Ready still tells of the failure before it. (Of an install or
    // upgrade that failed without being stored, "Running" stands there while Flux sits idle: story
    // render-error-backs-off.)
    let remediating = ["Running 'rollback' action", "Running 'uninstall' action"];
    if !failed
        || remediating
            .iter()
            .any(|action| reconciling.message.starts_with(action))
    {
        return wait(Why::Working);
    }
    if !ACTION_REASONS.contains(&reason) {
        return leave(Why::Prerequisites);
    }
    // The alert comes before the status: a look later this is Stalled, or Flux sits in a
    // back-off of its own (story render-error-backs-off).
    if trigger.settled {
        leave(Why::FluxRetries)
    } else {
        wait(Why::Settling)
    }
}

/// Whether Flux has put the release into a safe state, and whether the policy lets us disturb it.
fn remediated(release: &Release, policy: &Policy) -> Option<(Why, bool)> {
    let done = release
        .condition("Remediated")
        .filter(|condition| condition.status == Truth::True);
    match done.map(|condition| condition.reason.as_str()) {
        Some("UninstallSucceeded") => return Some((Why::Uninstalled, policy.after_uninstall)),
        Some(_) => return Some((Why::RolledBack, policy.allows_after_rollback(release))),
        None => {}
    }
    let gone = release
        .newest()
        .is_some_and(|newest| newest.status.starts_with("uninstall"));
    gone.then_some((Why::Uninstalled, policy.after_uninstall))
}

#[cfg(test)]
mod tests;
