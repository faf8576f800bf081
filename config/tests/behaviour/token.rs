//! The admin token comes from a file, and an open admin listener needs one.

use std::path::PathBuf;

use haldane_config::{Loaded, Overrides, Source, load};

/// A file that is removed when the test ends.
struct TokenFile(PathBuf);

impl TokenFile {
    fn new(name: &str, content: &[u8]) -> Self {
        let path =
            std::env::temp_dir().join(format!("haldane-config-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        // What is left in the temporary directory harms nobody.
        std::fs::remove_file(&self.0).ok();
    }
}

fn load_admin(admin: &str) -> Result<Loaded, String> {
    let text = format!("listen = \":1\"\n[[route]]\nstable = \"http://a\"\n[admin]\n{admin}\n");
    let source = Source {
        name: "haldane.toml".to_owned(),
        text,
    };
    load(Some(&source), &Overrides::default()).map_err(|diagnostics| diagnostics.to_string())
}

fn load_token(file: &TokenFile) -> Result<Loaded, String> {
    load_admin(&format!(
        "listen = \"0.0.0.0:7411\"\ntoken_file = \"{}\"",
        file.0.display()
    ))
}

#[test]
fn the_token_is_trimmed_and_never_shown() {
    let file = TokenFile::new("good", b"\n  s3cret-token \r\n");
    let config = load_token(&file).unwrap().config;
    assert_eq!(
        config.admin.token.as_ref().map(|token| &*token.0),
        Some("s3cret-token")
    );
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn a_token_that_cannot_be_used_is_refused_without_showing_it() {
    for (name, content, expected) in [
        ("empty", &b" \n"[..], "the token file is empty"),
        (
            "spaces",
            b"s3cret token",
            "characters that a header cannot carry",
        ),
        (
            "binary",
            b"s3cret\xff",
            "characters that a header cannot carry",
        ),
        ("long", &[b's'; 5000], "longer than 4096 bytes"),
    ] {
        let error = load_token(&TokenFile::new(name, content)).unwrap_err();
        assert!(
            error.contains("haldane.toml:6:14: error: admin.token_file: ")
                && error.contains(expected),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_missing_or_unreadable_token_file_is_refused() {
    for path in ["/nonexistent/token", "/", "", "a\\u0000b"] {
        let error = load_admin(&format!("token_file = \"{path}\"")).unwrap_err();
        assert!(
            error.contains("admin.token_file: cannot read the token"),
            "{path}: {error}"
        );
    }
}

#[test]
fn only_loopback_goes_without_a_token() {
    for address in [
        "127.0.0.1:7411",
        "127.9.9.9:0",
        "[::1]:7411",
        "[::ffff:127.0.0.1]:7411",
    ] {
        assert!(
            load_admin(&format!("listen = \"{address}\"")).is_ok(),
            "{address}"
        );
    }
    for address in [
        "0.0.0.0:7411",
        ":7411",
        "10.0.0.1:7411",
        "[::]:7411",
        "[::ffff:10.0.0.1]:7411",
    ] {
        let error = load_admin(&format!("listen = \"{address}\"")).unwrap_err();
        assert!(
            error.contains("reachable from outside, but there is no `admin.token_file`"),
            "{address}: {error}"
        );
    }
}
