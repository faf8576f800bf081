//! The course of a demo: a good start, the fault, what haldane makes of it, the end.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use haldane_decide::role::Role;
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Scenario;
use super::load::Load;
use super::stats::Stats;
use super::toy::{Fault, Toy};
use crate::cli::client::{Client, Failure};
use crate::cli::output::{Style, say};
use crate::cli::status::time;
use crate::cli::view::{RouteView, path_of};
use crate::clock::Clock;

/// How often the admin API is asked.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The canary is good for so long, and until it has answered enough to be known.
const GOOD_FOR: Duration = Duration::from_secs(5);
const GOOD_ANSWERS: u64 = 150;

/// On a machine that is too busy for those answers the fault begins by then anyway.
const GOOD_FOR_MAX: Duration = Duration::from_secs(12);

/// A canary without a fault is watched for so long after that, and until every gate
/// passes if that takes no longer than the most.
const WATCH_FOR: Duration = Duration::from_secs(5);
const WATCH_FOR_MAX: Duration = Duration::from_secs(10);

/// After the rollback it goes on for so long, and until enough is answered to show
/// who answers.
const AFTERMATH: Duration = Duration::from_secs(3);
const AFTERMATH_ANSWERS: u64 = 100;

/// The demo ends by then, whatever has or has not happened.
const LENGTH_MAX: Duration = Duration::from_secs(24);

/// A request takes less; waiting for the last of them must not hold the end up.
const FINISH_TIMEOUT: Duration = Duration::from_secs(4);

/// What happens, and who is asked about it.
pub(super) struct Course<'a> {
    scenario: Scenario,
    clock: Clock,
    client: &'a Client,
    stats: &'a Stats,
    canary: &'a Toy,
    style: Style,
    began: u64,
    stage: Stage,
    /// What the gates said together at the last look.
    passes: bool,
}

/// Where the demo stands. Moments in microseconds of the clock.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The canary is as good as stable.
    Good,
    /// It has its fault, or would have one.
    Spoilt { since: u64 },
    /// It was rolled back.
    Aftermath { since: u64, zero_at: u64 },
    /// There is nothing more to see.
    Over,
}

/// How a demo went, as the admin API tells it.
#[derive(Debug)]
pub(super) struct Outcome {
    /// When the canary was spoilt, in microseconds since the epoch.
    pub(super) spoilt_at: Option<u64>,
    pub(super) rollback: Option<Rollback>,
    /// The route in the end.
    pub(super) route: RouteView,
    /// Whether every request had ended when the counts were read.
    pub(super) complete: bool,
}

/// The event of a rollback.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Rollback {
    /// When the deciding outcome was known, in microseconds since the epoch.
    pub(super) at: u64,
    /// Requests that were ever routed to the canary, when the weight was zero.
    pub(super) canary_requests: u64,
    /// How many of them had not ended.
    pub(super) canary_in_flight: u64,
    /// From the deciding outcome until the weight was zero.
    pub(super) rollback_micros: Option<u64>,
}

impl Rollback {
    /// When the weight was zero at the latest, in microseconds since the epoch.
    pub(super) fn zero_at(&self) -> u64 {
        self.at.saturating_add(self.rollback_micros.unwrap_or(0))
    }
}

#[derive(Debug, Deserialize)]
struct Events {
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    kind: String,
    #[serde(flatten)]
    rollback: serde_json::Value,
}

impl<'a> Course<'a> {
    pub(super) fn new(
        scenario: Scenario,
        clock: Clock,
        client: &'a Client,
        stats: &'a Stats,
        canary: &'a Arc<Toy>,
    ) -> Self {
        Self {
            scenario,
            clock,
            client,
            stats,
            canary,
            style: Style::of(&io::stdout()),
            began: clock.micros(),
            stage: Stage::Good,
            passes: false,
        }
    }

    /// Watches until the end, ends the load, and asks how it went.
    pub(super) async fn run(mut self, load: Load) -> Result<Outcome, Failure> {
        let result = self.watch().await;
        let complete = timeout(FINISH_TIMEOUT, load.finish()).await.is_ok();
        let (spoilt_at, rollback) = result?;
        Ok(Outcome {
            spoilt_at,
            rollback,
            route: self.route().await?,
            complete,
        })
    }

    async fn watch(&mut self) -> Result<(Option<u64>, Option<Rollback>), Failure> {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut line_at = self.began;
        let (mut spoilt_at, mut rollback) = (None, None);
        while !matches!(self.stage, Stage::Over) {
            ticks.tick().await;
            if rollback.is_none() {
                rollback = self.rollback().await?;
                if let Some(rollback) = &rollback {
                    self.announce_rollback().await?;
                    self.stage = Stage::Aftermath {
                        since: self.clock.micros(),
                        zero_at: rollback.zero_at(),
                    };
                }
            }
            if self.since(line_at) >= Duration::from_secs(1) {
                let over = self.since(line_at);
                line_at = self.clock.micros();
                self.print_second(over).await?;
            }
            if self.advance() {
                spoilt_at = Some(self.clock.now().as_micros());
                self.announce_fault();
            }
        }
        Ok((spoilt_at, rollback))
    }

    /// Goes on to the next stage when it is time. True if the canary has just got its fault.
    fn advance(&mut self) -> bool {
        let elapsed = self.since(self.began);
        let next = match self.stage {
            Stage::Good => {
                let answers = self.stats.seen().by_role[Role::Canary.index()];
                let known = elapsed >= GOOD_FOR && answers >= GOOD_ANSWERS;
                (known || elapsed >= GOOD_FOR_MAX).then(|| Stage::Spoilt {
                    since: self.clock.micros(),
                })
            }
            Stage::Spoilt { since } => {
                let watched = self.since(since);
                let seen = watched >= WATCH_FOR_MAX || watched >= WATCH_FOR && self.passes;
                (!self.scenario.is_bad() && seen).then_some(Stage::Over)
            }
            Stage::Aftermath { since, zero_at } => {
                let answers = || self.stats.seen().sent_after(Role::Stable, zero_at);
                (self.since(since) >= AFTERMATH && answers() >= AFTERMATH_ANSWERS)
                    .then_some(Stage::Over)
            }
            Stage::Over => None,
        };
        let next = if elapsed >= LENGTH_MAX {
            Some(Stage::Over)
        } else {
            next
        };
        let Some(next) = next else {
            return false;
        };
        self.stage = next;
        let fault = match self.scenario {
            Scenario::Aa | Scenario::Good => Fault::None,
            Scenario::Errors => Fault::Errors,
            Scenario::Hang => Fault::Hang,
            Scenario::Slow => Fault::Slow,
        };
        let spoils = matches!(next, Stage::Spoilt { .. }) && fault != Fault::None;
        if spoils {
            self.canary.spoil(fault);
        }
        spoils
    }

    fn announce_fault(&self) {
        let fault = match self.scenario {
            Scenario::Aa | Scenario::Good => return,
            Scenario::Errors => "v2 now answers 500",
            Scenario::Hang => "v2 now answers nothing",
            Scenario::Slow => "v2 now answers 150 ms later",
        };
        say(self
            .style
            .verdict("inconclusive", format_args!("      {fault}")));
    }

    async fn announce_rollback(&self) -> Result<(), Failure> {
        let cause = self.route().await?.cause.unwrap_or_default();
        say(self.style.bad(format_args!("      rolled back by {cause}")));
        Ok(())
    }

    async fn print_second(&mut self, over: Duration) -> Result<(), Failure> {
        let route = self.route().await?;
        self.passes = route.verdict == "pass";
        let recent = self.stats.recent();
        let requests: u64 = recent.by_role.iter().sum();
        let [_, canary] = recent.by_role;
        let (seen_errors, proxy_errors) = {
            let seen = self.stats.seen();
            (seen.errors, seen.proxy_errors)
        };
        let failed = self.canary.failures();
        let mut line = format!(
            "{:>3}s  {:>4.0} req/s  weight {:>4}  canary got {:>5} failed {failed:>3}  users saw {seen_errors:>3}  p99 {} {:>8}",
            self.since(self.began).as_secs(),
            ratio(requests, 1) / over.as_secs_f64(),
            route.weight,
            format!("{:.1}%", 100.0 * ratio(canary, requests)),
            "stable",
            time(recent.p99[0]),
        );
        let _ = write!(line, "  canary {:>8}", time(recent.p99[1]));
        if proxy_errors > 0 {
            let _ = write!(line, "  errors of haldane {proxy_errors}");
        }
        say(line);
        Ok(())
    }

    async fn route(&self) -> Result<RouteView, Failure> {
        self.client.get(&path_of("demo", "")).await?.read()
    }

    /// The rollback, if there was one.
    async fn rollback(&self) -> Result<Option<Rollback>, Failure> {
        let events: Events = self.client.get("/v1/events?since=0").await?.read()?;
        events
            .events
            .into_iter()
            .find(|event| event.kind == "rolled_back")
            .map(|event| serde_json::from_value(event.rollback))
            .transpose()
            .map_err(|error| Failure::Unreachable(format!("an event is not one: {error}")))
    }

    fn since(&self, moment: u64) -> Duration {
        Duration::from_micros(self.clock.micros().saturating_sub(moment))
    }
}

/// A quotient for a screen.
#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage on a screen needs no 52 bits"
)]
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
