//! What helmreboot knows, as plain values and functions.
//!
//! Nothing below awaits, reads a clock, draws a random number or opens a socket: time comes in as an
//! argument, and what should be done goes out as a value. `tests/it/architecture.rs` holds this.

/// An enum whose every value has a word: one closed list for logs, metrics, answers and tests.
macro_rules! string_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $(#[$meta])*
        pub enum $name { $($(#[$doc])* $variant),+ }
        impl $name {
            /// Every value, for metrics that must exist at 0.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The word for logs, metrics, answers and tests.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}
pub(crate) use string_enum;

pub mod alert;
pub mod alert_result;
pub mod classify;
pub mod decide;
pub mod election;
pub mod evaluate;
pub mod failing;
pub mod failure_text;
pub mod fingerprint;
pub mod journal;
pub mod ledger;
pub mod limits;
pub mod link;
pub mod mask;
pub mod policy;
pub mod release;
pub mod report;
pub mod rules;
pub mod short_hash;
pub mod signature;
pub mod spoken;
pub mod summary;
pub mod target;
