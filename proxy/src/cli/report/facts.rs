//! What is reported, put together from what the admin API says. Its JSON is a contract.

use serde::Serialize;
use serde_json::Value;

use super::story::{Story, failed, float, seconds};
use crate::cli::happened::{EventView, date};
use crate::cli::view::{RouteView, VersionView};

/// The form of the report. Raised when a field changes its meaning.
const SCHEMA: &str = "haldane.report/1";

/// So many failing requests are shown.
const FAILING_MAX: usize = 10;

/// What the admin API has said.
#[derive(Debug)]
pub(super) struct Facts {
    /// Which generation is asked about.
    pub(super) generation: u32,
    pub(super) status: RouteView,
    /// The gates as the API gives them.
    pub(super) gates: Vec<Value>,
    pub(super) events: Vec<EventView>,
    pub(super) exposure: Option<Value>,
    pub(super) shielded: Option<u64>,
    pub(super) tap: Option<Value>,
}

/// What happened in one generation of a route.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: &'static str,
    pub(super) route: String,
    pub(super) generation: u32,
    /// Whether it is the generation that there is now. Of others only events are known.
    pub(super) current: bool,
    /// A phase, or `superseded` if another generation followed before it was decided.
    pub(super) outcome: String,
    pub(super) headline: String,
    pub(super) began_at: Option<String>,
    /// When it was rolled back, complete or superseded.
    pub(super) ended_at: Option<String>,
    /// From its beginning to its end, or until now.
    pub(super) seconds: Option<f64>,
    pub(super) versions: Versions,
    /// The gates as the API gives them; none for an earlier generation.
    pub(super) gates: Vec<Value>,
    pub(super) users: Option<Users>,
    pub(super) rollback: Option<Rollback>,
    pub(super) timeline: Vec<Entry>,
    /// The latest first; absent where they are not known.
    pub(super) failing_requests: Option<Vec<Value>>,
    pub(super) next: Next,
    pub(super) result: Outcome,
}

#[derive(Debug, Serialize)]
pub(super) struct Versions {
    pub(super) stable: Version,
    pub(super) canary: Option<Version>,
}

/// A version and what it has done since haldane started, where that is known.
#[derive(Debug, Serialize)]
pub(super) struct Version {
    pub(super) version: String,
    pub(super) sha: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) counts: Option<Counts>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) failures: u64,
    /// Absent without requests.
    pub(super) failure_rate: Option<f64>,
    pub(super) ttfb_seconds: Times,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Times {
    pub(super) mean: Option<f64>,
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// What users have seen.
#[derive(Debug, Serialize)]
pub(super) struct Users {
    pub(super) on_canary: Option<u64>,
    pub(super) saw_error: Option<u64>,
    /// Whether both are the numbers, and no estimates.
    pub(super) exact: bool,
    /// Requests that the canary failed and stable answered, since haldane started.
    pub(super) shielded_requests: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Rollback {
    pub(super) at: String,
    pub(super) from: Option<String>,
    pub(super) who: Option<String>,
    pub(super) why: Option<String>,
    /// From the first request that the canary failed, where it is still known.
    pub(super) seconds_from_first_failure: Option<f64>,
    /// From the response that decided until the weight was zero.
    pub(super) micros: Option<u64>,
    /// Whether the canary has got nothing since; absent while it is not known.
    pub(super) verified: Option<bool>,
    /// How long after the rollback that was known.
    pub(super) verified_after_seconds: Option<f64>,
    pub(super) unverified_because: Option<String>,
}

/// An event of the generation.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    seq: u64,
    pub(super) at: String,
    kind: String,
    pub(super) severity: String,
    pub(super) what: String,
    pub(super) who: Option<String>,
    pub(super) why: Option<String>,
    pub(super) weight: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Next {
    pub(super) waits_for: Option<String>,
    /// Those that would change something now.
    pub(super) commands: Vec<String>,
}

/// The same under the names that pipelines ask for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    pub(super) success: bool,
    metrics: Metrics,
    pub(super) rollback_required: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    /// Of the canary, as a ratio.
    error_rate: Option<f64>,
    /// Of the canary until the first byte, in milliseconds.
    average_latency: Option<f64>,
    /// Requests of the canary in a second, over the generation.
    throughput: Option<f64>,
}

impl Report {
    /// The report of a generation; why there is none.
    pub(super) fn of(facts: Facts) -> Result<Self, String> {
        let status = &facts.status;
        let is_current = facts.generation == status.generation;
        let story = Story::of(&facts);
        if !is_current && story.events.is_empty() {
            return Err(format!(
                "nothing is known of generation {} of {}; the current one is {}",
                facts.generation, status.route, status.generation
            ));
        }
        let outcome = if is_current {
            status.phase.clone()
        } else {
            story.outcome().to_owned()
        };
        let began_at = story.began_at();
        let ended_at = story.ended_at(&outcome);
        let until = ended_at.or_else(|| is_current.then_some(status.at));
        let seconds = began_at.zip(until).map(|(from, to)| seconds(from, to));
        let versions = Versions::of(&facts, &story, is_current);
        let headline = headline(&facts, &story, &outcome, &versions);
        let result = Outcome::of(&facts, &story, &outcome, &versions);
        let rollback = (outcome == "rolled_back").then(|| story.rollback(&facts));
        Ok(Self {
            schema: SCHEMA,
            generation: facts.generation,
            current: is_current,
            headline,
            began_at: began_at.map(date),
            ended_at: ended_at.map(date),
            seconds,
            versions,
            users: is_current.then(|| Users::of(&facts)).flatten(),
            rollback: rollback.flatten(),
            timeline: story.events.iter().map(|event| Entry::of(event)).collect(),
            failing_requests: failing(&facts),
            result,
            outcome,
            route: facts.status.route,
            gates: if is_current { facts.gates } else { Vec::new() },
            next: Next {
                waits_for: facts.status.waits_for.filter(|_| is_current),
                commands: if is_current {
                    facts.status.commands
                } else {
                    Vec::new()
                },
            },
        })
    }
}

impl Versions {
    fn of(facts: &Facts, story: &Story<'_>, is_current: bool) -> Self {
        let versions = &facts.status.versions;
        if is_current {
            return Self {
                stable: Version::of(&versions.stable),
                canary: versions.canary.as_ref().map(Version::of),
            };
        }
        // A new canary's first event may be about the one before.
        let last = |name: &str| {
            let mut events = story.events.iter().rev();
            events.find_map(|event| event.text(name)).map(str::to_owned)
        };
        let named = |version: &str, sha: &str| {
            last(version).map(|version| Version {
                version,
                sha: last(sha),
                owner: None,
                counts: None,
            })
        };
        Self {
            stable: named("stable_version", "stable_sha").unwrap_or_else(|| Version {
                counts: None,
                ..Version::of(&versions.stable)
            }),
            canary: named("version", "sha"),
        }
    }
}

impl Version {
    fn of(view: &VersionView) -> Self {
        let times = &view.ttfb_seconds;
        Self {
            version: view.version.clone(),
            sha: view.sha.clone(),
            owner: view.owner.clone(),
            counts: Some(Counts {
                requests: view.requests,
                failures: view.failures,
                failure_rate: (view.requests > 0)
                    .then(|| float(view.failures) / float(view.requests)),
                ttfb_seconds: Times {
                    mean: times.mean,
                    p50: times.p50,
                    p95: times.p95,
                    p99: times.p99,
                },
            }),
        }
    }
}

impl Users {
    fn of(facts: &Facts) -> Option<Self> {
        let exposure = facts.exposure.as_ref()?;
        let count = |name: &str| exposure[name]["count"].as_u64();
        let exact = |name: &str| exposure[name]["exact"] == true;
        Some(Self {
            on_canary: count("users"),
            saw_error: count("saw_error"),
            exact: exact("users") && exact("saw_error"),
            shielded_requests: facts.shielded,
        })
    }
}

impl Entry {
    fn of(event: &EventView) -> Self {
        Self {
            seq: event.seq(),
            at: date(event.at()),
            kind: event.kind().to_owned(),
            severity: event.severity().to_owned(),
            what: event.what(),
            who: event.who(),
            why: event.why(),
            weight: event.weight().map(str::to_owned),
        }
    }
}

impl Outcome {
    fn of(facts: &Facts, story: &Story<'_>, outcome: &str, versions: &Versions) -> Self {
        let is_current = facts.generation == facts.status.generation;
        let canary = versions.canary.as_ref().and_then(|canary| canary.counts);
        let is_over = matches!(outcome, "complete" | "rolled_back" | "superseded");
        let now = canary
            .filter(|_| !is_over)
            .map(|counts| (facts.status.at, counts.requests));
        Self {
            success: outcome == "complete",
            metrics: Metrics {
                error_rate: canary.and_then(|counts| counts.failure_rate),
                average_latency: canary
                    .and_then(|counts| counts.ttfb_seconds.mean)
                    .map(|mean| mean * 1e3),
                throughput: story.throughput(now),
            },
            rollback_required: outcome == "rolled_back"
                || (is_current && facts.status.verdict == "fail"),
        }
    }
}

/// How it went, and why, in one sentence.
fn headline(facts: &Facts, story: &Story<'_>, outcome: &str, versions: &Versions) -> String {
    let status = &facts.status;
    let stable = &versions.stable.version;
    let Some(canary) = &versions.canary else {
        return format!("there is no canary, {stable} has all traffic");
    };
    let (canary, weight) = (&canary.version, &status.weight);
    let because = |sentence: String, why: Option<&str>| match why {
        Some(why) => format!("{sentence}: {why}"),
        None => sentence,
    };
    let step = match &status.rollout {
        Some(rollout) if rollout.step > 0 => {
            format!(", step {} of {}", rollout.step, rollout.steps.len())
        }
        Some(_) | None => String::new(),
    };
    match outcome {
        "rolled_back" => {
            let event = story.last("rolled_back");
            let why = event.and_then(|event| event.why().or_else(|| event.who()));
            let why = why.or_else(|| status.cause.clone());
            because(format!("{canary} was rolled back"), why.as_deref())
        }
        "complete" => format!("{canary} is complete, {stable} is not needed any more"),
        "promoted" => format!("{canary} is promoted: it has all traffic, and is still judged"),
        "paused" => because(
            format!("{canary} is paused at {weight}{step}"),
            status.cause.as_deref(),
        ),
        "superseded" => {
            format!("{canary} was neither complete nor rolled back when another followed")
        }
        _ => {
            let waits_for = status.waits_for.as_ref();
            let waits_for = waits_for.map(|waits_for| format!("it waits for {waits_for}"));
            let phase = if outcome == "progressing" {
                "is in progress"
            } else {
                "is"
            };
            because(
                format!("{canary} {phase} at {weight}{step}"),
                waits_for.as_deref(),
            )
        }
    }
}

/// The latest of them.
fn failing(facts: &Facts) -> Option<Vec<Value>> {
    failed(facts).map(|requests| requests.take(FAILING_MAX).cloned().collect())
}

/// How many requests of a route were shielded, by the text of the metrics.
pub(super) fn shielded(metrics: &str, route: &str) -> Option<u64> {
    let route = route
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    let series = format!("haldane_shielded_total{{route=\"{route}\"}} ");
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(&series))?;
    value.trim().parse().ok()
}

#[cfg(test)]
pub(super) mod tests;
