//! Reports of the controller about single releases, each fact once: to the journal, to the log, and as notices.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use tracing::{debug, error, info, warn};

use super::{Shared, log_limit::LogLimit, summary::Tally};
use crate::{
    domain::{
        alert::ReleaseRef,
        classify::Rule,
        decide::{Decision, Reason},
        evaluate::Evaluation,
        ledger::{GAVE_UP, RestartOutcome, RestartRequest},
        policy::{InvalidAnnotation, Mode},
        release::Release,
        report::{Fact, Level, Report, failure_key},
    },
    isolation::Panicked,
    kubernetes::Error,
    notify::Outbox,
    queue::{RunningRestart, Source, WorkItem},
};

/// The key of lines that are not limited by rule.
const ANY: &str = "";

/// The key of lines about errors.
const ERRORS: &str = "errors";

/// After so many errors in a row, and while the API server answers other calls, the error is about this release.
const ERRORS_BEFORE_WARNING: u32 = 5;

/// The most facts that are remembered for each cluster, so that each is reported once.
const REMEMBERED: usize = 4096;

/// Reports facts, each once.
pub(super) struct Reports {
    shared: Shared,
    outbox: Outbox,
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

/// Where a fact is reported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// The log and the journal.
    Operators,
    /// Also by a Kubernetes Event.
    Release,
    /// Also by a Flux event.
    Everyone,
}

impl Reports {
    pub(super) fn new(shared: Shared, outbox: Outbox) -> Self {
        Self {
            shared,
            outbox,
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
        let (rule, reason) = (verdict.rule, decision.reason());
        // Flux may keep retrying, and fail for another cause.
        let cause = (reason == Reason::FluxRetries).then_some(rule);
        if item.last_decision.replace((reason, cause)) == Some((reason, cause)) {
            return;
        }
        let key = release.map(|release| {
            let cause = cause.unwrap_or_default();
            let limit = evaluation.policy.limit;
            format!("{} {cause} {limit}", failure_key(release))
        });
        let key = key.unwrap_or_default();
        let fact = match decision {
            Decision::Leave { retry_at, .. } => Fact::Left {
                reason,
                class: verdict.class,
                retry_at: *retry_at,
                now: self.shared.clock.now(),
                limit: evaluation.policy.limit,
                action_minutes: release
                    .map_or(0, |release| release.action_limit().as_mins().unsigned_abs()),
            },
            Decision::Wait { .. } | Decision::Restart { .. } => Fact::Waits { reason },
        };
        let report = self.report(item, rule, *attempts, fact);
        let leaves = matches!(decision, Decision::Leave { .. });
        let once = leaves || reason == Reason::BreakerOpen;
        let first = once && self.first_report(item, reason.as_str(), key.clone());
        // The watcher enqueues a release at each change of it. That says nothing new about one that is left.
        let again = item.source == Source::Watch && item.reconciles == 1;
        if first || !leaves || !again {
            self.journal(&report);
        }
        // An earlier process reported what is noted on the release. The line about the first list of the cluster
        // includes what failed when this process started.
        let gave_up_before = release.is_some_and(|release| release.annotation(GAVE_UP).is_some());
        let reported = match reason {
            Reason::BudgetSpent if *attempts > 0 => {
                std::mem::take(&mut item.known_at_start) && gave_up_before
            }
            // Another decision follows this one.
            Reason::Settling => false,
            _ => std::mem::take(&mut item.known_at_start) && leaves,
        };
        let news = first && !reported && reason != Reason::Settling;
        self.log(&report, news);
        // A fact that was only logged during a pause is sent at the next reconcile after it.
        let acts = evaluation.policy.mode == Mode::Act && !self.shared.pause.is_on();
        if once && acts && self.first_report(item, reason.as_str(), format!("notice {key}")) {
            let audience = if reported && reason != Reason::Overdue {
                Audience::Release
            } else {
                Audience::Everyone
            };
            self.notify(&report, release, audience);
        }
    }

    pub(super) fn restarted(
        &self,
        item: &mut WorkItem,
        release: &Release,
        restart: &RunningRestart,
        (request, limit): (RestartRequest, u32),
    ) {
        item.last_decision = None;
        let first = request.sends == 1;
        self.tally
            .restarted
            .fetch_add(u32::from(first), Ordering::Relaxed);
        let fact = Fact::Restarted {
            action: request.action,
            limit,
            sends: request.sends,
            token: restart.token.clone(),
        };
        let report = self.report(item, restart.rule, request.attempt, fact);
        self.publish(&report, Some(release), Audience::Everyone);
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
        let key = failure_key(release);
        if !self.first_report(item, reason.as_str(), key) {
            return;
        }
        let fact = Fact::WouldRestart {
            action: request.action,
            paused: evaluation.policy.mode == Mode::Act,
        };
        let report = self.report(item, evaluation.verdict.rule, request.attempt, fact);
        self.publish(&report, None, Audience::Operators);
    }

    /// Annotations of a release that are not valid, each once.
    pub(super) fn invalid_annotations(
        &self,
        item: &WorkItem,
        release: &Release,
        evaluation: &Evaluation,
    ) {
        let audience = match evaluation.policy.mode {
            Mode::Act => Audience::Everyone,
            Mode::Observe => Audience::Operators,
        };
        for InvalidAnnotation {
            annotation,
            problem,
        } in &evaluation.invalid
        {
            let value = release.annotation(annotation).unwrap_or_default();
            let value: String = value.chars().take(64).collect();
            let key = format!("{} {value}", release.metadata.uid);
            if self.first_report(item, annotation, key) {
                let fact = Fact::InvalidAnnotation {
                    annotation,
                    problem: (*problem).to_owned(),
                };
                let report = self.report(item, Rule::NONE.name, 0, fact);
                self.publish(&report, Some(release), audience);
            }
        }
    }

    /// The outcome of a restart, and what follows for the release that was seen.
    pub(super) fn ended(
        &self,
        item: &WorkItem,
        restart: &RunningRestart,
        (attempts, outcome): (u32, RestartOutcome),
        seen: Option<(&Release, &Evaluation)>,
    ) {
        self.tally.ended(outcome);
        let release = seen.map(|(release, _)| release);
        let acts = seen.is_some_and(|(_, evaluation)| evaluation.policy.mode == Mode::Act);
        if let (RestartOutcome::Recovered, Some((release, evaluation))) = (outcome, seen) {
            // The decision that follows has the same meaning.
            let limit = evaluation.policy.limit;
            let key = format!("{}  {limit}", failure_key(release));
            self.first_report(item, Reason::Recovered.as_str(), key);
        }
        let fact = Fact::Ended {
            outcome,
            token: restart.token.clone(),
            next: seen.map(|(_, evaluation)| evaluation.decision.clone()),
            now: self.shared.clock.now(),
        };
        let report = self.report(item, restart.rule, attempts, fact);
        let audience = if acts {
            Audience::Everyone
        } else {
            Audience::Operators
        };
        self.publish(&report, release, audience);
    }

    pub(super) fn long_wait(&self, item: &WorkItem) {
        let reason = item
            .last_decision
            .map_or("working", |(reason, _)| reason.as_str());
        let minutes = item.since.elapsed().as_secs() / 60;
        let fact = Fact::LongWait { reason, minutes };
        let report = self.report(item, Rule::NONE.name, 0, fact);
        self.publish(&report, None, Audience::Operators);
    }

    /// A reconcile failed. `up` is whether the API server answers other calls.
    pub(super) fn error(&self, item: &WorkItem, error: &Error, up: bool) {
        // An API server that does not answer is logged once for all releases. Other errors are about this release.
        let own = item.errors == 1 && !error.is_transient()
            || item.errors.is_multiple_of(ERRORS_BEFORE_WARNING) && up;
        let fact = Fact::Error {
            kind: error.result().as_str(),
            problem: error.to_string(),
            own,
        };
        let report = self.report(item, Rule::NONE.name, 0, fact);
        self.publish(&report, None, Audience::Operators);
    }

    pub(super) fn panicked(&self, item: &WorkItem, panicked: &Panicked) {
        let fact = Fact::Panicked {
            location: panicked.location.clone(),
            retry_minutes: self.shared.intervals.slow.as_secs().div_ceil(60),
        };
        let report = self.report(item, Rule::NONE.name, 0, fact);
        self.publish(&report, None, Audience::Operators);
    }

    fn report(&self, item: &WorkItem, rule: &'static str, attempts: u32, fact: Fact) -> Report {
        let found = self.shared.classifier.find(rule);
        Report {
            release: item.failure.release.clone(),
            rule,
            meaning: found.unwrap_or(&Rule::NONE).description,
            attempts,
            fact,
        }
    }

    fn publish(&self, report: &Report, release: Option<&Release>, audience: Audience) {
        self.journal(report);
        self.log(report, true);
        self.notify(report, release, audience);
    }

    fn journal(&self, report: &Report) {
        self.shared
            .journal
            .push(report.entry(self.shared.clock.now()));
    }

    /// Logs a fact at its level if it is news and the log limit admits it, otherwise at level debug.
    fn log(&self, report: &Report, news: bool) {
        let full = &report.release;
        let (cluster, namespace, name) = (&full.cluster, &full.namespace, &full.name);
        let (what, reason) = report.words();
        let (rule, attempt, line) = (report.rule, report.attempts, report.line());
        macro_rules! log {
            ($level:ident) => {
                $level!(%cluster, %namespace, %name, what, reason, rule, attempt, "{line}")
            };
        }
        match report.level() {
            Level::Error => log!(error),
            Level::Warn if news && self.warnings.admits(limit_key(report)) => log!(warn),
            Level::Info if news && self.infos.admits(ANY) => log!(info),
            _ => log!(debug),
        }
    }

    /// Sends a fact as a notice. While helmreboot is paused, nothing is written.
    fn notify(&self, report: &Report, release: Option<&Release>, audience: Audience) {
        let Some(release) = release.filter(|_| audience != Audience::Operators) else {
            return;
        };
        if self.shared.pause.is_on() {
            return;
        }
        if let Some(mut notice) = report.notice(release, self.shared.clock.now()) {
            if audience == Audience::Release {
                notice.severity = None;
            }
            self.outbox.send(notice);
        }
    }

    fn first_report(&self, item: &WorkItem, what: &'static str, key: String) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let fact = (item.failure.release.clone(), what, key);
        if !reported.known.insert(fact.clone()) {
            return false;
        }
        reported.order.push_back(fact);
        if reported.order.len() > REMEMBERED
            && let Some(oldest) = reported.order.pop_front()
        {
            reported.known.remove(&oldest);
        }
        true
    }
}

/// Lines at level warn with the same key share one limit.
fn limit_key(report: &Report) -> &'static str {
    let by_reason = [
        Reason::BudgetSpent,
        Reason::Overdue,
        Reason::ReadyOutdated,
        Reason::Contested,
    ];
    match &report.fact {
        Fact::Left { reason, .. } if by_reason.contains(reason) => reason.as_str(),
        Fact::LongWait { reason, .. } => reason,
        Fact::InvalidAnnotation { annotation, .. } => annotation,
        Fact::Error { .. } => ERRORS,
        _ => report.rule,
    }
}
