//! Commands to a running haldane: `weight`, `promote`, `pause`, `rollback` and the others.

use haldane_decide::weight::Weight;
use hyper::Method;
use serde_json::json;

use super::Exit;
use super::client::{Client, Failure, Reply};
use super::output::{Form, say};
use super::view::{FreezeView, RouteView, Routes, meant, path_of};

#[derive(Clone, Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct WeightArgs {
    /// The route; may be left out if there is only one
    route: Option<String>,
    /// The canary's share, such as 12.5%
    #[arg(required = true)]
    share: Weight,
    #[command(flatten)]
    why: Why,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RollbackArgs {
    /// The route; may be left out if there is only one
    #[arg(conflicts_with = "all")]
    route: Option<String>,
    /// Every route that has a canary
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    why: Why,
}

/// A command that says nothing but who gives it and why.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PlainArgs {
    /// The route; may be left out if there is only one
    route: Option<String>,
    #[command(flatten)]
    why: Why,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PromoteArgs {
    /// The route; may be left out if there is only one
    route: Option<String>,
    /// To all traffic at once, not only to the next step
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    why: Why,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FreezeArgs {
    #[command(flatten)]
    why: Why,
}

#[derive(Clone, Debug, clap::Args)]
struct Why {
    /// Kept with the event
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    form: Form,
}

impl Why {
    fn body(&self) -> serde_json::Value {
        who_and_why(self.reason.as_deref())
    }
}

/// What a command carries beside what it asks for.
pub(crate) fn who_and_why(reason: Option<&str>) -> serde_json::Value {
    let actor = std::env::var("USER").ok().filter(|user| !user.is_empty());
    let mut body = serde_json::Map::new();
    for (key, text) in [("actor", actor.as_deref()), ("reason", reason)] {
        if let Some(text) = text {
            body.insert(key.to_owned(), json!(text));
        }
    }
    body.into()
}

pub(crate) async fn weight(args: &WeightArgs, client: &Client) -> Result<Exit, Failure> {
    let route = meant(client, args.route.as_deref()).await?;
    let mut body = args.why.body();
    body["weight"] = json!(args.share.to_string());
    let path = path_of(&route, "/weight");
    let reply = client.send(Method::PUT, &path, &body).await?;
    show(&args.why, &reply)
}

pub(crate) async fn rollback(args: &RollbackArgs, client: &Client) -> Result<Exit, Failure> {
    let body = args.why.body();
    if args.all {
        let reply = client.send(Method::POST, "/v1/rollback", &body).await?;
        if args.why.form.is_json() {
            say(reply.text());
            return Ok(Exit::Done);
        }
        let all: Routes = reply.read()?;
        if !all.changed {
            say("nothing changed");
        }
        for route in &all.routes {
            say(sentence(route));
        }
        return Ok(Exit::Done);
    }
    let route = meant(client, args.route.as_deref()).await?;
    let path = path_of(&route, "/rollback");
    let reply = client.send(Method::POST, &path, &body).await?;
    show(&args.why, &reply)
}

/// `pause`, `resume` or `retry`, by its name in the API.
pub(crate) async fn plain(
    command: &str,
    args: &PlainArgs,
    client: &Client,
) -> Result<Exit, Failure> {
    let route = meant(client, args.route.as_deref()).await?;
    let path = path_of(&route, &format!("/{command}"));
    let reply = client.send(Method::POST, &path, &args.why.body()).await?;
    show(&args.why, &reply)
}

pub(crate) async fn promote(args: &PromoteArgs, client: &Client) -> Result<Exit, Failure> {
    let route = meant(client, args.route.as_deref()).await?;
    let mut body = args.why.body();
    if args.full {
        body["full"] = json!(true);
    } else {
        // Sent again after an answer that got lost, it goes no step further.
        let now: RouteView = client.get(&path_of(&route, "")).await?.read()?;
        body["step"] = json!(now.rollout.map_or(0, |rollout| rollout.step));
    }
    let path = path_of(&route, "/promote");
    let reply = client.send(Method::POST, &path, &body).await?;
    show(&args.why, &reply)
}

/// Freezes with `PUT`, unfreezes with `DELETE`.
pub(crate) async fn freeze(
    method: Method,
    args: &FreezeArgs,
    client: &Client,
) -> Result<Exit, Failure> {
    let reply = client.send(method, "/v1/freeze", &args.why.body()).await?;
    if args.why.form.is_json() {
        say(reply.text());
        return Ok(Exit::Done);
    }
    let freeze: FreezeView = reply.read()?;
    let unchanged = if freeze.changed {
        ""
    } else {
        "nothing changed: "
    };
    let state = if freeze.frozen.is_some() {
        "frozen: no rollout starts or advances"
    } else {
        "not frozen: rollouts start and advance"
    };
    say(format_args!("{unchanged}{state}"));
    Ok(Exit::Done)
}

fn show(why: &Why, reply: &Reply) -> Result<Exit, Failure> {
    if why.form.is_json() {
        say(reply.text());
        return Ok(Exit::Done);
    }
    let route: RouteView = reply.read()?;
    let unchanged = if route.changed {
        ""
    } else {
        "nothing changed: "
    };
    say(format_args!("{unchanged}{}", sentence(&route)));
    Ok(Exit::Done)
}

fn sentence(route: &RouteView) -> String {
    let phase = route.phase.replace('_', " ");
    let step = match &route.rollout {
        Some(rollout) if rollout.step > 0 && route.phase != "rolled_back" => {
            format!(" at step {} of {}", rollout.step, rollout.steps.len())
        }
        Some(_) | None => String::new(),
    };
    format!(
        "route {} is {phase}{step}, generation {}, canary has {}",
        route.route, route.generation, route.weight
    )
}
