//! Whatever a file holds, the answer comes in bounded time and is no panic.

use std::path::PathBuf;

use haldane_config::{Loaded, Overrides, SOURCE_BYTES_MAX, Source, load};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};

/// Loads and shows; the number of errors.
fn answer(text: &str) -> usize {
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: text.to_owned(),
    };
    match load(Some(&source), &Overrides::default()) {
        Ok(Loaded { warnings, .. }) => {
            assert_eq!(warnings.errors(), 0);
            0
        }
        Err(diagnostics) => {
            assert!(
                diagnostics.errors() > 0,
                "refused without a reason: {text:?}"
            );
            assert!(!diagnostics.render(false).is_empty() && !diagnostics.render(true).is_empty());
            assert!(diagnostics.to_string().contains(": error: "));
            diagnostics.errors()
        }
    }
}

fn reference() -> String {
    Source::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("haldane.toml"))
        .unwrap()
        .text
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("[", "]"), ("{a=", "}"), ("[{a=", "}]")] {
        for close in ["", close] {
            let text = format!("a = {}1{}", open.repeat(100_000), close.repeat(100_000));
            assert!(answer(&text) > 0);
        }
    }
    assert!(answer(&"[".repeat(100_000)) > 0);
    assert!(answer(&format!("{}a = 1", "a.".repeat(100_000))) > 0);
    assert!(answer(&format!("[{}a]", "a.".repeat(100_000))) > 0);
}

#[test]
fn large_files_are_refused_before_they_are_parsed() {
    let text = "[[route]]\n".repeat(1024 * 1024);
    assert!(text.len() > SOURCE_BYTES_MAX);
    let source = Source {
        name: "big.toml".to_owned(),
        text,
    };
    let diagnostics = load(Some(&source), &Overrides::default()).unwrap_err();
    assert_eq!(
        diagnostics.to_string(),
        "big.toml: error: the file is larger than 1024 KiB (this is probably not a haldane configuration)"
    );
}

/// As much wrong as fits: no quadratic work, no endless list.
#[test]
fn full_files_are_answered() {
    let fill = |part: &str| part.repeat(SOURCE_BYTES_MAX / part.len());
    let numbered = |prefix: &str, suffix: &str| {
        (0..)
            .map(|n| format!("{prefix}{n}{suffix}"))
            .take(SOURCE_BYTES_MAX / (prefix.len() + suffix.len() + 6))
            .collect::<String>()
    };
    for text in [
        numbered("k", " = 1\n"),
        numbered("[a", "]\n"),
        fill("[[route]]\n"),
        format!("listen = [{}]", fill("\":1\",").trim_end_matches(','))
            .chars()
            .take(SOURCE_BYTES_MAX)
            .collect(),
        format!(
            "[[route]]\nstable = \"{}\"",
            "x".repeat(SOURCE_BYTES_MAX - 100)
        ),
        format!(
            "x{} = {{ {} }}",
            "y".repeat(500_000),
            "z = 1,".repeat(10_000)
        ),
        fill("\u{0}"),
        fill("é"),
    ] {
        assert!(answer(&text) > 0);
    }
}

#[test]
fn a_thousand_routes_load() {
    let mut text = "listen = \":1\"\n".to_owned();
    for n in 0..1000 {
        text.push_str(&format!(
            "[[route]]\nname = \"r{n}\"\nmatch.path = \"/{n}/*\"\nstable = \"http://u{n}\"\n"
        ));
    }
    assert_eq!(answer(&text), 0);
    text.push_str("[[route]]\nname = \"more\"\nmatch.path = \"/more\"\nstable = \"http://more\"\n");
    assert_eq!(answer(&text), 1);
}

#[test]
fn byte_order_mark_and_line_ends_of_other_systems_are_read() {
    let text = reference();
    assert_eq!(answer(&text), 0);
    assert_eq!(answer(&text.replace('\n', "\r\n")), 0);
    assert_eq!(answer(&format!("\u{feff}{text}")), 0);
    assert!(answer(&format!("{text}\0")) > 0);
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let path = std::env::temp_dir().join(format!("haldane-config-{}-not-utf8", std::process::id()));
    std::fs::write(&path, b"listen = 1\n# caf\xe9\n").unwrap();
    let error = Source::read(&path).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(
        error.ends_with(
            "the file is not UTF-8: first bad byte in line 2, at offset 16 (save the file as UTF-8)"
        ),
        "{error}"
    );

    let error = Source::read("/nonexistent/haldane.toml")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("/nonexistent/haldane.toml: error: cannot read the file: "),
        "{error}"
    );
    assert!(Source::read(std::env::temp_dir()).is_err());
    #[cfg(target_os = "linux")]
    assert!(
        Source::read("/dev/zero")
            .unwrap_err()
            .to_string()
            .contains("larger than")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        answer(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text_of_toml_characters_is_answered(text in "[\\[\\]{}=.,\"'#a-c0-9 \\-\n]{0,200}") {
        answer(&text);
    }

    /// A few bytes of the reference replaced, removed or repeated.
    #[test]
    fn any_mutation_of_the_reference_is_answered(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..40, "[\\[\\]{}=.\"a-z0-9% \n]{0,6}"), 1..6),
    ) {
        let mut text = reference();
        prop_assert!(text.is_ascii());
        for (at, length, insert) in edits {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.replace_range(at..end, &insert);
        }
        answer(&text);
    }

    /// Every value of the reference replaced by one of another type.
    #[test]
    fn any_value_of_another_type_is_answered(
        line in any::<prop::sample::Index>(),
        value in prop::sample::select(vec!["5", "-5", "0.5", "nan", "true", "[]", "[[]]", "{}", "\"\"", "1979-05-27", "\"x\""]),
    ) {
        let text = reference();
        let lines: Vec<&str> = text.lines().collect();
        let places: Vec<usize> = (0..lines.len()).filter(|&n| lines[n].contains(" = ") && !lines[n].starts_with('#')).collect();
        let place = places[line.index(places.len())];
        let key = lines[place].split(" = ").next().unwrap_or_default();
        let changed = format!("{key} = {value}");
        let mut lines = lines.clone();
        lines[place] = &changed;
        answer(&lines.join("\n"));
    }
}
