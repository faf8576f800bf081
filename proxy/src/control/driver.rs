//! Lets releases see what was counted, and writes what happened to the log.

use std::sync::Arc;

use super::beat::Beats;
use super::notify;
use crate::live::Live;

mod aftermath;
mod gains;
mod log;
mod rounds;

use aftermath::Aftermaths;
use gains::Gains;

/// What need not be looked at with every beat is looked at once in so many.
const BEATS_PER_LOOK: u64 = 10;

/// Runs for as long as the process does.
pub(crate) async fn drive(live: Arc<Live>, beats: Beats) {
    let mut absorptions = beats.every(1);
    let mut gains = Gains::default();
    let mut aftermaths = Aftermaths::default();
    let mut logged = live.events.last();
    let mut looks = beats.every(BEATS_PER_LOOK);
    loop {
        tokio::select! {
            () = looks.due() => {
                live.tls.load().refresh(live.clock.now());
                live.keeping.hand_in(&live);
            }
            () = absorptions.due() => {
                gains.absorb(&live);
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
