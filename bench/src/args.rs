//! The command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{case::Kind, proxies::Proxy, simulate::Part};

/// Measures haldane side by side with haproxy, nginx and a plain relay.
#[derive(Debug, Parser)]
#[command(name = "haldane-bench", version)]
pub(crate) struct Arguments {
    /// What to measure.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Everything that compares proxies, as one summary in Markdown.
    All(All),
    /// CPU time per request, in interleaved rounds, as a ratio to haproxy.
    Compare(Compare),
    /// Instructions and allocations per request below valgrind, against what was accepted.
    Guard(Guard),
    /// Latency that a proxy adds at a fixed rate, from the moment a request was due.
    Latency(Latency),
    /// Memory (PSS) with idle keep-alive connections.
    Memory(Memory),
    /// What haldane's cost depends on: routes, connections, workers, and who watches.
    Scale(Scale),
    /// False rollbacks and detection delays of gates in simulated rollouts.
    Simulate(Simulate),
    /// A mixed load while everything happens that can: nothing may fail that no fault explains.
    Soak(Soak),
    /// Time from exec to the first 200 through the proxy.
    Start(Start),
    /// Becomes another program, pinned, and ends with its parent.
    #[command(hide = true)]
    Launch(Launch),
    /// Relays connections in one thread.
    #[command(hide = true)]
    Relay {
        /// Where to listen.
        listen: SocketAddr,
        /// Where to relay to.
        upstream: SocketAddr,
    },
    /// Keeps a CPU busy.
    #[command(hide = true)]
    Spin,
}

/// What all verbs share.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// Which proxies; those named must be there [default: all that are there].
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) proxies: Vec<Proxy>,
    /// Serving threads or processes of each proxy.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    /// The haldane to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub(crate) haldane: Option<PathBuf>,
    /// The envoy to measure [default: none].
    #[arg(long, value_name = "PATH")]
    pub(crate) envoy: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `all`.
#[derive(Args, Debug)]
pub(crate) struct All {
    /// One short round of each: shows that it works, and no more.
    #[arg(long)]
    pub(crate) quick: bool,
    /// The haldane to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub(crate) haldane: Option<PathBuf>,
    /// The envoy to measure [default: none].
    #[arg(long, value_name = "PATH")]
    pub(crate) envoy: Option<PathBuf>,
}

/// Arguments of `compare`.
#[derive(Args, Debug)]
pub(crate) struct Compare {
    /// Rounds; in each of them every proxy has its turn.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rounds: u16,
    /// Length of a turn.
    #[arg(long, default_value = "0.75", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Which loads [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) cases: Vec<Kind>,
    /// Shared arguments.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `guard`.
#[derive(Args, Debug)]
pub(crate) struct Guard {
    /// Which loads [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) cases: Vec<Kind>,
    /// Take what is counted now as what is right.
    #[arg(long)]
    pub(crate) accept: bool,
    /// Where accepted counts are kept.
    #[arg(long, default_value = "bench/guard.json")]
    pub(crate) file: PathBuf,
    /// A directory to keep the profiles in, for `callgrind_annotate`: `CASE-REQUESTS/profile-THREAD`.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) keep: Option<PathBuf>,
    /// Shared arguments.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `latency`.
#[derive(Args, Debug)]
pub(crate) struct Latency {
    /// Requests per second.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) rate: u32,
    /// Length of a turn; short, so that few of them are disturbed.
    #[arg(long, default_value = "0.25", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Rounds; in each of them every proxy has its turn.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rounds: u16,
    /// Shared arguments.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `memory`.
#[derive(Args, Debug)]
pub(crate) struct Memory {
    /// How many idle connections, one measurement for each number.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000",
          value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) connections: Vec<u32>,
    /// Shared arguments.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `scale`.
#[derive(Args, Debug)]
pub(crate) struct Scale {
    /// What to vary [default: everything].
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Dimension>,
    /// Rounds; in each of them everything that is compared has its turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rounds: u16,
    /// Length of a turn.
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Shared arguments.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What `scale` varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dimension {
    /// From 1 to 10 000, busy and idle.
    Connections,
    /// From 1 to 1 000.
    Routes,
    /// A scrape every 100 ms and ten streams of events, or nobody.
    Watchers,
    /// One and two.
    Workers,
}

/// Arguments of `simulate`.
#[derive(Args, Debug)]
pub(crate) struct Simulate {
    /// Rollouts of each scenario [default: 2000, or 100 with --quick].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) rollouts: Option<u64>,
    /// The same seed gives the same figures, whatever the number of threads.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Which parts [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// Few rollouts, and short ones: shows that it works, and gross errors.
    #[arg(long)]
    pub(crate) quick: bool,
    /// How many rollouts are simulated side by side.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `soak`.
#[derive(Args, Debug)]
pub(crate) struct Soak {
    /// About how long; everything happens at least once.
    #[arg(long, default_value = "10", value_parser = minutes)]
    pub(crate) minutes: f64,
    /// The haldane to load [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub(crate) haldane: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `start`.
#[derive(Args, Debug)]
pub(crate) struct Start {
    /// How often each proxy is started.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rounds: u16,
    /// Shared arguments.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `launch`.
#[derive(Args, Debug)]
pub(crate) struct Launch {
    /// Where it may run.
    #[arg(long = "cpu")]
    pub(crate) cpus: Vec<usize>,
    /// The file that gets the time of the start.
    #[arg(long)]
    pub(crate) stamp: PathBuf,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text
        .parse()
        .map_err(|_| "not a number of minutes".to_owned())?;
    if !(0.01..=600.0).contains(&minutes) {
        return Err("between 0.01 and 600 minutes are possible".to_owned());
    }
    Ok(minutes)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    if !(0.01..=600.0).contains(&seconds) {
        return Err("between 0.01 and 600 seconds are possible".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "x", "-1", "0", "nan", "inf", "601", "1e300"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
