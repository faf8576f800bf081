//! Binds, wires, runs, drains.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use haldane_config::{Config, Drain};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::control::upstreams::resolve::resolve_first;
use crate::control::{self, Bound};
use crate::doors::Doors;
use crate::listeners::{self, Listener};
use crate::live::Live;
use crate::origin::Origin;
use crate::tls::{Tls, TlsError};
use crate::worker::Worker;

/// Workers that still serve a connection when the drain is over get this long to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// A haldane with its sockets bound and nothing running yet.
pub struct App {
    config: Config,
    live: Arc<Live>,
    origin: Option<Origin>,
    listeners: Vec<Arc<Listener>>,
    data_addrs: Vec<SocketAddr>,
    admin: std::net::TcpListener,
    ops: Option<std::net::TcpListener>,
}

/// Why haldane cannot start.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The operating system gives no thread or no event queue.
    Runtime(io::Error),
    /// A certificate, a key or the roots cannot be used.
    Tls(TlsError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Runtime(error) => write!(f, "cannot start a worker: {error}"),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(_, error) | Self::Runtime(error) => Some(error),
            Self::Tls(error) => Some(error),
        }
    }
}

/// What workers are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Serving,
    /// Accept nothing more, finish what runs.
    Draining,
    /// Stop whatever runs.
    Stopping,
}

impl App {
    /// Binds every listener.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`] with the address that cannot be listened on.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        let tls = Tls::load(&config, None).map_err(StartError::Tls)?;
        let workers = config
            .workers
            .or_else(|| std::thread::available_parallelism().ok());
        let workers = workers.map_or(1, std::num::NonZero::get);
        let mut listeners = Vec::new();
        for (listen_on, tls) in config.listen.iter().zip(&tls.listeners) {
            let address = listen_on.address;
            let listener = listeners::bind(address, workers, &[])
                .map_err(|error| StartError::Listen(address, error))?;
            listener.tls.store(tls.clone());
            listeners.push(Arc::new(listener));
        }
        let data_addrs = listeners.iter().map(|listener| listener.address).collect();
        let alone = |address| {
            listeners::bind_alone(address, &[]).map_err(|error| StartError::Listen(address, error))
        };
        let admin = alone(config.admin.listen)?;
        let ops = config.ops.map(alone).transpose()?;
        let live = Live::new(&config, tls, workers, Clock::start());
        Ok(Self {
            config,
            live,
            origin: None,
            listeners,
            data_addrs,
            admin,
            ops,
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
    pub fn admin_addr(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Where metrics and health are answered besides, if anywhere.
    #[must_use]
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops.as_ref()?.local_addr().ok()
    }

    /// What requests and the control plane share.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Serves until `shutdown` completes, then drains. The control plane runs on the
    /// calling thread, which must be inside a `current_thread` runtime.
    ///
    /// # Errors
    ///
    /// [`StartError::Runtime`] if a worker cannot be started.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let routes = self.live.routes();
        resolve_first(routes.iter().flat_map(|route| route.all_endpoints())).await;
        let (stage, _) = watch::channel(Stage::Serving);
        let (running, mut all_ended) = mpsc::channel::<()>(1);
        let mut threads = Vec::new();
        // Kept until all workers have ended: a reload may change it until then.
        let (listeners, _) = watch::channel(self.listeners);
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
        let control = control::run(Bound {
            live: Arc::clone(&self.live),
            origin: self.origin,
            config: self.config,
            listeners: listeners.clone(),
            admin: self.admin,
            ops: self.ops,
        });
        tokio::select! {
            () = control => {}
            () = drain(&self.live, &stage, shutdown) => {}
            // Workers end by themselves only if they could not start.
            _ = all_ended.recv() => {}
        }
        stop(&stage, &mut all_ended, threads).await
    }
}

/// After `shutdown`: readiness says no, new connections are still accepted for a
/// while, then what runs is finished.
async fn drain(live: &Live, stage: &watch::Sender<Stage>, shutdown: impl Future<Output = ()>) {
    shutdown.await;
    live.draining.store(true, Ordering::Relaxed);
    let Drain { linger, timeout } = live.settings.load().drain;
    tracing::info!(?linger, ?timeout, "draining");
    tokio::time::sleep(linger).await;
    stage.send_replace(Stage::Draining);
    tokio::time::sleep(timeout).await;
    let left = live.connections.load(Ordering::Relaxed);
    tracing::warn!(connections = left, "the drain timed out");
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
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(StartError::Runtime)?;
    runtime.block_on(async {
        let worker = Worker::new(id, live);
        drop(tokio::task::spawn_local(Rc::clone(&worker).keep_time()));
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
        worker.begin_drain();
        tokio::select! {
            _ = all_closed.recv() => {}
            _ = stage.wait_for(|stage| *stage == Stage::Stopping) => {}
        }
        Ok(())
    })
}
