//! Measures haldane side by side with other proxies: arguments in, report out.

mod args;
mod case;
mod check;
mod child;
mod client;
mod clock;
mod cpus;
mod descriptors;
mod drive;
mod failure;
mod message;
mod probe;
mod process;
mod proxies;
mod relay;
mod report;
mod spin;
mod stats;
mod upstream;
mod verbs;

use std::{io::Write, process::ExitCode};

use clap::Parser;

use crate::args::Arguments;

fn main() -> ExitCode {
    let outcome = verbs::run(&Arguments::parse().verb);
    match outcome {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(failure) => {
            eprintln!("haldane-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
