//! What differs between two configurations, and what that means.

use haldane_config::{Config, Difference, Overrides, Source, load};

const BASE: &str = r#"
listen = "127.0.0.1:8080"
workers = 2
[[route]]
name = "shop"
stable = { version = "v1", upstream = ["http://10.0.0.1:80", "http://10.0.0.2:80"] }
canary = { version = "v2", upstream = "http://10.0.1.1:80" }
weight = "5%"
[[route]]
name = "rest"
match = { path = "/rest/*" }
stable = "http://10.0.2.1:80"
"#;

fn config(text: &str) -> Config {
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: text.to_owned(),
    };
    match load(Some(&source), &Overrides::default()) {
        Ok(loaded) => loaded.config,
        Err(diagnostics) => panic!("{diagnostics}\n{text}"),
    }
}

#[track_caller]
fn differs(from: &str, to: &str, sentences: &[&str]) {
    let changed = BASE.replacen(from, to, 1);
    assert_ne!(changed, BASE, "{from}");
    let difference = Difference::between(&config(BASE), &config(&changed));
    assert_eq!(difference.sentences(), sentences, "{from} -> {to}");
    assert_eq!(difference.is_empty(), sentences.is_empty());
}

#[test]
fn what_is_written_otherwise_but_means_the_same_is_no_difference() {
    let nothing = &[];
    differs(
        "weight = \"5%\"",
        "weight = \"5.0%\"\nexpose_version = false",
        nothing,
    );
    differs(
        "\n[[route]]",
        "\n# A comment\n[limits]\nheaders = 100\n[[route]]",
        nothing,
    );
    differs(
        "weight = \"5%\"",
        "weight = \"5%\"\nrollout = { false_advance = \"5.0%\", exposure = {} }",
        nothing,
    );
}

#[test]
fn each_change_is_named() {
    differs("v2", "v3", &["route shop: another canary"]);
    differs("10.0.1.1", "10.0.1.2", &["route shop: another canary"]);
    differs("\"v1\"", "\"v0\"", &["route shop: another stable"]);
    differs(
        "10.0.0.2:80",
        "10.0.0.3:80",
        &["route shop: another stable"],
    );
    differs("5%", "10%", &["route shop: configured weight changed"]);
    differs(
        "name = \"rest\"",
        "name = \"other\"",
        &["route other: added", "route rest: removed"],
    );
    differs("/rest/*", "/rest", &["route rest: settings changed"]);
    differs(
        "weight = \"5%\"",
        "weight = \"5%\"\ntimeouts = { connect = \"2s\" }\n[[route.gate]]\nname = \"a\"\nmetric = \"consecutive_failures\"\nrollback = 3",
        &["route shop: gates changed, settings changed"],
    );
    differs(
        "weight = \"5%\"",
        "weight = \"5%\"\nrollout = { false_rollback = \"1%\" }",
        &["route shop: promise changed"],
    );
    differs(
        "weight = \"5%\"",
        "weight = \"5%\"\nrollout = { exposure = { affected_users = 3 } }",
        &["route shop: promise changed"],
    );
    differs(
        "weight = \"5%\"",
        "weight = \"5%\"\nrule = [{ match = { path = \"/a\" }, weight = \"1%\" }]",
        &["route shop: rules changed"],
    );
    for lines in [
        "baggage = true",
        "flag = { header = \"x-a\" }",
        "sticky = { force = { header = \"x-a\", canary = \"on\", from = \"::1\" } }",
    ] {
        differs(
            "weight = \"5%\"",
            &format!("weight = \"5%\"\n{lines}"),
            &["route shop: settings changed"],
        );
    }
    differs("8080\"", "8081\"", &["listen changed"]);
    differs(
        "workers = 2",
        "workers = 3",
        &["workers changed, which needs a restart"],
    );
    differs(
        "workers = 2",
        "workers = 2\nlog = { format = \"json\" }",
        &["log changed"],
    );
    differs(
        "workers = 2",
        "workers = 2\nlimits = { headers = 99 }",
        &["limits changed"],
    );
    differs(
        "workers = 2",
        "workers = 2\ntrusted_proxies = \"10.0.0.0/8\"",
        &["trusted_proxies changed"],
    );
    differs(
        "workers = 2",
        "workers = 2\ndns_refresh = \"3s\"",
        &["dns_refresh changed"],
    );
    differs(
        "workers = 2",
        "workers = 2\ndrain = { linger = \"1s\" }",
        &["drain changed"],
    );
    differs(
        "workers = 2",
        "workers = 2\nops = { listen = \"127.0.0.1:7412\" }",
        &["ops changed"],
    );
    differs(
        "workers = 2",
        "workers = 2\nadmin = { listen = \"127.0.0.1:7413\" }",
        &["admin changed"],
    );
    let canary =
        "canary = { version = \"v2\", upstream = \"http://10.0.1.1:80\" }\nweight = \"5%\"";
    differs(
        canary,
        "",
        &["route shop: canary removed, configured weight changed"],
    );
    differs(
        "\"http://10.0.2.1:80\"",
        "\"http://10.0.2.1:80\"\ncanary = \"http://10.0.3.1:80\"",
        &["route rest: canary added"],
    );
}

#[test]
fn the_order_of_addresses_makes_no_other_version() {
    differs(
        "\"http://10.0.0.1:80\", \"http://10.0.0.2:80\"",
        "\"http://10.0.0.2:80\", \"http://10.0.0.1:80\"",
        &["route shop: settings changed"],
    );
}
