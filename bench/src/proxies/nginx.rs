//! nginx: `split_clients` by the user's header over two upstreams with pooled connections.

use super::{Recipe, Site};

pub(super) fn recipe(site: &Site<'_>) -> Recipe {
    let [stable, canary] = site.upstreams;
    let (port, workers) = (site.port, site.setup.workers);
    let directory = site.setup.directory.path().display();
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
    upstream stable {{
        server 127.0.0.1:{stable};
        keepalive 256; keepalive_requests 1000000000; keepalive_timeout 3600s;
    }}
    upstream canary {{
        server 127.0.0.1:{canary};
        keepalive 256; keepalive_requests 1000000000; keepalive_timeout 3600s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096{reuseport};
        location / {{
            proxy_pass http://$version;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    );
    Recipe {
        configuration: Some(configuration),
        arguments: ["-e", "stderr", "-c"].map(Into::into).to_vec(),
        ready: None,
    }
}
