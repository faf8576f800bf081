//! What upstreams may not do (RFC 9113 §4 to §8): what clients of each version of HTTP see, and
//! what is said to the upstream. Whatever it was, the next request is served.

use std::time::Duration;

use super::*;
use crate::support::client::{Client, Response};
use crate::support::eventually::{PATIENCE, elapse, now};
use crate::support::http2::{request, wait};
use crate::support::http2_raw::Frame;
use crate::support::http2_raw_upstream::{
    Answer, Greet, RawUpstream, begin, finish, politely, settings, word,
};
use crate::support::wire::Broken;

/// Heads, bodies and trailers.
mod answers;
/// Streams that are reset, connections that are left, and those that end.
mod endings;
/// What is more than anybody needs.
mod excess;
/// Frames where they do not belong, and frames that are none.
mod frames;

/// What clients see.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Seen {
    /// All that was announced, which is an end in HTTP/1 and none in HTTP/2.
    AsAnnounced(&'static str),
    /// A body that has no end.
    Cut,
    /// An answer of haldane with this status and code.
    Failed(u16, &'static str),
    /// A body, and the names of trailers, to the end.
    Whole(&'static str),
}

use Seen::{AsAnnounced, Cut, Failed, Whole};

/// No answer to a request.
const NONE: Seen = Failed(502, "upstream_response");
/// An answer that broke off before it began.
const BROKEN: Seen = Failed(502, "upstream_reset");
const LATE: Seen = Failed(504, "upstream_timeout");
/// No connection.
const REFUSED: Seen = Failed(502, "upstream_connect");
const WORD: Seen = Whole("word");

/// What the upstream is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    /// That the connection ends, with this code.
    GoAway(u32),
    Nothing,
    /// That stream 1 ends, with this code.
    Reset(u32),
    /// One or the other: what counts is when the rest comes.
    Whatever,
}

const STATUS: (&str, &str) = (":status", "200");

const GONE: Told = Told::GoAway(PROTOCOL);
const RESET: Told = Told::Reset(PROTOCOL);

/// An answer, by its section; what clients see; what the upstream is told.
type Row = (&'static str, Answer, Seen, Told);

/// The clients that look at each answer.
const VERSIONS: [&str; 3] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2"];

/// Tries all rows, and tells all that went otherwise.
#[track_caller]
fn check(method: &str, rows: &[Row]) {
    let rows = rows.iter().map(|(what, answer, seen, told)| {
        let greet: Greet = politely;
        (*what, (greet, *answer), *seen, *told)
    });
    check_greeted(method, &rows.collect::<Vec<_>>());
}

/// The same for connections that begin in different ways.
#[track_caller]
fn check_greeted(method: &str, rows: &[(&str, (Greet, Answer), Seen, Told)]) {
    let mut wrong = Vec::new();
    for (what, (greet, answer), seen, told) in rows {
        for version in VERSIONS {
            let upstream = RawUpstream::once(*greet, *answer);
            let proxy = start(&upstream, *seen);
            let found = ask(&proxy, version, method);
            let expected = expected(*seen, version);
            if found != expected {
                wrong.push(format!("{what}, {version}: {found}, not {expected}"));
            }
            assert_eq!(ask(&proxy, version, "GET"), "200 word", "after {what}");
            let failures = proxy.settled("stable", 2)["failures"].as_u64();
            if failures != Some(u64::from(!matches!(seen, Whole(_)))) {
                wrong.push(format!("{what}, {version}: {failures:?} failures"));
            }
            if let Err(found) = was_told(&upstream, *told) {
                wrong.push(format!("{what}, {version}: {found:?}, not {told:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn start(upstream: &RawUpstream, seen: Seen) -> Proxy {
    let setup = Setup::stable_at(&upstream.upstream.url()).upstreams_in_h2();
    let setup = setup.top("workers = 1");
    match seen {
        LATE => setup.route("timeouts = { response = \"300ms\" }").start(),
        _ => setup.start(),
    }
}

fn expected(seen: Seen, version: &str) -> String {
    match seen {
        AsAnnounced(text) if version != "HTTP/2" => format!("200 {text}"),
        AsAnnounced(_) | Cut => "cut".to_owned(),
        Failed(status, code) => format!("{status} {code}"),
        Whole(text) if version == "HTTP/1.0" => {
            let body = text.split_once(',').map_or(text, |(body, _)| body);
            format!("200 {body}")
        }
        Whole(text) => format!("200 {text}"),
    }
}

/// What has come of a request on a connection of its own.
fn ask(proxy: &Proxy, version: &str, method: &str) -> String {
    if version == "HTTP/2" {
        return ask_h2(proxy, method);
    }
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "{method} / {version}\r\nhost: test\r\ncontent-length: 0\r\n\r\n"
    ));
    let answer = client.try_answer_to(method);
    match answer {
        Ok(Response { end: Ok(()), .. }) => {}
        Ok(Response {
            end: Err(Broken::Silent),
            ..
        })
        | Err(Broken::Silent) => {
            return "silence".to_owned();
        }
        Ok(_) | Err(Broken::Closed | Broken::Cut | Broken::Reset) => return "cut".to_owned(),
        Err(broken) => return format!("{broken:?}"),
    }
    let answer = answer.expect("is an answer");
    let trailers = answer.body.trailers.iter().map(|(name, _)| &**name);
    tell(answer.status, &answer.error(), &answer.text(), trailers)
}

fn ask_h2(proxy: &Proxy, method: &str) -> String {
    let client = H2Client::connect(proxy.address);
    let exchange = client.open(request(method, "/", &[]), true);
    let answer = wait("an answer or none", exchange.answered());
    assert!(client.takes_streams(), "the client has done nothing");
    match answer {
        Ok(answer) => match &answer.end {
            Ok(trailers) => tell(
                answer.status,
                &answer.one("x-haldane-error").unwrap_or_default(),
                &answer.text(),
                trailers.keys().map(http::HeaderName::as_str),
            ),
            Err(_) => "cut".to_owned(),
        },
        Err(_) => "cut".to_owned(),
    }
}

fn tell<'a>(
    status: u16,
    code: &str,
    body: &'a str,
    trailers: impl Iterator<Item = &'a str>,
) -> String {
    if !code.is_empty() {
        return format!("{status} {code}");
    }
    let all = [body].into_iter().chain(trailers).collect::<Vec<_>>();
    format!("{status} {}", all.join(", "))
}

/// What the first connection was told, if that is something else.
fn was_told(upstream: &RawUpstream, expected: Told) -> Result<(), Told> {
    let until = now() + PATIENCE;
    loop {
        let told = told(&upstream.heard());
        match expected {
            Told::Whatever => return Ok(()),
            _ if told == expected => return Ok(()),
            Told::Nothing => return Err(told),
            _ if told != Told::Nothing || now() > until => return Err(told),
            // It is on its way.
            _ => elapse(Duration::from_millis(5)),
        }
    }
}

fn told(heard: &[Frame]) -> Told {
    let told = heard.iter().find_map(|frame| match frame.kind {
        // A connection that is not needed any more ends without an error.
        GOAWAY => {
            Some(Told::GoAway(code_in(&frame.payload[4..]))).filter(|told| *told != Told::GoAway(0))
        }
        RST_STREAM if frame.stream == 1 => Some(Told::Reset(code_in(&frame.payload))),
        _ => None,
    });
    told.unwrap_or(Told::Nothing)
}

/// The head of an answer, and a part of its body.
fn half(raw: &mut RawH2, stream: u32) {
    begin(raw, stream, &[STATUS]);
    raw.try_send(DATA, 0, stream, b"wo");
}

fn reset(raw: &mut RawH2, stream: u32, code: u8) {
    raw.try_send(RST_STREAM, 0, stream, &[0, 0, 0, code]);
}
