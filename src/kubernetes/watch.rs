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
use tokio::time::{Instant, timeout};

use super::{
    ANSWER_LIMIT, AnswerMemory, CALL_TIMEOUT, Cluster, Error, UNCOUNTED,
    answer::Share,
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
    /// When the first part of an incomplete line came.
    begun: Option<Instant>,
    memory: AnswerMemory,
    share: Share,
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
        self.note(Verb::Watch, result, begun.as_ref().err());
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
                begun: None,
                memory: self.memory.clone(),
                share: self.memory.objects.share(),
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
            if self.buffer.is_empty() {
                self.begun = None;
            }
            if self.buffer.len() <= UNCOUNTED {
                self.share = self.memory.objects.share();
            }
            // A server that does not end a line must not keep its memory.
            let wait = self.begun.map_or(SILENCE, |begun| {
                CALL_TIMEOUT.saturating_sub(begun.elapsed())
            });
            let frame = match timeout(wait, self.body.frame()).await {
                Err(_) if self.begun.is_some() => return Err(Error::Late),
                Err(_) | Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    return Err(Error::Unavailable(mask(&error.to_string(), 300)));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            if let Ok(data) = frame.into_data() {
                self.add(&data).await;
            }
        }
    }

    async fn add(&mut self, data: &[u8]) {
        let begun = self.begun.unwrap_or_else(Instant::now);
        self.buffer.extend_from_slice(data);
        let waits = Instant::now();
        if self.buffer.len() > UNCOUNTED {
            self.share.take(data.len()).await;
        }
        // The wait for memory is no fault of the server's.
        self.begun = Some(begun + waits.elapsed());
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
        // What is left belongs to the next line.
        self.begun = Some(Instant::now());
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt, stream};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use kube::Client;

    use super::*;

    /// A watch whose body has these parts, and then nothing more.
    async fn changes(parts: &'static [&'static str]) -> Changes {
        let answer = tower::service_fn(move |_| async move {
            let frame = |part: &&'static str| Ok::<_, Infallible>(Frame::data(Bytes::from(*part)));
            let frames = stream::iter(parts.iter().map(frame)).chain(stream::pending());
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        });
        let client = Client::new(answer, "default");
        let response = client.send(http::Request::new(Body::empty())).await;
        let memory = AnswerMemory::default();
        Changes {
            body: response.expect("an answer").into_body(),
            buffer: BytesMut::new(),
            searched: 0,
            begun: None,
            share: memory.objects.share(),
            memory,
        }
    }

    const BOOKMARK: &str =
        "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"7\"}}}\n";

    #[tokio::test(start_paused = true)]
    async fn a_line_that_does_not_end_breaks_the_watch_off_and_silence_does_not() {
        let mut whole = changes(&[BOOKMARK]).await;
        let change = whole.next().await.expect("a change");
        assert!(matches!(change, Some(Change::Reached(version)) if version == "7"));
        let begun = Instant::now();
        assert!(whole.next().await.expect("its end").is_none());
        assert_eq!(begun.elapsed(), SILENCE);

        let mut half = changes(&[BOOKMARK, "{\"type\":"]).await;
        half.next().await.expect("a change");
        let begun = Instant::now();
        let error = half.next().await.expect_err("half a line");
        assert!(matches!(error, Error::Late), "{error}");
        assert!(begun.elapsed() <= CALL_TIMEOUT);
    }
}
