//! Recorded requests as CSV.

use std::io::BufRead;

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};

use super::rows::{BadRow, Line, hash, role, status};

/// Rows below a header.
pub(crate) struct CsvRows<R> {
    reader: Reader<R>,
    record: ByteRecord,
    columns: Columns,
    width: usize,
}

/// Where what is.
struct Columns {
    timestamp_ms: usize,
    role: usize,
    status: usize,
    latency_us: usize,
    key: Option<usize>,
    weight: Option<usize>,
}

impl<R: BufRead> CsvRows<R> {
    /// Reads the header. The weight may be left out if it is given for all rows.
    pub(crate) fn open(input: R, weight_is_given: bool) -> Result<Self, BadRow> {
        let mut reader = ReaderBuilder::new()
            .has_headers(true)
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(input);
        let header = reader.byte_headers().map_err(|error| bad(&error))?.clone();
        let wrong = |what: String| BadRow { line: 1, what };
        let find = |name: &str| {
            let mut at = header
                .iter()
                .enumerate()
                .filter(|(_, column)| column.trim_ascii() == name.as_bytes());
            match (at.next(), at.next()) {
                (Some(_), Some(_)) => Err(wrong(format!("the header names {name} twice"))),
                (found, _) => Ok(found.map(|(index, _)| index)),
            }
        };
        let needed = |name: &str| {
            find(name)?.ok_or_else(|| {
                wrong(format!(
                    "the header has no {name}; it needs timestamp_ms,role,status,latency_us,key,weight \
                     in any order"
                ))
            })
        };
        let columns = Columns {
            timestamp_ms: needed("timestamp_ms")?,
            role: needed("role")?,
            status: needed("status")?,
            latency_us: needed("latency_us")?,
            key: find("key")?,
            weight: find("weight")?,
        };
        if columns.weight.is_none() && !weight_is_given {
            return Err(wrong(
                "the header has no weight; give the canary's share for all rows with --weight"
                    .to_owned(),
            ));
        }
        Ok(Self {
            width: header.len(),
            reader,
            record: ByteRecord::new(),
            columns,
        })
    }

    /// The next line. No row of a CSV file is left out.
    pub(crate) fn next(&mut self) -> Result<Option<Option<Line>>, BadRow> {
        let has_one = self.reader.read_byte_record(&mut self.record);
        if !has_one.map_err(|error| bad(&error))? {
            return Ok(None);
        }
        let line = self.parse().map_err(|what| BadRow {
            line: self.line(),
            what,
        })?;
        Ok(Some(Some(line)))
    }

    /// The line on which the last row began.
    pub(crate) fn line(&self) -> u64 {
        self.record.position().map_or(1, csv::Position::line)
    }

    fn parse(&self) -> Result<Line, String> {
        let fields = self.record.len();
        if fields != self.width {
            return Err(format!(
                "there are {fields} fields; the header has {}",
                self.width
            ));
        }
        let columns = &self.columns;
        let field = |index: usize| self.record.get(index).unwrap_or_default();
        let number = |name: &str, index: usize| number(name, field(index));
        let weight = columns
            .weight
            .map(field)
            .filter(|text| !text.trim_ascii().is_empty());
        Ok(Line {
            timestamp_ms: number("timestamp_ms", columns.timestamp_ms)?,
            role: role(field(columns.role).trim_ascii())?,
            status: status(number("status", columns.status)?)?,
            latency_us: number("latency_us", columns.latency_us)?,
            key: columns.key.and_then(|index| hash(field(index))),
            weight: weight
                .map(|text| self::number("weight", text))
                .transpose()?,
        })
    }
}

fn number(name: &str, text: &[u8]) -> Result<f64, String> {
    let digits = text.trim_ascii();
    if (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) {
        // Most are whole and short, and every sum on the way is exact.
        let value = digits
            .iter()
            .fold(0.0, |value, digit| value * 10.0 + f64::from(digit - b'0'));
        return Ok(value);
    }
    let parsed = std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        format!(
            "{name} is {:?}; allowed is a number",
            String::from_utf8_lossy(text)
        )
    })
}

fn bad(error: &csv::Error) -> BadRow {
    let line = error.position().map_or(1, csv::Position::line);
    let what = match error.kind() {
        ErrorKind::Io(error) => format!("cannot read on: {error}"),
        _ => error.to_string(),
    };
    BadRow { line, what }
}
