//! Reports of the controller about single releases: one log line and one journal entry for each outcome, and none
//! twice.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError, atomic::Ordering},
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
        evaluate::Evaluation,
        journal::Entry,
        ledger::{self, GAVE_UP, RestartOutcome, RestartRequest},
        policy::{InvalidAnnotation, Mode},
        release::Release,
    },
    isolation::Panicked,
    kubernetes::Error,
    queue::{Source, WorkItem},
};

/// The key of lines that are not limited by rule.
const ANY: &str = "";

/// The key of lines about errors.
const ERRORS: &str = "errors";

/// After so many errors in a row, and while the API server answers other calls, the error is about this release.
const ERRORS_BEFORE_WARNING: u32 = 5;

/// The most outcomes that are remembered for each cluster, so that each is logged once.
const REMEMBERED: usize = 4096;

/// Logs a line about one release: at its level if the log limit admits it, otherwise at level debug.
macro_rules! log {
    ($admitted:expr, $level:ident, $($rest:tt)+) => {
        if $admitted {
            $level!($($rest)+);
        } else {
            debug!($($rest)+);
        }
    };
}

/// Logs outcomes, each once.
pub(super) struct Reports {
    shared: Shared,
    reported: Mutex<Reported>,
    /// For all lines at level info.
    infos: LogLimit,
    /// For lines at level warn, by rule: a rare cause is logged although another is frequent.
    warnings: LogLimit,
    pub(super) tally: Tally,
}

#[derive(Default)]
struct Reported {
    known: HashSet<(ReleaseRef, &'static str, String)>,
    order: VecDeque<(ReleaseRef, &'static str, String)>,
}

impl Reports {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared,
            reported: Mutex::default(),
            infos: LogLimit::new(10, Duration::from_mins(5)),
            warnings: LogLimit::new(4, Duration::from_mins(15)),
            tally: Tally::default(),
        }
    }

    /// Lines about single releases that were omitted at their level since the last call.
    pub(super) fn take_omitted(&self) -> u64 {
        self.infos.take_omitted() + self.warnings.take_omitted()
    }

    /// A decision that writes nothing. A wait is reported when its reason changes, and a leave once for each
    /// configuration of the release.
    pub(super) fn decision(
        &self,
        item: &mut WorkItem,
        release: Option<&Release>,
        evaluation: &Evaluation,
    ) {
        let Evaluation {
            verdict,
            attempts,
            decision,
            ..
        } = evaluation;
        let (rule, attempts, reason) = (verdict.rule, *attempts, decision.reason());
        // Flux may keep retrying, and fail for another cause.
        let cause = (reason == Reason::FluxRetries).then_some(rule);
        if item.last_decision.replace((reason, cause)) == Some((reason, cause)) {
            return;
        }
        let key = release.map(|release| {
            let cause = cause.unwrap_or_default();
            format!("{} {cause}", release.config_key())
        });
        let leaves = matches!(decision, Decision::Leave { .. });
        let first = leaves && self.first_report(item, reason.as_str(), key.unwrap_or_default());
        // The watcher enqueues a release at each change of it. That says nothing new about one that is left.
        let again = item.source == Source::Watch && item.reconciles == 1;
        if first || !leaves || !again {
            self.journal(item, decision.as_str(), reason.as_str(), rule, attempts);
        }
        // An earlier process reported what is noted on the release. The line about the first list of the cluster
        // includes what failed when this process started.
        let gave_up_before = release.is_some_and(|release| release.annotation(GAVE_UP).is_some());
        let reported = match reason {
            Reason::BudgetSpent if attempts > 0 => {
                std::mem::take(&mut item.known_at_start) && gave_up_before
            }
            // Another decision follows this one.
            Reason::Settling => false,
            _ => std::mem::take(&mut item.known_at_start) && leaves,
        };
        let news = first && !reported;
        if news {
            self.log_leave(item, release, evaluation);
        } else {
            let name = &item.failure.release;
            let (decision, reason) = (decision.as_str(), reason.as_str());
            debug!(cluster = %name.cluster, namespace = %name.namespace, name = %name.name, decision, reason, rule, "{name}: {decision}, {reason}");
        }
    }

    fn log_leave(&self, item: &WorkItem, release: Option<&Release>, evaluation: &Evaluation) {
        let Evaluation {
            verdict,
            attempts,
            decision,
            ..
        } = evaluation;
        let (rule, attempts) = (verdict.rule, *attempts);
        let full = &item.failure.release;
        let (cluster, namespace, name) = (&full.cluster, &full.namespace, &full.name);
        let reason = decision.reason().as_str();
        match decision.reason() {
            Reason::Recovered => {
                log!(self.infos.admits(ANY), info, %cluster, %namespace, %name, reason, "{full} is ready, nothing to do");
            }
            Reason::BudgetSpent if attempts == 0 => {
                log!(self.infos.admits(ANY), info, %cluster, %namespace, %name, reason, rule, "not restarting {full}: its limit is 0");
            }
            Reason::BudgetSpent => {
                let restarts = ledger::counted(attempts);
                let next = next_attempt(decision, self.shared.clock.now());
                log!(self.warnings.admits(reason), warn, %cluster, %namespace, %name, reason, rule, attempts, "gave up on {full} after {restarts} without success ({rule}){next}; for new attempts, set its annotation helmreboot.io/renew to a new value");
            }
            Reason::FluxRetries if verdict.class == Class::Permanent => {
                log!(self.warnings.admits(rule), warn, %cluster, %namespace, %name, reason, rule, "{full} fails for a permanent cause ({rule}), which Flux keeps retrying; a person has to correct it");
            }
            Reason::Overdue => {
                let minutes = release.map_or(0, |release| release.action_limit().as_mins());
                log!(self.warnings.admits(reason), warn, %cluster, %namespace, %name, reason, "{full} is overdue: Flux has been running an action for more than {minutes} min, which is longer than its timeouts allow; helm-controller may hang, or may have been killed: check its pods and its log, and restart it; helmreboot writes nothing");
            }
            Reason::ReadyOutdated => {
                log!(self.warnings.admits(reason), warn, %cluster, %namespace, %name, reason, rule, "not restarting {full}: its newest Helm revision is deployed, with the version and values that Flux tried last, so its Ready condition may be out of date ({rule}); compare it with helm history");
            }
            Reason::Contested => {
                log!(self.warnings.admits(reason), warn, %cluster, %namespace, %name, reason, rule, "not restarting {full}: {reason}, another client restores the earlier value of reconcile.fluxcd.io/requestedAt; remove that annotation from Git");
            }
            Reason::Permanent | Reason::UnknownCause | Reason::RolledBack | Reason::Uninstalled => {
                log!(self.warnings.admits(rule), warn, %cluster, %namespace, %name, reason, rule, "not restarting {full}: {reason} ({rule}); a person has to act");
            }
            _ => {
                log!(self.infos.admits(ANY), info, %cluster, %namespace, %name, reason, rule, "not restarting {full}: {reason}");
            }
        }
    }

    pub(super) fn restarted(
        &self,
        item: &mut WorkItem,
        rule: &'static str,
        request: RestartRequest,
        limit: u32,
    ) {
        item.last_decision = None;
        let RestartRequest {
            action,
            attempt,
            sends,
        } = request;
        let action = action.as_str();
        let what = if sends > 1 { "resend" } else { "restart" };
        self.tally
            .restarted
            .fetch_add(u32::from(sends == 1), Ordering::Relaxed);
        self.journal(item, what, action, rule, attempt);
        let full = &item.failure.release;
        let (cluster, namespace, name) = (&full.cluster, &full.namespace, &full.name);
        if sends > 1 {
            log!(self.infos.admits(ANY), info, %cluster, %namespace, %name, action, rule, attempt, sends, "sent a new token to {full} ({action}): Flux handled the last one without an attempt");
        } else if attempt > limit {
            log!(self.infos.admits(ANY), info, %cluster, %namespace, %name, action, rule, attempt, limit, "restarted {full} ({action}, slow lane): {rule}");
        } else {
            log!(self.infos.admits(ANY), info, %cluster, %namespace, %name, action, rule, attempt, limit, "restarted {full} ({action}, attempt {attempt} of {limit}): {rule}");
        }
    }

    pub(super) fn would_restart(
        &self,
        item: &mut WorkItem,
        release: &Release,
        evaluation: &Evaluation,
    ) {
        let Decision::Restart { request, reason } = &evaluation.decision else {
            return;
        };
        let key = release.config_key().to_string();
        if !self.first_report(item, reason.as_str(), key) {
            return;
        }
        let (action, attempt) = (request.action.as_str(), request.attempt);
        let rule = evaluation.verdict.rule;
        self.journal(item, "observe", action, rule, attempt);
        let full = &item.failure.release;
        let (cluster, namespace, name) = (&full.cluster, &full.namespace, &full.name);
        let because = match evaluation.policy.mode {
            Mode::Observe => "mode is observe",
            Mode::Act => "helmreboot is paused",
        };
        log!(self.infos.admits(ANY), info, %cluster, %namespace, %name, action, rule, attempt, "would restart {full} ({action}): {rule}; nothing is written, because {because}");
    }

    /// Annotations of a release that are not valid, each once.
    pub(super) fn invalid_annotations(
        &self,
        item: &WorkItem,
        release: &Release,
        invalid: &[InvalidAnnotation],
    ) {
        for InvalidAnnotation {
            annotation,
            problem,
        } in invalid
        {
            let value = release.annotation(annotation).unwrap_or_default();
            let key: String = value.chars().take(64).collect();
            if self.first_report(item, annotation, key) {
                self.journal(item, "ignored", annotation, Verdict::NO_RULE, 0);
                let full = &item.failure.release;
                let (cluster, namespace, name) = (&full.cluster, &full.namespace, &full.name);
                log!(self.warnings.admits(annotation), warn, %cluster, %namespace, %name, annotation, "invalid annotation {annotation} of {full}: {problem}");
            }
        }
    }

    /// The outcome of a restart, and what follows for the release that was seen.
    pub(super) fn ended(
        &self,
        item: &WorkItem,
        rule: &'static str,
        (attempts, outcome): (u32, RestartOutcome),
        seen: Option<(&Release, &Decision)>,
    ) {
        let result = outcome.as_str();
        self.journal(item, "ended", result, rule, attempts);
        self.tally.ended(outcome);
        let full = &item.failure.release;
        let (cluster, namespace, name) = (&full.cluster, &full.namespace, &full.name);
        match outcome {
            RestartOutcome::Recovered => {
                if let Some((release, _)) = seen {
                    // The decision that follows has the same meaning.
                    let key = format!("{} ", release.config_key());
                    self.first_report(item, Reason::Recovered.as_str(), key);
                }
                log!(self.infos.admits(ANY), info, %cluster, %namespace, %name, result, rule, "{full} recovered after its restart");
            }
            RestartOutcome::Superseded => {
                log!(self.infos.admits(ANY), info, %cluster, %namespace, %name, result, rule, "the restart of {full} was superseded: the release was changed");
            }
            RestartOutcome::FailedAgain => {
                let now = self.shared.clock.now();
                let next = seen.map(|(_, decision)| next_attempt(decision, now));
                let next = next.unwrap_or_default();
                log!(self.infos.admits(ANY), info, %cluster, %namespace, %name, result, rule, "{full} failed again after its restart{next}");
            }
            RestartOutcome::Swallowed => {
                log!(self.warnings.admits(rule), warn, %cluster, %namespace, %name, result, rule, "Flux handled the restart of {full} without an attempt: a dependency or source was not ready");
            }
        }
    }

    pub(super) fn long_wait(&self, item: &WorkItem) {
        let full = &item.failure.release;
        let (cluster, namespace, name) = (&full.cluster, &full.namespace, &full.name);
        let reason = item
            .last_decision
            .map_or("working", |(reason, _)| reason.as_str());
        let minutes = item.since.elapsed().as_secs() / 60;
        log!(self.warnings.admits(reason), warn, %cluster, %namespace, %name, reason, minutes, "{full} has waited for {minutes} min ({reason}); check that helm-controller is running");
    }

    /// A reconcile failed. `up` is whether the API server answers other calls.
    pub(super) fn error(&self, item: &WorkItem, error: &Error, up: bool) {
        let (kind, tries) = (error.result().as_str(), item.errors);
        self.journal(item, "error", kind, Verdict::NO_RULE, 0);
        let full = &item.failure.release;
        let (cluster, namespace, name) = (&full.cluster, &full.namespace, &full.name);
        // An API server that does not answer is logged once for all releases. Other errors are about this release.
        if tries == 1 && !error.is_transient() || tries.is_multiple_of(ERRORS_BEFORE_WARNING) && up
        {
            log!(self.warnings.admits(ERRORS), warn, %cluster, %namespace, %name, kind, tries, "cannot reconcile {full}, retrying: {error}");
        } else {
            debug!(%cluster, %namespace, %name, kind, tries, "cannot reconcile {full}, retrying: {error}");
        }
    }

    pub(super) fn panicked(&self, item: &WorkItem, panicked: &Panicked) {
        self.journal(item, "error", "panic", Verdict::NO_RULE, 0);
        let full = &item.failure.release;
        let (cluster, namespace, name) = (&full.cluster, &full.namespace, &full.name);
        let location = &panicked.location;
        let minutes = self.shared.intervals.slow.as_secs().div_ceil(60);
        error!(%cluster, %namespace, %name, location, "internal error at {location} in the reconcile of {full}, retrying in {minutes} min; please report it");
    }

    fn journal(
        &self,
        item: &WorkItem,
        what: &'static str,
        reason: &'static str,
        rule: &'static str,
        attempt: u32,
    ) {
        self.shared.journal.push(Entry {
            at: self.shared.clock.now(),
            release: item.failure.release.clone(),
            what,
            reason,
            rule,
            attempt,
        });
    }

    fn first_report(&self, item: &WorkItem, what: &'static str, key: String) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = (item.failure.release.clone(), what, key);
        if !reported.known.insert(outcome.clone()) {
            return false;
        }
        reported.order.push_back(outcome);
        if reported.order.len() > REMEMBERED
            && let Some(oldest) = reported.order.pop_front()
        {
            reported.known.remove(&oldest);
        }
        true
    }
}

/// When a release is restarted next, as far as that is known.
fn next_attempt(decision: &Decision, now: Timestamp) -> String {
    let reason = decision.reason().as_str();
    let (at, otherwise) = match decision {
        Decision::Restart { .. } => (None, "it is restarted as soon as the limits allow it"),
        Decision::Wait { until, .. } => (*until, "it is reconciled again"),
        Decision::Leave { retry_at, .. } => (*retry_at, "there is no further attempt"),
    };
    at.map_or_else(
        || format!("; {otherwise} ({reason})"),
        |at| {
            let wait = spoken(at.duration_since(now).unsigned_abs());
            format!("; the next attempt is not before {at:.0}, in {wait} ({reason})")
        },
    )
}
