//! Small formats: PROXY headers and the frames of WebSocket.

#![no_main]

use std::net::IpAddr;

use haldane::fuzz::wire::{close_frames, frames, proxy_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    proxy(data);
    let [high, low, bytes @ ..] = data else {
        return;
    };
    let whole = frames([bytes].into_iter());
    let size = usize::from(*high).max(1);
    assert_eq!(frames(bytes.chunks(size)), whole);
    assert_eq!(frames(bytes.chunks(1)), whole);
    // Between two frames another one can be put in, and it is seen.
    let code = u16::from_be_bytes([*high, *low]);
    let (client, server) = close_frames(code);
    for close in [&client[..], &server] {
        assert_eq!(frames([close].into_iter()), (true, true));
        if whole.0 {
            assert_eq!(frames([bytes, close].into_iter()), (true, true));
            assert_eq!(frames([close, bytes].into_iter()), (true, true));
        }
    }
});

fn proxy(header: &[u8]) {
    let Some(named) = proxy_header(header) else {
        return;
    };
    // Nothing of a header can be left out, and nothing follows.
    assert_eq!(proxy_header(&header[..header.len() - 1]), None);
    assert_eq!(proxy_header(&[header, b"\n"].concat()), None);
    let Some(client) = named else {
        return;
    };
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let line = format!("PROXY {family} {client} {client} 1 65535\r\n");
    assert_eq!(proxy_header(line.as_bytes()), Some(Some(client)));
    let (family, address) = match client {
        IpAddr::V4(address) => (0x11, address.octets().to_vec()),
        IpAddr::V6(address) => (0x21, address.octets().to_vec()),
    };
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    binary.push(family);
    binary.extend((address.len() as u16 * 2 + 4).to_be_bytes());
    binary.extend([&address[..], &address, &[0, 1, 2, 3]].concat());
    assert_eq!(proxy_header(&binary), Some(Some(client)));
}
