//! Each fact that was reported appears once in the journal, as a Kubernetes Event, and as a Flux event.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use helmreboot::demo::fake_cluster::Key;

use super::{Check, only_observed};
use crate::simulation::{
    replica::{Counted, Replica},
    scene::Land,
};

/// Deliveries may take as long: a queue of notices, each of which is tried five times.
const DELIVERY: SignedDuration = SignedDuration::from_mins(10);

/// The reason of the Event of a fact, for the facts that are reported about one restart.
fn reason(fact: [&str; 2]) -> Option<&'static str> {
    match fact {
        ["restart", _] => Some("Restarted"),
        ["ended", "recovered"] => Some("Recovered"),
        ["ended", "failed-again"] => Some("FailedAgain"),
        _ => None,
    }
}

impl Check {
    /// Takes over what a replica reported. Of one that died, the last facts may not have been delivered.
    pub(in crate::simulation) fn events(&mut self, replica: &mut Replica, died: Option<Timestamp>) {
        let fate = self.fate.clone();
        replica.read(&fate);
        for (at, release, fact) in std::mem::take(&mut replica.facts) {
            let Some(reason) = reason(fact) else { continue };
            let key = (
                release.cluster.to_string(),
                release.name.to_string(),
                reason,
            );
            let (delivered, all) = self.facts.entry(key).or_default();
            *all += 1;
            if died.is_none_or(|died| died.duration_since(at) > DELIVERY) {
                *delivered += 1;
            }
        }
    }

    /// At the end: Events and Flux events are those of the journal.
    pub(super) fn events_agree(&mut self, lands: &[Land], counted: &[Counted]) {
        let dropped: u64 = counted
            .iter()
            .filter_map(|replica| replica.metrics.get("dropped events"))
            .sum();
        let missing = usize::try_from(dropped).expect("small") + self.fate.notes().panics;
        let mut kubernetes: BTreeMap<(String, String, String), usize> = BTreeMap::new();
        let mut flux = kubernetes.clone();
        for land in lands {
            for event in land.cluster.events() {
                let text = |at: &serde_json::Value| at.as_str().unwrap_or_default().to_owned();
                let name = text(&event["involvedObject"]["name"]);
                let key = (land.name.to_owned(), name, text(&event["reason"]));
                *kubernetes.entry(key).or_default() += 1;
            }
            for message in land.receiver.messages() {
                let name = message.title.trim_start_matches("helmrelease/");
                let name = name.split('.').next().unwrap_or_default().to_owned();
                let key = (land.name.to_owned(), name, message.reason);
                *flux.entry(key).or_default() += 1;
            }
        }
        for ((cluster, release, reason), (delivered, all)) in std::mem::take(&mut self.facts) {
            // Nothing is sent about a release that is only observed.
            let object = Key::new("apps", &release);
            let observed = lands
                .iter()
                .filter(|land| land.name == cluster)
                .any(|land| land.cluster.versions_of(&object).iter().any(only_observed));
            if observed && reason != "Restarted" {
                continue;
            }
            let key = (cluster.clone(), release.clone(), reason.to_owned());
            for (kind, told) in [("Events", &kubernetes), ("Flux events", &flux)] {
                let told = told.get(&key).copied().unwrap_or_default();
                if told > all || told + missing < delivered {
                    self.fail(format!(
                        "{cluster}/{release}: {told} {kind} {reason} for {all} facts, of which {delivered} must be delivered and {missing} may be missing"
                    ));
                }
            }
        }
    }
}
