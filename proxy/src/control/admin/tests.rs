//! Paths to resources, what is said of them, and what is repeated of a request.

use std::collections::BTreeSet;

use serde_json::Value;

use super::resource::ENDPOINTS;
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

/// What `Resource::find` knows, as the paths of a description.
fn paths() -> BTreeSet<String> {
    let (_, find) = include_str!("resource.rs")
        .split_once("fn find")
        .expect("is there");
    let patterns = find
        .lines()
        .map(str::trim)
        // The files of the page are for the page.
        .filter(|line| line.contains("] => Self::") && !line.contains("Self::Page"));
    let paths = patterns.map(|pattern| {
        let (segments, _) = pattern[1..].split_once(']').expect("is a list");
        let segments = segments.split(", ").map(|segment| {
            let literal = segment.strip_prefix('"').and_then(|s| s.strip_suffix('"'));
            literal.map_or_else(|| format!("{{{segment}}}"), str::to_owned)
        });
        format!("/{}", segments.collect::<Vec<_>>().join("/"))
    });
    paths.collect()
}

/// What the description has: methods and paths.
fn described() -> BTreeSet<(String, String)> {
    let description: Value = serde_json::from_str(OPEN_API).expect("is JSON");
    let paths = description["paths"].as_object().expect("has paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let keys = item.as_object().expect("has operations").keys();
        let methods = keys.filter(|key| *key != "parameters");
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

#[test]
fn the_description_has_every_resource_with_its_methods_and_no_other() {
    let mut there = BTreeSet::new();
    for path in paths() {
        let resource = Resource::find(Surface::Admin, &path).expect(&path);
        // HEAD is answered wherever GET is.
        let methods = resource
            .allow()
            .split(", ")
            .filter(|method| *method != "HEAD");
        there.extend(methods.map(|method| (method.to_owned(), path.clone())));
    }
    assert!(there.len() > 20, "{there:?}");
    assert_eq!(described(), there);
}

#[test]
fn the_description_has_what_is_listed() {
    let listed = ENDPOINTS.split_once(": ").expect("a heading").1;
    let mut listed: BTreeSet<_> = listed
        .trim_end()
        .split(", ")
        .map(|endpoint| endpoint.split_once(' ').expect("method and path"))
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    listed.insert(("GET".to_owned(), "/".to_owned()));
    assert_eq!(described(), listed);
}

#[test]
fn the_description_is_of_this_version() {
    let description: Value = serde_json::from_str(OPEN_API).expect("is JSON");
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
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
        "/page/page.js",
        "/v1/routes",
        "/v1/rollback",
        "/v1/events",
        "/v1/explain",
        "/v1/routes/default/tap",
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
