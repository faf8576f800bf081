//! Until when certificates are valid that haldane shows.

use std::sync::atomic::{AtomicU64, Ordering};

use haldane_decide::time::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Contents, Recipe, Reloaded, Tls};

/// Certificates that are valid for less than this, in seconds, are warned of: who renews
/// them by a program does it sooner.
const SOON: u64 = 14 * DAY;

const DAY: u64 = 24 * 3600;

/// When the first certificate of a chain stops being valid, and what was said of that.
#[derive(Debug)]
pub(super) struct Expiry {
    /// Seconds since 1970; [`u64::MAX`] without a certificate.
    at: AtomicU64,
    /// Seconds since 1970 before which nothing is said again.
    silent_until: AtomicU64,
}

impl Expiry {
    /// The expiry of what `recipe` shows of these contents.
    pub(super) fn of<C>(recipe: &Recipe<C>, contents: &Contents<'_>) -> Self {
        Self {
            at: AtomicU64::new(first_end(recipe, contents)),
            silent_until: AtomicU64::new(0),
        }
    }

    /// Other certificates take their place.
    pub(super) fn replace<C>(&self, recipe: &Recipe<C>, contents: &Contents<'_>) {
        self.at
            .store(first_end(recipe, contents), Ordering::Relaxed);
        self.silent_until.store(0, Ordering::Relaxed);
    }

    fn get(&self) -> Option<u64> {
        Some(self.at.load(Ordering::Relaxed)).filter(|at| *at != u64::MAX)
    }

    /// Warns of certificates that will not be valid for long, once a day.
    fn warn(&self, what: &str, now: Timestamp) {
        let now = now.as_micros() / 1_000_000;
        let Some(at) = self.get().filter(|at| *at < now + SOON) else {
            return;
        };
        if self.silent_until.load(Ordering::Relaxed) > now {
            return;
        }
        self.silent_until.store(now + DAY, Ordering::Relaxed);
        if at <= now {
            tracing::warn!(what, "certificates are not valid any more");
        } else {
            let days = (at - now) / DAY;
            tracing::warn!(what, days, "certificates expire soon");
        }
    }
}

impl<C> Reloaded<C> {
    fn expiry(&self) -> Option<(&str, u64)> {
        Some((&*self.recipe.what, self.expiry.get()?))
    }
}

impl Tls {
    /// What certificates are shown for, and when the first of them stops being valid, in
    /// seconds since 1970.
    pub(crate) fn expiries(&self) -> Vec<(&str, u64)> {
        let servers = self.listeners.iter().flatten();
        let servers = servers.filter_map(|server| server.expiry());
        let clients = self.versions.iter().flatten().flatten();
        let clients = clients.filter_map(|client| client.expiry());
        let mut expiries: Vec<_> = servers.chain(clients).collect();
        // Several listeners may show the same.
        expiries.sort_unstable();
        expiries.dedup();
        expiries
    }

    /// Warns of certificates that will not be valid for long.
    pub(super) fn warn_of_expiry(&self, now: Timestamp) {
        for server in self.listeners.iter().flatten() {
            server.expiry.warn(&server.recipe.what, now);
        }
        for client in self.versions.iter().flatten().flatten() {
            client.expiry.warn(&client.recipe.what, now);
        }
    }
}

/// The first end of validity among the certificates that are shown, in seconds since 1970.
fn first_end<C>(recipe: &Recipe<C>, contents: &Contents<'_>) -> u64 {
    let chains = recipe.shown.iter().map(|path| contents.of(path));
    let ends = chains.flat_map(|pem| {
        let certificates = CertificateDer::pem_slice_iter(pem).flatten();
        certificates.filter_map(|certificate| end_of(&certificate))
    });
    ends.min().unwrap_or(u64::MAX)
}

fn end_of(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    // What ended before 1970 has ended.
    Some(u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0))
}
