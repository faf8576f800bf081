//! haldane: one route with a fixed weight, sticky by the user's header, and one for calls.

use std::fmt::Write;

use super::{Recipe, Site};
use crate::case::GRPC_SERVICE;

pub(super) fn recipe(site: &Site<'_>) -> Recipe {
    let (ports, setup) = (site.ports, site.setup);
    let mut configuration = format!(
        r#"listen = ["127.0.0.1:{http1}", "127.0.0.1:{http2}", {{ address = "127.0.0.1:{tls}", tls = "bench" }}]
workers = {workers}
[limits]
connections = 20000
[drain]
linger = "0s"
timeout = "1s"
[admin]
listen = "127.0.0.1:{admin}"
[tls.bench]
cert = "{certificate}"
key = "{key}"
"#,
        http1 = ports.http1,
        http2 = ports.http2,
        tls = ports.tls,
        admin = ports.admin,
        workers = setup.workers,
        certificate = setup.identity.certificate.display(),
        key = setup.identity.key.display(),
    );
    for at in 0..setup.routes {
        let _infallible = write!(
            configuration,
            "{}[route.match]\npath = \"{}*\"\n",
            route(&format!("other-{at}"), site, "http1"),
            other_path(at)
        );
    }
    configuration.push_str(&route("all", site, "http1"));
    let _infallible = write!(
        configuration,
        "{}[route.match]\npath = \"{GRPC_SERVICE}*\"\n",
        route("calls", site, "h2")
    );
    Recipe {
        configuration: Some(configuration),
        arguments: ["run", "-c"].map(Into::into).to_vec(),
        ready: Some((ports.admin, "/readyz")),
    }
}

/// What the paths of one of many routes begin with.
pub(crate) fn other_path(at: usize) -> String {
    format!("/other/{at}/")
}

fn route(name: &str, site: &Site<'_>, protocol: &str) -> String {
    let [stable, canary] = site.upstreams;
    format!(
        r#"[[route]]
name = "{name}"
stable = "http://127.0.0.1:{stable}"
canary = "http://127.0.0.1:{canary}"
upstream_protocol = "{protocol}"
weight = "5%"
expose_version = false
[route.sticky]
key = ["header:x-user"]
salt = "bench"
"#
    )
}
