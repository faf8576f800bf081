//! `haldane tap`: the last requests that the versions of a route have failed.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Deserialize;

use super::Exit;
use super::client::{Client, Failure};
use super::output::{Form, say, tell};
use super::view::{meant, path_of};
use crate::telemetry::visible::is_hidden;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The route; may be left out if there is only one
    route: Option<String>,
    /// Only those of this version
    #[arg(long, value_name = "ROLE")]
    role: Option<RoleName>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    form: Form,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum RoleName {
    Canary,
    Stable,
}

/// What the API says, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Tap {
    /// The newest first.
    requests: Vec<Request>,
    dropped: u64,
}

#[derive(Debug, Deserialize)]
struct Request {
    at: String,
    version: String,
    method: String,
    path: String,
    status: Option<u16>,
    grpc_status: Option<u32>,
    reason: String,
    address: Option<String>,
    duration_ms: f64,
    trace_id: Option<String>,
    request_id: Option<String>,
    shielded: bool,
}

/// Paths are cut after so many characters, so that a line stays one.
const PATH_WIDTH: usize = 48;

const TITLES: [&str; 7] = [
    "time",
    "version",
    "request",
    "failed by",
    "after",
    "at",
    "trace or request id",
];

pub(crate) async fn tap(args: &Args, client: &Client) -> Result<Exit, Failure> {
    let route = meant(client, args.route.as_deref()).await?;
    let mut query = format!("/tap?limit={}", args.limit);
    match args.role {
        Some(RoleName::Canary) => query.push_str("&role=canary"),
        Some(RoleName::Stable) => query.push_str("&role=stable"),
        None => {}
    }
    let reply = client.get(&path_of(&route, &query)).await?;
    if args.form.is_json() {
        say(reply.text());
        return Ok(Exit::Done);
    }
    let tap: Tap = reply.read()?;
    if tap.requests.is_empty() {
        tell(format_args!("no request of {} has failed", shown(&route)));
        return Ok(Exit::Done);
    }
    for line in table(&tap.requests) {
        say(line);
    }
    if tap.dropped > 0 {
        tell(format_args!("{} more before these", tap.dropped));
    }
    Ok(Exit::Done)
}

/// The newest last, where a person looks first.
fn table(requests: &[Request]) -> Vec<String> {
    let titles = TITLES.map(str::to_owned);
    let rows = requests.iter().rev().map(Request::cells);
    let rows: Vec<[String; TITLES.len()]> = [titles].into_iter().chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; TITLES.len()] = std::array::from_fn(width);
    let line = |row: &[String; TITLES.len()]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

impl Request {
    fn cells(&self) -> [String; TITLES.len()] {
        // The day is today's for most; the whole is in the JSON.
        let time = self.at.split_once('T').map_or(&*self.at, |(_, time)| time);
        let mut failed_by = match (self.status, self.grpc_status) {
            (Some(_), Some(grpc)) => format!("grpc-status {grpc}"),
            (Some(status), None) if self.reason == "status" => format!("status {status}"),
            (Some(status), None) => format!("{}, status {status}", self.reason),
            (None, _) => self.reason.clone(),
        };
        if self.shielded {
            failed_by.push_str("; stable answered");
        }
        let id = self.trace_id.as_ref().or(self.request_id.as_ref());
        let address = self.address.as_deref();
        let request = format!("{} {}", self.method, cut(&shown(&self.path)));
        [
            time.trim_end_matches('Z').to_owned(),
            self.version.clone(),
            request,
            failed_by,
            after(self.duration_ms),
            address.unwrap_or("-").to_owned(),
            id.map_or("-", String::as_str).to_owned(),
        ]
        .map(|cell| shown(&cell))
    }
}

fn after(milliseconds: f64) -> String {
    if milliseconds < 10.0 {
        format!("{milliseconds:.1} ms")
    } else {
        format!("{milliseconds:.0} ms")
    }
}

/// What a terminal would act on, spelled out.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        if is_hidden(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(PATH_WIDTH) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str) -> Request {
        Request {
            at: "2026-11-21T10:54:13.042Z".to_owned(),
            version: "v2".to_owned(),
            method: "GET".to_owned(),
            path: path.to_owned(),
            status: Some(503),
            grpc_status: None,
            reason: "status".to_owned(),
            address: Some("10.0.0.1:8080".to_owned()),
            duration_ms: 12.3,
            trace_id: None,
            request_id: Some("r1".to_owned()),
            shielded: false,
        }
    }

    #[test]
    fn the_newest_is_the_last_line_and_columns_are_aligned() {
        let older = Request {
            at: "2026-11-21T10:54:12.000Z".to_owned(),
            status: None,
            reason: "stalled".to_owned(),
            shielded: true,
            address: None,
            request_id: None,
            ..request("/a/longer/path")
        };
        let call = Request {
            status: Some(200),
            grpc_status: Some(14),
            reason: "grpc".to_owned(),
            ..request("/c")
        };
        let lines = table(&[request("/b"), call, older]);
        let expected = [
            "time          version  request             failed by                 after  at             trace or request id",
            "10:54:12.000  v2       GET /a/longer/path  stalled; stable answered  12 ms  -              -",
            "10:54:13.042  v2       GET /c              grpc-status 14            12 ms  10.0.0.1:8080  r1",
            "10:54:13.042  v2       GET /b              status 503                12 ms  10.0.0.1:8080  r1",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_path_does_nothing_to_the_terminal_and_stays_on_its_line() {
        let hostile = format!("/\x1b[2J\u{202e}\r\n\u{9b}{}", "x".repeat(500));
        let lines = table(&[request(&hostile)]);
        assert_eq!(lines.len(), 2);
        assert!(!lines[1].chars().any(is_hidden), "{lines:?}");
        assert!(
            lines[1].contains("/\\u{1b}[2J\\u{202e}\\u{d}\\u{a}\\u{9b}xx"),
            "{lines:?}"
        );
        assert!(lines[1].chars().count() < 160, "{lines:?}");
    }
}
