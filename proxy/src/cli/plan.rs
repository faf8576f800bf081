//! `haldane plan`: what the gates will be able to say under a given traffic.

use std::path::PathBuf;
use std::str::FromStr;

use haldane_decide::forecast::{Step, forecast};
use haldane_decide::weight::Weight;

use super::Exit;
use super::gates::Gates;
use super::output::{Form, complain, say};
use super::traffic::TrafficFlags;

mod json;
mod text;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = ASSUMED)]
pub(crate) struct Args {
    /// The configuration with the gates [default: the gates of a route that names none]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Whose gates; may be left out if there is only one
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Weights one after the other, such as "1% for 10m,5%,25%" [default: the steps of the plan, or the configured weight]
    #[arg(long, value_name = "STEPS", value_delimiter = ',')]
    steps: Vec<StepFlag>,
    #[command(flatten)]
    traffic: TrafficFlags,
    #[command(flatten)]
    form: Form,
}

const ASSUMED: &str = "Assumed are requests that fail independently and each of another user, \
    latencies with a log-normal distribution of the given p50 and p99, and a fault that is there \
    from the beginning of its step. Times until a rollback are means, times until a pass are \
    medians; both agree with simulations within a factor of one and a half.";

/// Without a configuration there is no weight.
const DEFAULT_WEIGHT: &str = "5%";

/// A step as it is written: `5%` or `5% for 20m`.
#[derive(Clone, Copy, Debug)]
struct StepFlag(Step);

impl FromStr for StepFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (share, hold) = match text.split_once(" for ") {
            Some((share, hold)) => (share, Some(super::duration::parse(hold.trim())?)),
            None => (text, None),
        };
        let weight: Weight = share.trim().parse().map_err(|error| format!("{error}"))?;
        if weight.is_zero() {
            return Err("a step gives the canary some traffic".to_owned());
        }
        Ok(Self(Step {
            hold,
            ..Step::at(weight)
        }))
    }
}

pub(crate) fn plan(args: &Args) -> Exit {
    let gates = match Gates::load(args.config.as_deref(), args.route.as_deref()) {
        Ok(gates) => gates,
        Err(unusable) => return unusable.report(),
    };
    let traffic = match args.traffic.traffic() {
        Ok(traffic) => traffic,
        Err(wrong) => {
            complain(wrong);
            return Exit::Usage;
        }
    };
    let mut steps: Vec<Step> = args.steps.iter().map(|step| step.0).collect();
    if steps.is_empty() {
        steps = Step::of_plan(&gates.plan, &traffic);
    }
    if steps.is_empty() {
        let weight = gates.weight.or_else(|| DEFAULT_WEIGHT.parse().ok());
        let Some(weight) = weight.filter(|weight| !weight.is_zero()) else {
            complain("the configured weight is 0%; name the steps to look at, as in --steps 1%,5%");
            return Exit::Usage;
        };
        steps.push(Step::at(weight));
    }
    let forecast = forecast(&gates.gates, &gates.promise, &steps, &traffic);
    if args.form.is_json() {
        say(json::plan(&forecast, &gates.promise, &traffic));
    } else {
        say(text::plan(&forecast, &traffic));
    }
    Exit::Done
}
