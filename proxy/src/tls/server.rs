//! The side that clients see: certificates by name, and who may connect.

use std::sync::Arc;

use haldane_config::ServerTls;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use super::pem::{read_pair, read_roots};
use super::{ALPN_HTTP1, Contents, TlsError};
use crate::h1::transport::ALPN_HTTP2;

/// A configuration with these certificates.
pub(super) fn build(tls: &ServerTls, contents: &Contents<'_>) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut keys = Vec::new();
    for pair in &tls.pairs {
        let (chain, key) = read_pair(pair, contents)?;
        // Checks that the key is the certificate's.
        let key = CertifiedKey::from_der(chain, key, &provider)
            .map_err(|error| TlsError::Pair(pair.cert.clone(), error))?;
        keys.push(Arc::new(key));
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(read_roots(path, contents)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| TlsError::Content(path.clone(), error.to_string()))?,
            )
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName { keys }));
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    config.ticketer =
        aws_lc_rs::Ticketer::new().map_err(|error| TlsError::Setup(error.to_string()))?;
    Ok(config)
}

/// Picks the first certificate that is valid for the name that the client asks for,
/// and the first of all if none is, or if it asks for none.
#[derive(Debug)]
struct ByName {
    keys: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| {
            let name = ServerName::try_from(name).ok()?;
            self.keys.iter().find(|key| is_valid_for(key, &name))
        });
        named.or_else(|| self.keys.first()).cloned()
    }
}

fn is_valid_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key
        .cert
        .first()
        .and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
    parsed.is_some_and(|leaf| verify_server_name(&leaf, name).is_ok())
}
