//! What helmreboot remembers, written on the HelmRelease itself: the process can be killed at any
//! instant, and any replica can go on where another stopped.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::release::{FORCE_AT, Marks, REQUESTED_AT, RESET_AT, Release, Truth};

/// Time of the last restart.
pub const LAST_RESTART: &str = "helmreboot.io/last-restart";
/// Restarts charged to the config key.
pub const ATTEMPTS: &str = "helmreboot.io/attempts";
/// What the attempts count against.
pub const CONFIG_KEY: &str = "helmreboot.io/config-key";
/// The rule that named the cause.
pub const CAUSE: &str = "helmreboot.io/cause";
/// The token of the last restart.
pub const TOKEN: &str = "helmreboot.io/token";
/// Where Flux's books stood before it.
pub const BEFORE: &str = "helmreboot.io/before";
/// When and why helmreboot stopped.
pub const GAVE_UP: &str = "helmreboot.io/gave-up";
/// Set by people: any new value renews the budget.
pub const RENEW: &str = "helmreboot.io/renew";
/// What the first helmreboot wrote. No current Flux reads it; other tools may.
pub const LEGACY_RECONCILE_AT: &str = "fluxcd.io/reconcileAt";

/// Annotations to set, or with `None` to remove.
pub type Changes = BTreeMap<&'static str, Option<String>>;

words! {
    /// How Flux is asked to try again.
    Action {
        /// `requestedAt`: reconcile now.
        Request = "request",
        /// `requestedAt` and `resetAt`: forget the failures counted so far, then reconcile.
        Reset = "reset",
        /// `requestedAt` and `forceAt`: one upgrade, whatever Flux has counted.
        Force = "force",
    }
}

words! {
    /// How an episode, which begins with a restart, came to its end.
    Ended {
        /// The release is ready.
        Recovered = "recovered",
        /// Flux tried, and it failed.
        FailedAgain = "failed-again",
        /// Flux took the token and did nothing (story reset-swallowed-by-dependency).
        Swallowed = "swallowed",
        /// The configuration changed, or somebody suspended, deleted or asked for something themselves.
        Superseded = "superseded",
    }
}

/// What the ledger says about the configuration Flux last tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Restarts charged so far.
    pub attempts: u32,
    /// The last restart: when, and its token.
    pub last: Option<(Timestamp, String)>,
    /// Whether giving up was already reported.
    pub gave_up: bool,
    /// Tokens sent for the last restart: one, and one more for each that Flux swallowed.
    pub sends: u32,
    /// Flux took the last token and did nothing.
    pub swallowed: bool,
    /// The token that stood there before ours stands there again: somebody, mostly Git, puts it back.
    pub contested: bool,
}

/// Tokens for one restart: the first, and two more where Flux swallows them.
pub const SENDS: u32 = 3;

/// Reads the ledger. A new config key, a new value of [`RENEW`] and a success since the last restart
/// start afresh; time alone does not. A count that somebody removed or made unreadable counts as spent.
/// Whoever removes the whole ledger removes the budget with it, which is why a worker also keeps what it
/// wrote itself.
pub fn standing(release: &Release) -> Standing {
    let Some(key) = release.annotation(CONFIG_KEY) else {
        return Standing::default();
    };
    let before = Before::of(release);
    let succeeded =
        Marks::version_of(before.marks).is_some_and(|version| release.succeeded_after(version));
    if !same_config(key, release) || succeeded {
        return Standing::default();
    }
    let attempts = release
        .annotation(ATTEMPTS)
        .and_then(|attempts| attempts.parse().ok());
    let token = release.annotation(TOKEN).unwrap_or_default();
    let last = release
        .annotation(LAST_RESTART)
        .and_then(|at| Some((at.parse().ok()?, token.to_owned())));
    if !same_budget(key, release) {
        // A renewal that comes anew at every sync must not lead to a restart at every sync.
        return Standing {
            last,
            ..Standing::default()
        };
    }
    let requested = release.annotation(REQUESTED_AT);
    let contested =
        requested.is_some_and(|value| value != token && before.was == Some(&*short_hash(value)));
    Standing {
        attempts: attempts.unwrap_or(u32::MAX),
        last,
        gave_up: release.annotation(GAVE_UP).is_some(),
        sends: before.sends,
        // A plain request may rightly lead to nothing; a reset or force may not.
        swallowed: (release.annotation(RESET_AT) == Some(token)
            || release.annotation(FORCE_AT) == Some(token))
            && ended(release, token) == Some(Ended::Swallowed),
        contested,
    }
}

/// A restart that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
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
    /// What tells the tokens of this process from those of another that writes in the same second:
    /// below a second, in nanoseconds.
    pub salt: u32,
}

/// What a restart writes: one fresh token under every request key, and the ledger of the episode.
pub fn restart(
    release: &Release,
    order: Order,
    cause: &str,
    legacy: bool,
    stamp: Stamp,
) -> Changes {
    let now = stamp.now;
    let token = fresh_token(release, stamp);
    let was = release
        .annotation(REQUESTED_AT)
        .filter(|value| !value.is_empty())
        .map_or_else(|| "-".to_owned(), short_hash);
    let before = format!("{}{SENT}{} was={was}", release.marks(), order.sends);
    let mut changes = Changes::from([
        (REQUESTED_AT, Some(token.clone())),
        (LAST_RESTART, Some(now.to_string())),
        (ATTEMPTS, Some(order.attempt.to_string())),
        (CONFIG_KEY, Some(budget_key(release))),
        (CAUSE, Some(cause.to_owned())),
        (BEFORE, Some(before)),
        (TOKEN, Some(token.clone())),
    ]);
    match order.action {
        Action::Request => {}
        Action::Reset => drop(changes.insert(RESET_AT, Some(token))),
        Action::Force => drop(changes.insert(FORCE_AT, Some(token))),
    }
    if legacy {
        changes.insert(LEGACY_RECONCILE_AT, Some(now.to_string()));
    }
    // The slow lane tries what was given up, and that stays so until it helps.
    if release.annotation(GAVE_UP).is_some() && !standing(release).gave_up {
        changes.insert(GAVE_UP, None);
    }
    changes
}

/// Parts of [`BEFORE`]: Flux's books, tokens sent, and a hash of the request that stood there.
struct Before<'a> {
    marks: &'a str,
    sends: u32,
    was: Option<&'a str>,
}

/// Between the marks and what follows them.
const SENT: &str = " sends=";

impl<'a> Before<'a> {
    fn of(release: &'a Release) -> Self {
        let text = release.annotation(BEFORE).unwrap_or_default();
        let (marks, rest) = text.rsplit_once(SENT).unwrap_or((text, ""));
        let (sends, was) = rest.split_once(" was=").unwrap_or((rest, "-"));
        Self {
            marks,
            sends: sends.parse().unwrap_or(1),
            was: Some(was).filter(|was| *was != "-"),
        }
    }
}

/// The config key, and behind `~` which renewal it was. One that was taken away is remembered, so that
/// the same value again is none.
fn budget_key(release: &Release) -> String {
    let key = release.config_key();
    let written = release.annotation(CONFIG_KEY).map(parts_of);
    let last = written.and_then(|(written, renewal)| {
        renewal
            .filter(|_| written == key.to_string())
            .map(str::to_owned)
    });
    match renewal(release).or(last) {
        Some(renewal) => format!("{key}~{renewal}"),
        None => key.to_string(),
    }
}

/// What somebody wrote to renew the budget; nothing but white space is nothing.
fn renewal(release: &Release) -> Option<String> {
    let value = release.annotation(RENEW)?.trim();
    (!value.is_empty()).then(|| short_hash(value))
}

/// A written key: the config key, and the renewal.
fn parts_of(written: &str) -> (&str, Option<&str>) {
    written
        .rsplit_once('~')
        .map_or((written, None), |(key, renewal)| (key, Some(renewal)))
}

/// Whether a key that was written speaks of today's configuration, and nobody renewed since. Taking the
/// renewal away is none.
fn same_budget(written: &str, release: &Release) -> bool {
    same_config(written, release) && {
        let (_, renewed) = parts_of(written);
        renewal(release).is_none_or(|renewal| renewed == Some(renewal.as_str()))
    }
}

fn same_config(written: &str, release: &Release) -> bool {
    parts_of(written).0 == release.config_key().to_string()
}

/// Enough of a hash to tell two values apart that people wrote.
fn short_hash(value: &str) -> String {
    hex::encode(&Sha256::digest(value.as_bytes())[..4])
}

/// What giving up writes: when and why, once.
pub fn give_up(attempts: u32, cause: &str, now: Timestamp) -> Changes {
    let restarts = counted(attempts);
    let note = format!("{now:.0} budget-spent: {restarts} did not help against {cause}");
    Changes::from([(GAVE_UP, Some(note))])
}

/// A number of restarts in words.
pub fn counted(attempts: u32) -> String {
    match attempts {
        1 => "1 restart".into(),
        u32::MAX => "restarts that somebody made uncountable".into(),
        some => format!("{some} restarts"),
    }
}

/// Whether, and how, the episode that began with `token` has ended.
pub fn ended(release: &Release, token: &str) -> Option<Ended> {
    let same = release
        .annotation(CONFIG_KEY)
        .is_some_and(|key| same_budget(key, release));
    let foreign = release.annotation(REQUESTED_AT) != Some(token) || !same;
    if release.metadata.deletion_timestamp.is_some() || release.spec.suspend || foreign {
        return Some(Ended::Superseded);
    }
    if release.token_pending() {
        return None;
    }
    if release.is("Ready", Truth::True) {
        return Some(Ended::Recovered);
    }
    let working = release.is("Reconciling", Truth::True);
    if working || !release.failing() {
        return None;
    }
    let moved = Before::of(release).marks != release.marks().to_string();
    Some(if moved {
        Ended::FailedAgain
    } else {
        Ended::Swallowed
    })
}

/// RFC 3339 with nanoseconds, as the Flux CLI writes it, and never a value that stands there already:
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

/// The token of our own restart, while Flux has not taken notice of it: an episode has begun, whoever
/// began it and whatever became of their process.
pub fn running(release: &Release) -> Option<&str> {
    let token = release.annotation(TOKEN)?;
    (release.token_pending() && release.annotation(REQUESTED_AT) == Some(token)).then_some(token)
}

#[cfg(test)]
mod tests;
