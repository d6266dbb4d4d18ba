//! One reconciliation, in the order of helm-controller's `reconcileRelease` and `AtomicRelease`.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{FakeFlux, Key, Requeue, chart, notify::Event, object::Object};
use crate::domain::release::{REQUESTED_AT, RESET_AT};

const FORCE_AT: &str = "reconcile.fluxcd.io/forceAt";

/// Between two patches.
const STEP: Duration = Duration::from_millis(15);

/// What to do next about a release.
enum Step {
    Run(&'static str),
    Rollback,
    Uninstall,
    InSync,
    Stall {
        reason: &'static str,
        message: String,
    },
}

impl FakeFlux {
    pub(super) async fn reconcile(&self, key: &Key) -> Requeue {
        let Some(read) = self.cluster.get(key) else {
            return Requeue::Never;
        };
        if read["metadata"]["finalizers"]
            .as_array()
            .is_none_or(Vec::is_empty)
        {
            self.cluster.apply(
                key,
                &json!({"metadata": {"finalizers": ["finalizers.fluxcd.io"]}}),
            );
        }
        let values_from = self.world().values_from.get(key).cloned();
        let mut object = Object::new(read, values_from);
        if object.read["metadata"]["deletionTimestamp"].is_string() {
            self.uninstall_for_good(key, &mut object).await;
            return Requeue::Never;
        }
        if object.read["spec"]["suspend"] == true {
            self.finish(key, &mut object, true).await;
            return Requeue::Never;
        }
        let now = self.clock.now();
        object.remove("Stalled");
        object.set(
            "Reconciling",
            "True",
            "Progressing",
            "Fulfilling prerequisites",
            now,
        );
        self.save(key, &object).await;
        if let Some(requeue) = self.prerequisites(key, &mut object).await {
            self.finish(key, &mut object, false).await;
            return requeue;
        }
        let waited = object.condition("Ready").is_some_and(|ready| {
            ["SourceNotReady", "DependencyNotReady", "ValuesError"]
                .iter()
                .any(|reason| ready["reason"] == *reason)
        });
        if waited {
            object.set(
                "Ready",
                "Unknown",
                "Progressing",
                "reconciliation in progress",
                now,
            );
        }
        self.release(key, &mut object).await
    }

    /// What must be there before Helm is asked. A token sent now is noted as handled, and its reset is
    /// lost.
    async fn prerequisites(&self, key: &Key, object: &mut Object) -> Option<Requeue> {
        let now = self.clock.now();
        for dependency in object
            .spec("/dependsOn")
            .as_array()
            .cloned()
            .unwrap_or_default()
        {
            let name = dependency["name"].as_str().unwrap_or_default();
            let dependency = Key::new(
                dependency["namespace"].as_str().unwrap_or(&key.namespace),
                name,
            );
            if self.world().unready.contains(&dependency) {
                let message = format!(
                    "dependency '{}/{}' is not ready",
                    dependency.namespace, dependency.name
                );
                self.event(object, "info", "DependencyNotReady", message.clone(), false)
                    .await;
                object.set("Ready", "False", "DependencyNotReady", &message, now);
                return Some(Requeue::After(Duration::from_secs(30)));
            }
        }
        let chart = format!("flux-system/{}-{}", key.namespace, key.name);
        let missing = object.spec("/chart/spec/version") == "9.9.9";
        if missing || object.text("helmChart").is_none() {
            let cause = if missing {
                "no 'app' chart with version matching '9.9.9' found"
            } else {
                "latest generation of object has not been reconciled"
            };
            object.put("helmChart", chart.as_str());
            let message = format!("HelmChart '{chart}' is not ready: {cause}");
            object.set("Ready", "False", "SourceNotReady", &message, now);
            return Some(if missing {
                Requeue::Never
            } else {
                Requeue::After(Duration::from_millis(800))
            });
        }
        if let Some(reference) = object.spec("/valuesFrom/0/name").as_str() {
            let message = format!(
                "could not resolve ConfigMap chart values reference '{}/{reference}' with key 'values.yaml': configmaps \"{reference}\" not found",
                key.namespace
            );
            self.event(object, "error", "ValuesError", message.clone(), false)
                .await;
            object.set("Ready", "False", "ValuesError", &message, now);
            return Some(Requeue::Backoff);
        }
        None
    }

    /// `AtomicRelease`: steps until the release is in sync, has failed for now, or for good.
    async fn release(&self, key: &Key, object: &mut Object) -> Requeue {
        let forced = self.take_requests(object);
        let mut tried = false;
        loop {
            match self.next_step(key, object, forced && !tried) {
                Step::InSync => {
                    object.remove("Reconciling");
                    self.truncate_history(key, object);
                    self.finish(key, object, true).await;
                    return Requeue::Never;
                }
                Step::Stall { reason, message } => {
                    object.remove("Reconciling");
                    object.set("Stalled", "True", reason, &message, self.clock.now());
                    self.finish(key, object, true).await;
                    return Requeue::Never;
                }
                Step::Run(_) if tried => return self.retry_later(key, object).await,
                Step::Run(action) => {
                    tried = true;
                    if !self.attempt(key, object, action).await {
                        self.finish(key, object, false).await;
                        return Requeue::Backoff;
                    }
                }
                Step::Rollback => self.roll_back(key, object).await,
                Step::Uninstall => self.uninstall(key, object).await,
            }
        }
    }

    /// Reset and force count only with a fresh `requestedAt` of the same value; the reset is noted as
    /// handled even when it is refused.
    fn take_requests(&self, object: &mut Object) -> bool {
        let requested = object.annotation(REQUESTED_AT).map(str::to_owned);
        let fresh =
            requested.is_some() && requested.as_deref() != object.text("lastHandledReconcileAt");
        let mut handled = |annotation, field| {
            let value = object.annotation(annotation).map(str::to_owned);
            let honoured = value.is_some()
                && value == requested
                && fresh
                && value.as_deref() != object.text(field);
            if let Some(value) = value {
                object.put(field, value);
            }
            honoured
        };
        let reset = handled(RESET_AT, "lastHandledResetAt");
        let forced = handled(FORCE_AT, "lastHandledForceAt");
        let digest = chart::digest(object);
        let changed = object.count("lastAttemptedGeneration") != object.generation()
            || object.text("lastAttemptedConfigDigest") != Some(&digest);
        if reset || changed {
            object.clear_failures();
        }
        object.put("lastAttemptedGeneration", object.generation());
        object.put("lastAttemptedRevision", chart_version(object));
        object.put("lastAttemptedConfigDigest", digest);
        forced
    }

    /// `actionForState`.
    fn next_step(&self, key: &Key, object: &Object, forced: bool) -> Step {
        let helm = self.world().storage.get(key).cloned().unwrap_or_default();
        let Some(latest) = helm.latest() else {
            return if exhausted(object, "install") && !forced {
                stall(object, "install")
            } else {
                Step::Run("install")
            };
        };
        if latest.status == "deployed" {
            let wanted = latest.digest == chart::digest(object)
                && latest.chart_version == chart_version(object);
            return match wanted && !forced {
                true => Step::InSync,
                false if exhausted(object, "upgrade") && !forced => stall(object, "upgrade"),
                false => Step::Run("upgrade"),
            };
        }
        let action = if object.count("upgradeFailures") > 0 {
            "upgrade"
        } else {
            "install"
        };
        let count = object.count(&format!("{action}Failures"));
        if forced || count <= 0 || retry_interval(object, action).is_some() {
            return Step::Run("upgrade");
        }
        let remediation = object.spec(&format!("/{action}/remediation"));
        let retries = remediation["retries"].as_i64().unwrap_or_default();
        let last = remediation["remediateLastFailure"]
            .as_bool()
            .unwrap_or(action == "upgrade" && retries > 0);
        if exhausted(object, action) && !last {
            return stall(object, action);
        }
        if action == "install" || remediation["strategy"] == "uninstall" {
            return Step::Uninstall;
        }
        if helm.rollback_target().is_some() {
            return Step::Rollback;
        }
        let message = "Failed to perform remediation: missing target release for rollback: cannot remediate failed release";
        Step::Stall {
            reason: "MissingRollbackTarget",
            message: message.into(),
        }
    }

    /// A retry that is Flux's own: after `retryInterval`, or after a remediation with retries left.
    async fn retry_later(&self, key: &Key, object: &mut Object) -> Requeue {
        let action = if object.count("upgradeFailures") > 0 {
            "upgrade"
        } else {
            "install"
        };
        let now = self.clock.now();
        if let Some((text, interval)) = retry_interval(object, action) {
            object.set(
                "Reconciling",
                "True",
                "ProgressingWithRetry",
                &format!("retrying after {text}"),
                now,
            );
            self.finish(key, object, true).await;
            return Requeue::After(interval);
        }
        let message = object
            .condition("Ready")
            .and_then(|ready| ready["message"].as_str().map(str::to_owned));
        object.set(
            "Reconciling",
            "True",
            "ProgressingWithRetry",
            &message.unwrap_or_default(),
            now,
        );
        self.finish(key, object, false).await;
        Requeue::BackoffAfterAction
    }

    /// The deferred last patch: every reconciliation notes the token it has seen.
    pub(super) async fn finish(&self, key: &Key, object: &mut Object, observed: bool) {
        if observed {
            object.put("observedGeneration", object.generation());
        }
        if let Some(token) = object.annotation(REQUESTED_AT).map(str::to_owned) {
            object.put("lastHandledReconcileAt", token);
        }
        self.save(key, object).await;
    }

    /// Saves conditions, then the rest.
    pub(super) async fn save(&self, key: &Key, object: &Object) {
        let saved = self
            .cluster
            .get(key)
            .map(|saved| saved["status"].clone())
            .unwrap_or_default();
        self.cluster
            .write_status(key, &object.with_conditions_only(&saved));
        self.sleep(STEP).await;
        self.cluster
            .write_status(key, &Value::Object(object.status.clone()));
        self.sleep(STEP).await;
    }

    /// Tells notification-controller, and waits for its answer: so alerts come before the status.
    pub(super) async fn event(
        &self,
        object: &Object,
        severity: &'static str,
        reason: &str,
        message: String,
        tried: bool,
    ) {
        let version = chart_version(object);
        let event = Event {
            object: &object.read,
            severity,
            reason,
            message,
            revision: tried.then_some(version.as_str()),
        };
        self.notifier.event(&event, self.clock.now());
        self.sleep(STEP).await;
    }
}

pub(super) fn chart_version(object: &Object) -> String {
    object
        .spec("/chart/spec/version")
        .as_str()
        .unwrap_or("1.0.0")
        .to_owned()
}

pub(super) fn running(object: &Object, action: &str) -> String {
    format!(
        "Running '{action}' action with timeout of {}",
        object.spec("/timeout").as_str().unwrap_or("5m0s")
    )
}

/// `RetriesExhausted = retries >= 0 && failures > retries`.
fn exhausted(object: &Object, action: &str) -> bool {
    let retries = object
        .spec(&format!("/{action}/remediation/retries"))
        .as_i64()
        .unwrap_or_default();
    retries >= 0
        && retry_interval(object, action).is_none()
        && object.count(&format!("{action}Failures")) > retries
}

/// The interval of the strategy RetryOnFailure, as written and as a duration.
pub(super) fn retry_interval(object: &Object, action: &str) -> Option<(String, Duration)> {
    let strategy = object.spec(&format!("/{action}/strategy"));
    let text = (strategy["name"] == "RetryOnFailure")
        .then(|| strategy["retryInterval"].as_str().unwrap_or("5m"))?;
    let interval = text.parse::<SignedDuration>().ok()?.try_into().ok()?;
    Some((text.to_owned(), interval))
}

fn stall(object: &Object, action: &str) -> Step {
    let attempts = object.count(&format!("{action}Failures"));
    Step::Stall {
        reason: "RetriesExceeded",
        message: format!("Failed to {action} after {attempts} attempt(s)"),
    }
}
