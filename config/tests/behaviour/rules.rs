//! Each rule of the configuration: something that breaks it, and what is said about it.

use super::diagnostics::{GOOD, ROUTE, lines};

/// A line behind a good `listen`, and what the only diagnostic says.
const TOP_LEVEL: &[(&str, &str)] = &[
    (
        "workers = 0",
        "workers: the number 0 is out of range (expected a whole number from 1 to 1024)",
    ),
    ("workers = 1.5", "workers: wrong type: found the number 1.5"),
    (
        r#"workers = "2""#,
        r#"workers: wrong type: found the text "2""#,
    ),
    ("trusted_proxies = [[]]", "trusted_proxies: "),
    (
        r#"trusted_proxies = ["10.0.0.0/33"]"#,
        r#"trusted_proxies: the text "10.0.0.0/33" is not a network"#,
    ),
    (
        r#"trusted_proxies = ["::ffff:10.0.0.0/104"]"#,
        "write it as IPv4",
    ),
    (
        r#"trusted_proxies = ["10.1.0.0/8"]"#,
        "warning: trusted_proxies: 10.1.0.0/8 has bits beyond",
    ),
    (
        r#"trusted_proxies = ["::/0"]"#,
        "warning: trusted_proxies: ::/0 is everybody",
    ),
    (
        r#"drain.linger = "2h""#,
        r#"expected a duration from "0s" to "1h""#,
    ),
    (
        "limits.connections = 0",
        "limits.connections: the number 0 is out of range",
    ),
    (
        r#"limits.header_timeout = "0s""#,
        "limits.header_timeout: a duration of zero makes no sense here",
    ),
    (
        r#"limits.header_bytes = "1023B""#,
        r#"expected a size from "1KiB" to "1MiB""#,
    ),
    (
        "limits.header_bytes = 65536",
        r#"write "65536B" or "65536KiB""#,
    ),
    (
        r#"limits.replay_bytes = "2MiB""#,
        r#"expected a size from "0B" to "1MiB""#,
    ),
    (
        r#"limits.target_bytes = "2MiB""#,
        r#"limits.target_bytes: 2097152 bytes are out of range (expected a size from "64B" to "1MiB")"#,
    ),
    (
        "limits.connection_requests = 0",
        "limits.connection_requests: the number 0 is out of range",
    ),
    (
        "limits.upstream_requests = 0",
        "limits.upstream_requests: the number 0 is out of range",
    ),
    (
        "limits.headers = 1001",
        "expected a whole number from 1 to 1000",
    ),
    (
        "limits.headrs = 1",
        "limits.headrs: unknown key `headrs` in `limits` (did you mean `headers`?",
    ),
    (
        r#"admin.listen = "127.0.0.1""#,
        "it has no port (expected an address to listen on",
    ),
    (
        r#"admin.listen = "127.0.0.1:1""#,
        "admin.listen: 127.0.0.1:1 is already taken by `listen` (0.0.0.0:1)",
    ),
    (
        r#"ops.listen = ":1""#,
        "ops.listen: 0.0.0.0:1 is already taken by `listen`",
    ),
    (
        r#"ops.listen = "127.0.0.1:7411""#,
        "ops.listen: 127.0.0.1:7411 is already taken by `admin.listen`",
    ),
    (
        r#"ops.listen = "1:2:3:4:5:6:7:8:80""#,
        r#"write "[1:2:3:4:5:6:7:8]:80""#,
    ),
    (r#"ops.listen = "http://a:80""#, "leave the scheme out"),
    (
        r#"ops.listen = "a:80""#,
        "the part before the port is not an IP address",
    ),
    (
        r#"ops.listen = ":80000""#,
        "the port is not a number from 0 to 65535",
    ),
    ("ops = {}", "ops.listen: `listen` is missing"),
    (r#"log.format = "JSON""#, r#"did you mean "json"?"#),
    (
        "tls = 1",
        "tls: wrong type: found the number 1 (expected tables, such as `[tls.edge]`)",
    ),
    (
        "tls.edge = 1",
        "tls.edge: wrong type: found the number 1 (expected a table)",
    ),
    ("fleet = {}", "this version does not have `fleet`"),
    ("notify = []", "notify: the list is empty"),
    (
        "banana = 1",
        "unknown key `banana` at the top level (known here: listen, ",
    ),
];

/// A line in an otherwise good route, and what the only diagnostic says.
const ROUTE_RULES: &[(&str, &str)] = &[
    (r#"name = "Check Out""#, r#"write "check-out""#),
    (r#"name = """#, "it is empty"),
    (
        "name = 5",
        r#"the bare number 5 is not a name (expected a name, such as "checkout"; write "5")"#,
    ),
    (r#"weight = "101%""#, r#"a share is at most "100%""#),
    (r#"weight = "0.00001%""#, "0.0001% is the resolution"),
    (
        r#"weight = "100%""#,
        r#"warning: route.weight: at 100% the gate "errors" has no stable to compare with"#,
    ),
    (
        r#"expose_version = "yes""#,
        "expected `true` or `false`, without quotes",
    ),
    (r#"tap = "all""#, r#"expected one of "failures", "off""#),
    (r#"match.host = "shop:80""#, "leave the port out"),
    (r#"match.host = "https://shop""#, "leave the scheme out"),
    (r#"match.host = "shop/a""#, "put the path into `path`"),
    (r#"match.host = "a.*.b""#, r#"write "*.example.com""#),
    (
        r#"match.host = "a..b""#,
        "a part of the host between dots is empty",
    ),
    (r#"match.host = "müller.de""#, "punycode"),
    (
        r#"match.host = "1.2.3""#,
        "neither a name nor an IPv4 address",
    ),
    (r#"match.path = "a""#, r#"it does not begin with "/""#),
    (r#"match.path = "/a*""#, r#"write "/checkout/*""#),
    (r#"match.path = "/a?b""#, "a path ends before"),
    (r#"match.path = "/a b""#, "percent-encoded"),
    (r#"match.path = "/a/../b""#, "segment"),
    ("timeouts.connect = 1", r#"write "1s" or "1ms""#),
    (
        r#"timeouts.response = "0s""#,
        "a duration of zero makes no sense here",
    ),
    (
        r#"timeouts.idle_body = "25h""#,
        r#"the text "25h" is out of range (expected a duration from "1ms" to "1d")"#,
    ),
    ("rule = []", "route.rule: the list is empty"),
    ("rule = {}", "write `[[route.rule]]`, with two brackets"),
    (
        r#"sticky.key = "client_ip""#,
        r#"did you mean "client-ip"?"#,
    ),
    (r#"sticky.key = "headr:x""#, r#"did you mean "header:x"?"#),
    (r#"sticky.key = "header:""#, "the name is empty"),
    (
        r#"sticky.key = "cookie:a b""#,
        "a character that is not allowed in it",
    ),
    (
        r#"sticky.key = "header:Host""#,
        "about the connection or the message",
    ),
    (
        r#"sticky.key = ["cookie:a", "cookie:a"]"#,
        "this source is already in the list",
    ),
    (
        r#"sticky.key = ["client-ip", "cookie:a"]"#,
        "warning: route.sticky.key[1]: this source is never used",
    ),
    (
        r#"sticky.on_missing = "stable""#,
        "warning: route.sticky.on_missing: `on_missing` never applies",
    ),
    (
        r#"sticky.on_missing = "canary""#,
        r#"expected one of "random", "stable", "cookie""#,
    ),
    (r#"sticky.salt = """#, "is not a salt: it is empty"),
    ("sticky.salt = \"\\u0000\"", "control characters"),
    (r#"sticky.force = { from = "::1" }"#, "`header` is missing"),
    (r#"sticky.force = { header = "x" }"#, "`from` is missing"),
    (
        r#"sticky.force = { header = "x", from = [] }"#,
        "route.sticky.force.from: the list is empty",
    ),
    (
        r#"sticky.force = { header = "x", canary = [], from = "::1" }"#,
        "route.sticky.force.canary: the list is empty",
    ),
    (
        r#"sticky.force = { header = "x", canary = ["on", "stable"], from = "::1" }"#,
        r#"route.sticky.force: "stable" names both roles"#,
    ),
    (
        r#"sticky.force = { header = "x", stable = "", from = "::1" }"#,
        "is not the value of a header field: it is empty",
    ),
    (
        r#"baggage = "yes""#,
        "route.baggage: wrong type: found the text \"yes\" (expected `true` or `false`",
    ),
    ("flag = {}", "route.flag.header: `header` is missing"),
    (
        r#"flag = { header = "x y" }"#,
        "a character that is not allowed in it",
    ),
    (
        r#"flag = { header = "Transfer-Encoding" }"#,
        "about the connection or the message",
    ),
    (
        r#"flag = { header = "X-Haldane-Flag" }"#,
        "route.flag.header: the text \"X-Haldane-Flag\" is not the name of a header field: haldane itself",
    ),
    (
        r#"flag = { header = "x_forwarded-host" }"#,
        "haldane itself sets this field, or removes it",
    ),
    (
        r#"flag = { header = "Proxy-Authorization" }"#,
        "haldane itself sets this field, or removes it",
    ),
    (
        r#"flag = { header = "cookie" }"#,
        "this field means something else",
    ),
    (
        r#"flag = { header = "x", canary = "off" }"#,
        r#"route.flag: the flag is "off" for both roles"#,
    ),
    (
        r#"flag = { header = "x", stable = "ü" }"#,
        "it travels in a header: printable ASCII only",
    ),
    (
        r#"flag = { header = "x", canary = " on" }"#,
        "it begins or ends with a space",
    ),
    (
        r#"flag = { header = "x", canary = 1 }"#,
        "expected the value of a header field",
    ),
    ("gate = []", "route.gate: the list is empty"),
    ("gate = {}", "write `[[route.gate]]`, with two brackets"),
];

#[test]
fn each_rule_of_the_top_level() {
    for (lines_of_file, expected) in TOP_LEVEL {
        let found = lines(&format!("{GOOD}{lines_of_file}\n{ROUTE}"));
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{lines_of_file}: {found:#?}"
        );
        assert!(found[0].starts_with("haldane.toml:2:"), "{found:?}");
    }
}

#[test]
fn each_rule_of_a_route() {
    for (lines_of_file, expected) in ROUTE_RULES {
        let file = format!("{GOOD}{ROUTE}{lines_of_file}\n");
        let mut found = lines(&file);
        // A key that is always present makes on_missing useless, whatever its value.
        found.retain(|line| {
            !lines_of_file.contains("\"canary\"") || !line.contains("never applies")
        });
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{lines_of_file}: {found:#?}"
        );
        assert!(found[0].starts_with("haldane.toml:5:"), "{found:?}");
    }
}
