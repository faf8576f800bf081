//! `haldane completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Exit;
use super::output::say;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose completions
    shell: Shell,
}

pub(crate) fn completions(args: &Args) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut super::Args::command(),
        "haldane",
        &mut script,
    );
    say(String::from_utf8_lossy(&script).trim_end());
    Exit::Done
}
