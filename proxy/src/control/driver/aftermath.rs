//! Verifies rollbacks: that the canary gets no request any more, and stable is there.

use std::sync::Arc;
use std::time::Duration;

use haldane_decide::aftermath::{Aftermath, Doubt, Finding, Sight};
use haldane_decide::generation::Generation;
use haldane_decide::role::Role;
use haldane_decide::rollout::NoticeKind;

use crate::live::events::{AftermathEvent, AftermathKind, Event, Happening};
use crate::live::{Live, Route};

/// Requests may take so long to end; sessions as long as their grace, and a little more.
const PATIENCE: Duration = Duration::from_secs(60);
const BEYOND_GRACE: Duration = Duration::from_secs(10);

/// The rollbacks that are not verified yet, at most one of each route.
#[derive(Default)]
pub(super) struct Aftermaths(Vec<Watched>);

struct Watched {
    /// As it was then: it has the counts of the canary that was rolled back.
    route: Arc<Route>,
    generation: Generation,
    aftermath: Aftermath,
}

impl Aftermaths {
    /// Begins to watch if the event is a rollback.
    pub(super) fn follow(&mut self, event: &Event, live: &Live) {
        let Happening::Release(event) = &event.what else {
            return;
        };
        let NoticeKind::RolledBack { .. } = event.notice.kind else {
            return;
        };
        let Some(route) = live.route(&event.route) else {
            return;
        };
        let earlier = |watched: &mut Watched| watched.route.config.name == route.config.name;
        for watched in self.0.extract_if(.., earlier) {
            watched.tell(Finding::Unverified(Doubt::NextGeneration), live);
        }
        let patience = PATIENCE.max(route.config.timeouts.session_grace + BEYOND_GRACE);
        self.0.push(Watched {
            generation: event.notice.generation,
            aftermath: Aftermath::new(event.notice.at, patience),
            route,
        });
    }

    /// Looks at each, and tells what is found.
    pub(super) fn look(&mut self, live: &Live) {
        self.0.retain_mut(|watched| match watched.look(live) {
            Some(finding) => {
                watched.tell(finding, live);
                false
            }
            None => true,
        });
    }
}

impl Watched {
    fn look(&mut self, live: &Live) -> Option<Finding> {
        let now = live.route(&self.route.config.name);
        let now = now.as_ref().unwrap_or(&self.route);
        if now.setting().generation != self.generation.0 {
            return Some(Finding::Unverified(Doubt::NextGeneration));
        }
        let (requests, in_flight) = self.route.requests(Role::Canary);
        let sight = Sight {
            requests,
            in_flight,
            stable: now.stable_reach(),
        };
        self.aftermath.look(sight, live.clock.now())
    }

    fn tell(&self, finding: Finding, live: &Live) {
        let at = live.clock.now();
        let kind = match finding {
            Finding::Unverified(doubt) => AftermathKind::RollbackUnverified {
                why: doubt.to_string(),
            },
            Finding::Verified => AftermathKind::RollbackVerified,
        };
        live.events.push(Happening::Aftermath(AftermathEvent {
            at,
            route: Arc::clone(&self.route.config.name),
            generation: self.generation,
            canary_requests: self.route.requests(Role::Canary).0,
            seconds: self.aftermath.lasted(at).as_secs_f64(),
            kind,
        }));
    }
}
