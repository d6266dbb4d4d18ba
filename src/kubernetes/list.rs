//! All releases of a cluster, page by page. A page that is too large or too slow is requested again with
//! fewer releases; a release that cannot be read by itself is named and skipped.

use std::{fmt, sync::atomic::Ordering};

use http::{HeaderValue, header};
use kube::core::{params::ListParams, request::Request};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Cluster, Error};
use crate::{domain::release::Release, metrics::Verb};

/// Releases in one page: enough to be quick, little enough to be small.
pub(super) const PAGE: u32 = 100;

/// By how much a page shrinks that was too large or too slow.
const SHRINK: u32 = 10;

/// The media type of an object without its contents.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// A release, or one that cannot be read.
pub type Item = Result<Release, Unreadable>;

/// A release that cannot be read, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unreadable {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is wrong with it. Never repeats a value.
    pub problem: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            name,
            problem,
        } = self;
        write!(
            f,
            "cannot read the HelmRelease {namespace}/{name}: {problem}"
        )
    }
}

/// A list that is being read.
pub struct Pages<'a> {
    cluster: &'a Cluster,
    namespace: Option<&'a str>,
    /// The token for the next page; `None` after the last.
    next: Option<Option<String>>,
    limit: u32,
    version: String,
}

/// The used part of a page.
#[derive(Deserialize)]
pub(super) struct Page<'a> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
}

/// A page whose bytes are gone.
pub(super) struct Read {
    metadata: PageMetadata,
    items: Vec<Item>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
    #[serde(rename = "resourceVersion")]
    version: String,
}

impl Cluster {
    /// Begins to list all releases, or those of one namespace, in order of namespace and name.
    pub fn list<'a>(&'a self, namespace: Option<&'a str>) -> Pages<'a> {
        // Start from the page size that fitted the last time, and raise it a little.
        let last = self.page_size.load(Ordering::Relaxed);
        Pages {
            cluster: self,
            namespace,
            next: Some(None),
            limit: (last * 2).clamp(1, PAGE),
            version: String::new(),
        }
    }
}

impl Pages<'_> {
    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Unavailable`] also if the list has changed too much to continue.
    pub async fn next(&mut self) -> Result<Option<Vec<Item>>, Error> {
        loop {
            let Some(next) = self.next.clone() else {
                return Ok(None);
            };
            let failed = match self.page(next.as_deref(), false).await {
                Ok(page) => {
                    self.cluster.page_size.store(self.limit, Ordering::Relaxed);
                    return Ok(Some(self.take(page)));
                }
                Err(error) => error,
            };
            if !matches!(failed, Error::TooLarge(_) | Error::Late) {
                return Err(failed);
            }
            if self.limit > 1 {
                self.limit = (self.limit / SHRINK).max(1);
                continue;
            }
            // The page was one release. Where even its name does not come, the server is to blame.
            let Ok(named) = self.page(next.as_deref(), true).await else {
                self.cluster.page_size.store(PAGE, Ordering::Relaxed);
                return Err(failed);
            };
            let problem = failed.to_string();
            let skipped = |item: Item| {
                let (namespace, name) = match item {
                    Ok(release) => (release.metadata.namespace, release.metadata.name),
                    Err(unreadable) => (unreadable.namespace, unreadable.name),
                };
                Err(Unreadable {
                    namespace,
                    name,
                    problem: problem.clone(),
                })
            };
            return Ok(Some(self.take(named).into_iter().map(skipped).collect()));
        }
    }

    /// What the list was true for, once all pages were read.
    pub fn version(self) -> String {
        self.version
    }

    fn take(&mut self, page: Read) -> Vec<Item> {
        let next = page.metadata.next.filter(|next| !next.is_empty());
        self.next = next.map(Some);
        self.version = page.metadata.version;
        page.items
    }

    async fn page(&self, next: Option<&str>, names: bool) -> Result<Read, Error> {
        let mut params = ListParams::default().limit(self.limit);
        params.continue_token = next.map(str::to_owned);
        let build = |path: String| {
            let mut request = Request::new(path).list(&params)?;
            if names {
                let accept = HeaderValue::from_static(METADATA_ONLY);
                request.headers_mut().insert(header::ACCEPT, accept);
            }
            Ok(request)
        };
        let read = |bytes: &[u8]| {
            serde_json::from_slice::<Page<'_>>(bytes).map(|page| Read {
                items: page.items.into_iter().map(item).collect(),
                metadata: page.metadata,
            })
        };
        let (page, _) = self
            .cluster
            .on_releases(Verb::List, self.namespace, build, read)
            .await?;
        Ok(page)
    }
}

/// Reads one object. An error has the path of a field and not its value, which may be secret.
pub(super) fn item(object: &RawValue) -> Item {
    let mut json = serde_json::Deserializer::from_str(object.get());
    serde_path_to_error::deserialize::<_, Release>(&mut json).map_err(|error| {
        let named: Named = serde_json::from_str(object.get()).unwrap_or_default();
        Unreadable {
            namespace: named.metadata.namespace,
            name: named.metadata.name,
            problem: format!(
                "its field {} has another type than Flux gives it",
                error.path()
            ),
        }
    })
}

/// The least there is to know of an object.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    pub(super) metadata: NamedMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NamedMetadata {
    name: String,
    namespace: String,
    #[serde(rename = "resourceVersion")]
    pub(super) version: String,
}
