//! The page of the admin listener: who gets it, what it may do, and what it is made of.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::admin::send;
use crate::support::client::{Client, Response};
use crate::support::eventually::eventually;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::{Behaviour, Upstream};

mod browser;

/// What Chromium sends when somebody opens a page.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,\
    image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";

/// All of it together, in bytes.
const PAGE_BYTES_MAX: usize = 60 * 1024;

fn ask(address: SocketAddr, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
    send(address, (method, path), fields, "")
}

fn field(response: &Response, name: &str) -> String {
    response.head.one(name).unwrap_or_default()
}

fn proxy() -> Proxy {
    Setup::stable(&Upstream::named("stable"))
        .table("[ops]\nlisten = \"127.0.0.1:0\"")
        .start()
}

/// Every file of the page by its path: what is named in one of them, from `/` on.
fn files(admin: SocketAddr) -> BTreeMap<String, Response> {
    let mut found = BTreeMap::new();
    let mut wanted = vec!["/".to_owned()];
    while let Some(path) = wanted.pop() {
        if found.contains_key(&path) {
            continue;
        }
        let response = ask(admin, "GET", &path, &[("accept", BROWSER)]);
        assert_eq!(response.status, 200, "{path}");
        let text = response.text();
        for (before, after) in [("\"/page/", "\""), ("from \"./", "\"")] {
            for rest in text.split(before).skip(1) {
                let name = rest.split(after).next().unwrap_or_default();
                wanted.push(format!("/page/{name}"));
            }
        }
        found.insert(path, response);
    }
    found
}

#[test]
fn who_prefers_html_gets_the_page_and_everybody_else_the_list() {
    let proxy = proxy();
    for (accept, is_page) in [
        (BROWSER, true),
        ("text/html", true),
        ("TEXT/HTML;q=0.5, text/plain;q=0.5", true),
        ("text/plain;q=0.9, text/html", true),
        ("*/*", false),
        ("text/*", false),
        ("text/plain", false),
        ("", false),
        ("text/html;q=0", false),
        ("text/html;q=0.5, text/plain", false),
        ("text/html;q=0.9, application/json", false),
        ("text/html;q=much", false),
    ] {
        let response = ask(proxy.admin_address, "GET", "/", &[("accept", accept)]);
        let (content_type, start) = if is_page {
            ("text/html; charset=utf-8", "<!doctype html>")
        } else {
            ("text/plain; charset=utf-8", "haldane admin API: ")
        };
        assert_eq!(response.status, 200, "{accept}");
        assert_eq!(field(&response, "content-type"), content_type, "{accept}");
        assert_eq!(field(&response, "vary"), "accept", "{accept}");
        assert!(response.text().starts_with(start), "{accept}");
    }
    let without = ask(proxy.admin_address, "GET", "/", &[]);
    assert!(without.text().starts_with("haldane admin API: "));
}

#[test]
fn the_page_is_small_and_may_load_nothing_from_elsewhere() {
    let proxy = proxy();
    let files = files(proxy.admin_address);
    let types: Vec<&str> = files
        .keys()
        .filter_map(|path| path.rsplit_once('.').map(|(_, ending)| ending))
        .collect();
    for ending in ["css", "js", "svg"] {
        assert!(types.contains(&ending), "{ending}: {:?}", files.keys());
    }
    for (path, response) in &files {
        let policy = field(response, "content-security-policy");
        for part in [
            "default-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(field(response, "x-content-type-options"), "nosniff");
        assert_eq!(field(response, "referrer-policy"), "no-referrer");
        assert_eq!(field(response, "cache-control"), "no-cache");
        let text = response.text().replace("http://www.w3.org/2000/svg", "");
        for word in [
            "http:",
            "https:",
            "//cdn",
            "innerHTML",
            "eval(",
            " style=",
            "onclick=",
        ] {
            assert!(!text.contains(word), "{path} has {word}");
        }
        let inline = text.split("<script").skip(1);
        for script in inline {
            assert!(script.contains("></script>"), "{path}: {script}");
        }
        assert!(!text.contains("<style"), "{path}");
    }
    let bytes: usize = files.values().map(|one| one.body.bytes.len()).sum();
    assert!(bytes < PAGE_BYTES_MAX, "{bytes}");
}

#[test]
fn what_a_browser_has_already_is_not_sent_again() {
    let proxy = proxy();
    let admin = proxy.admin_address;
    for path in ["/", "/page/page.js"] {
        let again = |known: &str| {
            let fields = [("accept", BROWSER), ("if-none-match", known)];
            ask(admin, "GET", path, &fields)
        };
        let whole = ask(admin, "GET", path, &[("accept", BROWSER)]);
        let tag = field(&whole, "etag");
        assert!(tag.starts_with('"') && tag.len() > 2, "{tag}");
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"x\", {tag}"),
            "*".to_owned(),
        ] {
            let answer = again(&known);
            assert_eq!((answer.status, answer.body.bytes.len()), (304, 0));
            assert_eq!(field(&answer, "etag"), tag);
            assert_eq!(field(&answer, "cache-control"), "no-cache");
        }
        assert_eq!(again("\"other\"").status, 200);
        let head = ask(admin, "HEAD", path, &[("accept", BROWSER)]);
        assert_eq!((head.status, head.body.bytes.len()), (200, 0));
        assert_eq!(field(&head, "etag"), tag);
        let length = whole.body.bytes.len().to_string();
        assert_eq!(field(&head, "content-length"), length);
        assert_eq!(ask(admin, "POST", path, &[]).status, 405);
    }
}

#[test]
fn nobody_else_gets_it() {
    let proxy = proxy();
    let ops = proxy.ops_address.expect("listens");
    for path in ["/", "/page/page.js", "/page/page.css"] {
        assert_eq!(ask(ops, "GET", path, &[("accept", BROWSER)]).status, 404);
        let foreign = [("accept", BROWSER), ("origin", "http://evil.example")];
        assert_eq!(ask(proxy.admin_address, "GET", path, &foreign).status, 403);
    }
    for path in ["/page", "/page/", "/page/page.html", "/page/..%2fpage.js"] {
        let response = ask(proxy.admin_address, "GET", path, &[]);
        assert_eq!(response.status, 404, "{path}");
    }
}

#[test]
fn the_stream_says_what_versions_did_lately_and_what_commands_rely_on() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%")
        .by_user()
        .meltdown(1_000_000)
        .start();
    canary.behave(Behaviour::Status(500));
    let mut client = Client::connect(proxy.admin_address);
    client.send(format!(
        "GET /v1/stream HTTP/1.1\r\nhost: {}\r\n\r\n",
        proxy.admin_address
    ));
    client.response_head().expect("an answer");
    let tag = field(
        &ask(proxy.admin_address, "GET", "/v1/routes/default", &[]),
        "etag",
    );
    let mut watch = || {
        proxy.users_of_canary();
        let text = client.wire.chunk().expect("goes on").expect("does not end");
        let text = String::from_utf8_lossy(&text).into_owned();
        let (_, status) = text.rsplit_once("event: status\ndata: ")?;
        let status: Value = serde_json::from_str(status.trim()).expect("is JSON");
        let route = &status["routes"][0];
        assert_eq!(status["draining"], false);
        assert_eq!(route["etag"], tag.as_str());
        let lately = route["versions"]["canary"]["lately"].clone();
        lately.is_object().then_some(lately)
    };
    // A status comes every second, and the first time that is over after five.
    let lately = (0..60).find_map(|_| watch()).expect("it is told");
    let number = |name: &str| lately[name].as_f64().expect("a number");
    assert!(number("seconds") >= 5.0, "{lately}");
    assert!(number("requests") > 0.0, "{lately}");
    assert!(number("failures") > 0.0, "{lately}");
    assert!(lately["ttfb_seconds"]["p99"].is_f64(), "{lately}");
    // Only whoever watches can know it.
    assert_eq!(proxy.status()["versions"]["canary"].get("lately"), None);
}
