//! Flags are laid over the file, and are enough without one.

use std::net::SocketAddr;

use haldane_config::{AdminAddress, Config, LogFormat, Overrides, Source, load};

const ONE_ROUTE: &str = "listen = \":1\"\n[[route]]\nname = \"only\"\nstable = { version = \"v1\", upstream = \"http://a\" }\n";

fn source(text: &str) -> Source {
    Source {
        name: "haldane.toml".to_owned(),
        text: text.to_owned(),
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn flags() -> Overrides {
    Overrides {
        listen: some(":8080"),
        stable: some("http://127.0.0.1:3000"),
        canary: some("http://127.0.0.1:3001"),
        weight: some("5%"),
        ..Overrides::default()
    }
}

fn loaded(file: Option<&Source>, overrides: &Overrides) -> Config {
    load(file, overrides)
        .unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(false)))
        .config
}

fn refused(file: Option<&Source>, overrides: &Overrides) -> String {
    load(file, overrides).unwrap_err().to_string()
}

#[test]
fn flags_alone_are_enough() {
    let config = loaded(None, &flags());
    assert_eq!(
        config.listen[0].address,
        "0.0.0.0:8080".parse::<SocketAddr>().unwrap()
    );
    let [route] = &config.routes[..] else {
        panic!("{:?}", config.routes)
    };
    assert_eq!(
        (&*route.name, route.weight.to_string()),
        ("default", "5%".to_owned())
    );
    assert_eq!(route.stable.upstream[0].to_string(), "127.0.0.1:3000");
    let canary = route.canary.as_ref().unwrap();
    assert_eq!(canary.upstream[0].to_string(), "127.0.0.1:3001");
}

#[test]
fn flags_replace_what_the_file_says() {
    let overrides = Overrides {
        workers: some("3"),
        admin: some("127.0.0.1:0"),
        ops: some(":9"),
        log_format: some("json"),
        ..flags()
    };
    let config = loaded(Some(&source(ONE_ROUTE)), &overrides);
    assert_eq!(
        config.listen[0].address,
        "0.0.0.0:8080".parse::<SocketAddr>().unwrap()
    );
    assert_eq!(config.workers.map(std::num::NonZeroUsize::get), Some(3));
    let tcp = |text: &str| AdminAddress::Tcp(text.parse().unwrap());
    assert_eq!(config.admin.listen, tcp("127.0.0.1:0"));
    assert_eq!(config.ops, Some(tcp("0.0.0.0:9")));
    assert_eq!(config.log.format, LogFormat::Json);
    let route = &config.routes[0];
    assert_eq!(
        (
            &*route.name,
            &*route.stable.name,
            &*route.stable.upstream[0].to_string()
        ),
        ("only", "stable", "127.0.0.1:3000")
    );
    assert_eq!(route.weight.parts_per_million(), 50_000);
}

#[test]
fn a_flag_for_one_of_several_routes_is_ambiguous() {
    let text = format!("{ONE_ROUTE}[[route]]\nmatch.path = \"/b\"\nstable = \"http://b\"\n");
    let overrides = Overrides {
        weight: some("5%"),
        ..Overrides::default()
    };
    assert_eq!(
        refused(Some(&source(&text)), &overrides),
        "command line:1:10: error: --weight: `--weight` is ambiguous: the file has 2 routes (set `weight` of each route in the file)"
    );
    let overrides = Overrides {
        listen: some(":2"),
        ..Overrides::default()
    };
    assert_eq!(
        loaded(Some(&source(&text)), &overrides).listen[0]
            .address
            .port(),
        2
    );
}

#[test]
fn a_wrong_flag_is_shown_as_the_flag() {
    let overrides = Overrides {
        weight: some("5"),
        ..flags()
    };
    let rendered = load(Some(&source(ONE_ROUTE)), &overrides)
        .unwrap_err()
        .render(false);
    let expected = r#"error: the text "5" is not a share: a share needs a percent sign, as in "5%"
 --> command line:1:87
  |
1 | --listen :8080 --stable http://127.0.0.1:3000 --canary http://127.0.0.1:3001 --weight 5
  |                                                                                       ^ expected a share, such as "12.5%"
  |
  = note: the key is `route.weight`
  = help: write "5%""#;
    assert_eq!(rendered, expected);
}

#[test]
fn a_lone_flag_says_what_else_is_needed() {
    let overrides = Overrides {
        weight: some("5%"),
        ..Overrides::default()
    };
    let text = refused(None, &overrides);
    for part in [
        "`listen` is missing (give `--listen`",
        "`stable` is missing (give `--stable`",
        "but there is no canary",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = refused(None, &Overrides::default());
    assert!(text.contains("there is no route"), "{text}");
}

#[test]
fn odd_flags_and_odd_files_are_refused() {
    for file in [
        "route = 5",
        "route = []",
        "route = [5]",
        "[route]",
        "admin = 5\nlog = 5\nops = []",
        "",
    ] {
        let overrides = Overrides {
            admin: some("\u{0}\n\u{1b}[31m"),
            log_format: some(""),
            ops: some("ä:1"),
            workers: some("-1"),
            ..flags()
        };
        let diagnostics = load(Some(&source(file)), &overrides).unwrap_err();
        assert!(diagnostics.errors() > 0, "{file}");
        assert!(!diagnostics.render(false).contains('\u{1b}'), "{file}");
        assert!(!diagnostics.render(true).is_empty());
    }
}
