//! What answers mean. Whatever is not clearly one number is none, and says why.

use std::fmt::Write;
use std::time::Duration;

use haldane_decide::gate::INTERVALS_FRESH;
use haldane_decide::time::Timestamp;
use serde::Deserialize;

use crate::control::remote::Answer;

/// How much of what somebody else has written is passed on.
const TEXT_CHARS_MAX: usize = 200;

/// The body of an answer that is an object.
#[derive(Deserialize)]
struct Said {
    value: Option<f64>,
    ok: Option<bool>,
}

/// The number in the answer of a URL: a number, `{"value": 0.3}`, or `{"ok": true}`, which
/// counts as 0, and `{"ok": false}` as 1.
pub(crate) fn of_url(answer: &Answer) -> Result<f64, String> {
    if !answer.status.is_success() {
        return Err(format!("the status is {}", answer.status));
    }
    let text = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
    if let Ok(value) = text.parse() {
        return finite(value);
    }
    match serde_json::from_str(text) {
        Ok(Said {
            value: Some(value), ..
        }) => finite(value),
        Ok(Said { ok: Some(ok), .. }) => Ok(if ok { 0.0 } else { 1.0 }),
        Ok(Said {
            value: None,
            ok: None,
        })
        | Err(_) => Err("it is neither a number nor has it `value` or `ok`".to_owned()),
    }
}

/// An answer of Prometheus (<https://prometheus.io/docs/prometheus/latest/querying/api/>).
#[derive(Deserialize)]
struct Prometheus {
    data: Option<Data>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "snake_case")]
enum Data {
    Matrix(serde::de::IgnoredAny),
    Scalar(Sample),
    String(serde::de::IgnoredAny),
    Vector(Vec<Series>),
}

#[derive(Deserialize)]
struct Series {
    value: Option<Sample>,
}

/// Seconds since 1970, and a number as text.
#[derive(Deserialize)]
struct Sample(f64, String);

/// The number that an instant query gives: a scalar, or the only element of a vector.
pub(crate) fn of_prometheus(
    answer: &Answer,
    interval: Duration,
    now: Timestamp,
) -> Result<f64, String> {
    let said: Prometheus = serde_json::from_slice(&answer.body).map_err(|_| {
        format!(
            "the status is {}, and it is not Prometheus that answers",
            answer.status
        )
    })?;
    if let (Some(kind), error) = (said.error_type, said.error.unwrap_or_default()) {
        return Err(shortened(&format!("{kind}: {error}")));
    }
    let Sample(at, value) = match said.data.filter(|_| answer.status.is_success()) {
        None => return Err(format!("the status is {}", answer.status)),
        Some(Data::Matrix(_)) => return Err("the query gives a range".to_owned()),
        Some(Data::String(_)) => return Err("the query gives a text".to_owned()),
        Some(Data::Scalar(sample)) => sample,
        Some(Data::Vector(mut series)) => match (series.pop(), series.len()) {
            (None, _) => return Err("the query gives nothing".to_owned()),
            (Some(Series { value: None }), 0) => {
                return Err("the query gives a histogram".to_owned());
            }
            (
                Some(Series {
                    value: Some(sample),
                }),
                0,
            ) => sample,
            (Some(_), others) => {
                return Err(format!("the query gives {} series and not one", others + 1));
            }
        },
    };
    let age = seconds(now) - at;
    if age.abs() > interval.as_secs_f64() * f64::from(INTERVALS_FRESH) {
        return Err(format!("its time is {age:.0} s from now"));
    }
    // As Go writes it: `+Inf`, `NaN`, `1e-05`.
    let value = value.parse();
    value.map_or_else(|_| Err("the result is no number".to_owned()), finite)
}

/// What asks for this query, below the URL of a Prometheus.
pub(crate) fn path_of(query: &str) -> String {
    let mut path = "/api/v1/query?query=".to_owned();
    for byte in query.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

fn finite(value: f64) -> Result<f64, String> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(format!("the result is {value}"))
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds are compared roughly")]
const fn seconds(time: Timestamp) -> f64 {
    time.as_micros() as f64 / 1e6
}

fn shortened(text: &str) -> String {
    let printable = text.chars().filter(|character| !character.is_control());
    printable.take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use hyper::header::HeaderMap;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            fields: HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn a_url_answers_with_a_number_or_whether_it_is_well() {
        for (status, body, value) in [
            (200, "0.5\n", Some(0.5)),
            (200, " -3 ", Some(-3.0)),
            (204, "1e2", Some(100.0)),
            (200, "{\"value\": 0.25, \"ok\": false}", Some(0.25)),
            (200, "{\"ok\":true}", Some(0.0)),
            (200, "{\"ok\":false, \"why\": []}", Some(1.0)),
            (200, "nan", None),
            (200, "inf", None),
            (200, "1e999", None),
            (200, "{\"value\": 1e999}", None),
            (200, "{\"value\": null}", None),
            (200, "{\"value\": \"0.5\"}", None),
            (200, "{}", None),
            (200, "[0.5]", None),
            (200, "", None),
            (200, "true", None),
            (404, "0.5", None),
            (503, "0.5", None),
            (302, "0.5", None),
        ] {
            let found = of_url(&answer(status, body));
            assert_eq!(found.clone().ok(), value, "{status} {body}: {found:?}");
        }
    }

    #[test]
    fn prometheus_answers_with_exactly_one_fresh_number() {
        let vector = |series: &str| {
            format!(
                "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{series}]}}}}"
            )
        };
        let one = |at: f64, value: &str| {
            format!("{{\"metric\":{{\"a\":\"b\"}},\"value\":[{at},\"{value}\"]}}")
        };
        let scalar = "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":[1000.5,\"0.25\"]}}";
        let range = "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[]}}";
        let error =
            "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"1:1: parse error\"}";
        let histogram = "{\"metric\":{},\"histogram\":[1000,{}]}";
        let now = Timestamp::from_micros(1_000_000_000);
        for (status, body, expected) in [
            (200, vector(&one(1000.0, "0.5")), Ok(0.5)),
            (200, vector(&one(971.0, "1e-05")), Ok(1e-5)),
            (200, scalar.to_owned(), Ok(0.25)),
            (200, vector(""), Err("the query gives nothing")),
            (
                200,
                vector(&format!("{},{}", one(1000.0, "1"), one(1000.0, "2"))),
                Err("the query gives 2 series and not one"),
            ),
            (200, vector(histogram), Err("the query gives a histogram")),
            (200, vector(&one(1000.0, "NaN")), Err("the result is NaN")),
            (200, vector(&one(1000.0, "+Inf")), Err("the result is inf")),
            (
                200,
                vector(&one(1000.0, "x")),
                Err("the result is no number"),
            ),
            (
                200,
                vector(&one(969.0, "1")),
                Err("its time is 31 s from now"),
            ),
            (
                200,
                vector(&one(1031.0, "1")),
                Err("its time is -31 s from now"),
            ),
            (200, range.to_owned(), Err("the query gives a range")),
            (400, error.to_owned(), Err("bad_data: 1:1: parse error")),
            (
                502,
                vector(&one(1000.0, "1")),
                Err("the status is 502 Bad Gateway"),
            ),
            (
                200,
                "hello".to_owned(),
                Err("the status is 200 OK, and it is not Prometheus that answers"),
            ),
        ] {
            let found = of_prometheus(&answer(status, &body), Duration::from_secs(10), now);
            assert_eq!(found, expected.map_err(str::to_owned), "{status} {body}");
        }
    }

    #[test]
    fn queries_are_encoded_byte_by_byte() {
        assert_eq!(
            path_of("sum(up{a=\"é\"}) + 1"),
            "/api/v1/query?query=sum%28up%7Ba%3D%22%C3%A9%22%7D%29%20%2B%201"
        );
    }
}
