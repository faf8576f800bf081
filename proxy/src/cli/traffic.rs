//! What traffic a forecast is for, on the command line.

use std::time::Duration;

use haldane_decide::forecast::Traffic;
use haldane_decide::weight::Weight;

use super::duration;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "The traffic")]
pub(crate) struct TrafficFlags {
    /// Requests per second of both versions together
    #[arg(long, value_name = "N", default_value = "1000", value_parser = per_second)]
    rps: f64,
    /// The share of stable's requests that fail
    #[arg(long, value_name = "SHARE", default_value = "0.1%", value_parser = share)]
    error_rate: f64,
    /// What half of the responses take at most [default: what goes with --p99]
    #[arg(long, value_name = "TIME", value_parser = time)]
    p50: Option<Duration>,
    /// What 99 % of the responses take at most
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = time)]
    p99: Duration,
}

impl TrafficFlags {
    /// The traffic that they name, unless they contradict each other.
    pub(crate) fn traffic(&self) -> Result<Traffic, String> {
        let median = self.p50.unwrap_or_else(|| Traffic::median_for(self.p99));
        if median > self.p99 {
            return Err("--p50 is more than --p99".to_owned());
        }
        Ok(Traffic {
            requests_per_second: self.rps,
            failure_rate: self.error_rate,
            median,
            p99: self.p99,
        })
    }
}

/// A rate that there can be.
pub(crate) fn per_second(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().unwrap_or(f64::NAN);
    if (1e-4..=1e8).contains(&rate) {
        Ok(rate)
    } else {
        Err("requests per second are a number from 0.0001 to 100000000".to_owned())
    }
}

/// A share of requests, such as 0.1%.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share: Weight = text.parse().map_err(|error| format!("{error}"))?;
    Ok(share.as_ratio())
}

fn time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text)?;
    if time.is_zero() {
        return Err("no response takes no time".to_owned());
    }
    Ok(time)
}
