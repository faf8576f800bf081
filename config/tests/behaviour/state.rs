//! Where state is kept, and which canary it is about.

use std::path::PathBuf;

use haldane_config::{Config, Overrides, Source, load};

fn with(lines: &str) -> Result<Config, String> {
    let text = format!("listen = \":1\"\n{lines}\n[[route]]\nstable = \"http://a\"\n");
    let source = Source {
        name: "haldane.toml".to_owned(),
        text,
    };
    load(Some(&source), &Overrides::default())
        .map(|loaded| loaded.config)
        .map_err(|diagnostics| diagnostics.to_string())
}

#[test]
fn nothing_is_kept_unless_it_is_asked_for() {
    let config = with("").unwrap();
    assert_eq!(config.state_dir, None);
}

#[test]
fn a_directory_need_not_exist() {
    let config = with("state_dir = \"/does/not/exist\"").unwrap();
    assert_eq!(config.state_dir, Some(PathBuf::from("/does/not/exist")));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (lines, expected) in [
        ("state_dir = 1", "wrong type: found the number 1"),
        ("state_dir = \"\"", "the text \"\" is no path"),
        ("state_dir = \"a\\u0000b\"", "is no path"),
    ] {
        let said = with(lines).unwrap_err();
        assert!(said.contains(expected), "{lines}: {said}");
    }
}

/// Where a canary runs and what it is called is what makes it another one; the order of
/// its upstreams is not.
#[test]
fn a_canary_is_its_version_and_its_upstreams() {
    let identity = |canary: &str| {
        let text = format!("listen = \":1\"\n[[route]]\nstable = \"http://a\"\n{canary}\n");
        let source = Source {
            name: String::new(),
            text,
        };
        let loaded = load(Some(&source), &Overrides::default()).unwrap();
        let canary = loaded.config.routes[0].canary.as_ref();
        canary.map(haldane_config::Version::canary_identity)
    };
    assert_eq!(identity(""), None);
    let version = |name: &str, upstream: &str| {
        identity(&format!(
            "canary = {{ version = \"{name}\", upstream = [{upstream}] }}"
        ))
        .unwrap()
    };
    let both = version("v2", "\"http://b\", \"https://[::1]:9\"");
    assert_eq!(both.version, "v2");
    assert_eq!(both.upstreams, ["http://b:80", "https://[::1]:9"]);
    assert_eq!(both, version("v2", "\"https://[::1]:9\", \"http://b:80\""));
    assert_ne!(both, version("v3", "\"http://b\", \"https://[::1]:9\""));
    assert_ne!(both, version("v2", "\"https://b:80\", \"https://[::1]:9\""));
}
