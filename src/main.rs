//! Parse, dispatch, exit code.

use std::process::ExitCode;

use helmreboot::{
    cli::{self, EX_USAGE, serve::Misconfigured},
    demo,
    isolation::{self, Part},
    metrics::Metrics,
};

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("helmreboot: no threads can be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    isolation::install_hook();
    let metrics = Metrics::default();
    let whole = isolation::caught(Part::Background, &metrics, run());
    let code = runtime.block_on(whole).unwrap_or_else(|panicked| {
        let location = panicked.location;
        eprintln!("helmreboot: internal error at {location}; please report it");
        ExitCode::FAILURE
    });
    // A DNS lookup keeps a thread busy that cannot be stopped: do not wait for it.
    runtime.shutdown_background();
    code
}

async fn run() -> ExitCode {
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
        Some(("status", matches)) => cli::status::status(matches, &cli::flags(matches)).await,
        Some(("run", matches)) => cli::run::run(matches, &cli::flags(matches)).await,
        Some(("completion", matches)) => cli::completion::completion(matches),
        Some(("man", _)) => cli::completion::man(),
        Some(("__complete", matches)) => cli::completion::complete(matches),
        Some(("explain", matches)) => cli::explain::explain(matches, &cli::flags(matches)).await,
        Some(("send", matches)) => cli::send::send(matches, &cli::flags(matches)).await,
        Some(("classify", matches)) => cli::classify::classify(matches, &cli::flags(matches)),
        Some(("rules", matches)) => cli::rules::rules(matches, &cli::flags(matches)),
        Some(("demo", matches)) => {
            let args = cli::demo_args(matches);
            demo::run(args).await.map(|as_told| {
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
