//! Too much of what is allowed harms its sender alone.

use std::time::Duration;

use tokio::sync::watch;

use crate::support::eventually::{eventually, now};
use crate::support::http2::{H2Client, read, request, wait};
use crate::support::http2_raw::{
    CONTINUATION, END_HEADERS, END_STREAM, GET, HEADERS, PING, RST_STREAM, RawH2, SETTINGS,
    WINDOW_UPDATE,
};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};

/// More than any of the limits that floods run into.
const MANY: u32 = 5_000;

/// Begins to answer on `/held` and goes on when told, and answers all else.
fn serving() -> (H2Upstream, watch::Sender<bool>, Proxy) {
    let (release, told) = watch::channel(false);
    // It would close the connection of all for what one does: what is tried here are
    // haldane's own limits.
    let mut patient = h2::server::Builder::new();
    patient.max_pending_accept_reset_streams(MANY as usize);
    let upstream = H2Upstream::with(patient, move |mut call: Call| {
        let mut told = told.clone();
        async move {
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

/// Somebody else is served all the time, on the same worker and the same connection to
/// the upstream, and nothing of the flood is left.
#[track_caller]
fn harms_nobody_else(flood: impl Fn(&mut RawH2, u32) -> bool) {
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
    harms_nobody_else(|offender, number| {
        let stream = 2 * number + 1;
        offender.try_send(HEADERS, END_HEADERS | END_STREAM, stream, GET)
            && offender.try_send(RST_STREAM, 0, stream, &[0, 0, 0, 8])
    });
}

/// Streams that the server must reset, for what they do (CVE-2025-8671).
#[test]
fn provoked_resets_harm_nobody_else() {
    harms_nobody_else(|offender, number| {
        let stream = 2 * number + 1;
        offender.try_send(HEADERS, END_HEADERS, stream, GET)
            && offender.try_send(WINDOW_UPDATE, 0, stream, &[0; 4])
    });
}

#[test]
fn what_has_to_be_acknowledged_harms_nobody_else() {
    harms_nobody_else(|offender, _| {
        (0..20).all(|_| {
            offender.try_send(PING, 0, 0, &[7; 8]) && offender.try_send(SETTINGS, 0, 0, b"")
        })
    });
}

/// A head that never ends (CVE-2024-27316).
#[test]
fn an_endless_head_harms_nobody_else() {
    harms_nobody_else(|offender, number| {
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
    harms_nobody_else(|offender, number| {
        if number == 0 {
            return offender.try_send(HEADERS, END_HEADERS, 1, b"\x83\x84\x86\x41\x04test");
        }
        (0..20).all(|_| offender.try_send(0, 0, 1, b""))
    });
}
