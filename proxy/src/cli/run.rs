//! `haldane run`: the proxy, from the configuration to the end of the drain.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use haldane_config::Config;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::Exit;
use super::output::complain;
use super::settings::{Flags, show};
use crate::app::{App, StartError};
use crate::descriptors;
use crate::inherited::Inherited;
use crate::live::Live;
use crate::origin::Origin;
use crate::telemetry::log::{self, Form};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration [default: haldane.toml, unless --stable is given]
    #[arg(short, long, env = "HALDANE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

pub(crate) fn run(args: &Args, token_file: Option<&Path>) -> Exit {
    let origin = args.flags.origin(args.config.as_deref(), token_file);
    let loaded = match origin.load() {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            args.flags.explain(&diagnostics, args.config.as_deref());
            return Exit::Configuration;
        }
    };
    let form = log::start(loaded.config.log.format);
    match form {
        Form::Text => show(&loaded.warnings),
        Form::Json => {
            for warning in &loaded.warnings.0 {
                tracing::warn!("{warning}");
            }
        }
    }
    descriptors::raise();
    match serve(loaded.config, origin) {
        Ok(End::Drained) => Exit::Done,
        Ok(End::CutShort) => Exit::Runtime,
        Err(error) => {
            match form {
                Form::Text => complain(error),
                Form::Json => tracing::error!("{error}"),
            }
            Exit::Runtime
        }
    }
}

/// How a proxy ended that could start.
enum End {
    CutShort,
    Drained,
}

fn serve(config: Config, origin: Origin) -> Result<End, StartError> {
    let inherited = Inherited::from_environment();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    runtime.block_on(async {
        // Before anything is bound: a signal during the start ends it in order.
        let signals = Signals::new().map_err(StartError::Runtime)?;
        let app = App::inheriting(config, inherited)?;
        announce(&app, &origin.name());
        let app = app.reloading(origin);
        let live = Arc::clone(app.live());
        let (begin_drain, drain_begun) = oneshot::channel::<()>();
        let drained = app.run(async {
            // The sender is kept until the process ends, so this is a signal.
            drop(drain_begun.await);
        });
        tokio::select! {
            result = drained => result.map(|()| End::Drained),
            () = signals.obey(&live, begin_drain) => {
                tracing::warn!("told to stop twice: ending at once");
                Ok(End::CutShort)
            }
        }
    })
}

/// Says where it listens, in one line that scripts may rely on.
fn announce(app: &App, origin: &str) {
    let data: Vec<String> = app.data_addrs().iter().map(ToString::to_string).collect();
    let data = data.join(", ");
    let admin = app
        .admin_addr()
        .map_or_else(|error| error.to_string(), |address| address.to_string());
    tracing::info!(data, admin, configuration = origin, "listening");
    descriptors::compare(&app.live().settings.load().limits);
    if !app.keeps_state() {
        tracing::warn!(
            "state is not kept: after a restart every route begins again with its configured weight"
        );
    }
}

/// The signals that haldane obeys.
struct Signals {
    interrupt: Signal,
    kill_switch: Signal,
    reload: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            kill_switch: signal(SignalKind::user_defined1())?,
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Rolls every route back on `SIGUSR1`, reloads on `SIGHUP`, and begins the drain on the first `SIGTERM`
    /// or `SIGINT`. Returns on the second.
    async fn obey(mut self, live: &Live, begin_drain: oneshot::Sender<()>) {
        let mut begin_drain = Some(begin_drain);
        loop {
            tokio::select! {
                _ = self.kill_switch.recv() => {
                    let changed = live.rollback_all("SIGUSR1", None);
                    tracing::warn!(changed, "told to roll every route back");
                    continue;
                }
                _ = self.reload.recv() => {
                    live.reloads.asked.notify_one();
                    continue;
                }
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            let Some(begin_drain) = begin_drain.take() else {
                return;
            };
            // Whoever waited for it has ended already: then there is nothing to drain.
            let _ = begin_drain.send(());
        }
    }
}
