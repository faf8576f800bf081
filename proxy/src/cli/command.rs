//! `haldane weight`, `rollback` and `retry`: commands to a running haldane.

use haldane_decide::weight::Weight;
use hyper::Method;
use serde_json::json;

use super::Exit;
use super::client::{Client, Failure, Reply};
use super::output::{Form, say};
use super::view::{RouteView, Routes, meant, path_of};

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

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RetryArgs {
    /// The route; may be left out if there is only one
    route: Option<String>,
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
        let actor = std::env::var("USER").ok().filter(|user| !user.is_empty());
        let mut body = serde_json::Map::new();
        for (key, text) in [("actor", &actor), ("reason", &self.reason)] {
            if let Some(text) = text {
                body.insert(key.to_owned(), json!(text));
            }
        }
        body.into()
    }
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

pub(crate) async fn retry(args: &RetryArgs, client: &Client) -> Result<Exit, Failure> {
    let route = meant(client, args.route.as_deref()).await?;
    let path = path_of(&route, "/retry");
    let reply = client.send(Method::POST, &path, &args.why.body()).await?;
    show(&args.why, &reply)
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
    format!(
        "route {} is {phase}, generation {}, canary has {}",
        route.route, route.generation, route.weight
    )
}
