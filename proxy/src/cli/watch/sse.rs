//! Server-sent events, read from pieces that end anywhere
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>).

/// One event of a stream.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Message {
    /// `message` if the stream does not say it.
    pub(super) event: String,
    /// The last one that the stream has said.
    pub(super) id: String,
    pub(super) data: String,
}

/// Reads a stream from its beginning on.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// The last piece has ended in CR: LF is part of it.
    after_cr: bool,
    /// The first line may begin with a mark of byte order.
    is_begun: bool,
    event: String,
    data: String,
    id: String,
}

impl Parser {
    /// The events that are complete with this piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for &byte in piece {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => messages.extend(self.end_line()),
                byte => self.line.push(byte),
            }
        }
        messages
    }

    /// How much is kept of what is not complete. Bytes.
    pub(super) fn pending(&self) -> usize {
        self.line.len() + self.data.len()
    }

    fn end_line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let mut line = &*line;
        if !std::mem::replace(&mut self.is_begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.end_event();
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Message> {
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        // One without data is none.
        data.pop()?;
        Some(Message {
            event: if event.is_empty() {
                "message".to_owned()
            } else {
                event
            },
            id: self.id.clone(),
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<(String, String, String)> {
        let mut parser = Parser::default();
        let messages = pieces.iter().flat_map(|piece| parser.push(piece));
        let parts = |message: Message| (message.event, message.id, message.data);
        messages.map(parts).collect()
    }

    fn message(event: &str, id: &str, data: &str) -> (String, String, String) {
        (event.to_owned(), id.to_owned(), data.to_owned())
    }

    const STREAM: &str = "\u{feff}retry: 1000\n\n: a comment\nevent: happened\r\nid: 7\r\ndata: {\"a\":\"ü→\"}\r\n\r\n\
        data:two\rdata: lines\r\rid: 1\u{0}2\nevent: none\n\nevent:status\ndata\n\ndata: not complete\n";

    #[test]
    fn a_stream_is_read_as_the_standard_says() {
        assert_eq!(
            all(&[STREAM.as_bytes()]),
            [
                message("happened", "7", "{\"a\":\"ü→\"}"),
                message("message", "7", "two\nlines"),
                message("status", "7", ""),
            ]
        );
    }

    proptest! {
        /// Also within a character, and between CR and LF.
        #[test]
        fn it_does_not_matter_where_pieces_end(cuts in prop::collection::vec(0..STREAM.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &STREAM.as_bytes()[pair[0]..pair[1]]).collect();
            assert_eq!(all(&pieces), all(&[STREAM.as_bytes()]));
        }

        #[test]
        fn nothing_that_can_be_sent_is_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut parser = Parser::default();
            parser.push(&bytes);
            assert!(parser.pending() <= 3 * bytes.len() + 1);
        }
    }
}
