//! How much is allowed, and what must be true at the end of a history.

use helmreboot::{demo::fake_cluster::Key, domain::policy::AfterRemediation};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::simulation::{people::FROM_GIT, replica::Counted, scene::Land};

use super::objects::{
    annotation, blames_infrastructure, condition, is, lasting, only_observed, opted_out, summary,
    uninstalled,
};

use super::*;

impl Check {
    /// Whether the breaker of a shared cause may have closed: another one of the cluster got well.
    pub(super) fn others_helped(&self, land: &str, but: &Key, since: Timestamp) -> bool {
        self.helped
            .iter()
            .any(|(name, key, at)| *name == land && key != but && *at >= since)
    }

    pub(super) fn limit(&self, object: &Value) -> u32 {
        match annotation(object, "helmreboot.io/limit").trim() {
            "" => self.policy.limit,
            // What cannot be read counts as 0.
            own => own.parse().map_or(0, |own: u32| own.min(self.policy.limit)),
        }
    }

    /// Whether a rollback or uninstall by Flux may be followed by a restart now.
    pub(super) fn may_follow_remediation(&self, before: &Value, now: Timestamp) -> bool {
        let Some(done) = condition(before, "Remediated") else {
            return true;
        };
        let at = done["lastTransitionTime"]
            .as_str()
            .and_then(|at| at.parse::<Timestamp>().ok());
        let pause = SignedDuration::from_mins(10) - ONE_CALL;
        if at.is_none_or(|at| now.duration_since(at) < pause) {
            return false;
        }
        let policy = if done["reason"] == "UninstallSucceeded" {
            self.policy.after_uninstall
        } else {
            self.policy.after_rollback
        };
        match policy {
            AfterRemediation::Never => false,
            AfterRemediation::Infrastructure => blames_infrastructure(before),
            AfterRemediation::Always => true,
        }
    }

    pub(super) fn backoff(&self, made: usize) -> SignedDuration {
        let backoff = &self.policy.backoff;
        let steps = i32::try_from(made.saturating_sub(1)).expect("small");
        let wait = backoff.duration.as_secs_f64() * backoff.factor.powi(steps);
        SignedDuration::from_secs_f64(wait.min(backoff.max_duration.as_secs_f64()))
    }

    /// After hours without faults: no release is stuck for a transient cause, and journal and metrics agree.
    pub(in crate::simulation) fn end(
        &mut self,
        lands: &[Land],
        counted: &[Counted],
        killed: usize,
    ) {
        for land in lands {
            for key in &land.releases {
                if let Some(stuck) = self.stuck(land, key) {
                    self.fail(format!("{}/{}: {stuck}", land.name, key.name));
                }
            }
        }
        self.events_agree(lands, counted);
        let mut all = (0, 0, 0);
        for (index, replica) in counted.iter().enumerate() {
            let word = |word: &str| replica.journal.get(word).copied().unwrap_or_default();
            let metric = |name: &str| replica.metrics.get(name).copied().unwrap_or_default();
            let sent =
                metric("helmreboot_restarts_total") + metric("helmreboot_tokens_resent_total");
            let ended = metric("helmreboot_restart_outcomes_total");
            let by_rule = metric("helmreboot_restarts_by_rule_total");
            let pairs = [
                (word("restart"), metric("helmreboot_restarts_total")),
                (word("resend"), metric("helmreboot_tokens_resent_total")),
                (word("ended"), ended),
                (by_rule, metric("helmreboot_restarts_total")),
                (metric("helmreboot_restart_outcomes_by_rule_total"), ended),
            ];
            // A panic may come between counting and noting.
            let panics = self.fate.notes().panics as u64;
            if pairs
                .iter()
                .any(|(journal, metric)| journal.abs_diff(*metric) > panics)
            {
                self.fail(format!(
                    "process {index}: journal and metrics differ: {pairs:?}"
                ));
            }
            // A process that did not begin a restart may see its end. Where there was one process, it saw all ends.
            if counted.len() == 1 && (ended > sent + panics || ended + panics < sent) {
                self.fail(format!("{sent} restarts have {ended} ends"));
            }
            all = (
                all.0 + sent,
                all.1 + ended,
                all.2 + metric("helmreboot_gave_up_total"),
            );
        }
        let notes = self.fate.notes();
        let unknown = killed + notes.unknown + notes.panics;
        drop(notes);
        let saw = self.restarts;
        let ended = usize::try_from(all.1).expect("small");
        if !self.several && ended > usize::try_from(all.0).expect("small") + unknown {
            self.fail(format!("{} restarts have {ended} ends", all.0));
        }
        let said = usize::try_from(all.0).expect("small");
        if said > saw || said + unknown < saw {
            self.fail(format!(
                "{said} restarts were counted, the clusters saw {saw}, {unknown} can be unknown"
            ));
        }
    }

    /// Why a release should not stand as it does.
    pub(super) fn stuck(&self, land: &Land, key: &Key) -> Option<String> {
        let object = land.cluster.get(key)?;
        let book = self.books.get(&(land.name, key.clone()))?;
        let mode = object["spec"]["values"]["mode"]
            .as_str()
            .unwrap_or_default();
        let limit = self.limit(&object);
        let left = limit > 0
            && (book.restarts.len() < usize::try_from(limit).expect("small")
                || self.policy.slow_lane.is_some())
            // Too many new configurations without a success: the count is not renewed any more.
            && (book.restarts.len() < REMEMBERED || self.policy.slow_lane.is_some())
            && (!book.history_lost || self.policy.slow_lane.is_some());
        let may = self.swept
            && ["slow", "webhook"].contains(&mode)
            && is(&object, "Stalled", "True")
            && !is(&object, "Remediated", "True")
            && object["spec"]["suspend"] != true
            && !opted_out(&object)
            && !only_observed(&object)
            && !self.observed.contains(land.name)
            && !object["metadata"]["deletionTimestamp"].is_string()
            && !lasting(&object)
            // What Git puts back is left to those who wrote it there.
            && annotation(&object, "reconcile.fluxcd.io/requestedAt") != FROM_GIT
            && !uninstalled(&object)
            && left;
        may.then(|| format!("is still stuck: {}", summary(&object)))
    }
}
