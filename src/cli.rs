//! The command line.

use clap::{Arg, ArgMatches, Command, builder::NonEmptyStringValueParser};

use crate::config::{Flags, settings::{self, Setting}};

pub mod serve;

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
}

/// The flag of a setting. Values stay text here: all faults are reported together later.
fn flag(setting: &Setting) -> Arg {
    let mut help = format!("{} [env: {}]", setting.help, setting.env);
    if !setting.default.is_empty() {
        help = format!("{help} [default: {}]", setting.default);
    }
    let arg = Arg::new(setting.flag).long(setting.flag).help(help).value_parser(NonEmptyStringValueParser::new());
    if matches!(setting.default, "true" | "false") {
        // As in Go: --flag and --flag=false.
        arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL")
    } else {
        arg.value_name("VALUE")
    }
}

/// The settings that were given as flags.
pub fn flags(matches: &ArgMatches) -> Flags {
    let given = |setting: &Setting| Some((setting.flag, matches.get_one::<String>(setting.flag)?.clone()));
    settings::ALL.iter().filter_map(given).collect()
}
