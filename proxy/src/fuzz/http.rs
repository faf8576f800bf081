//! Heads and bodies as they come, and as they are passed on.

use std::net::IpAddr;

use haldane_config::{Config, RouteConfig};
use haldane_decide::role::Role;
use haldane_decide::rollout::CanaryReach;
use haldane_decide::split::Salt;
use haldane_decide::weight::Weight;

use crate::h1::body::Framing;
use crate::h1::head::{Head, HeadLimits, Version};
use crate::http2::message;
use crate::live::choice::Choice;
use crate::live::weight::Setting;
use crate::request::forward::{Delivery, Envelope, Introduction};
use crate::request::inbound::Inbound;
use crate::request::marks::Marks;
use crate::request::split_key::{RequestFacts, client_address, request_id};
use crate::request::{http1_head, http2_head};

/// The address that every request comes from here.
pub const PEER: &str = "192.0.2.1";

/// The version that every request goes to.
pub const VERSION: &str = "v2";

/// The limits that are configured if nothing else is.
pub(super) const LIMITS: HeadLimits = HeadLimits {
    bytes: 64 * 1024,
    target: 64 * 1024,
    fields: 100,
};

/// What is written may be longer than what was read.
const LIMITS_WRITTEN: HeadLimits = HeadLimits {
    bytes: 256 * 1024,
    target: 256 * 1024,
    fields: 200,
};

/// A head that was understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// The bytes that it takes.
    pub length: usize,
    /// The method, or the reason phrase.
    pub first: Vec<u8>,
    /// The request target.
    pub target: Vec<u8>,
    /// Of a response.
    pub status: u16,
    /// Names and values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A request as it is passed on.
#[derive(Clone, Debug)]
pub struct Forwarded {
    /// The method as HTTP/1.1 has it.
    pub method: Vec<u8>,
    /// As the client named it.
    pub host: Vec<u8>,
    /// Path and query.
    pub target: Vec<u8>,
    /// How its body ends.
    pub framing: String,
    /// Whether it asks for another protocol.
    pub switches: bool,
    /// Whether the connection stays open.
    pub keep_alive: bool,
    /// To an upstream that speaks HTTP/1.1.
    pub text: Vec<u8>,
    /// To one that speaks HTTP/2; why not, otherwise.
    pub message: Result<::http::Request<()>, String>,
}

/// A response as it is passed on.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The bytes that its head takes.
    pub length: usize,
    /// Its status.
    pub status: u16,
    /// How its body ends, for who asked with this method.
    pub framing: String,
    /// How it ends for the client.
    pub delivery: String,
    /// To a client that speaks HTTP/1.x.
    pub text: Vec<u8>,
    /// To one that speaks HTTP/2.
    pub message: ::http::Response<()>,
}

/// Reads a request head, within the usual limits or wider ones.
///
/// # Errors
///
/// If it is none; the name of the error.
pub fn request(bytes: &[u8], wide: bool) -> Result<Option<Seen>, String> {
    let mut head = Head::default();
    let limits = if wide { LIMITS_WRITTEN } else { LIMITS };
    match head.parse_request(bytes, limits) {
        Ok(length) => Ok(length.map(|length| seen(&head, length))),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// Reads a response head, like [`request`].
///
/// # Errors
///
/// If it is none; the name of the error.
pub fn response(bytes: &[u8], wide: bool) -> Result<Option<Seen>, String> {
    let mut head = Head::default();
    let limits = if wide { LIMITS_WRITTEN } else { LIMITS };
    match head.parse_response(bytes, limits) {
        Ok(length) => Ok(length.map(|length| seen(&head, length))),
        Err(error) => Err(format!("{error:?}")),
    }
}

fn seen(head: &Head, length: usize) -> Seen {
    let fields = head.fields();
    Seen {
        length,
        first: head.method().to_vec(),
        target: head.target().to_vec(),
        status: head.status,
        fields: fields
            .map(|field| (field.name.to_vec(), field.value.to_vec()))
            .collect(),
    }
}

/// Passes on the response that `bytes` begin with, to a client of HTTP/1.1 or 1.0, which
/// has asked with `method`; `None` if there is none.
///
/// # Errors
///
/// If it is refused; why.
pub fn answer(bytes: &[u8], method: &[u8], http11: bool) -> Option<Result<Answered, String>> {
    let mut head = Head::default();
    let length = head.parse_response(bytes, LIMITS).ok()??;
    Some(answered(&head, length, method, http11))
}

/// Passes on a response that has come in HTTP/2, like [`answer`].
///
/// # Errors
///
/// If it is refused; why.
pub fn answer_message(
    response: ::http::Response<()>,
    method: &[u8],
    is_open: bool,
) -> Result<Answered, String> {
    let mut head = Head::default();
    let parts = response.into_parts().0;
    message::read_response(&mut head, &parts, is_open, LIMITS)
        .map_err(|error| format!("{error:?}"))?;
    answered(&head, 0, method, true)
}

pub(super) fn answered(
    head: &Head,
    length: usize,
    method: &[u8],
    http11: bool,
) -> Result<Answered, String> {
    // As `request::send` does.
    if !(100..=599).contains(&head.status) {
        return Err("no status".to_owned());
    }
    let framing = Framing::of_response(head, method).map_err(|error| format!("{error:?}"))?;
    let client = if http11 {
        Version::Http11
    } else {
        Version::Http10
    };
    let delivery = Delivery::of(framing, client);
    let envelope = Envelope {
        delivery,
        keep_alive: delivery != Delivery::UntilClose,
        to_http11: http11,
        framing,
        date: b"Sun, 06 Nov 1994 08:49:37 GMT",
        version: Some(VERSION),
        issued: Some(7),
    };
    let mut text = Vec::new();
    if (100..=199).contains(&head.status) {
        http1_head::write_interim(&mut text, head);
    } else {
        http1_head::write_response(&mut text, head, &envelope);
    }
    Ok(Answered {
        length,
        status: head.status,
        framing: format!("{framing:?}"),
        delivery: format!("{delivery:?}"),
        text,
        message: http2_head::response(head, &envelope, None),
    })
}

/// How the body of the message ends that this head begins.
#[must_use]
pub fn request_framing(bytes: &[u8]) -> Option<String> {
    let mut head = Head::default();
    head.parse_request(bytes, LIMITS_WRITTEN).ok()??;
    Some(format!("{:?}", Framing::of_request(&head).ok()?))
}

/// The same for a response to `method`.
#[must_use]
pub fn response_framing(bytes: &[u8], method: &[u8]) -> Option<String> {
    let mut head = Head::default();
    head.parse_response(bytes, LIMITS_WRITTEN).ok()??;
    Some(format!("{:?}", Framing::of_response(&head, method).ok()?))
}

/// A route, as requests see it.
pub struct Route(Config);

/// Which role a request gets.
pub struct Split {
    /// Who has sent it.
    pub client: IpAddr,
    /// What it is called, as text.
    pub id: Option<String>,
    /// The salted hash of what it carries, if its role follows from that.
    pub key: Option<u64>,
    /// Whether the canary has it, by growing weights.
    pub on_canary: Vec<bool>,
}

impl Route {
    /// The first route of this configuration.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self(config)
    }

    fn config(&self) -> Option<&RouteConfig> {
        self.0.routes.first()
    }

    /// Passes on the request that `bytes` begin with; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If it is refused; why.
    pub fn forward(
        &self,
        bytes: &[u8],
        wide: bool,
        trusted: bool,
    ) -> Option<Result<Forwarded, String>> {
        let mut head = Head::default();
        let limits = if wide { LIMITS_WRITTEN } else { LIMITS };
        head.parse_request(bytes, limits).ok()??;
        Some(self.forwarded(&head, trusted))
    }

    /// Passes on a request that has come in HTTP/2. `is_open`: something follows its head.
    ///
    /// # Errors
    ///
    /// If it is refused; why.
    pub fn forward_message(
        &self,
        request: ::http::Request<()>,
        is_open: bool,
    ) -> Result<Forwarded, String> {
        let mut head = Head::default();
        let parts = request.into_parts().0;
        message::read_request(&mut head, &parts, is_open, LIMITS)
            .map_err(|error| format!("{error:?}"))?;
        self.forwarded(&head, false)
    }

    pub(super) fn forwarded(&self, head: &Head, trusted: bool) -> Result<Forwarded, String> {
        let inbound = Inbound::check(head).map_err(|error| format!("{error:?}"))?;
        let introduction = Introduction {
            peer: PEER,
            trusted,
            version: VERSION,
            role: Role::Canary,
            scheme: "https",
            marks: self.config().and_then(Marks::of),
        };
        let switch = inbound.switch.as_ref();
        let mut text = Vec::new();
        http1_head::write_request(&mut text, &inbound, &introduction, switch);
        let destination = http2_head::Destination {
            tls: true,
            authority: "upstream.example",
        };
        let message = http2_head::request(&inbound, &introduction, switch, &destination);
        Ok(Forwarded {
            method: inbound.method().to_vec(),
            host: inbound.host.to_vec(),
            target: inbound.target.to_vec(),
            framing: format!("{:?}", inbound.framing),
            switches: switch.is_some(),
            keep_alive: inbound.keep_alive,
            text,
            message: message.map_err(|error| format!("{error:?}")),
        })
    }

    /// Looks at the head that `bytes` begin with; `None` if there is none.
    #[must_use]
    pub fn split(&self, bytes: &[u8], peer: IpAddr, weights: &[Weight]) -> Option<Split> {
        let mut head = Head::default();
        head.parse_request(bytes, LIMITS).ok()??;
        let inbound = Inbound::check(&head).ok()?;
        let facts = RequestFacts {
            head: &head,
            path: inbound.path(),
            peer,
            trusted_proxies: &self.0.trusted_proxies,
        };
        let choice = Choice::read(self.config()?, &facts, 1 << 63);
        let salt = Salt::from_bits(7);
        let pick = |weight: &Weight| {
            let setting = Setting {
                generation: 1,
                weight: *weight,
                reach: CanaryReach::Closed,
            };
            choice.pick(salt, setting).0 == Role::Canary
        };
        Some(Split {
            client: client_address(&head, peer, &self.0.trusted_proxies),
            id: request_id(&head).map(|id| format!("{id:?}")),
            key: choice.claim.lasting_key(salt),
            on_canary: weights.iter().map(pick).collect(),
        })
    }
}
