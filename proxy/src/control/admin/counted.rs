//! What a version has done: since the process started, and lately.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use haldane_decide::outcome::FailureReason;
use haldane_decide::role::Role;
use haldane_decide::time::Timestamp;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::live::histogram::empty_histogram;
use crate::live::shard::Responses;
use crate::live::{Live, Route};

/// So long is what counts as lately: enough for a quantile to mean something.
const WINDOW: Duration = Duration::from_secs(5);

/// The counts of a version.
pub(super) struct Counted {
    pub(super) requests: u64,
    pub(super) in_flight: u64,
    pub(super) failures: u64,
    times: Histogram<u64>,
}

/// Times to the first byte. Absent without responses.
#[derive(Clone, Serialize)]
pub(super) struct TimesView {
    mean: Option<f64>,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

/// What a version did in the last stretch of time that is over.
#[derive(Clone, Serialize)]
pub(super) struct LatelyView {
    /// When that ended.
    until: Timestamp,
    /// How long it was.
    seconds: f64,
    requests: u64,
    failures: u64,
    ttfb_seconds: TimesView,
}

/// What all versions did lately, for one who looks again and again.
#[derive(Default)]
pub(super) struct Lately {
    windows: HashMap<(Arc<str>, Role), Window>,
}

struct Window {
    version: Arc<str>,
    began: Timestamp,
    before: Counted,
    last: Option<LatelyView>,
}

impl Counted {
    /// Since the process started.
    pub(super) fn of(route: &Route, role: Role) -> Self {
        let (requests, in_flight) = route.requests(role);
        let mut counted = Self {
            requests,
            in_flight,
            failures: 0,
            times: empty_histogram(),
        };
        for shard in route.shards_of(role) {
            shard.add_ttfb(Responses::All, &mut counted.times);
            let by_reason = FailureReason::ALL.map(|reason| shard.failures_by(reason));
            counted.failures += by_reason.iter().sum::<u64>();
        }
        counted
    }

    pub(super) fn times(&self) -> TimesView {
        TimesView::of(&self.times)
    }

    /// What came since; `None` if these are not counts of the same thing.
    fn since(&self, before: &Self, (began, now): (Timestamp, Timestamp)) -> Option<LatelyView> {
        let mut times = self.times.clone();
        times.subtract(&before.times).ok()?;
        Some(LatelyView {
            until: now,
            seconds: now.since(began).as_secs_f64(),
            requests: self.requests.checked_sub(before.requests)?,
            failures: self.failures.checked_sub(before.failures)?,
            ttfb_seconds: TimesView::of(&times),
        })
    }
}

impl TimesView {
    fn of(times: &Histogram<u64>) -> Self {
        let quantile = |quantile| {
            let micros = times.value_at_quantile(quantile);
            (!times.is_empty()).then(|| Duration::from_micros(micros).as_secs_f64())
        };
        Self {
            mean: (!times.is_empty()).then(|| times.mean() / 1e6),
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
        }
    }
}

impl Lately {
    /// Looks at every version; what is not there any more is forgotten.
    pub(super) fn look(&mut self, live: &Live) {
        let now = live.clock.now();
        let mut windows = HashMap::new();
        for route in live.routes().iter() {
            for role in Role::ALL {
                let Some(version) = route.config.version(role) else {
                    continue;
                };
                let key = (Arc::clone(&route.config.name), role);
                let known = self.windows.remove(&key);
                let known = known.filter(|known| known.version == version.name);
                let window = match known {
                    Some(known) if now.since(known.began) < WINDOW => known,
                    known => Window::next(known, (route, role), &version.name, now),
                };
                windows.insert(key, window);
            }
        }
        self.windows = windows;
    }

    /// What the version in this role did; `None` until it was watched for long enough.
    pub(super) fn of(&self, route: &Arc<str>, role: Role) -> Option<LatelyView> {
        let window = self.windows.get(&(Arc::clone(route), role))?;
        window.last.clone()
    }
}

impl Window {
    fn next(
        ended: Option<Self>,
        (route, role): (&Route, Role),
        version: &Arc<str>,
        now: Timestamp,
    ) -> Self {
        let counted = Counted::of(route, role);
        let last = ended.and_then(|ended| counted.since(&ended.before, (ended.began, now)));
        Self {
            version: Arc::clone(version),
            began: now,
            before: counted,
            last,
        }
    }
}
