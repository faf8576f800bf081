//! Who is told of what happens: where, of what, and what is wrong about it.

use haldane_config::{
    Config, Difference, Loaded, NotifyEvent, NotifyFormat, Overrides, RemoteUrl, Source, load,
};

use super::diagnostics::{GOOD, ROUTE, lines};
use super::tls::Files;

fn text(notify: &str) -> String {
    format!("{GOOD}{notify}\n{ROUTE}")
}

fn config(notify: &str) -> Config {
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: text(notify),
    };
    let Loaded { config, warnings } = load(Some(&source), &Overrides::default())
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert!(warnings.is_empty(), "{warnings}");
    config
}

#[test]
fn nobody_is_told_unless_it_is_asked_for() {
    assert_eq!(config("").notify, []);
}

#[test]
fn by_default_everything_is_told_as_json() {
    let config = config("[[notify]]\nurl = \"http://a/path?x=1\"");
    let [target] = &config.notify[..] else {
        panic!("{:?}", config.notify)
    };
    assert_eq!(target.format, NotifyFormat::Json);
    assert_eq!(target.events, NotifyEvent::ALL);
    let url = target.remote.url_now().unwrap();
    assert_eq!(
        (url.tls, &*url.host, url.port, &*url.target.0),
        (false, "a", 80, "/path?x=1")
    );
    assert_eq!(target.remote.token_now(), Ok(None));
}

#[test]
fn files_are_read_again_with_each_use() {
    let files = Files::new("notify");
    let (url, token) = (files.add("url"), files.add("token"));
    std::fs::write(&url, "https://a/s3cret\n").unwrap();
    let config = config(&format!(
        "[[notify]]\nurl_file = \"{url}\"\ntoken_file = \"{token}\"\nformat = \"deployment\"\n\
         events = [\"completed\", \"started\", \"started\"]\nenvironment = \"staging\""
    ));
    let target = &config.notify[0];
    let environment = "staging".to_owned();
    assert_eq!(target.format, NotifyFormat::Deployment { environment });
    assert_eq!(
        target.events,
        [NotifyEvent::Started, NotifyEvent::Completed]
    );
    assert!(matches!(&target.remote.url, RemoteUrl::File { first, .. } if &*first.host == "a"));
    std::fs::write(&url, "https://b/two").unwrap();
    std::fs::write(&token, "s3cret\n").unwrap();
    let remote = &target.remote;
    assert_eq!(&*remote.url_now().unwrap().target.0, "/two");
    let token_now = remote.token_now().unwrap().unwrap();
    assert_eq!(&*token_now.0, "s3cret");
    std::fs::write(&token, "").unwrap();
    std::fs::remove_file(&url).unwrap();
    assert!(remote.url_now().is_err() && remote.token_now().is_err());
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn what_makes_no_sense_is_refused_and_the_url_is_not_quoted() {
    let files = Files::new("notify-refused");
    let bad = files.add("bad");
    let file = format!("url_file = \"{bad}\"");
    for (written, says) in [
        ("", "notify.url: `url` is missing"),
        ("url = \"hooks/s3cret\"", "it has no scheme"),
        ("url = \"http://a/s3cret#a\"", "percent-encoded"),
        ("url = 1", "expected a URL"),
        (&*file, "the file holds no URL (it has no scheme"),
        ("url_file = \"/nonexistent\"", "cannot read the URL"),
        ("url_file = \"/dev/null\"", "it is no regular file"),
        (
            "url = \"http://a\"\nurl_file = \"/nonexistent\"",
            "cannot read the URL",
        ),
        (
            "url = \"http://a/\"\ntoken_file = \"/dev/zero\"",
            "it is no regular file",
        ),
        ("url = \"http://a\"\nca = \"/dev/null\"", "no regular file"),
        (
            "url = \"http://a\"\nformat = \"Json\"",
            "did you mean \"json\"?",
        ),
        ("url = \"http://a\"\nevents = []", "the list is empty"),
        (
            "url = \"http://a\"\nevents = \"rollback\"",
            "expected one of",
        ),
        (
            "url = \"http://a\"\nenvironment = \"x\"",
            "only the format \"deployment\"",
        ),
        (
            "url = \"http://a\"\nformat = \"deployment\"\nenvironment = \"\"",
            "it is empty",
        ),
        (
            "url = \"http://a\"\nformat = \"deployment\"\nevents = \"incident\"",
            "warning: notify.events: an incident is no status",
        ),
        ("url = \"http://a\"\nhost = 1", "unknown key `host`"),
    ] {
        let found = lines(&text(&format!("[[notify]]\n{written}")));
        assert!(
            found.iter().any(|line| line.contains(says)),
            "{written}: {found:#?}"
        );
        assert!(
            !found.iter().any(|line| line.contains("s3cret")),
            "{found:#?}"
        );
    }
    let ca = format!("[[notify]]\nurl = \"http://a\"\nca = \"{bad}\"");
    assert!(lines(&text(&ca))[0].contains("does not begin with \"https://\""));
    let found = lines(&text("notify = { url = \"http://a\" }"));
    assert!(found[0].contains("with two brackets"), "{found:#?}");
    let many = "[[notify]]\nurl = \"http://a\"\n".repeat(17);
    let found = lines(&text(&many));
    assert!(found[0].contains("expected at most 16"), "{found:#?}");
}

#[test]
fn a_change_of_it_is_told() {
    let (one, other) = (
        config("[[notify]]\nurl = \"http://a/1\""),
        config("[[notify]]\nurl = \"http://a/2\""),
    );
    assert_eq!(Difference::between(&one, &other).keys, ["notify"]);
    assert!(Difference::between(&one, &one).is_empty());
}
