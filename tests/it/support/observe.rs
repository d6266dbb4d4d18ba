//! What a test sees: metrics, annotations, decisions and writes.

use axum::body::Body;
use helmreboot::{
    demo::fake_cluster::{Call, Key},
    domain::{
        alert::ReleaseRef,
        journal::{Entry, Subject},
        ledger,
    },
};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;

impl TestApp {
    /// How many different restarts the release has seen, whatever became of their answers.
    pub(crate) fn restarts_that_landed(&self, release: &Key) -> usize {
        let versions = self.cluster("a").versions_of(release);
        let token = |object: &Value| {
            let state = object["metadata"]["annotations"]["helmreboot.io/state"].as_str()?;
            ledger::token_of(state)
        };
        versions
            .iter()
            .filter_map(token)
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    }

    /// The answer of `/metrics` to these headers.
    pub(crate) async fn scrape_as(&self, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::get("/metrics");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let scraped = self.metrics.clone().oneshot(request).await;
        scraped.expect("a router never fails")
    }

    /// The text of `/metrics`.
    pub(crate) async fn scrape(&self) -> String {
        let response = self.scrape_as(&[]).await;
        let bytes = response.into_body().collect().await;
        let bytes = bytes.expect("a body").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    /// The sum of the series that begin so.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.scrape().await;
        let lines = text.lines().filter(|line| line.starts_with(series));
        let values: Vec<f64> = lines
            .filter_map(|line| line.rsplit(' ').next())
            .map(|value| value.parse().expect("a number"))
            .collect();
        assert!(!values.is_empty(), "no series {series} in\n{text}");
        values.into_iter().sum()
    }

    /// All patches so far, which the test herewith has seen.
    #[track_caller]
    pub(crate) fn writes(&self) -> Vec<Call> {
        let writes: Vec<_> = self.clusters.values().flat_map(patches).collect();
        self.claimed.set(writes.len());
        writes
    }

    /// The reason of the last decision about a release of cluster `a`.
    #[track_caller]
    pub(crate) fn why(&self, release: &Key) -> &'static str {
        self.why_in("a", release)
    }

    #[track_caller]
    pub(crate) fn why_in(&self, cluster: &str, release: &Key) -> &'static str {
        let wanted = ReleaseRef {
            cluster: cluster.into(),
            namespace: release.namespace.as_str().into(),
            name: release.name.as_str().into(),
        };
        let (entries, _) = self.journal.since(0);
        entries
            .iter()
            .rfind(|entry| entry.about.release() == Some(&wanted))
            .map_or("nothing", |entry| entry.reason)
    }

    /// What the journal says about cluster `a` as a whole.
    pub(crate) fn cluster_facts(&self) -> Vec<[&'static str; 2]> {
        let (entries, _) = self.journal.since(0);
        let about_it =
            |entry: &&Entry| matches!(&entry.about, Subject::Cluster(cluster) if &**cluster == "a");
        let facts = entries.iter().filter(about_it);
        facts.map(|entry| [entry.what, entry.reason]).collect()
    }

    #[track_caller]
    pub(crate) fn annotation(&self, release: &Key, name: &str) -> Option<String> {
        let object = self.cluster("a").get(release).expect("the release");
        object["metadata"]["annotations"][name]
            .as_str()
            .map(str::to_owned)
    }
}
