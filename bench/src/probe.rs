//! Waits for the first right answer of something that is starting.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{child::Child, clock, drive::Engine, failure::Failure};

/// Asks again and again until a `GET` is answered with 200; returns when that was.
///
/// The engine goes on turning, so the upstreams answer meanwhile.
pub(crate) fn first_200(
    engine: &mut Engine,
    child: &mut Child,
    address: SocketAddr,
    path: &str,
) -> Result<u64, Failure> {
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: bench\r\nx-user: probe\r\nconnection: close\r\n\r\n");
    let end = clock::now_ns() + clock::ns(START_MAX);
    let mut last = "nothing".to_owned();
    let mut next_check = 0;
    while clock::now_ns() < end {
        match ask(engine, address, request.as_bytes())? {
            Reply::Good => return Ok(clock::now_ns()),
            Reply::Other(line) => last = line,
            Reply::None => {}
        }
        if clock::now_ns() > next_check {
            child.check_running()?;
            next_check = clock::now_ns() + 10_000_000;
        }
        engine.turn(None)?;
    }
    Err(child.failure(&format!(
        "no 200 from {path} within {START_MAX:?}, but {last}"
    )))
}

enum Reply {
    Good,
    Other(String),
    None,
}

fn ask(engine: &mut Engine, address: SocketAddr, request: &[u8]) -> Result<Reply, Failure> {
    // On loopback a connection stands or is refused at once.
    let Ok(mut stream) = TcpStream::connect(address) else {
        return Ok(Reply::None);
    };
    stream.set_nonblocking(true).map_err(Failure::io("probe"))?;
    if stream.write_all(request).is_err() {
        return Ok(Reply::None);
    }
    let end = clock::now_ns() + clock::ns(ANSWER_MAX);
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    while clock::now_ns() < end {
        engine.turn(None)?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Ok(Reply::None),
        }
        if answer.starts_with(b"HTTP/1.1 200") {
            return Ok(Reply::Good);
        }
    }
    let line = answer
        .split(|&byte| byte == b'\r')
        .next()
        .unwrap_or_default();
    match line {
        b"" => Ok(Reply::None),
        line => Ok(Reply::Other(String::from_utf8_lossy(line).into_owned())),
    }
}

/// How long a start may take: far more than any of these proxies needs.
const START_MAX: Duration = Duration::from_secs(10);

/// How long one answer may take during a start.
const ANSWER_MAX: Duration = Duration::from_secs(1);
