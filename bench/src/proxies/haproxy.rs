//! haproxy: a consistent hash of the user's header over two weighted servers.

use super::{Recipe, Site};
use crate::case::GRPC_SERVICE;

pub(super) fn recipe(site: &Site<'_>) -> Recipe {
    let ([stable, canary], ports) = (site.upstreams, site.ports);
    let (workers, identity) = (site.setup.workers, &site.setup.identity);
    let versions = |name: &str, protocol: &str| {
        format!(
            "backend {name}
    balance hdr(x-user)
    hash-type consistent
    http-reuse always
    server stable 127.0.0.1:{stable} weight 95{protocol}
    server canary 127.0.0.1:{canary} weight 5{protocol}
"
        )
    };
    // Without `no strict-limits` it refuses to start unless twice this many descriptors are allowed.
    let configuration = format!(
        "global
    nbthread {workers}
    maxconn 20000
    no strict-limits
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
    ssl-default-bind-curves X25519
defaults
    mode http
    timeout connect 5s
    timeout client 120s
    timeout server 120s
frontend bench
    bind 127.0.0.1:{http1} backlog 4096
    bind 127.0.0.1:{http2} backlog 4096 proto h2
    bind 127.0.0.1:{tls} backlog 4096 ssl crt {both} alpn h2,http/1.1
    maxconn 20000
    use_backend calls if {{ path_beg {GRPC_SERVICE} }}
    default_backend versions
{versions}{calls}",
        http1 = ports.http1,
        http2 = ports.http2,
        tls = ports.tls,
        both = identity.both.display(),
        versions = versions("versions", ""),
        calls = versions("calls", " proto h2"),
    );
    Recipe {
        configuration: Some(configuration),
        arguments: ["-db", "-f"].map(Into::into).to_vec(),
        ready: None,
    }
}
