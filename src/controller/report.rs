//! What a worker tells: one log line and one journal entry for each outcome, and no outcome twice.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use tracing::{debug, error, info, warn};

use super::{Shared, log_limit::LogLimit, summary::Tally};
use crate::{
    clock::spoken,
    domain::{
        alert::ReleaseRef,
        classify::{Class, Verdict},
        decide::{Decision, Reason},
        journal::Entry,
        ledger::{self, GAVE_UP, RestartOutcome, RestartRequest},
        policy::InvalidAnnotation,
        release::Release,
    },
    isolation::Panicked,
    kubernetes::Error,
    queue::WorkItem,
};

/// The key of a limit that does not go by rule.
const ANY: &str = "";

/// The key for looks that failed.
const ERRORS: &str = "errors";

/// After so many looks that failed although the API server answers others, the trouble is with this release.
const LASTING_TRIES: u32 = 5;

/// How many told outcomes are remembered for each cluster.
const REMEMBERED: usize = 4096;

/// Logs a line about one release, at level debug where many were logged at its level.
macro_rules! tell {
    ($admitted:expr, $level:ident, $($rest:tt)+) => {
        if $admitted {
            $level!($($rest)+);
        } else {
            debug!($($rest)+);
        }
    };
}

/// Tells outcomes, once.
pub(super) struct Reports {
    cluster: Arc<str>,
    shared: Shared,
    told: Mutex<Told>,
    /// For all lines at level info.
    infos: LogLimit,
    /// For lines at level warn, by rule: a rare cause stays visible beside one that many releases have.
    warnings: LogLimit,
    pub(super) tally: Tally,
}

#[derive(Default)]
struct Told {
    known: HashSet<(ReleaseRef, &'static str, String)>,
    order: VecDeque<(ReleaseRef, &'static str, String)>,
}

impl Reports {
    pub(super) fn new(cluster: Arc<str>, shared: Shared) -> Self {
        Self {
            cluster,
            shared,
            told: Mutex::default(),
            infos: LogLimit::new(10, Duration::from_mins(5)),
            warnings: LogLimit::new(4, Duration::from_mins(15)),
            tally: Tally::default(),
        }
    }

    /// Lines about single releases that were omitted at their level since the last call.
    pub(super) fn take_omitted(&self) -> u64 {
        self.infos.take_omitted() + self.warnings.take_omitted()
    }

    /// A decision that writes nothing. Waits are told when their reason changes; what is left alone is
    /// told once for each configuration of the release.
    pub(super) fn decision(
        &self,
        item: &mut WorkItem,
        release: Option<&Release>,
        (verdict, attempts): (Verdict, u32),
        decision: &Decision,
    ) {
        let why = decision.why();
        // Flux may go on trying, and fail for another cause.
        let cause = (why == Reason::FluxRetries).then_some(verdict.rule);
        if item.last.replace((why, cause)) == Some((why, cause)) {
            return;
        }
        self.journal(
            item,
            decision.as_str(),
            why.as_str(),
            verdict.rule,
            attempts,
        );
        let (namespace, name) = (&item.failure.release.namespace, &item.failure.release.name);
        let (why, rule, cluster) = (why.as_str(), verdict.rule, &self.cluster);
        let key = release
            .map(|release| format!("{} {}", release.config_key(), cause.unwrap_or_default()))
            .unwrap_or_default();
        let leaves = matches!(decision, Decision::Leave { .. });
        // An earlier process told of what is noted on the release; what failed when this one first looked was told
        // in one line.
        let noted = release.is_some_and(|release| release.annotation(GAVE_UP).is_some());
        let earlier = match decision.why() {
            Reason::BudgetSpent if attempts > 0 => std::mem::take(&mut item.known) && noted,
            // After this, something else happens to it.
            Reason::Settling => false,
            _ => std::mem::take(&mut item.known) && leaves,
        };
        let news = leaves && self.first_time(item, decision.why().as_str(), key) && !earlier;
        match decision.why() {
            _ if !news => {
                debug!(%cluster, %namespace, %name, decision = decision.as_str(), why, rule, "{} {cluster}/{namespace}/{name}: {why}", decision.as_str());
            }
            Reason::BudgetSpent if attempts == 0 => {
                tell!(self.infos.admits(ANY), info, %cluster, %namespace, %name, why, rule, "left {cluster}/{namespace}/{name} alone: its limit is 0");
            }
            Reason::BudgetSpent => {
                let restarts = ledger::counted(attempts);
                let next = next_attempt(decision, self.shared.clock.now());
                tell!(self.warnings.admits(why), warn, %cluster, %namespace, %name, why, rule, attempts, "gave up on {cluster}/{namespace}/{name}: {restarts} did not help against {rule}{next}; to renew them, set the annotation helmreboot.io/renew to a new value");
            }
            Reason::FluxRetries if verdict.class == Class::Permanent => {
                tell!(self.warnings.admits(rule), warn, %cluster, %namespace, %name, why, rule, "{cluster}/{namespace}/{name} fails for a cause that lasts ({rule}), and Flux goes on trying it; a person has to correct it");
            }
            Reason::Overdue => {
                let minutes = release.map_or(0, |release| release.action_limit().as_mins());
                tell!(self.warnings.admits(why), warn, %cluster, %namespace, %name, why, "{cluster}/{namespace}/{name} is overdue: Flux has been running an action for more than {minutes} min, which is longer than its timeouts allow; helm-controller may hang, or may have been killed: check its pods and log, and restart it; helmreboot writes nothing");
            }
            Reason::ReadyOutdated => {
                tell!(self.warnings.admits(why), warn, %cluster, %namespace, %name, why, rule, "left {cluster}/{namespace}/{name} alone: the newest Helm revision is a good one of the version and values that Flux tried last, so its Ready condition may tell of an earlier attempt ({rule}); compare it with helm history");
            }
            Reason::Contested => {
                tell!(self.warnings.admits(why), warn, %cluster, %namespace, %name, why, rule, "left {cluster}/{namespace}/{name} alone: {why}, another client restores the earlier reconcile.fluxcd.io/requestedAt; take that annotation out of Git");
            }
            Reason::Permanent | Reason::UnknownCause | Reason::RolledBack | Reason::Uninstalled => {
                tell!(self.warnings.admits(rule), warn, %cluster, %namespace, %name, why, rule, "left {cluster}/{namespace}/{name} alone: {why} ({rule}), a person has to look at it");
            }
            _ => {
                tell!(self.infos.admits(ANY), info, %cluster, %namespace, %name, why, rule, "left {cluster}/{namespace}/{name} alone: {why}");
            }
        }
    }

    pub(super) fn restarted(
        &self,
        item: &mut WorkItem,
        rule: &'static str,
        order: RestartRequest,
        limit: u32,
    ) {
        item.last = None;
        let RestartRequest {
            action,
            attempt,
            sends,
        } = order;
        let action = action.as_str();
        let what = if sends > 1 { "resend" } else { "restart" };
        self.tally
            .restarted
            .fetch_add(u32::from(sends == 1), Ordering::Relaxed);
        self.journal(item, what, action, rule, attempt);
        let ReleaseRef {
            cluster,
            namespace,
            name,
        } = &item.failure.release;
        if sends > 1 {
            tell!(self.infos.admits(ANY), info, %cluster, %namespace, %name, action, rule, attempt, sends, "sent {cluster}/{namespace}/{name} a fresh token ({action}): Flux had swallowed the last one");
        } else if attempt > limit {
            tell!(self.infos.admits(ANY), info, %cluster, %namespace, %name, action, rule, attempt, limit, "restarted {cluster}/{namespace}/{name} once more on the slow lane ({action}): {rule}");
        } else {
            tell!(self.infos.admits(ANY), info, %cluster, %namespace, %name, action, rule, attempt, limit, "restarted {cluster}/{namespace}/{name} ({action}, {attempt} of {limit}): {rule}");
        }
    }

    pub(super) fn would_restart(
        &self,
        item: &mut WorkItem,
        release: &Release,
        verdict: Verdict,
        (order, why): (RestartRequest, Reason),
    ) {
        let key = release.config_key().to_string();
        if self.first_time(item, why.as_str(), key) {
            self.journal(
                item,
                "observe",
                order.action.as_str(),
                verdict.rule,
                order.attempt,
            );
            let ReleaseRef {
                cluster,
                namespace,
                name,
            } = &item.failure.release;
            let (action, rule, attempt) = (order.action.as_str(), verdict.rule, order.attempt);
            tell!(self.infos.admits(ANY), info, %cluster, %namespace, %name, action, rule, attempt, "would restart {cluster}/{namespace}/{name} ({action}): {rule}; mode is observe, or helmreboot is paused, so nothing is written");
        }
    }

    /// Annotations that say nothing that can be heeded, each once.
    pub(super) fn odd(&self, item: &WorkItem, release: &Release, odd: &[InvalidAnnotation]) {
        for InvalidAnnotation {
            annotation,
            problem,
        } in odd
        {
            let value = release.annotation(annotation).unwrap_or_default();
            let key: String = value.chars().take(64).collect();
            if self.first_time(item, annotation, key) {
                self.journal(item, "ignored", annotation, Verdict::NO_RULE, 0);
                let ReleaseRef {
                    cluster,
                    namespace,
                    name,
                } = &item.failure.release;
                tell!(self.warnings.admits(annotation), warn, %cluster, %namespace, %name, annotation, "the annotation {annotation} of {cluster}/{namespace}/{name} is not heeded: {problem}");
            }
        }
    }

    /// How an episode ended, and what follows for the release that was seen.
    pub(super) fn ended(
        &self,
        item: &WorkItem,
        rule: &'static str,
        (attempts, end): (u32, RestartOutcome),
        seen: Option<(&Release, &Decision)>,
    ) {
        self.journal(item, "ended", end.as_str(), rule, attempts);
        self.tally.ended(end);
        let ReleaseRef {
            cluster,
            namespace,
            name,
        } = &item.failure.release;
        let result = end.as_str();
        match end {
            RestartOutcome::Recovered => {
                if let Some((release, _)) = seen {
                    // The decision that follows says the same.
                    self.first_time(
                        item,
                        Reason::Recovered.as_str(),
                        format!("{} ", release.config_key()),
                    );
                }
                tell!(self.infos.admits(ANY), info, %cluster, %namespace, %name, result, rule, "{cluster}/{namespace}/{name} recovered after its restart");
            }
            RestartOutcome::Superseded => {
                tell!(self.infos.admits(ANY), info, %cluster, %namespace, %name, result, rule, "the restart of {cluster}/{namespace}/{name} was superseded: the release changed");
            }
            RestartOutcome::FailedAgain => {
                let next = seen.map_or_else(String::new, |(_, decision)| {
                    next_attempt(decision, self.shared.clock.now())
                });
                tell!(self.infos.admits(ANY), info, %cluster, %namespace, %name, result, rule, "{cluster}/{namespace}/{name} failed again after its restart{next}");
            }
            RestartOutcome::Swallowed => {
                tell!(self.warnings.admits(rule), warn, %cluster, %namespace, %name, result, rule, "Flux took the restart of {cluster}/{namespace}/{name} and did nothing: a dependency or source was not ready");
            }
        }
    }

    pub(super) fn long_wait(&self, item: &WorkItem) {
        let ReleaseRef {
            cluster,
            namespace,
            name,
        } = &item.failure.release;
        let why = item.last.map_or("working", |(why, _)| why.as_str());
        let minutes = item.since.elapsed().as_secs() / 60;
        tell!(self.warnings.admits(why), warn, %cluster, %namespace, %name, why, minutes, "{cluster}/{namespace}/{name} has been in state {why} for {minutes} min; is helm-controller running?");
    }

    /// A look that failed. `up` is whether the API server answers other calls.
    pub(super) fn error(&self, item: &WorkItem, error: &Error, up: bool) {
        self.journal(item, "error", error.result().as_str(), Verdict::NO_RULE, 0);
        let ReleaseRef {
            cluster,
            namespace,
            name,
        } = &item.failure.release;
        let (kind, tries) = (error.result().as_str(), item.errors);
        // An API server that does not answer is told of once for all releases; other errors are about this one.
        if tries == 1 && !error.passes() || tries.is_multiple_of(LASTING_TRIES) && up {
            tell!(self.warnings.admits(ERRORS), warn, %cluster, %namespace, %name, kind, tries, "cannot work on {cluster}/{namespace}/{name}, will try again: {error}");
        } else {
            debug!(%cluster, %namespace, %name, kind, tries, "cannot work on {cluster}/{namespace}/{name}, will try again: {error}");
        }
    }

    pub(super) fn panicked(&self, item: &WorkItem, panicked: &Panicked) {
        self.journal(item, "error", "panic", Verdict::NO_RULE, 0);
        let ReleaseRef {
            cluster,
            namespace,
            name,
        } = &item.failure.release;
        let location = &panicked.location;
        let minutes = self.shared.pace.slow.as_secs().div_ceil(60);
        error!(%cluster, %namespace, %name, location, "internal error at {location} while working on {cluster}/{namespace}/{name}; it is tried again in {minutes} minutes; please report it");
    }

    fn journal(
        &self,
        item: &WorkItem,
        what: &'static str,
        why: &'static str,
        rule: &'static str,
        attempt: u32,
    ) {
        let (at, release) = (self.shared.clock.now(), item.failure.release.clone());
        self.shared.journal.push(Entry {
            at,
            release,
            what,
            why,
            rule,
            attempt,
        });
    }

    fn first_time(&self, item: &WorkItem, why: &'static str, key: String) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told_now = (item.failure.release.clone(), why, key);
        if !told.known.insert(told_now.clone()) {
            return false;
        }
        told.order.push_back(told_now);
        if told.order.len() > REMEMBERED
            && let Some(oldest) = told.order.pop_front()
        {
            told.known.remove(&oldest);
        }
        true
    }
}

/// When a release is restarted next, as far as it is known.
fn next_attempt(decision: &Decision, now: Timestamp) -> String {
    let why = decision.why().as_str();
    let (at, otherwise) = match decision {
        Decision::Restart { .. } => (None, "the next attempt follows, unless limits hold it back"),
        Decision::Wait { until, .. } => (*until, "it is looked at again"),
        Decision::Leave { again, .. } => (*again, "there is no further attempt"),
    };
    at.map_or_else(
        || format!("; {otherwise} ({why})"),
        |at| {
            let wait = spoken(at.duration_since(now).unsigned_abs());
            format!("; the next attempt is not before {at:.0}, in {wait} ({why})")
        },
    )
}
