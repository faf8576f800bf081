//! Bodies on their way: at once, both ways at the same time, in bounded memory, whole.

use std::sync::{Arc, Mutex, mpsc};

use crate::support::eventually::PATIENCE;
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;
use crate::support::wire::{Broken, Framing, Wire};

/// Bodies that fit into no buffer.
mod volume;

/// Reads data until there is as much as this, however it is cut into chunks.
#[track_caller]
fn read_data(wire: &mut Wire, framing: Framing, bytes: usize) -> Vec<u8> {
    let mut data = Vec::new();
    while data.len() < bytes {
        let more = match framing {
            Framing::Chunked => wire.chunk().map(|chunk| chunk.expect("is not over")),
            Framing::Length(_) | Framing::UntilClose => wire.read(bytes - data.len()),
        };
        data.extend(more.expect("comes"));
    }
    data
}

/// A piece of a body in this framing.
fn framed(framing: Framing, data: &str) -> String {
    match framing {
        Framing::Chunked => format!("{:x}\r\n{data}\r\n", data.len()),
        Framing::Length(_) | Framing::UntilClose => data.to_owned(),
    }
}

/// What is told by one end of a test to the other, which waits for it.
struct Turns {
    told: mpsc::Sender<()>,
    heard: Mutex<mpsc::Receiver<()>>,
}

impl Turns {
    fn new() -> Arc<Self> {
        let (told, heard) = mpsc::channel();
        let heard = Mutex::new(heard);
        Arc::new(Self { told, heard })
    }

    fn give(&self) {
        self.told.send(()).expect("has its receiver with it");
    }

    /// False if the turn does not come.
    fn take(&self) -> bool {
        self.heard.lock().unwrap().recv_timeout(PATIENCE).is_ok()
    }
}

/// The upstream sends nothing on before the client has read what it sent so far.
#[test]
fn each_piece_of_a_response_is_passed_on_at_once() {
    const PIECES: usize = 20;
    let events: Vec<_> = (10..10 + PIECES)
        .map(|n| format!("data: {n}\n\n"))
        .collect();
    let length = events.iter().map(String::len).sum::<usize>();
    let events = Arc::new(events);
    for (head, framing) in [
        (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            Framing::Chunked,
        ),
        (format!("Content-Length: {length}\r\n"), Framing::Length(0)),
        (String::new(), Framing::UntilClose),
    ] {
        let (turns, sent) = (Turns::new(), Arc::clone(&events));
        let (turn, start) = (Arc::clone(&turns), format!("HTTP/1.1 200 OK\r\n{head}\r\n"));
        let upstream = Upstream::scripted(move |mut connection| {
            if connection.request().is_none() || !connection.wire.write(&start) {
                return;
            }
            for event in sent.iter() {
                if !turn.take() || !connection.wire.write(framed(framing, event)) {
                    return;
                }
            }
            if turn.take() && framing == Framing::Chunked {
                connection.wire.write("0\r\n\r\n");
            }
        });
        let proxy = Setup::stable(&upstream).start();
        for version in ["1.1", "1.0"] {
            let mut client = proxy.client();
            client.send(format!("GET / HTTP/{version}\r\nHost: test\r\n\r\n"));
            let (answer, status) = client.response_head().expect("comes before the body");
            assert_eq!(status, 200);
            let delivered = answer.framing().expect("is clear");
            let delivered = delivered.unwrap_or(Framing::UntilClose);
            for event in events.iter() {
                turns.give();
                let data = read_data(&mut client.wire, delivered, event.len());
                assert_eq!(data, event.as_bytes(), "HTTP/{version} {framing:?}");
            }
            turns.give();
            let rest = match delivered {
                Framing::Length(_) => Framing::Length(0),
                other => other,
            };
            let (body, end) = client.wire.body(rest);
            assert_eq!(
                (body.bytes.len(), end),
                (0, Ok(())),
                "{version} {framing:?}"
            );
        }
    }
}

/// The client sends nothing on before the upstream has read what it sent so far.
#[test]
fn each_piece_of_a_request_is_passed_on_at_once() {
    let pieces: Vec<_> = (10..30).map(|n| format!("piece {n}\n")).collect();
    let length = pieces.iter().map(String::len).sum::<usize>();
    for (fields, framing) in [
        ("Transfer-Encoding: chunked".to_owned(), Framing::Chunked),
        (format!("Content-Length: {length}"), Framing::Length(0)),
    ] {
        let turns = Turns::new();
        let (turn, expected) = (Arc::clone(&turns), pieces.clone());
        let upstream = Upstream::scripted(move |mut connection| {
            if connection.head().is_none() {
                return;
            }
            turn.give();
            for piece in &expected {
                let data = read_data(&mut connection.wire, framing, piece.len());
                assert_eq!(data, piece.as_bytes());
                turn.give();
            }
            if framing == Framing::Chunked {
                assert_eq!(connection.wire.chunk(), Ok(None));
            }
            connection
                .wire
                .write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        });
        let proxy = Setup::stable(&upstream).start();
        let mut client = proxy.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n"));
        assert!(turns.take(), "the head comes before the body");
        for piece in &pieces {
            client.send(framed(framing, piece));
            assert!(turns.take(), "{framing:?} {piece:?}");
        }
        if framing == Framing::Chunked {
            client.send("0\r\n\r\n");
        }
        assert_eq!(client.answer_to("POST").status, 200);
    }
}

/// Answers before it has read the body, and with what it reads.
fn echo() -> Upstream {
    Upstream::scripted(|mut connection| {
        while let Some(head) = connection.head() {
            let framing = head.framing().expect("is clear");
            let answer = match framing {
                Some(Framing::Length(length)) => format!("Content-Length: {length}"),
                _ => "Transfer-Encoding: chunked".to_owned(),
            };
            connection
                .wire
                .write(format!("HTTP/1.1 200 OK\r\n{answer}\r\n\r\n"));
            if let Some(Framing::Length(mut left)) = framing {
                while left > 0 {
                    let Ok(data) = connection.wire.read(left.min(16 * 1024)) else {
                        return;
                    };
                    left -= data.len();
                    if !connection.wire.write(data) {
                        return;
                    }
                }
                continue;
            }
            while let Ok(Some(data)) = connection.wire.chunk() {
                let size = format!("{:x}\r\n", data.len());
                if !connection
                    .wire
                    .write([size.as_bytes(), &data, b"\r\n"].concat())
                {
                    return;
                }
            }
            // The trailers, of which there are none.
            if connection.wire.line() != Ok(String::new()) || !connection.wire.write("0\r\n\r\n") {
                return;
            }
        }
    })
}

#[test]
fn both_directions_stream_at_the_same_time() {
    let upstream = echo();
    let proxy = Setup::stable(&upstream).top("workers = 1").start();
    for _ in 0..2 {
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        let (head, status) = client.response_head().expect("comes before the body");
        // Nobody knows yet whether the request will be read to its end.
        assert_eq!(head.one("connection").as_deref(), Some("close"));
        assert_eq!(status, 200);
        for round in 0..100 {
            let said = format!("said {round}");
            client.send(framed(Framing::Chunked, &said));
            let heard = read_data(&mut client.wire, Framing::Chunked, said.len());
            assert_eq!(heard, said.as_bytes());
        }
        client.send("0\r\n\r\n");
        let (rest, end) = client.wire.body(Framing::Chunked);
        assert_eq!((rest.bytes.len(), end), (0, Ok(())));
        assert!(client.is_closed());
    }
    // It was, so the connection to the upstream is as good as before.
    assert_eq!(upstream.log.connections(), 1);
}

#[test]
fn a_client_that_leaves_ends_its_request_at_the_upstream() {
    for (request, answer) in [
        ("GET / HTTP/1.1\r\nHost: test\r\n\r\n", ""),
        (
            "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello",
            "",
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ),
    ] {
        let (told, ended) = mpsc::channel();
        let turns = Turns::new();
        let turn = Arc::clone(&turns);
        let upstream = Upstream::scripted(move |mut connection| {
            if connection.head().is_some() {
                connection.wire.write(answer);
                turn.give();
                // The test may be over.
                told.send(connection.end()).ok();
            }
        });
        let proxy = Setup::stable(&upstream).start();
        for reset in [false, true] {
            let mut client = proxy.client();
            client.send(request);
            assert!(turns.take(), "{request:?} arrives");
            if !answer.is_empty() {
                assert!(matches!(client.response_head(), Ok((_, 200))));
            }
            if reset {
                client.wire.reset();
            } else {
                drop(client);
            }
            let end = ended.recv_timeout(PATIENCE);
            assert!(
                matches!(end, Ok(Broken::Closed | Broken::Reset)),
                "{request:?} {answer:?} reset: {reset}: {end:?}"
            );
        }
    }
}

/// Whoever has sent a request and nothing more may close this half of the connection.
#[test]
fn a_client_that_has_said_all_gets_its_answers() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    for requests in [
        "GET /0 HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
        "POST /0 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        (0..3)
            .map(|number| format!("GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .collect(),
        "GET /0 HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let mut client = proxy.client();
        client.send(&requests);
        client.wire.finish();
        for _ in 0..requests.matches("HTTP/1").count() {
            let answer = client.answer_to("GET");
            assert_eq!((answer.status, answer.end), (200, Ok(())), "{requests:?}");
        }
        assert!(client.is_closed());
    }
}

/// It is asked whether it is still there, and not for ever: the end of a connection looks
/// the same.
#[test]
fn a_client_that_has_said_all_may_wait_and_one_that_has_left_does_not() {
    let turns = Turns::new();
    let turn = Arc::clone(&turns);
    let (told, ended) = mpsc::channel();
    let upstream = Upstream::scripted(move |mut connection| {
        let Some(head) = connection.head() else {
            return;
        };
        if head.start.contains("/slow") {
            assert!(turn.take());
            connection
                .wire
                .write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        } else {
            told.send(connection.end()).unwrap();
        }
    });
    let proxy = Setup::stable(&upstream).start();
    let mut client = proxy.client();
    client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    client.wire.finish();
    let (_, status) = client.response_head().expect("is asked");
    assert_eq!(status, 100);
    turns.give();
    let answer = client.answer_to("GET");
    assert_eq!((answer.text().as_str(), answer.end.clone()), ("ok", Ok(())));
    assert_eq!(answer.interim.len(), 0, "once is enough");

    let mut client = proxy.client();
    client.send("GET /never HTTP/1.1\r\nHost: test\r\n\r\n");
    client.wire.finish();
    drop(client);
    let end = ended.recv_timeout(PATIENCE);
    assert!(matches!(end, Ok(Broken::Closed | Broken::Reset)), "{end:?}");
    assert_eq!(proxy.settled("stable", 2)["failures"], 0);
}
