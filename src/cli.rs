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

pub mod classify;
pub mod explain;
pub mod rules;
pub mod send;
pub mod serve;

use serve::Misconfigured;

/// Exit code for bad usage or configuration (`EX_USAGE`).
pub const EX_USAGE: u8 = 64;

/// All subcommands.
pub fn command() -> Command {
    Command::new("helmreboot")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Heals Flux HelmReleases that failed for a passing reason")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("serve")
                .about("Take alerts from Flux and restart what is stuck for a passing reason")
                .after_help("HELMREBOOT_TOKEN holds the only cluster's key. Flags come before variables, variables before the file.")
                .args(settings::ALL.iter().map(flag)),
        )
        .subcommand(
            Command::new("explain")
                .about("Say what would be done about a release, and why: live, or out of a file")
                .arg(
                    Arg::new("release")
                        .value_name("NAMESPACE/NAME")
                        .help("A release that lives in the cluster")
                        .required_unless_present("file")
                        .conflicts_with("file"),
                )
                .arg(
                    Arg::new("file")
                        .short('f')
                        .long("file")
                        .value_name("FILE")
                        .help("HelmReleases as YAML or JSON, also lists; - for standard input"),
                )
                .arg(which_cluster())
                .arg(output("text, or json for one object a line"))
                .args(settings::ALL.iter().filter(|setting| explains(setting)).map(flag)),
        )
        .subcommand(
            Command::new("classify")
                .about("Say what a failure message is worth, and which rule says so")
                .after_help("Without MESSAGE, standard input is read: lines of JSON objects with message and reason, or, without --output json, one message as it is.")
                .arg(Arg::new("message").value_name("MESSAGE").help("What Flux said").value_parser(NonEmptyStringValueParser::new()))
                .arg(
                    Arg::new("reason")
                        .long("reason")
                        .value_name("REASON")
                        .help("The reason Flux gave with it, such as UpgradeFailed; a line's own comes first"),
                )
                .arg(output("text, or json for one object a line"))
                .arg(flag(&settings::CONFIG)),
        )
        .subcommand(
            Command::new("rules")
                .about("List the rules that say what messages are worth")
                .arg(output("text, or json for one object a line"))
                .arg(flag(&settings::CONFIG)),
        )
        .subcommand(
            Command::new("send")
                .about("Send a signed alert that asks for nothing, to see whether the way to the service is open")
                .after_help("The key is the cluster's, as for serve: --token-file, HELMREBOOT_TOKEN or the file of --config.")
                .arg(
                    Arg::new("url")
                        .long("url")
                        .value_name("URL")
                        .help("Where the service takes alerts; without a path, /webhook/CLUSTER")
                        .required(true)
                        .value_parser(NonEmptyStringValueParser::new()),
                )
                .arg(which_cluster())
                .arg(
                    Arg::new("ca-file")
                        .long("ca-file")
                        .value_name("FILE")
                        .help("PEM file with the authorities to trust, instead of this machine's"),
                )
                .args([settings::CONFIG, settings::CLUSTER_NAME, settings::TOKEN_FILE].iter().map(flag)),
        )
        .subcommand(
            Command::new("demo")
                .about("Run the real service against two embedded clusters and tell what happens; needs nothing")
                .arg(
                    Arg::new("speed")
                        .long("speed")
                        .value_name("FACTOR")
                        .help("How many times faster to tell the story, from 0.5 to 20")
                        .default_value("1")
                        .value_parser(speed),
                )
                .arg(
                    Arg::new("serve")
                        .long("serve")
                        .value_name("ADDRESS")
                        .help("Go on after the story, until Ctrl-C, with metrics at this address [default: 127.0.0.1:8080]")
                        .num_args(0..=1)
                        .require_equals(true)
                        .default_missing_value("127.0.0.1:8080"),
                )
                .arg(output("text, or json for one document at the end")),
        )
}

fn which_cluster() -> Arg {
    Arg::new("cluster")
        .long("cluster")
        .value_name("NAME")
        .help("Which of the clusters in the file of --config")
}

fn output(help: &'static str) -> Arg {
    Arg::new("output")
        .long("output")
        .value_name("FORMAT")
        .help(help)
        .default_value("text")
        .value_parser(["text", "json"])
}

/// Settings that matter to an explanation: the way to the cluster, and what is allowed.
fn explains(setting: &Setting) -> bool {
    use settings as s;
    let way = [
        s::CONFIG,
        s::CLUSTER_NAME,
        s::KUBECONFIG,
        s::CONTEXT,
        s::INSECURE_KUBECONFIG_EXEC,
        s::INSECURE_KUBECONFIG_TLS,
        s::MODE,
    ];
    let policy = setting.path.is_some_and(|path| path.starts_with("policy."));
    policy || way.iter().any(|way| way.flag == setting.flag)
}

/// The flag of a setting. Values stay text here: all faults are reported together later.
fn flag(setting: &Setting) -> Arg {
    let mut help = format!("{} [env: {}]", setting.help, setting.env);
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
    speed.ok_or_else(|| "write a number from 0.5 to 20".into())
}

/// What `demo` was asked for.
pub fn wish(matches: &ArgMatches) -> Args {
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
        Some((
            setting.flag,
            // Not every subcommand has every flag.
            matches
                .try_get_one::<String>(setting.flag)
                .ok()
                .flatten()?
                .clone(),
        ))
    };
    settings::ALL.iter().filter_map(given).collect()
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
                    format!("there is no {wanted}; there are: {names}"),
                )
            }),
        (None, [only]) => Ok(only),
        (None, _) => Err(usage(
            "--cluster",
            format!("is missing; write one of: {names}"),
        )),
    }
}

/// Bad usage.
fn usage(place: &str, problem: impl Into<String>) -> Misconfigured {
    Misconfigured(vec![Fault {
        place: place.into(),
        problem: problem.into(),
    }])
}
