//! One request, start to end. **Read this first.**

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use haldane_decide::outcome::FailureReason;
use haldane_decide::role::Role;

use super::error::{ProxyError, Side};
use super::exchange::{Call, Exchange};
use super::forward::{Delivery, Envelope};
use super::inbound::{Inbound, wants_keep_alive};
use super::notes::Line;
use super::pump::{Pump, Tail};
use super::relay::{Ending, Relay, Upload};
use super::send::{Answer, Outbound, Processed, Sent, Unanswered};
use super::serve::{Next, Session};
use super::shield::{self, Shield};
use super::split_key::{RequestFacts, request_id};
use super::{eviction, grpc, reject, tunnel};
use crate::h1::body::Framing;
use crate::h1::field::{Kind, members};
use crate::h1::head::Head;
use crate::live::choice::{Choice, Claim};
use crate::live::evidence::Subject;
use crate::live::shard::FAILURE_STATUS;
use crate::peer::Peer;
use crate::upstream::Upstream;
use crate::worker::LocalRoute;

/// The life of one request. Cannot fail: an error is a response too.
pub(crate) async fn handle(session: &mut Session, head: &Head) -> Next {
    let line = Line::open(session, Some(head));
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
    let settings = worker.settings();
    let facts = RequestFacts {
        head,
        path: inbound.path(),
        peer: session.origin.peer,
        trusted_proxies: &settings.trusted_proxies,
    };
    let choice = Choice::read(&local.route.config, &facts, fastrand::u64(..));
    let subject = pick(local, worker.id, &choice, head);
    let places = (&worker, local);
    let exchange = Exchange::begin(places, &inbound, subject, started, &session.notes);
    if inbound.framing == Framing::Empty {
        exchange.await_head(started);
    }
    session.notes.note(|facts| {
        let salt = local.route.salt(subject.routed.generation);
        facts.key = choice.claim.lasting_key(salt);
        facts.rule = choice.rule_name(subject.routed.weight);
        facts.forced = choice.claim == Claim::Forced(subject.routed.role);
    });

    let outbound = Outbound {
        inbound: &inbound,
        local,
        role: subject.routed.role,
    };
    let mut attempt = Attempt {
        upload: outbound.upload(&session.client),
        outbound,
        exchange,
        line,
        response: worker.take_head(),
        issued: match choice.claim {
            Claim::Issued(draw) => Some(draw),
            _ => None,
        },
    };
    let shield = attempt.shield(&choice.claim, settings.limits.replay_bytes);
    let next = attempt.run(session, shield.as_ref()).await;
    worker.give_head(attempt.response);
    next
}

/// Picks a role for a request, and counts it as started.
fn pick(local: &LocalRoute, worker: usize, choice: &Choice<'_>, head: &Head) -> Subject {
    let key = Cell::new(None);
    let routed = local.route.pick(worker, |salt, setting| {
        let (role, lasting) = choice.pick(salt, setting);
        key.set(lasting);
        role
    });
    let is_canary = routed.role == Role::Canary;
    Subject {
        routed,
        key: key.get(),
        request: is_canary.then(|| request_id(head)).flatten(),
        bearing: choice.bearing(routed.weight),
    }
}

/// A request on its way to a version, and the answer on its way back. What is known of the
/// outcome is reported, and judged, before the client sees what it is made of.
struct Attempt<'a> {
    outbound: Outbound<'a>,
    exchange: Exchange<'a>,
    /// Goes after the exchange, and before the client is waited for.
    line: Option<Line<'a>>,
    /// What goes up, and the head of what comes down.
    upload: Upload,
    response: Box<Head>,
    /// The split key that the client is given.
    issued: Option<u64>,
}

impl Attempt<'_> {
    fn shield(&mut self, claim: &Claim<'_>, most: usize) -> Option<Shield> {
        Shield::raise(&self.outbound, claim, &mut self.upload, most)
    }

    async fn run(&mut self, session: &mut Session, shield: Option<&Shield>) -> Next {
        let mut answer = {
            let mut sent = self.send(session, shield).await;
            if let Some(shield) = shield
                && self.is_covered(shield, &sent)
            {
                // Not every connection is to have room for what few will do.
                sent = Box::pin(self.send_to_stable(session, shield, sent)).await;
            }
            match sent {
                Ok(answer) => Some(answer),
                Err(Unanswered { error, .. }) => return self.reject(session, &error).await,
            }
        };
        if self.response.status >= FAILURE_STATUS {
            self.exchange.client_sees_error();
        }
        self.upload.pump.forget();
        self.deliver(session, &mut answer).await
    }

    /// Sends the request until it is answered, or will not be. The outcome is reported
    /// then, and judged, if it is one already.
    async fn send(&mut self, session: &mut Session, shield: Option<&Shield>) -> Sent {
        if !self.exchange.has_room() {
            return Err(Unanswered {
                error: ProxyError::Overloaded,
                processed: Processed::Nothing,
            });
        }
        let is_call = self.outbound.inbound.is_call;
        let shield = shield.filter(|_| !is_call);
        session.watch.set_alert(shield.is_some());
        let sent = {
            let (response, upload) = (&mut self.response, &mut self.upload);
            let exchange = &self.exchange;
            let sending = pin!(self.outbound.send(session, response, upload, exchange));
            match shield {
                Some(shield) => {
                    let sent = shield.wait(exchange, sending).await;
                    sent.unwrap_or_else(|recall| Err(recall.into()))
                }
                None => {
                    let sent = eviction::outlast(exchange, is_call, sending).await;
                    sent.unwrap_or_else(|| Err(ProxyError::RolledBack.into()))
                }
            }
        };
        session.watch.set_alert(false);
        self.charge(&sent);
        sent
    }

    /// Sends the request to stable in the place of the canary, which has failed it.
    async fn send_to_stable(
        &mut self,
        session: &mut Session,
        shield: &Shield,
        failed: Sent,
    ) -> Sent {
        session.watch.disarm_all();
        match failed {
            Ok(answer) => {
                let sides = (&self.upload, &self.exchange);
                shield::set_aside(session, answer, &self.response, sides);
            }
            Err(Unanswered { error, .. }) => {
                if let (Side::Upstream(_), Some((status, _))) = (error.side(), error.answer()) {
                    self.exchange.answered_for(status);
                }
            }
        }
        shield.lower(&mut self.upload);
        self.exchange.give_to_stable();
        self.outbound.role = Role::Stable;
        self.send(session, None).await
    }

    fn is_covered(&self, shield: &Shield, sent: &Sent) -> bool {
        let local = self.outbound.local;
        shield.covers(sent, &self.response, (&self.upload, local))
    }

    /// Reports what is known of the outcome.
    fn charge(&mut self, sent: &Sent) {
        match sent {
            Ok(answer) => {
                let call = call(answer, &self.response, self.outbound.inbound);
                self.exchange.head(&self.response, call);
            }
            Err(unanswered) => {
                if let Side::Upstream(reason) = unanswered.error.side() {
                    self.exchange.fail(reason);
                }
            }
        }
    }
}

impl Attempt<'_> {
    /// Answers for a version that has not answered.
    async fn reject(&mut self, session: &mut Session, error: &ProxyError) -> Next {
        if let Some((status, _)) = error.answer() {
            self.exchange.answered_for(status);
        }
        if let Side::Upstream(_) = error.side() {
            self.exchange.client_sees_error();
        }
        self.exchange.end();
        reject::respond(session, error, Some(self.outbound.inbound)).await
    }

    /// Passes the answer on, and takes it when its connection is not needed any more.
    async fn deliver(&mut self, session: &mut Session, answer: &mut Option<Answer>) -> Next {
        let Some(arrived) = answer else {
            return Next::Drop;
        };
        if arrived.switched {
            return self.tunnel(session, answer).await;
        }
        let (inbound, framing) = (self.outbound.inbound, arrived.framing);
        let call = call(arrived, &self.response, inbound);
        let upstream = &mut arrived.connection.peer;
        let delivery = Delivery::of(framing, inbound.head.version);
        let keep_alive = self.keeps_client(session, delivery);
        let date = session.worker.date();
        let envelope = self.envelope(framing, delivery, keep_alive, &date);
        if session.respond(&self.response, &envelope, None).is_err() {
            return Next::Drop;
        }

        let idle_body = self.outbound.idle_body();
        let mut body = Pump::new(upstream, framing, tail_of(delivery));
        body.withhold(&self.outbound.local.route);
        let mut relay = Relay {
            client: &mut session.client,
            upstream,
            watch: &session.watch,
            upload: &mut self.upload,
            idle_body,
        };
        let relaying = relay.body(&mut body);
        let ending = eviction::outlast(&self.exchange, call == Call::Grpc, pin!(relaying)).await;
        session.notes.bytes(self.upload.pump.moved, body.moved);
        match ending.unwrap_or(Ending::Evicted) {
            Ending::Complete { at_once } => {
                match call {
                    Call::Grpc => {
                        let status = grpc::status(&self.response, &body);
                        self.exchange.complete_grpc(status);
                    }
                    Call::Http | Call::Session => self.exchange.complete(at_once),
                }
                body.finish(&mut session.client);
                self.keep(session, answer.take());
                self.end();
                match session.flush(idle_body).await {
                    Ok(()) if keep_alive => Next::Request,
                    Ok(()) if self.upload.is_complete() => Next::Close,
                    Ok(()) => Next::Linger,
                    Err(_) => Next::Drop,
                }
            }
            Ending::Abandoned => {
                give_up(answer.take(), session.client.reason());
                Next::Drop
            }
            Ending::Evicted => {
                self.exchange.evict(grpc::UNAVAILABLE);
                self.end();
                give_up(answer.take(), None);
                evict(session, delivery, idle_body).await
            }
            Ending::Broken => {
                self.broken(session, (FailureReason::Truncated, answer), delivery)
                    .await
            }
            Ending::Stalled => {
                self.broken(session, (FailureReason::Timeout, answer), delivery)
                    .await
            }
        }
    }

    fn envelope<'e>(
        &'e self,
        framing: Framing,
        delivery: Delivery,
        keep_alive: bool,
        date: &'e [u8],
    ) -> Envelope<'e> {
        Envelope {
            delivery,
            keep_alive,
            to_http11: self.outbound.inbound.reads_interim(),
            framing,
            date,
            version: self.outbound.told_version(),
            issued: self.issued,
        }
    }

    /// The upstream broke off, or stopped.
    async fn broken(
        &mut self,
        session: &mut Session,
        (reason, answer): (FailureReason, &mut Option<Answer>),
        delivery: Delivery,
    ) -> Next {
        self.exchange.fail(reason);
        self.exchange.client_sees_error();
        self.end();
        let told = answer.as_ref();
        let told = told.and_then(|answer| answer.connection.peer.reason());
        give_up(answer.take(), None);
        session.cut(delivery, told, self.outbound.idle_body()).await
    }

    async fn tunnel(&mut self, session: &mut Session, answer: &mut Option<Answer>) -> Next {
        let date = session.worker.date();
        let envelope = self.envelope(Framing::UntilClose, Delivery::AsIs, true, &date);
        let switch = self.outbound.switch();
        if session.respond(&self.response, &envelope, switch).is_err() {
            return Next::Drop;
        }
        let status = match session.client {
            Peer::H1(_) => 101,
            Peer::H2(_) => 200,
        };
        session.notes.note(|facts| facts.status = Some(status));
        let tunnel = tunnel::Tunnel {
            timeouts: self.outbound.local.route.config.timeouts,
            is_websocket: switch.is_some_and(super::switch::Switch::is_websocket),
            exchange: &mut self.exchange,
        };
        let Some(answer) = answer.take() else {
            return Next::Drop;
        };
        // Not every connection is to have room for what few will do.
        Box::pin(tunnel.run(session, answer.connection)).await
    }

    /// Nothing more is known of the request, and its client may be waited for.
    fn end(&mut self) {
        self.exchange.end();
        self.line = None;
    }

    /// Whether the client's connection is there for the next request.
    fn keeps_client(&self, session: &Session, delivery: Delivery) -> bool {
        self.outbound.inbound.keep_alive
            && delivery != Delivery::UntilClose
            && self.upload.is_complete()
            && !session.worker.lets_clients_go()
            && !session.origin.is_spent(&session.worker)
    }

    /// Keeps a connection on which nothing is left of this exchange.
    fn keep(&self, session: &Session, answer: Option<Answer>) {
        if let Some(answer) = answer
            && self.upload.is_complete()
            && answer.framing != Framing::UntilClose
            && answer.connection.peer.input().is_empty()
            && wants_keep_alive(&self.response)
        {
            let now = session.worker.deadlines.now();
            let keep = announced_idle_limit(&self.response);
            Upstream::give_back(answer.connection, now, keep);
        }
    }
}

/// Ends what is not complete, for the reason that the client gave.
fn give_up(answer: Option<Answer>, reason: Option<h2::Reason>) {
    if let Some(answer) = answer {
        answer.connection.give_up(reason);
    }
}

/// The version has lost its traffic, and the grace is over: its calls end as gRPC ends
/// one, so that their clients call again.
async fn evict(session: &mut Session, delivery: Delivery, idle_body: Duration) -> Next {
    session.origin.leave();
    if let Peer::H2(stream) = &mut session.client {
        stream.finish(grpc::EVICTED);
        return Next::Close;
    }
    session.cut(delivery, None, idle_body).await
}

/// What an answer is, as far as its outcome is concerned.
fn call(answer: &Answer, response: &Head, inbound: &Inbound<'_>) -> Call {
    if answer.switched {
        Call::Session
    } else if response.status == 200 && inbound.is_call {
        Call::Grpc
    } else {
        Call::Http
    }
}

fn tail_of(delivery: Delivery) -> Tail {
    match delivery {
        Delivery::Chunked => Tail::Chunk,
        Delivery::AsIs | Delivery::UntilClose => Tail::Nothing,
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
