//! The PROXY header, versions 1 and 2: who the client of the balancer in front is.
//!
//! The header comes before everything else, TLS included, and says nothing about its
//! own end but in itself. So not a byte more is read than belongs to it: what follows
//! is the connection's. The format is HAProxy's `proxy-protocol.txt`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::deadline::Party;
use crate::worker::Worker;

/// Whom a header names: the client, or nobody (then it is the peer itself that talks).
pub(crate) type Named = Option<IpAddr>;

/// The longest line of version 1, with its end (section 2.1).
const LINE_BYTES_MAX: usize = 107;

/// The shortest header of either version: `PROXY UNKNOWN` with its end. Whatever comes,
/// so many bytes belong to the header.
const HEADER_BYTES_MIN: usize = 15;

/// How version 2 begins (section 2.2), and the bytes in front of its addresses.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const PREAMBLE_BYTES: usize = 16;

/// Bytes of addresses and additions in version 2. Balancers send a few hundred.
const ADDRESSES_BYTES_MAX: usize = 4096;

/// Who talks on a connection of a trusted proxy: whom its header names, or the proxy
/// itself. `None` if it has no header within the time for heads; then nothing of it is
/// to be served.
pub(crate) async fn client(
    worker: &Worker,
    stream: &mut TcpStream,
    peer: SocketAddr,
) -> Option<SocketAddr> {
    let watch = worker.deadlines.register();
    let timeout = worker.limits().header_timeout;
    let header = watch.within(Party::Client, timeout, read(stream)).await;
    match header {
        Some(Ok(named)) => {
            let ip = named.unwrap_or_else(|| peer.ip());
            Some(SocketAddr::new(ip, peer.port()))
        }
        Some(Err(error)) => {
            tracing::debug!(%peer, %error, "no PROXY header");
            None
        }
        None => {
            tracing::debug!(%peer, "no PROXY header in time");
            None
        }
    }
}

/// Reads the header of a connection that must begin with one.
///
/// # Errors
///
/// If the connection ends within it, or what comes is none.
async fn read(stream: &mut TcpStream) -> io::Result<Named> {
    let mut header = vec![0; HEADER_BYTES_MIN];
    stream.read_exact(&mut header).await?;
    if header.starts_with(SIGNATURE) {
        let rest = stream.read_u8().await?;
        header.push(rest);
        let length = addresses_length(&header).ok_or_else(malformed)?;
        header.resize(PREAMBLE_BYTES + length, 0);
        stream.read_exact(&mut header[PREAMBLE_BYTES..]).await?;
        return parse_binary(&header).ok_or_else(malformed);
    }
    if !header.starts_with(b"PROXY ") {
        return Err(malformed());
    }
    while !header.ends_with(b"\n") {
        let mut ahead = [0; LINE_BYTES_MAX];
        let room = LINE_BYTES_MAX - header.len();
        let seen = stream.peek(&mut ahead[..room]).await?;
        // Nothing seen is the end of the connection, or a line that is too long.
        let line_end = ahead[..seen].iter().position(|byte| *byte == b'\n');
        let wanted = line_end.map_or(seen, |at| at + 1);
        if wanted == 0 {
            return Err(malformed());
        }
        let known = header.len();
        header.resize(known + wanted, 0);
        stream.read_exact(&mut header[known..]).await?;
    }
    parse_line(&header).ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not as specified")
}

/// A whole line of version 1. `None` if it is none.
pub(crate) fn parse_line(line: &[u8]) -> Option<Named> {
    let line = line.strip_suffix(b"\r\n")?;
    let rest = line.strip_prefix(b"PROXY ")?;
    // What follows UNKNOWN must be ignored (section 2.1).
    if let Some(rest) = rest.strip_prefix(b"UNKNOWN") {
        return (rest.is_empty() || rest.starts_with(b" ")).then_some(None);
    }
    let mut words = std::str::from_utf8(rest).ok()?.split(' ');
    let family = words.next()?;
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let source = address(words.next()?)?;
    address(words.next()?)?;
    for _ in 0..2 {
        port(words.next()?)?;
    }
    words.next().is_none().then_some(Some(source))
}

/// A port is digits without a zero in front (section 2.1).
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && (text == "0" || !text.starts_with('0')))
        .then(|| text.parse().ok())
        .flatten()
}

/// How much follows the preamble of version 2. `None` if that is too much.
fn addresses_length(preamble: &[u8]) -> Option<usize> {
    let length = preamble.get(14..PREAMBLE_BYTES)?;
    let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
    (length <= ADDRESSES_BYTES_MAX).then_some(length)
}

/// A whole header of version 2. `None` if it is none.
pub(crate) fn parse_binary(header: &[u8]) -> Option<Named> {
    let (preamble, addresses) = header.split_at_checked(PREAMBLE_BYTES)?;
    if !preamble.starts_with(SIGNATURE) || addresses_length(preamble)? != addresses.len() {
        return None;
    }
    let source = match preamble[13] {
        // Neither family nor protocol is known, or a Unix socket: no IP address.
        0x00 => None,
        0x31 if addresses.len() >= 216 => None,
        0x11 if addresses.len() >= 12 => {
            let bytes: [u8; 4] = addresses[..4].try_into().ok()?;
            Some(IpAddr::from(bytes))
        }
        0x21 if addresses.len() >= 36 => {
            let bytes: [u8; 16] = addresses[..16].try_into().ok()?;
            Some(IpAddr::from(bytes))
        }
        // A check by the balancer itself may say anything here (section 2.2).
        _ if preamble[12] == 0x20 => None,
        _ => return None,
    };
    match preamble[12] {
        0x20 => Some(None),
        0x21 => Some(source),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
