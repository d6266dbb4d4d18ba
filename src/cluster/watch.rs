//! What becomes of all releases, from a list on: the lines of a watch, one by one.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, Response, header};
use http_body_util::BodyExt;
use kube::{
    client::Body,
    core::{Status, params::WatchParams, request::Request},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{
    ANSWER_LIMIT, CALL_TIMEOUT, Cluster, Error,
    error::{Failed, meaning},
    list::{Item, Named, item},
};
use crate::{
    domain::{alert::HELM_GROUP, mask::mask},
    metrics::{CallResult, Verb},
};

/// How long the server lets a watch run.
const RUNS: u32 = 290;

/// How long nothing may come before the connection counts as dead; the server ends a watch before that.
const SILENCE: Duration = Duration::from_secs(300);

/// That a watch has become too old is no trouble: a new list follows.
const EXPIRED: u16 = 410;

/// A watch, or the news that it cannot begin where it was to.
pub enum Watch {
    /// It runs.
    Running(Changes),
    /// What came since that version is no longer known there: list again.
    Expired,
}

/// The changes of a running watch.
pub struct Changes {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer has no line break in it.
    searched: usize,
}

/// A change.
#[derive(Debug)]
pub enum Change {
    /// One was created or changed.
    Changed(Item),
    /// One is gone.
    Deleted(Item),
    /// Up to this version nothing has been missed.
    Reached(String),
    /// As [`Watch::Expired`].
    Expired,
}

/// A line.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl Cluster {
    /// Watches all releases, or those of one namespace, from a version on.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn watch(&self, namespace: Option<&str>, version: &str) -> Result<Watch, Error> {
        let api = self.version(false).await?;
        let scope = namespace.map(|namespace| format!("namespaces/{namespace}/"));
        let scope = scope.unwrap_or_default();
        let path = format!("/apis/{HELM_GROUP}/{api}/{scope}helmreleases");
        let params = WatchParams::default().timeout(RUNS);
        let request = Request::new(path).watch(&params, version);
        let mut request = request.map_err(|error| Error::Unreadable(error.to_string()))?;
        // A stream that is compressed in pieces cannot be read as one.
        let plain = HeaderValue::from_static("identity");
        request.headers_mut().insert(header::ACCEPT_ENCODING, plain);
        let timer = self.metrics.kubernetes_request(&self.name, Verb::Watch);
        let begun = timeout(CALL_TIMEOUT, self.begin(request)).await;
        let begun = begun.unwrap_or(Err(Failed::Error(Error::Late)));
        let result = match &begun {
            Ok(_) => CallResult::Ok,
            Err(Failed::NoSuchPath) => CallResult::Unsupported,
            Err(Failed::Error(error)) => error.result(),
        };
        timer.done(result);
        self.told(result);
        match begun {
            Ok(watch) => Ok(watch),
            Err(Failed::Error(error)) => Err(error),
            Err(Failed::NoSuchPath) => {
                // Flux may have been upgraded to another version.
                self.version(true).await?;
                Err(Error::Unsupported)
            }
        }
    }

    async fn begin(&self, request: http::Request<Vec<u8>>) -> Result<Watch, Failed> {
        let client = self.connection.client()?;
        let response: Response<Body> = client.send(request.map(Body::from)).await?;
        let code = response.status().as_u16();
        if response.status().is_success() {
            return Ok(Watch::Running(Changes {
                body: response.into_body(),
                buffer: BytesMut::new(),
                searched: 0,
            }));
        }
        if code == EXPIRED {
            return Ok(Watch::Expired);
        }
        let body = http_body_util::Limited::new(response.into_body(), ANSWER_LIMIT);
        let bytes = body.collect().await.map(|body| body.to_bytes());
        Err(super::error::refused(code, &bytes.unwrap_or_default()))
    }
}

impl Changes {
    /// The next change; `None` where the watch has ended.
    ///
    /// # Errors
    /// It broke off, or says what cannot be read.
    pub async fn next(&mut self) -> Result<Option<Change>, Error> {
        loop {
            while let Some(line) = self.line()? {
                if !line.trim_ascii().is_empty() {
                    return change(&line).map(Some);
                }
            }
            let frame = match timeout(SILENCE, self.body.frame()).await {
                Err(_) | Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    return Err(Error::Unavailable(mask(&error.to_string(), 300)));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// A whole line out of the buffer, if there is one.
    fn line(&mut self) -> Result<Option<Bytes>, Error> {
        let end = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(end) = end else {
            self.searched = self.buffer.len();
            return if self.searched > ANSWER_LIMIT {
                Err(Error::TooLarge(ANSWER_LIMIT))
            } else {
                Ok(None)
            };
        };
        let line = self.buffer.split_to(self.searched + end).freeze();
        self.buffer.advance(1);
        self.searched = 0;
        Ok(Some(line))
    }
}

fn change(line: &[u8]) -> Result<Change, Error> {
    let Ok(Line { kind, object }) = serde_json::from_slice::<Line<'_>>(line) else {
        return Err(Error::Unavailable(
            "the watch broke off inside a line".into(),
        ));
    };
    match kind {
        "ADDED" | "MODIFIED" => Ok(Change::Changed(item(object))),
        "DELETED" => Ok(Change::Deleted(item(object))),
        "BOOKMARK" => Ok(Change::Reached(version_of(object))),
        "ERROR" => {
            let status: Status = serde_json::from_str(object.get()).unwrap_or_default();
            if status.code == EXPIRED {
                return Ok(Change::Expired);
            }
            Err(match meaning(status.code, &status) {
                Failed::NoSuchPath => Error::Unsupported,
                Failed::Error(error) => error,
            })
        }
        _ => Ok(Change::Reached(String::new())),
    }
}

fn version_of(object: &RawValue) -> String {
    let named: Named = serde_json::from_str(object.get()).unwrap_or_default();
    named.metadata.version
}
