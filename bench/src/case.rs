//! What is requested and what has to come back.

use clap::ValueEnum;

/// The kinds of load, as named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Answers of 128 B on keep-alive connections.
    Get,
    /// Answers of 16 KiB on keep-alive connections.
    Get16k,
    /// Requests of 16 KiB, answers of 128 B, on keep-alive connections.
    Post16k,
    /// Answers of 1 MiB on keep-alive connections.
    Get1m,
    /// Answers of 128 B, a new connection for each.
    Close,
}

/// Which upstream answered; the first byte of every answer says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Has 95 % of the users.
    Stable,
    /// Has 5 % of the users.
    Canary,
}

/// One load: its requests, and the answer that each of them must get.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Its name on the command line.
    pub(crate) kind: Kind,
    /// The request heads, one for each user.
    pub(crate) heads: Vec<Vec<u8>>,
    /// The body that follows each of them; may be empty.
    pub(crate) body: Vec<u8>,
    /// The request line, which has to reach the upstream unchanged.
    pub(crate) request_line: Vec<u8>,
    /// The length of each answer's body.
    pub(crate) answer_len: usize,
}

impl Kind {
    /// What it is called on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Get16k => "get16k",
            Self::Post16k => "post16k",
            Self::Get1m => "get1m",
            Self::Close => "close",
        }
    }

    /// One line for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Get => "GET, 128 B answers, keep-alive",
            Self::Get16k => "GET, 16 KiB answers, keep-alive",
            Self::Post16k => "POST, 16 KiB requests, 128 B answers, keep-alive",
            Self::Get1m => "GET, 1 MiB answers, keep-alive",
            Self::Close => "GET, 128 B answers, a connection per request",
        }
    }
}

impl Version {
    /// Both, in the order of [`Version::index`].
    pub(crate) const ALL: [Self; 2] = [Self::Stable, Self::Canary];

    /// Its place in arrays of two.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Stable => 0,
            Self::Canary => 1,
        }
    }

    /// What its answers begin with.
    pub(crate) fn mark(self) -> u8 {
        match self {
            Self::Stable => b'S',
            Self::Canary => b'C',
        }
    }

    /// The version whose answers begin with this byte.
    pub(crate) fn of_mark(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.mark() == byte)
    }
}

impl Case {
    /// Prepares all requests of a kind of load, so that the run itself formats nothing.
    pub(crate) fn new(kind: Kind) -> Self {
        let (method, body_len, answer_len) = match kind {
            Kind::Get | Kind::Close => ("GET", 0, 128),
            Kind::Get16k => ("GET", 0, 16 << 10),
            Kind::Post16k => ("POST", 16 << 10, 128),
            Kind::Get1m => ("GET", 0, 1 << 20),
        };
        let request_line = format!("{method} /{} HTTP/1.1\r\n", kind.name());
        let connection = match kind {
            Kind::Close => "connection: close\r\n",
            Kind::Get | Kind::Get16k | Kind::Post16k | Kind::Get1m => "",
        };
        let length = match body_len {
            0 => String::new(),
            len => format!("content-length: {len}\r\n"),
        };
        let heads = (0..USERS)
            .map(|user| {
                let key = user_key(user);
                format!(
                    "{request_line}host: bench\r\nx-user: {key:016x}\r\n{connection}{length}\r\n"
                )
            })
            .map(String::into_bytes)
            .collect();
        let body = framed(REQUEST_MARK, body_len);
        Self {
            kind,
            heads,
            body,
            request_line: request_line.into_bytes(),
            answer_len,
        }
    }

    /// The whole answer of one version.
    pub(crate) fn answer(&self, version: Version) -> Vec<u8> {
        let len = self.answer_len;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {len}\r\n\r\n"
        );
        let mut answer = head.into_bytes();
        answer.extend_from_slice(&framed(version.mark(), len));
        answer
    }
}

/// A body of `len` bytes whose ends can be recognised.
fn framed(mark: u8, len: usize) -> Vec<u8> {
    let mut body = vec![b'.'; len];
    if let Some(last) = body.last_mut() {
        *last = END_MARK;
    }
    if let Some(first) = body.first_mut() {
        *first = mark;
    }
    body
}

/// Keys that look like real ones: SplitMix64 (Steele, Lea and Flood 2014) of the user's number.
fn user_key(user: usize) -> u64 {
    let mut bits = (user as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// How many users take turns: 5 % of them are 26, enough to see a wrong share.
pub(crate) const USERS: usize = 512;

/// What every request body begins with.
pub(crate) const REQUEST_MARK: u8 = b'R';

/// What every body ends with.
pub(crate) const END_MARK: u8 = b'E';

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;

    #[test]
    fn answers_and_requests_are_framed_as_they_say() {
        for kind in Kind::value_variants() {
            let case = Case::new(*kind);
            for version in Version::ALL {
                let answer = case.answer(version);
                let end = message::head_end(&answer).unwrap();
                let body = &answer[end..];
                assert_eq!(
                    message::fields(&answer[..end]).unwrap().content_length,
                    Some(body.len())
                );
                assert_eq!(Version::of_mark(body[0]), Some(version));
                assert_eq!(body.last(), Some(&END_MARK));
            }
            let head = &case.heads[0];
            let fields = message::fields(head).unwrap();
            assert_eq!(message::head_end(head), Some(head.len()));
            assert_eq!(fields.content_length.unwrap_or(0), case.body.len());
            assert_eq!(fields.close, *kind == Kind::Close);
        }
    }

    #[test]
    fn users_have_different_keys() {
        let mut keys: Vec<u64> = (0..USERS).map(user_key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), USERS);
    }
}
