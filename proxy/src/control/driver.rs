//! Lets releases see what was counted, and writes what happened to the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use haldane_decide::gate::StableLatency;
use haldane_decide::role::Role;
use haldane_decide::rollout::NoticeKind;
use hdrhistogram::Histogram;
use tokio::time::MissedTickBehavior;

use crate::live::events::Event;
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
                    live.tls.refresh();
                }
                for route in live.routes().iter().filter(|route| route.config.canary.is_some()) {
                    let latency = merged.entry(Arc::clone(&route.config.name)).or_insert_with(Merged::empty);
                    if merge && !route.setting().weight.is_zero() {
                        latency.read(route);
                    }
                    route.absorb(&StableLatency { duration: &latency.duration, ttfb: &latency.ttfb }, &live);
                }
            }
            () = live.changed.notified() => {}
        }
        for event in live.events.since(logged) {
            logged = event.seq;
            log(&event);
        }
    }
}

impl Merged {
    fn empty() -> Self {
        Self {
            ttfb: empty_histogram(),
            duration: empty_histogram(),
        }
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
    let route = &*event.route;
    let generation = event.notice.generation.0;
    match &event.notice.kind {
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
        NoticeKind::Reconfigured(change) => {
            tracing::info!(route, generation, ?change, "reconfigured");
        }
        NoticeKind::Started { weight, by } => {
            tracing::info!(route, generation, %weight, %by, "new generation");
        }
        NoticeKind::StateDamaged { detail } => {
            tracing::error!(
                route,
                generation,
                detail,
                "the canary begins without traffic"
            );
        }
        NoticeKind::Retried { weight, by } => {
            tracing::info!(route, generation, %weight, %by, "new generation");
        }
    }
}
