//! The admin and ops listeners that are open, and how they are exchanged.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use haldane_config::{AdminAddress, Config, Secret};
use tokio::sync::watch;

use super::admin::socket::AdminSocket;
use super::admin::{Hub, Plane, Surface, listen};
use crate::handover::successor::{Bequest, Beside};
use crate::origin::Refusal;

/// The admin listener, and the ops listener if there is one.
pub(super) struct Surfaces {
    hub: Arc<Hub>,
    /// What the admin listener demands.
    token: Arc<ArcSwapOption<Secret>>,
    admin: Open,
    ops: Option<Open>,
    beside: Beside,
}

/// A listener that is served. Dropping it closes it; its connections live on.
struct Open {
    configured: AdminAddress,
    address: AdminAddress,
    stop: Option<watch::Sender<()>>,
    /// What the next process gets of it.
    bequest: Option<Bequest>,
}

/// Listeners that are bound and not served yet.
pub(super) struct Exchange {
    admin: Option<AdminSocket>,
    ops: Step,
}

enum Step {
    Close,
    Keep,
    Open(AdminSocket, AdminAddress),
}

impl Surfaces {
    /// Serves these listeners, which are those of `config`.
    pub(super) fn open(
        hub: Arc<Hub>,
        config: &Config,
        (admin, ops): (AdminSocket, Option<AdminSocket>),
        beside: Beside,
    ) -> Self {
        let token = Arc::new(ArcSwapOption::empty());
        token.store(config.admin.token.clone().map(Arc::new));
        let serve =
            |socket, configured, surface| Open::serve(socket, configured, (&hub, &token, surface));
        let opened = Self {
            admin: serve(admin, config.admin.listen.clone(), Surface::Admin),
            ops: ops
                .zip(config.ops.clone())
                .map(|(ops, configured)| serve(ops, configured, Surface::Ops)),
            token,
            hub,
            beside,
        };
        opened.bequeath();
        opened
    }

    /// Accepts nothing more; what was asked is answered.
    pub(super) fn close(&mut self) {
        for open in std::iter::once(&mut self.admin).chain(&mut self.ops) {
            open.stop = None;
            open.bequest = None;
        }
    }

    /// Says what is open to whoever hands it over.
    fn bequeath(&self) {
        let open = std::iter::once(&self.admin).chain(&self.ops);
        let all = open.filter_map(|open| open.bequest.as_ref()?.try_clone().ok());
        self.beside.replace(all.collect());
    }

    /// The addresses that are listened on.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let open = std::iter::once(&self.admin).chain(&self.ops);
        open.filter_map(|open| match open.address {
            AdminAddress::Tcp(address) => Some(address),
            AdminAddress::Unix(_) => None,
        })
    }

    /// Binds what `config` has otherwise. `own` is all that the process listens on.
    pub(super) fn prepare(&self, config: &Config, own: &[SocketAddr]) -> Result<Exchange, Refusal> {
        let bind = |address: &AdminAddress| {
            let bound = AdminSocket::bind(address, own);
            bound.map_err(|error| Refusal::Listen(address.clone(), error))
        };
        let admin = if self.admin.is_at(&config.admin.listen) {
            None
        } else {
            Some(bind(&config.admin.listen)?)
        };
        let ops = match (&self.ops, &config.ops) {
            (_, None) => Step::Close,
            (Some(ops), Some(address)) if ops.is_at(address) => Step::Keep,
            (_, Some(address)) => Step::Open(bind(address)?, address.clone()),
        };
        Ok(Exchange { admin, ops })
    }

    /// Serves what was bound for `config`, and closes what it takes the place of.
    pub(super) fn exchange(&mut self, exchange: Exchange, config: &Config) {
        self.token.store(config.admin.token.clone().map(Arc::new));
        let (hub, token) = (&self.hub, &self.token);
        if let Some(socket) = exchange.admin {
            let configured = config.admin.listen.clone();
            self.admin = Open::serve(socket, configured, (hub, token, Surface::Admin));
        }
        match exchange.ops {
            Step::Close => self.ops = None,
            Step::Keep => {}
            Step::Open(socket, configured) => {
                self.ops = Some(Open::serve(socket, configured, (hub, token, Surface::Ops)));
            }
        }
        self.bequeath();
    }
}

/// What a listener is served with.
type Served<'a> = (&'a Arc<Hub>, &'a Arc<ArcSwapOption<Secret>>, Surface);

impl Open {
    fn serve(
        socket: AdminSocket,
        configured: AdminAddress,
        (hub, token, surface): Served<'_>,
    ) -> Self {
        // The port that was given, where the configuration says 0.
        let address = socket.address().unwrap_or_else(|_| configured.clone());
        let bequest = Bequest::of(&socket).ok();
        let plane = Plane::new(Arc::clone(hub), address.clone(), Arc::clone(token));
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
            stop: Some(stop),
            bequest,
        }
    }

    fn is_at(&self, address: &AdminAddress) -> bool {
        self.configured == *address || self.address == *address
    }
}
