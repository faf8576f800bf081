//! All listeners together: whether they are in each other's way, and whom they believe.

use super::address::{Listener, check_collisions};
use super::socket_file;
use crate::report::{Finding, Report};
use crate::types::{AdminAddress, Listen, Networks};

/// No two listeners are in each other's way.
pub(super) fn check_listeners(
    listen: Option<&[Listener<Listen>]>,
    beside: [Option<Listener<AdminAddress>>; 3],
    report: &mut Report,
) {
    let data = listen.unwrap_or_default();
    let mut sockets: Vec<_> = data
        .iter()
        .map(|listener| listener.map(|listen| listen.address))
        .collect();
    let beside: Vec<_> = beside.into_iter().flatten().collect();
    sockets.extend(beside.iter().filter_map(|listener| match listener.address {
        AdminAddress::Tcp(address) => Some(listener.map(|_| address)),
        AdminAddress::Unix(_) => None,
    }));
    check_collisions(&sockets, report);
    socket_file::check_paths(&beside, report);
}

/// Warns of listeners for PROXY headers of nobody.
pub(super) fn warn_unbelieved(
    listen: Option<&[Listener<Listen>]>,
    trusted: Option<&Networks>,
    report: &mut Report,
) {
    if trusted.is_none_or(|trusted| !trusted.0.is_empty()) {
        return;
    }
    for listener in listen.unwrap_or_default() {
        if let (true, Some(written)) = (listener.address.proxy_protocol, &listener.written) {
            let finding = Finding::new("nobody's PROXY header is believed here")
                .hint("name the proxies that send it in `trusted_proxies`");
            report.warning(written.clone(), &listener.key, finding);
        }
    }
}
