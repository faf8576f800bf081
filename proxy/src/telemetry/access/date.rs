//! Dates as logs and notices write them, in UTC.

use std::io::Write;

use haldane_decide::time::Timestamp;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

const DAY_SECONDS: u64 = 86_400;

/// A moment by the calendar.
struct Civil {
    year: u64,
    /// From 1.
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    millisecond: u64,
}

/// `2026-11-21T10:54:13.042Z` (RFC 3339).
pub(crate) fn rfc3339(time: Timestamp) -> String {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        millisecond,
    } = Civil::of(time);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

/// `2026-11-21T10:54:13Z`, for those who know no fractions.
pub(crate) fn rfc3339_seconds(time: Timestamp) -> String {
    let date = rfc3339(time);
    match date.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => date,
    }
}

/// `21/Nov/2026:10:54:13 +0000`, as Apache has it.
pub(super) fn write_apache(out: &mut Vec<u8>, time: Timestamp) {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = Civil::of(time);
    let name = usize::try_from(month)
        .ok()
        .and_then(|month| MONTHS.get(month.wrapping_sub(1)))
        .unwrap_or(&"-");
    // Writing to a Vec cannot fail.
    drop(write!(
        out,
        "{day:02}/{name}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000"
    ));
}

impl Civil {
    /// The days in the Gregorian calendar, counted from 1 March of year 0, where a leap
    /// day is the last of its year
    /// (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>).
    fn of(time: Timestamp) -> Self {
        let seconds = time.as_micros() / 1_000_000;
        let days = seconds / DAY_SECONDS + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: of_year - (153 * from_march + 2) / 5 + 1,
            hour: seconds % DAY_SECONDS / 3600,
            minute: seconds % 3600 / 60,
            second: seconds % 60,
            millisecond: time.as_micros() / 1000 % 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::{any, proptest};

    use super::*;

    fn apache(time: Timestamp) -> String {
        let mut out = Vec::new();
        write_apache(&mut out, time);
        String::from_utf8(out).expect("is text")
    }

    #[test]
    fn known_moments_are_written_as_they_were() {
        for (millis, date, logged) in [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (
                951_827_696_789,
                "2000-02-29T12:34:56.789Z",
                "29/Feb/2000:12:34:56 +0000",
            ),
            (
                1_795_258_453_042,
                "2026-11-21T10:54:13.042Z",
                "21/Nov/2026:10:54:13 +0000",
            ),
            (
                4_107_542_399_999,
                "2100-02-28T23:59:59.999Z",
                "28/Feb/2100:23:59:59 +0000",
            ),
            (
                4_107_542_400_000,
                "2100-03-01T00:00:00.000Z",
                "01/Mar/2100:00:00:00 +0000",
            ),
        ] {
            let time = Timestamp::from_micros(millis * 1000 + 999);
            assert_eq!(rfc3339(time), date);
            assert_eq!(apache(time), logged);
        }
    }

    proptest! {
        /// Another program's calendar says the same for every second until the year 9999.
        #[test]
        fn dates_are_those_of_another_calendar(second in any::<u64>()) {
            let second = second % 253_402_300_800;
            let other = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            let logged = apache(Timestamp::from_micros(second * 1_000_000));
            let (date, time) = logged.split_once(':').expect("has a time");
            let expected = format!("{} {} GMT", date.replace('/', " "), time.replace(" +0000", ""));
            assert_eq!(&other[5..], expected);
        }
    }
}
