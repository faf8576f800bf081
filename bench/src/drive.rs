//! The driver's loop: one thread that stays awake, with the clients and the upstreams in it.
//!
//! ## Why busy
//! Waking a sleeping thread is charged to whoever wakes it. A load generator that sleeps would make
//! the proxy pay for its own wake-ups, and the more so the faster the proxy is. It sleeps only where
//! a proxy has use for the CPU that it is on.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mio::{Events, Poll, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    case::{Case, USERS},
    check::Ledger,
    client::{Answered, Client},
    clock,
    failure::Failure,
    upstream::{self, Upstreams},
    watch::{self, Watchers},
    wire::Target,
};

/// The loop with the upstreams in it, for the whole run.
#[derive(Debug)]
pub(crate) struct Engine {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    interrupted: Arc<AtomicBool>,
    /// How long it sleeps while nothing comes.
    nap: Duration,
    watchers: Option<Watchers>,
    /// Both upstreams.
    pub(crate) upstreams: Upstreams,
}

/// Client connections to one target.
#[derive(Debug)]
pub(crate) struct Clients<'run> {
    registry: Registry,
    list: Vec<Client>,
    /// Who can send: a connection is in it once for each request that it has room for.
    idle: VecDeque<usize>,
    /// All places in `idle`.
    room: usize,
    /// Of the event at hand.
    answered: Vec<Answered>,
    case: &'run Case,
    ledger: &'run mut Ledger,
    next_user: usize,
    requests: u64,
    mode: Mode,
    /// Nanoseconds from due to answered; filled in open loop only, never beyond its capacity.
    latencies_ns: Vec<u64>,
}

/// What a connection does when its answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Sends the next request at once.
    Closed,
    /// Waits to be told.
    Told,
    /// As `Told`, and the latency is kept.
    Timed,
}

impl Engine {
    /// Binds the upstreams and listens for signals.
    pub(crate) fn new() -> Result<Self, Failure> {
        let poll = Poll::new().map_err(Failure::io("create an epoll instance"))?;
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))
                .map_err(Failure::io("handle signals"))?;
        }
        let upstreams = Upstreams::bind(registry(&poll)?)?;
        let (events, scratch) = (Events::with_capacity(1024), vec![0; SCRATCH]);
        Ok(Self {
            poll,
            events,
            scratch,
            interrupted,
            nap: Duration::ZERO,
            watchers: None,
            upstreams,
        })
    }

    /// From now on it leaves its CPU to others while it has nothing to do, or not any more.
    pub(crate) fn share_cpu(&mut self, is_shared: bool) {
        self.nap = if is_shared { NAP } else { Duration::ZERO };
    }

    /// Handles what is there, without waiting unless the CPU is shared; `None` as long as there
    /// are no clients.
    pub(crate) fn turn(&mut self, mut clients: Option<&mut Clients<'_>>) -> Result<(), Failure> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        let Self {
            poll,
            events,
            scratch,
            upstreams,
            watchers,
            nap,
            ..
        } = self;
        if let Some(watchers) = watchers {
            watchers.tick()?;
        }
        match poll.poll(events, Some(*nap)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(Failure::io("poll")(error)),
        }
        for event in events.iter() {
            if event.token().0 < upstream::TOKENS {
                upstreams.handle(event, scratch)?;
            } else if event.token().0 >= watch::TOKENS {
                if let Some(watchers) = watchers {
                    watchers.handle(event.token(), scratch)?;
                }
            } else if let Some(clients) = &mut clients {
                clients.handle(event, scratch)?;
            }
        }
        Ok(())
    }

    /// From now on a proxy is watched by a scrape ten times a second and `streams` of events.
    pub(crate) fn watch(&mut self, admin: SocketAddr, streams: usize) -> Result<(), Failure> {
        let registry = registry(&self.poll)?;
        self.watchers = Some(Watchers::connect(admin, streams, &registry)?);
        Ok(())
    }

    /// Sends those who watch away; returns how many scrapes were answered.
    pub(crate) fn unwatch(&mut self) -> u64 {
        self.watchers
            .take()
            .map_or(0, |watchers| watchers.scraped())
    }

    /// Turns for a while without load, so that everything on its way arrives.
    pub(crate) fn settle(&mut self, time: Duration) -> Result<(), Failure> {
        let end = clock::now_ns() + clock::ns(time);
        while clock::now_ns() < end {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Prepares connections to the targets, in turns; they dial with their first request.
    pub(crate) fn clients<'run>(
        &mut self,
        targets: &[Target],
        connections: usize,
        case: &'run Case,
        ledger: &'run mut Ledger,
    ) -> Result<Clients<'run>, Failure> {
        self.upstreams.expect(case);
        let registry = registry(&self.poll)?;
        let token = |at| Token(upstream::TOKENS + at);
        Ok(Clients {
            registry,
            list: (0..connections)
                .zip(targets.iter().cycle())
                .map(|(at, target)| Client::new(case, token(at), target.clone()))
                .collect(),
            idle: (0..case.streams).flat_map(|_| 0..connections).collect(),
            room: connections * case.streams,
            answered: Vec::new(),
            case,
            ledger,
            next_user: 0,
            requests: 0,
            mode: Mode::Told,
            latencies_ns: Vec::new(),
        })
    }

    /// Closed loop: each connection sends as soon as it has its answer. Returns the answers.
    pub(crate) fn run_closed(
        &mut self,
        clients: &mut Clients<'_>,
        time: Duration,
    ) -> Result<u64, Failure> {
        let before = clients.requests;
        let end = clock::now_ns() + clock::ns(time);
        clients.mode = Mode::Closed;
        while let Some(at) = clients.idle.pop_front() {
            clients.start(at, 0)?;
            // Thousands at once are more connections than an upstream's backlog holds.
            self.turn(Some(clients))?;
        }
        while clock::now_ns() < end {
            self.turn(Some(clients))?;
        }
        clients.mode = Mode::Told;
        self.drain(clients)?;
        Ok(clients.requests - before)
    }

    /// One request after the other, over one connection after the other.
    pub(crate) fn run_count(
        &mut self,
        clients: &mut Clients<'_>,
        count: u64,
    ) -> Result<(), Failure> {
        for _ in 0..count {
            if let Some(at) = clients.idle.pop_front() {
                clients.start(at, 0)?;
            }
            self.drain(clients)?;
        }
        Ok(())
    }

    /// Open loop: a request is due in every `interval`, whatever became of the others.
    /// Returns nanoseconds from due to answered, in no particular order.
    ///
    /// When in its interval is drawn, the same for whoever is measured: at fixed instants one
    /// request in eight would meet the kernel's ticks for one proxy, and none for another.
    pub(crate) fn run_open(
        &mut self,
        clients: &mut Clients<'_>,
        interval: Duration,
        time: Duration,
    ) -> Result<Vec<u64>, Failure> {
        let interval_ns = clock::ns(interval).max(1);
        let count = clock::ns(time) / interval_ns;
        clients.latencies_ns = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        clients.mode = Mode::Timed;
        let begin = clock::now_ns();
        let mut instants = fastrand::Rng::with_seed(0);
        let mut due = |request| begin + request * interval_ns + instants.u64(..interval_ns);
        let mut due_ns = due(0);
        let mut sent = 0;
        while sent < count {
            if due_ns <= clock::now_ns()
                && let Some(at) = clients.idle.pop_front()
            {
                clients.start(at, due_ns)?;
                sent += 1;
                due_ns = due(sent);
            }
            if clock::now_ns() > due_ns + clock::ns(DRAIN_MAX) {
                return Err(Failure::violation(
                    "the proxy cannot keep up with this rate",
                ));
            }
            self.turn(Some(clients))?;
        }
        self.drain(clients)?;
        clients.mode = Mode::Told;
        Ok(std::mem::take(&mut clients.latencies_ns))
    }

    /// One request for each that there is room for, at most [`CONCURRENCY`] at a time.
    pub(crate) fn touch_each(&mut self, clients: &mut Clients<'_>) -> Result<(), Failure> {
        for (started, at) in std::mem::take(&mut clients.idle).into_iter().enumerate() {
            clients.start(at, 0)?;
            let begin = clock::now_ns();
            while started + 1 >= CONCURRENCY + clients.idle.len() {
                self.turn(Some(clients))?;
                if clock::now_ns() - begin > clock::ns(DRAIN_MAX) {
                    return Err(Failure::violation(format!(
                        "no answer for {DRAIN_MAX:?} after {} requests",
                        clients.idle.len()
                    )));
                }
            }
        }
        self.drain(clients)
    }

    fn drain(&mut self, clients: &mut Clients<'_>) -> Result<(), Failure> {
        let end = clock::now_ns() + clock::ns(DRAIN_MAX);
        while clients.idle.len() < clients.room {
            self.turn(Some(clients))?;
            if clock::now_ns() > end {
                return Err(Failure::violation(format!(
                    "{} answers are missing after {DRAIN_MAX:?}",
                    clients.room - clients.idle.len()
                )));
            }
        }
        Ok(())
    }
}

impl Clients<'_> {
    fn handle(&mut self, event: &mio::event::Event, scratch: &mut [u8]) -> Result<(), Failure> {
        let at = event.token().0 - upstream::TOKENS;
        // An event of connections that are gone.
        let Some(client) = self.list.get_mut(at) else {
            return Ok(());
        };
        client.advance(event, scratch, self.case, &mut self.answered)?;
        let mut answered = std::mem::take(&mut self.answered);
        for answered in answered.drain(..) {
            self.ledger.record(answered.user, answered.version)?;
            self.requests += 1;
            if self.mode == Mode::Closed {
                self.send(at, 0)?;
                continue;
            }
            if self.mode == Mode::Timed {
                self.latencies_ns
                    .push(clock::now_ns().saturating_sub(answered.due_ns));
            }
            self.idle.push_back(at);
        }
        self.answered = answered;
        self.list[at].flush()
    }

    fn start(&mut self, at: usize, due_ns: u64) -> Result<(), Failure> {
        self.send(at, due_ns)?;
        self.list[at].flush()
    }

    fn send(&mut self, at: usize, due_ns: u64) -> Result<(), Failure> {
        let user = self.next_user;
        self.next_user = (user + 1) % USERS;
        self.list[at].start(user, due_ns, self.case, &self.registry)
    }
}

fn registry(poll: &Poll) -> Result<Registry, Failure> {
    poll.registry()
        .try_clone()
        .map_err(Failure::io("share an epoll instance"))
}

/// Requests of a load that are under way at a time.
pub(crate) const CONCURRENCY: usize = 64;

/// Room for one read: large, so that a body of 1 MiB needs few of them.
const SCRATCH: usize = 256 << 10;

/// Whatever comes ends it.
const NAP: Duration = Duration::from_millis(1);

/// How long answers may take to come in once no more requests are sent.
const DRAIN_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
