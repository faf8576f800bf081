//! Configurations: whatever a text holds, it is answered, twice the same, and what is wrong
//! is inside it.

#![no_main]

use haldane_config::{Diagnostic, Difference, Loaded, Overrides, Severity, Source, advice, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // TOML has no NUL: what comes after one are flags.
    let mut parts = text.split('\0').map(str::to_owned);
    let source = Source {
        name: "haldane.toml".to_owned(),
        text: parts.next().unwrap_or_default(),
    };
    let overrides = Overrides {
        stable: parts.next(),
        canary: parts.next(),
        weight: parts.next(),
        listen: parts.next(),
        admin: parts.next(),
        ops: parts.next(),
        workers: parts.next(),
        log_format: parts.next(),
        token_file: None,
    };
    let (first, second) = (
        load(Some(&source), &overrides),
        load(Some(&source), &overrides),
    );
    match (first, second) {
        (Ok(one), Ok(other)) => loaded(&source, one, &other),
        (Err(one), Err(other)) => {
            assert_eq!(one, other);
            assert!(one.errors() > 0, "refused without a reason");
            for item in &one.0 {
                is_inside(&source, item);
            }
            for color in [false, true] {
                assert!(!one.render(color).is_empty());
            }
            assert!(one.to_string().contains(": error: "));
        }
        _ => panic!("answered once so and once so"),
    }
});

fn loaded(source: &Source, one: Loaded, other: &Loaded) {
    assert_eq!(one.config, other.config);
    assert_eq!(one.warnings.errors(), 0);
    for item in &one.warnings.0 {
        is_inside(source, item);
    }
    let _ = one.warnings.render(false);
    let difference = Difference::between(&one.config, &other.config);
    assert!(difference.sentences().is_empty(), "{difference:?}");
    let advice = advice(&one.config, &source.name, None);
    assert_eq!(advice.errors(), 0);
    let said = advice.render(false);
    let is_no_number = |word: &str| matches!(word, "inf" | "-inf" | "NaN");
    assert!(!said.split_whitespace().any(is_no_number), "{said}");
}

fn is_inside(source: &Source, item: &Diagnostic) {
    assert!(!item.message.is_empty());
    assert!(item.severity == Severity::Error || item.severity == Severity::Warning);
    let Some((line, column)) = item.place.position() else {
        return;
    };
    if item.place.name() != source.name {
        return;
    }
    // The end of the text is a place too: something is missing there.
    let shown = source.text.split('\n').nth(line - 1);
    let Some(shown) = shown else {
        panic!("line {line} of {}", source.text.split('\n').count());
    };
    assert!(
        column <= shown.chars().count() + 1,
        "{line}:{column} of {shown:?}"
    );
}
