//! haldane: one route with a fixed weight, sticky by the user's header.

use super::{Recipe, Site};

pub(super) fn recipe(site: &Site<'_>) -> Recipe {
    let [stable, canary] = site.upstreams;
    let (port, admin_port, workers) = (site.port, site.admin_port, site.setup.workers);
    let configuration = format!(
        r#"listen = "127.0.0.1:{port}"
workers = {workers}
[limits]
connections = 20000
[admin]
listen = "127.0.0.1:{admin_port}"
[[route]]
stable = "http://127.0.0.1:{stable}"
canary = "http://127.0.0.1:{canary}"
weight = "5%"
expose_version = false
[route.sticky]
key = ["header:x-user"]
"#
    );
    Recipe {
        configuration: Some(configuration),
        arguments: ["run", "-c"].map(Into::into).to_vec(),
        ready: Some((admin_port, "/readyz")),
    }
}
