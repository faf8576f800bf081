//! haproxy: a consistent hash of the user's header over two weighted servers.

use super::{Recipe, Site};

pub(super) fn recipe(site: &Site<'_>) -> Recipe {
    let [stable, canary] = site.upstreams;
    let (port, workers) = (site.port, site.setup.workers);
    // Without `no strict-limits` it refuses to start unless twice this many descriptors are allowed.
    let configuration = format!(
        "global
    nbthread {workers}
    maxconn 20000
    no strict-limits
defaults
    mode http
    timeout connect 5s
    timeout client 120s
    timeout server 120s
frontend bench
    bind 127.0.0.1:{port} backlog 4096
    maxconn 20000
    default_backend versions
backend versions
    balance hdr(x-user)
    hash-type consistent
    http-reuse always
    server stable 127.0.0.1:{stable} weight 95
    server canary 127.0.0.1:{canary} weight 5
"
    );
    Recipe {
        configuration: Some(configuration),
        arguments: ["-db", "-f"].map(Into::into).to_vec(),
        ready: None,
    }
}
