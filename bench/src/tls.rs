//! One certificate for all proxies, and clients that offer one cipher: TLS costs all the same.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::ServerName,
};

use crate::failure::Failure;

/// The files that the proxies read, and how clients connect to them.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The certificate, in PEM.
    pub(crate) certificate: PathBuf,
    /// Its key, in PEM.
    pub(crate) key: PathBuf,
    /// Both, one after the other: haproxy wants them so.
    pub(crate) both: PathBuf,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Identity {
    /// Makes a certificate (P-256) and writes it into a directory.
    pub(crate) fn new(directory: &Path) -> Result<Self, Failure> {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(cannot)?;
        let (certificate, key) = (cert.pem(), signing_key.serialize_pem());
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).map_err(Failure::io("write a certificate"))?;
            Ok(path)
        };
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).map_err(cannot)?;
        let config = |protocol: &[u8]| {
            let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(cannot)?
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            config.resumption = Resumption::disabled();
            Ok(Arc::new(config))
        };
        Ok(Self {
            certificate: write("bench.crt", &certificate)?,
            key: write("bench.key", &key)?,
            both: write("bench.pem", &format!("{certificate}{key}"))?,
            http1: config(b"http/1.1")?,
            http2: config(b"h2")?,
        })
    }

    /// What clients need for a protocol.
    pub(crate) fn config(&self, http2: bool) -> Arc<ClientConfig> {
        Arc::clone(if http2 { &self.http2 } else { &self.http1 })
    }
}

/// The state of a client that is about to connect.
pub(crate) fn connection(config: &Arc<ClientConfig>) -> Result<ClientConnection, Failure> {
    let name = ServerName::try_from(NAME).map_err(cannot)?;
    ClientConnection::new(Arc::clone(config), name).map_err(cannot)
}

/// Nothing to choose from: what the server likes best would be measured otherwise.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    provider
}

fn cannot(error: impl std::fmt::Display) -> Failure {
    Failure::Missing(format!("TLS: {error}"))
}

const NAME: &str = "bench";
