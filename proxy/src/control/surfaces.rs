//! The admin and ops listeners that are open, and how they are exchanged.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use haldane_config::{Config, Secret};
use tokio::sync::watch;

use super::admin::{Hub, Plane, Surface, listen};
use crate::listeners;
use crate::origin::Refusal;

/// The admin listener, and the ops listener if there is one.
pub(super) struct Surfaces {
    hub: Arc<Hub>,
    /// What the admin listener demands.
    token: Arc<ArcSwapOption<Secret>>,
    admin: Open,
    ops: Option<Open>,
}

/// A listener that is served. Dropping it closes it; its connections live on.
struct Open {
    configured: SocketAddr,
    address: SocketAddr,
    _stop: watch::Sender<()>,
}

/// Listeners that are bound and not served yet.
pub(super) struct Exchange {
    admin: Option<TcpListener>,
    ops: Step,
}

enum Step {
    Close,
    Keep,
    Open(TcpListener, SocketAddr),
}

impl Surfaces {
    /// Serves these listeners, which are those of `config`.
    pub(super) fn open(
        hub: Arc<Hub>,
        config: &Config,
        admin: TcpListener,
        ops: Option<TcpListener>,
    ) -> Self {
        let token = Arc::new(ArcSwapOption::empty());
        token.store(config.admin.token.clone().map(Arc::new));
        let serve =
            |socket, configured, surface| Open::serve(socket, configured, (&hub, &token, surface));
        Self {
            admin: serve(admin, config.admin.listen, Surface::Admin),
            ops: ops
                .zip(config.ops)
                .map(|(ops, configured)| serve(ops, configured, Surface::Ops)),
            token,
            hub,
        }
    }

    /// The addresses that are listened on.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let ops = self.ops.as_ref().map(|ops| ops.address);
        [self.admin.address].into_iter().chain(ops)
    }

    /// Binds what `config` has otherwise. `own` is all that the process listens on.
    pub(super) fn prepare(&self, config: &Config, own: &[SocketAddr]) -> Result<Exchange, Refusal> {
        let bind = |address| {
            let bound: io::Result<_> = listeners::bind_alone(address, own);
            bound.map_err(|error| Refusal::Listen(address, error))
        };
        let admin = if self.admin.is_at(config.admin.listen) {
            None
        } else {
            Some(bind(config.admin.listen)?)
        };
        let ops = match (&self.ops, config.ops) {
            (_, None) => Step::Close,
            (Some(ops), Some(address)) if ops.is_at(address) => Step::Keep,
            (_, Some(address)) => Step::Open(bind(address)?, address),
        };
        Ok(Exchange { admin, ops })
    }

    /// Serves what was bound for `config`, and closes what it takes the place of.
    pub(super) fn exchange(&mut self, exchange: Exchange, config: &Config) {
        self.token.store(config.admin.token.clone().map(Arc::new));
        let (hub, token) = (&self.hub, &self.token);
        if let Some(socket) = exchange.admin {
            let configured = config.admin.listen;
            self.admin = Open::serve(socket, configured, (hub, token, Surface::Admin));
        }
        match exchange.ops {
            Step::Close => self.ops = None,
            Step::Keep => {}
            Step::Open(socket, configured) => {
                self.ops = Some(Open::serve(socket, configured, (hub, token, Surface::Ops)));
            }
        }
    }
}

/// What a listener is served with.
type Served<'a> = (&'a Arc<Hub>, &'a Arc<ArcSwapOption<Secret>>, Surface);

impl Open {
    fn serve(
        socket: TcpListener,
        configured: SocketAddr,
        (hub, token, surface): Served<'_>,
    ) -> Self {
        // The port that was given, where the configuration says 0.
        let address = socket.local_addr().unwrap_or(configured);
        let plane = Plane::new(Arc::clone(hub), address, Arc::clone(token));
        let (stop, stopped) = watch::channel(());
        drop(tokio::spawn(listen::serve(
            socket,
            Arc::new(plane),
            surface,
            stopped,
        )));
        Self {
            configured,
            address,
            _stop: stop,
        }
    }

    fn is_at(&self, address: SocketAddr) -> bool {
        self.configured == address || self.address == address
    }
}
