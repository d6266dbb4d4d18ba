//! `helmreboot explain`: what would be done about a release, and why. The same judgement as the
//! worker's, printed.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::{Arg, ArgMatches, Command};
use jiff::Timestamp;

use super::{
    access::{self, Target},
    choose,
    output::{self, Format, print},
    usage,
};
use crate::{
    config::{Config, Flags},
    domain::release::Release,
    telemetry::coloured,
};

mod input;
mod print;

/// The subcommand.
pub(super) fn command() -> Command {
    Command::new("explain")
        .about("Print the decision about HelmReleases, and the reason: from the cluster, or from a file")
        .after_help("Without a name, all HelmReleases that are not ready are explained. The output contains no values of the\nHelmReleases, and failure messages are masked.")
        .arg(
            Arg::new("release")
                .value_name("[NAMESPACE/]NAME")
                .help("HelmReleases in the cluster")
                .num_args(0..)
                .conflicts_with("file"),
        )
        .arg(
            Arg::new("file")
                .short('f')
                .long("file")
                .value_name("FILE")
                .help("HelmReleases as YAML or JSON, also as a List; - is standard input"),
        )
        .arg(output::flag(
            &["text", "wide", "json", "yaml"],
            "text or wide, or json or yaml with one object for each release",
        ))
        .args(access::arguments())
}

/// Explains releases in clusters, or those of a file.
///
/// # Errors
/// [`super::serve::Misconfigured`] for bad usage; a file that cannot be read or holds no release; a cluster that does
/// not answer as it should.
pub async fn explain(matches: &ArgMatches, flags: &Flags) -> anyhow::Result<ExitCode> {
    if let Some(file) = matches.get_one::<String>("file") {
        return explain_file(matches, flags, file);
    }
    let names = access::release_names(matches)?;
    if !names.is_empty() && matches.get_flag("all-namespaces") {
        return Err(usage(
            "--all-namespaces",
            "is for all releases; write NAMESPACE/NAME",
        )
        .into());
    }
    let (mut printed, mut failed) = (Printed::default(), false);
    let mut report = |error: anyhow::Error| {
        eprintln!("✗ {error:#}");
        failed = true;
    };
    for target in access::targets(matches, flags).await? {
        let explainer = Explainer::new(matches, Arc::clone(&target.config), &target.cluster.name);
        for (namespace, name) in &names {
            let namespace = namespace.clone().or_else(|| target.namespace.clone());
            match target.observe(&namespace.unwrap_or_default(), name).await {
                Ok((release, now)) => {
                    let text = explainer.explain(&release, now)?;
                    printed.print(&text, explainer.format)?;
                }
                Err(error) => report(error),
            }
        }
        if names.is_empty()
            && let Err(error) = explain_unready(&target, &explainer, &mut printed).await
        {
            report(error);
        }
    }
    if failed {
        return Ok(ExitCode::FAILURE);
    }
    if !printed.any {
        eprintln!("no HelmRelease that is not ready was found");
    }
    Ok(ExitCode::SUCCESS)
}

/// Explains each release of a cluster that is not ready.
async fn explain_unready(
    target: &Target,
    explainer: &Explainer,
    printed: &mut Printed,
) -> anyhow::Result<()> {
    let mut pages = target.cluster.list(target.namespace.as_deref());
    let problem = |error| target.problem("cannot list the HelmReleases", error);
    while let Some(page) = pages.next().await.map_err(problem)? {
        for item in page {
            match item {
                Ok(release) if release.recovered() => {}
                Ok(release) => {
                    let text = explainer.explain(&release, Timestamp::now())?;
                    printed.print(&text, explainer.format)?;
                }
                Err(unreadable) => eprintln!("✗ {unreadable}"),
            }
        }
    }
    Ok(())
}

fn explain_file(matches: &ArgMatches, flags: &Flags, file: &str) -> anyhow::Result<ExitCode> {
    let config = access::config(flags)?;
    let wanted = matches.get_one::<String>("cluster").map(String::as_str);
    let name = Arc::clone(&choose(&config.clusters, wanted)?.name);
    let explainer = Explainer::new(matches, Arc::new(config), &name);
    let mut printed = Printed::default();
    let take = move |release: Release| {
        let text = explainer.explain(&release, Timestamp::now())?;
        printed.print(&text, explainer.format)
    };
    let name = if file == "-" { "standard input" } else { file };
    input::read(open(file)?, name, Box::new(take))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints explanations, with a separator between two of them.
#[derive(Default)]
struct Printed {
    any: bool,
}

impl Printed {
    /// Prints one explanation. False when the output is closed.
    fn print(&mut self, text: &str, format: Format) -> anyhow::Result<bool> {
        let between = match format {
            Format::Yaml if self.any => "---\n",
            Format::Text | Format::Wide if self.any => "\n",
            _ => "",
        };
        self.any = true;
        print(&format!("{between}{text}"))
    }
}

/// Explains releases, one after the other.
struct Explainer {
    config: Arc<Config>,
    cluster: Arc<str>,
    format: Format,
    colours: bool,
}

impl Explainer {
    fn new(matches: &ArgMatches, config: Arc<Config>, cluster: &Arc<str>) -> Self {
        Self {
            config,
            cluster: Arc::clone(cluster),
            format: Format::of(matches),
            colours: coloured(&io::stdout()),
        }
    }

    fn explain(&self, release: &Release, now: Timestamp) -> anyhow::Result<String> {
        let evaluation = access::evaluate(&self.config, &self.cluster, release, now);
        if self.format.is_for_machines() {
            return print::machine(self.format, &self.cluster, release, &evaluation);
        }
        Ok(print::text(
            &self.cluster,
            release,
            &evaluation,
            &self.config.classifier,
            self.colours,
        ))
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
