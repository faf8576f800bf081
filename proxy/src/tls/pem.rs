//! Certificates and keys out of PEM files.

use std::path::Path;

use haldane_config::Pair;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Contents, TlsError};

/// A certificate chain, its leaf first, and the leaf's key.
pub(super) fn read_pair(
    pair: &Pair,
    contents: &Contents<'_>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = read_certificates(&pair.cert, contents)?;
    let key = PrivateKeyDer::from_pem_slice(contents.of(&pair.key))
        .map_err(|error| TlsError::Content(pair.key.clone(), format!("no private key: {error}")))?;
    Ok((chain, key))
}

/// The certificates in a file that others are verified with.
pub(super) fn read_roots(path: &Path, contents: &Contents<'_>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path, contents)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::Pair(path.to_owned(), error))?;
    }
    Ok(roots)
}

fn read_certificates(
    path: &Path,
    contents: &Contents<'_>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(contents.of(path)).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::Content(
            path.to_owned(),
            "no certificate in it".to_owned(),
        )),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(TlsError::Content(
            path.to_owned(),
            format!("not PEM: {error}"),
        )),
    }
}
