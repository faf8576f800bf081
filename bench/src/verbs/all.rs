//! `all`: every comparison there is, with where and when it was made, in Markdown.

use std::{fmt::Write, fs, path::Path, process::Command, time::Duration};

use clap::ValueEnum;

use super::{Answer, compare, latency, memory, scale, start};
use crate::{
    args::{All, Common, Compare, Latency, Memory, Scale, Start},
    case::Kind,
    child::own_program,
    clock,
    failure::Failure,
    proxies::{Proxy, on_path},
    report::Report,
    summary,
};

/// Runs one verb after the other.
pub(super) fn run(arguments: &All) -> Result<Answer, Failure> {
    let mut text = heading(arguments)?;
    let compared = compare::run(&comparison(arguments, 1))?;
    let latency = latency::run(&Latency {
        rate: RATE,
        seconds: length(arguments, 0.25),
        rounds: rounds(arguments, 150),
        common: common(arguments, 1),
    })?;
    let memory = memory::run(&Memory {
        connections: vec![1_000, 10_000],
        common: common(arguments, 1),
    })?;
    let start = start::run(&Start {
        rounds: rounds(arguments, 9),
        common: common(arguments, 1),
    })?;
    let two = compare::run(&comparison(arguments, 2))?;
    let scaled = scale::run(&Scale {
        only: Vec::new(),
        rounds: rounds(arguments, 5),
        seconds: length(arguments, 1.0),
        common: common(arguments, 1),
    })?;
    let kinds = Kind::value_variants();
    let absolutes = summary::absolutes(&latency.results, &memory.results, &start.results);
    let parts = [
        summary::ratios(kinds, &compared.results),
        format!("At {RATE} requests a second:\n\n{absolutes}"),
        format!(
            "With two workers:\n\n{}",
            summary::ratios(kinds, &two.results)
        ),
    ];
    for part in parts
        .into_iter()
        .chain(scaled.tables.iter().map(summary::table))
    {
        let _infallible = write!(text, "\n{part}");
    }
    text.push('\n');
    for report in [&compared, &latency, &memory, &start, &two, &scaled] {
        notes(report, &mut text);
    }
    Ok(Answer {
        text,
        failure: None,
    })
}

fn comparison(arguments: &All, workers: u16) -> Compare {
    Compare {
        rounds: rounds(arguments, 9),
        seconds: length(arguments, 0.75),
        cases: Vec::new(),
        common: common(arguments, workers),
    }
}

fn common(arguments: &All, workers: u16) -> Common {
    Common {
        proxies: Vec::new(),
        workers,
        haldane: arguments.haldane.clone(),
        envoy: arguments.envoy.clone(),
        json: false,
    }
}

fn rounds(arguments: &All, usual: u16) -> u16 {
    if arguments.quick { 1 } else { usual }
}

fn length(arguments: &All, usual_s: f64) -> Duration {
    Duration::from_secs_f64(if arguments.quick { 0.3 } else { usual_s })
}

/// Date, machine, versions: without them no number means anything.
fn heading(arguments: &All) -> Result<String, Failure> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, model)| model);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What follows is whose build it is.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    let mut text = format!("{}, {count} CPUs of {model}, Linux {kernel}", clock::date());
    let beside = own_program()?.with_file_name("haldane");
    let programs = [
        (
            Proxy::Haldane,
            arguments.haldane.clone().or(Some(beside)),
            "--version",
        ),
        (Proxy::Haproxy, on_path("haproxy"), "-v"),
        (Proxy::Nginx, on_path("nginx"), "-v"),
        (Proxy::Envoy, arguments.envoy.clone(), "--version"),
    ];
    for (proxy, program, flag) in programs {
        if let Some(version) = program.and_then(|program| version(&program, flag)) {
            let _infallible = write!(text, ", {} {version}", proxy.name());
        }
    }
    text.push('\n');
    Ok(text)
}

/// The first number with a dot in what a program says about itself.
fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    number(&String::from_utf8_lossy(&said))
}

fn number(said: &str) -> Option<String> {
    let mut words = said.split(|character: char| character.is_whitespace() || character == '/');
    let is_version =
        |word: &&str| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.');
    words.find(is_version).map(str::to_owned)
}

fn notes(report: &Report, text: &mut String) {
    for note in &report.notes {
        let _infallible = writeln!(text, "- {}: {note}", report.verb);
    }
}

/// Requests per second of the open loop.
const RATE: u32 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (said, version) in [
            ("haldane 0.1.0\n", Some("0.1.0")),
            (
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - x\n",
                Some("2.6.12-1+deb12u4"),
            ),
            ("nginx version: nginx/1.22.1\n", Some("1.22.1")),
            (
                "envoy  version: abc0/1.31.0/Clean/RELEASE/BoringSSL\n",
                Some("1.31.0"),
            ),
            ("", None),
        ] {
            assert_eq!(number(said).as_deref(), version);
        }
    }
}
