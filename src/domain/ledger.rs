//! What helmreboot remembers, written on the HelmRelease itself: the process can be killed at any
//! instant, and any replica can continue where another stopped.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    release::{FORCE_AT, REQUESTED_AT, RESET_AT, Release, Truth},
    short_hash::short_hash,
};

mod state;
use state::{ProgressBefore, Read, State};
pub use state::{time_of, token_of};

/// For people: time of the last restart.
pub const LAST_RESTART: &str = "helmreboot.io/last-restart";
/// For people: restarts charged to the configuration of the last one.
pub const RESTARTS: &str = "helmreboot.io/restarts";
/// For people: the rule that named the cause.
pub const CAUSE: &str = "helmreboot.io/cause";
/// For helmreboot: versioned JSON with everything that must survive the process.
pub const STATE: &str = "helmreboot.io/state";
/// For people: when and why helmreboot stopped.
pub const GAVE_UP: &str = "helmreboot.io/gave-up";
/// Set by people: any new value renews the budget.
pub const RENEW: &str = "helmreboot.io/renew";
/// What the first helmreboot wrote. No current Flux reads it; other tools may.
pub const LEGACY_RECONCILE_AT: &str = "fluxcd.io/reconcileAt";

/// Annotations to set, or with `None` to remove.
pub type Changes = BTreeMap<&'static str, Option<String>>;

string_enum! {
    /// How Flux is asked to try again.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
    Action {
        /// `requestedAt`: reconcile now.
        #[serde(skip)]
        Request = "request",
        /// `requestedAt` and `resetAt`: forget the failures counted so far, then reconcile.
        Reset = "reset",
        /// `requestedAt` and `forceAt`: one upgrade, whatever Flux has counted.
        Force = "force",
    }
}

string_enum! {
    /// How an episode, which begins with a restart, came to its end.
    RestartOutcome {
        /// The release is ready.
        Recovered = "recovered",
        /// Flux tried, and it failed.
        FailedAgain = "failed-again",
        /// Flux took the token and did nothing (story reset-swallowed-by-dependency).
        Swallowed = "swallowed",
        /// The configuration changed, or the release was suspended or deleted, or another request was made.
        Superseded = "superseded",
    }
}

/// The annotations of the ledger of one release: what helmreboot recorded about its restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(BTreeMap<&'static str, String>);

impl Record {
    /// What the release carries.
    pub fn of(release: &Release) -> Self {
        let names = [STATE, LAST_RESTART, RESTARTS, CAUSE, GAVE_UP];
        let values = names.into_iter().filter_map(|name| {
            let value = release.annotation(name)?;
            Some((name, value.to_owned()))
        });
        Self(values.collect())
    }

    /// Adds the annotations that these changes set. Annotations that they remove stay.
    pub fn apply(&mut self, changes: &Changes) {
        let set = changes.iter().filter(|(name, _)| name.starts_with(PREFIX));
        for (name, value) in set {
            if let Some(value) = value {
                self.0.insert(name, value.clone());
            }
        }
    }

    /// One annotation.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// The prefix of all annotations of helmreboot.
pub const PREFIX: &str = "helmreboot.io/";

/// What the ledger says about the configuration Flux last tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptState {
    /// Restarts charged to it so far.
    pub attempts: u32,
    /// Restarts since the last success or renewal, whatever the configuration: the wait between two
    /// grows with these.
    pub total: u32,
    /// The last restart: when, and its token.
    pub last: Option<(Timestamp, String)>,
    /// Whether giving up was already reported.
    pub gave_up: bool,
    /// Until then, this configuration shares the budget of those before it.
    pub shared_until: Option<Timestamp>,
    /// Tokens sent for the last restart: one, and one more for each that Flux swallowed.
    pub sends: u32,
    /// Flux took the last token and did nothing.
    pub swallowed: bool,
    /// The token before ours is back: another client, in most cases a sync from Git, restores it.
    pub contested: bool,
}

/// Tokens for one restart: the first, and two more where Flux swallows them.
pub const SENDS: u32 = 3;

/// Reads the ledger. A success since the last restart and a new value of [`RENEW`] start afresh; a new
/// config key starts a count of its own; time alone does nothing. A state that cannot be read counts as
/// spent. Removing the whole ledger removes the budget with it, which is why a worker also keeps what it
/// wrote itself.
pub fn attempt_state(release: &Release, record: &Record) -> AttemptState {
    let state = match State::of(record) {
        Read::State(state) => state,
        Read::Nothing => return AttemptState::default(),
        Read::Unreadable if renewal(release).is_some() => return AttemptState::default(),
        Read::Unreadable => {
            return AttemptState {
                attempts: u32::MAX,
                total: u32::MAX,
                gave_up: record.get(GAVE_UP).is_some(),
                ..AttemptState::default()
            };
        }
    };
    if state.succeeded(release) {
        return AttemptState::default();
    }
    let last = state.last().map(|at| (at, state.token.clone()));
    if is_renewed(&state, release) {
        // A renewal that is written at every sync must not lead to a restart at every sync.
        return AttemptState {
            last,
            ..AttemptState::default()
        };
    }
    let token = state.token.as_str();
    let attempts = state.attempts(&release.config_key());
    let contested = release
        .annotation(REQUESTED_AT)
        .is_some_and(|value| value != token && state.was == Some(short_hash(value)));
    AttemptState {
        attempts,
        total: state.total,
        last,
        gave_up: attempts > 0 && record.get(GAVE_UP).is_some(),
        sends: state.sends,
        shared_until: None,
        // A plain request may rightly lead to nothing; a reset or force may not.
        swallowed: (release.annotation(RESET_AT) == Some(token)
            || release.annotation(FORCE_AT) == Some(token))
            && outcome(&state, release) == Some(RestartOutcome::Swallowed),
        contested,
    }
}

/// As [`attempt_state`], and a new configuration shares the budget of those before it where too many were restarted
/// lately for this limit.
pub fn attempt_state_with_limit(
    release: &Release,
    record: &Record,
    limit: u32,
    now: Timestamp,
) -> AttemptState {
    let mut attempts = attempt_state(release, record);
    let Read::State(state) = State::of(record) else {
        return attempts;
    };
    // Neither a success nor a renewal has reset the count, and this configuration has none.
    let is_new = attempts.total > 0 && attempts.attempts == 0;
    if is_new && state.shares_budget(limit, now) && !state.succeeded_with_any(release) {
        attempts.attempts = state.since_first();
        attempts.shared_until = state.shares_budget_until(limit);
        attempts.gave_up = record.get(GAVE_UP).is_some();
    }
    attempts
}

/// A restart that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartRequest {
    /// How Flux is asked.
    pub action: Action,
    /// Its number for this configuration, from 1.
    pub attempt: u32,
    /// Tokens sent for it, this one included: more than 1 where Flux swallowed the last.
    pub sends: u32,
}

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The time of day, as the ledger shall say it.
    pub now: Timestamp,
    /// Makes the tokens of this process differ from those of another that writes in the same second: the nanoseconds.
    pub salt: u32,
}

/// What a restart writes: one fresh token under every request key, and the ledger.
pub fn restart(
    release: &Release,
    record: &Record,
    request: RestartRequest,
    cause: &str,
    legacy: bool,
    stamp: Stamp,
) -> Changes {
    let now = stamp.now;
    let token = fresh_token(release, stamp);
    let mut state = match State::of(record) {
        Read::State(state) if !state.succeeded(release) && !is_renewed(&state, release) => state,
        Read::State(old) => State::new(release, old.renewed),
        Read::Nothing | Read::Unreadable => State::new(release, None),
    };
    if request.sends > 1 {
        state.resent(now);
    } else {
        state.charge(&release.config_key(), request.attempt, now);
    }
    state.token.clone_from(&token);
    state.sends = request.sends;
    state.before = ProgressBefore::from(release);
    let replaced = release
        .annotation(REQUESTED_AT)
        .filter(|value| !value.is_empty());
    state.was = replaced.map(short_hash);
    // One that was taken away is remembered, so that the same value again is none.
    state.renewed = renewal(release).or(state.renewed);
    let mut changes = Changes::from([
        (REQUESTED_AT, Some(token.clone())),
        (LAST_RESTART, Some(format!("{now:.0}"))),
        (RESTARTS, Some(request.attempt.to_string())),
        (CAUSE, Some(cause.to_owned())),
        (STATE, Some(state.text())),
    ]);
    match request.action {
        Action::Request => {}
        Action::Reset => drop(changes.insert(RESET_AT, Some(token))),
        Action::Force => drop(changes.insert(FORCE_AT, Some(token))),
    }
    if legacy {
        changes.insert(LEGACY_RECONCILE_AT, Some(now.to_string()));
    }
    // The slow lane tries what was given up, and that stays so until it helps.
    if record.get(GAVE_UP).is_some() && request.attempt == 1 {
        changes.insert(GAVE_UP, None);
    }
    changes
}

/// What to remember of a release that went back to a configuration that was restarted before: those it
/// alternates between share one budget. `None` if it did not, or if that is known.
pub fn note_return(release: &Release, record: &Record) -> Option<Changes> {
    let Read::State(mut state) = State::of(record) else {
        return None;
    };
    let news = state.note_return(&release.config_key());
    news.then(|| Changes::from([(STATE, Some(state.text()))]))
}

/// Whether a person has renewed the budget since the last restart. Taking the annotation away is no
/// renewal.
fn is_renewed(state: &State, release: &Release) -> bool {
    renewal(release).is_some_and(|renewal| state.renewed != Some(renewal))
}

/// What a person wrote to renew the budget; nothing but white space is nothing.
fn renewal(release: &Release) -> Option<String> {
    let value = release.annotation(RENEW)?.trim();
    (!value.is_empty()).then(|| short_hash(value))
}

/// What giving up writes, once: when and why, when the next attempt is, and how to have one sooner. `cause` is the
/// rule with what it means.
pub fn give_up(attempts: u32, cause: &str, again: Option<Timestamp>, now: Timestamp) -> Changes {
    let note = gave_up_note(attempts, cause, again, now);
    Changes::from([(GAVE_UP, Some(note))])
}

/// The text of [`GAVE_UP`].
pub fn gave_up_note(
    attempts: u32,
    cause: &str,
    again: Option<Timestamp>,
    now: Timestamp,
) -> String {
    let restarts = counted(attempts);
    let next = again.map_or_else(
        || "There is no further attempt by itself.".to_owned(),
        |again| format!("The next attempt is not before {again:.0}."),
    );
    format!(
        "{now:.0}: {restarts} did not help against {cause}. {next} For new attempts, correct the release, or set the annotation {RENEW} to a new value."
    )
}

/// A number of restarts in words.
pub fn counted(attempts: u32) -> String {
    match attempts {
        1 => "1 restart".into(),
        u32::MAX => "restarts whose count cannot be read".into(),
        some => format!("{some} restarts"),
    }
}

/// Whether, and how, the restart with `token` has ended.
pub fn ended(release: &Release, record: &Record, token: &str) -> Option<RestartOutcome> {
    match State::of(record) {
        Read::State(state) if state.token == token => outcome(&state, release),
        _ => Some(RestartOutcome::Superseded),
    }
}

/// Whether, and how, the last restart has ended.
fn outcome(state: &State, release: &Release) -> Option<RestartOutcome> {
    let same = state.is_for(&release.config_key()) && !is_renewed(state, release);
    let foreign = release.annotation(REQUESTED_AT) != Some(state.token.as_str()) || !same;
    if release.metadata.deletion_timestamp.is_some() || release.spec.suspend || foreign {
        return Some(RestartOutcome::Superseded);
    }
    if release.token_pending() {
        return None;
    }
    if release.recovered() {
        return Some(RestartOutcome::Recovered);
    }
    let working = release.is("Reconciling", Truth::True);
    if working || !release.failing() {
        return None;
    }
    let moved = state.before.differs(release);
    Some(if moved {
        RestartOutcome::FailedAgain
    } else {
        RestartOutcome::Swallowed
    })
}

/// RFC 3339 with nanoseconds, as the Flux CLI writes it, and never a value that is there already:
/// two processes must each know its own.
fn fresh_token(release: &Release, stamp: Stamp) -> String {
    let taken = [
        release.annotation(REQUESTED_AT),
        release.annotation(RESET_AT),
        release.annotation(FORCE_AT),
    ];
    let second = stamp.now.as_second();
    let nanos = i32::try_from(stamp.salt % 1_000_000_000).unwrap_or_default();
    let token = |nanos| {
        let at = Timestamp::new(second, nanos).unwrap_or(stamp.now);
        format!("{at:.9}")
    };
    let first = token(nanos);
    if taken.contains(&Some(first.as_str())) {
        return token((nanos + 1) % 1_000_000_000);
    }
    first
}

/// The token of our own restart, while Flux has not taken notice of it: a restart runs, whichever process
/// began it.
pub fn running(release: &Release, record: &Record) -> Option<String> {
    let token = token_of(record.get(STATE)?)?;
    let runs = release.token_pending() && release.annotation(REQUESTED_AT) == Some(token.as_str());
    runs.then_some(token)
}

#[cfg(test)]
mod tests;
