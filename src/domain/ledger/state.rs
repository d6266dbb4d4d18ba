//! What helmreboot keeps on a HelmRelease for itself: one annotation of versioned JSON, at most 1 KiB.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{LAST_RESTART, Record, STATE};
use crate::domain::{
    release::{ConfigKey, Release},
    short_hash::short_hash,
};

/// The version of the format. Another one is not read, and counts as a spent budget.
const VERSION: u32 = 1;

/// Config keys that keep their counts.
const REMEMBERED_KEYS: usize = 4;

/// Within this time after their first restart, and without a success, so many configurations get a budget of
/// their own: as many as are remembered, or as the limit allows restarts. A configuration that never stops
/// changing must not be restarted without end.
pub(super) const CHURN_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// The state as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    v: u32,
    /// The token of the last restart.
    pub(super) token: String,
    /// Tokens sent for the last restart: one, and one more for each that Flux swallowed.
    pub(super) sends: u32,
    /// Restarts since the last success or renewal, whatever the configuration.
    pub(super) total: u32,
    /// The configurations that were restarted, the one of the last restart at the end.
    keys: Vec<Key>,
    /// Flux's progress before the last restart.
    pub(super) before: ProgressBefore,
    /// A hash of the request that the last restart replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) was: Option<String>,
    /// A hash of the last value of `helmreboot.io/renew` that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) renewed: Option<String>,
}

/// One configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    /// [`ConfigKey::id`].
    key: String,
    /// [`State::total`] before its first restart.
    base: u32,
    /// When it was last restarted, in seconds since 1970.
    at: i64,
    /// When it was first restarted, in seconds since 1970.
    #[serde(default)]
    since: i64,
}

/// Flux's progress, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProgressBefore {
    /// The newest Helm revision.
    pub(super) revision: i64,
    /// A hash of all of it.
    pub(super) hash: String,
    /// [`Release::deployed`]; `None` in a state of an earlier helmreboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deployed: Option<Vec<String>>,
}

impl From<&Release> for ProgressBefore {
    fn from(release: &Release) -> Self {
        let progress = release.progress();
        Self {
            revision: progress.revision(),
            hash: short_hash(&progress.to_string()),
            deployed: Some(release.deployed()),
        }
    }
}

impl ProgressBefore {
    /// Whether Flux progressed since.
    pub(super) fn differs(&self, release: &Release) -> bool {
        self.hash != short_hash(&release.progress().to_string())
    }
}

/// What a release carries.
pub(super) enum Read {
    /// Nothing: helmreboot never restarted it.
    Nothing,
    /// A state.
    State(State),
    /// Something that a person or another program damaged, or a newer helmreboot wrote.
    Unreadable,
}

impl State {
    /// The state that was recorded about a release.
    pub(super) fn of(record: &Record) -> Read {
        let Some(text) = record.get(STATE) else {
            // The count was taken away and what people read was left: that is damage, not a fresh start.
            let damaged = record.get(LAST_RESTART).is_some();
            return if damaged {
                Read::Unreadable
            } else {
                Read::Nothing
            };
        };
        match serde_json::from_str::<Self>(text) {
            Ok(state) if state.v == VERSION && state.last().is_some() => Read::State(state),
            _ => Read::Unreadable,
        }
    }

    /// The state before the first restart of `release`, which remembers the last renewal.
    pub(super) fn new(release: &Release, renewed: Option<String>) -> Self {
        Self {
            v: VERSION,
            token: String::new(),
            sends: 0,
            total: 0,
            keys: Vec::new(),
            before: ProgressBefore::from(release),
            was: None,
            renewed,
        }
    }

    /// Restarts that count against a configuration.
    ///
    /// A configuration that was restarted before, and comes back, is charged with everything since its
    /// first restart: a release that alternates between configurations has one budget for all of them. A
    /// new one starts at 0.
    pub(super) fn attempts(&self, key: &ConfigKey) -> u32 {
        self.total - self.base(&key.id()).min(self.total)
    }

    fn base(&self, id: &str) -> u32 {
        let known = self.keys.iter().position(|key| key.key == id);
        let since = known.and_then(|at| self.keys[at..].iter().map(|key| key.base).min());
        since.unwrap_or(self.total)
    }

    /// Whether so many configurations were restarted lately that a new one shares their budget.
    pub(super) fn shares_budget(&self, limit: u32, now: Timestamp) -> bool {
        let lately = |key: &&Key| {
            let age = now.as_second().saturating_sub(key.since);
            age < CHURN_WINDOW.as_secs()
        };
        self.keys.iter().filter(lately).count() >= most_keys(limit)
    }

    /// When [`Self::shares_budget`] ends, if no other configuration is restarted.
    pub(super) fn shares_budget_until(&self, limit: u32) -> Option<Timestamp> {
        let mut begins: Vec<_> = self.keys.iter().map(|key| key.since).collect();
        begins.sort_unstable();
        let last = begins.len().checked_sub(most_keys(limit))?;
        let end = begins.get(last)?.checked_add(CHURN_WINDOW.as_secs())?;
        Timestamp::from_second(end).ok()
    }

    /// Restarts since the first of the remembered configurations.
    pub(super) fn since_first(&self) -> u32 {
        let bases = self.keys.iter().map(|key| key.base);
        bases
            .min()
            .map_or(0, |base| self.total.saturating_sub(base))
    }

    /// Records that a configuration is tried again: from now on it shares one budget with the
    /// configurations that were restarted after it. Returns false if it already does.
    pub(super) fn note_return(&mut self, key: &ConfigKey) -> bool {
        let id = key.id();
        let Some(at) = self.keys.iter().position(|key| key.key == id) else {
            return false;
        };
        let base = self.base(&id);
        let later = &mut self.keys[at..];
        let news = later.iter().any(|key| key.base != base);
        later.iter_mut().for_each(|key| key.base = base);
        news
    }

    /// Records a restart of a configuration. `attempt` is its number for that configuration, from 1.
    pub(super) fn charge(&mut self, key: &ConfigKey, attempt: u32, now: Timestamp) {
        let (key, at) = (key.id(), now.as_second());
        let base = self.total.saturating_add(1).saturating_sub(attempt);
        let known = self.keys.iter().find(|other| other.key == key);
        let since = known.map_or(at, |known| known.since);
        self.keys.retain(|other| other.key != key);
        self.keys.push(Key {
            key,
            base,
            at,
            since,
        });
        if self.keys.len() > REMEMBERED_KEYS {
            self.keys.remove(0);
        }
        self.total = self.total.saturating_add(1);
    }

    /// A further token for the last restart was sent.
    pub(super) fn resent(&mut self, now: Timestamp) {
        if let Some(newest) = self.keys.last_mut() {
            newest.at = now.as_second();
        }
    }

    /// Whether the last restart was for this configuration.
    pub(super) fn is_for(&self, key: &ConfigKey) -> bool {
        self.keys.last().is_some_and(|last| last.key == key.id())
    }

    /// When the last restart was.
    pub(super) fn last(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.keys.last()?.at).ok()
    }

    /// Whether the configuration that was restarted last was deployed well since.
    pub(super) fn succeeded(&self, release: &Release) -> bool {
        let Some((_, config)) = self.keys.last().and_then(|last| last.key.split_once('-')) else {
            return false;
        };
        let same = self.is_for(&release.config_key());
        release.deployed_after(self.before.revision, config, same)
    }

    /// Whether any configuration was deployed well since the last restart. Flux keeps few revisions: the one that
    /// the restart deployed may be gone when a later configuration fails.
    pub(super) fn succeeded_with_any(&self, release: &Release) -> bool {
        let before = self.before.deployed.as_deref();
        before.is_some_and(|before| release.deployed_other_than(before, self.before.revision))
    }

    /// The text of the annotation.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The configurations that get a budget of their own within [`CHURN_WINDOW`].
fn most_keys(limit: u32) -> usize {
    REMEMBERED_KEYS.min(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// The time of the restart in a state; `None` where it cannot be read.
pub fn time_of(text: &str) -> Option<Timestamp> {
    serde_json::from_str::<State>(text).ok()?.last()
}

/// The token in a state.
pub fn token_of(text: &str) -> Option<String> {
    let state = serde_json::from_str::<State>(text).ok()?;
    Some(state.token)
}
