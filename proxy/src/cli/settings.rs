//! Where the configuration comes from: a file, flags, the environment.

use std::io;
use std::path::{Path, PathBuf};

use haldane_config::{Diagnostics, Loaded, Overrides};

use super::output::{Style, complain, tell};
use crate::origin::{Origin, Refusal};

/// The file that is read when nothing else is said.
pub(crate) const DEFAULT_FILE: &str = "haldane.toml";

/// Flags that replace what the file says. Without a file, `--listen` and `--stable` are enough.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Instead of the file")]
pub(crate) struct Flags {
    /// Where clients connect, such as :8080
    #[arg(long, env = "HALDANE_LISTEN", value_name = "ADDRESS")]
    listen: Option<String>,
    /// URL of the version in service
    #[arg(long, env = "HALDANE_STABLE", value_name = "URL")]
    stable: Option<String>,
    /// URL of the version under test
    #[arg(long, env = "HALDANE_CANARY", value_name = "URL")]
    canary: Option<String>,
    /// The canary's share, such as 5%
    #[arg(long, env = "HALDANE_WEIGHT", value_name = "SHARE")]
    weight: Option<String>,
    /// Where the admin API answers
    #[arg(long, env = "HALDANE_ADMIN_LISTEN", value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Where metrics and health answer that can change nothing
    #[arg(long, env = "HALDANE_OPS_LISTEN", value_name = "ADDRESS")]
    ops_listen: Option<String>,
    /// Data-plane threads
    #[arg(long, env = "HALDANE_WORKERS", value_name = "N")]
    workers: Option<String>,
    /// text, json or auto
    #[arg(long, env = "HALDANE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Flags {
    /// Reads `file`; without one the default file, unless the flags name a stable version.
    pub(crate) fn origin(&self, file: Option<&Path>, token_file: Option<&Path>) -> Origin {
        let overrides = Overrides {
            listen: self.listen.clone(),
            workers: self.workers.clone(),
            stable: self.stable.clone(),
            canary: self.canary.clone(),
            weight: self.weight.clone(),
            admin: self.admin_listen.clone(),
            token_file: token_file.map(|path| path.display().to_string()),
            ops: self.ops_listen.clone(),
            log_format: self.log_format.clone(),
        };
        let file = match file {
            Some(file) => Some(file.to_owned()),
            None if self.stable.is_some() => None,
            None => Some(PathBuf::from(DEFAULT_FILE)),
        };
        Origin { file, overrides }
    }

    /// The configuration that [`Self::origin`] reads, whose warnings are shown; `None` if it
    /// cannot be used, which was said.
    pub(crate) fn loaded(&self, file: Option<&Path>, token_file: Option<&Path>) -> Option<Loaded> {
        match self.origin(file, token_file).candidate(None) {
            Ok(candidate) => {
                show(&candidate.loaded.warnings);
                return Some(candidate.loaded);
            }
            Err(Refusal::Configuration(diagnostics)) => self.explain(&diagnostics, file),
            Err(refusal) => complain(&refusal),
        }
        None
    }

    /// Shows why a configuration cannot be used.
    pub(crate) fn explain(&self, diagnostics: &Diagnostics, file: Option<&Path>) {
        show(diagnostics);
        if file.is_none() && self.stable.is_none() && !Path::new(DEFAULT_FILE).exists() {
            tell("\nname a file, or give at least --listen and --stable");
        }
    }
}

/// Shows diagnostics with line and caret on stderr.
pub(crate) fn show(diagnostics: &Diagnostics) {
    if !diagnostics.is_empty() {
        tell(diagnostics.render(Style::of(&io::stderr()).is_colored()));
    }
}
