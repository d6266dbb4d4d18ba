//! What a worker tells: one log line and one journal entry for each outcome, and no outcome twice.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{debug, error, info, warn};

use super::Shared;
use crate::{
    cluster::Error,
    domain::{
        alert::ReleaseRef,
        classify::{Class, Verdict},
        decide::{Decision, Why},
        journal::Entry,
        ledger::{self, Ended, Order},
        policy::Odd,
        release::Release,
    },
    isolation::Panicked,
    queue::Pending,
};

/// How many told outcomes are remembered for each cluster.
const REMEMBERED: usize = 4096;

/// Tells outcomes, once.
pub(super) struct Reports {
    cluster: Arc<str>,
    shared: Shared,
    told: Mutex<Told>,
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
        }
    }

    /// A decision that writes nothing. Waits are told when their reason changes; what is left alone is
    /// told once for each configuration of the release.
    pub(super) fn decision(
        &self,
        pending: &mut Pending,
        release: Option<&Release>,
        (verdict, attempts): (Verdict, u32),
        decision: &Decision,
    ) {
        let why = decision.why();
        if pending.last.replace(why) == Some(why) {
            return;
        }
        self.journal(
            pending,
            decision.as_str(),
            why.as_str(),
            verdict.rule,
            attempts,
        );
        let (namespace, name) = (
            &pending.failure.release.namespace,
            &pending.failure.release.name,
        );
        let (why, rule, cluster) = (why.as_str(), verdict.rule, &self.cluster);
        let key = release
            .map(|release| release.config_key().to_string())
            .unwrap_or_default();
        let news = matches!(decision, Decision::Leave { .. })
            && self.first_time(pending, decision.why().as_str(), key);
        match decision.why() {
            _ if !news => {
                debug!(%cluster, %namespace, %name, decision = decision.as_str(), why, rule, "{} {cluster}/{namespace}/{name}: {why}", decision.as_str());
            }
            Why::BudgetSpent if attempts == 0 => {
                info!(%cluster, %namespace, %name, why, rule, "left {cluster}/{namespace}/{name} alone: its limit is 0");
            }
            Why::BudgetSpent => {
                let restarts = ledger::counted(attempts);
                warn!(%cluster, %namespace, %name, why, rule, attempts, "gave up on {cluster}/{namespace}/{name}: {restarts} did not help against {rule}");
            }
            Why::FluxRetries if verdict.class == Class::Permanent => {
                warn!(%cluster, %namespace, %name, why, rule, "{cluster}/{namespace}/{name} fails for a cause that lasts ({rule}), and Flux goes on trying it; a person has to correct it");
            }
            Why::Overdue => {
                let minutes = release.map_or(0, |release| release.action_limit().as_mins());
                warn!(%cluster, %namespace, %name, why, "{cluster}/{namespace}/{name} is overdue: Flux has been running an action for more than {minutes} min, which is longer than its timeouts allow; helm-controller may hang, or may have been killed: check its pods and log, and restart it; helmreboot writes nothing");
            }
            Why::ReadyOutdated => {
                warn!(%cluster, %namespace, %name, why, rule, "left {cluster}/{namespace}/{name} alone: the newest Helm revision is a good one of the version and values that Flux tried last, so its Ready condition may tell of an earlier attempt ({rule}); compare it with helm history");
            }
            Why::Contested => {
                warn!(%cluster, %namespace, %name, why, rule, "left {cluster}/{namespace}/{name} alone: {why}, somebody puts back the request that stood there; take reconcile.fluxcd.io/requestedAt out of Git");
            }
            Why::Permanent | Why::UnknownCause | Why::RolledBack | Why::Uninstalled => {
                warn!(%cluster, %namespace, %name, why, rule, "left {cluster}/{namespace}/{name} alone: {why} ({rule}), a person has to look at it");
            }
            _ => {
                info!(%cluster, %namespace, %name, why, rule, "left {cluster}/{namespace}/{name} alone: {why}")
            }
        }
    }

    pub(super) fn restarted(
        &self,
        pending: &mut Pending,
        rule: &'static str,
        order: Order,
        limit: u32,
    ) {
        pending.last = None;
        let Order {
            action,
            attempt,
            sends,
        } = order;
        let action = action.as_str();
        let what = if sends > 1 { "resend" } else { "restart" };
        self.journal(pending, what, action, rule, attempt);
        let ReleaseRef {
            cluster,
            namespace,
            name,
        } = &pending.failure.release;
        if sends > 1 {
            info!(%cluster, %namespace, %name, action, rule, attempt, sends, "sent {cluster}/{namespace}/{name} a fresh token ({action}): Flux had swallowed the last one");
        } else if attempt > limit {
            info!(%cluster, %namespace, %name, action, rule, attempt, limit, "restarted {cluster}/{namespace}/{name} once more on the slow lane ({action}): {rule}");
        } else {
            info!(%cluster, %namespace, %name, action, rule, attempt, limit, "restarted {cluster}/{namespace}/{name} ({action}, {attempt} of {limit}): {rule}");
        }
    }

    pub(super) fn would_restart(
        &self,
        pending: &mut Pending,
        release: &Release,
        verdict: Verdict,
        (order, why): (Order, Why),
    ) {
        let key = release.config_key().to_string();
        if self.first_time(pending, why.as_str(), key) {
            self.journal(
                pending,
                "observe",
                order.action.as_str(),
                verdict.rule,
                order.attempt,
            );
            let ReleaseRef {
                cluster,
                namespace,
                name,
            } = &pending.failure.release;
            let (action, rule, attempt) = (order.action.as_str(), verdict.rule, order.attempt);
            info!(%cluster, %namespace, %name, action, rule, attempt, "would restart {cluster}/{namespace}/{name} ({action}): {rule}; nothing is written while observing or paused");
        }
    }

    /// Annotations that say nothing that can be heeded, each once.
    pub(super) fn odd(&self, pending: &Pending, release: &Release, odd: &[Odd]) {
        for Odd {
            annotation,
            problem,
        } in odd
        {
            let value = release.annotation(annotation).unwrap_or_default();
            let key: String = value.chars().take(64).collect();
            if self.first_time(pending, annotation, key) {
                self.journal(pending, "ignored", annotation, Verdict::NO_RULE, 0);
                let ReleaseRef {
                    cluster,
                    namespace,
                    name,
                } = &pending.failure.release;
                warn!(%cluster, %namespace, %name, annotation, "the annotation {annotation} of {cluster}/{namespace}/{name} is not heeded: {problem}");
            }
        }
    }

    pub(super) fn ended(&self, pending: &Pending, rule: &'static str, attempts: u32, end: Ended) {
        self.journal(pending, "ended", end.as_str(), rule, attempts);
        let ReleaseRef {
            cluster,
            namespace,
            name,
        } = &pending.failure.release;
        let result = end.as_str();
        match end {
            Ended::Recovered => {
                info!(%cluster, %namespace, %name, result, rule, "{cluster}/{namespace}/{name} recovered after its restart")
            }
            Ended::Superseded => {
                info!(%cluster, %namespace, %name, result, rule, "the restart of {cluster}/{namespace}/{name} was overtaken by a change")
            }
            Ended::FailedAgain => {
                info!(%cluster, %namespace, %name, result, rule, "{cluster}/{namespace}/{name} failed again after its restart")
            }
            Ended::Swallowed => {
                warn!(%cluster, %namespace, %name, result, rule, "Flux took the restart of {cluster}/{namespace}/{name} and did nothing: a dependency or source was not ready")
            }
        }
    }

    pub(super) fn long_wait(&self, pending: &Pending) {
        let ReleaseRef {
            cluster,
            namespace,
            name,
        } = &pending.failure.release;
        let why = pending.last.map_or("working", Why::as_str);
        let minutes = pending.since.elapsed().as_secs() / 60;
        warn!(%cluster, %namespace, %name, why, minutes, "{cluster}/{namespace}/{name} is waited for since {minutes} minutes ({why}); is helm-controller running?");
    }

    pub(super) fn error(&self, pending: &Pending, error: &Error) {
        self.journal(
            pending,
            "error",
            error.result().as_str(),
            Verdict::NO_RULE,
            0,
        );
        let ReleaseRef {
            cluster,
            namespace,
            name,
        } = &pending.failure.release;
        let (kind, tries) = (error.result().as_str(), pending.errors);
        // Once loud, then quiet: a cluster that is gone would fill the log with its releases.
        if tries == 1 && !matches!(error, Error::NoAccess(_)) {
            warn!(%cluster, %namespace, %name, kind, tries, "cannot work on {cluster}/{namespace}/{name}, will try again: {error}");
        } else {
            debug!(%cluster, %namespace, %name, kind, tries, "still cannot work on {cluster}/{namespace}/{name}: {error}");
        }
    }

    pub(super) fn panicked(&self, pending: &Pending, panicked: &Panicked) {
        self.journal(pending, "error", "panic", Verdict::NO_RULE, 0);
        let ReleaseRef {
            cluster,
            namespace,
            name,
        } = &pending.failure.release;
        let location = &panicked.location;
        let minutes = self.shared.pace.slow.as_secs().div_ceil(60);
        error!(%cluster, %namespace, %name, location, "internal error at {location} while working on {cluster}/{namespace}/{name}; it is tried again in {minutes} minutes; please report it");
    }

    fn journal(
        &self,
        pending: &Pending,
        what: &'static str,
        why: &'static str,
        rule: &'static str,
        attempt: u32,
    ) {
        let (at, release) = (self.shared.clock.now(), pending.failure.release.clone());
        self.shared.journal.push(Entry {
            at,
            release,
            what,
            why,
            rule,
            attempt,
        });
    }

    fn first_time(&self, pending: &Pending, why: &'static str, key: String) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told_now = (pending.failure.release.clone(), why, key);
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
