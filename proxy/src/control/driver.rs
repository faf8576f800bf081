//! Lets releases see what was counted, and writes what happened to the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use haldane_decide::gate::StableLatency;
use haldane_decide::release::change::Amendment;
use haldane_decide::role::Role;
use haldane_decide::rollout::NoticeKind;
use hdrhistogram::Histogram;
use tokio::time::MissedTickBehavior;

use crate::live::events::{Event, Happening, ProcessEvent, ProcessEventKind, ReleaseEvent};
use crate::live::histogram::empty_histogram;
use crate::live::shard::Responses;
use crate::live::{Live, Route};

/// How often counts are absorbed.
const ABSORB_INTERVAL: Duration = Duration::from_millis(100);

/// Stable's histograms are merged once in so many absorptions: each merge reads
/// every cell of every worker.
const ABSORPTIONS_PER_MERGE: u32 = 10;

/// Stable's latencies of one route, as last merged.
struct Merged {
    of: Arc<Route>,
    ttfb: Histogram<u64>,
    duration: Histogram<u64>,
}

/// Runs for as long as the process does.
pub(crate) async fn drive(live: Arc<Live>) {
    let mut ticks = tokio::time::interval(ABSORB_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut merged: HashMap<Arc<str>, Merged> = HashMap::new();
    let mut logged = live.events.last();
    let mut absorptions = 0_u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let merge = absorptions.is_multiple_of(ABSORPTIONS_PER_MERGE);
                absorptions = absorptions.wrapping_add(1);
                if merge {
                    live.tls.load().refresh();
                    live.keeping.hand_in(&live);
                }
                let routes = live.routes();
                merged.retain(|name, _| routes.iter().any(|route| route.config.name == *name));
                for route in routes.iter().filter(|route| route.config.canary.is_some()) {
                    let name = Arc::clone(&route.config.name);
                    let latency = merged.entry(name).or_insert_with(|| Merged::empty(route));
                    let is_other = latency.adopt(route);
                    if (merge || is_other) && !route.setting().weight.is_zero() {
                        latency.read(route);
                    }
                    route.absorb(&StableLatency { duration: &latency.duration, ttfb: &latency.ttfb }, &live);
                }
            }
            () = live.changed.notified() => {
                live.keeping.hand_in(&live);
            }
        }
        for event in live.events.since(logged) {
            logged = event.seq;
            log(&event);
        }
    }
}

impl Merged {
    fn empty(route: &Arc<Route>) -> Self {
        Self {
            of: Arc::clone(route),
            ttfb: empty_histogram(),
            duration: empty_histogram(),
        }
    }

    /// Goes on with the route that has taken the place of the one before. True, and
    /// nothing is merged any more, if it may have another stable.
    fn adopt(&mut self, route: &Arc<Route>) -> bool {
        let before = std::mem::replace(&mut self.of, Arc::clone(route));
        let is_other = !before.shares_trial_with(route);
        if is_other {
            self.ttfb.reset();
            self.duration.reset();
        }
        is_other
    }

    fn read(&mut self, route: &Route) {
        self.ttfb.reset();
        self.duration.reset();
        for shard in route.shards_of(Role::Stable) {
            shard.add_ttfb(Responses::Succeeded, &mut self.ttfb);
            shard.add_duration(Responses::Succeeded, &mut self.duration);
        }
    }
}

fn log(event: &Event) {
    match &event.what {
        Happening::Process(event) => log_process(event),
        Happening::Release(event) => log_release(event),
    }
}

fn log_process(event: &ProcessEvent) {
    match &event.kind {
        ProcessEventKind::ReloadFailed { errors } => {
            let errors = errors.join("; ");
            tracing::error!(errors, "reload failed, the last good configuration stays");
        }
        ProcessEventKind::Reloaded { changes } => {
            let changes = changes.join("; ");
            tracing::info!(changes, "reloaded");
        }
    }
}

fn log_release(event: &ReleaseEvent) {
    let route = &*event.route;
    let generation = event.notice.generation.0;
    match &event.notice.kind {
        NoticeKind::Reconfigured(amendment) => {
            let Amendment {
                stable,
                gates,
                weight,
            } = amendment;
            tracing::info!(route, generation, stable, gates, weight, "reconfigured");
        }
        NoticeKind::RolledBack { from, by } => {
            let (canary_requests, in_flight) = (event.canary_requests, event.canary_in_flight);
            tracing::warn!(route, generation, %from, %by, canary_requests, in_flight, "rolled back");
        }
        NoticeKind::RollbackRefused { weight, by } => {
            tracing::error!(route, generation, %weight, %by, "not rolled back: stable cannot be reached");
        }
        NoticeKind::Reweighed { from, to, by } => {
            tracing::info!(route, generation, %from, %to, %by, "weight changed");
        }
        NoticeKind::StateDamaged { detail } => {
            tracing::error!(
                route,
                generation,
                detail,
                "the canary begins without traffic"
            );
        }
        NoticeKind::Retried { weight, by } | NoticeKind::Started { weight, by } => {
            tracing::info!(route, generation, %weight, %by, "new generation");
        }
    }
}
