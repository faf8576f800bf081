//! The same where one side or both speak HTTP/2.

use h2::Reason;

use super::shielded;
use crate::support::http2::{H2Client, read, request};
use crate::support::http2_upstream::{Call, H2Upstream};
use crate::support::proxy::{Proxy, Setup};

/// Long enough for several frames, short enough to be kept.
static BODY: [u8; 60_000] = [b'x'; 60_000];

fn start(stable: &H2Upstream, canary: &H2Upstream) -> Proxy {
    Setup::canary_at(&stable.url(), &canary.url(), "100%")
        .by_user()
        .shielded()
        .upstreams_in_h2()
        .route("timeouts = { response = \"20s\" }")
        .meltdown(1_000_000)
        .start()
}

/// Answers with how long the body was.
fn measuring() -> H2Upstream {
    H2Upstream::scripted(|mut call: Call| async move {
        let (body, end) = read(&mut call.body).await;
        assert!(end.is_ok());
        call.reply(200, &format!("stable {}", body.len()));
    })
}

#[test]
fn each_kind_of_failure_and_method_over_streams() {
    type Fail = fn(&mut Call);
    let kinds: [(&str, Fail); 4] = [
        ("status", |call| call.reply(503, "canary")),
        ("cancel", |call| call.respond.send_reset(Reason::CANCEL)),
        ("internal", |call| {
            call.respond.send_reset(Reason::INTERNAL_ERROR);
        }),
        ("long", |call| {
            // More of a body than anybody would read, which does not end.
            let mut stream = call.begin(500, &[]);
            stream.send_data(vec![b'x'; 10_000].into(), false).ok();
        }),
    ];
    for (kind, fail) in kinds {
        let stable = measuring();
        let canary = H2Upstream::scripted(move |mut call: Call| async move {
            drop(read(&mut call.body).await);
            fail(&mut call);
        });
        let proxy = start(&stable, &canary);
        let client = H2Client::connect(proxy.address);
        let mut plain = proxy.client();
        let mut asked = 0;
        for (method, body) in [
            ("GET", &b""[..]),
            ("DELETE", b""),
            ("PUT", b"x"),
            ("PUT", &BODY),
        ] {
            let expected = format!("stable {}", body.len());
            let answer = client.ask(request(method, "/", &[("x-user", "a")]), body);
            assert_eq!(answer.text(), expected, "{kind} {method}");
            let text = String::from_utf8_lossy(body);
            let answer = plain.request(method, "/", &[("x-user", "a")], &text);
            assert_eq!(answer.text(), expected, "{kind} {method}");
            asked += 2;
        }
        assert_eq!(shielded(&proxy), asked, "{kind}");
        let answer = client.ask(request("POST", "/", &[("x-user", "a")]), b"once");
        assert!(answer.status >= 500, "{kind}: {answer:?}");
        assert_eq!(canary.log.len() as u64, asked + 1, "{kind}");
        assert_eq!(stable.log.len() as u64, asked, "{kind}");
        let of_canary = proxy.settled("canary", asked + 1);
        assert_eq!(of_canary["failures"], asked + 1, "{kind}");
        // Streams that nobody reads do not use up the connection.
        assert_eq!(canary.log.connections(), canary.log.open(), "{kind}");
    }
}

/// More than any window holds at a time.
#[test]
fn a_body_that_takes_many_windows_is_repeated_whole() {
    let body: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    let whole = body.clone();
    let stable = H2Upstream::scripted(move |mut call: Call| {
        let whole = whole.clone();
        async move {
            let (body, end) = read(&mut call.body).await;
            let is_whole = end.is_ok() && body == whole;
            call.reply(200, if is_whole { "whole" } else { "spoilt" });
        }
    });
    let canary = H2Upstream::scripted(|mut call: Call| async move {
        drop(read(&mut call.body).await);
        call.reply(500, "canary");
    });
    let proxy = Setup::canary_at(&stable.url(), &canary.url(), "100%")
        .by_user()
        .shielded()
        .table("[limits]\nreplay_bytes = \"1MiB\"")
        .upstreams_in_h2()
        .meltdown(1_000_000)
        .start();
    let client = H2Client::connect(proxy.address);
    for _ in 0..3 {
        let answer = client.ask(request("PUT", "/", &[("x-user", "a")]), &body);
        assert_eq!((answer.status, answer.text().as_str()), (200, "whole"));
    }
    assert_eq!(shielded(&proxy), 3);
}

/// What the canary has not begun with may be any method (RFC 9113 §8.7).
#[test]
fn a_refused_stream_is_answered_from_stable_whatever_its_method() {
    let stable = measuring();
    let canary = H2Upstream::scripted(|mut call: Call| async move {
        drop(read(&mut call.body).await);
        call.respond.send_reset(Reason::REFUSED_STREAM);
    });
    let proxy = start(&stable, &canary);
    let client = H2Client::connect(proxy.address);
    for (method, body) in [
        ("GET", &b""[..]),
        ("POST", b""),
        ("POST", b"x"),
        ("PATCH", &BODY),
    ] {
        let answer = client.ask(request(method, "/", &[("x-user", "a")]), body);
        let expected = format!("stable {}", body.len());
        assert_eq!(answer.text(), expected, "{method} {}", body.len());
    }
    assert_eq!(shielded(&proxy), 4);
    let of_canary = proxy.settled("canary", 4);
    assert_eq!(of_canary["failures"], 4);
}

/// A call is a POST: its failure may have done something.
#[test]
fn a_call_is_left_alone_unless_nothing_can_have_been_done() {
    let stable = H2Upstream::scripted(|mut call: Call| async move {
        drop(read(&mut call.body).await);
        call.reply_grpc("stable", "0");
    });
    let canary = H2Upstream::scripted(|mut call: Call| async move {
        drop(read(&mut call.body).await);
        match call.path() {
            "/refused" => call.respond.send_reset(Reason::REFUSED_STREAM),
            "/cancelled" => call.respond.send_reset(Reason::CANCEL),
            "/status" => call.reply(503, "canary"),
            _ => call.reply_grpc("canary", "13"),
        }
    });
    let proxy = start(&stable, &canary);
    let client = H2Client::connect(proxy.address);
    let ask = |path: &str| {
        let fields = [("x-user", "a"), ("content-type", "application/grpc")];
        client.ask(request("POST", path, &fields), b"message")
    };
    assert_eq!(ask("/refused").text(), "stable");
    for path in ["/cancelled", "/status", "/internal"] {
        let answer = ask(path);
        assert_ne!(answer.text(), "stable", "{path}");
    }
    assert_eq!((shielded(&proxy), stable.log.len()), (1, 1));
    proxy.settled("stable", 1);
}

/// A connection on which one waits in vain is not used for the next.
#[test]
fn a_stream_that_hangs_is_given_up_on_a_rollback() {
    let stable = measuring();
    let (tell, told) = std::sync::mpsc::channel();
    let canary = H2Upstream::scripted(move |mut call: Call| {
        let tell = tell.clone();
        async move {
            drop(read(&mut call.body).await);
            let reason = call.given_up().await;
            tell.send(reason.map_err(|error| error.to_string())).ok();
        }
    });
    let proxy = Setup::canary_at(&stable.url(), &canary.url(), "100%")
        .by_user()
        .shielded()
        .upstreams_in_h2()
        .meltdown(1_000_000)
        .start();
    let client = H2Client::connect(proxy.address);
    let waiting: Vec<_> = (0..5)
        .map(|_| client.open(request("GET", "/", &[("x-user", "a")]), true))
        .collect();
    crate::support::eventually::eventually("they wait", || canary.log.len() == 5);
    proxy.roll_back();
    for exchange in waiting {
        assert_eq!(exchange.answer().text(), "stable 0");
        let reason = told.recv_timeout(crate::support::eventually::PATIENCE);
        assert_eq!(reason, Ok(Ok(Reason::CANCEL)));
    }
    proxy.settled("canary", 5);
}
