//! One data-plane thread: what its connections share, without locks.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use haldane_config::Limits;
use haldane_decide::outcome::{ErrorClass, FailureReason};
use haldane_decide::role::Role;

use crate::clock::{Clock, Micros};
use crate::deadline::{Deadlines, Party};
use crate::h1::head::{Head, HeadLimits};
use crate::live::evidence::{Seen, Subject};
use crate::live::settings::Settings;
use crate::live::{Live, Route, Routes};
use crate::request::lobby::Lobby;
use crate::request::room::Rooms;
use crate::request::route::Table;
use crate::slate::Slate;
use crate::telemetry::access::AccessLog;
use crate::ticks::Ticks;
use crate::upstream::{Manner, Means, Upstream};
use crate::waiting::Waiting;

/// How many spare heads are kept.
const HEADS_MAX: usize = 256;

/// Length of an HTTP date (RFC 9110 §5.6.7).
const DATE_BYTES: usize = 29;

/// What the connections of one thread share.
pub(crate) struct Worker {
    /// Its index, which is its shard's.
    pub(crate) id: usize,
    pub(crate) live: Arc<Live>,
    pub(crate) clock: Clock,
    pub(crate) means: Means,
    pub(crate) deadlines: Rc<Deadlines>,
    table: RefCell<Snapshot>,
    settings: RefCell<CurrentSettings>,
    access: RefCell<CurrentAccess>,
    #[expect(clippy::vec_box, reason = "they come and go in their boxes")]
    heads: RefCell<Vec<Box<Head>>>,
    /// For requests under way.
    pub(crate) rooms: Rooms,
    /// For those that have to wait.
    pub(crate) lobby: Lobby,
    /// The second of wall time that `date` says.
    second: Cell<u64>,
    date: Cell<[u8; DATE_BYTES]>,
    draining: Cell<bool>,
}

/// The routes as this worker last saw them, with its own pools.
struct Snapshot {
    cache: arc_swap::Cache<Arc<ArcSwap<Routes>>, Arc<Routes>>,
    /// What `table` was made from.
    seen: Arc<Routes>,
    table: Rc<Table<LocalRoute>>,
}

/// The settings as this worker last saw them: a copy of its own, so that counting who
/// uses them concerns nobody else.
struct CurrentSettings {
    cache: arc_swap::Cache<Arc<ArcSwap<Settings>>, Arc<Settings>>,
    /// What `current` is a copy of.
    seen: Arc<Settings>,
    current: Rc<Settings>,
}

/// The access log as this worker last saw it.
type CurrentAccess = arc_swap::Cache<Arc<ArcSwapOption<AccessLog>>, Option<Arc<AccessLog>>>;

/// A route with this worker's connections to its upstreams.
pub(crate) struct LocalRoute {
    pub(crate) route: Arc<Route>,
    upstreams: [Option<Rc<Upstream>>; 2],
    /// Requests that wait for a response head, also those by former routes of this name.
    pub(crate) waiting: Rc<Waiting<(Rc<Self>, Subject)>>,
    /// The last generation of which this worker has seen that it was rolled back.
    rolled_back: Cell<u32>,
    /// Who was sent to the canary, also by former routes of this name.
    pub(crate) slate: Rc<Slate>,
}

impl Worker {
    pub(crate) fn new(id: usize, live: &Arc<Live>) -> Rc<Self> {
        let means = Means::default();
        let mut cache = arc_swap::Cache::new(Arc::clone(&live.routes));
        let seen = Arc::clone(cache.load());
        let table = Rc::new(local_table(&seen, None, &means));
        let mut settings = arc_swap::Cache::new(Arc::clone(&live.settings));
        let current = Rc::new(Settings::clone(settings.load()));
        let worker = Self {
            id,
            live: Arc::clone(live),
            clock: live.clock,
            means,
            deadlines: Rc::new(Deadlines::default()),
            table: RefCell::new(Snapshot { cache, seen, table }),
            settings: RefCell::new(CurrentSettings {
                seen: Arc::clone(settings.load()),
                cache: settings,
                current,
            }),
            access: RefCell::new(arc_swap::Cache::new(Arc::clone(&live.access.current))),
            heads: RefCell::new(Vec::new()),
            rooms: Rooms::default(),
            lobby: Lobby::default(),
            second: Cell::new(0),
            date: Cell::new([b' '; DATE_BYTES]),
            draining: Cell::new(false),
        };
        worker.tick();
        Rc::new(worker)
    }

    /// The routes as they are now.
    pub(crate) fn table(&self) -> Rc<Table<LocalRoute>> {
        let mut snapshot = self.table.borrow_mut();
        let Snapshot { cache, seen, table } = &mut *snapshot;
        let now = cache.load();
        if !Arc::ptr_eq(now, seen) {
            *seen = Arc::clone(now);
            *table = Rc::new(local_table(seen, Some(table), &self.means));
        }
        Rc::clone(table)
    }

    /// What holds for every connection, as it is now.
    pub(crate) fn settings(&self) -> Rc<Settings> {
        self.look(Rc::clone)
    }

    /// What `look` finds in the settings as they are now.
    fn look<T>(&self, look: impl FnOnce(&Rc<Settings>) -> T) -> T {
        let mut settings = self.settings.borrow_mut();
        let CurrentSettings {
            cache,
            seen,
            current,
        } = &mut *settings;
        let now = cache.load();
        if !Arc::ptr_eq(now, seen) {
            *seen = Arc::clone(now);
            *current = Rc::new(Settings::clone(now));
        }
        look(current)
    }

    /// What `look` finds in the access log that is in force, if there is one. Only lent:
    /// the writer of one that was replaced ends when nobody has it any more.
    pub(crate) fn access<T>(&self, look: impl FnOnce(&AccessLog) -> T) -> Option<T> {
        self.access.borrow_mut().load().as_deref().map(look)
    }

    /// What a client may use, as it is now.
    #[inline]
    pub(crate) fn limits(&self) -> Limits {
        self.look(|settings| settings.limits)
    }

    /// How much of a head is accepted.
    pub(crate) fn head_limits(&self) -> HeadLimits {
        let limits = self.limits();
        HeadLimits {
            bytes: limits.header_bytes,
            target: limits.target_bytes,
            fields: limits.headers,
        }
    }

    /// A head to parse into.
    pub(crate) fn take_head(&self) -> Box<Head> {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes back a head.
    pub(crate) fn give_head(&self, head: Box<Head>) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() < HEADS_MAX {
            heads.push(head);
        }
    }

    /// The date as it stands in a response.
    pub(crate) fn date(&self) -> [u8; DATE_BYTES] {
        self.date.get()
    }

    /// Whether idle connections are to be closed.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether clients are told that their connection ends with the answer: from the
    /// beginning of a drain, so that when it has lingered only idle ones are left.
    /// Closing one that is in use could cross with its next request.
    pub(crate) fn lets_clients_go(&self) -> bool {
        self.live.draining.load(Ordering::Relaxed)
    }

    /// Closes idle connections, and the others after what they are doing.
    pub(crate) fn begin_drain(&self) {
        self.draining.set(true);
        self.deadlines.wake_idle();
    }

    /// Keeps the worker's time, for as long as the worker runs.
    pub(crate) async fn keep_time(self: Rc<Self>, mut ticks: Ticks) {
        loop {
            if let Err(error) = ticks.tick().await {
                tracing::error!(%error, "a worker has lost its timer");
                return;
            }
            self.tick();
        }
    }

    /// Moves the connections on that requests to upstreams share, for as long as the worker runs.
    pub(crate) async fn move_on(self: Rc<Self>) {
        poll_fn(|cx| self.means.together.poll(cx)).await;
    }

    /// Lets requests in that wait for others, for as long as the worker runs.
    pub(crate) async fn usher(self: Rc<Self>) {
        self.lobby.usher().await;
    }

    /// Waits, in ticks: the runtime of a worker has no timers.
    pub(crate) async fn rest(&self, pause: Duration) {
        let watch = self.deadlines.register();
        watch.within(Party::Client, pause, pending::<()>()).await;
    }

    fn tick(&self) {
        let now = self.clock.micros();
        self.deadlines.tick(now);
        let mut is_recalled = false;
        for local in self.table().routes() {
            is_recalled |= local.report_stalled(self, now);
            is_recalled |= local.sees_rollback();
            local.slate.hand_in(|notes| local.route.take_notes(notes));
        }
        if is_recalled {
            self.deadlines.wake_alert();
        }
        let second = self.clock.at(now).as_micros() / 1_000_000;
        if self.second.replace(second) == second {
            return;
        }
        self.date.set(http_date(second));
        // Also where no request asks for it: what the old one holds is to be let go.
        self.access(|_| ());
        let table = self.table();
        for local in table.routes() {
            for upstream in local.upstreams.iter().flatten() {
                upstream.close_idle(now);
            }
        }
    }
}

impl LocalRoute {
    /// With the connections of `before` to versions that have not changed.
    fn new(route: &Arc<Route>, before: Option<&Self>, means: &Means) -> Self {
        let upstreams = Role::ALL.map(|role| {
            let known = before.filter(|before| before.route.reaches_like(route, role));
            if let Some(known) = known.and_then(|before| before.upstream(role)) {
                return Some(Rc::clone(known));
            }
            let version = route.config.version(role)?;
            let manner = Manner {
                ejection: route.config.ejection,
                protocol: route.config.upstream_protocol,
                tls: route.tls[role.index()].clone(),
            };
            let endpoints = route.endpoints(role)?;
            let upstream = Upstream::new(&version.name, endpoints, manner, means.clone());
            Some(Rc::new(upstream))
        });
        Self {
            route: Arc::clone(route),
            upstreams,
            waiting: before.map_or_else(Rc::default, |before| Rc::clone(&before.waiting)),
            rolled_back: before.map_or_else(Cell::default, |before| before.rolled_back.clone()),
            slate: before.map_or_else(Rc::default, |before| Rc::clone(&before.slate)),
        }
    }

    /// Reports every request that has waited for too long as a failure. It goes on, unless
    /// it can be recalled. True if there was one.
    fn report_stalled(&self, worker: &Worker, now: Micros) -> bool {
        let limit = self.route.stalled_after();
        let Some(limit) = limit.filter(|_| !self.waiting.is_empty()) else {
            return false;
        };
        let mut was_called = false;
        let before = now.saturating_sub(limit);
        while let Some(((local, subject), ticket)) = self.waiting.call(before) {
            if local.route.hears_of(&subject) {
                was_called = true;
                self.waiting.count(ticket);
                let seen = Seen {
                    worker: worker.id,
                    at: now,
                    live: &worker.live,
                };
                let (reason, class) = (FailureReason::Stalled, ErrorClass::of_status(0));
                local.route.failed(&subject, reason, class, seen);
            }
        }
        was_called
    }

    /// Whether a generation was rolled back since this was asked last.
    fn sees_rollback(&self) -> bool {
        let last = self.route.last_rolled_back();
        self.rolled_back.replace(last) != last
    }

    /// This worker's connections to the version of a role.
    pub(crate) fn upstream(&self, role: Role) -> Option<&Rc<Upstream>> {
        self.upstreams[role.index()].as_ref()
    }
}

fn local_table(
    routes: &[Arc<Route>],
    before: Option<&Table<LocalRoute>>,
    means: &Means,
) -> Table<LocalRoute> {
    let known: HashMap<&str, &LocalRoute> = before
        .iter()
        .flat_map(|table| table.routes())
        .map(|local| (&*local.route.config.name, &**local))
        .collect();
    let locals = routes.iter().map(|route| {
        let matches = route.config.matches.clone();
        let before = known.get(&*route.config.name).copied();
        (matches, Rc::new(LocalRoute::new(route, before, means)))
    });
    Table::new(locals.collect())
}

fn http_date(seconds: u64) -> [u8; DATE_BYTES] {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    let text = httpdate::fmt_http_date(time);
    text.as_bytes().try_into().unwrap_or([b' '; DATE_BYTES])
}
