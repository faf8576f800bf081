//! `haldane explain`: which version a client gets, why, and from which weight on.

use std::net::IpAddr;

use clap::ArgGroup;
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::Exit;
use super::client::{Client, Failure};
use super::output::{Form, say};
use super::view::meant;

#[derive(Clone, Debug, clap::Args)]
#[command(group = ArgGroup::new("who").required(true).multiple(true))]
pub(crate) struct Args {
    /// A split key as it stands in the header or cookie
    #[arg(group = "who", conflicts_with_all = ["header", "client"])]
    key: Option<String>,
    /// A field of the request, such as x-user-id=alice; may be repeated
    #[arg(long, group = "who", value_name = "NAME=VALUE", value_parser = field)]
    header: Vec<(String, String)>,
    /// The client's address
    #[arg(long, group = "who", value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// The path, where a rule is about one
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The route; may be left out if there is only one
    #[arg(long)]
    route: Option<String>,
    #[command(flatten)]
    form: Form,
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok((name.to_ascii_lowercase(), value.to_owned()))
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Without a role where a request without a key is split by chance.
#[derive(Debug, Deserialize)]
struct Explanation {
    role: Option<String>,
    version: Option<String>,
    why: String,
}

pub(crate) async fn explain(args: &Args, client: &Client) -> Result<Exit, Failure> {
    let route = meant(client, args.route.as_deref()).await?;
    let mut body = json!({ "route": route });
    if let Some(key) = &args.key {
        body["key"] = json!(key);
    }
    if !args.header.is_empty() {
        let headers: serde_json::Map<_, _> = args
            .header
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        body["headers"] = headers.into();
    }
    if let Some(address) = args.client {
        body["client"] = json!(address);
    }
    if let Some(path) = &args.path {
        body["path"] = json!(path);
    }
    let reply = client.send(Method::POST, "/v1/explain", &body).await?;
    if args.form.is_json() {
        say(reply.text());
        return Ok(Exit::Done);
    }
    let Explanation { role, version, why } = reply.read()?;
    match (role, version) {
        (Some(role), Some(version)) => say(format_args!("{role} ({version}): {why}")),
        (Some(role), None) => say(format_args!("{role}: {why}")),
        (None, _) => say(format_args!("either: {why}")),
    }
    Ok(Exit::Done)
}
