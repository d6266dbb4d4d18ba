//! Whether Flux says that it works on a release, and until when that can be true.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{Release, Truth, or_default};

/// The timeout of an action where neither it nor the release has one
/// (`fluxcd/helm-controller:api/v2/helmrelease_types.go`, `GetTimeout`).
const TIMEOUT: SignedDuration = SignedDuration::from_mins(5);

/// Beyond the timeouts: hooks may each take as long again, and helm-controller may be restarted.
const MARGIN: SignedDuration = SignedDuration::from_mins(15);

/// The part of an action's settings that is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ActionSpec {
    /// How long Helm may wait for one operation of it, as a Go duration.
    #[serde(deserialize_with = "or_default")]
    pub timeout: Option<String>,
}

impl Release {
    /// Whether Ready is true for the generation that is wanted. The condition says for which it is; where it
    /// does not, the status does, which Flux writes a patch later. An object without a generation is compared
    /// with nothing.
    pub fn recovered(&self) -> bool {
        let ready = self.condition("Ready");
        let Some(ready) = ready.filter(|ready| ready.status == Truth::True) else {
            return false;
        };
        let observed = ready
            .observed_generation
            .or(self.status.observed_generation);
        let wanted = self.metadata.generation;
        wanted.is_none() || observed == wanted
    }

    /// Whether the newest Helm revision is a good one of the chart version and values that Flux tried last. If
    /// Ready is false all the same, it may be about an earlier attempt (fluxcd/helm-controller#1362).
    pub fn deploys_what_was_tried(&self) -> bool {
        let failed = self.is("TestSuccess", Truth::False);
        let newest = self.newest().filter(|newest| newest.is_good() && !failed);
        newest.is_some_and(|newest| newest.config_hash() == self.config_key().config_hash())
    }

    /// Whether Flux says that it runs an action. A stall outranks that.
    pub fn at_work(&self) -> bool {
        if self.is("Stalled", Truth::True) {
            return false;
        }
        match self.condition("Reconciling") {
            Some(reconciling) if reconciling.status == Truth::True => {
                !self.is("Ready", Truth::False) || is_remediation(&reconciling.message)
            }
            // Before helm-controller 0.37 there is no Reconciling: only Ready=Unknown says it.
            _ => self.is("Ready", Truth::Unknown),
        }
    }

    /// When an action that Flux says it runs should have ended: later than its timeouts allow, helm-controller
    /// hangs or was killed. `None` if no action runs, or if no condition has a time.
    pub fn action_deadline(&self) -> Option<Timestamp> {
        if !self.at_work() {
            return None;
        }
        let conditions = ["Ready", "Reconciling"].into_iter();
        let since = conditions
            .filter_map(|kind| self.condition(kind))
            .filter_map(|condition| condition.last_transition_time.as_deref())
            .filter_map(|time| time.parse::<Timestamp>().ok())
            .max()?;
        since.checked_add(self.action_limit()).ok()
    }

    /// What an action, its test and its remediation may take together.
    pub fn action_limit(&self) -> SignedDuration {
        let spec = &self.spec;
        let usual = duration(spec.timeout.as_deref()).unwrap_or(TIMEOUT);
        let of = |action: &ActionSpec| duration(action.timeout.as_deref()).unwrap_or(usual);
        let action = of(&spec.install).max(of(&spec.upgrade));
        let remediation = of(&spec.rollback).max(of(&spec.uninstall));
        let both = action.saturating_add(remediation);
        let all = both.saturating_add(of(&spec.test));
        all.saturating_add(all.max(MARGIN))
    }
}

/// An action that follows a failure; Ready is still about that. (Of an install or upgrade that failed without
/// being stored, "Running" stays in the message while Flux is idle: story render-error-backs-off.)
pub fn is_remediation(message: &str) -> bool {
    let actions = ["Running 'rollback' action", "Running 'uninstall' action"];
    actions.iter().any(|action| message.starts_with(action))
}

/// A Go duration, where it is one and not negative.
fn duration(text: Option<&str>) -> Option<SignedDuration> {
    let duration: SignedDuration = text?.parse().ok()?;
    (!duration.is_negative()).then_some(duration)
}
