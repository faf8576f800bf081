//! Binds, wires, runs, drains.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use haldane_config::{AdminAddress, Config};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::control::beat::Beats;
use crate::control::state_file::writer::Writer;
use crate::control::upstreams::resolve::resolve_first;
use crate::control::{self, Bound, notify, state_file};
use crate::deadline::TICK;
use crate::doors::Doors;
use crate::ending::{self, Accepting, Stage};
use crate::handover::predecessor::Predecessor;
use crate::handover::successor::{Beside, Estate};
use crate::handover::{self, InStep};
use crate::inherited::Inherited;
use crate::listeners::Listener;
use crate::live::Live;
use crate::live::events::EventLog;
use crate::notify_socket;
use crate::origin::Origin;
use crate::sockets::Sockets;
use crate::ticks::Ticks;
use crate::tls::{Tls, TlsError};
use crate::unix_socket::Claim;
use crate::worker::Worker;

/// Workers that still serve a connection when the drain is over get this long to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// What others have not been told yet gets this long, but no longer than the drain.
const NOTICES_TIMEOUT: Duration = Duration::from_secs(3);

/// The last state gets this long to be written.
const STATE_TIMEOUT: Duration = Duration::from_secs(2);

/// A haldane with its sockets bound and nothing running yet.
pub struct App {
    config: Config,
    live: Arc<Live>,
    origin: Option<Origin>,
    sockets: Sockets,
    /// The process before, which still serves, and the files that it leaves.
    before: Option<(Predecessor, Vec<Claim>)>,
    data_addrs: Vec<SocketAddr>,
}

/// Why haldane cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The access log cannot be written.
    Access(io::Error),
    /// The process before does not hand over.
    HandOver(PathBuf, io::Error),
    /// An address cannot be listened on.
    Listen(AdminAddress, io::Error),
    /// The operating system gives no thread or no event queue.
    Runtime(io::Error),
    /// A certificate, a key or the roots cannot be used.
    Tls(TlsError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(error) => error.fmt(f),
            Self::HandOver(path, error) => {
                write!(f, "cannot take over by {}: {error}", path.display())
            }
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Runtime(error) => write!(f, "cannot start a worker: {error}"),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Access(error)
            | Self::HandOver(_, error)
            | Self::Listen(_, error)
            | Self::Runtime(error) => Some(error),
            Self::Tls(error) => Some(error),
        }
    }
}

impl App {
    /// Binds every listener.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`] with the address that cannot be listened on.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        Self::inheriting(config, Inherited::default())
    }

    /// Binds every listener that is not among those that were inherited. Where the
    /// configuration has a place for the hand-over and a process answers there, its
    /// sockets are too; it serves on until [`App::run`] takes over.
    ///
    /// # Errors
    ///
    /// As for [`App::bind`], and [`StartError::HandOver`].
    pub fn inheriting(config: Config, mut inherited: Inherited) -> Result<Self, StartError> {
        let tls = Tls::load(&config, None).map_err(StartError::Tls)?;
        let workers = config
            .workers
            .or_else(|| std::thread::available_parallelism().ok());
        let workers = workers.map_or(1, std::num::NonZero::get);
        let path = config.hand_over.clone().unwrap_or_default();
        let failed = |error| StartError::HandOver(path.clone(), error);
        let predecessor = match &config.hand_over {
            Some(path) => Predecessor::ask(path, &mut inherited).map_err(failed)?,
            None => None,
        };
        let sockets = Sockets::listen(&config, &tls, workers, &mut inherited)?;
        let before = predecessor.map(|before| (before, inherited.taken().to_vec()));
        inherited.report_rest();
        let found = config.state_dir.as_deref().map(state_file::read);
        let evidence = config.state_dir.as_deref().map(state_file::evidence::read);
        let events = EventLog::default();
        if let Some(directory) = &config.state_dir {
            events.go_on_after(state_file::events::read(directory));
        }
        let live = Live::new(&config, tls, (workers, Clock::start()), found, events);
        if let Some(evidence) = evidence {
            live.recall(evidence);
        }
        if let Some(reason) = live.keeping.damage() {
            tracing::error!(%reason, "state damaged: every canary begins without traffic");
        }
        let access = live
            .access
            .open(config.log.access.as_ref(), live.clock)
            .map_err(|error| StartError::Access(error.into()))?;
        live.access.current.store(access);
        let data_addrs = sockets.data.iter().map(|data| data.address).collect();
        Ok(Self {
            config,
            live,
            origin: None,
            sockets,
            before,
            data_addrs,
        })
    }

    /// Reads the configuration from here again whenever that is asked for, or when its
    /// content changes.
    #[must_use]
    pub fn reloading(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Where clients connect, in the order of the configuration.
    #[must_use]
    pub fn data_addrs(&self) -> &[SocketAddr] {
        &self.data_addrs
    }

    /// Where the admin API answers.
    ///
    /// # Errors
    ///
    /// If the operating system does not tell.
    pub fn admin_addr(&self) -> io::Result<AdminAddress> {
        self.sockets.admin.address()
    }

    /// Where metrics and health are answered besides, if anywhere.
    #[must_use]
    pub fn ops_addr(&self) -> Option<AdminAddress> {
        self.sockets.ops.as_ref()?.address().ok()
    }

    /// Whether releases go on after a restart.
    #[must_use]
    pub fn keeps_state(&self) -> bool {
        self.config.state_dir.is_some()
    }

    /// What requests and the control plane share.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Serves until `shutdown` completes or the next process takes over, then drains. The control plane runs on the
    /// calling thread, which must be inside a `current_thread` runtime.
    ///
    /// # Errors
    ///
    /// [`StartError::Runtime`] if a worker cannot be started, [`StartError::HandOver`] if
    /// the process before has changed its mind.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let routes = self.live.routes();
        resolve_first(routes.iter().flat_map(|route| route.all_endpoints())).await;
        drop(routes);
        if self.sockets.door.is_some() {
            for listener in &self.sockets.data {
                listener.hold().map_err(StartError::Runtime)?;
            }
        }
        let beats = Beats::start().map_err(StartError::Runtime)?;
        let before = self.take_over()?;
        let (stage, _) = watch::channel(Stage::Serving);
        let (running, mut all_ended) = mpsc::channel::<()>(1);
        let mut threads = Vec::new();
        // Kept until all workers have ended: a reload may change it until then.
        let (listeners, _) = watch::channel(self.sockets.data);
        for id in 0..self.live.workers {
            let live = Arc::clone(&self.live);
            let listeners = listeners.subscribe();
            let (stage, running) = (stage.subscribe(), running.clone());
            let thread = std::thread::Builder::new()
                .name(format!("worker-{id}"))
                .spawn(move || {
                    let result = run_worker(id, &live, listeners, stage);
                    drop(running);
                    result
                });
            threads.push(thread.map_err(StartError::Runtime)?);
        }
        drop(running);
        let writer = self.config.state_dir.clone();
        let writer = writer.map(|directory| Writer::start(directory, &self.live));
        let writer = writer.transpose().map_err(StartError::Runtime)?;
        notify_socket::ready();
        notify_socket::status("serving");
        let (stop_control, control_stopped) = watch::channel(false);
        let beside = Beside::default();
        let door = self.sockets.door;
        let estate = door.map(|door| Estate::new(door, listeners.subscribe(), beside.clone()));
        let control = control::run(
            Bound {
                live: Arc::clone(&self.live),
                origin: self.origin,
                config: self.config,
                listeners: listeners.clone(),
                admin: self.sockets.admin,
                ops: self.sockets.ops,
                beside,
                stop: control_stopped,
            },
            &beats,
        );
        let accepting = Accepting {
            stage: &stage,
            listeners: listeners.subscribe(),
            control: &stop_control,
        };
        let mut next = None;
        tokio::select! {
            () = control => {}
            () = ending::end(&self.live, accepting, estate, &mut next, shutdown) => {}
            // Workers end by themselves only if they could not start.
            _ = all_ended.recv() => {}
        }
        let stopped = stop(&stage, &mut all_ended, threads).await;
        for in_step in [before, next].into_iter().flatten() {
            in_step.finish().await;
        }
        finish(&self.live, writer).await;
        self.live.access.close().await;
        stopped
    }
}

impl App {
    /// Becomes the one that serves, and goes on where the releases stand. From here on
    /// the process before accepts nothing, so little may be left to do.
    fn take_over(&mut self) -> Result<Option<InStep>, StartError> {
        let Some((before, files)) = self.before.take() else {
            return Ok(None);
        };
        tracing::info!(process = before.process, "taking over");
        let path = self.config.hand_over.clone().unwrap_or_default();
        let retired = before
            .take_over(&files)
            .map_err(|error| StartError::HandOver(path, error))?;
        Ok(retired.and_then(|retired| {
            self.live.events.skip_to(retired.last_event);
            self.live.go_on_from(&retired.routes);
            self.live.follow_freeze(retired.freeze);
            handover::follow(retired.link, &self.live)
        }))
    }
}

/// What must outlive the process is written, and what others wait for is told.
async fn finish(live: &Live, writer: Option<Writer>) {
    let limit = NOTICES_TIMEOUT.min(live.settings.load().drain.timeout);
    let written = async {
        if let Some(writer) = writer {
            writer.finish(STATE_TIMEOUT).await;
        }
    };
    tokio::join!(written, notify::finish(live, limit));
}

async fn stop(
    stage: &watch::Sender<Stage>,
    all_ended: &mut mpsc::Receiver<()>,
    threads: Vec<JoinHandle<Result<(), StartError>>>,
) -> Result<(), StartError> {
    stage.send_replace(Stage::Stopping);
    // A worker that does not stop is left behind: the process ends anyway.
    let ended = tokio::time::timeout(STOP_TIMEOUT, all_ended.recv()).await;
    if ended.is_err() {
        tracing::warn!("a worker did not stop");
        return Ok(());
    }
    for thread in threads {
        match thread.join() {
            Ok(result) => result?,
            Err(_) => tracing::error!("a worker panicked"),
        }
    }
    Ok(())
}

fn run_worker(
    id: usize,
    live: &Arc<Live>,
    mut listeners: watch::Receiver<Vec<Arc<Listener>>>,
    mut stage: watch::Receiver<Stage>,
) -> Result<(), StartError> {
    // Without timers, which would be looked at with every request: see `ticks`.
    let runtime = Builder::new_current_thread()
        .enable_io()
        .build_local(LocalOptions::default())
        .map_err(StartError::Runtime)?;
    runtime.block_on(async {
        let worker = Worker::new(id, live);
        let ticks = Ticks::every(TICK).map_err(StartError::Runtime)?;
        drop(tokio::task::spawn_local(
            Rc::clone(&worker).keep_time(ticks),
        ));
        drop(tokio::task::spawn_local(Rc::clone(&worker).move_on()));
        drop(tokio::task::spawn_local(Rc::clone(&worker).usher()));
        let (connections, mut all_closed) = mpsc::channel(1);
        let mut doors = Doors::new(Rc::clone(&worker), connections);
        let wanted = listeners.borrow_and_update().clone();
        doors.follow(&wanted).map_err(StartError::Runtime)?;
        loop {
            tokio::select! {
                // An error means that the sender is gone: the process is ending.
                left = stage.wait_for(|stage| *stage != Stage::Serving) => match left {
                    Ok(_) => break,
                    Err(_) => return Ok(()),
                },
                Ok(()) = listeners.changed() => {
                    let wanted = listeners.borrow_and_update().clone();
                    if let Err(error) = doors.follow(&wanted) {
                        tracing::error!(%error, "a worker cannot accept on a new listener");
                    }
                }
            }
        }
        drop(doors);
        tokio::select! {
            _ = all_closed.recv() => return Ok(()),
            _ = stage.wait_for(|stage| *stage != Stage::Leaving) => {}
        }
        worker.begin_drain();
        tokio::select! {
            _ = all_closed.recv() => {}
            _ = stage.wait_for(|stage| *stage == Stage::Stopping) => {}
        }
        Ok(())
    })
}
