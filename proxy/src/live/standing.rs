//! Where releases stand, for another process that serves the same routes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use haldane_config::{RouteConfig, Version};
use haldane_decide::release::{Release, ReleaseSpec};
use haldane_decide::snapshot::{CanaryIdentity, Snapshot};
use haldane_decide::split::Salt;
use haldane_decide::tally::Tally;
use haldane_decide::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::deliveries::Deliveries;
use super::keeping::Start;
use super::recall::{EvidenceEntry, News};
use super::rollback::rolled_back_of;
use super::route_salt::RouteSalt;
use super::{Live, Route, setting_of, spec_of};
use crate::clock::Clock;

/// Where the release of one route stands.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Standing {
    /// The name of the route.
    pub(crate) route: String,
    /// Which canary it is about.
    pub(crate) canary: CanaryIdentity,
    /// The secret that the salts of generations are derived from, as hexadecimal digits.
    pub(crate) salt: String,
    /// Generation, weight and phase.
    pub(crate) release: Snapshot,
    /// When its generation had its first traffic.
    #[serde(default)]
    pub(crate) began: Option<Timestamp>,
    /// What was seen of it, where another process is to go on with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) evidence: Option<Arc<EvidenceEntry>>,
}

/// So much evidence goes with a hand-over; the routes that come last begin anew.
const EVIDENCE_BYTES_MAX: usize = 8 * 1024 * 1024;

impl Standing {
    /// The release that goes on from here with this configuration: from where it stood,
    /// or as the next generation if its canary is another one.
    pub(super) fn resume(
        &self,
        config: &RouteConfig,
        spec: ReleaseSpec,
        now: Timestamp,
    ) -> Release {
        let tally = Tally::default();
        if identity(config).as_ref() == Some(&self.canary) {
            Release::resume(spec, self.release.clone(), &tally, now)
        } else {
            Release::succeed(spec, self.release.generation, &tally, now)
        }
    }

    /// The secret of the route's salts.
    pub(super) fn salt(&self) -> Option<Salt> {
        u128::from_str_radix(&self.salt, 16)
            .ok()
            .map(Salt::from_bits)
    }
}

impl Route {
    /// A route like this one whose release stands elsewhere.
    fn standing_at(&self, from: &Standing, clock: Clock) -> Self {
        let reach = (self.tls.clone(), self.endpoints.clone());
        let workers = (self.shards.len(), clock);
        let mut fresh = Self::new(&self.config, reach, workers, Start::Fresh);
        let release = from.resume(&self.config, spec_of(&self.config), clock.now());
        let rolled_back = rolled_back_of(&release);
        fresh
            .lasting
            .rolled_back
            .store(rolled_back, Ordering::Relaxed);
        fresh.lasting.word.store(setting_of(&release));
        fresh.trial.limits.publish(&release, clock);
        let mut deliveries = Deliveries::new(&release, clock.now());
        deliveries.go_on_since(from.release.generation, from.began);
        let mut judge = fresh.lock();
        (judge.release, judge.deliveries) = (release, deliveries);
        drop(judge);
        fresh.ledger().clone_from(&self.ledger());
        if let (Some(secret), Some(lasting)) = (from.salt(), Arc::get_mut(&mut fresh.lasting)) {
            lasting.secret = secret;
            fresh.salt = RouteSalt::new(&self.config.sticky.salt, secret);
        }
        if let Some(evidence) = &from.evidence {
            fresh.recall(evidence, clock);
        }
        fresh
    }

    /// Goes where the same release has gone in another process.
    fn follow(&self, other: Snapshot, live: &Live) {
        let mut judge = self.lock();
        let tally = self.tally();
        let effects = judge.release.follow(other, &tally, live.clock.now());
        self.carry_out(&mut judge, effects, None, live);
    }

    /// The route's own secret, where the release stands, and since when it goes on.
    fn to_hand_over(&self) -> (Salt, Snapshot, Option<Timestamp>) {
        let judge = self.lock();
        let (release, began) = (judge.release.snapshot(), judge.deliveries.began());
        (self.lasting.secret, release, began)
    }
}

impl Live {
    /// Goes on where the releases of the process before stand. To be called before
    /// anything is served.
    pub(crate) fn go_on_from(&self, standing: &[Standing]) {
        let routes = self.routes();
        let routes = routes.iter().map(|route| {
            let from = standing
                .iter()
                .find(|from| *from.route == *route.config.name);
            match from {
                Some(from) => Arc::new(route.standing_at(from, self.clock)),
                None => Arc::clone(route),
            }
        });
        self.routes.store(Arc::new(routes.collect()));
    }

    /// Where every release stands.
    pub(crate) fn standing(&self) -> Vec<Standing> {
        let routes = self.routes();
        let standing = routes.iter().filter_map(|route| {
            let (salt, release, began) = route.to_hand_over();
            Some(Standing {
                route: route.config.name.to_string(),
                canary: identity(&route.config)?,
                salt: format!("{:032x}", salt.to_bits()),
                release,
                began,
                evidence: None,
            })
        });
        standing.collect()
    }

    /// The same with what was seen of every release.
    pub(crate) fn standing_with_evidence(&self) -> Vec<Standing> {
        let mut standing = self.standing();
        let mut room = EVIDENCE_BYTES_MAX;
        for one in &mut standing {
            let route = self.route(&one.route);
            let news = route.map(|route| route.evidence_to_keep(None, self.clock));
            let Some(News::Evidence(fresh)) = news else {
                continue;
            };
            let (_, entry) = fresh.into_entry();
            if let Some(left) = room.checked_sub(entry.len()) {
                room = left;
                one.evidence = Some(entry);
            }
        }
        standing
    }

    /// Goes where another process has gone with the same canaries, as far as that is
    /// later, or less.
    pub(crate) fn follow(&self, others: &[Standing]) {
        for route in self.routes().iter() {
            let same = |other: &&Standing| {
                *other.route == *route.config.name
                    && identity(&route.config).as_ref() == Some(&other.canary)
            };
            if let Some(other) = others.iter().find(same) {
                route.follow(other.release.clone(), self);
            }
        }
    }
}

/// Which canary a route has.
fn identity(config: &RouteConfig) -> Option<CanaryIdentity> {
    config.canary.as_ref().map(Version::canary_identity)
}
