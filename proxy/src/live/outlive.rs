//! How routes begin after another process, and what of them the next one gets.

use std::sync::Arc;

use haldane_config::{RouteConfig, Version};
use haldane_decide::release::{Release, ReleaseSpec};
use haldane_decide::rollout::{Notice, NoticeKind, Phase};
use haldane_decide::snapshot::Snapshot;
use haldane_decide::split::Salt;
use haldane_decide::tally::Tally;
use haldane_decide::time::Timestamp;
use haldane_decide::weight::Weight;

use super::endpoints::RouteEndpoints;
use super::events::{EventLog, Happening, ReleaseEvent};
use super::keeping::{Book, Entry, Keeping, Start};
use super::{Live, Route};
use crate::clock::Clock;
use crate::tls::VersionTls;

/// What a route that begins needs of the process.
pub(super) struct Beginning<'a> {
    pub(super) keeping: &'a Keeping,
    pub(super) events: &'a EventLog,
    pub(super) workers: usize,
    pub(super) clock: Clock,
}

impl Beginning<'_> {
    /// A route of which this process knows no more than what was kept.
    pub(super) fn route(&self, config: &RouteConfig, reach: (VersionTls, RouteEndpoints)) -> Route {
        let start = self.keeping.start_of(config);
        let damage = match &start {
            Start::Distrusted(detail) => Some(detail.to_string()),
            Start::Fresh
            | Start::Resumed { .. }
            | Start::Succeeded { .. }
            | Start::WithoutCanary { .. } => None,
        };
        let route = Route::new(config, reach, (self.workers, self.clock), start);
        if let Some((generation, exposed)) = self.keeping.exposed(&config.name) {
            route.go_on_after(generation, exposed);
        }
        if let Some(entry) = self.keeping.found(&config.name) {
            route.began_as_kept(entry);
        }
        if let Some(detail) = damage {
            self.events.push(Happening::Release(Box::new(ReleaseEvent {
                route: Arc::clone(&config.name),
                version: config
                    .canary
                    .as_ref()
                    .map(|canary| Arc::clone(&canary.name)),
                sha: config.canary.as_ref().and_then(Version::sha),
                stable_version: Arc::clone(&config.stable.name),
                stable_sha: config.stable.sha(),
                notice: Notice {
                    at: self.clock.now(),
                    generation: route.lock().release.generation(),
                    kind: NoticeKind::StateDamaged { detail },
                },
                cause: None,
                canary_requests: 0,
                canary_in_flight: 0,
                rollback_micros: None,
            })));
        }
        route
    }
}

impl Start {
    /// The release that begins so, and the secret of its salts if there is one.
    pub(super) fn release(self, spec: ReleaseSpec, now: Timestamp) -> (Option<Salt>, Release) {
        let tally = Tally::default();
        match self {
            Self::Distrusted(detail) => {
                let release = Release::distrust(spec, detail.to_string(), &tally, now);
                (None, release)
            }
            Self::Fresh => (None, Release::new(spec, &tally, now)),
            Self::Resumed { salt, from } => (Some(salt), Release::resume(spec, *from, &tally, now)),
            Self::Succeeded { salt, last } => {
                (Some(salt), Release::succeed(spec, last, &tally, now))
            }
            Self::WithoutCanary { salt, last } => {
                let from = Snapshot {
                    generation: last,
                    weight: Weight::ZERO,
                    phase: Phase::Idle,
                };
                (Some(salt), Release::resume(spec, from, &tally, now))
            }
        }
    }
}

impl Route {
    /// What is kept of the route, if it has or had a canary. `seen` is when the process
    /// began.
    pub(super) fn to_keep(&self, seen: Timestamp) -> Option<Entry> {
        let (canary, release, began) = {
            let judge = self.lock();
            let canary = judge.canary.as_ref()?.canary_identity();
            let began = judge.deliveries.began();
            (canary, judge.release.snapshot(), began)
        };
        Some(Entry {
            salt: self.lasting.secret.to_bits(),
            canary,
            began,
            exposed: self.exposed(release.generation),
            release,
            seen,
        })
    }
}

impl Live {
    /// Goes where another process has gone with the same canaries, as far as that is
    /// later, or less.
    pub(crate) fn follow_kept(&self, book: &Book) {
        for route in self.routes().iter() {
            let Some(entry) = book.get(&*route.config.name) else {
                continue;
            };
            let mut judge = route.lock();
            let canary = judge.canary.as_ref().map(Version::canary_identity);
            if canary.as_ref() == Some(&entry.canary) {
                let (other, now) = (entry.release.clone(), self.clock.now());
                let effects = judge.release.follow(other, &route.tally(), now);
                route.carry_out(&mut judge, effects, None, self);
            }
        }
    }
}
