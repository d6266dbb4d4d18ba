//! Parse, dispatch, exit code.

use std::process::ExitCode;

use helmreboot::{
    cli::{self, EX_USAGE, serve::Misconfigured},
    demo,
};

#[tokio::main]
async fn main() -> ExitCode {
    let matches = match cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are no errors, and go to standard output.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(EX_USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let outcome = match matches.subcommand() {
        Some(("serve", matches)) => cli::serve::serve(&cli::flags(matches)).await,
        Some(("demo", matches)) => {
            let wish = cli::wish(matches);
            demo::run(wish).await.map(|as_told| {
                if as_told {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                }
            })
        }
        _ => return ExitCode::from(EX_USAGE),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("helmreboot: {error:#}");
        if error.is::<Misconfigured>() {
            ExitCode::from(EX_USAGE)
        } else {
            ExitCode::FAILURE
        }
    })
}
