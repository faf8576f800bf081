//! The form of the files: one line of JSON, whose checksum covers every byte.
//!
//! `{"schema":"haldane.state/1","sha256":"…","state":…}`: the digest is that of the
//! bytes of `state`, and everything around them is compared byte for byte. It finds
//! accidents; whoever can write the file can also compute a digest.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::live::freeze::{Frozen, Position};

/// The form of one file.
pub(crate) struct Form {
    start: &'static str,
    /// What is said of something else.
    is_none: &'static str,
}

/// Where releases stand.
pub(crate) const STATE: Form = Form {
    start: "{\"schema\":\"haldane.state/1\",\"sha256\":\"",
    is_none: "it is no state file",
};

/// What was seen of them.
pub(crate) const EVIDENCE: Form = Form {
    start: "{\"schema\":\"haldane.evidence/1\",\"sha256\":\"",
    is_none: "it is no evidence file",
};

const MIDDLE: &str = "\",\"state\":";
const END: &str = "}\n";

/// Length of a digest in hexadecimal digits.
const DIGITS: usize = 64;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct State<T> {
    routes: T,
    /// Only of the state, and only while frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frozen: Option<Arc<Frozen>>,
    /// See [`Position::turns`].
    #[serde(default, skip_serializing_if = "is_zero")]
    freeze_turns: u64,
}

/// What is in a file, by the names of routes; and whether rollouts are frozen.
pub(crate) type Content<T> = (BTreeMap<String, T>, Position);

/// What is asked of a file whose form is another.
#[derive(Deserialize)]
struct Schema {
    schema: String,
}

impl Form {
    /// The bytes of a file.
    pub(crate) fn encode<T: Serialize>(
        &self,
        routes: &BTreeMap<String, T>,
        freeze: &Position,
    ) -> io::Result<Vec<u8>> {
        let state = serde_json::to_vec(&State {
            routes,
            frozen: freeze.frozen.clone(),
            freeze_turns: freeze.turns,
        })?;
        Ok(self.seal(&state))
    }

    /// The bytes of a file around those of its state.
    pub(crate) fn seal(&self, state: &[u8]) -> Vec<u8> {
        let digits = checksum(state);
        [self.start, &digits, MIDDLE]
            .map(str::as_bytes)
            .into_iter()
            .chain([state, END.as_bytes()])
            .collect::<Vec<_>>()
            .concat()
    }

    /// What the bytes of a file say; a fragment that fits after "cannot use …:" if they are
    /// not exactly what was written.
    pub(crate) fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<Content<T>, String> {
        let Some(rest) = bytes.strip_prefix(self.start.as_bytes()) else {
            return Err(match serde_json::from_slice::<Schema>(bytes) {
                Ok(Schema { schema }) if format!("\"{schema}\"") != self.schema() => {
                    let shown: String = schema.chars().take(60).collect();
                    format!("its schema is {shown:?}, not {}", self.schema())
                }
                Ok(_) | Err(_) => self.is_none.to_owned(),
            });
        };
        let parts = rest
            .split_at_checked(DIGITS)
            .and_then(|(digits, rest)| Some((digits, rest.strip_prefix(MIDDLE.as_bytes())?)))
            .and_then(|(digits, rest)| Some((digits, rest.strip_suffix(END.as_bytes())?)));
        let Some((digits, state)) = parts else {
            return Err("it is cut short".to_owned());
        };
        if checksum(state).as_bytes() != digits {
            return Err("its checksum is wrong".to_owned());
        }
        let state: State<BTreeMap<String, T>> =
            serde_json::from_slice(state).map_err(|error| format!("it is malformed: {error}"))?;
        let freeze = Position {
            frozen: state.frozen,
            turns: state.freeze_turns,
        };
        Ok((state.routes, freeze))
    }

    fn schema(&self) -> &'static str {
        let start = self.start.split_once(':');
        start
            .and_then(|(_, rest)| rest.split(',').next())
            .unwrap_or(self.start)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn checksum(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(DIGITS);
    for byte in digest(&SHA256, bytes).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use haldane_decide::generation::Generation;
    use haldane_decide::ledger::Exposed;
    use haldane_decide::rollout::{Cause, Phase};
    use haldane_decide::snapshot::{CanaryIdentity, Snapshot};
    use haldane_decide::time::Timestamp;
    use haldane_decide::weight::Weight;

    use super::*;
    use crate::live::keeping::{Book, Entry};

    const START: &str = STATE.start;

    fn encode(book: &Book) -> io::Result<Vec<u8>> {
        STATE.encode(book, &Position::default())
    }

    fn decode(bytes: &[u8]) -> Result<Book, String> {
        STATE.decode(bytes).map(|(book, _)| book)
    }

    fn book() -> Book {
        let entry = |phase| Entry {
            salt: u128::MAX / 3,
            canary: CanaryIdentity {
                version: "v2 \"é\"".to_owned(),
                upstreams: vec!["http://a:80".to_owned()],
            },
            release: Snapshot {
                generation: Generation(7),
                weight: Weight::ZERO,
                phase,
            },
            began: None,
            exposed: Exposed {
                users: 3,
                saw_error: 2,
                requests_without_key: 1,
            },
            seen: Timestamp::from_micros(u64::MAX),
        };
        let rolled_back = Phase::RolledBack {
            at: Timestamp::from_micros(5),
            by: Cause::Command {
                actor: None,
                reason: Some("errors\n".to_owned()),
            },
        };
        [("a", Phase::Idle), ("b", rolled_back)]
            .map(|(name, phase)| (name.to_owned(), entry(phase)))
            .into()
    }

    #[test]
    fn what_is_written_is_read() {
        for book in [book(), Book::new()] {
            assert_eq!(decode(&encode(&book).unwrap()), Ok(book));
        }
    }

    #[test]
    fn the_file_is_json_and_says_what_it_is() {
        let bytes = encode(&book()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["schema"], "haldane.state/1");
        assert_eq!(value["state"]["routes"]["b"]["release"]["generation"], 7);
    }

    #[test]
    fn a_cut_anywhere_is_found() {
        let bytes = encode(&book()).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn another_byte_anywhere_is_found() {
        let mut bytes = encode(&book()).unwrap();
        for index in 0..bytes.len() {
            let right = bytes[index];
            // Every bit alone, all at once, and what an editor or a filter might leave.
            for wrong in [1, 2, 4, 8, 16, 32, 64, 128, 255].map(|bits| right ^ bits) {
                bytes[index] = wrong;
                assert!(decode(&bytes).is_err(), "byte {index}: {right} → {wrong}");
            }
            bytes[index] = right;
        }
        for extra in [&b"\n"[..], b" ", b"\0", b"}"] {
            assert!(
                decode(&[&bytes, extra].concat()).is_err(),
                "{extra:?} behind"
            );
            assert!(
                decode(&[extra, &bytes].concat()).is_err(),
                "{extra:?} before"
            );
        }
        assert!(decode(&bytes).is_ok());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let other = b"{\"schema\":\"haldane.state/2\",\"sha256\":\"\",\"state\":{}}\n";
        let malformed = {
            let state = "{\"routes\":{\"a\":1}}";
            [START, &checksum(state.as_bytes()), MIDDLE, state, END].concat()
        };
        for (bytes, expected) in [
            (
                &other[..],
                "its schema is \"haldane.state/2\", not \"haldane.state/1\"",
            ),
            (b"", "it is no state file"),
            (b"\xff\xfe", "it is no state file"),
            (&[b'['; 100_000], "it is no state file"),
            (malformed.as_bytes(), "it is malformed: "),
        ] {
            let said = decode(bytes).unwrap_err();
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
