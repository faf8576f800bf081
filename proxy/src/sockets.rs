//! Everything that a process listens on, inherited or bound anew.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use haldane_config::{AdminAddress, Config};

use crate::app::StartError;
use crate::control::admin::socket::AdminSocket;
use crate::inherited::{self, Inherited};
use crate::listeners::Listener;
use crate::tls::Tls;
use crate::unix_socket::SocketFile;

/// All listening sockets of a process.
pub(crate) struct Sockets {
    /// In the order of the configuration.
    pub(crate) data: Vec<Arc<Listener>>,
    pub(crate) admin: AdminSocket,
    pub(crate) ops: Option<AdminSocket>,
    /// Where the next process asks for them.
    pub(crate) door: Option<SocketFile>,
}

impl Sockets {
    /// Takes from `inherited` what is there, and binds the rest.
    pub(crate) fn listen(
        config: &Config,
        tls: &Tls,
        workers: usize,
        inherited: &mut Inherited,
    ) -> Result<Self, StartError> {
        let wanted: Vec<SocketAddr> = config.listen.iter().map(|listen| listen.address).collect();
        let found = inherited.take_data(&wanted);
        let mut data: Vec<Arc<Listener>> = Vec::new();
        let mut own = Vec::new();
        for ((listen_on, tls), sockets) in config.listen.iter().zip(&tls.listeners).zip(found) {
            let address = listen_on.address;
            let listener = inherited::listen(address, workers, sockets, &own)
                .map_err(|error| StartError::Listen(AdminAddress::Tcp(address), error))?;
            listener.tls.store(tls.clone());
            listener
                .proxy_protocol
                .store(listen_on.proxy_protocol, Ordering::Relaxed);
            own.push(listener.address);
            data.push(Arc::new(listener));
        }
        let mut beside = |address: &AdminAddress, name: &str| {
            let found = inherited.take_admin(address, name);
            found
                .map_or_else(|| AdminSocket::bind(address, &own), Ok)
                .map_err(|error| StartError::Listen(address.clone(), error))
        };
        let admin = beside(&config.admin.listen, inherited::ADMIN)?;
        let ops = config.ops.as_ref();
        let ops = ops
            .map(|address| beside(address, inherited::OPS))
            .transpose()?;
        let door = config.hand_over.as_ref().map(|path| {
            let found = inherited.take_file(path);
            found
                .map_or_else(|| SocketFile::bind(path), Ok)
                .map_err(|error| StartError::HandOver(path.clone(), error))
        });
        Ok(Self {
            data,
            admin,
            ops,
            door: door.transpose()?,
        })
    }
}
