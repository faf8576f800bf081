//! `haldane check`: what `run` would say about a configuration.

use std::path::PathBuf;

use super::Exit;
use super::output::{complain, say};
use super::settings::{Flags, show};
use crate::tls;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration [default: haldane.toml]
    #[arg(env = "HALDANE_CONFIG")]
    file: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

pub(crate) fn check(args: &Args, token_file: Option<&std::path::Path>) -> Exit {
    let settings = match args.flags.load(args.file.as_deref(), token_file) {
        Ok(settings) => settings,
        Err(diagnostics) => {
            args.flags.explain(&diagnostics, args.file.as_deref());
            return Exit::Configuration;
        }
    };
    show(&settings.loaded.warnings);
    let config = &settings.loaded.config;
    if let Err(error) = tls::check(config) {
        complain(&error);
        return Exit::Configuration;
    }
    let names: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
    let routes = if names.len() == 1 { "route" } else { "routes" };
    say(format_args!(
        "{} is valid: {} {routes} ({})",
        settings.origin,
        names.len(),
        names.join(", ")
    ));
    Exit::Done
}
