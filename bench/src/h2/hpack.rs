//! Header compression for HTTP/2 (RFC 7541): reads what any proxy writes.

use std::collections::VecDeque;

use super::huffman::Huffman;

/// The state of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    huffman: &'static Huffman,
    /// The newest entry first.
    table: VecDeque<(Vec<u8>, Vec<u8>)>,
    size: usize,
    size_max: usize,
    /// Name and value of the field at hand.
    name: Vec<u8>,
    value: Vec<u8>,
}

/// What remains of a block.
struct Block<'block>(&'block [u8]);

impl Decoder {
    /// With an empty table of the size that holds where nobody says another one.
    pub(crate) fn new() -> Self {
        Self {
            huffman: Huffman::get(),
            table: VecDeque::new(),
            size: 0,
            size_max: TABLE_SIZE as usize,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Gives every field of a block to `field`; `None` when the block is no HPACK.
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Option<()> {
        let mut block = Block(block);
        while let Some(&first) = block.0.first() {
            if first & 0x80 != 0 {
                let index = block.number(7)?;
                let (name, value) = entry(&self.table, index)?;
                field(name, value);
            } else if first & 0xe0 == 0x20 {
                self.size_max = block
                    .number(5)
                    .filter(|&size| size <= TABLE_SIZE as usize)?;
                self.make_room(0);
            } else {
                let keep = first & 0xc0 == 0x40;
                self.literal(&mut block, if keep { 6 } else { 4 })?;
                field(&self.name, &self.value);
                if keep {
                    self.insert();
                }
            }
        }
        Some(())
    }

    fn literal(&mut self, block: &mut Block<'_>, prefix: u32) -> Option<()> {
        self.name.clear();
        self.value.clear();
        match block.number(prefix)? {
            0 => block.text(self.huffman, &mut self.name)?,
            index => self.name.extend_from_slice(entry(&self.table, index)?.0),
        }
        block.text(self.huffman, &mut self.value)
    }

    fn insert(&mut self) {
        let needed = self.name.len() + self.value.len() + ENTRY_SIZE;
        self.make_room(needed);
        if needed <= self.size_max {
            self.size += needed;
            self.table
                .push_front((self.name.clone(), self.value.clone()));
        }
    }

    fn make_room(&mut self, needed: usize) {
        while self.size + needed > self.size_max
            && let Some((name, value)) = self.table.pop_back()
        {
            self.size -= name.len() + value.len() + ENTRY_SIZE;
        }
    }
}

impl<'block> Block<'block> {
    /// Section 5.1; the bits above the prefix say what the number is for.
    fn number(&mut self, prefix: u32) -> Option<usize> {
        let mask = (1_usize << prefix) - 1;
        let mut number = usize::from(self.byte()?) & mask;
        if number < mask {
            return Some(number);
        }
        for shift in [0, 7, 14] {
            let byte = usize::from(self.byte()?);
            number += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Section 5.2.
    fn text(&mut self, huffman: &Huffman, text: &mut Vec<u8>) -> Option<()> {
        let coded = self.0.first()? & 0x80 != 0;
        let len = self.number(7)?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        if coded {
            return huffman.decode(bytes, text);
        }
        text.extend_from_slice(bytes);
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }
}

/// Section 2.3.3: the static table first, the newest entries of the dynamic one next.
fn entry(table: &VecDeque<(Vec<u8>, Vec<u8>)>, index: usize) -> Option<(&[u8], &[u8])> {
    let index = index.checked_sub(1)?;
    match STATIC.get(index) {
        Some((name, value)) => Some((name.as_bytes(), value.as_bytes())),
        None => {
            let (name, value) = table.get(index - STATIC.len())?;
            Some((name, value))
        }
    }
}

/// A field that is not to be put into the table, with the name of an entry.
pub(crate) fn named(index: u8, value: &[u8], block: &mut Vec<u8>) {
    // Above fourteen, a number of four bits goes on in the next byte.
    match index.checked_sub(15) {
        Some(rest) => block.extend_from_slice(&[0x0f, rest]),
        None => block.push(index),
    }
    text(value, block);
}

/// A field that is put into the table.
pub(crate) fn kept(name: &[u8], value: &[u8], block: &mut Vec<u8>) {
    block.push(0x40);
    text(name, block);
    text(value, block);
}

/// A field that is not to be put into the table.
pub(crate) fn literal(name: &[u8], value: &[u8], block: &mut Vec<u8>) {
    block.push(0);
    text(name, block);
    text(value, block);
}

/// A text as it is; all of them here are shorter than 127 bytes.
fn text(bytes: &[u8], block: &mut Vec<u8>) {
    block.push(bytes.len() as u8);
    block.extend_from_slice(bytes);
}

/// The size that a table may have where nobody says another one (section 4.2).
pub(crate) const TABLE_SIZE: u32 = 4096;

/// What an entry counts beside its texts (section 4.1).
const ENTRY_SIZE: usize = 32;

/// The first index of the dynamic table.
pub(crate) const DYNAMIC: u8 = 62;

/// Appendix A.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
    ("via", ""), ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(decoder: &mut Decoder, block: &[u8]) -> Option<Vec<String>> {
        let mut fields = Vec::new();
        decoder.decode(block, |name, value| {
            fields.push(format!(
                "{}={}",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value)
            ));
        })?;
        Some(fields)
    }

    #[test]
    fn three_requests_as_the_rfc_has_them() {
        // RFC 7541, C.4.
        let blocks: [&[u8]; 3] = [
            &[
                0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab,
                0x90, 0xf4, 0xff,
            ],
            &[
                0x82, 0x86, 0x84, 0xbe, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf,
            ],
            &[
                0x82, 0x87, 0x85, 0xbf, 0x40, 0x88, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f,
                0x89, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf,
            ],
        ];
        let mut decoder = Decoder::new();
        let common = [
            ":method=GET",
            ":scheme=http",
            ":path=/",
            ":authority=www.example.com",
        ];
        assert_eq!(fields(&mut decoder, blocks[0]).unwrap(), common);
        assert_eq!(
            fields(&mut decoder, blocks[1]).unwrap(),
            [&common[..], &["cache-control=no-cache"]].concat()
        );
        assert_eq!(
            fields(&mut decoder, blocks[2]).unwrap(),
            [
                ":method=GET",
                ":scheme=https",
                ":path=/index.html",
                ":authority=www.example.com",
                "custom-key=custom-value"
            ]
        );
        assert_eq!(decoder.size, 164);
    }

    #[test]
    fn what_is_written_is_read_and_old_entries_leave() {
        let mut decoder = Decoder::new();
        for at in 0..500_u32 {
            let mut block = Vec::new();
            let value = format!("{at:016x}");
            kept(b"x-user", value.as_bytes(), &mut block);
            named(DYNAMIC, b"other", &mut block);
            literal(b"te", b"trailers", &mut block);
            let expected = [
                format!("x-user={value}"),
                "x-user=other".to_owned(),
                "te=trailers".to_owned(),
            ];
            assert_eq!(fields(&mut decoder, &block).unwrap(), expected);
            assert!(decoder.size <= TABLE_SIZE as usize);
        }
        assert_eq!(fields(&mut decoder, &[0x20]), Some(vec![]));
        assert!(decoder.table.is_empty());
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for block in [
            &[0x80][..],
            &[0xff],
            &[0xbe],
            &[0x40, 0x05, b'a'],
            &[0x3f, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(fields(&mut Decoder::new(), block), None, "{block:?}");
        }
    }
}
