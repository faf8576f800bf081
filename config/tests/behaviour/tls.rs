//! Certificates of listeners and for upstreams: which files, and that they are there.

use std::path::PathBuf;

use haldane_config::{ClientTls, Config, Loaded, Overrides, Pair, Source, load};

/// A directory of files that is removed when the test ends.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(name: &str) -> Self {
        let id = std::process::id();
        let path = std::env::temp_dir().join(format!("haldane-config-{id}-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Makes a file, and gives its path.
    pub(crate) fn add(&self, name: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, "content").unwrap();
        path.display().to_string()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What is left in the temporary directory harms nobody.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

const LISTEN: &str = "listen = [\":1\", { address = \":2\", tls = \"edge\" }]\n";
const ROUTE: &str = "[[route]]\nstable = \"http://a\"\n";

fn loaded(text: &str) -> Result<Loaded, String> {
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: text.to_owned(),
    };
    load(Some(&source), &Overrides::default()).map_err(|diagnostics| diagnostics.to_string())
}

/// The configuration, which nothing was said about.
fn clean(text: &str) -> Config {
    let loaded = loaded(text).unwrap_or_else(|error| panic!("{error}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.config
}

/// The only thing that is said about a text that is refused.
fn refused(text: &str) -> String {
    let error = loaded(text).unwrap_err();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

fn pair(cert: &str, key: &str) -> Pair {
    Pair {
        cert: cert.into(),
        key: key.into(),
    }
}

#[test]
fn a_listener_has_the_certificates_it_names() {
    let files = Files::new("listener");
    let [a, b, c, d, ca] = ["a", "b", "c", "d", "ca"].map(|name| files.add(name));
    let config = clean(&format!(
        "{LISTEN}{ROUTE}[tls.edge]\ncert = [\"{a}\", \"{b}\"]\nkey = [\"{c}\", \"{d}\"]\nclient_ca = \"{ca}\"\n"
    ));
    let [plain, encrypted] = &config.listen[..] else {
        panic!("{:?}", config.listen)
    };
    assert_eq!((plain.address.port(), &plain.tls), (1, &None));
    assert_eq!(encrypted.address.port(), 2);
    let tls = encrypted.tls.as_ref().unwrap();
    assert_eq!(&*tls.name, "edge");
    assert_eq!(tls.pairs, [pair(&a, &c), pair(&b, &d)]);
    assert_eq!(tls.client_ca, Some(ca.into()));
}

#[test]
fn one_path_is_one_certificate_and_one_table_is_one_listener() {
    let files = Files::new("one");
    let (cert, key) = (files.add("cert"), files.add("key"));
    let tls = format!("[tls.edge]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
    let config = clean(&format!(
        "listen = {{ address = \":2\", tls = \"edge\" }}\n{ROUTE}{tls}"
    ));
    let [listen] = &config.listen[..] else {
        panic!("{:?}", config.listen)
    };
    let edge = listen.tls.as_ref().unwrap();
    assert_eq!(
        (&edge.pairs, &edge.client_ca),
        (&vec![pair(&cert, &key)], &None)
    );
    // A table without `tls` is a plain listener.
    let config = clean(&format!("listen = {{ address = \":2\" }}\n{ROUTE}"));
    assert_eq!(config.listen[0].tls, None);
}

#[test]
fn several_listeners_share_certificates() {
    let files = Files::new("shared");
    let (cert, key) = (files.add("cert"), files.add("key"));
    let config = clean(&format!(
        "{ROUTE}[[listen]]\naddress = \":1\"\ntls = \"edge\"\n[[listen]]\naddress = \":2\"\ntls = \"edge\"\n[tls.edge]\ncert = \"{cert}\"\nkey = \"{key}\"\n"
    ));
    assert!(config.listen[0].tls.is_some());
    assert_eq!(config.listen[0].tls, config.listen[1].tls);
}

#[test]
fn a_mistyped_name_is_suggested_and_an_unknown_one_refused() {
    let files = Files::new("names");
    let (cert, key) = (files.add("cert"), files.add("key"));
    let tls = format!("[tls.edge]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
    let text = LISTEN.replace("edge", "egde");
    let error = refused(&format!("{text}{ROUTE}{tls}"));
    assert!(
        error.starts_with(
            "haldane.toml:1:41: error: listen[1].tls: there is no table `[tls.egde]` (did you mean \"edge\"?)"
        ),
        "{error}"
    );
    let error = refused(&format!("{LISTEN}{ROUTE}"));
    assert!(
        error.ends_with("there is no table `[tls.edge]` (add it with `cert` and `key`)"),
        "{error}"
    );
    // One table that is wrong does not hide that another one is not there.
    let text =
        "listen = [{ address = \":1\", tls = \"bad\" }, { address = \":2\", tls = \"none\" }]\n";
    let error = loaded(&format!("{text}{ROUTE}[tls.bad]\ncert = \"{cert}\"\n")).unwrap_err();
    assert!(error.contains("tls.bad.key: `key` is missing"), "{error}");
    assert!(error.contains("there is no table `[tls.none]`"), "{error}");
    assert_eq!(error.lines().count(), 2, "{error}");
}

#[test]
fn what_no_listener_uses_is_a_warning() {
    let files = Files::new("unused");
    let (cert, key) = (files.add("cert"), files.add("key"));
    let tls = format!("[tls.edge]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
    let warnings = loaded(&format!("listen = \":1\"\n{ROUTE}{tls}"))
        .unwrap()
        .warnings;
    assert_eq!(
        warnings.to_string(),
        "haldane.toml:4:6: warning: tls.edge: no listener uses `[tls.edge]` (write `listen = { address = \"…\", tls = \"edge\" }`)"
    );
}

#[test]
fn a_flag_replaces_listeners_with_a_plain_one() {
    let files = Files::new("flag");
    let (cert, key) = (files.add("cert"), files.add("key"));
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: format!("{LISTEN}{ROUTE}[tls.edge]\ncert = \"{cert}\"\nkey = \"{key}\"\n"),
    };
    let overrides = Overrides {
        listen: Some(":9".to_owned()),
        ..Overrides::default()
    };
    let config = load(Some(&source), &overrides).unwrap().config;
    let [listen] = &config.listen[..] else {
        panic!("{:?}", config.listen)
    };
    assert_eq!((listen.address.port(), &listen.tls), (9, &None));
}

/// What stands in `[tls.edge]`, and what the only diagnostic says; `FILE` is a file that
/// is there, `DIR` a directory.
const TABLES: &[(&str, &str)] = &[
    (
        r#"key = "FILE""#,
        "4:1: error: tls.edge.cert: `cert` is missing (add `cert = ",
    ),
    (
        r#"cert = "FILE""#,
        "4:1: error: tls.edge.key: `key` is missing (add `key = ",
    ),
    (
        "cert = \"FILE\"\nkey = \"/nonexistent/key\"",
        "6:7: error: tls.edge.key: cannot read the file (No such file or directory",
    ),
    (
        "cert = [\"FILE\", \"/nonexistent/cert\"]\nkey = [\"FILE\", \"FILE\"]",
        "error: tls.edge.cert[1]: cannot read the file (No such file",
    ),
    (
        "cert = \"DIR\"\nkey = \"FILE\"",
        "5:8: error: tls.edge.cert: cannot read the file (is a directory",
    ),
    (
        "cert = \"FILE\"\nkey = \"FILE\"\nclient_ca = \"/nonexistent/ca\"",
        "7:13: error: tls.edge.client_ca: cannot read the file (No such file",
    ),
    (
        "cert = \"FILE\"\nkey = \"\"",
        "tls.edge.key: cannot read the file (",
    ),
    (
        "cert = \"a\\u0000b\"\nkey = \"FILE\"",
        "tls.edge.cert: cannot read the file (",
    ),
    (
        "cert = [\"FILE\", \"FILE\"]\nkey = \"FILE\"",
        "error: tls.edge: `cert` names 2, but `key` 1 (each certificate",
    ),
    (
        "cert = []\nkey = \"FILE\"",
        "tls.edge.cert: the list is empty",
    ),
    (
        "cert = 5\nkey = \"FILE\"",
        "tls.edge.cert: wrong type: found the number 5 (expected a path",
    ),
    (
        "cert = \"FILE\"\nkey = \"FILE\"\nclientca = \"FILE\"",
        "unknown key `clientca` in `tls.name` (did you mean `client_ca`?",
    ),
];

#[test]
fn each_rule_of_a_table() {
    let files = Files::new("tables");
    let file = files.add("file");
    for (table, expected) in TABLES {
        let table = table
            .replace("FILE", &file)
            .replace("DIR", &files.0.display().to_string());
        let error = refused(&format!("{LISTEN}{ROUTE}[tls.edge]\n{table}\n"));
        assert!(error.contains(expected), "{table}: {error}");
    }
}

#[test]
fn a_table_has_a_name_that_can_be_shown() {
    let files = Files::new("odd");
    let file = files.add("file");
    let error = loaded(&format!(
        "listen = \":1\"\n{ROUTE}[tls.\"Ed ge\\u001b\"]\ncert = \"{file}\"\nkey = \"{file}\"\n"
    ))
    .unwrap_err();
    assert!(error.contains("is not a name: it may have a-z"), "{error}");
    assert!(!error.contains('\u{1b}'), "{error}");
}

#[test]
fn more_tables_than_listeners_can_use_are_refused() {
    let tables: String = (0..257).map(|n| format!("[tls.n{n}]\n")).collect();
    let error = loaded(&format!("{LISTEN}{ROUTE}{tables}")).unwrap_err();
    assert!(
        error.contains("tls: there are 257 tables (expected at most 256)"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_twice_is_refused_and_blocks_nobody() {
    let files = Files::new("socket");
    let file = files.add("file");
    let socket = files.0.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let error = refused(&format!(
        "{LISTEN}{ROUTE}[tls.edge]\ncert = \"{}\"\nkey = \"{file}\"\n",
        socket.display()
    ));
    assert!(
        error.ends_with("tls.edge.cert: cannot read the file (it is no regular file)"),
        "{error}"
    );
}

#[test]
fn upstreams_over_tls_have_a_port_and_files_of_their_own() {
    let files = Files::new("upstream");
    let [ca, cert, key] = ["ca", "cert", "key"].map(|name| files.add(name));
    let config = clean(&format!(
        "listen = \":1\"\n[[route]]\nstable = \"HTTPS://a\"\n[route.canary]\nupstream = [\"https://b:8443\", \"https://[::1]\", \"http://b\"]\nca = \"{ca}\"\ncert = \"{cert}\"\nkey = \"{key}\"\n"
    ));
    let route = &config.routes[0];
    let canary = route.canary.as_ref().unwrap();
    let shown = |version: &haldane_config::Version| -> Vec<_> {
        let shown = version.upstream.iter();
        shown
            .map(|address| (address.to_string(), address.is_tls()))
            .collect()
    };
    assert_eq!(shown(&route.stable), [("a:443".to_owned(), true)]);
    assert_eq!(
        shown(canary),
        [
            ("b:8443".to_owned(), true),
            ("[::1]:443".to_owned(), true),
            ("b:80".to_owned(), false)
        ]
    );
    assert_eq!(route.stable.tls, ClientTls::default());
    let expected = ClientTls {
        ca: Some(PathBuf::from(ca)),
        pair: Some(pair(&cert, &key)),
    };
    assert_eq!(canary.tls, expected);
}

#[test]
fn roots_go_without_a_certificate() {
    let files = Files::new("roots");
    let ca = files.add("ca");
    let config = clean(&format!(
        "listen = \":1\"\n[[route]]\nstable = {{ upstream = \"https://a\", ca = \"{ca}\" }}\n"
    ));
    let tls = &config.routes[0].stable.tls;
    assert_eq!((&tls.ca, &tls.pair), (&Some(PathBuf::from(ca)), &None));
}

/// `stable`, and what is said about it, a line each; `FILE` is a file that is there.
const VERSIONS: &[(&str, &[&str])] = &[
    (
        r#"{ upstream = "https://a", cert = "FILE" }"#,
        &["route.stable.cert: `cert` and `key` go together (add `key = "],
    ),
    (
        r#"{ upstream = "https://a", key = "FILE" }"#,
        &["route.stable.key: `cert` and `key` go together (add `cert = "],
    ),
    (
        r#"{ upstream = "https://a", ca = "/nonexistent/ca" }"#,
        &["3:41: error: route.stable.ca: cannot read the file (No such file"],
    ),
    (
        r#"{ upstream = "https://a", cert = "/nonexistent/cert" }"#,
        &["route.stable.cert: cannot read the file", "go together"],
    ),
    (
        r#"{ upstream = ["http://a", "http://b"], ca = "FILE" }"#,
        &[r#"route.stable.ca: no upstream of this version begins with "https://" (use TLS"#],
    ),
    (
        r#"{ upstream = "http://a", cert = "FILE", key = "FILE" }"#,
        &[
            "route.stable.cert: no upstream",
            "route.stable.key: no upstream",
        ],
    ),
];

#[test]
fn each_rule_of_a_version() {
    let files = Files::new("versions");
    let file = files.add("file");
    for (stable, expected) in VERSIONS {
        let stable = stable.replace("FILE", &file);
        let error =
            loaded(&format!("listen = \":1\"\n[[route]]\nstable = {stable}\n")).unwrap_err();
        assert_eq!(error.lines().count(), expected.len(), "{stable}: {error}");
        for part in *expected {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
