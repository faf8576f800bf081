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
mod grpc;
mod h2;
mod message;
mod probe;
mod process;
mod profile;
mod proxies;
mod relay;
mod report;
mod simulate;
mod soak;
mod spin;
mod stats;
mod summary;
mod tls;
mod upstream;
mod verbs;
mod watch;
mod websocket;
mod wire;

use std::{io::Write, process::ExitCode};

use clap::Parser;

use crate::{args::Arguments, failure::Failure};

fn main() -> ExitCode {
    let outcome = verbs::run(&Arguments::parse().verb);
    match outcome {
        Ok(answer) => match std::io::stdout().write_all(answer.text.as_bytes()) {
            Ok(()) => answer
                .failure
                .map_or(ExitCode::SUCCESS, |failure| failed(&failure)),
            Err(_) => ExitCode::FAILURE,
        },
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> ExitCode {
    eprintln!("haldane-bench: {failure}");
    ExitCode::FAILURE
}
