//! The parts of a URL of the API.

use std::collections::BTreeMap;

use http::{Method, Uri};

use super::Key;

/// `/apis/{group}`, or `/api` for the core group, and then `[/{version}[/namespaces/{namespace}]/{plural}[/{name}[/{subresource}]]]?query`.
#[derive(Debug, Default)]
pub(super) struct Path {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: Option<String>,
    pub(super) plural: String,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
    query: BTreeMap<String, String>,
}

impl Path {
    pub(super) fn parse(uri: &Uri) -> Option<Self> {
        let mut segments = uri.path().split('/').skip(1).map(str::to_owned).peekable();
        let group = match segments.next()?.as_str() {
            "apis" => segments.next()?,
            "api" => String::new(),
            _ => return None,
        };
        let version = segments.next().unwrap_or_default();
        let mut path = Self {
            group,
            version,
            query: query(uri),
            ..Self::default()
        };
        if segments
            .peek()
            .is_some_and(|segment| segment == "namespaces")
        {
            segments.next();
            path.namespace = Some(segments.next()?);
        }
        path.plural = segments.next().unwrap_or_default();
        path.name = segments.next();
        path.subresource = segments.next();
        segments.next().is_none().then_some(path)
    }

    /// The object, where one is named.
    pub(super) fn key(&self) -> Option<Key> {
        Some(Key {
            namespace: self.namespace.clone()?,
            name: self.name.clone()?,
        })
    }

    pub(super) fn verb(&self, method: &Method) -> &'static str {
        match *method {
            Method::GET if self.plural.is_empty() => "discover",
            Method::GET if self.name.is_some() => "get",
            Method::GET if self.flag("watch") => "watch",
            Method::GET => "list",
            Method::PATCH => "patch",
            Method::POST => "create",
            Method::PUT => "update",
            Method::DELETE => "delete",
            _ => "other",
        }
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.query(name)
            .is_some_and(|value| value == "true" || value == "1")
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

fn query(uri: &Uri) -> BTreeMap<String, String> {
    let pairs = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| {
            (
                name.to_owned(),
                value.replace("%3A", ":").replace("%2F", "/"),
            )
        })
        .collect()
}
