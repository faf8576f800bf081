//! Certificates that are replaced while they serve, and a client that trusts who signs them.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SerialNumber};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use crate::failure::Failure;

/// Signs certificates, and writes them where the proxy reads them.
pub(crate) struct Certificates {
    issuer: Issuer<'static, KeyPair>,
    connector: TlsConnector,
    directory: PathBuf,
    /// Of the last certificate that was written.
    pub(crate) serial: u8,
}

impl Certificates {
    /// The first certificate in `directory`.
    pub(crate) fn new(directory: PathBuf) -> Result<Self, Failure> {
        let mut parameters = CertificateParams::new(Vec::new()).map_err(made)?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(made)?;
        let own = parameters.self_signed(&key).map_err(made)?;
        let mut roots = RootCertStore::empty();
        roots.add(own.der().clone()).map_err(made)?;
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut certificates = Self {
            issuer: Issuer::new(parameters, key),
            connector: TlsConnector::from(Arc::new(config)),
            directory,
            serial: 0,
        };
        certificates.replace()?;
        Ok(certificates)
    }

    /// Writes another one in the place of the last.
    pub(crate) fn replace(&mut self) -> Result<(), Failure> {
        self.serial = self.serial.wrapping_add(1);
        let mut parameters = CertificateParams::new(vec![NAME.to_owned()]).map_err(made)?;
        parameters.serial_number = Some(SerialNumber::from(serial_of(self.serial).to_vec()));
        let key = KeyPair::generate().map_err(made)?;
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(made)?;
        self.write("tls.crt", &certificate.pem())?;
        self.write("tls.key", &key.serialize_pem())
    }

    /// Writes something that is no key, in the place of the key; [`Self::replace`] mends it.
    pub(crate) fn spoil(&self) -> Result<(), Failure> {
        self.write("tls.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n")
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        std::fs::write(self.directory.join(name), text)
            .map_err(Failure::io(format!("write {name}")))
    }

    /// Opens a connection under TLS. The serial number of the certificate is in it.
    pub(crate) async fn connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        connect(self.connector.clone(), address).await
    }

    /// What opens such connections.
    pub(crate) fn connector(&self) -> TlsConnector {
        self.connector.clone()
    }
}

/// Opens a connection under TLS.
pub(crate) async fn connect(
    connector: TlsConnector,
    address: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    connector.connect(name, stream).await
}

/// Whether this connection was opened with the certificate of this serial number.
pub(crate) fn has_serial(stream: &TlsStream<TcpStream>, serial: u8) -> bool {
    let certificates = stream.get_ref().1.peer_certificates();
    // The version and the number, as certificates begin (RFC 5280 §4.1).
    let coded = [&[0xa0, 3, 2, 1, 2, 2, 2], &serial_of(serial)[..]].concat();
    certificates
        .and_then(<[_]>::first)
        .is_some_and(|own| own.windows(coded.len()).any(|bytes| bytes == coded))
}

/// Two bytes, whatever the number.
const fn serial_of(serial: u8) -> [u8; 2] {
    [0x41, serial]
}

fn made(error: impl std::fmt::Display) -> Failure {
    Failure::Missing(format!("a certificate: {error}"))
}

const NAME: &str = "soak.test";
