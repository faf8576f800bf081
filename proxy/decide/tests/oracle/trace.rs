//! Traffic that is the same here and in the script: integers only, draw for draw.

use serde::Deserialize;

use crate::generator::Generator;

/// What `traces.json` holds.
#[derive(Deserialize)]
pub(crate) struct Traces {
    /// When every trace begins, in milliseconds since the Unix epoch.
    pub(crate) epoch_ms: u64,
    tables: Tables,
    /// Quantiles of a gap between arrivals, in 65 536ths of the mean.
    gaps: Vec<u64>,
    pub(crate) traces: Vec<Trace>,
}

/// Quantiles of latencies in microseconds; between two of them latencies are uniform.
#[derive(Deserialize)]
struct Tables {
    fast: Vec<u64>,
    usual: Vec<u64>,
    wide: Vec<u64>,
}

/// One rollout: what it is made of, and what the reference does with it.
#[derive(Deserialize)]
pub(crate) struct Trace {
    pub(crate) kind: String,
    pub(crate) seed: u64,
    pub(crate) horizon_ms: u64,
    /// From when on the canary has which weight in parts per million; nothing before.
    pub(crate) schedule: Vec<(u64, u32)>,
    /// When the last request starts.
    end_ms: u64,
    traffic: Traffic,
    phases: Vec<Phase>,
    rows: usize,
    checksum: String,
    pub(crate) fired: Option<Fired>,
    /// Row, and the evidence of failures, classes, the hard limit and latency after it.
    pub(crate) checkpoints: Vec<(usize, f64, f64, f64, f64)>,
}

/// On which row the reference decides, and on what grounds.
#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Fired {
    /// From one.
    pub(crate) row: u64,
    pub(crate) at_ms: u64,
    pub(crate) family: Family,
    /// Requests of the canary until then.
    pub(crate) canary: u64,
    /// Of all families together; the bound is 1000.
    pub(crate) evidence: f64,
}

/// Most of the evidence is from here.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Family {
    Error,
    ErrorClass,
    ErrorHard,
    Latency,
}

/// Who asks, as long as the trace lasts. Chances are in parts per million.
#[derive(Deserialize)]
#[serde(default)]
struct Traffic {
    keys: u64,
    /// How often a key is drawn below the one before; more than once is skewed.
    key_depth: u32,
    /// The chance that a request has no key.
    keyless: u64,
    table: Table,
    /// The chance that a request begins a burst of its key.
    burst: u64,
    /// The chance that all requests of a burst fail.
    burst_bad: u64,
    /// Every so many keys one is bad; zero for none.
    bad_key_every: u64,
    /// The chance that a request of a bad key fails.
    bad_key: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Table {
    Fast,
    Usual,
    Wide,
}

/// What happens from some time on.
#[derive(Deserialize)]
struct Phase {
    from_ms: u64,
    #[serde(default = "usual_gap")]
    gap_us: u64,
    /// Status, and its chance on stable and on the canary.
    #[serde(default = "usual_errors")]
    errors: Vec<(u16, u64, u64)>,
    #[serde(default)]
    stable: Side,
    #[serde(default)]
    canary: Side,
}

/// How long a role takes. Factors are in thousandths.
#[derive(Deserialize)]
#[serde(default)]
struct Side {
    times: u64,
    /// The chance of a slow response, and its factor instead.
    slow: u64,
    slow_times: u64,
    /// From which quantile on, in 1024ths, there is another factor on top.
    tail_from: usize,
    tail_times: u64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            keys: 20_000,
            key_depth: 1,
            keyless: 0,
            table: Table::Usual,
            burst: 0,
            burst_bad: 0,
            bad_key_every: 0,
            bad_key: 0,
        }
    }
}

impl Default for Side {
    fn default() -> Self {
        Self {
            times: 1000,
            slow: 0,
            slow_times: 1000,
            tail_from: 1024,
            tail_times: 1000,
        }
    }
}

const fn usual_gap() -> u64 {
    5000
}

fn usual_errors() -> Vec<(u16, u64, u64)> {
    vec![(500, 1000, 1000)]
}

/// One request, when it is complete.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// Since the beginning of the trace.
    pub(crate) completed_ms: u64,
    pub(crate) latency_us: u64,
    pub(crate) is_canary: bool,
    /// Zero if there was no response.
    pub(crate) status: u16,
    pub(crate) key: Option<u64>,
    /// Of the canary when the request started, in parts per million.
    pub(crate) weight: u32,
}

/// A user's requests in close succession.
#[derive(Default)]
struct Burst {
    left: u64,
    key: u64,
    is_bad: bool,
}

const MILLION: u64 = 1_000_000;

impl Traces {
    pub(crate) fn load() -> Self {
        serde_json::from_str(include_str!("traces.json")).unwrap()
    }

    /// The rows of a trace in the order of completion.
    ///
    /// # Panics
    ///
    /// If they are not those that the reference saw.
    pub(crate) fn rows(&self, trace: &Trace) -> Vec<Row> {
        let mut rows = self.generated(trace);
        // Stable: those that complete at the same time stay in the order of arrival.
        rows.sort_by_key(|row| row.completed_ms);
        assert_eq!(rows.len(), trace.rows, "{} {}", trace.kind, trace.seed);
        let checksum = format!("{:016x}", checksum(&rows));
        assert_eq!(checksum, trace.checksum, "{} {}", trace.kind, trace.seed);
        rows
    }

    fn generated(&self, trace: &Trace) -> Vec<Row> {
        let traffic = &trace.traffic;
        let salt = mix(trace.seed ^ 0x0005_deec_e66d);
        let mut generator = Generator::new(trace.seed);
        let (mut rows, mut clock_us, mut burst) = (Vec::new(), 0, Burst::default());
        loop {
            let gap = phase_at(&trace.phases, clock_us / 1000).gap_us;
            let gap = (gap * self.gaps[cell(generator.next())]) >> 16;
            let is_in_burst = burst.left > 0;
            clock_us += if is_in_burst { gap / 16 } else { gap };
            let arrival = clock_us / 1000;
            if arrival >= trace.end_ms {
                return rows;
            }
            let phase = phase_at(&trace.phases, arrival);
            let steps = trace.schedule.partition_point(|step| step.0 <= arrival);
            let weight = steps.checked_sub(1).map_or(0, |at| trace.schedule[at].1);
            if is_in_burst {
                burst.left -= 1;
            } else {
                burst = traffic.next_key(&mut generator);
            }
            let hashed = mix(burst.key);
            let (key, position) = if generator.below(MILLION) < traffic.keyless {
                (None, generator.below(MILLION))
            } else {
                let position = (u128::from(mix(hashed ^ salt)) * u128::from(MILLION)) >> 64;
                (Some(hashed), u64::try_from(position).unwrap())
            };
            let is_canary = position < u64::from(weight);
            let side = if is_canary {
                &phase.canary
            } else {
                &phase.stable
            };
            let latency_us = side.latency(&mut generator, self.table(traffic.table));
            let status = phase.status(&mut generator, is_canary);
            let status = if traffic.is_spoilt(&mut generator, &burst) {
                500
            } else {
                status
            };
            rows.push(Row {
                completed_ms: (arrival * 1000 + latency_us).div_ceil(1000),
                latency_us,
                is_canary,
                status,
                key,
                weight,
            });
        }
    }

    fn table(&self, table: Table) -> &[u64] {
        match table {
            Table::Fast => &self.tables.fast,
            Table::Usual => &self.tables.usual,
            Table::Wide => &self.tables.wide,
        }
    }
}

impl Traffic {
    /// Who asks next, and perhaps more than once.
    fn next_key(&self, generator: &mut Generator) -> Burst {
        let key = (0..self.key_depth).fold(self.keys, |below, _| generator.below(below) + 1);
        let mut burst = Burst {
            key,
            ..Burst::default()
        };
        if self.burst > 0 && generator.below(MILLION) < self.burst {
            burst.left = 5 + generator.below(30);
            burst.is_bad = generator.below(MILLION) < self.burst_bad;
        }
        burst
    }

    /// Whether a request fails because of who asks.
    fn is_spoilt(&self, generator: &mut Generator, burst: &Burst) -> bool {
        let is_bad_key = self.bad_key_every > 0 && burst.key.is_multiple_of(self.bad_key_every);
        burst.is_bad || (is_bad_key && generator.below(MILLION) < self.bad_key)
    }
}

impl Phase {
    fn status(&self, generator: &mut Generator, is_canary: bool) -> u16 {
        let mut drawn = generator.below(MILLION);
        for &(status, stable, canary) in &self.errors {
            let chance = if is_canary { canary } else { stable };
            if drawn < chance {
                return status;
            }
            drawn -= chance;
        }
        200
    }
}

impl Side {
    fn latency(&self, generator: &mut Generator, table: &[u64]) -> u64 {
        let drawn = generator.next();
        let (index, fraction) = (cell(drawn), (drawn >> 22) & 0xffff_ffff);
        let base = table[index] + (((table[index + 1] - table[index]) * fraction) >> 32);
        let is_slow = generator.below(MILLION) < self.slow;
        let mut latency = base * if is_slow { self.slow_times } else { self.times } / 1000;
        if index >= self.tail_from {
            latency = latency * self.tail_times / 1000;
        }
        latency.max(1)
    }
}

fn phase_at(phases: &[Phase], at_ms: u64) -> &Phase {
    let begun = phases.partition_point(|phase| phase.from_ms <= at_ms);
    &phases[begun - 1]
}

/// Ten bits of a number.
fn cell(drawn: u64) -> usize {
    usize::try_from(drawn >> 54).unwrap()
}

/// The finalizer of SplitMix64.
const fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// FNV-1a over all fields of all rows, least byte first.
fn checksum(rows: &[Row]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for row in rows {
        add(&row.completed_ms.to_le_bytes());
        add(&row.latency_us.to_le_bytes());
        add(&[u8::from(row.is_canary)]);
        add(&row.status.to_le_bytes());
        add(&[u8::from(row.key.is_some())]);
        if let Some(key) = row.key {
            add(&key.to_le_bytes());
        }
        add(&row.weight.to_le_bytes());
    }
    sum
}

/// One in twenty of them, so that this says what is wrong before an engine does.
#[test]
fn traffic_is_the_same_here_and_there() {
    let traces = Traces::load();
    assert!(traces.traces.len() >= 60);
    for trace in traces.traces.iter().step_by(20) {
        assert!(!traces.rows(trace).is_empty());
    }
}

#[test]
fn a_row_that_differs_is_seen() {
    let row = Row {
        completed_ms: 1,
        latency_us: 2,
        is_canary: false,
        status: 200,
        key: Some(3),
        weight: 50_000,
    };
    let sum = checksum(&[row, row]);
    for other in [
        Row {
            completed_ms: 2,
            ..row
        },
        Row {
            latency_us: 3,
            ..row
        },
        Row {
            is_canary: true,
            ..row
        },
        Row { status: 500, ..row },
        Row { key: None, ..row },
        Row {
            key: Some(4),
            ..row
        },
        Row {
            weight: 50_001,
            ..row
        },
    ] {
        assert_ne!(checksum(&[row, other]), sum);
    }
    assert_ne!(checksum(&[row]), sum);
}
