//! Messages on WebSockets (RFC 6455) of the one size that is sent here.

/// A client's message: one frame, masked.
pub(crate) fn masked(body: &[u8]) -> Vec<u8> {
    let mut frame = head(body.len(), 0x80);
    frame.extend_from_slice(&MASK);
    let coded = body.iter().zip(MASK.iter().cycle());
    frame.extend(coded.map(|(byte, mask)| byte ^ mask));
    frame
}

/// A server's message: one frame.
pub(crate) fn unmasked(body: &[u8]) -> Vec<u8> {
    let mut frame = head(body.len(), 0);
    frame.extend_from_slice(body);
    frame
}

/// The content of a server's frame that is whole.
pub(crate) fn content(frame: &[u8]) -> Option<&[u8]> {
    let (head, content) = frame.split_first_chunk::<FRAME_HEAD>()?;
    (self::head(content.len(), 0) == head).then_some(content)
}

/// A binary message whose length takes two bytes more.
fn head(len: usize, mask_bit: u8) -> Vec<u8> {
    let [_, _, l0, l1] = (len as u32).to_be_bytes();
    vec![0x82, mask_bit | 126, l0, l1]
}

/// What comes before the content of a server's message.
pub(crate) const FRAME_HEAD: usize = 4;

/// Any four bytes will do: nobody unknown is on the way.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What an upgrade is asked for with; key and answer are the example of the RFC.
pub(crate) const ASKED: &str = "upgrade: websocket\r\nconnection: upgrade\r\n\
sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// How an upstream answers that.
pub(crate) const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
connection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The proof in that answer, which nobody on the way may change.
pub(crate) const PROOF: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_form_of_the_rfc() {
        let body = [b'x'; 128];
        let frame = unmasked(&body);
        assert_eq!(frame[..5], [0x82, 126, 0, 128, b'x']);
        assert_eq!(content(&frame), Some(&body[..]));
        assert_eq!(content(&frame[..131]), None);
        let frame = masked(&body);
        assert_eq!(frame[..4], [0x82, 0xfe, 0, 128]);
        assert_eq!(frame[8], b'x' ^ MASK[0]);
        assert_eq!(frame.len(), 136);
        assert_eq!(content(&frame), None);
    }
}
