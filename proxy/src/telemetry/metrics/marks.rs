//! Which requests stand for counts: the exemplars of OpenMetrics 1.0.
//!
//! The library takes exemplars only for what it has counted itself. So they are written
//! down in the order of the lines that can have one, and put there afterwards.

use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};

use super::buckets::seconds;
use super::table::{DURATION, FAILURES, TTFB};
use crate::live::exemplars::Exemplar;

/// The end of a line: who stands for its count, and for what value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) value: f64,
    pub(super) one: Exemplar,
}

/// One for each line that can have one, so far.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<Vec<Option<Mark>>>);

impl Marks {
    /// The next line that can have one is about to be written.
    pub(super) fn push(&self, mark: Option<Mark>) {
        self.lock().push(mark);
    }

    /// All of them; the next line is the first again.
    pub(super) fn take(&self) -> Vec<Option<Mark>> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Option<Mark>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was written in OpenMetrics, with these marks.
pub(super) fn marked(open: &str, marks: Vec<Option<Mark>>) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(open.len() + 64 * marks.iter().flatten().count());
    let mut marks = marks.into_iter();
    for line in open.lines() {
        text.push_str(line);
        if can_be_marked(line)
            && let Some(Mark { value, one }) = marks.next().flatten()
        {
            let (trace, at) = (one.trace, seconds(one.at.as_micros()));
            write!(text, " # {{trace_id=\"{trace}\"}} {value:?} {at:.3}")?;
        }
        text.push('\n');
    }
    Ok(text)
}

fn can_be_marked(line: &str) -> bool {
    let Some((name, _)) = line.split_once('{') else {
        return false;
    };
    let family = name.strip_suffix("_bucket");
    name == FAILURES.name || family.is_some_and(|name| name == TTFB.name || name == DURATION.name)
}

#[cfg(test)]
mod tests {
    use haldane_decide::time::Timestamp;

    use super::*;
    use crate::trace::Trace;

    #[test]
    fn marks_go_to_the_lines_that_can_have_one_in_their_order() {
        let trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mark = |value| Mark {
            value,
            one: Exemplar {
                trace: Trace::parse(trace).expect("is valid").id,
                at: Timestamp::from_micros(1_700_000_000_123_456),
            },
        };
        let open = "# TYPE haldane_request_failures counter\n\
            haldane_requests_total{code=\"200\"} 4\n\
            haldane_request_failures_total{reason=\"connect\"} 0\n\
            haldane_request_failures_total{reason=\"status\"} 3\n\
            haldane_request_ttfb_seconds_sum{a=\"haldane_request_ttfb_seconds_bucket{\"} 0.1\n\
            haldane_request_ttfb_seconds_bucket{le=\"0.1\"} 1\n\
            haldane_rollback_seconds_bucket{le=\"0.1\"} 1\n\
            haldane_request_duration_seconds_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let marks = vec![None, Some(mark(1.0)), None, Some(mark(0.000_02))];
        let suffix = |value: &str| {
            format!(" # {{trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"}} {value} 1700000000.123")
        };
        let expected = open
            .replace("\"status\"} 3", &format!("\"status\"}} 3{}", suffix("1.0")))
            .replace("\"+Inf\"} 1", &format!("\"+Inf\"}} 1{}", suffix("2e-5")));
        assert_eq!(marked(open, marks).as_deref(), Ok(&*expected));
        assert_eq!(marked(open, Vec::new()).as_deref(), Ok(open));
    }
}
