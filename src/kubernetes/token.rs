//! What a bearer token says about itself.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;

/// The part of a JSON Web Token that is read. It is only shown to people, so its signature is not verified.
#[derive(Deserialize)]
struct Claims {
    exp: Option<i64>,
}

/// When a token expires; `None` if it does not say so.
pub(super) fn expires(token: &str) -> Option<Timestamp> {
    let claims = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(claims.exp?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_account_token_says_when_it_expires_and_others_do_not() {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1800000000,"sub":"x"}"#);
        let at = Timestamp::from_second(1_800_000_000).expect("a time");
        assert_eq!(expires(&format!("h.{claims}.s")), Some(at));
        for other in ["", "opaque", "a.b.c", "h.e30.s"] {
            assert_eq!(expires(other), None, "{other}");
        }
    }
}
