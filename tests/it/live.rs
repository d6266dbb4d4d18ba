//! HelmReleases for tests.

use helmreboot::{
    demo::fake_cluster::{FakeCluster, Key},
    domain::short_hash::short_hash,
};
use serde_json::{Value, json};

use crate::support::{NOW, seconds};

/// A cause that passes.
pub(crate) const SLOW: &str = "timeout waiting for: [Deployment/apps/web status: 'InProgress']";
/// A cause that lasts.
pub(crate) const IMMUTABLE: &str = "cannot patch \"web\" with kind Job: Job.batch \"web\" is invalid: spec.template: field is immutable";

/// A live HelmRelease, put together from what it shows.
pub(crate) struct Live {
    pub(crate) key: Key,
    object: Value,
    status: Option<Value>,
}

impl Live {
    /// A release that Flux has tried once.
    pub(crate) fn named(name: &str) -> Self {
        let status = json!({"observedGeneration": 1, "lastAttemptedGeneration": 1,
            "lastAttemptedRevision": "1.0.0", "lastAttemptedConfigDigest": "sha256:0123456789abcdef",
            "failures": 1, "upgradeFailures": 1, "conditions": [],
            "history": [{"version": 2, "status": "failed", "chartVersion": "1.0.0",
                "configDigest": "sha256:0123456789abcdef", "lastDeployed": "2026-11-23T11:50:00Z"}]});
        let object = json!({"spec": {"interval": "1h", "values": {"replicas": 2}}});
        Self {
            key: Key::new("apps", name),
            object,
            status: Some(status),
        }
    }

    /// Stuck: what helmreboot is for.
    pub(crate) fn stalled(name: &str) -> Self {
        Self::named(name)
            .condition(
                "Stalled",
                "True",
                "RetriesExceeded",
                "Failed to upgrade after 1 attempt(s)",
            )
            .failed(SLOW)
    }

    /// Puts it into a cluster.
    pub(crate) fn put(&self, cluster: &FakeCluster) {
        cluster.apply(&self.key, &self.object);
        if let Some(status) = &self.status {
            cluster.write_status(&self.key, status);
        }
    }

    /// Ready=False and Released=False for that cause.
    pub(crate) fn failed(self, cause: &str) -> Self {
        let message =
            format!("Helm upgrade failed for release apps/web with chart app@1.0.0: {cause}");
        self.condition("Ready", "False", "UpgradeFailed", &message)
            .condition("Released", "False", "UpgradeFailed", &message)
    }

    pub(crate) fn reconciling(self, reason: &str, message: &str) -> Self {
        self.condition("Reconciling", "True", reason, message)
    }

    pub(crate) fn condition(
        mut self,
        kind: &str,
        status: &str,
        reason: &str,
        message: &str,
    ) -> Self {
        let condition = json!({"type": kind, "status": status, "reason": reason, "message": message,
            "observedGeneration": 1, "lastTransitionTime": NOW});
        if let Some(conditions) = self
            .status
            .as_mut()
            .and_then(|status| status["conditions"].as_array_mut())
        {
            conditions.retain(|old| old["type"] != kind);
            conditions.push(condition);
        }
        self
    }

    pub(crate) fn annotated(mut self, name: &str, value: &str) -> Self {
        self.object["metadata"]["annotations"][name] = json!(value);
        self
    }

    pub(crate) fn without(mut self, annotation: &str) -> Self {
        self.object["metadata"]["annotations"][annotation] = Value::Null;
        self
    }

    /// All its conditions have their values since then.
    pub(crate) fn since(mut self, time: &str) -> Self {
        let conditions = self
            .status
            .as_mut()
            .and_then(|status| status["conditions"].as_array_mut());
        for condition in conditions.into_iter().flatten() {
            condition["lastTransitionTime"] = json!(time);
        }
        self
    }

    /// With that in its status.
    pub(crate) fn status(mut self, patch: &Value) -> Self {
        if let Some(status) = &mut self.status {
            json_patch::merge(status, patch);
        }
        self
    }

    /// With that outside of its status.
    pub(crate) fn with(mut self, patch: &Value) -> Self {
        json_patch::merge(&mut self.object, patch);
        self
    }

    pub(crate) fn without_status(mut self) -> Self {
        self.status = None;
        self
    }
}

/// Flux works on a release, and has written that.
pub(crate) fn works_on(cluster: &FakeCluster, release: &Key) {
    let conditions = [
        ("Ready", "Unknown", "Progressing"),
        ("Reconciling", "True", "Progressing"),
    ];
    change(cluster, release, &conditions, |_, _| ());
}

/// Flux has handled the last request, and the release is ready.
pub(crate) fn recovers(cluster: &FakeCluster, release: &Key) {
    change(
        cluster,
        release,
        &[("Ready", "True", "UpgradeSucceeded")],
        handled,
    );
}

/// Flux has handled the last request, and its attempt failed.
pub(crate) fn fails_again(cluster: &FakeCluster, release: &Key) {
    let conditions = [
        ("Ready", "False", "UpgradeFailed"),
        ("Stalled", "True", "RetriesExceeded"),
    ];
    change(cluster, release, &conditions, |object, status| {
        handled(object, status);
        let version = status["history"][0]["version"].as_i64().expect("a version");
        status["history"][0]["version"] = json!(version + 1);
    });
}

fn handled(object: &Value, status: &mut Value) {
    let token = &object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
    status["lastHandledReconcileAt"] = token.clone();
    status["lastHandledResetAt"] = token.clone();
}

fn change(
    cluster: &FakeCluster,
    release: &Key,
    conditions: &[(&str, &str, &str)],
    change: impl FnOnce(&Value, &mut Value),
) {
    let object = cluster.get(release).expect("a release");
    let mut status = object["status"].clone();
    let conditions = conditions.iter().map(|(kind, value, reason)| {
        json!({"type": kind, "status": value, "reason": reason, "message": SLOW, "lastTransitionTime": NOW,
            "observedGeneration": object["metadata"]["generation"]})
    });
    status["conditions"] = conditions.collect();
    change(&object, &mut status);
    cluster.write_status(release, &status);
}

/// The state of a release that was restarted that often for the configuration of [`Live::named`], the last
/// time two hours ago: any backoff is over, the slow lane is not.
pub(crate) fn state(attempts: u32) -> Value {
    json!({"v": 1, "token": "t", "sends": 1, "total": attempts,
        "keys": [{"key": config_key("1.0.0", "sha256:0123456789abcdef"), "base": 0, "at": seconds("2026-11-23T10:00:00Z")}],
        "before": {"revision": 1, "hash": "of another time"}})
}

/// How a state names a configuration of generation 1.
pub(crate) fn config_key(revision: &str, digest: &str) -> String {
    let digest: String = digest
        .rsplit(':')
        .next()
        .unwrap_or(digest)
        .chars()
        .take(12)
        .collect();
    format!("1-{}", short_hash(&format!("{revision}/{digest}")))
}
