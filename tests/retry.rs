//! Which upstream connections are used again, and which requests are sent again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::support::client::request;
use crate::support::eventually::PATIENCE;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Connection, Upstream};
use crate::support::wire::Broken;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// haldane with one worker, and so with one pool.
fn pooling(upstream: &Upstream) -> Proxy {
    Setup::stable(upstream).top("workers = 1").start()
}

/// Closes a connection; when this returns, the other end's system knows.
fn close(connection: Connection) {
    socket2::SockRef::from(connection.wire.stream())
        .set_linger(Some(PATIENCE))
        .expect("sets SO_LINGER");
    drop(connection);
}

/// Which connections these paths came on, in the order of their arrival.
fn connections_of(upstream: &Upstream, path: &str) -> Vec<usize> {
    let arrivals = upstream.log.arrivals();
    let asked = arrivals.iter().filter(|one| one.head.word(1) == path);
    asked.map(|one| one.connection).collect()
}

/// Answers the first request on each connection, and says when it has closed it then.
fn closing_when_idle() -> (Upstream, mpsc::Receiver<()>) {
    let (told, closed) = mpsc::channel();
    let upstream = Upstream::scripted(move |mut connection| {
        if connection.request().is_some() {
            connection.wire.write(OK);
            close(connection);
            // The test may be over.
            told.send(()).ok();
        }
    });
    (upstream, closed)
}

#[test]
fn no_request_is_lost_to_a_connection_that_was_closed_while_idle() {
    let (upstream, closed) = closing_when_idle();
    let proxy = pooling(&upstream);
    let mut client = proxy.client();
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "BREW"];
    for (index, method) in methods.into_iter().cycle().take(21).enumerate() {
        let body = ["", "body"][usize::from(method.starts_with('P'))];
        client.send(request(method, &format!("/{index}"), &[], body));
        let answer = client.try_answer_to(method).map(|answer| answer.status);
        assert_eq!(answer, Ok(200), "{method} {index}");
        closed.recv_timeout(PATIENCE).expect("closes");
        let connections = connections_of(&upstream, &format!("/{index}"));
        assert_eq!(connections, [index], "{method} is executed once");
    }
}

/// Answers the first request on the first connection. Of the second it reads all,
/// answers with these bytes and closes the connection. Other connections work.
fn failing_when_reused(instead: &'static str) -> Upstream {
    Upstream::scripted(move |mut connection| {
        while connection.request().is_some() && connection.wire.write(OK) {
            if connection.number == 0 {
                if connection.request().is_some() {
                    connection.wire.write(instead);
                }
                return;
            }
        }
    })
}

#[test]
fn an_idempotent_request_on_a_stale_connection_is_sent_once_more() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        let upstream = failing_when_reused("");
        let proxy = pooling(&upstream);
        let mut client = proxy.client();
        client.get("/", &[]);
        client.send(request(method, "/again", &[("x-a", "b")], ""));
        assert_eq!(client.answer_to(method).status, 200, "{method}");
        assert_eq!(connections_of(&upstream, "/again"), [0, 1], "{method}");
        let arrivals = upstream.log.arrivals();
        assert_eq!(arrivals[1].head.raw, arrivals[2].head.raw);
    }
}

#[test]
fn a_request_that_may_have_been_processed_is_never_sent_again() {
    for (method, body, instead) in [
        ("POST", "", ""),
        ("POST", "body", ""),
        ("PATCH", "body", ""),
        ("BREW", "", ""),
        // Methods are case-sensitive: this is another one.
        ("get", "", ""),
        // Nobody kept the body.
        ("PUT", "body", ""),
        // The answer had begun.
        ("GET", "", "H"),
        ("GET", "", "HTTP/1.1 200 OK\r\nContent-Le"),
        ("GET", "", "tea\r\n\r\n"),
        ("GET", "", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ] {
        let upstream = failing_when_reused(instead);
        let proxy = pooling(&upstream);
        let mut client = proxy.client();
        client.get("/", &[]);
        client.send(request(method, "/again", &[], body));
        let answer = client.answer_to(method);
        assert_eq!(answer.status, 502, "{method} {body:?} {instead:?}");
        let connections = connections_of(&upstream, "/again");
        assert_eq!(connections, [0], "{method} {body:?} {instead:?}");
    }
}

/// A pool may hold nothing but stale connections: the second attempt gets a new one,
/// and there is no third.
#[test]
fn a_request_is_sent_twice_at_most() {
    let width = 8;
    let together = Arc::new(std::sync::Barrier::new(width));
    let upstream = Upstream::scripted(move |mut connection| {
        // All of them are in use at the same time, so that all come into the pool.
        if connection.number < width && connection.request().is_some() {
            together.wait();
            connection.wire.write(OK);
        }
        connection.request();
    });
    let proxy = pooling(&upstream);
    let mut clients: Vec<_> = (0..width).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(request("GET", "/", &[], ""));
    }
    for client in &mut clients {
        assert_eq!(client.answer_to("GET").status, 200);
    }
    let answer = clients[0].get("/again", &[]);
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (502, "upstream_reset")
    );
    let connections = connections_of(&upstream, "/again");
    assert_eq!(connections.len(), 2);
    assert!(connections[0] < width, "a pooled one first");
    assert_eq!(connections[1], width, "then a new one");
}

#[test]
fn a_connection_is_reused_only_where_its_upstream_keeps_it() {
    for (answer, reused) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
        (
            "HTTP/1.1 500 X\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok",
            true,
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncONNECTION: x\r\nConnection: y,\tCLOSE ,z\r\n\r\nok",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 2\r\n\r\nok",
            false,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
        ("HTTP/1.1 204 X\r\nConnection: close\r\n\r\n", false),
    ] {
        let upstream = Upstream::answering(answer);
        let proxy = pooling(&upstream);
        let mut client = proxy.client();
        for _ in 0..3 {
            let got = client.get("/", &[]);
            assert_eq!(got.head.all("connection"), [""; 0], "{answer:?}");
        }
        let connections = upstream.log.connections();
        assert_eq!(connections, if reused { 1 } else { 3 }, "{answer:?}");
    }
}

/// An answer that nobody asked for would be taken for the next one's.
#[test]
fn bytes_after_a_response_are_nobody_s_answer() {
    const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for (method, answer, body) in [
        ("GET", OK, "ok"),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "ok",
        ),
        ("GET", "HTTP/1.1 204 X\r\n\r\n", ""),
        ("GET", "HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", ""),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", ""),
    ] {
        for surplus in ["\r\n", "x", POISON] {
            let upstream = Upstream::answering(format!("{answer}{surplus}"));
            let proxy = pooling(&upstream);
            let mut client = proxy.client();
            // One after another, and then without a pause in between.
            for count in [1, 1, 3] {
                client.send(request(method, "/", &[], "").repeat(count));
                for _ in 0..count {
                    let got = client.answer_to(method);
                    assert_eq!(got.text(), body, "{method} {answer:?} {surplus:?}");
                }
            }
            let connections = upstream.log.connections();
            assert_eq!(connections, 5, "{method} {answer:?} {surplus:?}");
        }
    }
}

#[test]
fn a_connection_that_speaks_while_idle_is_closed() {
    let (told, ended) = mpsc::channel();
    let (go, may) = mpsc::channel::<()>();
    let may = std::sync::Mutex::new(may);
    let upstream = Upstream::scripted(move |mut connection| {
        while connection.request().is_some() && connection.wire.write(OK) {
            if connection.number == 0 {
                // Not before the first response is over.
                may.lock().unwrap().recv_timeout(PATIENCE).ok();
                connection.wire.write("HTTP/1.1 200 OK\r\n");
                told.send(connection.end()).ok();
                return;
            }
        }
    });
    let proxy = pooling(&upstream);
    let mut client = proxy.client();
    client.get("/", &[]);
    go.send(()).expect("waits");
    let end = ended.recv_timeout(PATIENCE);
    assert!(matches!(end, Ok(Broken::Closed | Broken::Reset)), "{end:?}");
    assert_eq!(client.get("/", &[]).text(), "ok");
    assert_eq!(upstream.log.connections(), 2);
}

/// Well before the minute that a connection is kept without such a word.
#[test]
fn an_idle_connection_is_closed_before_its_upstream_would() {
    let (told, ended) = mpsc::channel();
    let upstream = Upstream::scripted(move |mut connection| {
        connection.request();
        connection.wire.write(
            "HTTP/1.1 200 OK\r\nKeep-Alive: max=9, timeout=1\r\nContent-Length: 2\r\n\r\nok",
        );
        told.send(connection.end()).ok();
    });
    let proxy = pooling(&upstream);
    let mut client = proxy.client();
    client.get("/", &[]);
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(Broken::Closed));
    // That is no reason to close the client's.
    client.get("/", &[]);
}

#[test]
fn a_client_s_connection_lives_for_as_long_as_it_wants() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    for (fields, closes) in [
        ("", false),
        ("Connection: keep-alive\r\n", false),
        ("Connection: closed, not-close\r\n", false),
        ("Connection: close\r\n", true),
        ("CONNECTION: x,\tCLOSE\r\n", true),
        ("Connection: keep-alive\r\nConnection: close\r\n", true),
    ] {
        let mut client = proxy.client();
        for _ in 0..3 {
            client.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
            let answer = client.answer_to("GET");
            assert_eq!(answer.text(), "stable", "{fields:?}");
            let told = answer.head.one("connection");
            assert_eq!(told.as_deref() == Some("close"), closes, "{fields:?}");
            if closes {
                assert!(client.is_closed(), "{fields:?}");
                break;
            }
        }
        if !closes {
            assert!(client.stays_open(Duration::from_millis(50)), "{fields:?}");
        }
    }
}

/// Answers a few requests on each connection and then breaks it in one way after
/// another: while it is idle, once a request was read, with a reset.
fn fickle() -> Upstream {
    let turn = AtomicUsize::new(0);
    Upstream::scripted(move |mut connection| {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        for _ in 0..=turn % 4 {
            if connection.request().is_none() || !connection.wire.write(OK) {
                return;
            }
        }
        match turn % 3 {
            0 => {}
            1 => drop(connection.request()),
            _ => connection.wire.reset(),
        }
    })
}

#[test]
fn no_post_is_executed_twice_and_no_get_is_lost_whatever_becomes_of_connections() {
    let upstream = fickle();
    let proxy = pooling(&upstream);
    let (clients, rounds) = (4, 150);
    let answered: Vec<(String, u16)> = std::thread::scope(|scope| {
        let proxy = &proxy;
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                scope.spawn(move || {
                    let mut answered = Vec::new();
                    for round in 0..rounds {
                        // A connection of its own: what a 502 left unread would close it.
                        let method = ["GET", "POST"][round % 2];
                        let path = format!("/{method}/{client}/{round}");
                        let answer = proxy.client().request(method, &path, &[], "");
                        answered.push((path, answer.status));
                    }
                    answered
                })
            })
            .collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        results.flatten().collect()
    });
    let mut executed = HashMap::<String, usize>::new();
    for arrival in upstream.log.arrivals() {
        *executed.entry(arrival.head.word(1).to_owned()).or_default() += 1;
    }
    for (path, status) in answered {
        let times = executed.get(&path).copied().unwrap_or(0);
        if path.starts_with("/GET") {
            assert_eq!(status, 200, "{path}");
            assert!(
                (1..=2).contains(&times),
                "{path} was executed {times} times"
            );
        } else {
            let expected = if status == 200 { 1..=1 } else { 0..=1 };
            assert!(
                expected.contains(&times),
                "{path} was executed {times} times and answered {status}"
            );
        }
    }
}
