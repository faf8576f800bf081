//! The extensions of a chunk, read strictly and dropped (RFC 9112 §7.1.1):
//!
//! `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )`

use super::field::is_of_token;

/// Where in the extensions of one chunk the reader is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Extension {
    /// After a value or the size, and whitespace.
    AfterAll,
    /// After a name and whitespace.
    AfterName,
    /// After a quoted value.
    AfterQuoted,
    /// After a semicolon: a name comes.
    BeforeName,
    /// After an equals sign: a value comes.
    BeforeValue,
    /// After a backslash within quotes.
    Escaped,
    /// In a name.
    Name,
    /// Within quotes.
    Quoted,
    /// In a value that is a token.
    Value,
}

impl Extension {
    /// What the byte behind a size begins, if it begins an extension.
    pub(crate) const fn begin(byte: u8) -> Option<Self> {
        match byte {
            b';' => Some(Self::BeforeName),
            b' ' | b'\t' => Some(Self::AfterAll),
            _ => None,
        }
    }

    /// Where this byte leads, if it may come here.
    pub(crate) fn next(self, byte: u8) -> Option<Self> {
        let is_blank = matches!(byte, b' ' | b'\t');
        match (self, byte) {
            (Self::BeforeName | Self::BeforeValue | Self::AfterName | Self::AfterAll, _)
                if is_blank =>
            {
                Some(self)
            }
            (Self::BeforeName | Self::Name, _) if is_of_token(byte) => Some(Self::Name),
            (Self::BeforeValue | Self::Value, _) if is_of_token(byte) => Some(Self::Value),
            (Self::Name, _) if is_blank => Some(Self::AfterName),
            (Self::Value | Self::AfterQuoted, _) if is_blank => Some(Self::AfterAll),
            (Self::Name | Self::AfterName, b'=') => Some(Self::BeforeValue),
            (
                Self::Name | Self::AfterName | Self::Value | Self::AfterQuoted | Self::AfterAll,
                b';',
            ) => Some(Self::BeforeName),
            (Self::BeforeValue, b'"') => Some(Self::Quoted),
            (Self::Quoted, b'"') => Some(Self::AfterQuoted),
            (Self::Quoted, b'\\') => Some(Self::Escaped),
            // Visible characters, space, tab and obs-text (RFC 9110 §5.6.4).
            (Self::Quoted | Self::Escaped, b'\t' | b' '..=b'~' | 0x80..) => Some(Self::Quoted),
            _ => None,
        }
    }

    /// Whether the line may end here.
    pub(crate) const fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Value | Self::AfterQuoted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether these are the extensions of a chunk, whole.
    fn is_whole(text: &[u8]) -> bool {
        let Some((first, rest)) = text.split_first() else {
            return false;
        };
        let end = rest
            .iter()
            .try_fold(Extension::begin(*first), |at, byte| Some(at?.next(*byte)));
        end.flatten().is_some_and(Extension::may_end)
    }

    #[test]
    fn extensions_are_names_with_or_without_values() {
        for whole in [
            ";a",
            "; a",
            " ;a",
            ";a=b",
            ";a = b",
            "\t;\ta\t=\tb\t;c",
            ";a;b;c=d",
            ";a=\"\"",
            ";a=\"b c\"",
            ";a=\"\\\"\";b",
            ";a=\"\\\\\"",
            ";a=\"=;\"",
            ";a=\"\u{e4}\"",
            ";!#$%&'*+-.^_`|~=0",
        ] {
            assert!(is_whole(whole.as_bytes()), "{whole:?}");
        }
        for broken in [
            ";",
            "; ",
            " ",
            ";;",
            ";a;",
            ";a ",
            ";a=b ",
            ";a=",
            ";a= ",
            ";=b",
            ";a==b",
            ";a b",
            ";a=b c",
            ";a=\"b",
            ";a=\"b\\\"",
            ";a=\"b\"c",
            ";a=b\"c\"",
            ";\"a\"",
            ";a,b",
            ";a=(b)",
            ";\u{e4}",
            ";a=\u{e4}",
            ";a=\"\u{7f}\"",
            ";a=\"\0\"",
            ";a=\"\n\"",
            ";a=\"\\\n\"",
            "=a",
            "a",
        ] {
            assert!(!is_whole(broken.as_bytes()), "{broken:?}");
        }
    }

    proptest! {
        /// What is made by the grammar is taken, and what ends within it is not.
        #[test]
        fn what_follows_the_grammar_is_taken(
            parts in proptest::collection::vec(
                "[ \t]{0,2};[ \t]{0,2}[!#-'*+.0-9A-Z^_`a-z|~-]{1,5}\
                 ([ \t]{0,2}=[ \t]{0,2}([!#-'*+.0-9A-Z^_`a-z|~-]{1,5}|\"([\t !#-\\[\\]-~]|\\\\[\t -~]){0,5}\"))?",
                1..4,
            ),
            more in "[\r\n\0,(]",
        ) {
            let text = parts.concat();
            prop_assert!(is_whole(text.as_bytes()), "{:?}", text);
            let broken = format!("{text}{more}");
            prop_assert!(!is_whole(broken.as_bytes()), "{:?}", broken);
        }
    }
}
