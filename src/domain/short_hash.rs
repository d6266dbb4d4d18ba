//! A short name for a text of any length.

use sha2::{Digest, Sha256};

/// The first 12 hexadecimal digits of the text's SHA-256: enough to tell the few values apart that one
/// release ever has, and short enough for an annotation.
pub fn short_hash(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..6])
}
