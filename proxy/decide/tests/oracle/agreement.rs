//! When two numbers are the same.

/// How far apart two numbers may be, as a part of the one that is expected.
const RELATIVE: f64 = 1e-9;

/// How far apart numbers near zero may be.
const ABSOLUTE: f64 = 1e-15;

/// Whether what was computed is what the reference computed.
pub(crate) fn agree(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= (RELATIVE * expected.abs()).max(ABSOLUTE)
}

/// What to say if they are not the same.
pub(crate) fn disagreement(what: &str, found: f64, expected: f64) -> Option<String> {
    let text = || format!("{what}: {found:e} instead of {expected:e}");
    (!agree(found, expected)).then(text)
}

/// Fails with everything that is in `found`.
#[track_caller]
pub(crate) fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn numbers_that_differ_a_little_do_not_agree() {
    for number in [1e-6, 0.5, 1.0, 1234.5, 1e12, 1e200] {
        for sign in [-1.0, 1.0] {
            let number = sign * number;
            assert!(agree(number, number * (1.0 + 5e-10)), "{number}");
            assert!(!agree(number, number * (1.0 + 2e-9)), "{number}");
            assert!(!agree(number * (1.0 + 2e-9), number), "{number}");
            assert!(!agree(number, -number), "{number}");
        }
    }
    assert!(agree(0.0, 0.0) && agree(0.0, 1e-16) && !agree(0.0, 1e-14));
    assert!(!agree(f64::NAN, f64::NAN) && !agree(f64::NAN, 1.0) && !agree(1.0, f64::NAN));
    assert!(!agree(f64::INFINITY, 1e300) && !agree(f64::MAX, 1.0));
    assert_eq!(disagreement("sum", 1.0, 1.0), None);
    let text = disagreement("sum", 1.5, 2.0);
    assert_eq!(text.as_deref(), Some("sum: 1.5e0 instead of 2e0"));
}
