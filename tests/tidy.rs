//! The rules of the source that are rules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use haldane_config::{Overrides, Source, load};

/// Lines of code in one file, its tests not counted.
const LINES_MAX: usize = 400;

/// Files beside the hidden ones and what is built.
const TOP_LEVEL: [&str; 8] = [
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "bench",
    "config",
    "deploy",
    "proxy",
    "tests",
];

/// Words that have no meaning here; `proxy/STYLE.md` says which to use instead.
const BANNED_WORDS: [&str; 13] = [
    "abort",
    "affinity",
    "backend",
    "bake",
    "experiment",
    "frontend",
    "green",
    "primary",
    "soak",
    "subset",
    "threshold",
    "variant",
    "vhost",
];

/// Names that are not ours to choose.
const FOREIGN_NAMES: [&str; 13] = [
    "AbortHandle",
    "Green",
    "Primary",
    "Soak",
    "TestBackend",
    "abort",
    "abort_all",
    "abort_handle",
    "backend",
    "large_enum_variant",
    "primary_title",
    "soak",
    "value_variants",
];

/// Names that are those of browsers.
const NAMES_OF_BROWSERS: [&str; 4] = ["AbortController", "AbortSignal", "abort", "variant"];

/// What decisions may not know, as whole words.
const IMPURE: [&str; 8] = [
    "async",
    "tokio",
    "Instant",
    "SystemTime",
    "thread",
    "HashMap",
    "rand",
    "Mutex",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `directory` with this ending, with its path from the root.
fn files(directory: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory).expect("is readable");
        for path in entries.map(|entry| entry.expect("is readable").path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == ending)
            {
                found.push((named(&path), fs::read_to_string(&path).expect("is text")));
            }
        }
    }
    assert!(!found.is_empty(), "no .{ending} below {directory}");
    found.sort();
    found
}

fn named(path: &Path) -> String {
    let relative = path
        .strip_prefix(root())
        .map_or_else(|_| PathBuf::from(path), Path::to_path_buf);
    relative.to_string_lossy().into_owned()
}

fn rust_files() -> Vec<(String, String)> {
    ["bench", "config", "proxy", "tests"]
        .into_iter()
        .flat_map(|directory| files(directory, "rs"))
        .collect()
}

/// The code of a file: without comments and the contents of texts.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |end| end + 5)
        } else if rest.starts_with('"') {
            end_of_text(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") {
            rest.find("\"'").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            code.push(character);
            character.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

fn end_of_text(text: &str) -> usize {
    let mut escaped = true;
    for (index, character) in text.char_indices() {
        match character {
            '"' if !escaped => return index + 1,
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    text.len()
}

fn identifiers(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character: char| !character.is_alphanumeric() && character != '_')
        .filter(|word| {
            word.chars()
                .next()
                .is_some_and(|first| !first.is_ascii_digit())
        })
}

/// The words that an identifier is made of, in lower case.
fn words(identifier: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for character in identifier.chars() {
        if character == '_' || character.is_uppercase() {
            words.push(String::new());
        }
        if let (Some(word), true) = (words.last_mut(), character != '_') {
            word.extend(character.to_lowercase());
        }
    }
    words
}

fn assert_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn the_scanner_sees_code_only() {
    let text = "let a = \"threshold \\\" x\"; // threshold\nlet b = '\"'; let c = r#\"vhost \" \"#; fn end() {}";
    let code = code_of(text);
    let found: Vec<&str> = identifiers(&code).collect();
    assert_eq!(found, ["let", "a", "let", "b", "let", "c", "fn", "end"]);
    assert_eq!(words("abortTheHTTP_plan").concat(), "abortthehttpplan");
    assert!(words("hard_threshold").contains(&"threshold".to_owned()));
    assert!(words("BackendPool").contains(&"backend".to_owned()));
}

#[test]
fn the_top_level_has_what_it_should() {
    let entries = fs::read_dir(root()).expect("is readable");
    let names = entries.map(|entry| {
        entry
            .expect("is readable")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    let visible: BTreeSet<String> = names
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    assert_eq!(visible, TOP_LEVEL.map(str::to_owned).into());
}

#[test]
fn files_are_small_and_say_what_they_are_for() {
    let mut found = Vec::new();
    for (name, text) in rust_files() {
        let own = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or(&text);
        let lines = code_of(own)
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        if lines > LINES_MAX && !name.contains("tests") {
            found.push(format!("{name}: {lines} lines of code"));
        }
        if !text.starts_with("//!") {
            found.push(format!("{name}: does not begin with what it is for"));
        }
        if name.ends_with("/mod.rs") {
            found.push(format!("{name}: submodules are foo.rs and foo/"));
        }
    }
    assert_none("files", &found);
}

#[test]
fn files_of_the_page_are_small_and_say_what_they_are_for() {
    let mut found = Vec::new();
    for (ending, head) in [("css", "/* "), ("js", "// ")] {
        for (name, text) in files("proxy/src", ending) {
            let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
            if lines > LINES_MAX {
                found.push(format!("{name}: {lines} lines of code"));
            }
            if !text.starts_with(head) {
                found.push(format!("{name}: does not begin with what it is for"));
            }
            let code = code_of(&text);
            let own: BTreeSet<String> = identifiers(&code)
                .filter(|word| !NAMES_OF_BROWSERS.contains(word))
                .flat_map(words)
                .collect();
            let banned = BANNED_WORDS.iter().filter(|word| own.contains(**word));
            found.extend(banned.map(|word| format!("{name}: {word}")));
        }
    }
    assert_none("files of the page", &found);
}

#[test]
fn decisions_are_pure() {
    let mut found = Vec::new();
    for (name, text) in files("proxy/decide/src", "rs") {
        for identifier in identifiers(&code_of(&text)).filter(|word| IMPURE.contains(word)) {
            found.push(format!("{name}: {identifier}"));
        }
    }
    assert_none(
        "proxy/decide knows no clock, thread, lock, randomness or IO",
        &found,
    );
}

#[test]
fn requests_and_the_control_plane_meet_in_live_only() {
    let crossing = |directory: &str, other: &str| {
        let files = files(directory, "rs").into_iter();
        files
            .filter(|(_, text)| code_of(text).contains(other))
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_none(
        "request names control",
        &crossing("proxy/src/request", "crate::control"),
    );
    assert_none(
        "control names request",
        &crossing("proxy/src/control", "crate::request"),
    );
}

#[test]
fn one_word_for_one_thing() {
    let mut found = Vec::new();
    for (name, text) in rust_files()
        .into_iter()
        .filter(|(name, _)| name != "tests/tidy.rs")
    {
        for identifier in identifiers(&code_of(&text)).filter(|word| !FOREIGN_NAMES.contains(word))
        {
            let words = words(identifier);
            if let Some(word) = BANNED_WORDS
                .iter()
                .find(|word| words.iter().any(|own| own == *word))
            {
                found.push(format!("{name}: {identifier} ({word})"));
            }
        }
    }
    assert_none("proxy/STYLE.md has other words for", &found);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together so that this file does not contain them.
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["#[ign", "ore"],
        ["#[should_", "panic"],
    ]
    .map(|parts| parts.concat());
    let mut found = Vec::new();
    for (name, text) in rust_files() {
        found.extend(
            marks
                .iter()
                .filter(|mark| text.contains(*mark))
                .map(|mark| format!("{name}: {mark}")),
        );
    }
    assert_none("a rule that is not followed now is none", &found);
}

#[test]
fn waiting_is_done_in_one_place() {
    let sleeps = |(name, text): (String, String)| {
        let sleeps = code_of(&text).contains("sleep(") && name != "tests/support/eventually.rs";
        sleeps.then_some(name)
    };
    assert_none(
        "tests that sleep",
        &files("tests", "rs")
            .into_iter()
            .filter_map(sleeps)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_configuration_that_is_shown_loads() {
    for (name, text) in files("config", "toml")
        .into_iter()
        .filter(|(name, _)| !name.ends_with("Cargo.toml"))
    {
        let source = Source { name, text };
        if let Err(diagnostics) = load(Some(&source), &Overrides::default()) {
            panic!("{diagnostics}");
        }
    }
    // The first configuration of the README.
    let readme = fs::read_to_string(root().join("README.md")).expect("is readable");
    let blocks: Vec<&str> = readme
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!blocks.is_empty());
    for text in blocks {
        let source = Source {
            name: "README.md".to_owned(),
            text: text.to_owned(),
        };
        if let Err(diagnostics) = load(Some(&source), &Overrides::default()) {
            panic!("{diagnostics}");
        }
    }
}

/// The names in `text` that start with `prefix`.
fn names(text: &str, prefix: &str) -> BTreeSet<String> {
    let parts =
        text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    parts
        .filter(|part| part.starts_with(prefix))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_readme_names_every_metric_and_no_other() {
    let readme = fs::read_to_string(root().join("README.md")).expect("is readable");
    let table = fs::read_to_string(root().join("proxy/src/telemetry/metrics/table.rs"))
        .expect("is readable");
    let section = readme
        .split("## Metrics")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("a section");
    assert_eq!(names(section, "haldane_"), names(&table, "haldane_"));
    for (name, text) in files("deploy", "yml") {
        let asked: BTreeSet<String> = names(&text, "haldane_")
            .into_iter()
            .map(|name| name.trim_end_matches("_bucket").to_owned())
            .collect();
        let unknown: Vec<String> = asked
            .difference(&names(&table, "haldane_"))
            .cloned()
            .collect();
        assert_none(
            &format!("{name} asks for metrics that are not there"),
            &unknown,
        );
    }
}

/// The names of the tests in a source.
fn tests_in(text: &str) -> BTreeSet<&str> {
    let after = text.split("#[test]").skip(1);
    let named = after.filter_map(|rest| rest.split("fn ").nth(1)?.split('(').next());
    named.collect()
}

#[test]
fn each_requirement_of_security_has_tests_that_are_there() {
    let sources = rust_files();
    let known: BTreeSet<&str> = sources
        .iter()
        .flat_map(|(_, text)| tests_in(text))
        .collect();
    let page = fs::read_to_string(root().join("proxy/SECURITY.md")).expect("is readable");
    let mut numbers = Vec::new();
    let mut unknown = Vec::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, _, _, tests, _] = cells[..] else {
            continue;
        };
        let Ok(number) = number.parse::<usize>() else {
            continue;
        };
        numbers.push(number);
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{number} has no test");
        let missing = named.iter().filter(|name| !known.contains(*name));
        unknown.extend(missing.map(|name| format!("{number}: {name}")));
    }
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
    assert!(numbers.len() >= 48);
    assert_none("proxy/SECURITY.md names tests that are not there", &unknown);
}

#[test]
fn every_fuzz_target_has_a_corpus_and_is_run() {
    let fuzz = root().join("proxy/fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("is readable");
    let built: BTreeSet<&str> = manifest
        .lines()
        .filter_map(|line| {
            line.strip_prefix("path = \"fuzz_targets/")?
                .strip_suffix(".rs\"")
        })
        .collect();
    let targets = files("proxy/fuzz/fuzz_targets", "rs");
    assert_eq!(built.len(), targets.len());
    for (name, _) in targets {
        let target = Path::new(&name).file_stem().and_then(|stem| stem.to_str());
        let target = target.expect("is text");
        assert!(built.contains(target), "{target} is not built");
        let corpus = fs::read_dir(fuzz.join("corpus").join(target));
        let corpus = corpus.unwrap_or_else(|error| panic!("corpus of {target}: {error}"));
        assert!(corpus.count() > 1, "{target} has hardly a corpus");
    }
    let checks = fs::read_to_string(root().join(".ci/run")).expect("is readable");
    assert!(checks.lines().any(|line| line == "proxy/fuzz/run"));
}

/// Of these, older versions have holes that are known.
const LEAST: [(&str, [u64; 3]); 5] = [
    ("bytes", [1, 11, 1]),
    ("h2", [0, 4, 16]),
    ("hyper", [1, 10, 2]),
    ("rustls", [0, 23, 18]),
    ("rustls-webpki", [0, 103, 13]),
];

#[test]
fn what_it_is_built_from_is_new_enough() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("is readable");
    for (name, least) in LEAST {
        let packages = lock.split("[[package]]\n");
        let versions: Vec<Vec<u64>> = packages
            .filter_map(|package| {
                let rest = package.strip_prefix(&format!("name = \"{name}\"\nversion = \""))?;
                let version = rest.split('"').next()?;
                Some(
                    version
                        .split('.')
                        .filter_map(|part| part.parse().ok())
                        .collect(),
                )
            })
            .collect();
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
        assert!(versions[0][..] >= least[..], "{name}: {versions:?}");
    }
}

#[test]
fn the_readme_names_every_endpoint_and_no_other() {
    let endpoints = |text: &str| {
        let mut found = BTreeSet::new();
        for method in ["DELETE /", "GET /", "POST /", "PUT /"] {
            for rest in text.split(method).skip(1) {
                let path = rest
                    .split([',', '`', '\\', '?', ' ', '\n'])
                    .next()
                    .unwrap_or_default();
                found.insert(format!("{method}{path}"));
            }
        }
        found
    };
    let readme = fs::read_to_string(root().join("README.md")).expect("is readable");
    let section = readme
        .split("## Admin API")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("a section");
    let admin = fs::read_to_string(root().join("proxy/src/control/admin/resource.rs"))
        .expect("is readable");
    let shown = admin
        .split("const ENDPOINTS")
        .nth(1)
        .and_then(|rest| rest.split("\";").next())
        .expect("a list");
    assert_eq!(endpoints(section), endpoints(shown));
}
