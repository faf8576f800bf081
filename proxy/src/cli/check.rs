//! `haldane check`: what `run` would say about a configuration.

use std::path::PathBuf;

use super::Exit;
use super::output::{complain, say};
use super::settings::{Flags, show};
use crate::origin::Refusal;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration [default: haldane.toml]
    #[arg(env = "HALDANE_CONFIG")]
    file: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

pub(crate) fn check(args: &Args, token_file: Option<&std::path::Path>) -> Exit {
    let file = args.file.as_deref();
    let origin = args.flags.origin(file, token_file);
    let loaded = match origin.candidate(None) {
        Ok(candidate) => candidate.loaded,
        Err(Refusal::Configuration(diagnostics)) => {
            args.flags.explain(&diagnostics, file);
            return Exit::Configuration;
        }
        Err(refusal) => {
            complain(&refusal);
            return Exit::Configuration;
        }
    };
    show(&loaded.warnings);
    let config = &loaded.config;
    let names: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
    let routes = if names.len() == 1 { "route" } else { "routes" };
    say(format_args!(
        "{} is valid: {} {routes} ({})",
        origin.name(),
        names.len(),
        names.join(", ")
    ));
    Exit::Done
}
