//! What was promised, held against every single write. Nothing here asks the code that is being tested:
//! what is allowed is worked out again from the objects and from what Flux really did.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use helmreboot::{
    app::Options,
    config::SweepMode,
    demo::fake_cluster::{Change, Key},
    domain::policy::Policy,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Fate, scene::Land};

mod bounds;
mod events;
mod objects;
use objects::{
    annotation, changed, is, lasting, only_observed, opted_out, state, stripped, summary,
    uninstalled,
};

/// What may be written.
const ALLOWED: [&str; 9] = [
    "reconcile.fluxcd.io/requestedAt",
    "reconcile.fluxcd.io/resetAt",
    "reconcile.fluxcd.io/forceAt",
    "fluxcd.io/reconcileAt",
    "helmreboot.io/last-restart",
    "helmreboot.io/restarts",
    "helmreboot.io/cause",
    "helmreboot.io/state",
    "helmreboot.io/gave-up",
];

/// Waits are measured from the look that led to a restart: its time has whole seconds, and the write may
/// take as long as a call may.
const ONE_CALL: SignedDuration = SignedDuration::from_secs(9);

pub(super) struct Check {
    fate: Fate,
    policy: Policy,
    observed: BTreeSet<String>,
    several: bool,
    swept: bool,
    /// Facts that were reported, by cluster, release and reason of their Event: those that must have been delivered,
    /// and all.
    facts: BTreeMap<(String, String, &'static str), (usize, usize)>,
    books: BTreeMap<(&'static str, Key), Book>,
    read: BTreeMap<&'static str, usize>,
    /// Who became ready, and when, whatever became of it afterwards.
    helped: Vec<(&'static str, Key, Timestamp)>,
    pub(super) broken: Vec<String>,
    pub(super) steps: usize,
    pub(super) restarts: usize,
}

/// What is known about one release.
#[derive(Default)]
struct Book {
    object: Option<Arc<Value>>,
    /// Restarts since the last success or renewal, whatever the configuration.
    restarts: Vec<Restart>,
    /// Restarts since the last renewal.
    made: usize,
    /// The last value of the renewal that a restart saw.
    renewed: String,
    tokens: BTreeSet<String>,
    /// An uninstall took the history with it, which alone tells of earlier successes.
    history_lost: bool,
}

#[derive(Clone)]
struct Restart {
    at: Timestamp,
    /// Restarts that helmreboot says it made, this one included.
    total: u64,
    token: String,
    /// Tokens sent for it.
    sends: usize,
    /// Generation, chart version and values that Flux had tried.
    config: [String; 3],
}

/// Configurations whose restarts are remembered.
const REMEMBERED: usize = 4;

impl Book {
    /// Restarts that count against a configuration: all since its first one, as long as it is among the
    /// last few that were restarted.
    fn charged(&self, config: &[String; 3]) -> usize {
        let mut first: Vec<(&[String; 3], usize)> = Vec::new();
        for (index, restart) in self.restarts.iter().enumerate() {
            let known = first
                .iter()
                .position(|(known, _)| **known == restart.config);
            let since = known.map_or(index, |at| first.remove(at).1);
            first.push((&restart.config, since));
            if first.len() > REMEMBERED {
                first.remove(0);
            }
        }
        let since = first.iter().find(|(known, _)| *known == config);
        since.map_or(0, |(_, since)| self.restarts.len() - since)
    }
}

/// What Flux tried last.
fn config_of(object: &Value) -> [String; 3] {
    let status = &object["status"];
    [
        object["metadata"]["generation"].to_string(),
        status["lastAttemptedRevision"].to_string(),
        status["lastAttemptedConfigDigest"].to_string(),
    ]
}

impl Check {
    pub(super) fn new(options: &Options, fate: Fate) -> Self {
        Self {
            fate,
            policy: options.policies.base.clone(),
            observed: options
                .policies
                .observed
                .iter()
                .map(|name| name.to_string())
                .collect(),
            swept: options.sweep != SweepMode::Off,
            several: false,
            facts: BTreeMap::new(),
            books: BTreeMap::new(),
            read: BTreeMap::new(),
            helped: Vec::new(),
            broken: Vec::new(),
            steps: 0,
            restarts: 0,
        }
    }

    /// Several replicas share a Lease. Each may see an end that another one sees too, and they always watch.
    pub(super) fn several_replicas(&mut self) {
        (self.swept, self.several) = (true, true);
    }

    pub(super) fn fail(&mut self, what: String) {
        self.fate.note(|| format!("BROKEN {what}"));
        self.broken.push(what);
    }

    /// Goes through everything that was written since the last time.
    pub(super) fn look(&mut self, land: &Land) {
        let read = self.read.entry(land.name).or_default();
        let changes = land.cluster.changes(*read);
        *read += changes.len();
        for change in changes {
            self.steps += 1;
            self.follow(land, &change);
        }
    }

    fn follow(&mut self, land: &Land, change: &Change) {
        let name = format!("{}/{}", land.name, change.key.name);
        let at = change.at;
        let mut book = self
            .books
            .remove(&(land.name, change.key.clone()))
            .unwrap_or_default();
        let who = if change.manager.is_empty() {
            "cluster"
        } else {
            &change.manager
        };
        self.fate.note(|| {
            format!(
                "{at:.3} {name} {} by {who}: {}",
                change.kind,
                summary(&change.object)
            )
        });
        if change.manager == "helmreboot" {
            for broken in self.written(land, change, &mut book) {
                self.fail(format!("{at:.3} {name}: {broken}"));
            }
        }
        let was_ready = book
            .object
            .as_ref()
            .is_some_and(|object| is(object, "Ready", "True"));
        if is(&change.object, "Ready", "True") && !was_ready {
            // A success of another configuration says nothing about the one that fails.
            let config = config_of(&change.object);
            let last = book.restarts.last();
            if last.is_some_and(|last| last.config[1..] == config[1..]) {
                book.restarts.clear();
            }
            self.helped.push((land.name, change.key.clone(), change.at));
        }
        if uninstalled(&change.object) {
            book.history_lost = true;
        } else if is(&change.object, "Ready", "True") {
            book.history_lost = false;
        }
        book.object = Some(Arc::clone(&change.object));
        if change.kind == "DELETED" {
            book = Book::default();
        }
        self.books.insert((land.name, change.key.clone()), book);
    }

    /// A write of helmreboot: what is wrong with it.
    fn written(&mut self, land: &Land, change: &Change, book: &mut Book) -> Vec<String> {
        let mut broken = Vec::new();
        let Some(before) = book.object.clone() else {
            return vec!["wrote on an object that did not exist".into()];
        };
        let after = &change.object;
        if stripped(&before) != stripped(after) {
            broken.push("wrote something else than annotations".into());
        }
        let changed: Vec<_> = changed(&before, after);
        for name in &changed {
            if !ALLOWED.contains(&name.as_str()) {
                broken.push(format!("wrote the annotation {name}"));
            }
        }
        for (wrong, what) in [
            (before["spec"]["suspend"] == true, "suspended"),
            (
                before["metadata"]["deletionTimestamp"].is_string(),
                "deleting",
            ),
            (opted_out(&before), "opted out"),
            (only_observed(&before), "only observed"),
            (self.observed.contains(land.name), "in an observed cluster"),
            (lasting(&before), "failing for a lasting cause"),
            (
                is(&before, "Ready", "True")
                    && before["status"]["observedGeneration"] == before["metadata"]["generation"],
                "recovered",
            ),
        ] {
            if wrong {
                broken.push(format!("wrote on a release that is {what}"));
            }
        }
        if changed
            .iter()
            .any(|name| name == "reconcile.fluxcd.io/requestedAt")
        {
            self.restarts += 1;
            self.restarted(land, change, &before, book, &mut broken);
        } else if changed != ["helmreboot.io/gave-up"] {
            broken.push(format!("wrote {changed:?} without a restart"));
        } else {
            let limit = self.limit(&before);
            if !annotation(&before, "helmreboot.io/gave-up").is_empty() {
                broken.push("noted twice that it gave up".into());
            }
            // Flux keeps five revisions: a success that is no longer among them is not seen.
            let many = book.made;
            if many < usize::try_from(limit).expect("small") {
                broken.push(format!("gave up after {many} of {limit} restarts"));
            }
        }
        broken
    }

    fn restarted(
        &self,
        land: &Land,
        change: &Change,
        before: &Value,
        book: &mut Book,
        broken: &mut Vec<String>,
    ) {
        let status = &before["status"];
        let requested = annotation(before, "reconcile.fluxcd.io/requestedAt");
        let stalled = is(before, "Stalled", "True");
        if is(before, "Reconciling", "True") && !stalled {
            broken.push("restarted while Flux works".into());
        }
        if !requested.is_empty() && status["lastHandledReconcileAt"] != requested {
            broken.push("restarted although a request is pending".into());
        }
        if status["lastAttemptedGeneration"].is_i64()
            && status["lastAttemptedGeneration"] != before["metadata"]["generation"]
        {
            broken.push("restarted although the configuration was not tried yet".into());
        }
        let token = annotation(&change.object, "reconcile.fluxcd.io/requestedAt");
        if !book.tokens.insert(token.to_owned()) || token == requested {
            broken.push("used a token twice".into());
        }
        let renewal = annotation(before, "helmreboot.io/renew").trim();
        if !renewal.is_empty() && renewal != book.renewed {
            renewal.clone_into(&mut book.renewed);
            book.restarts.clear();
            book.made = 0;
        }
        let total = state(&change.object)["total"].as_u64().unwrap_or_default();
        let now = change.at;
        let limit = usize::try_from(self.limit(before)).expect("small");
        let config = config_of(before);
        let (made, charged) = (book.restarts.len(), book.charged(&config));
        if let Some(last) = book.restarts.last_mut() {
            let ran = land
                .flux
                .runs(&change.key)
                .iter()
                .any(|run| *run >= last.at && *run <= now);
            if last.total == total {
                last.sends += 1;
                if ran {
                    broken.push("did not charge a restart although Flux tried".into());
                }
                if last.sends > 3 {
                    broken.push(format!("sent {} tokens for one restart", last.sends));
                }
                (last.at, last.token) = (now, token.to_owned());
                return;
            }
            if !ran && stalled && requested == last.token && last.sends < 3 {
                broken.push("charged a restart although Flux had tried nothing".into());
            }
            let gap = now.duration_since(last.at) + ONE_CALL;
            let wait = self.backoff(made);
            if gap < wait {
                broken.push(format!(
                    "restart {} came {gap:#} after the last, not {wait:#}",
                    made + 1
                ));
            }
            if charged >= limit {
                let early = self.policy.slow_lane.is_none_or(|lane| gap < lane);
                let helped = self.others_helped(land.name, &change.key, last.at);
                if early && !helped {
                    broken.push(format!(
                        "restart {} of at most {limit}, {gap:#} after the last",
                        made + 1
                    ));
                }
            }
        }
        if limit == 0 {
            broken.push("restarted although the limit is 0".into());
        }
        if is(before, "Remediated", "True")
            && (charged > 0 || !self.may_follow_remediation(before, now))
        {
            broken.push("disturbed what Flux had put right".into());
        }
        book.made += 1;
        book.restarts.push(Restart {
            at: now,
            total,
            token: token.to_owned(),
            sends: 1,
            config,
        });
    }
}
