//! Unix sockets, PROXY headers and IPv6: what listeners may be, and how they collide.

use std::net::SocketAddr;
use std::path::PathBuf;

use haldane_config::{AdminAddress, Config, Overrides, Source, load};

use super::diagnostics::{GOOD, ROUTE, lines};

fn config(text: &str) -> Config {
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: text.to_owned(),
    };
    match load(Some(&source), &Overrides::default()) {
        Ok(loaded) => {
            assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
            loaded.config
        }
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

#[test]
fn admin_and_ops_and_the_hand_over_can_be_files() {
    let config = config(&format!(
        "{GOOD}hand_over = \"/run/h/next.sock\"\n\
         [admin]\nlisten = \"unix:/run/h/admin.sock\"\n\
         [ops]\nlisten = \"unix:/run/h/ops.sock\"\n{ROUTE}"
    ));
    let unix = |path: &str| AdminAddress::Unix(PathBuf::from(path));
    assert_eq!(config.admin.listen, unix("/run/h/admin.sock"));
    assert_eq!(config.admin.listen.to_string(), "unix:/run/h/admin.sock");
    assert_eq!(config.ops, Some(unix("/run/h/ops.sock")));
    assert_eq!(config.hand_over, Some(PathBuf::from("/run/h/next.sock")));
    assert!(config.admin.token.is_none(), "the file is guard enough");
}

#[test]
fn a_listener_can_expect_proxy_headers() {
    let config = config(&format!(
        "listen = [\":1\", {{ address = \"[::]:2\", proxy_protocol = true }}]\n\
         trusted_proxies = \"10.0.0.0/8\"\n{ROUTE}"
    ));
    let expects: Vec<_> = config
        .listen
        .iter()
        .map(|listen| (listen.address, listen.proxy_protocol))
        .collect();
    let addresses: [SocketAddr; 2] = ["0.0.0.0:1", "[::]:2"].map(|text| text.parse().unwrap());
    assert_eq!(expects, [(addresses[0], false), (addresses[1], true)]);
}

/// A text before the route, and what the only diagnostic says.
const RULES: &[(&str, &str)] = &[
    (
        "listen = \":1\"\nadmin.listen = \"unix:admin.sock\"",
        "the path is not absolute (expected an address to listen on",
    ),
    (
        "listen = \":1\"\nadmin.listen = \"unix:\"",
        "the path is not absolute",
    ),
    (
        "listen = \":1\"\nadmin.listen = \"unix:/run/\"",
        "it names a directory",
    ),
    (
        "listen = \":1\"\nops.listen = \"unix:/a\\u0000b\"",
        "a path has no NUL",
    ),
    (
        "listen = \":1\"\nhand_over = \"unix:/run/a\"",
        "hand_over: the text \"unix:/run/a\" is not the path of a socket",
    ),
    (
        "listen = \":1\"\nhand_over = 1",
        "hand_over: wrong type: found the number 1",
    ),
    (
        "listen = \":1\"\nhand_over = \"/a\"\nadmin.listen = \"unix:/a\"",
        "hand_over: \"/a\" is already taken by `admin.listen`",
    ),
    ("listen = \"unix:/run/a\"", "is not an address to listen on"),
    (
        "listen = { address = \":1\", proxy_protocol = \"v2\" }",
        "listen.proxy_protocol: wrong type: found the text \"v2\"",
    ),
    (
        "listen = { address = \":1\", proxy_protocol = true }",
        "warning: listen.address: nobody's PROXY header is believed here",
    ),
];

#[test]
fn each_rule_of_sockets() {
    for (text, expected) in RULES {
        let found = lines(&format!("{text}\n{ROUTE}"));
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert!(found[0].contains(expected), "{text}: {found:#?}");
    }
}

#[test]
fn a_path_is_as_long_as_the_system_allows() {
    for (bytes, good) in [(107, true), (108, false)] {
        let path = format!("/{}", "a".repeat(bytes - 1));
        let found = lines(&format!("{GOOD}hand_over = \"{path}\"\n{ROUTE}"));
        assert_eq!(found.is_empty(), good, "{bytes}: {found:#?}");
    }
}

#[test]
fn one_family_leaves_the_other_its_addresses() {
    for listen in [
        "\"[::]:7411\"",
        "[\":1\", \"[::]:1\"]",
        "[\"127.0.0.1:1\", \"[::1]:1\"]",
    ] {
        assert_eq!(lines(&format!("listen = {listen}\n{ROUTE}")), [""; 0]);
    }
}
