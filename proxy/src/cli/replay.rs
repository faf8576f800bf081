//! `haldane replay`: what the gates would have decided about recorded requests.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use haldane_decide::gate::spec::Promise;
use haldane_decide::release::ReleaseSpec;
use haldane_decide::weight::Weight;

use super::Exit;
use super::gates::{Gates, Unusable};
use super::output::{Form, complain};

mod aa;
mod csv;
mod json;
mod judge;
mod outline;
pub(crate) mod rows;
mod say;

use judge::Begin;
use outline::Outline;
use rows::{BadRow, Reading, Rows};

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = FORMATS)]
pub(crate) struct Args {
    /// The recorded requests in the order in which they ended; - is stdin
    file: PathBuf,
    /// The configuration with the gates [default: the gates of a route that names none]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Whose gates, and whose requests; may be left out if there is only one
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// The canary's share where rows do not say it, such as 5%
    #[arg(long, value_name = "SHARE")]
    weight: Option<Weight>,
    /// Give the requests to both versions at random, and count the false rollbacks
    #[arg(long)]
    aa: bool,
    /// How many times
    #[arg(long, value_name = "N", requires = "aa", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rollouts: u32,
    #[command(flatten)]
    form: Form,
}

const FORMATS: &str = "FILE is CSV with the header \
    timestamp_ms,role,status,latency_us,key,weight (columns in any order, others are ignored), \
    JSON lines with the same names, or haldane's access log in JSON with every request in it \
    (sample = 1). timestamp_ms is when the response ended; latency_us how long it took; status 0 \
    is no response; an empty key is not sticky; weight is the canary's share from 0 to 1 when the \
    request started, 0 before the rollout.\n\n\
    Ends with 0 if the canary passed, 10 if it was rolled back, 11 if it is inconclusive. With \
    --aa: 0 unless there were significantly more false rollbacks than promised.";

/// Why there is no result.
#[derive(Debug)]
enum Failure {
    Gates(Unusable),
    Open(PathBuf, io::Error),
    Row(PathBuf, BadRow),
}

impl Failure {
    fn report(&self) -> Exit {
        match self {
            Self::Gates(unusable) => return unusable.report(),
            Self::Open(file, error) => complain(format_args!("{}: {error}", file.display())),
            Self::Row(file, bad) => complain(format_args!("{}:{bad}", name(file))),
        }
        Exit::Runtime
    }
}

pub(crate) fn replay(args: &Args) -> Exit {
    run(args).unwrap_or_else(|failure| failure.report())
}

fn run(args: &Args) -> Result<Exit, Failure> {
    let gates = Gates::load(args.config.as_deref(), args.route.as_deref());
    let gates = gates.map_err(Failure::Gates)?;
    let bad = |bad| Failure::Row(args.file.clone(), bad);
    let reading = Reading {
        weight: args.weight,
        route: args.route.clone(),
    };
    let (begin, promise) = if is_regular(&args.file) {
        let mut rows = Rows::open(open(&args.file)?, reading.clone()).map_err(bad)?;
        let outline = Outline::of(&mut rows, args.weight.is_some()).map_err(bad)?;
        (Begin::At(outline.start), outline.promise(gates.promise))
    } else {
        (Begin::Seen, gates.promise)
    };
    let spec = ReleaseSpec {
        weight: Weight::ZERO,
        gates: gates.gates,
        promise,
        ..ReleaseSpec::default()
    };
    let mut rows = Rows::open(open(&args.file)?, reading).map_err(bad)?;
    if args.aa {
        let count = aa::count(&mut rows, &spec, begin, args.rollouts).map_err(bad)?;
        say::rollouts(&count, args.form);
        return Ok(if count.is_too_many() {
            Exit::Runtime
        } else {
            Exit::Done
        });
    }
    let judged = judge::judge(&mut rows, &spec, begin).map_err(bad)?;
    say::judged(&judged, args.form);
    Ok(judged.verdict.exit())
}

fn is_regular(file: &Path) -> bool {
    !is_stdin(file) && std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file())
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// What a file is called in a message.
fn name(file: &Path) -> String {
    if is_stdin(file) {
        "stdin".to_owned()
    } else {
        file.display().to_string()
    }
}

fn open(file: &Path) -> Result<Box<dyn BufRead>, Failure> {
    const BUFFER_BYTES: usize = 1 << 16;
    if is_stdin(file) {
        return Ok(Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            io::stdin(),
        )));
    }
    let opened = File::open(file).map_err(|error| Failure::Open(file.to_owned(), error))?;
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, opened)))
}

/// Whether nothing is planned about the length of a rollout.
fn is_unplanned(promise: &Promise) -> bool {
    let default = Promise::default();
    promise.horizon == default.horizon && promise.steps == default.steps
}
