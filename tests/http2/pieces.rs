//! Bodies in pieces: none waits for the next, and the last one brings the end.

use std::sync::{Mutex, mpsc};

use crate::support::http2::{self, H2Client, request, wait};
use crate::support::http2_raw::{DATA, END_HEADERS, END_STREAM, GET, HEADERS, RawH2};
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;

/// Answers that are there as a whole.
const WHOLE: [&str; 3] = [
    "HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
];

#[test]
fn the_end_of_a_body_comes_with_its_last_piece() {
    for answer in WHOLE {
        let upstream = Upstream::answering(answer);
        let proxy = Setup::stable(&upstream).start();
        let mut raw = RawH2::connect(proxy.address);
        raw.send(HEADERS, END_HEADERS | END_STREAM, 1, GET);
        let mut body = Vec::new();
        let end = loop {
            let frame = raw.until(DATA).expect("there is more");
            assert!(!frame.payload.is_empty(), "{answer:?}");
            body.extend_from_slice(&frame.payload);
            if frame.flags & END_STREAM != 0 {
                break frame;
            }
        };
        assert_eq!((body.as_slice(), end.stream), (&b"hello"[..], 1));
    }
}

/// The upstream sends nothing on before the client has read what it sent so far.
#[test]
fn each_piece_of_an_answer_is_passed_on_at_once() {
    for (start, pieces) in [
        ("Content-Length: 9", ["one", "two", "end"]),
        (
            "Transfer-Encoding: chunked",
            ["3\r\none\r\n", "3\r\ntwo\r\n", "3\r\nend\r\n0\r\n\r\n"],
        ),
    ] {
        let (tell, told) = mpsc::channel::<()>();
        let told = Mutex::new(told);
        let upstream = Upstream::scripted(move |mut connection| {
            if connection.request().is_none() {
                return;
            }
            connection
                .wire
                .write(format!("HTTP/1.1 200 X\r\n{start}\r\n\r\n"));
            for piece in pieces {
                if told.lock().unwrap().recv().is_err() || !connection.wire.write(piece) {
                    return;
                }
            }
            connection.end();
        });
        let proxy = Setup::stable(&upstream).start();
        let client = H2Client::connect(proxy.address);
        let (mut begun, _upload) = client.open(request("GET", "/", &[]), true).head();
        for expected in ["one", "two", "end"] {
            tell.send(()).expect("somebody waits");
            let piece = wait("a piece", http2::read_some(&mut begun.body, 3));
            assert_eq!(piece, expected.as_bytes(), "{start}");
        }
        let answer = wait("the end", begun.rest());
        assert_eq!((answer.text().as_str(), answer.reset()), ("", None));
    }
}
