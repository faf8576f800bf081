//! The verbs, one line each, and their exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod check;
mod output;
mod run;
mod settings;

/// What a process that ran a verb ends with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// The verb did what it says.
    Done = 0,
    /// Something failed while it ran.
    Runtime = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The route was rolled back while something else was waited for.
    RolledBack = 10,
    /// The end came before the gates could decide.
    Inconclusive = 11,
    /// What was waited for did not happen in time.
    TimedOut = 12,
    /// The rollout is paused.
    Paused = 13,
    /// The command is not legal now, or what it was based on has changed.
    Precondition = 14,
    /// The admin API does not answer, or not to us.
    Unreachable = 15,
    /// The configuration cannot be used.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A reverse proxy that carries the canary: it splits traffic between a stable version
/// and a canary, judges every response, and takes the canary's traffic away in the
/// request cycle in which a gate fails.
#[derive(Debug, Parser)]
#[command(name = "haldane", version, after_help = EXIT_CODES)]
struct Args {
    /// File with the bearer token of the admin API: for `run` the one to ask for
    #[arg(long, global = true, env = "HALDANE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 runtime error, 2 usage, 10 rolled back, \
    11 inconclusive at the end, 12 timed out waiting, 13 paused, 14 precondition failed, \
    15 admin API unreachable or unauthorised, 78 configuration error.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Be the proxy, in the foreground
    Run(run::Args),
    /// Say whether a configuration is valid, and everything that is wrong with it
    Check(check::Args),
}

/// Runs the verb that the command line names.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // The same for a closed output as for any other: there is nobody to tell.
            drop(error.print());
            let usage = error.use_stderr();
            return if usage { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let token_file = args.token_file.as_deref();
    match args.verb {
        Verb::Check(args) => check::check(&args, token_file),
        Verb::Run(args) => run::run(&args, token_file),
    }
    .into()
}
