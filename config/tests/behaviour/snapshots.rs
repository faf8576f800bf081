//! The exact text of diagnostics, as people see it.

use haldane_config::{Overrides, Source, load};

/// What a file is answered with, warnings or errors.
fn rendered(text: &str) -> String {
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: text.to_owned(),
    };
    match load(Some(&source), &Overrides::default()) {
        Ok(loaded) => loaded.warnings.render(false),
        Err(diagnostics) => diagnostics.render(false),
    }
}

#[test]
fn a_mistyped_key_is_suggested() {
    let text = r#"listen = ":8080"
wrokers = 2
[[route]]
stable = "http://127.0.0.1:3000"
"#;
    let expected = r#"error: unknown key `wrokers` at the top level
 --> haldane.toml:2:1
  |
2 | wrokers = 2
  | ^^^^^^^ did you mean `workers`?
  |
  = help: known here: listen, state_dir, workers, trusted_proxies, dns_refresh, drain, limits, admin, ops, log, tls, route, hand_over, notify"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_key_of_a_later_version_says_so() {
    let text = r#"listen = ":8080"
[[route]]
stable = "http://127.0.0.1:3000"
[fleet]
"#;
    let expected = r#"error: this version does not have `fleet` at the top level yet
 --> haldane.toml:4:2
  |
4 | [fleet]
  |  ^^^^^
  |
  = help: remove it, or use a version that has it"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_bare_number_lacks_a_unit() {
    let text = r#"listen = ":8080"
[[route]]
stable = "http://127.0.0.1:3000"
timeouts = { connect = 5 }
"#;
    let expected = r#"error: the bare number 5 has no unit
 --> haldane.toml:4:24
  |
4 | timeouts = { connect = 5 }
  |                        ^ expected a duration, such as "10s"
  |
  = note: the key is `route.timeouts.connect`
  = help: write "5s" or "5ms""#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_wrong_unit_is_corrected() {
    let text = r#"listen = ":8080"
limits = { header_bytes = "64KB" }
[[route]]
stable = "http://127.0.0.1:3000"
"#;
    let expected = r#"error: the text "64KB" is not a size: "KB" is no unit
 --> haldane.toml:2:27
  |
2 | limits = { header_bytes = "64KB" }
  |                           ^^^^^^ expected a size, such as "64KiB"
  |
  = note: the key is `limits.header_bytes`
  = help: write "64KiB": sizes are in powers of 1024"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn two_errors_are_told_at_once() {
    let text = r#"listen = "localhost:8080"
[[route]]
stable = "ftp://127.0.0.1:3000"
"#;
    let expected = r#"error: the text "localhost:8080" is not an address to listen on: it is a name
 --> haldane.toml:1:10
  |
1 | listen = "localhost:8080"
  |          ^^^^^^^^^^^^^^^^ expected an address to listen on, such as "0.0.0.0:8080", ":8080" or "[::1]:8080"
  |
  = help: write "127.0.0.1:8080"

error: the text "ftp://127.0.0.1:3000" is not the URL of an upstream: the scheme is neither "http" nor "https"
 --> haldane.toml:3:10
  |
3 | stable = "ftp://127.0.0.1:3000"
  |          ^^^^^^^^^^^^^^^^^^^^^^ expected the URL of an upstream, such as "http://10.0.0.1:8080", "https://api.example.com" or "unix:/run/app.sock"
  |
  = note: the key is `route.stable`"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_missing_key_is_shown_where_it_belongs() {
    let text = r#"listen = ":8080"

[[route]]
name = "shop"
"#;
    let expected = r#"error: `stable` is missing
 --> haldane.toml:3:1
  |
3 | [[route]]
  | ^^^^^^^^^
  |
  = note: the key is `route.stable`
  = help: add `stable = "http://127.0.0.1:3000"`"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn an_empty_file_lacks_everything() {
    let text = "";
    let expected = r#"error: `listen` is missing
--> haldane.toml
 = help: add `listen = "0.0.0.0:8080"`

error: there is no route
--> haldane.toml
 = help: add `[[route]]` with `stable = "http://127.0.0.1:3000"`, or give `--stable`"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn broken_toml_stops_at_itself() {
    let text = r#"listen = :8080
wrokers = 2
"#;
    let expected = r#"error: this is not TOML
 --> haldane.toml:1:10
  |
1 | listen = :8080
  |          ^^^^^ string values must be quoted, expected literal string"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_difference_is_in_percentage_points() {
    let text = r#"listen = ":8080"
[[route]]
stable = "http://127.0.0.1:3000"
[[route.gate]]
name = "errors"
metric = "error_rate"
rollback = ["stable + 0.1%", "5% hard"]
"#;
    let expected = r#"error: the text "stable + 0.1%" is not a limit for a failure rate: a difference between rates is in percentage points
 --> haldane.toml:7:13
  |
7 | rollback = ["stable + 0.1%", "5% hard"]
  |             ^^^^^^^^^^^^^^^ expected a limit for a failure rate, such as "1%", "stable + 0.1pp" or "1.5x stable"
  |
  = note: the key is `route.gate.rollback[0]`
  = help: write "stable + 0.1pp""#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_margin_is_within_its_limit() {
    let text = r#"listen = ":8080"
[[route]]
stable = "http://127.0.0.1:3000"
[[route.gate]]
name = "latency"
metric = "ttfb"
rollback = { p50 = "1.2x stable", p99 = "2x stable" }
advance = { p50 = "1.3x stable", p99 = "1.2x stable" }
"#;
    let expected = r#"error: this margin is looser than the limit "1.2x stable" in `rollback`
 --> haldane.toml:8:19
  |
8 | advance = { p50 = "1.3x stable", p99 = "1.2x stable" }
  |                   ^^^^^^^^^^^^^ expected at most "1.2x stable"
  |
  = note: the key is `route.gate.advance.p50`
  = help: or a canary could be rolled back for what it may advance with"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_key_of_another_metric_is_shown_itself() {
    let text = r#"listen = ":8080"
[[route]]
stable = "http://127.0.0.1:3000"
[[route.gate]]
name = "new"
metric = "new_errors"
rollback = "1%"
"#;
    let expected = r#"error: `rollback` is not for gates on "new_errors"
 --> haldane.toml:7:1
  |
7 | rollback = "1%"
  | ^^^^^^^^
  |
  = note: the key is `route.gate.rollback`
  = help: remove it; they have: name, metric"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_weight_without_a_canary_is_impossible() {
    let text = r#"listen = ":8080"
[[route]]
stable = "http://127.0.0.1:3000"
weight = "5%"
"#;
    let expected = r#"error: a weight of 5%, but there is no canary
 --> haldane.toml:4:10
  |
4 | weight = "5%"
  |          ^^^^
  |
  = note: the key is `route.weight`
  = help: add `canary = "http://127.0.0.1:3001"`, or write "0%""#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_missing_token_file_is_named() {
    let text = r#"listen = ":8080"
admin = { listen = "0.0.0.0:7411", token_file = "/nonexistent/token" }
[[route]]
stable = "http://127.0.0.1:3000"
"#;
    let expected = r#"error: cannot read the token
 --> haldane.toml:2:49
  |
2 | admin = { listen = "0.0.0.0:7411", token_file = "/nonexistent/token" }
  |                                                 ^^^^^^^^^^^^^^^^^^^^ No such file or directory (os error 2)
  |
  = note: the key is `admin.token_file`"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_warning_does_not_stop() {
    let text = r#"listen = ":8080"
trusted_proxies = ["10.1.2.3/8"]
[[route]]
stable = "http://127.0.0.1:3000"
"#;
    let expected = r#"warning: 10.1.2.3/8 has bits beyond its prefix length
 --> haldane.toml:2:20
  |
2 | trusted_proxies = ["10.1.2.3/8"]
  |                    ^^^^^^^^^^^^ read as "10.0.0.0/8""#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_long_line_is_cut() {
    let text = format!(
        "listen = \":8080\"\ntrusted_proxies = [{}\"bad\"]\n[[route]]\nstable = \"http://a\"\n",
        "\"10.0.0.0/8\", ".repeat(200)
    );
    let expected = r#"error: the text "bad" is not a network: it is neither an IP address nor an address with a prefix length
 --> haldane.toml:2:2820
  |
 ::: 
2 | …8", "10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8", "bad"]
  |                                                              ^^^^^ expected a network, such as "10.0.0.0/8" or "::1"
  |
  = note: the key is `trusted_proxies[200]`"#;
    assert_eq!(rendered(&text), expected);
}

#[test]
fn columns_count_characters() {
    let text = r#"# ä
listen = "ä:80"
[[route]]
stable = "http://127.0.0.1:3000"
"#;
    let expected = r#"error: the text "ä:80" is not an address to listen on: the part before the port is not an IP address
 --> haldane.toml:2:10
  |
2 | listen = "ä:80"
  |          ^^^^^^ expected an address to listen on, such as "0.0.0.0:8080", ":8080" or "[::1]:8080""#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_flag_that_means_two_things_is_shown() {
    let text = r#"listen = ":8080"
[[route]]
stable = "http://127.0.0.1:3000"
canary = "http://127.0.0.1:3001"
flag = { header = "x-feature", canary = "b", stable = "a" }
[route.sticky]
force = { header = "X-Feature", canary = "a", from = "10.0.0.0/8" }
"#;
    let expected = r#"error: "a" is sent for stable, and asks for canary by `sticky.force`
 --> haldane.toml:5:8
  |
5 | flag = { header = "x-feature", canary = "b", stable = "a" }
  |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = note: the key is `route.flag`
  = help: let the values of one header mean the same in both

warning: "b" is sent for canary, but asks for nothing by `sticky.force`, which has the same header
 --> haldane.toml:5:8
  |
5 | flag = { header = "x-feature", canary = "b", stable = "a" }
  |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = note: the key is `route.flag`
  = help: add "b" to `canary` there"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_flag_that_is_sent_but_not_honoured_is_a_warning() {
    let text = r#"listen = ":8080"
[[route]]
stable = "http://127.0.0.1:3000"
canary = "http://127.0.0.1:3001"
flag = { header = "x-feature" }
[route.sticky]
force = { header = "x-feature", canary = ["on", "true"], from = "10.0.0.0/8" }
"#;
    let expected = r#"warning: "off" is sent for stable, but asks for nothing by `sticky.force`, which has the same header
 --> haldane.toml:5:8
  |
5 | flag = { header = "x-feature" }
  |        ^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = note: the key is `route.flag`
  = help: add "off" to `stable` there"#;
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_flag_may_not_be_a_field_of_haldane() {
    let text = r#"listen = ":8080"
[[route]]
stable = "http://127.0.0.1:3000"
flag = { header = "x-haldane-flag" }
"#;
    let expected = r#"error: the text "x-haldane-flag" is not the name of a header field: haldane itself sets this field, or removes it
 --> haldane.toml:4:19
  |
4 | flag = { header = "x-haldane-flag" }
  |                   ^^^^^^^^^^^^^^^^ expected the name of a header field, such as "x-user-id"
  |
  = note: the key is `route.flag.header`"#;
    assert_eq!(rendered(text), expected);
}
