//! Too much of what is allowed harms its sender alone.

use std::time::Duration;

use tokio::sync::watch;

use crate::support::eventually::{PATIENCE, eventually, now};
use crate::support::http2::{H2Client, read, request, wait};
use crate::support::http2_raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, IN_SOCKETS_MAX, PING,
    PRIORITY, RST_STREAM, RawH2, SETTINGS, WINDOW_UPDATE,
};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};
use crate::support::wire::Broken;

/// More than any of the limits that floods run into.
const MANY: u32 = 5_000;

/// Begins to answer on `/held` and goes on when told, and answers all else.
fn serving() -> (H2Upstream, watch::Sender<bool>, Proxy) {
    let (release, told) = watch::channel(false);
    // It would close the connection of all for what one does: what is tried here are
    // haldane's own limits.
    let mut patient = h2::server::Builder::new();
    patient.max_pending_accept_reset_streams(MANY as usize);
    patient.data_frame_budget(usize::MAX >> 1);
    let upstream = H2Upstream::with(patient, move |mut call: Call| {
        let mut told = told.clone();
        async move {
            if call.path() == "/unread" {
                drop(call.begin(200, &[]));
                return drop(told.wait_for(|told| *told).await);
            }
            drop(read(&mut call.body).await);
            match call.path() {
                "/held" => {
                    let mut stream = call.begin(200, &[]);
                    told.wait_for(|told| *told).await.expect("is told");
                    stream.send_data("word".into(), true).expect("is sent");
                }
                _ => call.reply(200, "word"),
            }
        }
    });
    let setup = Setup::stable_at(&upstream.url()).upstreams_in_h2();
    let proxy = setup.top("workers = 1").start();
    (upstream, release, proxy)
}

/// What becomes of whoever does too much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// It is told to go, with this code.
    Gone(u8),
    /// What it does costs nothing: it is served as everybody is.
    Stays,
}

use Fate::{Gone, Stays};

/// PROTOCOL_ERROR.
const PROTOCOL: u8 = 1;
/// ENHANCE_YOUR_CALM.
const CALM: u8 = 11;

/// Reads to the end of what was answered, or to the end; with the last stream that haldane has
/// looked at.
fn fate_of(offender: &mut RawH2) -> Result<(Fate, u32), Broken> {
    offender.wire.patience(PATIENCE);
    offender.try_send(PING, 0, 0, b"the last");
    loop {
        let frame = offender.next()?;
        if frame.kind == GOAWAY {
            let last = u32::from_be_bytes(*frame.payload.first_chunk().expect("a stream"));
            return match offender.wire.end() {
                Broken::Silent => Err(Broken::Silent),
                _ => Ok((Gone(frame.payload[7]), last)),
            };
        }
        if frame.kind == PING && frame.payload == b"the last" {
            return Ok((Stays, 0));
        }
    }
}

/// Somebody else is served all the time, on the same worker and the same connection to
/// the upstream, and nothing of the flood is left.
#[track_caller]
fn harms_nobody_else(fate: Fate, flood: impl Fn(&mut RawH2, u32) -> bool) {
    let (upstream, release, proxy) = serving();
    let other = H2Client::connect(proxy.address);
    let (begun, _upload) = other.open(request("GET", "/held", &[]), true).head();
    let mut offender = RawH2::connect(proxy.address);
    offender.wire.patience(Duration::from_millis(500));
    let mut slowest = Duration::ZERO;
    for number in 0..MANY {
        // Whoever is closed has been seen through.
        if !flood(&mut offender, number) {
            break;
        }
        if number % 500 == 0 {
            let since = now();
            assert_eq!(other.get("/", &[]).text(), "word");
            slowest = slowest.max(since.elapsed());
        }
    }
    assert_eq!(other.get("/", &[]).text(), "word");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let (became, last) = fate_of(&mut offender).expect("is told");
    assert_eq!(became, fate);
    // What it opened after that was not even looked at.
    assert!(last < MANY, "{last}");
    drop(offender);
    release.send(true).expect("somebody waits");
    assert!(wait("the rest", begun.rest()).end.is_ok());
    eventually("nothing is left", || {
        proxy.status()["versions"]["stable"]["in_flight"] == 0
    });
    assert_eq!(proxy.metric("haldane_request_failures_total", &[]), 0);
    assert_eq!(upstream.log.open(), upstream.log.connections());
}

/// Streams that are reset as soon as they are opened (CVE-2023-44487).
#[test]
fn rapid_resets_harm_nobody_else() {
    harms_nobody_else(Gone(CALM), |offender, number| {
        let stream = 2 * number + 1;
        offender.try_send(HEADERS, END_HEADERS | END_STREAM, stream, GET)
            && offender.try_send(RST_STREAM, 0, stream, &[0, 0, 0, 8])
    });
}

/// Streams that the server must reset, for what they do (CVE-2025-8671).
#[test]
fn provoked_resets_harm_nobody_else() {
    harms_nobody_else(Gone(PROTOCOL), |offender, number| {
        let stream = 2 * number + 1;
        offender.try_send(HEADERS, END_HEADERS, stream, GET)
            && offender.try_send(WINDOW_UPDATE, 0, stream, &[0; 4])
    });
}

/// The same for what other rules say (RFC 9113 §6.9.1, §8.1, §8.1.1).
#[test]
fn resets_that_are_provoked_otherwise_harm_nobody_else() {
    harms_nobody_else(Gone(PROTOCOL), |offender, number| {
        let stream = 2 * number + 1;
        let post = b"\x83\x84\x86\x41\x04test";
        let most = [0x7f, 0xff, 0xff, 0xff];
        match number % 3 {
            0 => {
                offender.try_send(HEADERS, END_HEADERS, stream, post)
                    && offender.try_send(WINDOW_UPDATE, 0, stream, &most)
            }
            1 => {
                offender.try_send(HEADERS, END_HEADERS, stream, post)
                    && offender.try_send(HEADERS, END_HEADERS, stream, post)
            }
            _ => {
                let counted = [&post[..], b"\x0f\x0d\x011"].concat();
                offender.try_send(HEADERS, END_HEADERS, stream, &counted)
                    && offender.try_send(DATA, 0, stream, b"word")
            }
        }
    });
}

/// Answers that are taken byte by byte, and never read (CVE-2019-9511, CVE-2019-9517).
#[test]
fn windows_of_one_byte_harm_nobody_else() {
    harms_nobody_else(Gone(CALM), |offender, number| {
        let stream = 2 * number + 1;
        let is_begun = number > 0 || offender.try_send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
        is_begun
            && offender.try_send(HEADERS, END_HEADERS | END_STREAM, stream, GET)
            && (0..4).all(|_| offender.try_send(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]))
    });
}

/// Fields whose names and values are empty, and frames that nobody knows (CVE-2019-9516).
#[test]
fn what_is_nothing_harms_nobody_else() {
    harms_nobody_else(Gone(PROTOCOL), |offender, number| {
        let head = [GET, &b"\x00\x00\x00".repeat(1000)].concat();
        (0..20).all(|_| offender.try_send(0x16, 0, 0, b""))
            && offender.try_send(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head)
    });
}

#[test]
fn what_has_to_be_acknowledged_harms_nobody_else() {
    harms_nobody_else(Stays, |offender, _| {
        (0..20).all(|_| {
            offender.try_send(PING, 0, 0, &[7; 8]) && offender.try_send(SETTINGS, 0, 0, b"")
        })
    });
}

/// A head that never ends (CVE-2024-27316).
#[test]
fn an_endless_head_harms_nobody_else() {
    harms_nobody_else(Gone(CALM), |offender, number| {
        if number == 0 {
            return offender.try_send(HEADERS, END_STREAM, 1, GET);
        }
        // One field, without an index, again and again.
        let field = b"\x00\x01x\x01y".repeat(100);
        offender.try_send(CONTINUATION, 0, 1, &field)
    });
}

/// Data that is none.
#[test]
fn empty_data_harms_nobody_else() {
    harms_nobody_else(Gone(CALM), |offender, number| {
        if number == 0 {
            return offender.try_send(HEADERS, END_HEADERS, 1, b"\x83\x84\x86\x41\x04test");
        }
        (0..20).all(|_| offender.try_send(0, 0, 1, b""))
    });
}

/// Data in bytes, which nobody reads: each is more than it says where it is kept.
#[test]
fn data_in_bytes_harms_nobody_else() {
    harms_nobody_else(Gone(CALM), |offender, number| {
        if number == 0 {
            let unread = b"\x83\x04\x07/unread\x86\x41\x04test";
            return offender.try_send(HEADERS, END_HEADERS, 1, unread);
        }
        (0..20).all(|_| offender.try_send(DATA, 0, 1, b"x"))
    });
}

/// What has to be acknowledged is not read while acknowledgements are not.
#[test]
fn who_reads_no_acknowledgements_is_not_read() {
    let (_upstream, _release, proxy) = serving();
    let other = H2Client::connect(proxy.address);
    for (kind, payload) in [(PING, &[7; 8][..]), (SETTINGS, b"")] {
        let mut offender = RawH2::connect(proxy.address);
        let taken = offender.pour(kind, payload, IN_SOCKETS_MAX);
        assert!(taken < IN_SOCKETS_MAX, "{taken} bytes of frame {kind}");
        assert_eq!(other.get("/", &[]).text(), "word");
    }
}

/// Frames that say something and ask for nothing.
#[test]
fn priorities_and_windows_harm_nobody_else() {
    harms_nobody_else(Stays, |offender, number| {
        (0..20).all(|_| {
            offender.try_send(PRIORITY, 0, 2 * number + 1, &[0, 0, 0, 0, 9])
                && offender.try_send(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])
        })
    });
}

/// One byte stands for three thousand (CVE-2016-6581), in a field that may be in crumbs.
#[test]
fn heads_that_unfold_harm_nobody_else() {
    let long = b"\x60\x7f\xb9\x16";
    let crumb = [&long[..], &[b'a'; 3000]].concat();
    harms_nobody_else(Gone(CALM), |offender, number| {
        // The table has the cookie only, at 62.
        let get = b"\x82\x84\x86\x01\x04test";
        let cookies = if number == 0 {
            crumb.clone()
        } else {
            vec![0xbe; 8000]
        };
        let head = [&get[..], &cookies].concat();
        offender.try_send(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head)
    });
}

/// Windows that stay shut hold answers here for as long as a body may stand still.
#[test]
fn windows_that_stay_shut_are_given_up_in_time() {
    let upstream = H2Upstream::scripted(async move |mut call: Call| {
        let mut stream = call.begin(200, &[]);
        // It may be given up.
        drop(crate::support::http2::send(&mut stream, vec![b'x'; 1 << 20].into(), true).await);
    });
    let proxy = Setup::stable_at(&upstream.url())
        .upstreams_in_h2()
        .route("timeouts = { idle_body = \"300ms\" }")
        .start();
    let mut offender = RawH2::connect(proxy.address);
    // SETTINGS_INITIAL_WINDOW_SIZE is zero.
    offender.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    for number in 0..50 {
        offender.send(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, GET);
    }
    for _ in 0..50 {
        offender.until(RST_STREAM).expect("is given up");
    }
    assert_eq!(proxy.settled("stable", 50)["failures"], 0);
}

/// Asks and gives up as soon as haldane has seen that it was asked. False if haldane has
/// had enough.
fn ask_and_leave(offender: &mut RawH2, number: u32) -> bool {
    let stream = 2 * number + 1;
    offender.try_send(HEADERS, END_HEADERS | END_STREAM, stream, GET)
        && offender.try_send(PING, 0, 0, &number.to_be_bytes().repeat(2))
        && offender.pong().is_ok()
        && offender.try_send(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

/// Whoever gives up again and again is taken to connections of its own, and is sent away if
/// it goes on: no upstream closes the connection of the others for it.
#[test]
fn who_resets_without_end_is_kept_apart_and_sent_away() {
    let upstream = H2Upstream::scripted(async move |mut call: Call| match call.path() {
        "/" => drop(call.given_up().await),
        _ => call.reply(200, "word"),
    });
    let setup = Setup::stable_at(&upstream.url()).upstreams_in_h2();
    let proxy = setup.top("workers = 1").start();
    let other = H2Client::connect(proxy.address);
    assert_eq!(other.get("/other", &[]).text(), "word");
    let mut offender = RawH2::connect(proxy.address);
    let taken = (0..MANY).take_while(|number| ask_and_leave(&mut offender, *number));
    let taken = taken.count();
    assert!((200..MANY as usize).contains(&taken), "{taken}");
    loop {
        match offender.next() {
            Ok(frame) if frame.kind == GOAWAY => {
                assert_eq!(frame.payload[7], 11, "ENHANCE_YOUR_CALM");
                break;
            }
            Ok(_) => {}
            // What it had sent meanwhile may have reset the connection.
            Err(broken) => {
                assert_ne!(broken, Broken::Silent);
                break;
            }
        }
    }
    assert_eq!(other.get("/other", &[]).text(), "word");
    let arrivals = upstream.log.arrivals();
    let beside = arrivals
        .iter()
        .filter(|arrival| arrival.connection == 0 && arrival.parts.uri.path() == "/");
    assert!(beside.count() <= 32, "{}", arrivals.len());
    assert!(
        arrivals
            .iter()
            .all(|arrival| arrival.connection == 0 || arrival.parts.uri.path() == "/")
    );
    assert_eq!(proxy.metric("haldane_request_failures_total", &[]), 0);
}

/// Whoever is also served, or has seen the answer begin, may give up as often as it likes.
#[test]
fn ordinary_cancellations_are_never_punished() {
    let (upstream, release, proxy) = serving();
    let client = H2Client::connect(proxy.address);
    for number in 0..1500 {
        let path = if number % 2 == 0 { "/held" } else { "/" };
        let exchange = client.open(request("GET", path, &[]), true);
        if number % 2 == 0 {
            let (begun, mut upload) = exchange.head();
            upload.send_reset(h2::Reason::CANCEL);
            drop(begun);
        } else {
            // Whether it was answered meanwhile or not.
            drop(exchange);
            assert_eq!(client.get("/", &[]).text(), "word");
        }
    }
    assert!(client.takes_streams());
    assert!(client.ended().is_none(), "{:?}", client.ended());
    assert_eq!(upstream.log.connections(), 1);
    assert_eq!(upstream.log.open(), 1);
    assert_eq!(proxy.metric("haldane_request_failures_total", &[]), 0);
    release.send(true).ok();
}
