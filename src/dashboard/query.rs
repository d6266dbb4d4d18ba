//! What a request selects: the filters of the page and of the API are the same.

use crate::domain::{
    short_hash::short_hash,
    string_enum,
    summary::{Band, ReleaseSummary},
};

string_enum! {
    /// The parameters.
    Parameter {
        /// Words that a release contains.
        Search = "q",
        /// The name of a cluster.
        Cluster = "cluster",
        /// A namespace.
        Namespace = "namespace",
        /// [`Band`].
        Band = "band",
        /// The id of a shared cause.
        Cause = "cause",
        /// The most rows.
        Limit = "limit",
        /// Rows that are skipped.
        Offset = "offset",
        /// The number of an event.
        After = "after",
    }
}

/// The most rows of one answer.
const MOST: usize = 1000;

/// What is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) search: String,
    pub(super) cluster: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) band: Option<Band>,
    pub(super) cause: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) offset: usize,
    pub(super) after: u64,
}

impl Query {
    /// The query of an address.
    ///
    /// # Errors
    /// A parameter is not known, or its value is not valid.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, String> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            let parameter = Parameter::ALL.iter().find(|it| it.as_str() == name);
            let value = value.trim();
            let given = (!value.is_empty()).then(|| value.to_owned());
            match parameter {
                Some(Parameter::Search) => query.search = value.to_owned(),
                Some(Parameter::Cluster) => query.cluster = given,
                Some(Parameter::Namespace) => query.namespace = given,
                Some(Parameter::Cause) => query.cause = given,
                Some(Parameter::Band) => {
                    let band = Band::ALL.iter().find(|band| band.as_str() == value);
                    if given.is_some() && band.is_none() {
                        let all: Vec<_> = Band::ALL.iter().map(|band| band.as_str()).collect();
                        return Err(format!("band: expected one of {}", all.join(", ")));
                    }
                    query.band = band.copied();
                }
                Some(Parameter::Limit) => {
                    let limit = number(&name, value)?;
                    if limit == 0 || limit > MOST {
                        return Err(format!("limit: expected a number from 1 to {MOST}"));
                    }
                    query.limit = Some(limit);
                }
                Some(Parameter::Offset) => query.offset = number(&name, value)?,
                Some(Parameter::After) => query.after = number(&name, value)?,
                None => {
                    let all: Vec<_> = Parameter::ALL.iter().map(|it| it.as_str()).collect();
                    return Err(format!(
                        "there is no parameter {name:?}; use {}",
                        all.join(", ")
                    ));
                }
            }
        }
        Ok(query)
    }

    /// Whether anything but the number of rows is selected.
    pub(super) fn filters(&self) -> bool {
        let none = Self {
            limit: self.limit,
            offset: self.offset,
            after: self.after,
            ..Self::default()
        };
        *self != none
    }

    /// Whether a release is selected.
    pub(super) fn selects(&self, release: &ReleaseSummary) -> bool {
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        let cause = release.shared_cause.as_deref().unwrap_or_default();
        is(&self.cluster, &release.cluster)
            && is(&self.namespace, &release.namespace)
            && self.band.is_none_or(|band| band == release.band)
            && self.cause.as_ref().is_none_or(|id| *id == cause_id(cause))
            && self.finds(&[
                &format!("{}/{}/{}", release.cluster, release.namespace, release.name),
                release.rule,
                release.reason,
                cause,
            ])
    }

    /// Whether each word of the search is in one of the texts. `*` is any text, and `!` before a word negates it.
    pub(super) fn finds(&self, texts: &[&str]) -> bool {
        self.search.split_whitespace().all(|word| {
            let (negated, word) = match word.strip_prefix('!') {
                Some(word) => (true, word),
                None => (false, word),
            };
            texts.iter().any(|text| contains(text, word)) != negated
        })
    }

    /// The address of another view of the same: these parameters are replaced.
    pub(super) fn with(&self, band: Option<Band>, offset: usize) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        let offset = (offset > 0).then(|| offset.to_string());
        for (name, value) in [
            (
                Parameter::Search,
                Some(&*self.search).filter(|it| !it.is_empty()),
            ),
            (Parameter::Cluster, self.cluster.as_deref()),
            (Parameter::Namespace, self.namespace.as_deref()),
            (Parameter::Cause, self.cause.as_deref()),
            (Parameter::Band, band.map(Band::as_str)),
            (Parameter::Offset, offset.as_deref()),
        ] {
            if let Some(value) = value {
                text.append_pair(name.as_str(), value);
            }
        }
        text.finish()
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{name}: expected a number"))
}

/// Whether a text contains a word, in which `*` is any text.
fn contains(text: &str, word: &str) -> bool {
    let text = text.to_lowercase();
    let mut rest = text.as_str();
    word.to_lowercase().split('*').all(|part| {
        let found = rest.find(part).map(|at| &rest[at + part.len()..]);
        rest = found.unwrap_or_default();
        found.is_some()
    })
}

/// The name of a shared cause in addresses.
pub(super) fn cause_id(cause: &str) -> String {
    short_hash(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_all_found_and_may_have_wildcards_and_be_negated() {
        let finds = |search: &str| {
            let query = Query {
                search: search.into(),
                ..Query::default()
            };
            query.finds(&["prod-eu/apps/web-1", "wait-timeout"])
        };
        for good in [
            "",
            "web",
            "WEB prod",
            "prod*web",
            "wait-",
            "!db",
            "apps !db*",
        ] {
            assert!(finds(good), "{good}");
        }
        for bad in ["db", "web db", "!web", "web*prod", "!prod*1"] {
            assert!(!finds(bad), "{bad}");
        }
    }

    #[test]
    fn a_query_is_read_or_refused_with_what_to_write() {
        let query = Query::parse(Some(
            "q=a+b&cluster=eu&band=needs-person&limit=5&namespace=",
        ));
        let query = query.expect("a query");
        assert_eq!((query.search.as_str(), query.limit), ("a b", Some(5)));
        assert_eq!(
            query.with(query.band, 200),
            "q=a+b&cluster=eu&band=needs-person&offset=200"
        );
        assert!(query.filters());
        for (bad, said) in [
            ("band=x", "band: expected one of needs-person"),
            ("limit=0", "limit: expected a number from 1 to 1000"),
            ("offset=-1", "offset: expected a number"),
            ("page=1", "there is no parameter \"page\"; use q, cluster"),
        ] {
            let error = Query::parse(Some(bad)).expect_err(bad);
            assert!(error.starts_with(said), "{error}");
        }
    }
}
