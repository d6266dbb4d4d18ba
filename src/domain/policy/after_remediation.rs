//! Whether a release is restarted after Flux rolled it back or uninstalled it.

use super::{Policy, truth};

string_enum! {
    /// Whether a release is restarted once after Flux rolled it back or uninstalled it.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
    AfterRemediation {
        /// Not at all.
        Never = "never",
        /// Where infrastructure made the release fail.
        Infrastructure = "infrastructure",
        /// For any transient cause.
        Always = "always",
    }
}

impl AfterRemediation {
    /// The value of [`super::AFTER_ROLLBACK`]; `true` is `always`, and `false` is `never`.
    pub(super) fn of(value: &str) -> Option<Self> {
        match truth(value) {
            Some(true) => Some(Self::Always),
            Some(false) => Some(Self::Never),
            None => {
                let mut values = Self::ALL.iter().copied();
                values.find(|known| value.eq_ignore_ascii_case(known.as_str()))
            }
        }
    }
}

impl Policy {
    /// Takes over the value of [`super::AFTER_ROLLBACK`]. What it takes away counts after an uninstall too.
    pub(super) fn apply_after_rollback(&mut self, value: &str) -> Result<(), &'static str> {
        let wanted = AfterRemediation::of(value);
        let most = wanted.unwrap_or(AfterRemediation::Never);
        self.after_uninstall = self.after_uninstall.min(most);
        if most > self.after_rollback && !self.allow_after_rollback {
            return Err("the policy's allow.afterRollback forbids it");
        }
        self.after_rollback = most;
        wanted
            .map(drop)
            .ok_or("expected never, infrastructure or always; it counts as never until then")
    }
}
