//! `haldane report`: what happened in a generation, for a pull request or a post-mortem.

use clap::ValueEnum;
use serde_json::Value;

use super::Exit;
use super::client::{Client, Failure};
use super::happened::Events;
use super::output::say;
use super::view::{RouteView, meant, path_of};

mod facts;
mod story;
mod text;

use facts::{Facts, Report};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The route; may be left out if there is only one
    route: Option<String>,
    /// An earlier generation: what the events tell of it
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
    /// md for people, json for programs: a contract
    #[arg(long, value_enum, default_value_t = Format::Md)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    Json,
    Md,
}

/// All requests that the canary has failed and that are still known.
const TAP: &str = "/tap?role=canary";

/// Says what happened. That it was bad is no failure of the report.
pub(crate) async fn report(args: &Args, client: &Client) -> Result<Exit, Failure> {
    let route = meant(client, args.route.as_deref()).await?;
    let reply = client.get(&path_of(&route, "")).await?;
    let status: RouteView = reply.read()?;
    let raw: Value = reply.read()?;
    let events: Events = client.get("/v1/events").await?.read()?;
    let metrics = client.get("/metrics").await?;
    let facts = Facts {
        generation: args.generation.unwrap_or(status.generation),
        gates: raw["gates"].as_array().cloned().unwrap_or_default(),
        status,
        events: events.events,
        exposure: optional(client, &path_of(&route, "/exposure")).await?,
        shielded: facts::shielded(&metrics.text(), &route),
        tap: optional(client, &path_of(&route, TAP)).await?,
    };
    let report = Report::of(facts).map_err(Failure::Request)?;
    match args.format {
        Format::Json => match serde_json::to_string(&report) {
            Ok(text) => say(text),
            Err(error) => return Err(Failure::Request(error.to_string())),
        },
        Format::Md => say(text::markdown(&report)),
    }
    Ok(Exit::Done)
}

/// A resource that not every haldane has, or shows to everybody.
async fn optional(client: &Client, path: &str) -> Result<Option<Value>, Failure> {
    match client.get(path).await {
        Ok(reply) => reply.read().map(Some),
        Err(Failure::Refused(..)) => Ok(None),
        Err(failure) => Err(failure),
    }
}
