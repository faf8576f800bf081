//! One request, start to end. **Read this first.**

use std::rc::Rc;

use haldane_decide::outcome::FailureReason;

use super::error::{ProxyError, Side};
use super::exchange::Exchange;
use super::forward::{self, Delivery, Envelope};
use super::inbound::{Inbound, wants_keep_alive};
use super::pump::Pump;
use super::reject;
use super::relay::{Ending, Relay};
use super::send::{Answer, Outbound};
use super::serve::{Next, Session};
use super::split_key::RequestFacts;
use crate::h1::body::Framing;
use crate::h1::field::{Kind, members};
use crate::h1::head::Head;
use crate::live::choice::Claim;
use crate::upstream::Upstream;

/// The life of one request. Cannot fail: an error is a response too.
pub(crate) async fn handle(session: &mut Session, head: &Head) -> Next {
    let inbound = match Inbound::check(head) {
        Ok(inbound) => inbound,
        Err(error) => return reject::respond(session, &error, None).await,
    };
    let worker = Rc::clone(&session.worker);
    let table = worker.table();
    let Some(local) = table.find(inbound.host, inbound.path()) else {
        return reject::respond(session, &ProxyError::NoRoute, Some(&inbound)).await;
    };

    let started = worker.clock.micros();
    worker.deadlines.advance(started);
    let facts = RequestFacts {
        head,
        peer: session.peer,
        trusted_proxies: &worker.trusted_proxies,
    };
    let claim = Claim::read(&local.route.config.sticky, &facts, fastrand::u64(..));
    let routed = local
        .route
        .pick(worker.id, |salt, setting| claim.role(salt, setting.weight));
    let mut exchange = Exchange::begin(&worker, local, routed, started);

    let mut response = worker.take_head();
    let outbound = Outbound {
        inbound: &inbound,
        local,
        role: routed.role,
    };
    let next = match outbound.send(session, &mut response).await {
        Ok(answer) => {
            let issued = if let Claim::Issued(draw) = claim {
                Some(draw)
            } else {
                None
            };
            deliver(session, &outbound, exchange, answer, &response, issued).await
        }
        Err(error) => {
            if let Side::Upstream(reason) = error.side() {
                exchange.fail(reason);
            }
            if let Some((status, _)) = error.answer() {
                exchange.answered_for(status);
            }
            drop(exchange);
            reject::respond(session, &error, Some(&inbound)).await
        }
    };
    worker.give_head(response);
    next
}

/// Passes a response on. The outcome is reported, and judged, before the client
/// sees what it is made of.
async fn deliver(
    session: &mut Session,
    outbound: &Outbound<'_>,
    mut exchange: Exchange,
    answer: Answer,
    response: &Head,
    issued: Option<u64>,
) -> Next {
    exchange.head(response.status);

    let Answer {
        mut connection,
        mut upload,
        framing,
    } = answer;
    let inbound = outbound.inbound;
    let delivery = Delivery::of(framing, inbound.is_http11());
    let keep_alive = inbound.keep_alive
        && delivery != Delivery::UntilClose
        && upload.is_complete()
        && !session.worker.lets_clients_go();
    let envelope = Envelope {
        delivery,
        keep_alive,
        to_http11: inbound.is_http11(),
        date: &session.worker.date(),
        version: outbound.told_version(),
        issued,
    };
    forward::write_response(session.wire.output(), response, &envelope);

    let idle_body = outbound.local.route.config.timeouts.idle_body;
    let mut relay = Relay {
        client: &mut session.wire,
        upstream: &mut connection.wire,
        watch: &session.watch,
        upload: &mut upload,
        idle_body,
    };
    let ending = relay
        .body(Pump::new(framing, delivery == Delivery::Chunked))
        .await;
    match ending {
        Ending::Complete { at_once } => {
            exchange.complete(at_once);
            let reusable = upload.is_complete()
                && framing != Framing::UntilClose
                && connection.wire.input().is_empty()
                && wants_keep_alive(response);
            if reusable {
                Upstream::give_back(
                    connection,
                    session.worker.deadlines.now(),
                    announced_idle_limit(response),
                );
            }
            drop(exchange);
            match session.flush(idle_body).await {
                Ok(()) if keep_alive => Next::Request,
                Ok(()) if upload.is_complete() => Next::Close,
                Ok(()) => Next::Linger,
                Err(_) => Next::Drop,
            }
        }
        Ending::Abandoned => Next::Drop,
        Ending::Broken | Ending::Stalled => {
            let stalled = ending == Ending::Stalled;
            exchange.fail(if stalled {
                FailureReason::Timeout
            } else {
                FailureReason::Truncated
            });
            drop(exchange);
            session.cut(delivery, idle_body).await
        }
    }
}

/// How long the upstream keeps an idle connection, if it says so: one second less
/// than `Keep-Alive: timeout=…`, so that haldane closes first.
fn announced_idle_limit(response: &Head) -> Option<u64> {
    let seconds = response
        .values(Kind::KeepAlive)
        .flat_map(members)
        .find_map(|member| {
            let text = member.strip_prefix(b"timeout=")?;
            std::str::from_utf8(text).ok()?.parse::<u64>().ok()
        })?;
    Some(seconds.saturating_sub(1).saturating_mul(1_000_000))
}
