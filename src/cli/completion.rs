//! Completions, the man page, and the names under which flux and kubectl run the program as a plugin.

use std::{env, ffi::OsString, io, path::Path, process::ExitCode};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::{Shell, engine, generate};

use super::output::print;

/// The subcommands.
pub(super) fn commands() -> [Command; 3] {
    let shell = Arg::new("shell")
        .value_name("SHELL")
        .required(true)
        .value_parser(value_parser!(Shell));
    let words = Arg::new("words")
        .num_args(0..)
        .trailing_var_arg(true)
        .allow_hyphen_values(true)
        .action(ArgAction::Append);
    [
        Command::new("completion")
            .about("Print a completion script for a shell")
            .after_help("For bash: source <(helmreboot completion bash)")
            .arg(shell),
        Command::new("man")
            .about("Print the man page, as in: helmreboot man | man -l -")
            .hide(true),
        // As flux and kubectl ask their plugins.
        Command::new("__complete").hide(true).arg(words),
    ]
}

/// The name under which the program was started: `flux helmreboot` and `kubectl helmreboot` start `flux-helmreboot` and
/// `kubectl-helmreboot`.
pub fn program_name() -> &'static str {
    let started = env::args_os().next().unwrap_or_default();
    let name = Path::new(&started).file_stem().unwrap_or_default();
    match name.to_str() {
        Some("flux-helmreboot") => "flux helmreboot",
        Some("kubectl-helmreboot") => "kubectl helmreboot",
        _ => "helmreboot",
    }
}

/// Prints the completion script of a shell.
///
/// # Errors
/// Standard output cannot be written.
pub fn completion(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let shell = matches
        .get_one::<Shell>("shell")
        .context("a shell is required")?;
    let mut script = Vec::new();
    generate(*shell, &mut super::command(), "helmreboot", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the man page.
///
/// # Errors
/// Standard output cannot be written.
pub fn man() -> anyhow::Result<ExitCode> {
    let mut command = super::command();
    command.build();
    let mut page = Vec::new();
    let subcommands = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let commands = std::iter::once(&command).chain(subcommands);
    for command in commands {
        clap_mangen::Man::new(command.clone())
            .render(&mut page)
            .context("cannot write the man page")?;
    }
    print(String::from_utf8_lossy(&page).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the candidates for the last of some words: one in each line, with its help after a tab, and a last line by which
/// cobra offers no files (`spf13/cobra:completions.go`, `ShellCompDirectiveNoFileComp`).
///
/// # Errors
/// Standard output cannot be written.
pub fn complete(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let words = matches.get_many::<String>("words").into_iter().flatten();
    let mut words: Vec<_> = words.map(OsString::from).collect();
    words.insert(0, "helmreboot".into());
    let last = words.len() - 1;
    let candidates = engine::complete(&mut super::command(), words, last.max(1), None);
    let candidates = candidates.or_else(|error: io::Error| match error.kind() {
        // Words that the command line does not have.
        io::ErrorKind::Other => Ok(Vec::new()),
        _ => Err(error),
    })?;
    let mut lines: Vec<_> = candidates
        .iter()
        .map(|candidate| {
            let value = candidate.get_value().to_string_lossy();
            let help = candidate
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let help = help.lines().next().unwrap_or_default();
            if help.is_empty() {
                value.into_owned()
            } else {
                format!("{value}\t{help}")
            }
        })
        .collect();
    lines.push(":4".into());
    print(&lines.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}
