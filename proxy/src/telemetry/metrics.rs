//! Every metric and its labels, read when it is scraped.
//!
//! Nothing is registered and nothing is counted here: the request path counts in
//! its shards, and a scrape reads them. So a scrape costs the request path nothing,
//! and the numbers are those of the admin API.
//!
//! Label values are names from the configuration, status codes and the words of
//! enums; never anything that a client sent. Exemplars name the trace of a request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use haldane_decide::gate::VerdictKind;
use haldane_decide::outcome::FailureReason;
use haldane_decide::rollout::{Cause, PhaseName};
use haldane_decide::status::Status;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::registry::{Registry, Unit};

use crate::live::endpoints::SHOWN_MAX;
use crate::live::notices::Fate;
use crate::live::series::Series;
use crate::live::{Live, Route};
use crate::telemetry::make_way;

mod buckets;
mod delivery;
mod exposition;
mod marks;
mod table;

use buckets::{Buckets, ROLLBACK_BOUNDS, Scratch, Times};
pub(crate) use exposition::Format;
use marks::{Mark, Marks};
use table::{
    ACCESS_DROPPED, BUILD, CERTIFICATE_EXPIRY, CONNECTIONS, DURATION, FAILURES, FROZEN, Family,
    FamilyUnit, GATE_EVIDENCE, GATE_LIMIT, GATE_SAMPLES, GATE_VALUE, GATE_VERDICT, GENERATION,
    HEALTHY, IN_FLIGHT, NOTIFICATIONS, PHASE, RATIO, RELOAD_SUCCEEDED_AT, RELOAD_SUCCESSFUL,
    REQUESTS, ROLLBACK_TIME, ROLLBACKS, SHIELDED, STATE_OK, STATE_WRITE_FAILURES, STEP, TTFB,
    WEIGHT,
};

/// All metrics of a process.
pub(crate) struct Metrics {
    registry: Registry,
    marks: Arc<Marks>,
}

impl Metrics {
    /// The metrics of what `live` counts.
    pub(crate) fn new(live: &Arc<Live>) -> Self {
        let mut registry = Registry::default();
        let marks = Arc::default();
        registry.register_collector(Box::new(Scrape {
            live: Arc::clone(live),
            marks: Arc::clone(&marks),
        }));
        Self { registry, marks }
    }

    /// Everything as it is now.
    ///
    /// # Errors
    ///
    /// None in practice: writing to a `String` does not fail.
    pub(crate) fn render(&self, format: Format) -> Result<String, fmt::Error> {
        format.write(&self.registry, &self.marks)
    }
}

struct Scrape {
    live: Arc<Live>,
    marks: Arc<Marks>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let live = &*self.live;
        let routes = live.routes();
        requests(&mut encoder, &routes, &self.marks)?;
        addresses(&mut encoder, &routes)?;
        releases(&mut encoder, &routes, live)?;
        delivery::encode(&mut encoder, &routes)?;
        delivery::completed(&mut encoder, &routes, live.clock.now())?;

        if live.keeping.is_wanted() {
            state(&mut encoder, &routes, live)?;
        }
        let mut metric = Metric::open(&mut encoder, &FROZEN)?;
        let frozen = live.freeze.get().is_some();
        metric.0.encode_gauge(&u64::from(frozen))?;
        let mut metric = Metric::open(&mut encoder, &CONNECTIONS)?;
        let open = live.connections.load(Ordering::Relaxed) as u64;
        metric.0.encode_gauge(&open)?;
        certificates(&mut encoder, live)?;
        let mut metric = Metric::open(&mut encoder, &ACCESS_DROPPED)?;
        let dropped = live.access.dropped();
        metric
            .0
            .encode_counter::<NoLabelSet, _, u64>(&dropped, None)?;
        notifications(&mut encoder, live)?;
        let mut metric = Metric::open(&mut encoder, &RELOAD_SUCCESSFUL)?;
        let successful = u64::from(live.reloads.is_successful());
        metric.0.encode_gauge(&successful)?;
        let mut metric = Metric::open(&mut encoder, &RELOAD_SUCCEEDED_AT)?;
        let succeeded_at = as_f64(live.reloads.succeeded_at().as_micros()) / 1e6;
        metric.0.encode_gauge(&succeeded_at)?;
        let mut metric = Metric::open(&mut encoder, &BUILD)?;
        metric.gauge(&[("version", env!("CARGO_PKG_VERSION"))], 1.0)
    }
}

/// Until when certificates are valid; nothing where none is shown.
fn certificates(encoder: &mut DescriptorEncoder<'_>, live: &Live) -> fmt::Result {
    let tls = live.tls.load();
    let expiries = tls.expiries();
    if expiries.is_empty() {
        return Ok(());
    }
    let mut metric = Metric::open(encoder, &CERTIFICATE_EXPIRY)?;
    for (shown, at) in expiries {
        metric.gauge(&[("certificate", shown)], as_f64(at))?;
    }
    Ok(())
}

/// What is counted of requests, by route, role and version.
fn requests(
    encoder: &mut DescriptorEncoder<'_>,
    routes: &[Arc<Route>],
    marks: &Marks,
) -> fmt::Result {
    let mut metric = Metric::open(encoder, &REQUESTS)?;
    for arm in arms(routes) {
        let mut by_status = [0_u64; 500];
        for shard in arm.series.shards() {
            shard.statuses(|status, count| {
                let index = usize::from(status.wrapping_sub(100));
                if let Some(sum) = by_status.get_mut(index) {
                    *sum += count;
                }
            });
        }
        for (status, count) in (100_u16..).zip(by_status).filter(|(_, count)| *count > 0) {
            let mut buffer = itoa::Buffer::new();
            let [route, role, version] = arm.labels();
            let code = ("code", buffer.format(status));
            metric.counter(&[route, role, version, code], count)?;
        }
        calls(&mut metric, &arm)?;
    }
    let mut metric = Metric::open(encoder, &FAILURES)?;
    for arm in arms(routes) {
        for reason in FailureReason::ALL {
            let shards = arm.series.shards();
            let count = shards.map(|shard| shard.failures_by(reason)).sum();
            let one = arm.series.exemplars.of_failure(reason);
            marks.push(one.map(|one| Mark { value: 1.0, one }));
            let [route, role, version] = arm.labels();
            metric.counter(&[route, role, version, ("reason", reason.as_str())], count)?;
        }
    }
    let mut metric = Metric::open(encoder, &IN_FLIGHT)?;
    for arm in arms(routes) {
        metric.gauge(&arm.labels(), as_f64(arm.series.in_flight()))?;
    }
    let mut scratch = Scratch::new();
    for (family, times) in [(&TTFB, Times::Ttfb), (&DURATION, Times::Duration)] {
        let mut metric = Metric::open(encoder, family)?;
        for arm in arms(routes) {
            let buckets = scratch.read(arm.series, times);
            let slow = match times {
                Times::Duration => arm.series.exemplars.by_duration(),
                Times::Ttfb => arm.series.exemplars.by_ttfb(),
            };
            for mark in buckets.marks(slow) {
                marks.push(mark);
            }
            metric.histogram(&arm.labels(), &buckets)?;
        }
    }
    Ok(())
}

/// gRPC calls, which all have the status code 200 and another status that says more.
fn calls(metric: &mut Metric<'_>, arm: &Arm<'_>) -> fmt::Result {
    let mut by_status = BTreeMap::new();
    for shard in arm.series.shards() {
        shard.grpc_statuses(|status, count| *by_status.entry(status).or_insert(0) += count);
    }
    for (status, count) in by_status {
        let mut buffer = itoa::Buffer::new();
        let status = status.map_or("none", |status| buffer.format(status));
        let [route, role, version] = arm.labels();
        let labels = [
            route,
            role,
            version,
            ("code", "200"),
            ("grpc_status", status),
        ];
        metric.counter(&labels, count)?;
    }
    Ok(())
}

/// Which addresses are well. So many that a large or changing name stays bounded.
fn addresses(encoder: &mut DescriptorEncoder<'_>, routes: &[Arc<Route>]) -> fmt::Result {
    let mut metric = Metric::open(encoder, &HEALTHY)?;
    for arm in arms(routes).filter(Arm::is_in_force) {
        let Some(endpoints) = arm.route.endpoints(arm.series.role) else {
            continue;
        };
        let list = endpoints.now();
        let mut shown = Vec::new();
        for endpoint in list.iter().take(SHOWN_MAX) {
            // Two names may stand for one address, under TLS: one series has to do.
            if shown.contains(&&endpoint.shown) {
                continue;
            }
            shown.push(&endpoint.shown);
            let healthy = list
                .iter()
                .filter(|other| other.shown == endpoint.shown)
                .all(|other| other.is_healthy());
            let [route, role, version] = arm.labels();
            let labels = [route, role, version, ("address", &*endpoint.shown)];
            metric.gauge(&labels, if healthy { 1.0 } else { 0.0 })?;
        }
    }
    Ok(())
}

/// Where releases stand, by route and by gate. Only routes with a canary have one.
fn releases(
    encoder: &mut DescriptorEncoder<'_>,
    routes: &[Arc<Route>],
    live: &Live,
) -> fmt::Result {
    let releases: Vec<ReleaseNow<'_>> = routes
        .iter()
        .filter(|route| route.config.canary.is_some())
        .map(|route| ReleaseNow::read(route, live))
        .collect();
    type OfRelease = fn(&Status) -> f64;
    let by_route: [(&Family, OfRelease); 4] = [
        (&WEIGHT, |status| status.weight.as_ratio()),
        (&PHASE, |status| phase_number(status.phase)),
        (&STEP, |status| {
            let rollout = status.rollout.as_ref();
            f64::from(rollout.map_or(0, |rollout| rollout.step))
        }),
        (&GENERATION, |status| f64::from(status.generation.0)),
    ];
    for (family, value) in by_route {
        let mut metric = Metric::open(encoder, family)?;
        for release in &releases {
            metric.gauge(&[("route", release.route)], value(&release.status))?;
        }
    }
    type OfGate = fn(&haldane_decide::gate::GateStatus) -> f64;
    let by_gate: [(&Family, OfGate); 5] = [
        (&GATE_VALUE, |gate| gate.value),
        (&GATE_LIMIT, |gate| gate.limit),
        (&GATE_SAMPLES, |gate| as_f64(gate.samples)),
        (&GATE_EVIDENCE, |gate| gate.evidence),
        (&GATE_VERDICT, |gate| verdict_number(gate.verdict)),
    ];
    for (family, value) in by_gate {
        let mut metric = Metric::open(encoder, family)?;
        for release in &releases {
            for gate in &release.status.verdict.gates {
                let labels = [("route", release.route), ("gate", &*gate.name)];
                metric.gauge(&labels, value(gate))?;
            }
        }
    }
    let mut metric = Metric::open(encoder, &ROLLBACKS)?;
    for release in &releases {
        for gate in &release.status.verdict.gates {
            let rolled_back = release
                .rollbacks
                .iter()
                .find(|(name, _)| *name == gate.name);
            let count = rolled_back.map_or(0, |(_, count)| *count);
            let labels = [("route", release.route), ("gate", &*gate.name)];
            metric.counter(&labels, count)?;
        }
    }
    let mut metric = Metric::open(encoder, &SHIELDED)?;
    for route in routes.iter().filter(|route| route.config.canary.is_some()) {
        metric.counter(&[("route", &*route.config.name)], route.shielded())?;
    }
    let mut metric = Metric::open(encoder, &ROLLBACK_TIME)?;
    for release in &releases {
        metric.histogram(&[("route", release.route)], &release.rollback_times)?;
    }
    Ok(())
}

/// What became of notices, by the host that they were for. There are few, all configured.
fn notifications(encoder: &mut DescriptorEncoder<'_>, live: &Live) -> fmt::Result {
    let mut metric = Metric::open(encoder, &NOTIFICATIONS)?;
    for (fate, result) in [
        (Fate::Delivered, "delivered"),
        (Fate::Dropped, "dropped"),
        (Fate::Failed, "failed"),
    ] {
        for (target, count) in live.notices.counts(fate) {
            metric.counter(&[("target", &*target), ("result", result)], count)?;
        }
    }
    Ok(())
}

/// How it is about what outlives the process.
fn state(encoder: &mut DescriptorEncoder<'_>, routes: &[Arc<Route>], live: &Live) -> fmt::Result {
    let distrusted =
        |route: &Arc<Route>| matches!(route.status(live).by, Some(Cause::StateDamaged { .. }));
    let ok = live.keeping.error().is_none() && !routes.iter().any(distrusted);
    let mut metric = Metric::open(encoder, &STATE_OK)?;
    metric.0.encode_gauge(&u64::from(ok))?;
    let mut metric = Metric::open(encoder, &STATE_WRITE_FAILURES)?;
    let failures = live.keeping.failures();
    metric
        .0
        .encode_counter::<NoLabelSet, _, u64>(&failures, None)
}

/// One version in its part, also one that was replaced.
#[derive(Clone, Copy)]
struct Arm<'a> {
    route: &'a Route,
    series: &'a Series,
}

/// All that there is to be told of, one after the other, making way in between.
fn arms(routes: &[Arc<Route>]) -> impl Iterator<Item = Arm<'_>> {
    let arms = routes.iter().flat_map(|route| {
        let series = route.series().iter();
        series.map(move |series| Arm { route, series })
    });
    arms.inspect(|_| make_way())
}

impl<'a> Arm<'a> {
    /// Whether the version plays its part, and was not replaced.
    fn is_in_force(&self) -> bool {
        let version = self.route.config.version(self.series.role);
        version.is_some_and(|version| version.name == self.series.version)
    }

    fn labels(&self) -> [(&'static str, &'a str); 3] {
        [
            ("route", &self.route.config.name),
            ("role", self.series.role.as_str()),
            ("version", &self.series.version),
        ]
    }
}

/// A release, read once for a whole scrape.
struct ReleaseNow<'a> {
    route: &'a str,
    status: Status,
    rollbacks: Vec<(Arc<str>, u64)>,
    rollback_times: Buckets,
}

impl<'a> ReleaseNow<'a> {
    fn read(route: &'a Route, live: &Live) -> Self {
        let (times, rollbacks) = route.rollbacks();
        Self {
            route: &route.config.name,
            status: route.status(live),
            rollbacks,
            rollback_times: Buckets::of(&times, &ROLLBACK_BOUNDS),
        }
    }
}

/// A family whose head is written.
struct Metric<'a>(MetricEncoder<'a>);

impl<'a> Metric<'a> {
    fn open(encoder: &'a mut DescriptorEncoder<'_>, family: &Family) -> Result<Self, fmt::Error> {
        // The encoder appends the unit, and `_total` to counters.
        let (suffix, unit) = match family.unit {
            FamilyUnit::None => ("_total", None),
            FamilyUnit::Ratio => ("_ratio", Some(&*RATIO)),
            FamilyUnit::Seconds => ("_seconds", Some(&Unit::Seconds)),
        };
        let name = family.name.strip_suffix(suffix).unwrap_or(family.name);
        encoder
            .encode_descriptor(name, family.help, unit, family.kind)
            .map(Self)
    }

    fn counter(&mut self, labels: &impl EncodeLabelSet, count: u64) -> fmt::Result {
        self.0
            .encode_family(labels)?
            .encode_counter::<NoLabelSet, _, u64>(&count, None)
    }

    fn gauge(&mut self, labels: &impl EncodeLabelSet, value: f64) -> fmt::Result {
        self.0.encode_family(labels)?.encode_gauge(&value)
    }

    fn histogram(&mut self, labels: &impl EncodeLabelSet, buckets: &Buckets) -> fmt::Result {
        self.0
            .encode_family(labels)?
            .encode_histogram::<NoLabelSet>(buckets.sum, buckets.count, &buckets.counts, None)
    }
}

const fn verdict_number(verdict: VerdictKind) -> f64 {
    match verdict {
        VerdictKind::Pass => 0.0,
        VerdictKind::Fail => 1.0,
        VerdictKind::Inconclusive => 2.0,
    }
}

const fn phase_number(phase: PhaseName) -> f64 {
    match phase {
        PhaseName::Idle => 0.0,
        PhaseName::Progressing => 1.0,
        PhaseName::Paused => 2.0,
        PhaseName::Promoted => 3.0,
        PhaseName::RolledBack => 4.0,
        PhaseName::Complete => 5.0,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge needs no more than 52 bits"
)]
const fn as_f64(count: u64) -> f64 {
    count as f64
}
