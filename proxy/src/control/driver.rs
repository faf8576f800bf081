//! Lets releases see what was counted, and writes what happened to the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::notify;
use crate::live::Live;

mod aftermath;
mod gains;
mod log;

use aftermath::Aftermaths;
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
    let mut aftermaths = Aftermaths::default();
    let mut logged = live.events.last();
    let mut absorptions = 0_u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if absorptions.is_multiple_of(ABSORPTIONS_PER_LOOK) {
                    live.tls.load().refresh(live.clock.now());
                    live.keeping.hand_in(&live);
                }
                absorptions = absorptions.wrapping_add(1);
                gains.absorb(&live);
                for route in live.routes().iter() {
                    route.fill_ledger();
                }
                aftermaths.look(&live);
            }
            () = live.changed.notified() => {
                live.keeping.hand_in(&live);
            }
        }
        for event in live.events.since(logged) {
            logged = event.seq;
            log::log(&event);
            aftermaths.follow(&event, &live);
        }
        notify::announce(&live);
    }
}
