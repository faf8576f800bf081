//! Reloads: when, of what, and what is told of them.
//!
//! A reload is asked for by the content of the file, by a signal or by the admin API.
//! Reading and checking happen on a thread of their own; what is then put in force is
//! put in force by [`apply`] in one go on the control thread, or not at all. What cannot
//! be used leaves the last good configuration where it is, and is tried again with every
//! look at the file: a certificate may be complete by then, or a port free.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use haldane_config::{Config, Diagnostic, Difference};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;

use super::Bound;
use super::admin::Hub;
use super::beat::Beats;
use super::surfaces::Surfaces;
use super::upstreams::resolve::resolve_first;
use crate::clock::Micros;
use crate::listeners::Listener;
use crate::live::Live;
use crate::live::events::{Happening, ProcessEvent, ProcessEventKind};
use crate::origin::{Candidate, Fingerprint, Origin, Refusal};

mod apply;

/// The files are looked at once in so many beats.
const BEATS_PER_LOOK: u64 = 10;

/// Files that have just changed may still be written: they must stay the same for this
/// long, for at most so many times.
const SETTLE_TIME: Duration = Duration::from_millis(100);
const SETTLE_TRIES: usize = 10;

/// Reads the configuration again.
pub(crate) struct Reloader {
    live: Arc<Live>,
    origin: Option<Arc<Origin>>,
    running: Mutex<Running>,
}

/// What is in force, and what became of the last attempt to change it.
struct Running {
    config: Config,
    listeners: watch::Sender<Vec<Arc<Listener>>>,
    /// What was listened on and when that ended: workers may still be closing it.
    left: Vec<(Micros, SocketAddr)>,
    surfaces: Surfaces,
    /// What `config` was made of; not known before the first look.
    applied: Option<Fingerprint>,
    /// What could not be used, and why: said once.
    failed: Option<(Fingerprint, String)>,
}

/// What a reload has done, or would do.
#[derive(Debug)]
pub(super) struct Report {
    /// What is different now.
    pub(super) difference: Difference,
    /// What looks wrong all the same.
    pub(super) warnings: Vec<Diagnostic>,
    /// What it does to rollouts that are under way, if it was asked before it is done.
    pub(super) rollouts: Vec<String>,
}

/// Why there was no reload.
#[derive(Debug)]
pub(super) enum Failure {
    /// The process is about to end.
    Draining,
    /// The reading broke.
    Internal,
    /// The configuration cannot be used.
    Refused(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Report {
    /// Whether anything is different, now.
    pub(super) fn is_change(&self) -> bool {
        let Difference {
            keys,
            restart,
            routes,
        } = &self.difference;
        keys.len() > restart.len() || !routes.is_empty()
    }
}

impl Reloader {
    /// Opens the admin and ops listeners. They are closed when this is dropped.
    pub(super) fn start(bound: Bound) -> Arc<Self> {
        let Bound {
            live,
            origin,
            config,
            listeners,
            admin,
            ops,
            beside,
            stop: _,
        } = bound;
        Arc::new_cyclic(|this: &Weak<Self>| {
            let hub = Arc::new(Hub::new(&live, Weak::clone(this)));
            let surfaces = Surfaces::open(hub, &config, (admin, ops), beside);
            Self {
                live,
                origin: origin.map(Arc::new),
                running: Mutex::new(Running {
                    config,
                    listeners,
                    left: Vec::new(),
                    surfaces,
                    applied: None,
                    failed: None,
                }),
            }
        })
    }

    /// Closes the admin and ops listeners.
    pub(super) async fn close(&self) {
        self.running.lock().await.surfaces.close();
    }

    /// Reloads whenever the files have changed or somebody asks for it.
    pub(super) async fn watch(&self, beats: &Beats) {
        let mut looks = beats.every(BEATS_PER_LOOK);
        loop {
            tokio::select! {
                () = looks.due() => self.look().await,
                () = self.live.reloads.asked.notified() => self.obey().await,
            }
        }
    }

    /// Reads the file and puts it in force.
    pub(super) async fn reload(&self) -> Result<Report, Failure> {
        if self.live.draining.load(Ordering::Relaxed) {
            return Err(Failure::Draining);
        }
        let mut running = self.running.lock().await;
        let origin = Arc::clone(self.origin.as_ref().ok_or(Refusal::NoFile)?);
        let token_file = running.config.admin.token_file.clone();
        let before = self.live.tls.load_full();
        let (fingerprint, candidate) = blocking(move || {
            // Before the content is used: what changes in between is seen the next time.
            let fingerprint = origin.fingerprint(token_file.as_deref())?;
            Ok::<_, Refusal>((fingerprint, origin.candidate(Some(&before))))
        })
        .await??;
        let result = match candidate {
            Ok(candidate) => self.put_in_force(&mut running, candidate).await,
            Err(refusal) => Err(refusal),
        };
        running.remember(fingerprint, &result, &self.live);
        Ok(result?)
    }

    async fn put_in_force(
        &self,
        running: &mut Running,
        Candidate { loaded, tls }: Candidate,
    ) -> Result<Report, Refusal> {
        let endpoints = self.live.next_endpoints(&loaded.config.routes);
        resolve_first(endpoints.iter().flatten().flatten()).await;
        let difference = running.apply(loaded.config, tls, endpoints, &self.live)?;
        Ok(Report {
            difference,
            warnings: loaded.warnings.0,
            rollouts: Vec::new(),
        })
    }

    /// What a reload would do, with `text` in the place of the file if it is given.
    pub(super) async fn check(&self, text: Option<String>) -> Result<Report, Failure> {
        let origin = match (&self.origin, &text) {
            (Some(origin), _) => Arc::clone(origin),
            (None, Some(_)) => Arc::default(),
            (None, None) => return Err(Refusal::NoFile.into()),
        };
        let before = self.live.tls.load_full();
        let candidate = blocking(move || match text {
            Some(text) => origin.candidate_of_text(text, &before),
            None => {
                origin.fingerprint(None)?;
                origin.candidate(Some(&before))
            }
        });
        let loaded = candidate.await??.loaded;
        let running = self.running.lock().await;
        Ok(Report {
            difference: Difference::between(&running.config, &loaded.config),
            warnings: loaded.warnings.0,
            rollouts: self.live.foresee(&loaded.config.routes),
        })
    }

    /// Reloads if the files have changed, or could not be used.
    async fn look(&self) {
        let Some(origin) = &self.origin else { return };
        let running = self.running.lock().await;
        let token_file = running.config.admin.token_file.clone();
        let known = running.applied;
        let failed = running.failed.as_ref().map(|(failed, _)| *failed);
        drop(running);
        let Some(seen) = fingerprint(origin, &token_file).await else {
            return;
        };
        if failed.is_none() && known == Some(seen) {
            return;
        }
        if failed != Some(seen) {
            settle(origin, &token_file, seen).await;
        }
        // It is told by events and metrics.
        drop(self.reload().await);
    }

    /// Reloads because of a signal.
    async fn obey(&self) {
        match self.reload().await {
            Ok(report) if report.is_change() => {}
            Ok(_) => tracing::info!("told to reload: nothing has changed"),
            Err(Failure::Refused(refusal @ (Refusal::NoFile | Refusal::NotRegular(_)))) => {
                tracing::warn!(%refusal, "told to reload, but there is nothing to reload");
            }
            Err(Failure::Refused(_)) => {
                tracing::warn!("told to reload: the last good configuration stays");
            }
            Err(Failure::Draining | Failure::Internal) => {
                tracing::warn!("told to reload, which is not possible now");
            }
        }
    }
}

impl Running {
    /// Keeps and tells what became of a reload; the same failure is told once.
    fn remember(&mut self, of: Fingerprint, result: &Result<Report, Refusal>, live: &Live) {
        let kind = match result {
            Ok(report) => {
                // The start has told them.
                let is_first = self.applied.replace(of).is_none();
                self.failed = None;
                live.reloads.succeeded(live.clock.now());
                if !report.difference.restart.is_empty() {
                    let keys = report.difference.restart.join(", ");
                    tracing::warn!(keys, "changed in the file, which needs a restart");
                }
                for warning in report.warnings.iter().filter(|_| !is_first) {
                    tracing::warn!("{warning}");
                }
                if !report.is_change() {
                    return;
                }
                let changes = report.difference.sentences();
                ProcessEventKind::Reloaded { changes }
            }
            Err(refusal) => {
                live.reloads.failed();
                let failed = Some((of, refusal.to_string()));
                if self.failed == failed {
                    return;
                }
                self.failed = failed;
                let errors = refusal.to_string();
                let errors = errors.lines().map(str::to_owned).collect();
                ProcessEventKind::ReloadFailed { errors }
            }
        };
        let at = live.clock.now();
        live.events
            .push(Happening::Process(ProcessEvent { at, kind }));
        live.changed.notify_one();
    }
}

/// What the files hold now. `None` if there are none that can be looked at.
async fn fingerprint(origin: &Arc<Origin>, token_file: &Option<PathBuf>) -> Option<Fingerprint> {
    let (origin, token_file) = (Arc::clone(origin), token_file.clone());
    let looked = blocking(move || origin.fingerprint(token_file.as_deref())).await;
    looked.ok()?.ok()
}

/// Waits until the files stay as they are.
async fn settle(origin: &Arc<Origin>, token_file: &Option<PathBuf>, mut seen: Fingerprint) {
    for _ in 0..SETTLE_TRIES {
        tokio::time::sleep(SETTLE_TIME).await;
        match fingerprint(origin, token_file).await {
            Some(now) if now != seen => seen = now,
            Some(_) | None => return,
        }
    }
}

/// Runs what reads files where it keeps nobody waiting.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "reading the configuration broke");
        Failure::Internal
    })
}
