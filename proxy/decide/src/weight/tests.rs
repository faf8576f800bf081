//! Shares as text.

use proptest::prelude::*;

use super::*;

#[test]
fn shares_are_written_as_percentages() {
    for (text, parts) in [
        ("0%", 0),
        ("0.0001%", 1),
        ("0.1%", 1_000),
        ("5%", 50_000),
        ("12.5%", 125_000),
        ("12.5000000%", 125_000),
        ("5 %", 50_000),
        ("100%", 1_000_000),
        ("100.0%", 1_000_000),
    ] {
        let weight: Weight = text.parse().unwrap();
        assert_eq!(weight.parts_per_million(), parts, "{text}");
    }
}

#[test]
fn what_is_not_a_share_is_named() {
    for (text, error) in [
        ("", InvalidWeight::NoPercentSign),
        ("5", InvalidWeight::NoPercentSign),
        ("0.05", InvalidWeight::NoPercentSign),
        ("%", InvalidWeight::NotANumber),
        (".5%", InvalidWeight::NotANumber),
        ("5.%", InvalidWeight::NotANumber),
        ("-1%", InvalidWeight::NotANumber),
        ("+1%", InvalidWeight::NotANumber),
        ("1e1%", InvalidWeight::NotANumber),
        ("1.2.3%", InvalidWeight::NotANumber),
        ("٥%", InvalidWeight::NotANumber),
        ("0.00001%", InvalidWeight::TooFine),
        ("100.0001%", InvalidWeight::AboveFull),
        ("429497%", InvalidWeight::AboveFull),
        ("99999999999999999999%", InvalidWeight::AboveFull),
    ] {
        assert_eq!(text.parse::<Weight>(), Err(error), "{text}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn the_ends_are_the_ends() {
    assert_eq!(
        Weight::from_parts_per_million(1_000_000),
        Some(Weight::FULL)
    );
    assert_eq!(Weight::from_parts_per_million(1_000_001), None);
    assert!(Weight::ZERO.is_zero() && !Weight::FULL.is_zero());
    assert!((Weight::FULL.as_ratio() - 1.0).abs() < f64::EPSILON);
}

proptest! {
    #[test]
    fn what_is_printed_is_parsed_again(parts in 0..=1_000_000_u32) {
        let weight = Weight::from_parts_per_million(parts).unwrap();
        prop_assert_eq!(weight.to_string().parse(), Ok(weight));
        let json = serde_json::to_string(&weight).unwrap();
        prop_assert_eq!(serde_json::from_str::<Weight>(&json).unwrap(), weight);
    }

    #[test]
    fn no_text_makes_parsing_panic(text in any::<String>(), number in "[0-9.]{0,30}%") {
        for text in [text, number] {
            if let Ok(weight) = text.parse::<Weight>() {
                prop_assert!(weight <= Weight::FULL);
            }
        }
    }
}
