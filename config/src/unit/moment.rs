//! A moment: `"2026-11-26T10:00:00Z"`.

use haldane_decide::time::Timestamp;

use super::{Kind, Misfit};

pub(crate) const MOMENT: Kind = Kind {
    what: "a moment",
    example: "\"2026-11-26T10:00:00Z\"",
    units: &[],
};

const DAY: u64 = 86_400;

/// A moment since 1970 as RFC 3339 has it, with its offset: `"2026-11-26T10:00:00Z"`,
/// `"2026-11-26t11:00:00.5+01:00"`.
pub(crate) fn moment(text: &str) -> Result<Timestamp, Misfit> {
    let form = || {
        Misfit::new("it is not of the form of RFC 3339")
            .hint("write date, time and offset; \"git log -1 --format=%cI\" does")
    };
    let text = text.trim();
    if !text.is_ascii() {
        return Err(form());
    }
    let (date, rest) = text.split_once(['T', 't', ' ']).ok_or_else(form)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2]).ok_or_else(form)?;
    let end = rest.find(['Z', 'z', '+', '-']).ok_or_else(form)?;
    let (time, offset) = rest.split_at(end);
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) => (time, micros(fraction).ok_or_else(form)?),
        None => (time, 0),
    };
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2]).ok_or_else(form)?;
    let days =
        days_of(year, month, day).ok_or_else(|| Misfit::new("there is no such day since 1970"))?;
    // A leap second is the first of the next minute.
    if hour > 23 || minute > 59 || second > 60 {
        return Err(Misfit::new("there is no such time of day"));
    }
    let local = days * DAY + hour * 3600 + minute * 60 + second;
    let seconds = match offset.as_bytes() {
        [b'Z' | b'z'] => Some(local),
        [sign @ (b'+' | b'-'), ..] => {
            let offset = offset.get(1..).unwrap_or_default();
            let [hours, minutes] = numbers(offset, ':', [2, 2]).ok_or_else(form)?;
            if hours > 23 || minutes > 59 {
                return Err(Misfit::new("there is no such offset"));
            }
            let ahead = hours * 3600 + minutes * 60;
            if *sign == b'+' {
                local.checked_sub(ahead)
            } else {
                local.checked_add(ahead)
            }
        }
        _ => return Err(form()),
    };
    let seconds = seconds.ok_or_else(|| Misfit::new("it is before 1970"))?;
    Ok(Timestamp::from_micros(seconds * 1_000_000 + fraction))
}

/// Numbers of exactly so many digits, with `between` between them.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        *number = digits_of(part)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn digits_of(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Microseconds of the digits after the point; what is finer is cut off.
fn micros(fraction: &str) -> Option<u64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let six: String = fraction.chars().chain("000000".chars()).take(6).collect();
    digits_of(&six)
}

/// Days since 1970, if there is such a day
/// (<https://howardhinnant.github.io/date_algorithms.html#days_from_civil>).
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || day == 0 || day > last {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some(days - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_their_offset() {
        // From `date -u -d … +%s`.
        for (text, seconds, micros) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2026-11-26T10:00:00Z", 1_795_687_200, 0),
            ("2026-11-26T11:00:00+01:00", 1_795_687_200, 0),
            ("2026-11-26t04:30:00.25-05:30", 1_795_687_200, 250_000),
            ("2024-02-29 23:59:59.1234567z", 1_709_251_199, 123_456),
            ("2000-03-01T00:00:00Z", 951_868_800, 0),
        ] {
            let expected = Timestamp::from_micros(seconds * 1_000_000 + micros);
            assert_eq!(moment(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_told_why() {
        for (text, reason) in [
            ("", "form"),
            ("2026-11-26", "form"),
            ("2026-11-26T10:00:00", "form"),
            ("2026-11-26T10:00Z", "form"),
            ("26-11-26T10:00:00Z", "form"),
            ("2026-11-26T10:00:00.Z", "form"),
            ("2026-11-26T10:00:00+1", "form"),
            ("2026-11-26T10:00:00Zz", "form"),
            ("2026-11-26T10:00:00Z05:00", "form"),
            ("2026-11-26T10:00:00ä", "form"),
            ("2026-02-29T10:00:00Z", "no such day"),
            ("2026-13-01T10:00:00Z", "no such day"),
            ("1969-12-31T23:59:59Z", "no such day"),
            ("1970-01-01T00:00:00+01:00", "before 1970"),
            ("2026-11-26T24:00:00Z", "time of day"),
            ("2026-11-26T10:00:00+24:00", "no such offset"),
        ] {
            let misfit = moment(text).unwrap_err();
            assert!(misfit.reason.contains(reason), "{text}: {}", misfit.reason);
        }
    }
}
