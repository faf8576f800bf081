//! The side that upstreams see: whom haldane believes, and what it shows of itself.

use std::sync::Arc;

use haldane_config::{ClientTls, UpstreamProtocol};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use super::pem::{read_pair, read_roots};
use super::{ALPN_HTTP1, Contents, TlsError};
use crate::h1::transport::ALPN_HTTP2;

/// A configuration that verifies upstreams, and shows a certificate if there is one.
pub(super) fn build(
    tls: &ClientTls,
    protocol: UpstreamProtocol,
    contents: &Contents<'_>,
) -> Result<ClientConfig, TlsError> {
    let roots = match &tls.ca {
        Some(path) => read_roots(path, contents)?,
        None => system_roots()?,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match &tls.pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let (chain, key) = read_pair(pair, contents)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| TlsError::Pair(pair.cert.clone(), error))?
        }
    };
    config.alpn_protocols = match protocol {
        UpstreamProtocol::Http1 => vec![ALPN_HTTP1.to_vec()],
        UpstreamProtocol::H2 => vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()],
    };
    Ok(config)
}

/// An empty set would refuse every upstream, one connection after another; better at once.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        let why = loaded
            .errors
            .first()
            .map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(TlsError::NoRoots(why));
    }
    Ok(roots)
}
