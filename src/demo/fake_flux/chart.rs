//! Helm, its storage, and the one chart: `spec.values.mode` says how it behaves.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{FakeFlux, Key, object::Object};

/// Which Flux is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// helm-controller 1.6: Helm 4, whose wait errors name the object.
    Current,
    /// helm-controller 1.3 (Flux 2.6): Helm 3; the slow chart's cause is a webhook that hangs.
    Flux26,
}

/// What Helm has stored for one release.
#[derive(Clone, Debug, Default)]
pub(super) struct Helm {
    pub(super) revisions: Vec<Revision>,
    /// The oldest revision that the status still lists.
    listed_from: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Revision {
    pub(super) version: i64,
    pub(super) status: &'static str,
    pub(super) digest: String,
    pub(super) chart_version: String,
    pub(super) at: Timestamp,
}

/// How an action of Helm ends.
pub(super) enum Outcome {
    Deployed,
    /// Failed, and stored as a failed revision.
    Failed(String),
    /// Failed before anything was stored: rendering, schema, missing kinds.
    NotStored(String),
}

impl Helm {
    /// The newest revision in the storage, unless it was uninstalled.
    pub(super) fn latest(&self) -> Option<&Revision> {
        self.revisions
            .last()
            .filter(|revision| revision.status != "uninstalling")
    }

    /// What a rollback would go back to.
    pub(super) fn rollback_target(&self) -> Option<&Revision> {
        self.revisions
            .iter()
            .rev()
            .find(|revision| revision.status == "deployed")
    }

    pub(super) fn store(
        &mut self,
        status: &'static str,
        digest: &str,
        chart_version: &str,
        at: Timestamp,
    ) {
        if self.latest().is_none() {
            self.revisions.clear();
            self.listed_from = 0;
        }
        if status == "deployed" {
            for earlier in self
                .revisions
                .iter_mut()
                .filter(|earlier| earlier.status == "deployed")
            {
                earlier.status = "superseded";
            }
        }
        let version = self.revisions.last().map_or(1, |last| last.version + 1);
        let (digest, chart_version) = (digest.to_owned(), chart_version.to_owned());
        self.revisions.push(Revision {
            version,
            status,
            digest,
            chart_version,
            at,
        });
    }

    /// Flux does this once a release is in sync: of the revisions before the newest, the status lists only those
    /// since the last good one (`api/v2/snapshot_types.go`, `Truncate`).
    pub(super) fn truncate_history(&mut self) {
        let good = |it: &&Revision| matches!(it.status, "deployed" | "superseded");
        let previous = self.revisions.iter().rev().skip(1).find(good);
        self.listed_from = previous.map_or(self.listed_from, |previous| previous.version);
    }

    /// `status.history`: the newest five, newest first.
    pub(super) fn history(&self) -> Value {
        let snapshot = |revision: &Revision| {
            json!({"version": revision.version, "status": revision.status, "chartName": "app",
                "chartVersion": revision.chart_version, "configDigest": revision.digest,
                "lastDeployed": format!("{:.0}", revision.at)})
        };
        let newest = self.revisions.iter().rev();
        let listed = newest.take_while(|it| it.version >= self.listed_from);
        listed.take(5).map(snapshot).collect()
    }
}

/// The digest of the values, as status shows it.
pub(super) fn digest(object: &Object) -> String {
    let values_from = object.values_from.as_deref().unwrap_or_default();
    let values = format!("{}{values_from}", object.spec("/values"));
    format!("sha256:{}", hex::encode(Sha256::digest(values)))
}

/// `spec.timeout`, 5 minutes by default.
pub(super) fn timeout(object: &Object) -> Duration {
    let timeout = object
        .spec("/timeout")
        .as_str()
        .and_then(|text| text.parse::<SignedDuration>().ok());
    timeout
        .and_then(|timeout| timeout.try_into().ok())
        .unwrap_or(Duration::from_mins(5))
}

impl FakeFlux {
    /// Runs the chart.
    pub(super) async fn helm(&self, key: &Key, object: &Object, action: &str) -> Outcome {
        let quick = Duration::from_millis(150);
        if object.spec("/values/size").is_string() {
            self.sleep(quick).await;
            return Outcome::NotStored("values don't meet the specifications of the schema(s) in the following chart(s):\napp:\n- at '/size': got string, want integer".into());
        }
        let mode = object.spec("/values/mode").as_str().unwrap_or("ok");
        match (mode, self.era) {
            ("slow", Era::Current) => self.wait_for_widget(key, timeout(object)).await,
            ("slow" | "webhook", _) => self.call_webhook(key, action).await,
            ("new-object", _) => self.create_object(key).await,
            ("refused", _) if !self.world().removed_causes.contains(key) => {
                self.sleep(quick).await;
                Outcome::Failed("failed to create resource: Post \"https://10.96.0.1:443/apis/apps/v1/namespaces/apps/deployments\": dial tcp 10.96.0.1:443: connect: connection refused".into())
            }
            ("stalled", _) => {
                self.sleep(Duration::from_secs(5)).await;
                let (namespace, name) = (&key.namespace, &key.name);
                Outcome::Failed(format!(
                    "failed early due to stalled resources: [Widget/{namespace}/{name}-s status: 'Failed']"
                ))
            }
            ("badname", _) => {
                self.sleep(quick).await;
                Outcome::Failed("server-side apply failed for object apps/Not_Allowed /v1, Kind=ConfigMap: ConfigMap \"Not_Allowed\" is invalid: metadata.name: Invalid value: \"Not_Allowed\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters".into())
            }
            ("immutable", _) => {
                self.sleep(quick).await;
                Outcome::Failed("cannot patch \"app\" with kind StatefulSet: StatefulSet.apps \"app\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'template' and 'updateStrategy' are forbidden".into())
            }
            ("fail", _) => {
                self.sleep(quick).await;
                Outcome::NotStored(
                    "execution error at (app/templates/all.yaml:1:35): mode fail was asked for"
                        .into(),
                )
            }
            ("nokind", _) => {
                self.sleep(quick).await;
                Outcome::NotStored("unable to build kubernetes objects from release manifest: resource mapping not found for name: \"x\" namespace: \"\" from \"\": no matches for kind \"Gadget\" in version \"nowhere.test/v1\"\nensure CRDs are installed first".into())
            }
            _ => {
                self.sleep(quick).await;
                Outcome::Deployed
            }
        }
    }

    /// The chart waits for an object that becomes ready when the cause is removed.
    async fn wait_for_widget(&self, key: &Key, timeout: Duration) -> Outcome {
        let step = Duration::from_millis(200);
        let mut waited = Duration::ZERO;
        while waited <= timeout {
            self.sleep(step).await;
            if self.world().removed_causes.contains(key) {
                return Outcome::Deployed;
            }
            waited += step;
        }
        Outcome::Failed(format!(
            "timeout waiting for: [Widget/{}/{} status: 'InProgress']",
            key.namespace, key.name
        ))
    }

    /// One new object has an admission webhook, which hangs until the cause is removed.
    async fn create_object(&self, key: &Key) -> Outcome {
        if self.world().removed_causes.contains(key) {
            self.sleep(Duration::from_millis(150)).await;
            return Outcome::Deployed;
        }
        self.sleep(Duration::from_secs(2)).await;
        let (namespace, name) = (&key.namespace, &key.name);
        Outcome::Failed(format!(
            "server-side apply failed for object {namespace}/{name}-imm /v1, Kind=ConfigMap: Internal error occurred: failed calling webhook \"check.demo.test\": failed to call webhook: Post \"https://127.0.0.1:9999/validate?timeout=2s\": context deadline exceeded"
        ))
    }

    /// An admission webhook hangs until the cause is removed.
    async fn call_webhook(&self, key: &Key, action: &str) -> Outcome {
        if self.world().removed_causes.contains(key) {
            self.sleep(Duration::from_millis(150)).await;
            return Outcome::Deployed;
        }
        self.sleep(Duration::from_secs(2)).await;
        let wrapped = if action == "install" {
            "1 error occurred:\n\t* "
        } else {
            "failed to create resource: "
        };
        Outcome::Failed(format!(
            "{wrapped}Internal error occurred: failed calling webhook \"slow.demo.test\": failed to call webhook: Post \"https://127.0.0.1:9999/validate?timeout=2s\": context deadline exceeded"
        ))
    }
}
