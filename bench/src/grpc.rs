//! Messages of gRPC: a prefix of five bytes, and the bytes.

/// Prefixes a message that is not compressed.
pub(crate) fn message(body: &[u8]) -> Vec<u8> {
    let mut message = vec![0];
    message.extend_from_slice(&(body.len() as u32).to_be_bytes());
    message.extend_from_slice(body);
    message
}

/// The content of a message that is whole and not compressed.
pub(crate) fn content(message: &[u8]) -> Option<&[u8]> {
    let (&[0, l0, l1, l2, l3], content) = message.split_first_chunk::<5>()? else {
        return None;
    };
    (u32::from_be_bytes([l0, l1, l2, l3]) as usize == content.len()).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_length_before_it() {
        let message = message(b"abc");
        assert_eq!(message, [0, 0, 0, 0, 3, b'a', b'b', b'c']);
        assert_eq!(content(&message), Some(&b"abc"[..]));
        assert_eq!(content(&message[..7]), None);
        assert_eq!(content(&[1, 0, 0, 0, 0]), None);
        assert_eq!(content(&[]), None);
    }
}
