//! The access log: which requests, in which form, and where to.

use std::path::PathBuf;

use haldane_config::{
    AccessAlways, AccessFormat, AccessOutput, AccessSpec, Difference, Loaded, Overrides, Source,
    load,
};

use super::diagnostics::{GOOD, ROUTE, lines};

fn text(access: &str) -> String {
    format!("{GOOD}{access}\n{ROUTE}")
}

fn loaded(access: &str) -> Loaded {
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: text(access),
    };
    load(Some(&source), &Overrides::default()).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

fn access(text: &str) -> Option<AccessSpec> {
    let Loaded { config, warnings } = loaded(text);
    assert!(warnings.is_empty(), "{warnings}");
    config.log.access
}

#[test]
fn there_is_none_unless_it_is_asked_for() {
    assert_eq!(access(""), None);
    assert_eq!(access("log = { format = \"json\" }"), None);
}

#[test]
fn by_default_every_request_goes_to_stdout_as_json() {
    let expected = AccessSpec {
        format: AccessFormat::Json,
        output: AccessOutput::Stdout,
        sample: 1.0,
        always: AccessAlways::default(),
    };
    assert_eq!(access("log.access = {}"), Some(expected));
}

#[test]
fn what_is_written_is_meant() {
    let spec = access(
        "[log.access]\nformat = \"combined\"\noutput = \"/var/log/access.log\"\nsample = 0.01\nalways = [\"error\", \"canary\"]",
    );
    let expected = AccessSpec {
        format: AccessFormat::Combined,
        output: AccessOutput::File(PathBuf::from("/var/log/access.log")),
        sample: 0.01,
        always: AccessAlways {
            canary: true,
            error: true,
        },
    };
    assert_eq!(spec, Some(expected));
    let spec = access("log.access = { sample = 0, always = \"error\", output = \"./a\" }");
    let spec = spec.unwrap();
    assert_eq!(spec.sample, 0.0);
    let errors = AccessAlways {
        canary: false,
        error: true,
    };
    assert_eq!(spec.always, errors);
    assert_eq!(spec.output, AccessOutput::File(PathBuf::from("./a")));
    assert_eq!(access("log.access.sample = 1").unwrap().sample, 1.0);
    assert_eq!(access("log.access.sample = 1e-4").unwrap().sample, 1e-4);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (written, says) in [
        ("log.access = true", "expected a table"),
        ("log.access.format = \"Json\"", "did you mean \"json\"?"),
        ("log.access.output = \"stdot\"", "a path with a slash"),
        ("log.access.output = \"/var/log/\"", "it names a directory"),
        ("log.access.output = \"/a\\u0000\"", "a path has no NUL"),
        ("log.access.output = 1", "expected an output"),
        ("log.access.sample = 1.1", "is out of range"),
        ("log.access.sample = -0.1", "is out of range"),
        ("log.access.sample = nan", "is out of range"),
        ("log.access.sample = 0x10", "is out of range"),
        (
            "log.access.sample = \"1%\"",
            "expected a number from 0 to 1",
        ),
        ("log.access.always = \"errors\"", "did you mean \"error\"?"),
        ("log.access.always = true", "expected one of"),
        ("log.access.rate = 1", "unknown key `rate` in `log.access`"),
    ] {
        let found = lines(&text(written));
        assert!(
            found.len() == 1 && found[0].contains(says),
            "{written}: {found:#?}"
        );
    }
}

#[test]
fn a_log_without_lines_is_warned_of() {
    let Loaded { warnings, .. } = loaded("log.access.sample = 0.0");
    assert!(warnings.to_string().contains("nothing is ever logged"));
}

#[test]
fn a_change_of_it_is_a_change_of_the_log() {
    let (all, some) = (
        loaded("log.access = {}").config,
        loaded("log.access.sample = 0.5").config,
    );
    assert_eq!(Difference::between(&all, &some).keys, ["log"]);
}
