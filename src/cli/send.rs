//! `helmreboot send`: sends a signed alert without a release, to check the address and the key.

use std::{fs, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use axum::body::Body;
use clap::ArgMatches;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use jiff::Timestamp;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{choose, serve::Misconfigured, usage, variable};
use crate::{
    config::{Config, Flags},
    domain::signature::{Key, SIGNATURE_HEADER},
    http_client::{self, Connector},
    webhook,
};

/// notification-controller gives up after as long by default.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// How long, and how often, it is retried while the connection is refused.
const DEAF: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(500);

/// The most of an answer that is read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Sends one event of severity info, signed as Flux would, and says what was answered.
///
/// # Errors
/// [`Misconfigured`] for bad usage; whatever keeps the alert from being taken, with what to do about it.
pub async fn send(matches: &ArgMatches, flags: &Flags) -> anyhow::Result<ExitCode> {
    let config = Config::load(flags, &variable).map_err(Misconfigured)?;
    let wanted = matches.get_one::<String>("cluster");
    let cluster = choose(&config.clusters, wanted.map(String::as_str))?;
    let keys = cluster.read_keys().map_err(anyhow::Error::msg)?;
    let key = keys.iter().next().context("the cluster has no key")?;
    let address = matches.get_one::<String>("url").expect("it is required");
    let address = whole(address, &cluster.name)
        .ok_or_else(|| usage("--url", "write it as http://host:port or https://host"))?;
    let authority = matches.get_one::<String>("ca-file").map(Path::new);
    let connector = connector(&address, authority)?;
    let sent = send_until_heard(&connector, || request(&address, &cluster.name, key)).await;
    let (status, said) = sent.map_err(|error| {
        let advice = advice(&format!("{error:#}"));
        error.context(format!("cannot post to {address}; {advice}"))
    })?;
    if status.is_success() {
        println!(
            "{address} answered {status}: alerts of cluster {} get there, and their signature is right",
            cluster.name
        );
        return Ok(ExitCode::SUCCESS);
    }
    let advice = match status {
        StatusCode::UNAUTHORIZED => "; is it the same key, and is the cluster called so there?",
        StatusCode::NOT_FOUND => "; the path is /webhook or /webhook/NAME",
        _ => "",
    };
    Err(anyhow!("{address} answered {status}: {said}{advice}"))
}

/// The address with the path of the webhook, where it has none of its own.
fn whole(address: &str, cluster: &str) -> Option<Uri> {
    let uri: Uri = address.parse().ok()?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    if !known || uri.host().is_none() {
        return None;
    }
    if uri.path() != "/" {
        return Some(uri);
    }
    let base = address.trim_end_matches('/');
    format!("{base}{}/{cluster}", webhook::PATH).parse().ok()
}

fn request(address: &Uri, cluster: &str, key: &Key) -> anyhow::Result<Request<Body>> {
    let now = Timestamp::now();
    // One that the key may speak for.
    let bound = key.namespaces.as_ref().and_then(|some| some.first());
    let namespace = bound.map_or("default", String::as_str);
    let event = json!({
        "involvedObject": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "namespace": namespace, "name": "helmreboot-test"},
        // An event that leads to no reconcile.
        "severity": "info", "reason": "HelmrebootTest", "message": format!("sent by helmreboot send at {now}"),
        "timestamp": now, "metadata": {"cluster": cluster},
        "reportingController": "helm-controller", "reportingInstance": "helmreboot-send",
    });
    let body = event.to_string();
    let request = Request::post(address)
        .header(header::CONTENT_TYPE, "application/json")
        .header(SIGNATURE_HEADER, key.sign(body.as_bytes()));
    Ok(request.body(Body::from(body))?)
}

/// What may be the matter where there is no answer.
fn advice(error: &str) -> &'static str {
    if error.contains("certificate") {
        "name the authority of its certificate with --ca-file"
    } else if error.contains("HTTP version") {
        "it may speak HTTPS: write https://"
    } else {
        "is the service running, and does a network policy let this place in?"
    }
}

fn connector(address: &Uri, authority: Option<&Path>) -> anyhow::Result<Connector> {
    let trusted = authority.map(|file| roots(file).map_err(|problem| usage("--ca-file", problem)));
    Ok(http_client::connector(
        address,
        trusted.transpose()?.map(Arc::new),
    )?)
}

/// Posts once, and again for a while if the connection is refused: a Service refuses for a second or two after its pod
/// is ready.
async fn send_until_heard(
    connector: &Connector,
    request: impl Fn() -> anyhow::Result<Request<Body>>,
) -> anyhow::Result<(StatusCode, String)> {
    let begun = Instant::now();
    let mut logged = false;
    loop {
        let posted = timeout(LONGEST_WAIT, post(request()?, connector)).await;
        let error = match posted {
            Ok(Err(error)) if is_refused(&error) && begun.elapsed() < DEAF => error,
            Ok(answer) => return answer,
            Err(_) => bail!("no answer within {} s", LONGEST_WAIT.as_secs()),
        };
        if !logged {
            eprintln!(
                "helmreboot: {error:#}; trying again for {} s",
                DEAF.as_secs()
            );
            logged = true;
        }
        sleep(AGAIN).await;
    }
}

fn is_refused(error: &anyhow::Error) -> bool {
    let refused = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::ConnectionRefused;
    error
        .chain()
        .any(|cause| cause.downcast_ref().is_some_and(refused))
}

async fn post(
    request: Request<Body>,
    connector: &Connector,
) -> anyhow::Result<(StatusCode, String)> {
    let client = Client::builder(TokioExecutor::new()).build(connector.clone());
    let answer = client.request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_LIMIT)
        .collect()
        .await;
    let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let said = said["detail"].as_str().unwrap_or("nothing that helps");
    Ok((status, said.to_owned()))
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let problem = |error: &dyn std::fmt::Display| {
        format!(
            "cannot use {}: {error}; write the path of a PEM file with certificates",
            file.display()
        )
    };
    let pem = fs::read(file).map_err(|error| problem(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| problem(&error))?;
        roots.add(certificate).map_err(|error| problem(&error))?;
    }
    if roots.is_empty() {
        return Err(problem(&"it holds no certificate"));
    }
    Ok(roots)
}
