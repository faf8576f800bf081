//! A panic where a connection is served ends that connection only.
//!
//! No input is known that makes haldane panic, so one is made: whoever listens to what is
//! logged runs in the task that logs, and panics there.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::eventually::eventually;
use crate::support::http2::{H2Client, request};
use crate::support::http2_raw::{HEADERS, RawH2};
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;

/// Panics, once it is armed, where the connection of a client has ended badly.
struct Panicking;

static ARMED: AtomicBool = AtomicBool::new(false);

impl Subscriber for Panicking {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "haldane::request::http2"
    }

    fn event(&self, _: &Event<'_>) {
        if ARMED.swap(false, Ordering::SeqCst) {
            panic!("as the test wants it");
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_panic_in_one_connection_ends_that_connection_only() {
    tracing::subscriber::set_global_default(Panicking).expect("nobody listens yet");
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).top("workers = 1").start();
    let mut http1 = proxy.client();
    assert_eq!(http1.get("/", &[]).status, 200);
    let http2 = H2Client::connect(proxy.address);
    let (begun, upload) = http2.open(request("GET", "/", &[]), true).head();
    for _ in 0..3 {
        let mut offender = RawH2::connect(proxy.address);
        ARMED.store(true, Ordering::SeqCst);
        // A head on stream 0 is an error of the connection.
        offender.send(HEADERS, 4, 0, b"");
        while offender.next().is_ok() {}
        eventually("it panics", || !ARMED.load(Ordering::SeqCst));
        assert_eq!(http1.get("/", &[]).status, 200);
        assert_eq!(http2.get("/", &[]).text(), "stable");
        assert_eq!(proxy.get("/", &[]).status, 200);
    }
    drop((begun, upload, http1, http2));
    eventually("nothing is left of any", || {
        proxy.gauge("haldane_connections_open") < 0.5
    });
    assert_eq!(proxy.status()["versions"]["stable"]["in_flight"], 0);
}
