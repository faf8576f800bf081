//! Durations on the command line: `90s`, `15m`, `1h30m`.

use std::time::Duration;

/// Reads a duration with a unit: `ms`, `s`, `m`, `h` or several from the largest on.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("a duration is a number and a unit, as in \"90s\" or \"15m\": {text:?}");
    let mut total = Duration::ZERO;
    let mut rest = text;
    let mut last_unit_ms = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        if unit_ms >= last_unit_ms {
            return Err(wrong());
        }
        last_unit_ms = unit_ms;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let part = number.checked_mul(unit_ms).ok_or_else(wrong)?;
        total = total.saturating_add(Duration::from_millis(part));
        rest = tail;
    }
    // A year is more than anybody waits, and any deadline can be computed from it.
    if text.is_empty() || total > Duration::from_secs(365 * 86_400) {
        return Err(wrong());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_unit_and_falls_from_the_largest_on() {
        for (text, millis) in [
            ("90s", 90_000),
            ("15m", 900_000),
            ("250ms", 250),
            ("1h30m", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "5s1m",
            "1s1s",
            "-1s",
            "1.5s",
            "99999999999999999999s",
            "9999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
