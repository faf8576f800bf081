//! Where versions answer, and when one of their addresses is left alone.

use std::path::Path;
use std::time::Duration;

use haldane_config::{Config, Ejection, HealthCheck, Overrides, Source, UpstreamAddress, load};

use super::diagnostics::{GOOD, ROUTE, lines};

fn clean(text: &str) -> Config {
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: text.to_owned(),
    };
    let loaded = load(Some(&source), &Overrides::default())
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.config
}

fn route(lines: &str) -> String {
    format!("{GOOD}{ROUTE}{lines}\n")
}

#[test]
fn a_list_may_mix_sockets_names_and_addresses() {
    let config = clean(&format!(
        "{GOOD}[[route]]\nstable = \"unix:/run/app.sock\"\n[route.canary]\nupstream = [\"unix:/run/b.sock\", \"http://b\", \"https://[::1]:8443\"]\n"
    ));
    let route = &config.routes[0];
    assert_eq!(
        route.stable.upstream,
        [UpstreamAddress::Unix(Path::new("/run/app.sock").into())]
    );
    let canary = &route.canary.as_ref().unwrap().upstream;
    let shown: Vec<String> = canary.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["unix:/run/b.sock", "b:80", "[::1]:8443"]);
    let encrypted: Vec<bool> = canary.iter().map(UpstreamAddress::is_tls).collect();
    assert_eq!(encrypted, [false, false, true]);
}

#[test]
fn the_defaults_eject_and_ask_nobody() {
    let config = clean(&route(""));
    assert_eq!(config.dns_refresh, Duration::from_secs(10));
    let expected = Ejection {
        failures: 5,
        time: Duration::from_secs(10),
        max: Duration::from_secs(300),
    };
    assert_eq!(config.routes[0].ejection, Some(expected));
    assert_eq!(config.routes[0].health, None);
}

#[test]
fn what_is_written_is_meant() {
    let text = route(
        "[route.ejection]\nfailures = 2\ntime = \"1s\"\nmax = \"1s\"\n[route.health]\npath = \"/well?really\"\ninterval = \"250ms\"\n",
    );
    let config = clean(&format!("dns_refresh = \"1m\"\n{text}"));
    assert_eq!(config.dns_refresh, Duration::from_secs(60));
    let expected = Ejection {
        failures: 2,
        time: Duration::from_secs(1),
        max: Duration::from_secs(1),
    };
    assert_eq!(config.routes[0].ejection, Some(expected));
    let expected = HealthCheck {
        path: "/well?really".into(),
        interval: Duration::from_millis(250),
        timeout: Duration::from_secs(1),
        unhealthy_after: 3,
        healthy_after: 2,
    };
    assert_eq!(config.routes[0].health, Some(expected));
    let config = clean(&route("ejection = \"off\""));
    assert_eq!(config.routes[0].ejection, None);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let long = format!("stable = \"unix:/{}\"", "x".repeat(107));
    let refused: &[(&str, &str)] = &[
        ("stable = \"unix:app.sock\"", "begins with one \"/\""),
        ("stable = \"unix:\"", "begins with one \"/\""),
        ("stable = \"unix://run/app.sock\"", "begins with one \"/\""),
        ("stable = \"unix:/run/\"", "the path of a directory"),
        ("stable = \"unix:/run/a\\nb\"", "control characters"),
        (&long, "at most 107 bytes"),
    ];
    for (stable, says) in refused {
        let found = lines(&format!("{GOOD}[[route]]\n{stable}\n"));
        assert!(
            found.len() == 1 && found[0].contains(says),
            "{stable}: {found:#?}"
        );
    }
    let refused = [
        ("ejection = \"of\"", "expected one of \"off\""),
        ("ejection = 5", "expected a table"),
        ("ejection = { failures = 0 }", "from 1 to 1000"),
        ("ejection = { time = \"0s\" }", "a duration of zero"),
        (
            "ejection = { time = \"1m\", max = \"1s\" }",
            "`max` is shorter than `time`",
        ),
        (
            "ejection = { time = \"10m\" }",
            "`max` is shorter than `time`",
        ),
        ("ejection = { tries = 1 }", "unknown key `tries`"),
        ("health = {}", "`path` is missing"),
        ("health = { path = \"well\" }", "does not begin with"),
        ("health = { path = \"/a b\" }", "spaces or letters"),
        ("health = { path = \"/a#b\" }", "a request has no \"#\""),
        (
            "health = { path = \"/\", interval = \"1ms\" }",
            "out of range",
        ),
        (
            "health = { path = \"/\", healthy_after = 0 }",
            "from 1 to 1000",
        ),
    ];
    for (lines_of_route, says) in refused {
        let found = lines(&route(lines_of_route));
        assert!(
            found.len() == 1 && found[0].contains(says),
            "{lines_of_route}: {found:#?}"
        );
    }
    let found = lines(&format!("dns_refresh = \"10ms\"\n{}", route("")));
    assert!(found[0].contains("out of range"), "{found:#?}");
}

#[test]
fn files_for_tls_are_useless_beside_a_socket() {
    let found = lines(&format!(
        "{GOOD}[[route]]\n[route.stable]\nupstream = \"unix:/run/app.sock\"\nca = \"/ca\"\n"
    ));
    assert!(!found.is_empty() && found[0].contains("ca"), "{found:#?}");
}
