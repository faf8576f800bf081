//! Tables of texts and what they say.

use std::time::Duration;

use haldane_decide::gate::spec::{LatencyBound, RateBound, RateMargin};
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::{
    Misfit, chance, duration, latency_bound, latency_margin, percent, quantile, rate_limit,
    rate_margin, share, show_duration, signal_limit, size,
};

/// The hint, or the reason if there is none.
fn advice<T: std::fmt::Debug>(result: Result<T, Misfit>) -> String {
    let Misfit { reason, hint } = result.unwrap_err();
    hint.unwrap_or(reason)
}

#[test]
fn durations() {
    for (text, millis) in [
        ("250ms", 250),
        ("10s", 10_000),
        ("1.5s", 1500),
        ("0s", 0),
        ("1m30s", 90_000),
        ("1h 2m", 3_720_000),
        ("4h", 14_400_000),
        ("10 s", 10_000),
        ("366d", 366 * 86_400_000),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for (text, expected) in [
        ("", "it is empty"),
        ("5", "write \"5s\" or \"5ms\""),
        ("5 sec", "write \"5s\""),
        ("5min", "write \"5m\""),
        ("5us", "units are ms, s, m, h and d"),
        ("5µs", "units are ms, s, m, h and d"),
        ("s", "it needs a number in front of each unit"),
        ("-5s", "it needs a number in front of each unit"),
        ("5.s", "it needs a number in front of each unit"),
        ("1e9s", "units are ms, s, m, h and d"),
        ("30s1m", "write \"1m30s\""),
        ("5s5s", "write \"1m30s\""),
        ("367d", "it is longer than 366 days"),
        ("99999999999999d", "it is longer than 366 days"),
        (
            "9999999999999999999999s",
            "it needs a number in front of each unit",
        ),
    ] {
        assert_eq!(advice(duration(text)), expected, "{text}");
    }
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("0B", 0),
        ("512B", 512),
        ("64KiB", 65_536),
        ("1.5 MiB", 1_572_864),
        ("1GiB", 1 << 30),
    ] {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
    for (text, expected) in [
        ("64", "write \"64B\" or \"64KiB\""),
        ("64KB", "write \"64KiB\": sizes are in powers of 1024"),
        ("64k", "write \"64KiB\": sizes are in powers of 1024"),
        ("1mb", "write \"1MiB\": sizes are in powers of 1024"),
        ("64 bits", "units are B, KiB, MiB and GiB"),
        ("KiB", "it needs a number in front of the unit"),
        ("0.5B", "it is not a whole number of bytes"),
        ("99999999999999GiB", "it is too large"),
    ] {
        assert_eq!(advice(size(text)), expected, "{text}");
    }
}

#[test]
fn shares() {
    assert_eq!(share("12.5%").unwrap().parts_per_million(), 125_000);
    assert_eq!(share("0.0001%").unwrap().parts_per_million(), 1);
    assert_eq!(advice(share("5")), "write \"5%\"");
    for text in [
        "", "%", "101%", "-1%", "0.00001%", "five%", "5%%", "NaN%", "1e1%",
    ] {
        assert!(share(text).is_err(), "{text}");
    }
}

#[test]
fn rate_limits() {
    for (text, bound, hard) in [
        ("1%", RateBound::Absolute(0.01), false),
        ("0.1 %", RateBound::Absolute(0.001), false),
        ("5% hard", RateBound::Absolute(0.05), true),
        ("stable + 0.1pp", RateBound::AboveStable(0.001), false),
        ("stable+5pp hard", RateBound::AboveStable(0.05), true),
        ("1.5x stable", RateBound::TimesStable(1.5), false),
        ("2 x stable hard", RateBound::TimesStable(2.0), true),
    ] {
        let limit = rate_limit(text).unwrap();
        assert_eq!((limit.bound, limit.hard), (bound, hard), "{text}");
    }
    for (text, expected) in [
        ("1", "write \"1%\" or \"stable + 1pp\" or \"1x stable\""),
        ("0.1pp", "write \"stable + 0.1pp\""),
        ("stable + 1%", "write \"stable + 1pp\""),
        ("stable - 1pp", "write \"stable + 0.1pp\""),
        ("stable", "write \"stable + 0.1pp\""),
        ("1.5 stable", "write \"1.5x stable\""),
        ("1.5x", "write \"1.5x stable\""),
        ("0%", "it must lie between 0% and 100%"),
        ("100%", "it must lie between 0% and 100%"),
        (
            "stable + 0pp",
            "the difference must lie between 0pp and 100pp",
        ),
        (
            "0.9x stable",
            "it must be more than 1x: a canary as good as stable has to pass",
        ),
        ("1001x stable", "it is more than 1000x"),
        ("hard", "it has no unit"),
        ("1%hard", "it has no unit"),
        ("", "it has no unit"),
    ] {
        assert_eq!(advice(rate_limit(text)), expected, "{text}");
    }
}

#[test]
fn latency_bounds() {
    assert_eq!(
        latency_bound("1.2x stable"),
        Ok(LatencyBound::TimesStable(1.2))
    );
    assert_eq!(
        latency_bound("500ms"),
        Ok(LatencyBound::Absolute(Duration::from_millis(500)))
    );
    for (text, expected) in [
        ("500", "write \"500x stable\" or \"500ms\""),
        ("2x", "write \"2x stable\""),
        ("stable + 10ms", "write \"1.2x stable\""),
        ("0ms", "nothing is faster than zero"),
        ("1s hard", "limits for latency are never \"hard\""),
        (
            "1x stable",
            "it must be more than 1x: a canary as good as stable has to pass",
        ),
    ] {
        assert_eq!(advice(latency_bound(text)), expected, "{text}");
    }
}

#[test]
fn rate_margins() {
    for (text, margin) in [
        ("service + 0.01pp", RateMargin::Service(0.0001)),
        (" service+1 pp ", RateMargin::Service(0.01)),
        ("stable + 0.1pp", RateMargin::AboveStable(0.001)),
        ("stable +99.9pp", RateMargin::AboveStable(0.999)),
    ] {
        assert_eq!(rate_margin(text), Ok(margin), "{text}");
    }
    let example = "write \"service + 0.01pp\"";
    for (text, expected) in [
        ("0.01", "write \"service + 0.01pp\" or \"stable + 0.01pp\""),
        (
            "0.01 pp",
            "write \"service + 0.01pp\" or \"stable + 0.01pp\"",
        ),
        ("x pp", "\"pp\" is a difference, but from what?"),
        ("1%", example),
        ("1.5x stable", example),
        ("canary + 1pp", "\"pp\" is a difference, but from what?"),
        ("", example),
        ("service", example),
        ("service - 1pp", example),
        ("service + 1", example),
        ("service + one%", example),
        ("service + 1%", "write \"service + 1pp\""),
        ("stable + 0.1%", "write \"stable + 0.1pp\""),
        ("stable - 0.1pp", "write \"stable + 0.1pp\""),
        (
            "stable + 0pp",
            "the difference must lie between 0pp and 100pp",
        ),
        (
            "service + 100pp",
            "the difference must lie between 0pp and 100pp",
        ),
        ("stable + 0.1pp hard", "a margin is never \"hard\""),
    ] {
        assert_eq!(advice(rate_margin(text)), expected, "{text}");
    }
}

#[test]
fn latency_margins() {
    for (text, times) in [
        ("1.05x stable", 1.05),
        ("1x stable", 1.0),
        ("1000 x stable", 1000.0),
    ] {
        assert_eq!(latency_margin(text), Ok(times), "{text}");
    }
    for (text, expected) in [
        (
            "0.99x stable",
            "it is less than 1x: a canary as good as stable has to pass",
        ),
        ("1000.1x stable", "it is more than 1000x"),
        ("1.05", "write \"1.05x stable\""),
        ("1.1x", "write \"1.1x stable\""),
        ("1.1 stable", "write \"1.05x stable\""),
        ("500ms", "write \"1.05x stable\""),
        ("stable + 5ms", "write \"1.05x stable\""),
        ("", "write \"1.05x stable\""),
    ] {
        assert_eq!(advice(latency_margin(text)), expected, "{text}");
    }
}

#[test]
fn signal_limits() {
    for (text, ratio) in [
        ("stable - 5pp", 0.05),
        ("stable-0.5 pp", 0.005),
        ("stable - 99.9pp", 0.999),
    ] {
        assert_eq!(signal_limit(text), Ok(ratio), "{text}");
    }
    for (text, expected) in [
        ("5", "write \"stable - 5pp\""),
        ("5pp", "write \"stable - 5pp\""),
        ("5%", "write \"stable - 1pp\""),
        ("", "write \"stable - 1pp\""),
        ("stable", "write \"stable - 1pp\""),
        ("stable + 1pp", "write \"stable - 1pp\""),
        ("stable - 2%", "write \"stable - 2pp\""),
        ("stable - -1pp", "write \"stable - 1pp\""),
        (
            "stable - 0pp",
            "the difference must lie between 0pp and 100pp",
        ),
        (
            "stable - 100pp",
            "the difference must lie between 0pp and 100pp",
        ),
        ("stable - 1pp hard", "write \"stable - 1pp\""),
    ] {
        assert_eq!(advice(signal_limit(text)), expected, "{text}");
    }
}

#[test]
fn percentages() {
    for (text, ratio) in [
        ("99.9%", 0.999),
        ("0.1 %", 0.001),
        (" 50% ", 0.5),
        ("0.0000000000001%", 1e-15),
        ("99.9999999999999%", 0.999_999_999_999_999),
    ] {
        assert_eq!(percent(text), Ok(ratio), "{text}");
    }
    for (text, expected) in [
        ("99.9", "write \"99.9%\""),
        ("", "it has no unit"),
        ("%", "there is no decimal number before the percent sign"),
        ("-1%", "there is no decimal number before the percent sign"),
        (
            "1e-3%",
            "there is no decimal number before the percent sign",
        ),
        ("0%", "it must lie between 0% and 100%"),
        ("0.00%", "it must lie between 0% and 100%"),
        ("100%", "it must lie between 0% and 100%"),
    ] {
        assert_eq!(advice(percent(text)), expected, "{text}");
    }
    let most = (0.2, "20%");
    assert_eq!(chance("20%", most), Ok(0.2));
    assert_eq!(advice(chance("20.0001%", most)), "it is more than 20%");
    assert_eq!(
        advice(chance("0%", most)),
        "it must lie between 0% and 100%"
    );
}

#[test]
fn quantiles() {
    for (text, ratio) in [
        ("p50", 0.5),
        ("p95", 0.95),
        ("p99", 0.99),
        ("p99.9", 0.999),
        ("p99.99", 0.9999),
    ] {
        let quantile = quantile(text).unwrap();
        assert_eq!(
            (quantile.as_ratio(), quantile.to_string().as_str()),
            (ratio, text)
        );
    }
    for (text, expected) in [
        ("99", "write p99"),
        ("median", "it does not begin with \"p\""),
        ("p", "there is no decimal number after \"p\""),
        ("p0", "it must lie between p0 and p100"),
        ("p100", "it must lie between p0 and p100"),
        ("p999", "it must lie between p0 and p100"),
    ] {
        assert_eq!(advice(quantile(text)), expected, "{text}");
    }
}

proptest! {
    /// No text makes any of them panic.
    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        let _ = (duration(&text).is_ok(), size(&text).is_ok(), share(&text).is_ok());
        let _ = (rate_limit(&text).is_ok(), latency_bound(&text).is_ok(), quantile(&text).is_ok());
        let _ = (rate_margin(&text).is_ok(), latency_margin(&text).is_ok(), signal_limit(&text).is_ok());
        let _ = percent(&text).is_ok();
    }

    /// Nor any text that is nearly right.
    #[test]
    fn any_near_miss_is_answered(text in "((stable|service) ?[+-]? ?)?[0-9.]{0,22} ?(ms|s|m|d|%|pp|x|KiB|GiB|B|p)?( stable)?( hard)?") {
        let _ = (duration(&text).is_ok(), size(&text).is_ok(), share(&text).is_ok());
        let _ = (rate_limit(&text).is_ok(), latency_bound(&text).is_ok(), quantile(&text).is_ok());
        let _ = (rate_margin(&text).is_ok(), latency_margin(&text).is_ok(), signal_limit(&text).is_ok());
        let _ = percent(&text).is_ok();
    }

    #[test]
    fn a_shown_duration_reads_back(millis in 0_u64..31_000_000_000) {
        let written = Duration::from_millis(millis);
        prop_assert_eq!(duration(&show_duration(written)), Ok(written));
    }
}
