//! Lets releases see what was counted, and writes what happened to the log.

use std::sync::Arc;
use std::time::Duration;

use haldane_decide::release::change::Amendment;
use haldane_decide::rollout::NoticeKind;
use tokio::time::MissedTickBehavior;

use super::notify;
use crate::live::Live;
use crate::live::events::{Event, Happening, ProcessEvent, ProcessEventKind, ReleaseEvent};

mod gains;

use gains::Gains;

/// How often counts are absorbed.
const ABSORB_INTERVAL: Duration = Duration::from_millis(100);

/// What else is looked at is looked at once in so many absorptions.
const ABSORPTIONS_PER_LOOK: u32 = 10;

/// Runs for as long as the process does.
pub(crate) async fn drive(live: Arc<Live>) {
    let mut ticks = tokio::time::interval(ABSORB_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut gains = Gains::default();
    let mut logged = live.events.last();
    let mut absorptions = 0_u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if absorptions.is_multiple_of(ABSORPTIONS_PER_LOOK) {
                    live.tls.load().refresh();
                    live.keeping.hand_in(&live);
                }
                absorptions = absorptions.wrapping_add(1);
                gains.absorb(&live);
            }
            () = live.changed.notified() => {
                live.keeping.hand_in(&live);
            }
        }
        for event in live.events.since(logged) {
            logged = event.seq;
            log(&event);
        }
        notify::announce(&live);
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
        NoticeKind::Confirmed {
            weight, sentence, ..
        } => {
            tracing::warn!(route, generation, %weight, "confirmed: {sentence}");
        }
        NoticeKind::Incident { weight } => {
            tracing::warn!(route, generation, %weight, "incident: both versions are degraded, nothing is rolled back");
        }
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
