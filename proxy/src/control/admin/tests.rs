//! Paths to resources, and what is repeated of a request.

use super::*;

#[test]
fn every_endpoint_that_is_listed_is_there_and_takes_its_method() {
    let listed = ENDPOINTS.split_once(": ").expect("a heading").1;
    for endpoint in listed.trim_end().split(", ") {
        let (method, path) = endpoint.split_once(' ').expect("method and path");
        let path = path.replace("{route}", "default");
        let resource = Resource::find(Surface::Admin, &path);
        let allow = resource.map(Resource::allow).unwrap_or_default();
        let mut allowed = allow.split(", ");
        assert!(
            allowed.any(|allowed| allowed == method),
            "{endpoint}: {allow}"
        );
    }
}

#[test]
fn nothing_is_found_by_a_path_that_is_only_similar() {
    for path in [
        "",
        "*",
        "//",
        "/v1",
        "/v1/",
        "/v1/routes/",
        "/v1/routes/a/",
        "/v1/routes/a/weight/",
        "/v1//routes",
        "/V1/routes",
        "/livez/",
        "/metrics/x",
        "/v1/routes/a/b",
        "/v1/rollback/a",
    ] {
        let found = Resource::find(Surface::Admin, path);
        assert!(
            matches!(found, None | Some(Resource::Route(""))),
            "{path}: {found:?}"
        );
    }
}

#[test]
fn the_ops_listener_has_metrics_and_health_only() {
    for path in ["/metrics", "/livez", "/readyz", "/startupz"] {
        assert!(Resource::find(Surface::Ops, path).is_some(), "{path}");
    }
    for path in [
        "/",
        "/v1/routes",
        "/v1/rollback",
        "/v1/events",
        "/v1/explain",
    ] {
        assert_eq!(Resource::find(Surface::Ops, path), None, "{path}");
    }
}

#[test]
fn what_is_repeated_of_a_request_does_nothing_to_a_terminal() {
    assert_eq!(
        problem::quoted("a\u{1b}[2J\u{7f}\u{9b}\nb"),
        "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}b"
    );
    assert_eq!(problem::quoted(&"é".repeat(5000)).chars().count(), 200);
}
