//! Tables of texts and what they say.

use std::time::Duration;

use haldane_decide::gate::spec::{LatencyBound, RateBound};
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::{Misfit, duration, latency_bound, quantile, rate_limit, share, show_duration, size};

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
    }

    /// Nor any text that is nearly right.
    #[test]
    fn any_near_miss_is_answered(text in "(stable ?[+-]? ?)?[0-9.]{0,22} ?(ms|s|m|d|%|pp|x|KiB|GiB|B|p)?( stable)?( hard)?") {
        let _ = (duration(&text).is_ok(), size(&text).is_ok(), share(&text).is_ok());
        let _ = (rate_limit(&text).is_ok(), latency_bound(&text).is_ok(), quantile(&text).is_ok());
    }

    #[test]
    fn a_shown_duration_reads_back(millis in 0_u64..31_000_000_000) {
        let written = Duration::from_millis(millis);
        prop_assert_eq!(duration(&show_duration(written)), Ok(written));
    }
}
