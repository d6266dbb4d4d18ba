//! Links from a release to other programs, such as Grafana and the Flux Web UI.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::summary::ReleaseSummary;

/// What need not be encoded in a path or a query.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The parts of a template that are replaced.
const PARTS: [&str; 3] = ["{cluster}", "{namespace}", "{name}"];

/// A link with a template of its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The text.
    pub name: String,
    /// The address, with `{cluster}`, `{namespace}` and `{name}` for those of the release.
    pub url: String,
}

impl Link {
    /// Checks a template.
    ///
    /// # Errors
    /// It is no address of a web page, or has an unknown part.
    pub fn check(url: &str) -> Result<String, String> {
        let known = PARTS
            .iter()
            .fold(url.to_owned(), |url, part| url.replace(part, "x"));
        let begins = ["http://", "https://"].iter().any(|it| url.starts_with(it));
        let odd = |char: char| char.is_control() || char.is_whitespace() || "{}\"<>".contains(char);
        if begins && !known.contains(odd) {
            Ok(url.to_owned())
        } else {
            Err("expected an address that begins with http:// or https://, with {cluster}, {namespace} and {name} where those of the release belong".into())
        }
    }

    /// The address for a release.
    pub fn to(&self, release: &ReleaseSummary) -> String {
        let values = [&release.cluster, &release.namespace, &release.name];
        let parts = PARTS.iter().zip(values);
        parts.fold(self.url.clone(), |url, (part, value)| {
            url.replace(part, &encoded(value))
        })
    }
}

/// A text for one segment of a path, or one value of a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_an_address_with_known_parts() {
        for good in [
            "https://flux.example.com/resource/HelmRelease/{namespace}/{name}",
            "http://grafana/d/flux?var-cluster={cluster}",
        ] {
            assert!(Link::check(good).is_ok(), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "grafana/{name}",
            "https://x/{kind}",
            "https://x/a b",
        ] {
            assert!(Link::check(bad).is_err(), "{bad}");
        }
    }
}
