//! HMAC-SHA256 over the exact bytes of a body, as notification-controller's `generic-hmac` provider
//! computes it (`fluxcd/notification-controller:internal/notifier/forwarder.go`).

use std::{collections::BTreeSet, fmt};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "X-Signature";

/// The signature of a verified body: 32 bytes that name it, so that it is known when it comes again.
pub type Tag = [u8; 32];

/// A secret that refuses to be empty and refuses to print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// A secret consisting of nothing but white space.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the key is empty")]
pub struct EmptySecret;

/// One key of one cluster, and the namespaces it may speak for.
#[derive(Clone)]
pub struct Key {
    secret: Secret,
    /// Keyed once here, cloned for each body: raw, and trimmed where that differs.
    macs: Vec<HmacSha256>,
    /// The namespaces this key speaks for; `None` is all of them.
    pub namespaces: Option<BTreeSet<String>>,
}

/// The keys of one cluster; several, so that one can be rotated without an outage.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

/// Whether a header could be a signature at all.
pub fn well_formed(header: &[u8]) -> bool {
    let digits = header.strip_prefix(b"sha256=").unwrap_or_default();
    digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit)
}

impl Secret {
    /// # Errors
    /// Nothing but white space.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, EmptySecret> {
        let bytes = bytes.as_ref();
        if bytes.trim_ascii().is_empty() {
            Err(EmptySecret)
        } else {
            Ok(Self(bytes.into()))
        }
    }
}

impl Key {
    /// A key for all namespaces, or for some.
    ///
    /// notification-controller signs with the Secret's raw bytes up to 1.2 and from 1.7, and with the
    /// trimmed ones from 1.3 to 1.6: both are tried.
    pub fn new(secret: Secret, namespaces: Option<BTreeSet<String>>) -> Self {
        let (raw, trimmed) = (&*secret.0, secret.0.trim_ascii());
        let mac =
            |key: &[u8]| HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length");
        let mut macs = vec![mac(raw)];
        if raw != trimmed {
            macs.push(mac(trimmed));
        }
        Self {
            secret,
            macs,
            namespaces,
        }
    }

    /// Whether two keys would accept each other's signatures.
    pub fn same_secret(&self, other: &Self) -> bool {
        self.secret.0.trim_ascii() == other.secret.0.trim_ascii()
    }

    /// Whether two keys are the same to the byte: a newline more makes another key to some versions.
    pub fn identical(&self, other: &Self) -> bool {
        self.secret == other.secret
    }

    /// Whether this key may speak for releases in `namespace`.
    pub fn covers(&self, namespace: &str) -> bool {
        self.namespaces
            .as_ref()
            .is_none_or(|some| some.contains(namespace))
    }

    /// The header value a sender with this key would send, from the raw key.
    pub fn sign(&self, body: &[u8]) -> String {
        let tag = self.macs[0]
            .clone()
            .chain_update(body)
            .finalize()
            .into_bytes();
        format!("sha256={}", hex::encode(tag))
    }
}

impl Keys {
    /// Keys in the order they are tried.
    pub fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// The key that signed exactly these bytes, if one did. The comparison takes constant time; the
    /// header must read `sha256=` and 64 hexadecimal digits.
    pub fn verify(&self, body: &[u8], header: &[u8]) -> Option<(&Key, Tag)> {
        let mut tag: Tag = [0; 32];
        let digits = header.strip_prefix(b"sha256=").unwrap_or_default();
        let well_formed = hex::decode_to_slice(digits, &mut tag).is_ok();
        let mut signed_by = None;
        for key in &self.0 {
            for mac in &key.macs {
                if mac.clone().chain_update(body).verify_slice(&tag).is_ok() {
                    signed_by = signed_by.or(Some(key));
                }
            }
        }
        signed_by.filter(|_| well_formed).map(|key| (key, tag))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("secret", &self.secret)
            .field("namespaces", &self.namespaces)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> Key {
        Key::new(Secret::new(secret).expect("a key"), None)
    }

    #[test]
    fn the_known_answer_of_notification_controller_verifies() {
        let body = br#"{"involvedObject":{"kind":"GitRepository","namespace":"gitops-system","name":"webapp"},"severity":"info","timestamp":"2022-09-30T06:40:29Z","message":"message","reason":"reason","metadata":{"test":"metadata"},"reportingController":"source-controller","reportingInstance":"source-controller-xyz"}"#;
        let signed = "sha256=65b018549b1254e7226d1c08f9567ee45bc9de0fc4e7b1a40253f9a018b08be7";
        let key = key("7152fed34dd6149a7c75a276c510da27cb6f82b0");
        assert_eq!(body.len(), 295);
        assert_eq!(key.sign(body), signed);
        assert!(
            Keys::new(vec![key])
                .verify(body, signed.as_bytes())
                .is_some()
        );
    }

    #[test]
    fn signatures_are_accepted_and_refused_as_this_table_says() {
        let body = br#"{"a":1}"#;
        let (right, old, other) = (key("right"), key("old"), key("other"));
        let keys = Keys::new(vec![right.clone(), old.clone()]);
        let good = right.sign(body);
        let hex = good.trim_start_matches("sha256=").to_owned();
        let table: [(&str, String, &[u8], bool); 14] = [
            ("right", good.clone(), body, true),
            ("second key of a rotation", old.sign(body), body, true),
            (
                "upper-case digits",
                format!("sha256={}", hex.to_uppercase()),
                body,
                true,
            ),
            ("empty body, signed", right.sign(b""), b"", true),
            ("wrong key", other.sign(body), body, false),
            ("missing", String::new(), body, false),
            ("no prefix", hex.clone(), body, false),
            ("wrong prefix", format!("sha512={hex}"), body, false),
            ("upper-case prefix", format!("SHA256={hex}"), body, false),
            ("no digits", "sha256=".into(), body, false),
            (
                "not hexadecimal",
                format!("sha256={}", "z".repeat(64)),
                body,
                false,
            ),
            ("too short", format!("sha256={}", &hex[..62]), body, false),
            ("too long", format!("sha256={hex}00"), body, false),
            ("body changed by one byte", good, br#"{"a":2}"#, false),
        ];
        for (case, header, body, accepted) in table {
            assert_eq!(
                keys.verify(body, header.as_bytes()).is_some(),
                accepted,
                "{case}"
            );
        }
    }

    #[test]
    fn a_malformed_header_is_never_taken_for_a_tag_of_zeros() {
        assert!(
            Keys::new(vec![key("k")])
                .verify(b"", b"sha256=zz")
                .is_none()
        );
    }

    #[test]
    fn a_key_with_a_trailing_newline_verifies_what_either_version_signs() {
        let ours = Keys::new(vec![key("secret\n")]);
        for theirs in ["secret", "secret\n"] {
            let header = key(theirs).sign(b"body");
            assert!(
                ours.verify(b"body", header.as_bytes()).is_some(),
                "{theirs:?}"
            );
        }
        assert!(key("secret\n").same_secret(&key("secret")));
    }

    #[test]
    fn an_empty_key_is_refused_and_no_key_prints() {
        for empty in ["", " ", "\n"] {
            assert_eq!(Secret::new(empty), Err(EmptySecret));
        }
        let shown = format!("{:?}", Keys::new(vec![key("hunter2")]));
        assert!(
            !shown.contains("hunter2") && shown.contains("[redacted]"),
            "{shown}"
        );
    }
}
