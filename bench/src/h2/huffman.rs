//! Huffman strings of HPACK (RFC 7541, Appendix B), four bits at a time.

use std::sync::LazyLock;

/// What four bits lead to, wherever the ones before them have led.
#[derive(Debug)]
pub(crate) struct Huffman {
    /// For each inner node of the code's tree.
    steps: Vec<[Option<Step>; 16]>,
}

/// Four bits further. No symbol has fewer than five, so that at most one ends here.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The inner node that is reached.
    at: u16,
    /// The symbol that ended on the way.
    symbol: Option<u8>,
    /// Bits of these four that come after it.
    rest: u8,
}

/// For each inner node where a 0 and a 1 lead: to another node, or to `LEAF + symbol`.
type Tree = Vec<[u16; 2]>;

impl Huffman {
    /// The code of the RFC.
    pub(crate) fn get() -> &'static Self {
        static CODE: LazyLock<Huffman> = LazyLock::new(|| Huffman::new(&tree()));
        &CODE
    }

    fn new(tree: &Tree) -> Self {
        let step = |from: usize, bits: usize| {
            let (mut at, mut symbol, mut rest) = (from, None, 4);
            for bit in (0..4).rev() {
                let to = tree[at][bits >> bit & 1];
                if to == ROOT {
                    return None;
                }
                at = usize::from(to);
                if to >= LEAF {
                    symbol = Some(u8::try_from(to - LEAF).ok()?);
                    (at, rest) = (usize::from(ROOT), bit as u8);
                }
            }
            let at = at as u16;
            Some(Step { at, symbol, rest })
        };
        let steps = |from| std::array::from_fn(|bits| step(from, bits));
        Self {
            steps: (0..tree.len()).map(steps).collect(),
        }
    }

    /// Appends what `coded` stands for; `None` when it stands for nothing.
    pub(crate) fn decode(&self, coded: &[u8], text: &mut Vec<u8>) -> Option<()> {
        let (mut at, mut padding) = (ROOT, 0);
        for byte in coded {
            for bits in [byte >> 4, byte & 0xf] {
                let step = self.steps[usize::from(at)][usize::from(bits)]?;
                text.extend(step.symbol);
                at = step.at;
                let before = if step.symbol.is_some() { 0 } else { padding };
                padding = before + step.rest;
            }
        }
        (padding < 8).then_some(())
    }
}

/// The code as a binary tree. It is canonical, so that the lengths say everything.
fn tree() -> Tree {
    let mut symbols: Vec<u16> = (0..256).collect();
    symbols.sort_by_key(|&symbol| LENGTHS[usize::from(symbol)]);
    let (mut nodes, mut code, mut len) = (vec![[ROOT; 2]], 0_u32, 0);
    for symbol in symbols {
        let wanted = LENGTHS[usize::from(symbol)];
        code <<= wanted - len;
        len = wanted;
        let mut at = 0;
        for bit in (0..len).rev() {
            let side = (code >> bit & 1) as usize;
            if bit == 0 {
                nodes[at][side] = LEAF + symbol;
            } else if nodes[at][side] == ROOT {
                nodes[at][side] = nodes.len() as u16;
                at = nodes.len();
                nodes.push([ROOT; 2]);
            } else {
                at = usize::from(nodes[at][side]);
            }
        }
        code += 1;
    }
    nodes
}

/// Nothing leads to it, so that it also stands for what is not there.
const ROOT: u16 = 0;

/// From here on an index is a symbol; the tree has 256 inner nodes.
const LEAF: u16 = 0x1000;

/// How many bits each symbol has.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_decoded() {
        let huffman = Huffman::get();
        // RFC 7541, C.4.1, C.4.2 and C.6.1.
        let examples: [(&[u8], &str); 3] = [
            (
                &[
                    0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
                ],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (
                &[
                    0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04,
                    0x0b, 0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
                ],
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
        ];
        for (coded, expected) in examples {
            let mut text = Vec::new();
            assert_eq!(huffman.decode(coded, &mut text), Some(()));
            assert_eq!(text, expected.as_bytes());
        }
        assert_eq!(huffman.decode(&[0xff, 0xff], &mut Vec::new()), None);
    }
}
