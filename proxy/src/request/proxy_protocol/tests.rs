//! Headers, and everything that is nearly one.

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

/// A header of version 2 with this command, family and rest.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("fits");
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(length.to_be_bytes());
    header.extend(rest);
    header
}

fn named(text: &str) -> Option<Named> {
    Some(Some(text.parse().expect("address")))
}

#[test]
fn a_line_is_exactly_as_specified_or_none() {
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n");
    assert!(longest.len() <= LINE_BYTES_MAX);
    for (line, expected) in [
        (
            "PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n",
            named("192.0.2.1"),
        ),
        (
            "PROXY TCP4 192.0.2.1 10.0.0.1 0 65535\r\n",
            named("192.0.2.1"),
        ),
        ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", named("2001:db8::1")),
        (&longest, named("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
        ("PROXY UNKNOWN\r\n", Some(None)),
        ("PROXY UNKNOWN ffff::1 whatever 1 2\r\n", Some(None)),
        ("PROXY UNKNOWNX\r\n", None),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\n", None),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443 \r\n", None),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443 1\r\n", None),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 56324\r\n", None),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 65536\r\n", None),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n", None),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n", None),
        ("PROXY TCP4 192.0.2.1 10.0.0.1  1 2\r\n", None),
        ("PROXY TCP4 192.0.2.01 10.0.0.1 1 2\r\n", None),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", None),
        ("PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n", None),
        ("PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n", None),
        ("PROXY tcp4 192.0.2.1 10.0.0.1 1 2\r\n", None),
        ("proxy TCP4 192.0.2.1 10.0.0.1 1 2\r\n", None),
        ("PROXY\tTCP4 192.0.2.1 10.0.0.1 1 2\r\n", None),
        ("PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\r\n", None),
    ] {
        assert_eq!(parse_line(line.as_bytes()), expected, "{line:?}");
    }
}

#[test]
fn a_binary_header_is_exactly_as_specified_or_none() {
    let four = [192, 0, 2, 1, 10, 0, 0, 1, 0, 80, 0, 81];
    let mut six = [0; 36];
    six[..2].copy_from_slice(&[0x20, 0x01]);
    six[15] = 1;
    let with_additions = [&four[..], &[0x04, 0, 1, 0]].concat();
    for (header, expected) in [
        (binary(0x21, 0x11, &four), named("192.0.2.1")),
        (binary(0x21, 0x11, &with_additions), named("192.0.2.1")),
        (binary(0x21, 0x21, &six), named("2001::1")),
        (binary(0x21, 0x31, &[0; 216]), Some(None)),
        (binary(0x21, 0x00, &[]), Some(None)),
        (binary(0x21, 0x00, &four), Some(None)),
        (binary(0x20, 0x00, &[]), Some(None)),
        (binary(0x20, 0x11, &four), Some(None)),
        (binary(0x20, 0xff, &[]), Some(None)),
        // Too short for what it says, a datagram, unknown families and commands.
        (binary(0x21, 0x11, &four[..11]), None),
        (binary(0x21, 0x21, &six[..35]), None),
        (binary(0x21, 0x31, &[0; 215]), None),
        (binary(0x21, 0x12, &four), None),
        (binary(0x21, 0x41, &four), None),
        (binary(0x22, 0x11, &four), None),
        (binary(0x11, 0x11, &four), None),
        (binary(0x31, 0x11, &four), None),
    ] {
        assert_eq!(parse_binary(&header), expected, "{header:?}");
    }
    assert_eq!(
        addresses_length(&binary(0x21, 0, &[0; ADDRESSES_BYTES_MAX])),
        Some(4096)
    );
    assert_eq!(addresses_length(&binary(0x21, 0, &[0; 4097])), None);
}

/// What is read of these bytes, sent in pieces of this size, and what is left of them.
async fn reading(bytes: &[u8], piece: usize) -> (io::Result<Named>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("is bound");
    let mut client = TcpStream::connect(address).await.expect("connects");
    let (mut server, _) = listener.accept().await.expect("accepts");
    let sending = async {
        for piece in bytes.chunks(piece) {
            // The other end closes what it does not like.
            if client.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(client.shutdown().await);
    };
    let reading = async {
        let result = read(&mut server).await;
        let mut rest = Vec::new();
        if result.is_ok() {
            server.read_to_end(&mut rest).await.expect("reads");
        }
        (result, rest)
    };
    tokio::join!(sending, reading).1
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("starts")
        .block_on(future)
}

#[test]
fn what_follows_is_left_alone_however_it_comes() {
    let four = [192, 0, 2, 1, 10, 0, 0, 1, 0, 80, 0, 81];
    let follows = b"GET / HTTP/1.1\r\n\r\n";
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n".to_vec(),
        binary(0x21, 0x11, &four),
        binary(0x20, 0x00, &[]),
    ] {
        for piece in [1, 2, 7, 15, 16, 1000] {
            let bytes = [&header[..], follows].concat();
            let (result, rest) = block_on(reading(&bytes, piece));
            assert!(result.is_ok(), "{header:?} {result:?}");
            assert_eq!(rest, follows, "{header:?} in pieces of {piece}");
        }
        for length in 0..header.len() {
            let (result, _) = block_on(reading(&header[..length], 1000));
            assert!(result.is_err(), "cut at {length}: {header:?}");
        }
    }
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 500]].concat();
    assert!(block_on(reading(&endless, 1000)).0.is_err());
}

proptest! {
    /// Nothing that can be sent is worse than refused, and a header is never a part of
    /// another one.
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(parse_line(&bytes).is_none() || bytes.starts_with(b"PROXY "));
        prop_assert!(parse_binary(&bytes).is_none() || bytes.starts_with(SIGNATURE));
    }

    #[test]
    fn any_change_of_a_header_is_a_header_or_refused(
        at in 0_usize..28, to in any::<u8>(), extra in proptest::collection::vec(any::<u8>(), 0..20)
    ) {
        let four = [192, 0, 2, 1, 10, 0, 0, 1, 0, 80, 0, 81];
        let mut header = binary(0x21, 0x11, &four);
        header[at] = to;
        header.extend(&extra);
        if let Some(Some(address)) = parse_binary(&header) {
            prop_assert!(address.is_ipv4(), "{address}");
            prop_assert_eq!(addresses_length(&header), Some(header.len() - PREAMBLE_BYTES));
        }
    }

    /// Every header that says who the client is, is understood.
    #[test]
    fn every_client_is_named(bits in any::<u128>(), v6 in any::<bool>(), port in any::<u16>()) {
        let (family, address) = if v6 {
            ("TCP6", IpAddr::from(bits.to_be_bytes()))
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do")]
            let bits = bits as u32;
            ("TCP4", IpAddr::from(bits.to_be_bytes()))
        };
        let line = format!("PROXY {family} {address} {address} {port} {port}\r\n");
        prop_assert_eq!(parse_line(line.as_bytes()), Some(Some(address)));
        let (family, octets) = match address {
            IpAddr::V4(address) => (0x11, address.octets().to_vec()),
            IpAddr::V6(address) => (0x21, address.octets().to_vec()),
        };
        let rest = [&octets[..], &octets, &port.to_be_bytes(), &port.to_be_bytes()].concat();
        prop_assert_eq!(parse_binary(&binary(0x21, family, &rest)), Some(Some(address)));
    }
}
