//! The state that the request path and the control plane share.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use haldane_config::{Config, RouteConfig, Version};
use haldane_decide::gate::{Answer, FreshLatencies};
use haldane_decide::generation::Generation;
use haldane_decide::refusal::StableReach;
use haldane_decide::release::{Release, ReleaseSpec};
use haldane_decide::role::Role;
use haldane_decide::rollout::{Effect, NoticeKind, Order, Preconditions, Rejected};
use haldane_decide::split::Salt;
use haldane_decide::status::Status;
use haldane_decide::tally::Tally;
use haldane_decide::time::Timestamp;
use hdrhistogram::Histogram;
use tokio::sync::Notify;

use crate::clock::{Clock, Micros, micros};
use crate::tls::{Tls, VersionTls};

pub(crate) mod access;
pub(crate) mod choice;
pub(crate) mod deliveries;
pub(crate) mod drill;
pub(crate) mod endpoints;
pub mod events;
pub(crate) mod evidence;
pub(crate) mod exemplars;
mod exposed;
pub(crate) mod freeze;
pub(crate) mod health;
pub(crate) mod histogram;
pub(crate) mod keeping;
pub(crate) mod limits;
pub(crate) mod notices;
mod outlive;
pub(crate) mod recall;
mod reconfigure;
pub(crate) mod reloads;
mod rollback;
mod route_salt;
pub(crate) mod series;
pub(crate) mod settings;
pub(crate) mod shard;
mod shield;
mod signals;
pub(crate) mod standing;
pub(crate) mod tap;
mod trial;
pub mod weight;

use access::Access;
use deliveries::Deliveries;
use drill::DrillReport;
use endpoints::{Endpoints, RouteEndpoints};
use events::{EventLog, Happening, ReleaseEvent};
use exposed::Exposure;
use freeze::Freeze;
use histogram::empty_histogram;
use keeping::{Found, Keeping, Start};
use notices::Notices;
use outlive::Beginning;
use reloads::Reloads;
use rollback::rolled_back_of;
use route_salt::{RouteSalt, new_secret};
use series::Series;
use settings::Settings;
use shard::{RoleShard, Shard};
use tap::Tap;
use trial::Trial;
use weight::{LiveWeight, Routed, Setting};

/// Everything that workers and the control plane share.
pub struct Live {
    /// The time.
    pub clock: Clock,
    /// What happened.
    pub events: EventLog,
    /// The routes in the order of the configuration. Replaced as a whole.
    pub(crate) routes: Arc<ArcSwap<Routes>>,
    /// Routes that are gone.
    remembered: Mutex<Routes>,
    /// What holds for every connection. Replaced as a whole.
    pub(crate) settings: Arc<ArcSwap<Settings>>,
    /// Certificates of listeners and versions. Replaced as a whole.
    pub(crate) tls: ArcSwap<Tls>,
    /// How the last reload went.
    pub(crate) reloads: Reloads,
    /// How many workers there are.
    pub(crate) workers: usize,
    /// Told whenever an effect was carried out.
    pub(crate) changed: Notify,
    /// Client connections that are open on all workers.
    pub(crate) connections: AtomicUsize,
    /// How often the names of upstreams are looked up, in microseconds.
    pub(crate) dns_refresh: AtomicU64,
    /// Where requests are logged, if they are.
    pub(crate) access: Access,
    /// The process is about to end: readiness says no, and clients are told to leave.
    pub(crate) draining: AtomicBool,
    /// What outlives the process.
    pub(crate) keeping: Keeping,
    /// What others are to be told.
    pub(crate) notices: Notices,
    /// Whether rollouts may start and advance.
    pub(crate) freeze: Freeze,
}

impl Live {
    /// The state of a process that starts with `config` and this many workers, after
    /// one that has left what was `found`; `None` if nothing is kept. `events` are what has
    /// happened until now.
    #[must_use]
    pub(crate) fn new(
        config: &Config,
        tls: Tls,
        (workers, clock): (usize, Clock),
        found: Option<Found>,
        events: EventLog,
    ) -> Arc<Self> {
        let keeping = Keeping::new(found);
        let begin = Beginning {
            keeping: &keeping,
            events: &events,
            workers,
            clock,
        };
        let routes = config.routes.iter().zip(&tls.versions).map(|(route, tls)| {
            let reach = (tls.clone(), endpoints::of_route(route, None));
            Arc::new(begin.route(route, reach))
        });
        let routes = routes.collect();
        let freeze = Freeze::at(keeping.found_freeze());
        Arc::new(Self {
            clock,
            events,
            routes: Arc::new(ArcSwap::from_pointee(routes)),
            remembered: Mutex::default(),
            settings: Arc::new(ArcSwap::from_pointee(Settings::of(config))),
            tls: ArcSwap::from_pointee(tls),
            reloads: Reloads::new(clock.now()),
            workers,
            changed: Notify::new(),
            connections: AtomicUsize::new(0),
            dns_refresh: AtomicU64::new(micros(config.dns_refresh)),
            access: Access::default(),
            draining: AtomicBool::new(false),
            keeping,
            notices: Notices::default(),
            freeze,
        })
    }

    /// The routes as they are now.
    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.routes.load_full()
    }

    /// The route of this name.
    pub(crate) fn route(&self, name: &str) -> Option<Arc<Route>> {
        self.routes
            .load()
            .iter()
            .find(|route| &*route.config.name == name)
            .cloned()
    }
}

/// The routes in the order of the configuration.
pub(crate) type Routes = Vec<Arc<Route>>;

/// One route at run time: what is configured, and shared with the routes of the same name
/// before and after it, what lasts.
pub(crate) struct Route {
    pub(crate) config: RouteConfig,
    /// By role, for versions that are reached over TLS.
    pub(crate) tls: VersionTls,
    /// By role: where the versions answer.
    endpoints: RouteEndpoints,
    salt: RouteSalt,
    /// One for each worker.
    shards: Box<[Shard]>,
    /// The same counts by version, with those of versions that were replaced.
    series: Vec<Series>,
    trial: Arc<Trial>,
    lasting: Arc<Lasting>,
}

/// What of a route outlives its configuration.
struct Lasting {
    word: LiveWeight,
    /// The last generation that was rolled back; 0 before the first.
    rolled_back: AtomicU32,
    /// Requests that the canary had failed and that went to stable.
    shielded: AtomicU64,
    /// What the salts of generations are derived from.
    secret: Salt,
    /// Who was on the canary.
    exposure: Exposure,
    /// What its versions have failed last.
    tap: Tap,
    /// Taken for failures, for slow responses, by the driver and for commands; never across an await.
    judge: Mutex<Judge>,
}

/// The decisions of a route, and how long its rollbacks took.
struct Judge {
    release: Release,
    /// What the release is about: the canary that there is, or the last one that was.
    canary: Option<Version>,
    /// The name of the version in service.
    stable: Version,
    rollback_times: Histogram<u64>,
    rollbacks_by_gate: Vec<(Arc<str>, u64)>,
    deliveries: Deliveries,
    /// How the gates were tried last.
    drill: Option<DrillReport>,
}

impl Route {
    fn new(
        config: &RouteConfig,
        (tls, endpoints): (VersionTls, RouteEndpoints),
        (workers, clock): (usize, Clock),
        start: Start,
    ) -> Self {
        let (secret, release) = start.release(spec_of(config), clock.now());
        let setting = setting_of(&release);
        let trial = Trial::new(&config.gates, workers);
        trial.limits.publish(&release, clock);
        let secret = secret.unwrap_or_else(new_secret);
        let series = Series::of(config, &[], workers);
        Self {
            config: config.clone(),
            tls,
            endpoints,
            salt: RouteSalt::new(&config.sticky.salt, secret),
            shards: series::shards_of(&series, config, workers),
            series,
            trial: Arc::new(trial),
            lasting: Arc::new(Lasting {
                rolled_back: AtomicU32::new(rolled_back_of(&release)),
                shielded: AtomicU64::new(0),
                word: LiveWeight::new(setting),
                secret,
                exposure: Exposure::default(),
                tap: Tap::default(),
                judge: Mutex::new(Judge {
                    deliveries: Deliveries::new(&release, clock.now()),
                    release,
                    canary: config.canary.clone(),
                    stable: config.stable.clone(),
                    rollback_times: empty_histogram(),
                    rollbacks_by_gate: Vec::new(),
                    drill: None,
                }),
            }),
        }
    }

    /// Picks a role under the current setting and counts the request as started.
    pub(crate) fn pick(&self, worker: usize, choose: impl Fn(Salt, Setting) -> Role) -> Routed {
        self.lasting.word.pick(&self.shards[worker], |setting| {
            if self.trial.includes(setting.generation) {
                choose(self.salt(setting.generation), setting)
            } else {
                Role::Stable
            }
        })
    }

    /// Where the version of a role answers.
    pub(crate) fn endpoints(&self, role: Role) -> Option<&Arc<Endpoints>> {
        self.endpoints[role.index()].as_ref()
    }

    /// Where all its versions answer.
    pub(crate) fn all_endpoints(&self) -> impl Iterator<Item = &Arc<Endpoints>> {
        self.endpoints.iter().flatten()
    }

    /// Whether stable has an address that is not known to be bad.
    pub(crate) fn stable_reach(&self) -> StableReach {
        match self.endpoints(Role::Stable) {
            Some(stable) if stable.is_reachable() => StableReach::Reachable,
            Some(_) | None => StableReach::Unreachable,
        }
    }

    /// The counts of one worker, for it to write.
    pub(crate) fn shard(&self, worker: usize, role: Role) -> &RoleShard {
        self.shards[worker].of(role)
    }

    /// The generation and weight that requests are split by.
    pub(crate) fn setting(&self) -> Setting {
        self.lasting.word.load()
    }

    /// Whether both routes count a role in the same place: it has the same version.
    pub(crate) fn counts_like(&self, other: &Self, role: Role) -> bool {
        let first = |route: &Self| route.shards_of(role).next().map(std::ptr::from_ref);
        first(self) == first(other)
    }

    /// The salt of a generation.
    pub(crate) fn salt(&self, generation: u32) -> Salt {
        self.salt.of(generation)
    }

    /// Lets the gates be told of an outcome that the shards already contain. When this
    /// returns, a breach has made the weight zero. `seen` is when the outcome was known.
    fn observe(
        &self,
        seen: Micros,
        live: &Live,
        tell: impl FnOnce(&mut Release, &Tally, Timestamp) -> Vec<Effect>,
    ) {
        let mut judge = self.lock();
        if self.trial.is_over() {
            return;
        }
        let tally = self.tally();
        judge.release.tell_stable(self.stable_reach());
        let effects = tell(&mut judge.release, &tally, live.clock.at(seen));
        self.trial.limits.publish(&judge.release, live.clock);
        self.carry_out(&mut judge, effects, Some(seen), live);
    }

    /// Lets the gates see what was counted since the last call. `fresh` adds what stable
    /// has taken since it was asked last.
    pub(crate) fn absorb(&self, fresh: &mut FreshLatencies<'_>, live: &Live) {
        let seen = live.clock.micros();
        let mut judge = self.lock();
        if self.trial.is_over() {
            return;
        }
        self.trial.signals.drain(|name, role, good, bad| {
            judge.release.report_signal(name, role, good, bad);
        });
        let tally = self.tally();
        judge.release.tell_stable(self.stable_reach());
        judge.release.tell_freeze(live.freeze.why());
        let effects = judge.release.absorb(&tally, fresh, live.clock.at(seen));
        self.trial.limits.publish(&judge.release, live.clock);
        self.carry_out(&mut judge, effects, Some(seen), live);
    }

    /// Carries out what a person or a pipeline asks for. True if anything changed.
    pub(crate) fn command(&self, order: Order, live: &Live) -> Result<bool, Rejected> {
        let mut judge = self.lock();
        let tally = self.tally();
        judge.release.tell_freeze(live.freeze.why());
        let effects = judge.release.command(order, &tally, live.clock.now())?;
        let changed = !effects.is_empty();
        self.carry_out(&mut judge, effects, None, live);
        Ok(changed)
    }

    /// The generation that has not begun because something must hold before.
    pub(crate) fn awaits_preconditions(&self) -> Option<Generation> {
        let judge = self.lock();
        let awaits = self.config.canary.is_some() && judge.release.awaits_preconditions();
        awaits.then(|| judge.release.generation())
    }

    /// Whether what must hold before the first step of this generation does.
    pub(crate) fn tell_preconditions(&self, generation: Generation, told: Preconditions) {
        self.lock().release.tell_preconditions(generation, told);
    }

    /// So many good and bad results of a version were reported. False if no gate is about
    /// this signal.
    pub(crate) fn report_signal(&self, signal: &str, role: Role, good: u64, bad: u64) -> bool {
        self.lock().release.report_signal(signal, role, good, bad)
    }

    /// What came of a question for the gate of this name, which was asked then.
    pub(crate) fn tell_answer(&self, gate: &str, answer: Answer, asked: Timestamp) {
        self.lock().release.tell_answer(gate, answer, asked);
    }

    /// Where the release stands.
    pub(crate) fn status(&self, live: &Live) -> Status {
        self.lock().release.status(live.clock.now())
    }

    /// Breach to weight zero in microseconds, of all rollbacks so far; and how many each gate caused.
    pub(crate) fn rollbacks(&self) -> (Histogram<u64>, Vec<(Arc<str>, u64)>) {
        let judge = self.lock();
        (
            judge.rollback_times.clone(),
            judge.rollbacks_by_gate.clone(),
        )
    }

    /// The counts of all workers for one role, worker by worker.
    pub(crate) fn shards_of(&self, role: Role) -> impl Iterator<Item = &RoleShard> {
        self.shards.iter().map(move |shard| shard.of(role))
    }

    /// The counts by version: those of its versions, then those that were replaced last.
    pub(crate) fn series(&self) -> &[Series] {
        &self.series
    }

    /// Requests of a role: how many were routed, and how many have not ended.
    pub(crate) fn requests(&self, role: Role) -> (u64, u64) {
        series::requests(|| self.shards_of(role))
    }

    /// Requests of both roles: how many were routed, and how many have not ended.
    pub(crate) fn all_requests(&self) -> (u64, u64) {
        let shards = || self.shards.iter();
        series::requests(|| shards().flat_map(|shard| Role::ALL.map(|role| shard.of(role))))
    }

    fn carry_out(
        &self,
        judge: &mut Judge,
        effects: Vec<Effect>,
        seen: Option<Micros>,
        live: &Live,
    ) {
        if effects.is_empty() {
            return;
        }
        // The weight first: it is what the next request on any thread reads.
        for effect in &effects {
            if let Effect::Reweigh {
                generation,
                weight,
                reach,
            } = effect
            {
                self.lasting.word.store(Setting {
                    generation: generation.0,
                    weight: *weight,
                    reach: *reach,
                });
            }
        }
        let (canary_requests, canary_in_flight) = self.requests(Role::Canary);
        let done = live.clock.micros();
        self.trial.limits.publish(&judge.release, live.clock);
        for effect in effects {
            let Effect::Announce(notice) = effect else {
                continue;
            };
            if matches!(notice.kind, NoticeKind::RolledBack { .. }) {
                let generation = notice.generation.0;
                self.lasting
                    .rolled_back
                    .store(generation, Ordering::Relaxed);
            }
            let rollback_micros = judge.note_breach(&notice, seen, done);
            judge.deliveries.note(&notice, &judge.release);
            live.events.push(Happening::Release(Box::new(ReleaseEvent {
                route: Arc::clone(&self.config.name),
                version: judge.canary.as_ref().map(|canary| Arc::clone(&canary.name)),
                sha: judge.canary.as_ref().and_then(Version::sha),
                stable_version: Arc::clone(&judge.stable.name),
                stable_sha: judge.stable.sha(),
                cause: notice.kind.by().map(ToString::to_string),
                notice,
                canary_requests,
                canary_in_flight,
                rollback_micros,
            })));
        }
        live.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Judge> {
        // A panic under the lock leaves counts and a phase, both valid in any state.
        self.lasting
            .judge
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a route is to be judged by.
pub(crate) fn spec_of(config: &RouteConfig) -> ReleaseSpec {
    ReleaseSpec {
        weight: config.weight,
        plan: config.plan.clone(),
        has_preconditions: !config.plan.is_fixed(),
        gates: config.gates.clone(),
        promise: config.promise,
    }
}

/// What requests are split by where a release stands.
pub(crate) fn setting_of(release: &Release) -> Setting {
    Setting {
        generation: release.generation().0,
        weight: release.weight(),
        reach: release.reach(),
    }
}
