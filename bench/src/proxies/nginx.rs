//! nginx: `split_clients` by the user's header over two upstreams with pooled connections.

use super::{Recipe, Site};
use crate::case::GRPC_SERVICE;

pub(super) fn recipe(site: &Site<'_>) -> Recipe {
    let ([stable, canary], ports) = (site.upstreams, site.ports);
    let (workers, identity) = (site.setup.workers, &site.setup.identity);
    let directory = site.directory.display();
    let descriptors = site.setup.descriptors;
    // A worker that gave up root could not use the run's private directory.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    // With several workers each has a listener of its own, as the others have it.
    let reuseport = if workers > 1 { " reuseport" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {directory}/nginx-{kind};\n"))
        .collect();
    let upstreams = upstreams(stable, canary);
    let locations = locations();
    // Both sides close connections after 1 000 requests unless told otherwise.
    let configuration = format!(
        "{user}
daemon off;
worker_processes {workers};
worker_rlimit_nofile {descriptors};
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 20000; }}
http {{
    access_log off;
{temporary}
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_body_buffer_size 64k;
    proxy_max_temp_file_size 0;
    split_clients $http_x_user $version {{ 5% canary; * stable; }}
{upstreams}
    server {{
        listen 127.0.0.1:{http1} backlog=4096{reuseport};
        listen 127.0.0.1:{http2} http2 backlog=4096{reuseport};
        listen 127.0.0.1:{tls} ssl http2 backlog=4096{reuseport};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        ssl_ecdh_curve X25519;
{locations}    }}
}}
",
        http1 = ports.http1,
        http2 = ports.http2,
        tls = ports.tls,
        certificate = identity.certificate.display(),
        key = identity.key.display(),
    );
    Recipe {
        configuration: Some(configuration),
        arguments: ["-e", "stderr", "-c"].map(Into::into).to_vec(),
        ready: None,
    }
}

/// Pools for both versions. A pooled connection is not asked which protocol it speaks: calls
/// need pools of their own.
fn upstreams(stable: u16, canary: u16) -> String {
    let upstream = |(name, port): (&str, u16)| {
        format!(
            "    upstream {name} {{
        server 127.0.0.1:{port};
        keepalive 256; keepalive_requests 1000000000; keepalive_timeout 3600s;
    }}
"
        )
    };
    let upstreams = [
        ("stable", stable),
        ("canary", canary),
        ("stable_calls", stable),
        ("canary_calls", canary),
    ];
    upstreams.map(upstream).concat()
}

/// What is done with requests, WebSockets and calls.
fn locations() -> String {
    format!(
        "        location / {{
            proxy_pass http://$version;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
        location /ws {{
            proxy_pass http://$version;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 3600s;
        }}
        location {GRPC_SERVICE} {{
            grpc_pass grpc://${{version}}_calls;
        }}
"
    )
}
