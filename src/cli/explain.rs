//! `helmreboot explain`: what would be done about a release, and why. The same judgement as the
//! worker's, printed.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::ArgMatches;
use jiff::{SignedDuration, Timestamp};

use super::{choose, serve::Misconfigured, usage, variable};
use crate::{
    config::{Config, Flags, clusters::ClusterConfig},
    domain::{
        alert::{ReleaseRef, is_dns_name},
        decide::Trigger,
        evaluate::Evaluator,
        ledger::Record,
        release::Release,
    },
    kubernetes::{AnswerMemory, Cluster, Connection, Error, connect::connect},
    metrics::Metrics,
    telemetry::coloured,
};

mod input;
mod print;

/// The time in which a status settles: after it, Ready=False with Reconciling=True means that Flux
/// backs off by itself.
const SETTLE: SignedDuration = SignedDuration::from_secs(7);

/// The arguments.
struct Args {
    release: Option<(String, String)>,
    file: Option<String>,
    cluster: Option<String>,
    json: bool,
}

/// Explains one release that lives, or those of a file.
///
/// # Errors
/// [`Misconfigured`] for bad usage; a file that cannot be read or holds no release; a cluster that does
/// not answer as it should.
pub async fn explain(matches: &ArgMatches, flags: &Flags) -> anyhow::Result<ExitCode> {
    let args = args(matches)?;
    let (config, faults) = Config::read_without_keys(flags, &variable);
    if !faults.is_empty() {
        return Err(Misconfigured(faults).into());
    }
    let cluster = choose(&config.clusters, args.cluster.as_deref())?.clone();
    let explainer = Explainer {
        json: args.json,
        colours: coloured(&io::stdout()),
        cluster: Arc::clone(&cluster.name),
        config,
    };
    match (&args.release, &args.file) {
        (Some((namespace, name)), _) => {
            let (release, at) = observe(&cluster, namespace, name).await?;
            let text = explainer.explain(&release, at.unwrap_or_else(Timestamp::now))?;
            print(&text)?;
        }
        (None, Some(file)) => {
            let mut printed = 0;
            let take = move |release: Release| {
                let text = explainer.explain(&release, Timestamp::now())?;
                let between = if printed > 0 && !explainer.json {
                    "\n"
                } else {
                    ""
                };
                printed += 1;
                print(&format!("{between}{text}"))
            };
            input::read(open(file)?, file, Box::new(take))?;
        }
        (None, None) => bail!("nothing to explain"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Explains releases, one after the other.
struct Explainer {
    config: Config,
    cluster: Arc<str>,
    json: bool,
    colours: bool,
}

impl Explainer {
    fn explain(&self, release: &Release, now: Timestamp) -> anyhow::Result<String> {
        let classifier = &self.config.classifier;
        let evaluator = Evaluator {
            classifier,
            policies: &self.config.policies,
            cluster: &self.cluster,
        };
        let trigger = Trigger {
            settled: settled(release, now),
            ..Trigger::default()
        };
        let evaluation = evaluator.evaluate(Some(release), &Record::of(release), &trigger, now);
        Ok(if self.json {
            print::json(release, &evaluation)?
        } else {
            print::text(
                &self.cluster,
                release,
                &evaluation,
                classifier,
                self.colours,
            )
        })
    }
}

/// Prints lines. False when the output is closed.
fn print(text: &str) -> anyhow::Result<bool> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written
            .map(|()| true)
            .context("cannot write to standard output"),
    }
}

fn args(matches: &ArgMatches) -> anyhow::Result<Args> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let release = text("release").map(|release| {
        let named = release.split_once('/');
        let named =
            named.filter(|(namespace, name)| is_dns_name(namespace, 63) && is_dns_name(name, 253));
        let named = named.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        named.ok_or_else(|| usage(&release, "is no release; write NAMESPACE/NAME"))
    });
    Ok(Args {
        release: release.transpose()?,
        file: text("file"),
        cluster: text("cluster"),
        json: text("output").is_some_and(|format| format == "json"),
    })
}

async fn observe(
    cluster: &ClusterConfig,
    namespace: &str,
    name: &str,
) -> anyhow::Result<(Release, Option<Timestamp>)> {
    let client = connect(&cluster.access).await;
    let client = client.map_err(|problem| {
        usage(
            &cluster.access_place,
            format!("cluster {}: {problem}", cluster.name),
        )
    })?;
    let release = ReleaseRef {
        cluster: Arc::clone(&cluster.name),
        namespace: namespace.into(),
        name: name.into(),
    };
    let connection = Connection::to(client);
    let observed = Cluster::new(
        Arc::clone(&cluster.name),
        connection,
        AnswerMemory::default(),
        Metrics::default(),
    );
    match observed.observe(&release).await {
        Ok(observed) => Ok((observed.release, observed.at)),
        Err(Error::Gone) => bail!(
            "there is no HelmRelease {namespace}/{name} in cluster {}; kubectl get helmreleases -A lists them",
            cluster.name
        ),
        Err(error) => Err(anyhow::Error::new(error).context(format!(
            "cannot get {namespace}/{name} in cluster {}",
            cluster.name
        ))),
    }
}

fn open(file: &str) -> anyhow::Result<Box<dyn BufRead>> {
    if file == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let opened = File::open(file).with_context(|| {
        format!("cannot read {file}; write the path of a YAML or JSON file, or -")
    })?;
    Ok(Box::new(BufReader::new(opened)))
}

/// Whether the status is old enough to be final.
fn settled(release: &Release, now: Timestamp) -> bool {
    let ready = release.condition("Ready");
    let since = ready.and_then(|ready| ready.last_transition_time.as_deref()?.parse().ok());
    since.is_none_or(|since| now.duration_since(since) >= SETTLE)
}
