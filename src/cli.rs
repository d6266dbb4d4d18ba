//! The command line.

use clap::{Arg, ArgMatches, Command, builder::NonEmptyStringValueParser};

use crate::{
    config::{
        Fault, Flags,
        clusters::ClusterConfig,
        settings::{self, Setting},
    },
    demo::Args,
};

mod access;
pub mod classify;
pub mod completion;
pub mod explain;
mod output;
pub mod rules;
pub mod run;
pub mod send;
pub mod serve;
pub mod status;

use serve::Misconfigured;

/// Exit code for bad usage or configuration (`EX_USAGE`).
pub const EX_USAGE: u8 = 64;

/// All subcommands.
pub fn command() -> Command {
    Command::new("helmreboot")
        .bin_name(completion::program_name())
        .version(env!("CARGO_PKG_VERSION"))
        .about("Restarts Flux HelmReleases that failed for a transient cause")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("serve")
                .about("Accept alerts from Flux, and restart HelmReleases that failed for a transient cause")
                .after_help(concat!(
                    "HELMREBOOT_TOKEN holds the key of the only cluster. Each flag has an environment variable.\n",
                    "A flag overrides its variable, and a variable overrides the file. Policies, limits, clusters and\n",
                    "rules are set only in the file. See docs/configuration.md.",
                ))
                .args(settings::PROCESS.iter().map(flag)),
        )
        .subcommand(status::command())
        .subcommand(run::command())
        .subcommand(explain::command())
        .subcommand(
            Command::new("classify")
                .about("Print the class of a failure message, and the rule that matches it")
                .after_help("Without MESSAGE, standard input is read: JSON objects with message and reason, one in each line, or, without --output json, one message.")
                .arg(Arg::new("message").value_name("MESSAGE").help("Failure message of a HelmRelease").value_parser(NonEmptyStringValueParser::new()))
                .arg(
                    Arg::new("reason")
                        .long("reason")
                        .value_name("REASON")
                        .help("Reason of Flux, such as UpgradeFailed; a line with its own reason overrides it"),
                )
                .arg(output::flag(&["text", "json", "yaml"], "text, or json or yaml with one object for each line"))
                .arg(flag(&settings::CONFIG)),
        )
        .subcommand(
            Command::new("rules")
                .about("List the rules that classify messages")
                .arg(output::flag(&["text", "json", "yaml"], "text, or json or yaml with one object for each rule"))
                .arg(flag(&settings::CONFIG)),
        )
        .subcommand(
            Command::new("send")
                .about("Send a signed alert without a release, to check the address and the key")
                .after_help("The key is that of the cluster, as for serve: --token-file, HELMREBOOT_TOKEN, or the file of --config.")
                .arg(
                    Arg::new("url")
                        .long("url")
                        .value_name("URL")
                        .help("Address of the webhook; without a path, /webhook/CLUSTER is added")
                        .required(true)
                        .value_parser(NonEmptyStringValueParser::new()),
                )
                .arg(cluster_arg())
                .arg(
                    Arg::new("ca-file")
                        .long("ca-file")
                        .value_name("FILE")
                        .help("PEM file with the CA certificates to trust, instead of those of the system"),
                )
                .args([settings::CONFIG, settings::CLUSTER_NAME, settings::TOKEN_FILE].iter().map(flag)),
        )
        .subcommand(
            Command::new("demo")
                .about("Run the service with two embedded clusters, and print what happens")
                .arg(
                    Arg::new("speed")
                        .long("speed")
                        .value_name("FACTOR")
                        .help("Speed of the demo, from 0.5 (half speed) to 20")
                        .default_value("1")
                        .value_parser(speed),
                )
                .arg(
                    Arg::new("serve")
                        .long("serve")
                        .value_name("ADDRESS")
                        .help("Keep running until Ctrl-C, with the page at this address [default: 127.0.0.1:8080]")
                        .num_args(0..=1)
                        .require_equals(true)
                        .default_missing_value("127.0.0.1:8080"),
                )
                .arg(output::flag(&["text", "json"], "text, or json with one document at the end")),
        )
        .subcommands(completion::commands())
}

fn cluster_arg() -> Arg {
    Arg::new("cluster")
        .long("cluster")
        .value_name("NAME")
        .help("Cluster in the file of --config")
}

/// The flag of a setting. Its value stays text here: all faults are reported together later.
fn flag(setting: &Setting) -> Arg {
    let mut help = setting.help.to_owned();
    if !setting.default.is_empty() {
        help = format!("{help} [default: {}]", setting.default);
    }
    let arg = Arg::new(setting.flag)
        .long(setting.flag)
        .help(help)
        .value_parser(NonEmptyStringValueParser::new());
    if matches!(setting.default, "true" | "false") {
        // As in Go: --flag and --flag=false.
        arg.num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL")
    } else {
        arg.value_name("VALUE")
    }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text
        .parse()
        .ok()
        .filter(|speed| (0.5..=20.0).contains(speed));
    speed.ok_or_else(|| "expected a number from 0.5 to 20".into())
}

/// The arguments of `demo`.
pub fn demo_args(matches: &ArgMatches) -> Args {
    let speed = matches.get_one("speed").copied().unwrap_or(1.0);
    Args {
        speed,
        serve: matches.get_one("serve").cloned(),
        json: matches
            .get_one::<String>("output")
            .is_some_and(|format| format == "json"),
    }
}

/// The settings that were given as flags.
pub fn flags(matches: &ArgMatches) -> Flags {
    let given = |setting: &Setting| {
        // Not every subcommand has every flag.
        let value = matches.try_get_one::<String>(setting.flag).ok().flatten()?;
        Some((setting.flag, value.clone()))
    };
    settings::PROCESS.iter().filter_map(given).collect()
}

/// The cluster that was named, or the only one.
fn choose<'a>(
    clusters: &'a [ClusterConfig],
    wanted: Option<&str>,
) -> Result<&'a ClusterConfig, Misconfigured> {
    let names: Vec<_> = clusters.iter().map(|cluster| &*cluster.name).collect();
    let names = names.join(", ");
    match (wanted, clusters) {
        (Some(wanted), _) => clusters
            .iter()
            .find(|cluster| *cluster.name == *wanted)
            .ok_or_else(|| {
                usage(
                    "--cluster",
                    format!("unknown cluster {wanted}; expected one of: {names}"),
                )
            }),
        (None, [only]) => Ok(only),
        (None, _) => Err(usage(
            "--cluster",
            format!("is required with several clusters; expected one of: {names}"),
        )),
    }
}

/// An environment variable. What is not UTF-8 in it is replaced, so that it does not read as unset.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Bad usage.
fn usage(place: &str, problem: impl Into<String>) -> Misconfigured {
    Misconfigured(vec![Fault {
        place: place.into(),
        problem: problem.into(),
    }])
}
