//! envoy: a ring hash of the user's header over two weighted endpoints. Its configuration is JSON,
//! which is YAML as well.

use serde_json::{Value, json};

use super::{Recipe, Site};
use crate::case::GRPC_SERVICE;

pub(super) fn recipe(site: &Site<'_>) -> Recipe {
    let (ports, identity) = (site.ports, &site.setup.identity);
    let tls = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": format!("{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"),
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_3",
                    "tls_maximum_protocol_version": "TLSv1_3",
                    "ecdh_curves": ["X25519"],
                },
                "tls_certificates": [{
                    "certificate_chain": { "filename": identity.certificate },
                    "private_key": { "filename": identity.key },
                }],
            },
        },
    });
    let configuration = json!({
        "static_resources": {
            "listeners": [
                listener(ports.http1, None),
                listener(ports.http2, None),
                listener(ports.tls, Some(&tls)),
            ],
            "clusters": [cluster("versions", site, false), cluster("calls", site, true)],
        },
    });
    let workers = site.setup.workers.to_string();
    let arguments = [
        "--concurrency",
        &workers,
        "--log-level",
        "error",
        "--use-dynamic-base-id",
        "-c",
    ];
    Recipe {
        configuration: Some(configuration.to_string()),
        arguments: arguments.map(Into::into).to_vec(),
        ready: None,
    }
}

fn listener(port: u16, tls: Option<&Value>) -> Value {
    let route = |prefix: &str, cluster: &str| {
        json!({
            "match": { "prefix": prefix },
            "route": {
                "cluster": cluster,
                "timeout": "0s",
                "hash_policy": [{ "header": { "header_name": "x-user" } }],
            },
        })
    };
    let manager = json!({
        "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "bench",
        "codec_type": "AUTO",
        "generate_request_id": false,
        "upgrade_configs": [{ "upgrade_type": "websocket" }],
        "route_config": {
            "virtual_hosts": [{
                "name": "bench",
                "domains": ["*"],
                "routes": [route(GRPC_SERVICE, "calls"), route("/", "versions")],
            }],
        },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": format!("{TYPES}.filters.http.router.v3.Router"),
                "suppress_envoy_headers": true,
            },
        }],
    });
    let mut chain = json!({
        "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        }],
    });
    if let Some(tls) = tls {
        chain["transport_socket"] = tls.clone();
    }
    json!({ "address": address(port), "filter_chains": [chain] })
}

fn cluster(name: &str, site: &Site<'_>, http2: bool) -> Value {
    let [stable, canary] = site.upstreams;
    let endpoint = |port: u16, weight: u32| {
        json!({
            "endpoint": { "address": address(port) },
            "load_balancing_weight": weight,
        })
    };
    let protocol = if http2 {
        "http2_protocol_options"
    } else {
        "http_protocol_options"
    };
    json!({
        "name": name,
        "type": "STATIC",
        "lb_policy": "RING_HASH",
        "connect_timeout": "5s",
        "circuit_breakers": {
            "thresholds": [{
                "max_connections": 20_000, "max_pending_requests": 20_000, "max_requests": 20_000,
            }],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": { protocol: {} },
            },
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{
                "lb_endpoints": [endpoint(stable, 95), endpoint(canary, 5)],
            }],
        },
    })
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

/// What the names of types begin with.
const TYPES: &str = "type.googleapis.com/envoy.extensions";
