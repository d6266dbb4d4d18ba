//! Helm's actions as helm-controller runs them: what is reported, counted and stored, in which order.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    FakeFlux, Key,
    chart::{self, Outcome},
    object::Object,
    reconcile::{chart_version, retry_interval, running},
};

impl FakeFlux {
    /// Installs or upgrades. False where nothing was stored: the controller backs off by itself.
    pub(super) async fn attempt(
        &self,
        key: &Key,
        object: &mut Object,
        action: &'static str,
    ) -> bool {
        let running = running(object, action);
        object.set(
            "Reconciling",
            "True",
            "Progressing",
            &running,
            self.clock.now(),
        );
        object.set(
            "Ready",
            "Unknown",
            "Progressing",
            &running,
            self.clock.now(),
        );
        self.save(key, object).await;
        let now = self.clock.now();
        self.world().runs.entry(key.clone()).or_default().push(now);
        let outcome = self.helm(key, object, action).await;
        let (title, verb) = if action == "install" {
            ("Install", "install")
        } else {
            ("Upgrade", "upgrade")
        };
        let (digest, version) = (chart::digest(object), chart_version(object));
        let now = self.clock.now();
        object.remove("Remediated");
        object.put("lastAttemptedReleaseAction", action);
        let stored = !matches!(outcome, Outcome::NotStored(_));
        match outcome {
            Outcome::Deployed => {
                let number = self.store(key, "deployed", &digest, &version);
                let reason = format!("{title}Succeeded");
                let message = format!(
                    "Helm {verb} succeeded for release {}/{}.v{number} with chart app@{version}",
                    key.namespace, key.name
                );
                self.event(object, "info", &reason, message.clone(), true)
                    .await;
                object.set("Released", "True", &reason, &message, now);
                object.set("Ready", "True", &reason, &message, now);
                if retry_interval(object, action).is_some() {
                    object.clear_failures();
                }
            }
            Outcome::Failed(error) | Outcome::NotStored(error) => {
                let reason = format!("{title}Failed");
                let message = format!(
                    "Helm {verb} failed for release {}/{} with chart app@{version}: {error}",
                    key.namespace, key.name
                );
                let logs = format!(
                    "\n\nLast Helm logs:\n\n{now}: warning: {verb} failed: context deadline exceeded"
                );
                let said = if stored {
                    format!("{message}{logs}")
                } else {
                    message.clone()
                };
                self.event(object, "error", &reason, said, true).await;
                object.set("Released", "False", &reason, &message, now);
                object.set("Ready", "False", &reason, &message, now);
                object.raise("failures");
                if stored {
                    self.store(key, "failed", &digest, &version);
                    object.raise(&format!("{action}Failures"));
                }
            }
        }
        object.put("history", self.history(key));
        if stored {
            self.save(key, object).await;
        }
        stored
    }

    /// Ready keeps telling of the failure while Flux remediates it.
    async fn begin_remediation(&self, key: &Key, object: &mut Object, action: &str) {
        let running = running(object, action);
        let now = self.clock.now();
        object.set("Reconciling", "True", "Progressing", &running, now);
        self.save(key, object).await;
        self.sleep(Duration::from_millis(200)).await;
    }

    pub(super) async fn roll_back(&self, key: &Key, object: &mut Object) {
        self.begin_remediation(key, object, "rollback").await;
        let helm = self.world().storage.get(key).cloned().unwrap_or_default();
        let Some(target) = helm.rollback_target() else {
            return;
        };
        let message = format!(
            "Helm rollback to previous release {}/{}.v{} with chart app@{} succeeded",
            key.namespace, key.name, target.version, target.chart_version
        );
        self.store(key, "deployed", &target.digest, &target.chart_version);
        self.event(object, "info", "RollbackSucceeded", message.clone(), true)
            .await;
        object.set(
            "Remediated",
            "True",
            "RollbackSucceeded",
            &message,
            self.clock.now(),
        );
        object.set(
            "Ready",
            "False",
            "RollbackSucceeded",
            &message,
            self.clock.now(),
        );
        object.put("history", self.history(key));
    }

    pub(super) async fn uninstall(&self, key: &Key, object: &mut Object) {
        self.begin_remediation(key, object, "uninstall").await;
        let version = self.mark_uninstalled(key);
        let message = format!(
            "Helm uninstall remediation for release {}/{}.v{version} with chart app@{} succeeded",
            key.namespace,
            key.name,
            chart_version(object)
        );
        self.event(object, "info", "UninstallSucceeded", message.clone(), true)
            .await;
        object.set(
            "Remediated",
            "True",
            "UninstallSucceeded",
            &message,
            self.clock.now(),
        );
        object.put("history", self.history(key));
    }

    /// The object is being deleted: uninstall, then let it go.
    pub(super) async fn uninstall_for_good(&self, key: &Key, object: &mut Object) {
        let stored = self.world().storage.contains_key(key);
        if stored {
            let version = self.mark_uninstalled(key);
            let message = format!(
                "Helm uninstall succeeded for release {}/{}.v{version} with chart app@{}",
                key.namespace,
                key.name,
                chart_version(object)
            );
            self.event(object, "info", "UninstallSucceeded", message.clone(), true)
                .await;
            object.set(
                "Released",
                "False",
                "UninstallSucceeded",
                &message,
                self.clock.now(),
            );
            object.set(
                "Ready",
                "False",
                "UninstallSucceeded",
                &message,
                self.clock.now(),
            );
            self.save(key, object).await;
        }
        self.world().storage.remove(key);
        self.cluster
            .apply(key, &json!({"metadata": {"finalizers": null}}));
    }

    fn store(&self, key: &Key, status: &'static str, digest: &str, version: &str) -> i64 {
        let mut world = self.world();
        let helm = world.storage.entry(key.clone()).or_default();
        helm.store(status, digest, version, self.clock.now());
        helm.latest().map_or(0, |latest| latest.version)
    }

    fn mark_uninstalled(&self, key: &Key) -> i64 {
        let mut world = self.world();
        let last = world
            .storage
            .get_mut(key)
            .and_then(|helm| helm.revisions.last_mut());
        last.map_or(0, |last| {
            last.status = "uninstalling";
            last.version
        })
    }

    pub(super) fn truncate_history(&self, key: &Key, object: &mut Object) {
        if let Some(helm) = self.world().storage.get_mut(key) {
            helm.truncate_history();
        }
        object.put("history", self.history(key));
    }

    fn history(&self, key: &Key) -> Value {
        self.world()
            .storage
            .get(key)
            .map_or_else(|| json!([]), chart::Helm::history)
    }
}
