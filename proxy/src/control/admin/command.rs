//! Commands to a rollout: preconditions and replies.
//!
//! What lowers the risk is unconditional. What raises it honours `If-Match`, so that
//! nobody raises the weight of a release that is no longer what they have seen.

use std::str::FromStr;
use std::time::Duration;

use haldane_decide::rollout::{Command, Order, PhaseName, Promotion};
use haldane_decide::weight::Weight;
use hyper::StatusCode;
use hyper::header::IF_MATCH;
use hyper::http::request::Parts;
use serde::Deserialize;

use super::body::{Who, parse};
use super::problem::{Problem, quoted};
use super::reply::{Reply, json};
use super::view;
use crate::live::{Live, Route};

/// The reply to a command waits this long for its result to be safe on disk.
const SAFE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WeightBody {
    weight: String,
    actor: Option<String>,
    reason: Option<String>,
}

/// The share that a body asks for.
pub(super) fn weight(body: &[u8]) -> Result<(Weight, Who), Problem> {
    let WeightBody {
        weight,
        actor,
        reason,
    } = parse(body)?;
    let who = Who { actor, reason }.checked()?;
    let weight = Weight::from_str(&weight).map_err(|invalid| {
        let detail = format!("\"{}\" is no share", quoted(&weight));
        Problem::bad(
            "weight",
            "the weight cannot be used",
            detail,
            invalid.to_string(),
        )
    })?;
    Ok((weight, who))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PromoteBody {
    /// To all traffic, not only to the next step.
    #[serde(default)]
    full: bool,
    /// The number of the step that is to be left: a repeated command goes no further.
    step: Option<u32>,
    actor: Option<String>,
    reason: Option<String>,
}

/// How far a body asks to go.
pub(super) fn promotion(body: &[u8]) -> Result<(Promotion, Who), Problem> {
    let PromoteBody {
        full,
        step,
        actor,
        reason,
    } = if body.is_empty() {
        PromoteBody::default()
    } else {
        parse(body)?
    };
    let who = Who { actor, reason }.checked()?;
    let promotion = if full {
        Promotion::Full
    } else {
        Promotion::Next { from: step }
    };
    Ok((promotion, who))
}

/// Gives a command to one route.
pub(super) async fn give(
    route: &Route,
    command: Command,
    who: Who,
    head: &Parts,
    live: &Live,
) -> Result<Reply, Problem> {
    let changed = carry_out(route, command, who, head, live)?;
    let mut view = view::changed_route(route, changed, live);
    // Also where nothing changed: what is there already may not be safe yet.
    view.persisted(make_safe(live).await);
    view.into_reply()
}

/// True if anything changed.
fn carry_out(
    route: &Route,
    command: Command,
    who: Who,
    head: &Parts,
    live: &Live,
) -> Result<bool, Problem> {
    if route.config.canary.is_none() {
        return match command {
            Command::Pause | Command::Rollback | Command::SetWeight(Weight::ZERO) => Ok(false),
            Command::Promote(_) | Command::Resume | Command::Retry | Command::SetWeight(_) => {
                Err(Problem::conflict(
                    "the route has no canary",
                    "give the route a canary in the configuration",
                ))
            }
        };
    }
    if raises(route, command, live) {
        check_if_match(route, head, live)?;
    }
    let order = Order {
        command,
        actor: who.actor,
        reason: who.reason,
    };
    Ok(route.command(order, live)?)
}

/// Waits until the result of a command is on disk; whether it is. Where state is kept,
/// one that may be lost is worth a line of its own.
pub(super) async fn make_safe(live: &Live) -> bool {
    let ticket = live.keeping.hand_in(live);
    let safe = live.keeping.is_safe(ticket, SAFE_TIMEOUT).await;
    if !safe && live.keeping.is_wanted() {
        tracing::error!("a command was carried out, but its result is not safe on disk yet");
    }
    safe
}

/// Takes every canary's traffic away.
pub(super) async fn rollback_all(who: &Who, live: &Live) -> Result<Reply, Problem> {
    let changed = live.rollback_all_by(who.actor.as_deref(), who.reason.as_deref());
    let mut view = view::changed_routes(changed, live);
    view.persisted(make_safe(live).await);
    json(&view)
}

fn raises(route: &Route, command: Command, live: &Live) -> bool {
    match command {
        Command::Retry => route.status(live).phase == PhaseName::RolledBack,
        Command::Pause | Command::Rollback => false,
        Command::Promote(_) | Command::Resume => true,
        Command::SetWeight(weight) => weight > route.setting().weight,
    }
}

/// RFC 9110 §13.1.1. Only a gate can act between this and the command, and what it
/// does makes the command illegal.
fn check_if_match(route: &Route, head: &Parts, live: &Live) -> Result<(), Problem> {
    let current = view::entity_tag(route, live);
    let mut conditions = head.headers.get_all(IF_MATCH).iter().peekable();
    if conditions.peek().is_none() {
        return Ok(());
    }
    let matches = conditions
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| matches!(tag.trim(), "*") || tag.trim() == current);
    if matches {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "changed",
        "the release has changed",
        format!("its entity tag is {current}"),
        "read the route again and decide on what it says now",
    ))
}
