//! Bodies that fit into no buffer: whole at the other end, and never faster than it reads.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::{Turns, echo};
use crate::support::client::Client;
use crate::support::eventually::PATIENCE;
use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;
use crate::support::wire::{Framing, Wire};

/// Not a multiple of any buffer's size: a part that is lost, repeated or moved shows.
const BLOCK: usize = 65_537;

/// A little more than 128 MiB.
const TOTAL: usize = 2050 * BLOCK;

/// All that may be on its way to somebody who does not read. The system's own buffers
/// of four sockets are in it: 32 MiB to receive and 4 MiB to send at most, of which
/// those of somebody who does not read stay small.
const ON_THE_WAY_MAX: usize = TOTAL / 2;

/// Without progress for this long, nobody reads.
const STANDSTILL: Duration = Duration::from_millis(300);

/// A body whose every block says where it belongs.
struct Pattern {
    block: Vec<u8>,
}

impl Pattern {
    fn new() -> Self {
        // A generator with a long period; its upper bits are the good ones.
        let mut state = 1_u64;
        let block = (0..BLOCK).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        Self {
            block: block.collect(),
        }
    }

    fn block(&mut self, number: usize) -> &[u8] {
        self.block[..8].copy_from_slice(&(number as u64).to_be_bytes());
        &self.block
    }
}

/// Sends the body, and knows how far it has come.
struct Source {
    pattern: Pattern,
    sent: usize,
}

impl Source {
    fn new() -> Self {
        Self {
            pattern: Pattern::new(),
            sent: 0,
        }
    }

    /// Sends on until the end (true) or a standstill (false).
    #[track_caller]
    fn send(&mut self, mut stream: &TcpStream, standstill: Duration) -> bool {
        stream
            .set_write_timeout(Some(standstill))
            .expect("sets a timeout");
        while self.sent < TOTAL {
            let (number, at) = (self.sent / BLOCK, self.sent % BLOCK);
            match stream.write(&self.pattern.block(number)[at..]) {
                Ok(sent) => self.sent += sent,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::TimedOut | ErrorKind::WouldBlock => return false,
                    _ => panic!("{error} after {} bytes", self.sent),
                },
            }
        }
        true
    }
}

/// Reads the body to its end and compares.
#[track_caller]
fn read_all(wire: &mut Wire, framing: Framing) {
    let (mut pattern, mut waiting, mut number) = (Pattern::new(), Vec::new(), 0);
    let mut left = TOTAL;
    loop {
        match framing {
            Framing::Chunked => match wire.chunk().expect("comes") {
                Some(data) => waiting.extend(data),
                None => break,
            },
            _ if left == 0 => break,
            _ => {
                let data = wire.read(left.min(BLOCK)).expect("comes");
                left -= data.len();
                waiting.extend(data);
            }
        }
        while waiting.len() >= BLOCK {
            // The blocks are too long to be shown.
            assert!(waiting[..BLOCK] == *pattern.block(number), "block {number}");
            waiting.drain(..BLOCK);
            number += 1;
        }
    }
    assert_eq!((number * BLOCK, waiting.len()), (TOTAL, 0));
    if framing == Framing::Chunked {
        assert_eq!(wire.line(), Ok(String::new()), "the end of the last chunk");
    }
}

#[test]
fn a_body_over_128_mib_arrives_whole_both_ways_at_once() {
    for framing in [Framing::Chunked, Framing::Length(TOTAL)] {
        let upstream = echo();
        let proxy = Setup::stable(&upstream).start();
        let mut client = proxy.client();
        client.send(match framing {
            Framing::Chunked => {
                "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()
            }
            _ => format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {TOTAL}\r\n\r\n"),
        });
        let mut up = client
            .wire
            .stream()
            .try_clone()
            .expect("has another handle");
        let sender = std::thread::spawn(move || {
            if framing != Framing::Chunked {
                assert!(Source::new().send(&up, PATIENCE));
                return;
            }
            let mut pattern = Pattern::new();
            for number in 0..TOTAL / BLOCK {
                let size = format!("{BLOCK:x}\r\n");
                let chunk = [size.as_bytes(), pattern.block(number), b"\r\n"].concat();
                up.write_all(&chunk).expect("is taken");
            }
            up.write_all(b"0\r\n\r\n").expect("is taken");
        });
        let (head, status) = client.response_head().expect("comes");
        assert_eq!((status, head.framing()), (200, Ok(Some(framing))));
        read_all(&mut client.wire, framing);
        sender.join().expect("sends everything");
    }
}

#[test]
fn a_client_that_does_not_read_holds_its_upstream_back_and_nobody_else() {
    let (told, stopped_at) = mpsc::channel();
    let upstream = Upstream::scripted(move |mut connection| {
        let Some(head) = connection.request() else {
            return;
        };
        if head.word(1) == "/small" {
            connection
                .wire
                .write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall");
            return;
        }
        connection.wire.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n"
        ));
        let mut source = Source::new();
        let all = source.send(connection.wire.stream(), STANDSTILL);
        told.send((all, source.sent)).expect("is waited for");
        source.send(connection.wire.stream(), PATIENCE);
    });
    let proxy = Setup::stable(&upstream).top("workers = 1").start();
    let mut slow = proxy.client();
    slow.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
    let (all, sent) = stopped_at
        .recv_timeout(2 * PATIENCE)
        .expect("comes to a halt");
    assert!(!all && sent < ON_THE_WAY_MAX, "{sent} bytes were taken");
    assert_eq!(proxy.get("/small", &[]).text(), "small");
    let (head, _) = slow.response_head().expect("comes");
    assert_eq!(head.framing(), Ok(Some(Framing::Length(TOTAL))));
    read_all(&mut slow.wire, Framing::Length(TOTAL));
}

#[test]
fn an_upstream_that_does_not_read_holds_its_client_back_and_nobody_else() {
    let turns = Turns::new();
    let turn = Arc::clone(&turns);
    let upstream = Upstream::scripted(move |mut connection| {
        let Some(head) = connection.head() else {
            return;
        };
        if head.word(0) == "POST" {
            if !turn.take() {
                return;
            }
            read_all(&mut connection.wire, Framing::Length(TOTAL));
        }
        connection
            .wire
            .write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let proxy = Setup::stable(&upstream).top("workers = 1").start();
    let mut client = proxy.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {TOTAL}\r\n\r\n"
    ));
    let mut source = Source::new();
    let all = source.send(client.wire.stream(), STANDSTILL);
    assert!(
        !all && source.sent < ON_THE_WAY_MAX,
        "{} bytes were taken",
        source.sent
    );
    assert_eq!(proxy.get("/", &[]).text(), "ok");
    turns.give();
    assert!(source.send(client.wire.stream(), PATIENCE));
    assert_eq!(client.answer_to("POST").text(), "ok");
}

/// What is sent into a connection that was closed at once comes back as a reset, which
/// takes the answer with it.
#[test]
fn a_client_that_is_still_sending_gets_the_answer_that_came_early() {
    let turns = Turns::new();
    let turn = Arc::clone(&turns);
    let upstream = Upstream::scripted(move |mut connection| {
        if connection.head().is_some() {
            connection
                .wire
                .write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
            // It reads nothing, and is there until the client has its answer.
            turn.take();
        }
    });
    let proxy = Setup::stable(&upstream).start();
    let mut client: Client = proxy.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {TOTAL}\r\n\r\n"
    ));
    let mut pattern = Pattern::new();
    for number in 0..128 {
        client.send(pattern.block(number));
    }
    let answer = client.answer_to("POST");
    turns.give();
    assert_eq!((answer.status, answer.text().as_str()), (413, "no"));
    assert_eq!(answer.head.one("connection").as_deref(), Some("close"));
}
