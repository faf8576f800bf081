//! What polls once a minute: analysis as Argo Rollouts and Flagger do it, and Kayenta's test.

use super::mannwhitney::is_high;

/// One role in one minute.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    /// Requests that ended.
    pub(crate) requests: u64,
    /// Those that failed.
    pub(crate) failures: u64,
    /// Milliseconds; `None` where nobody looks at latency, or nothing ended.
    pub(crate) p99: Option<f64>,
}

/// Both roles in one minute.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Minute {
    /// Of a part of stable as large as the canary, which is what Kayenta wants to be given.
    pub(crate) baseline: Served,
    /// Of the canary.
    pub(crate) canary: Served,
    /// Of stable.
    pub(crate) stable: Served,
}

/// What is polled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Query {
    /// More than 1 % of the canary's requests failed.
    Errors,
    /// The canary's p99 was more than twice stable's.
    Latency,
}

/// Who polls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Poll {
    /// Fails with the first measurement beyond so many failed ones; a minute without a
    /// request has no failed measurement (`analysis.go` at commit 9f8d111).
    Argo {
        /// `failureLimit`, 0 unless given.
        limit: u32,
    },
    /// Rolls back at the tick after so many failed checks, which are never forgotten; no
    /// value counts as a failed check (`scheduler.go` at commit 15bd6ad).
    Flagger {
        /// `threshold`, 5 in its examples.
        failures: u32,
    },
    /// Compares all minutes so far, every so many minutes.
    Kayenta {
        /// The interval.
        minutes: usize,
    },
}

/// One poller on one rollout.
#[derive(Clone, Debug)]
pub(crate) struct Polled {
    poll: Poll,
    query: Query,
    failed: u32,
    canary: Vec<f64>,
    baseline: Vec<f64>,
}

impl Served {
    fn rate(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.failures as f64 / self.requests as f64)
    }
}

impl Poll {
    /// What the tables call it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Argo { limit } => format!("60 s, limit {limit} (Argo)"),
            Self::Flagger { failures } => format!("60 s x {failures} (Flagger)"),
            Self::Kayenta { minutes } => format!("Mann-Whitney, {minutes} min"),
        }
    }
}

impl Query {
    /// What the tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors > 1 %",
            Self::Latency => "p99 > 2x stable",
        }
    }
}

impl Polled {
    /// Who it is.
    pub(crate) fn poll(&self) -> Poll {
        self.poll
    }

    /// What it looks at.
    pub(crate) fn query(&self) -> Query {
        self.query
    }

    /// At the start of a rollout.
    pub(crate) fn new(poll: Poll, query: Query) -> Self {
        Self {
            poll,
            query,
            failed: 0,
            canary: Vec::new(),
            baseline: Vec::new(),
        }
    }

    /// Whether the rollout is rolled back at the end of this minute.
    pub(crate) fn rolls_back(&mut self, minute: &Minute) -> bool {
        match self.poll {
            Poll::Argo { limit } => {
                self.failed += u32::from(self.is_bad(minute).unwrap_or(false));
                self.failed > limit
            }
            Poll::Flagger { failures } => {
                let reached = self.failed >= failures;
                self.failed += u32::from(self.is_bad(minute).unwrap_or(true));
                reached
            }
            Poll::Kayenta { minutes } => {
                let values = (self.value(&minute.canary), self.value(&minute.baseline));
                if let (Some(canary), Some(baseline)) = values {
                    self.canary.push(canary);
                    self.baseline.push(baseline);
                }
                self.failed += 1;
                (self.failed as usize).is_multiple_of(minutes)
                    && is_high(&self.canary, &self.baseline)
            }
        }
    }

    fn is_bad(&self, minute: &Minute) -> Option<bool> {
        let canary = self.value(&minute.canary)?;
        match self.query {
            Query::Errors => Some(canary > ERROR_RATE_MAX),
            Query::Latency => Some(canary > P99_RATIO_MAX * self.value(&minute.stable)?),
        }
    }

    fn value(&self, served: &Served) -> Option<f64> {
        match self.query {
            Query::Errors => served.rate(),
            Query::Latency => served.p99,
        }
    }
}

/// The example of both projects' documentation.
const ERROR_RATE_MAX: f64 = 0.01;

/// The limit that haldane's default gate has, too.
const P99_RATIO_MAX: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(requests: u64, failures: u64) -> Minute {
        let canary = Served {
            requests,
            failures,
            p99: None,
        };
        let stable = Served {
            requests: 1000,
            failures: 1,
            p99: None,
        };
        Minute {
            baseline: stable,
            canary,
            stable,
        }
    }

    /// The minute, from 1, at whose end it rolls back.
    fn ends(poll: Poll, minutes: &[Minute]) -> Option<usize> {
        let mut polled = Polled::new(poll, Query::Errors);
        minutes
            .iter()
            .position(|minute| polled.rolls_back(minute))
            .map(|at| at + 1)
    }

    #[test]
    fn argo_counts_failed_measurements() {
        let bad = [minute(50, 1), minute(0, 0), minute(50, 0), minute(50, 9)];
        assert_eq!(ends(Poll::Argo { limit: 0 }, &bad), Some(1));
        assert_eq!(ends(Poll::Argo { limit: 1 }, &bad), Some(4));
        assert_eq!(ends(Poll::Argo { limit: 2 }, &bad), None);
        assert_eq!(ends(Poll::Argo { limit: 0 }, &[minute(100, 1)]), None);
    }

    #[test]
    fn flagger_acts_a_tick_after_its_limit_and_takes_silence_for_failure() {
        let flagger = Poll::Flagger { failures: 5 };
        assert_eq!(ends(flagger, &[minute(50, 9); 9]), Some(6));
        assert_eq!(ends(flagger, &[minute(0, 0); 9]), Some(6));
        assert_eq!(ends(flagger, &[minute(50, 0); 99]), None);
    }

    #[test]
    fn kayenta_looks_at_the_end_of_its_interval() {
        let bad: Vec<Minute> = (0..20).map(|more| minute(100, 40 + more)).collect();
        assert_eq!(ends(Poll::Kayenta { minutes: 5 }, &bad), Some(5));
        assert_eq!(ends(Poll::Kayenta { minutes: 15 }, &bad), Some(15));
        assert_eq!(
            ends(Poll::Kayenta { minutes: 5 }, &[minute(100, 0); 20]),
            None
        );
    }

    #[test]
    fn latency_compares_p99s() {
        let mut slow = minute(100, 0);
        (slow.canary.p99, slow.stable.p99) = (Some(201.0), Some(100.0));
        let mut argo = Polled::new(Poll::Argo { limit: 0 }, Query::Latency);
        assert!(argo.rolls_back(&slow));
        slow.canary.p99 = Some(200.0);
        let mut argo = Polled::new(Poll::Argo { limit: 0 }, Query::Latency);
        assert!(!argo.rolls_back(&slow));
    }
}
