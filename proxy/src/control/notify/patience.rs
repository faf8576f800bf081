//! When a notice is tried again, and when it is given up.

use std::time::{Duration, UNIX_EPOCH};

use haldane_decide::time::Timestamp;
use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};

/// How long an attempt may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// So often a notice is tried; with the pauses that takes about two minutes.
const TRIES_MAX: u32 = 8;

/// The pause after the first attempt; twice as long after each.
const PAUSE: Duration = Duration::from_secs(1);

/// No pause is longer because of the number of attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// No pause is longer because the target asks for it: those behind would wait too.
const ASKED_MAX: Duration = Duration::from_secs(5 * 60);

/// What an attempt says about the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reply {
    /// It has arrived.
    Accepted,
    /// It may arrive later; the target may ask for so long a pause.
    Later(Option<Duration>),
    /// It never will.
    Never,
}

impl Reply {
    /// What a status says. 1xx never comes here; redirections are not followed.
    pub(crate) fn of(status: StatusCode, fields: &HeaderMap, now: Timestamp) -> Self {
        match status {
            status if status.is_success() => Self::Accepted,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Self::Later(retry_after(fields, now))
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Self::Later(None),
            status if status.is_server_error() => Self::Later(None),
            _ => Self::Never,
        }
    }
}

/// Seconds or a date (RFC 9110, 10.2.3).
fn retry_after(fields: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = fields.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let now = UNIX_EPOCH + Duration::from_micros(now.as_micros());
    Some(date.duration_since(now).unwrap_or_default())
}

/// How long to wait after so many attempts, the last of which the target has answered so;
/// `None` is for ever. `chance` is between 0 and 1, and anything within: those who failed
/// together are not to come back together.
pub(crate) fn pause(tries: u32, asked: Option<Duration>, chance: f64) -> Option<Duration> {
    if tries >= TRIES_MAX {
        return None;
    }
    let doubled = PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(16));
    let pause = doubled.min(PAUSE_MAX).mul_f64(0.5 + chance / 2.0);
    Some(pause.max(asked.unwrap_or_default().min(ASKED_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(retry_after: &str) -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.insert(RETRY_AFTER, retry_after.parse().unwrap());
        fields
    }

    #[test]
    fn statuses_say_whether_to_come_back() {
        let now = Timestamp::from_micros(784_111_777_000_000);
        let date = "Sun, 06 Nov 1994 08:50:37 GMT";
        let minute = Some(Duration::from_secs(60));
        for (status, retry_after, reply) in [
            (200, "", Reply::Accepted),
            (204, "", Reply::Accepted),
            (301, "", Reply::Never),
            (400, "1", Reply::Never),
            (404, "", Reply::Never),
            (408, "", Reply::Later(None)),
            (425, "", Reply::Later(None)),
            (429, "60", Reply::Later(minute)),
            (429, "soon", Reply::Later(None)),
            (500, "60", Reply::Later(None)),
            (503, date, Reply::Later(minute)),
            (
                503,
                "Sun, 06 Nov 1994 08:49:36 GMT",
                Reply::Later(Some(Duration::ZERO)),
            ),
            (503, "-1", Reply::Later(None)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let found = Reply::of(status, &fields(retry_after), now);
            assert_eq!(found, reply, "{status} {retry_after}");
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        let pauses = |chance| {
            let pauses = (1..10).map_while(move |tries| pause(tries, None, chance));
            pauses.map(|pause| pause.as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(
            pauses(1.0),
            [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000]
        );
        assert_eq!(pauses(0.0), [500, 1000, 2000, 4000, 8000, 16_000, 30_000]);
        for (asked, given) in [(3, 3), (100_000_000, 300)] {
            let given = Some(Duration::from_secs(given));
            let asked = Some(Duration::from_secs(asked));
            assert_eq!(pause(1, asked, 1.0), given);
        }
        assert_eq!(pause(8, Some(Duration::ZERO), 0.0), None);
    }
}
