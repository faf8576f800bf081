//! When the recorded rollout began and ended, and how often its weight changed.

use std::io::BufRead;
use std::time::Duration;

use haldane_decide::gate::spec::Promise;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;

use super::is_unplanned;
use super::rows::{BadRow, Record, Rows};

/// The recorded rollout as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Outline {
    /// When the first request of the rollout started; the end of time if there was none.
    pub(super) start: Timestamp,
    end: Timestamp,
    raises: u32,
}

/// Times in files are rounded, so a request of the weight before may seem to have started a
/// little after the first one of the next.
const ROUNDING: Duration = Duration::from_millis(10);

impl Outline {
    /// Reads all rows. If the weight is given for a whole file, the rollout begins with the
    /// first row.
    pub(super) fn of<R: BufRead>(
        rows: &mut Rows<R>,
        weight_is_given: bool,
    ) -> Result<Self, BadRow> {
        let mut outline = Self {
            start: Timestamp::from_micros(u64::MAX),
            end: Timestamp::from_micros(0),
            raises: 0,
        };
        let mut step: Option<(Weight, Timestamp)> = None;
        while let Some(record) = rows.next()? {
            outline.end = outline.end.max(record.at);
            if !record.weight.is_zero() {
                let is_first = step.is_none();
                outline.add(&record, &mut step);
                if is_first || !weight_is_given {
                    outline.start = outline.start.min(record.started());
                }
            }
        }
        Ok(outline)
    }

    fn add(&mut self, record: &Record, step: &mut Option<(Weight, Timestamp)>) {
        let started = record.started();
        match step {
            None => *step = Some((record.weight, started)),
            Some((weight, _)) if *weight == record.weight => {}
            // It has taken its time since the step before.
            Some((_, since)) if started < since.after(ROUNDING) => {}
            Some(step) => {
                self.raises = self.raises.saturating_add(1);
                *step = (record.weight, started);
            }
        }
    }

    /// What is promised, for a rollout of this length unless its plan says another.
    pub(super) fn promise(&self, configured: Promise) -> Promise {
        if !is_unplanned(&configured) {
            return configured;
        }
        Promise {
            horizon: self.end.since(self.start),
            steps: self.raises,
            ..configured
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::Reading;
    use super::*;

    fn outline(rows: &[(u64, u64, &str)], given: bool) -> Outline {
        let mut text = "timestamp_ms,role,status,latency_us,key,weight\n".to_owned();
        for (ms, latency, weight) in rows {
            text.push_str(&format!("{ms},stable,200,{latency},,{weight}\n"));
        }
        let mut rows = Rows::open(text.as_bytes(), Reading::default()).unwrap();
        Outline::of(&mut rows, given).unwrap()
    }

    #[test]
    fn a_rollout_begins_with_its_earliest_request_and_stragglers_are_no_step() {
        let rows = [
            (1000, 1_000, "0"),
            (2100, 50_000, "0.01"),
            (2200, 190_000, "0.01"),
            (2300, 290_000, "0"),
            (5000, 10_000, "0.05"),
            // Started before the step.
            (5100, 900_000, "0.01"),
            (5101, 111_500, "0.01"),
            (5200, 10_000, "0.05"),
            (9000, 10_000, "0.25"),
            (9500, 4_400_000, "0.05"),
            (9900, 10_000, "0"),
        ];
        let found = outline(&rows, false);
        assert_eq!(found.start, Timestamp::from_micros(2_010_000));
        assert_eq!(found.raises, 2);
        let promise = found.promise(Promise::default());
        assert_eq!(promise.horizon, Duration::from_micros(7_890_000));
        assert_eq!(promise.steps, 2);
        let planned = Promise {
            steps: 7,
            ..Promise::default()
        };
        assert_eq!(found.promise(planned), planned);
        let given = outline(&rows, true);
        assert_eq!(given.start, Timestamp::from_micros(2_050_000));
    }

    #[test]
    fn without_a_rollout_there_is_no_start() {
        let found = outline(&[(1000, 1_000, "0")], false);
        assert_eq!(found.start, Timestamp::from_micros(u64::MAX));
        assert_eq!(found.promise(Promise::default()).horizon, Duration::ZERO);
    }
}
