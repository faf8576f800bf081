//! What clients sent, where a person may look at it: without anything that a terminal would
//! act on.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// Writes JSON on one line.
///
/// # Errors
///
/// If the value cannot be written as JSON.
pub(crate) fn write_json<T: Serialize>(out: &mut Vec<u8>, value: &T) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Visible))
}

/// Whether a character is none that is seen: control characters, ends of lines, and what
/// changes the direction of a text. The JSON library escapes those below U+0020 only.
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON in which nothing is hidden.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut formatter = CompactFormatter;
        let mut shown = 0;
        for (at, character) in fragment.char_indices().filter(|(_, c)| is_hidden(*c)) {
            formatter.write_string_fragment(writer, &fragment[shown..at])?;
            // All of these lie in the basic plane.
            write!(writer, "\\u{:04x}", u32::from(character))?;
            shown = at + character.len_utf8();
        }
        formatter.write_string_fragment(writer, &fragment[shown..])
    }
}
