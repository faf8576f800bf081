//! The verbs, one line each, and their exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hyper::Method;

mod check;
mod client;
mod command;
mod completions;
mod demo;
mod duration;
mod explain;
mod gates;
mod happened;
mod output;
mod plan;
mod preflight;
mod reach;
pub(crate) mod replay;
mod report;
mod run;
mod schema;
mod settings;
mod status;
mod tap;
mod traffic;
mod view;
mod watch;

use client::{Client, DEFAULT_ADMIN, Failure};
use output::complain;

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
    /// The admin API of the haldane that is meant
    #[arg(long, global = true, env = "HALDANE_ADMIN", value_name = "URL", default_value = DEFAULT_ADMIN)]
    admin: String,
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
    /// See a bad canary being rolled back: versions, load and proxy in one process
    Demo(demo::Args),
    /// Say whether a rollout could begin: versions are there, and the gates trip
    Preflight(preflight::Args),
    /// Say what the gates will be able to tell under a given traffic, and when
    Plan(plan::Args),
    /// Say what the gates would have decided about recorded requests
    Replay(replay::Args),
    /// Print what a configuration may contain, as JSON Schema for editors
    Schema,
    /// Print what a shell needs to complete command lines
    Completions(completions::Args),
    #[command(flatten)]
    Ask(Question),
}

/// The verbs that talk to a running haldane.
#[derive(Debug, Subcommand)]
enum Question {
    /// Show where routes stand and what can be done, or wait for a state
    Status(status::Args),
    /// See what happens, as it happens: a screen on a terminal, lines elsewhere
    Watch(watch::Args),
    /// Say what happened in a rollout, for a pull request or a post-mortem; ends with 0
    /// however it went
    Report(report::Args),
    /// Set the canary's share
    Weight(command::WeightArgs),
    /// Go to the next step, or to all traffic, whatever the gates say
    Promote(command::PromoteArgs),
    /// Stop the rollout where it is
    Pause(command::PlainArgs),
    /// Let a paused rollout go on
    Resume(command::PlainArgs),
    /// Take all traffic from the canary
    Rollback(command::RollbackArgs),
    /// Start again after a rollback, as a new generation
    Retry(command::PlainArgs),
    /// Let no rollout start or advance, on any route
    Freeze(command::FreezeArgs),
    /// Let rollouts start and advance again
    Unfreeze(command::FreezeArgs),
    /// Say which version a client gets, why, and from which weight on
    Explain(explain::Args),
    /// Show the last requests that the versions have failed
    Tap(tap::Args),
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
    match execute(&args) {
        Exit::Done if output::is_lost() => Exit::Runtime,
        exit => exit,
    }
    .into()
}

fn execute(args: &Args) -> Exit {
    let token_file = args.token_file.as_deref();
    match &args.verb {
        Verb::Ask(question) => run_async(ask(question, args)),
        Verb::Check(check) => run_async(async {
            match check::check(check, token_file).await {
                Exit::Done if check.asks_running() => {
                    let client = Client::new(&args.admin, token_file)?;
                    check::against_running(check, &client).await
                }
                exit => Ok(exit),
            }
        }),
        Verb::Completions(args) => completions::completions(args),
        Verb::Demo(args) => run_async(async { Ok(demo::demo(args).await) }),
        Verb::Plan(args) => plan::plan(args),
        Verb::Preflight(args) => run_async(preflight::preflight(args, token_file)),
        Verb::Replay(args) => replay::replay(args),
        Verb::Run(args) => run::run(args, token_file),
        Verb::Schema => schema::schema(),
    }
}

/// Runs a verb that waits for answers.
fn run_async(verb: impl Future<Output = Result<Exit, Failure>>) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime
            .block_on(verb)
            .unwrap_or_else(|failure| failure.report()),
        Err(error) => {
            complain(error);
            Exit::Runtime
        }
    }
}

async fn ask(question: &Question, args: &Args) -> Result<Exit, Failure> {
    let client = Client::new(&args.admin, args.token_file.as_deref())?;
    match question {
        Question::Explain(args) => explain::explain(args, &client).await,
        Question::Freeze(args) => command::freeze(Method::PUT, args, &client).await,
        Question::Pause(args) => command::plain("pause", args, &client).await,
        Question::Promote(args) => command::promote(args, &client).await,
        Question::Report(args) => report::report(args, &client).await,
        Question::Resume(args) => command::plain("resume", args, &client).await,
        Question::Retry(args) => command::plain("retry", args, &client).await,
        Question::Rollback(args) => command::rollback(args, &client).await,
        Question::Status(status) => status::status(status, &client, &args.admin_flags()).await,
        Question::Tap(args) => tap::tap(args, &client).await,
        Question::Unfreeze(args) => command::freeze(Method::DELETE, args, &client).await,
        Question::Watch(args) => watch::watch(args, &client).await,
        Question::Weight(args) => command::weight(args, &client).await,
    }
}

impl Args {
    /// What another call must carry to reach the same haldane, with a space in front.
    fn admin_flags(&self) -> String {
        let mut flags = String::new();
        if self.admin != DEFAULT_ADMIN {
            flags.push_str(" --admin ");
            flags.push_str(&self.admin);
        }
        if let Some(file) = &self.token_file {
            flags.push_str(" --token-file ");
            flags.push_str(&file.display().to_string());
        }
        flags
    }
}
