//! Whether a release is restarted that Flux rolled back or uninstalled by itself.

use super::truth;

words! {
    /// When a release that Flux put into a safe state by itself is restarted, once.
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
