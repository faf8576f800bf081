//! Recorded requests, whatever they are written in.

use std::fmt;
use std::io::{self, BufRead, Read};

use haldane_decide::role::Role;
use haldane_decide::split::Salt;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;

use super::csv::CsvRows;
use super::json::JsonRows;

/// One recorded request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Record {
    /// Which data row it is, counted from 1.
    pub(crate) row: u64,
    /// When the response ended. Never before that of the row above.
    pub(crate) at: Timestamp,
    /// How long it took, in microseconds.
    pub(crate) latency: u64,
    pub(crate) role: Role,
    /// 0 if there was no response.
    pub(crate) status: u16,
    /// What it was split by, hashed; nothing if it was not sticky.
    pub(crate) key: Option<u64>,
    /// The canary's share when it started.
    pub(crate) weight: Weight,
}

impl Record {
    /// When it started.
    pub(crate) const fn started(&self) -> Timestamp {
        Timestamp::from_micros(self.at.as_micros().saturating_sub(self.latency))
    }
}

/// What rows are read with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// The canary's share where the row does not say it.
    pub(crate) weight: Option<Weight>,
    /// Rows of other routes are left out.
    pub(crate) route: Option<String>,
}

/// A row that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct BadRow {
    /// Counted from 1.
    pub(crate) line: u64,
    /// What was found and what is allowed.
    pub(crate) what: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

/// What one line says, before it is put in its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line {
    /// Milliseconds since the epoch.
    pub(crate) timestamp_ms: f64,
    pub(crate) latency_us: f64,
    pub(crate) role: Role,
    pub(crate) status: u16,
    pub(crate) key: Option<u64>,
    pub(crate) weight: Option<f64>,
}

/// Rows one by one.
pub(crate) struct Rows<R> {
    source: Source<R>,
    reading: Reading,
    row: u64,
    last: Timestamp,
}

enum Source<R> {
    Csv(CsvRows<Begun<R>>),
    Json(JsonRows<Begun<R>>),
}

/// What was read to recognise the format, and the rest.
type Begun<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

/// What something to read is, by how it begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    Compressed,
    Csv,
    Json,
    Nothing,
}

/// What can be read, in a message.
const FORMATS: &str = "a CSV header with timestamp_ms,role,status,latency_us,key,weight, \
    or JSON lines with the same names, or an access log of haldane in JSON";

/// Nothing but white space for longer is nothing.
const BLANK_BYTES_MAX: usize = 1 << 20;

/// What some programs put before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How far the time may go back from one row to the next, in microseconds: what is written by
/// several threads is a little out of order.
const DISORDER_MAX: u64 = 60_000_000;

/// Times before and after these are another unit: 1973 and 5138 in milliseconds.
const TIMESTAMP_MS: std::ops::Range<f64> = 0.0..1e14;

/// More than a day is no latency.
const LATENCY_US_MAX: f64 = 86_400e6;

impl<R: BufRead> Rows<R> {
    /// Recognises the format by how it begins.
    pub(crate) fn open(mut input: R, reading: Reading) -> Result<Self, BadRow> {
        let bad = |what: String| BadRow { line: 1, what };
        let (start, format) = recognise(&mut input).map_err(|error| bad(error.to_string()))?;
        let input = io::Cursor::new(start).chain(input);
        let source = match format {
            Format::Compressed => {
                let hint = "this is compressed; try gunzip -c FILE | haldane replay -";
                return Err(bad(hint.to_owned()));
            }
            Format::Csv => Source::Csv(CsvRows::open(input, reading.weight.is_some())?),
            Format::Json => Source::Json(JsonRows::new(input, reading.route.clone())),
            Format::Nothing => {
                let what = format!("there is nothing to read; allowed is {FORMATS}");
                return Err(bad(what));
            }
        };
        Ok(Self {
            source,
            reading,
            row: 0,
            last: Timestamp::from_micros(0),
        })
    }

    /// The next one, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, BadRow> {
        loop {
            let read = match &mut self.source {
                Source::Csv(rows) => rows.next()?,
                Source::Json(rows) => rows.next()?,
            };
            let Some(line) = read else {
                return Ok(None);
            };
            self.row += 1;
            if let Some(line) = line {
                return self.place(&line).map(Some).map_err(|what| self.bad(what));
            }
        }
    }

    fn bad(&self, what: String) -> BadRow {
        let line = match &self.source {
            Source::Csv(rows) => rows.line(),
            Source::Json(rows) => rows.line(),
        };
        BadRow { line, what }
    }

    fn place(&mut self, line: &Line) -> Result<Record, String> {
        let micros = |value: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "both are positive and below 2^57"
            )]
            let micros = value.round() as u64;
            micros
        };
        if !TIMESTAMP_MS.contains(&line.timestamp_ms) {
            return Err(format!(
                "timestamp_ms is {}; allowed are milliseconds since 1970, such as 1700000000000",
                line.timestamp_ms
            ));
        }
        if !(0.0..=LATENCY_US_MAX).contains(&line.latency_us) {
            return Err(format!(
                "latency_us is {}; allowed are microseconds from 0 to a day",
                line.latency_us
            ));
        }
        let at = Timestamp::from_micros(micros(line.timestamp_ms * 1000.0));
        let back = self.last.since(at);
        if back.as_micros() > u128::from(DISORDER_MAX) {
            return Err(format!(
                "timestamp_ms goes back by {:.0} s; rows must be in the order in which responses \
                 ended",
                back.as_secs_f64()
            ));
        }
        self.last = self.last.max(at);
        Ok(Record {
            row: self.row,
            at: self.last,
            latency: micros(line.latency_us),
            role: line.role,
            status: line.status,
            key: line.key,
            weight: self.weight(line.weight)?,
        })
    }

    fn weight(&self, given: Option<f64>) -> Result<Weight, String> {
        match given {
            Some(ratio) => weight(ratio),
            None => self.reading.weight.ok_or_else(|| {
                "weight is missing; it is the canary's share when the request started, from 0 to \
                 1, or give one for all rows with --weight"
                    .to_owned()
            }),
        }
    }
}

fn weight(ratio: f64) -> Result<Weight, String> {
    let parts = (ratio * f64::from(Weight::FULL.parts_per_million())).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is cast lies between 0 and a million"
    )]
    let found = (0.0..=1e6)
        .contains(&parts)
        .then_some(parts as u32)
        .and_then(Weight::from_parts_per_million);
    found.ok_or_else(|| format!("weight is {ratio}; allowed is a share from 0 to 1, as in 0.05"))
}

/// A split key as 64 bits, the same in every run; nothing if there is none.
pub(crate) fn hash(key: &[u8]) -> Option<u64> {
    (!key.is_empty()).then(|| Salt::from_bits(0).split_key(key).to_bits())
}

/// Which version a row says.
pub(crate) fn role(text: &[u8]) -> Result<Role, String> {
    let found = Role::ALL
        .into_iter()
        .find(|role| role.as_str().as_bytes() == text);
    found.ok_or_else(|| {
        format!(
            "role is {:?}; allowed are stable and canary",
            String::from_utf8_lossy(text)
        )
    })
}

/// Which status a number is.
pub(crate) fn status(number: f64) -> Result<u16, String> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is cast lies between 0 and 999"
    )]
    let found = (number == 0.0 || (100.0..1000.0).contains(&number)).then_some(number as u16);
    found.filter(|_| number.fract() == 0.0).ok_or_else(|| {
        format!(
            "status is {number}; allowed is an HTTP status from 100 to 999, or 0 for no response"
        )
    })
}

/// Reads on until the format is known; what was read, without marks in front of it.
fn recognise<R: BufRead>(input: &mut R) -> io::Result<(Vec<u8>, Format)> {
    let mut start = Vec::new();
    // A pipe gives what there is, which may be one byte.
    let format = loop {
        let part = input.fill_buf()?;
        let (length, is_all) = (part.len(), part.is_empty());
        start.extend_from_slice(part);
        input.consume(length);
        if let Some(format) = format_of(&start, is_all || start.len() > BLANK_BYTES_MAX) {
            break format;
        }
    };
    let marks = start.len() - without_marks(&start).len();
    start.drain(..marks);
    Ok((start, format))
}

/// The format of what begins so; `None` if more has to be known.
fn format_of(start: &[u8], is_all: bool) -> Option<Format> {
    let text = without_marks(start);
    // Nothing yet, or half of a mark.
    if !is_all && BYTE_ORDER_MARK.starts_with(text) {
        return None;
    }
    if text.starts_with(&[0x1f, 0x8b]) {
        return Some(Format::Compressed);
    }
    match text.trim_ascii_start().first() {
        None => is_all.then_some(Format::Nothing),
        Some(b'{') => Some(Format::Json),
        // Half of what tells that it is compressed.
        Some(0x1f) if !is_all && text.len() == 1 => None,
        Some(_) => Some(Format::Csv),
    }
}

/// All marks: who joins two files has two, and the reader of CSV would pass over the second
/// one or not, depending on how it comes.
fn without_marks(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix(BYTE_ORDER_MARK) {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, reading: Reading) -> Result<Vec<Record>, BadRow> {
        Rows::open(text.as_bytes(), reading).and_then(rest_of)
    }

    fn rest_of<R: BufRead>(mut rows: Rows<R>) -> Result<Vec<Record>, BadRow> {
        let mut read = Vec::new();
        while let Some(record) = rows.next()? {
            read.push(record);
        }
        Ok(read)
    }

    fn all(text: &str) -> Result<Vec<Record>, BadRow> {
        read(text, Reading::default())
    }

    #[test]
    fn every_format_says_the_same() {
        let csv = "timestamp_ms,role,status,latency_us,key,weight\n\
                   1700000000000,stable,200,1500,alice,0\n\
                   1700000000001.5,canary,0,2000,,0.05\n\
                   1700000000002,stable,503,3,\"a,\"\"b\",0.05\n";
        let other = "\u{feff}weight,extra,key,latency_us,status,role,timestamp_ms\r\n\
                     0,x,alice,1500,200,stable,1700000000000\r\n\
                     \r\n\
                     0.05,,,2000,0,canary,1700000000001.5\r\n\
                     0.05,\"\n\",\"a,\"\"b\",3,503, stable ,1700000000002\r\n";
        let json = r#"{"timestamp_ms":1700000000000,"role":"stable","status":200,"latency_us":1500,"key":"alice","weight":0}
{"key":null,"weight":0.05,"more":{"a":[1,2]},"latency_us":2000,"status":0,"role":"canary","timestamp_ms":1700000000001.5}

{"timestamp_ms":1700000000002,"role":"stable","status":503,"latency_us":3,"key":"a,\"b","weight":5e-2}
"#;
        let rows = all(csv).unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[1].at, Timestamp::from_micros(1_700_000_000_001_500));
        assert_eq!(rows[1].key, None);
        assert_eq!(
            rows[1].started(),
            Timestamp::from_micros(1_699_999_999_999_500)
        );
        assert_eq!(rows[2].weight, "5%".parse().unwrap());
        assert_eq!(all(other).unwrap(), rows);
        assert_eq!(all(json).unwrap(), rows);
    }

    #[test]
    fn the_access_log_is_read_as_what_it_says_about_versions() {
        let line = |rest: &str| {
            format!(
                "{{\"time\":\"x\",\"timestamp_ms\":1700000000000,\"route\":\"a\",\"role\":\"canary\",\
                 \"weight\":0.05,\"key\":\"00ff\",\"duration_us\":9,\"latency_us\":9,{rest}}}\n"
            )
        };
        let text = [
            line("\"status\":200,\"reason\":null,\"error\":null"),
            // The version did it, whatever the client was told.
            line("\"status\":200,\"reason\":\"truncated\""),
            line("\"status\":503,\"reason\":\"status\""),
            line("\"status\":502,\"reason\":\"connect\",\"error\":\"connect_failed\""),
            // It has failed, and stable has answered.
            line("\"status\":200,\"reason\":\"status\",\"shielded\":\"v1\""),
            // Nobody's failure: its generation was rolled back while it waited.
            line("\"status\":200,\"reason\":null,\"shielded\":\"v1\""),
            // Nor this: the client left, or haldane refused.
            line("\"status\":0,\"reason\":null"),
            line("\"status\":503,\"reason\":null,\"error\":\"overloaded\""),
            // Not sent anywhere.
            line("\"status\":404")
                .replace("\"canary\"", "null")
                .replace("\"a\"", "null"),
        ]
        .concat();
        let rows = all(&text).unwrap();
        let seen: Vec<(u64, u16)> = rows.iter().map(|row| (row.row, row.status)).collect();
        assert_eq!(seen, [(1, 200), (2, 0), (3, 503), (4, 502), (5, 0)]);
        let two = format!("{text}{}", line("\"status\":200").replace("\"a\"", "\"b\""));
        let bad = all(&two).unwrap_err();
        assert_eq!(bad.line, 10);
        assert!(bad.what.contains("--route"), "{bad}");
        for (route, count) in [("a", 5), ("b", 1), ("c", 0)] {
            let reading = Reading {
                route: Some(route.to_owned()),
                ..Reading::default()
            };
            assert_eq!(read(&two, reading).unwrap().len(), count, "{route}");
        }
    }

    #[test]
    fn a_weight_for_all_rows_is_for_those_that_have_none() {
        let reading = Reading {
            weight: Some("5%".parse().unwrap()),
            ..Reading::default()
        };
        for text in [
            "timestamp_ms,role,status,latency_us,key\n1,stable,200,1,\n",
            "timestamp_ms,role,status,latency_us,key,weight\n1,stable,200,1,,\n",
            "{\"timestamp_ms\":1,\"role\":\"stable\",\"status\":200,\"latency_us\":1}",
        ] {
            let rows = read(text, reading.clone()).unwrap();
            assert_eq!(rows[0].weight, "5%".parse().unwrap());
            assert!(all(text).unwrap_err().what.contains("--weight"), "{text}");
        }
    }

    #[test]
    fn a_little_disorder_is_none_and_much_is_refused() {
        let text = |ms: u64| {
            format!(
                "timestamp_ms,role,status,latency_us,key,weight\n100000,stable,200,1,,0\n{ms},stable,200,1,,0\n"
            )
        };
        let rows = all(&text(99_000)).unwrap();
        assert_eq!(rows[0].at, rows[1].at);
        let bad = all(&text(1)).unwrap_err();
        assert_eq!(bad.line, 3);
        assert!(bad.what.contains("goes back by 100 s"), "{bad}");
    }

    #[test]
    fn a_compressed_file_is_not_taken_for_text() {
        let found = Rows::open(&b"\x1f\x8b\x08"[..], Reading::default());
        assert!(found.err().unwrap().what.contains("compressed"));
    }

    /// Programs behind a pipe write when they like.
    #[test]
    fn what_comes_byte_by_byte_is_read_like_a_whole() {
        let csv = "timestamp_ms,role,status,latency_us,key,weight\n1,stable,200,1,a,0\n";
        let json = r#"{"timestamp_ms":1,"role":"stable","status":200,"latency_us":1,"weight":0}"#;
        for start in ["", "\u{feff}", "\n", "\u{feff}\r\n\n", "\u{feff}\u{feff}"] {
            for rest in [csv, json, "", "x", "{", "\u{1f}\u{8b}", "\u{1f}", "\u{fe}"] {
                let text = format!("{start}{rest}");
                let crumbs = io::BufReader::with_capacity(1, text.as_bytes());
                let found = Rows::open(crumbs, Reading::default()).and_then(rest_of);
                assert_eq!(found, all(&text), "{text:?}");
                let is_whole = rest == csv || rest == json;
                assert_eq!(
                    found.is_ok_and(|rows| rows.len() == 1),
                    is_whole,
                    "{text:?}"
                );
            }
        }
        let found = Rows::open(
            io::BufReader::with_capacity(1, &b"\x1f\x8b"[..]),
            Reading::default(),
        );
        assert!(found.err().unwrap().what.contains("compressed"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let row = |row: &str| {
            format!("timestamp_ms,role,status,latency_us,key,weight\n1,stable,200,1,,0\n{row}\n")
        };
        for (text, line, what) in [
            (String::new(), 1, "nothing to read"),
            ("a,b\n1,2\n".to_owned(), 1, "timestamp_ms"),
            ("timestamp_ms,role,status,status,latency_us,weight\n".to_owned(), 1, "twice"),
            (row("1,stable,200,1,"), 3, "5 fields"),
            (row("1,stable,200,1,,0,7"), 3, "7 fields"),
            (row("x,stable,200,1,,0"), 3, "timestamp_ms is \"x\""),
            (row("-1,stable,200,1,,0"), 3, "timestamp_ms is -1"),
            (row("1e300,stable,200,1,,0"), 3, "timestamp_ms is"),
            (row("NaN,stable,200,1,,0"), 3, "timestamp_ms is"),
            (row("1,Stable,200,1,,0"), 3, "role is \"Stable\""),
            (row("1,stable,42,1,,0"), 3, "status is 42"),
            (row("1,stable,200.5,1,,0"), 3, "status is 200.5"),
            (row("1,stable,,1,,0"), 3, "status is \"\""),
            (row("1,stable,200,-1,,0"), 3, "latency_us is -1"),
            (row("1,stable,200,1,,5"), 3, "weight is 5"),
            (row("1,stable,200,1,,5%"), 3, "weight is \"5%\""),
            (row("1,stable,200,1,,"), 3, "weight is missing"),
            ("{\"timestamp_ms\":1,\n".to_owned(), 1, "JSON"),
            ("{}\n".to_owned(), 1, "timestamp_ms is missing"),
            ("{\"timestamp_ms\":1,\"role\":\"stable\",\"status\":\"200\"}".to_owned(), 1, "expected"),
            ("{\"timestamp_ms\":1,\"role\":\"stable\",\"status\":200,\"latency_us\":1}".to_owned(), 1, "weight"),
            (
                "{\"timestamp_ms\":1,\"role\":\"canary\",\"status\":200,\"latency_us\":1,\"weight\":1}\n\nnope\n"
                    .to_owned(),
                3,
                "JSON",
            ),
        ] {
            let bad = all(&text).expect_err(&text);
            assert_eq!(bad.line, line, "{text:?}: {bad}");
            assert!(bad.what.contains(what), "{text:?}: {bad}");
        }
    }
}
