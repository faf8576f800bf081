//! Verdicts in words and as JSON.

use super::*;

#[test]
fn numbers_have_three_digits_that_say_something() {
    for (value, text) in [
        (0.0, "0"),
        (12.0, "12"),
        (0.1, "0.1"),
        (0.123_456, "0.123"),
        (12.345, "12.3"),
        (9.999, "10"),
        (100.0, "100"),
        (1234.5, "1234"),
        (0.000_123_4, "0.000123"),
        (1.2, "1.2"),
        (f64::INFINITY, "inf"),
    ] {
        assert_eq!(number(value), text, "{value}");
    }
}

#[test]
fn times_have_the_unit_that_suits_them() {
    for (micros, text) in [
        (0, "0µs"),
        (250, "250µs"),
        (1_000, "1ms"),
        (24_000, "24ms"),
        (1_500_000, "1.5s"),
    ] {
        assert_eq!(Time(Duration::from_micros(micros)).to_string(), text);
    }
}

fn breach(measure: Measure, limit: f64, canary: Estimate, stable: Estimate) -> Breach {
    Breach {
        gate: "g".into(),
        value: canary.value,
        limit,
        canary,
        stable,
        measure,
        evidence: 0.0,
        example: None,
    }
}

#[test]
fn a_breach_of_a_rate_is_one_sentence() {
    let (six, none) = (Estimate::share(6, 50), Estimate::share(0, 950));
    let rate = |bound, hard| Measure::ErrorRate { bound, hard };
    for (breach, text) in [
        (
            breach(rate(RateBound::AboveStable(0.001), false), 0.001, six, none),
            "g: canary failed 12% (6 of 50), limit 0.1% (stable 0% + 0.1pp; 0 of 950)",
        ),
        (
            breach(rate(RateBound::AboveStable(0.05), true), 0.05, six, none),
            "g: canary failed 12% (6 of 50), limit 5% (stable 0% + 5pp hard; 0 of 950)",
        ),
        (
            breach(rate(RateBound::Absolute(0.01), false), 0.01, six, none),
            "g: canary failed 12% (6 of 50), limit 1%",
        ),
        (
            breach(
                rate(RateBound::TimesStable(1.5), false),
                0.15,
                six,
                Estimate::share(1, 10),
            ),
            "g: canary failed 12% (6 of 50), limit 15% (1.5x stable 10%; 1 of 10)",
        ),
    ] {
        assert_eq!(breach.to_string(), text);
    }
}

#[test]
fn a_breach_of_a_run_is_one_sentence() {
    for (count, text) in [
        (1_u32, "canary failed 1 time in a row"),
        (3, "canary failed 3 times in a row"),
    ] {
        let run = Estimate {
            value: f64::from(count),
            count: u64::from(count),
            samples: 9,
            ..Estimate::default()
        };
        let limit = f64::from(count);
        let breach = breach(
            Measure::ConsecutiveFailures,
            limit,
            run,
            Estimate::default(),
        );
        assert_eq!(breach.to_string(), format!("g: {text}, limit {count}"));
    }
}

#[test]
fn a_breach_of_a_quantile_is_one_sentence() {
    let slow = |bound, stable| Measure::Latency {
        metric: LatencyMetric::Ttfb,
        quantile: Quantile::from_ratio(0.95).unwrap(),
        bound,
        limit: Some(Duration::from_millis(24)),
        stable,
    };
    let (forty, nine) = (Estimate::share(40, 210), Estimate::share(9, 1000));
    let relative = slow(
        LatencyBound::TimesStable(1.2),
        Some(Duration::from_millis(20)),
    );
    assert_eq!(
        breach(relative, 0.05, forty, nine).to_string(),
        "g: canary p95 of ttfb is above 24ms (stable 20ms, limit 1.2x): \
         40 of 210 requests were slower"
    );
    let absolute = slow(LatencyBound::Absolute(Duration::from_millis(24)), None);
    assert_eq!(
        breach(absolute, 0.05, forty, Estimate::default()).to_string(),
        "g: canary p95 of ttfb is above 24ms: 40 of 210 requests were slower"
    );
}

#[test]
fn a_breach_says_how_sure_it_is_and_shows_a_request() {
    let measure = Measure::ErrorRate {
        bound: RateBound::AboveStable(0.001),
        hard: false,
    };
    let mut breach = breach(measure, 0.25, Estimate::share(1, 2), Estimate::share(0, 4));
    breach.evidence = 1.234;
    breach.example = RequestId::from_bytes(b"req-7\n");
    assert_eq!(
        breach.to_string(),
        "g: canary failed 50% (1 of 2), limit 25% (stable 0% + 0.1pp; 0 of 4); \
         evidence 1.23x of the bound; for example request req-7"
    );
    assert_eq!(
        serde_json::to_value(&breach).unwrap(),
        serde_json::json!({
            "gate": "g", "value": 0.5, "limit": 0.25,
            "canary": { "value": 0.5, "low": 0.0, "high": 1.0, "count": 1, "samples": 2 },
            "stable": { "value": 0.0, "low": 0.0, "high": 1.0, "count": 0, "samples": 4 },
            "measure": { "kind": "error_rate", "bound": "stable + 0.1pp", "hard": false },
            "evidence": 1.234, "example": "req-7",
        })
    );
}
