//! One step of a plan: `"5% for 20m and 500 requests"`.

use std::time::Duration;

use haldane_decide::plan::{Hold, Step};

use super::{Kind, Misfit, duration, share};

pub(crate) const STEP: Kind = Kind {
    what: "a step",
    example: "\"5% for 20m and 500 requests\" or \"50% until promoted\"",
    units: &[],
};

/// A share, and how long it is held: `"1% for 10m"`, `"5% for 20m and 500 requests"`,
/// `"5% for 500 requests"`, `"50% until promoted"`, `"100%"`.
pub(crate) fn step(text: &str) -> Result<Step, Misfit> {
    let text = text.trim();
    let (weight, hold) = match text.split_once('%') {
        Some((number, hold)) => (share(&format!("{}%", number.trim()))?, hold.trim()),
        None => (share(text)?, ""),
    };
    Ok(Step {
        weight,
        hold: parse_hold(hold)?,
    })
}

fn parse_hold(text: &str) -> Result<Hold, Misfit> {
    if text.is_empty() {
        return Ok(Step::FULL.hold);
    }
    let mut words = text.split_whitespace();
    match words.next() {
        Some("until") => match (words.next(), words.next()) {
            (Some("promoted"), None) => Ok(Hold::UntilPromoted),
            _ => Err(
                Misfit::new("a step lasts until something else than promotion")
                    .hint("write \"until promoted\""),
            ),
        },
        Some("for") => {
            let rest: Vec<&str> = words.collect();
            hold_for(&rest.join(" "))
        }
        Some(word) => Err(Misfit::new(format!(
            "\"{}\" does not follow a share",
            crate::file::shortened(word)
        ))
        .hint("write \"for 20m\", \"for 20m and 500 requests\" or \"until promoted\"")),
        None => Ok(Step::FULL.hold),
    }
}

fn hold_for(text: &str) -> Result<Hold, Misfit> {
    let (mut time, mut count) = (None, None);
    for part in text.split(" and ") {
        let is_repeated = if let Some(number) = requests(part) {
            count.replace(number?).is_some()
        } else {
            time.replace(duration(part)?).is_some()
        };
        if is_repeated {
            return Err(Misfit::new("it says the same twice")
                .hint("a hold is a time, a number of requests, or both"));
        }
    }
    Ok(Hold::For {
        time: time.unwrap_or(Duration::ZERO),
        requests: count.unwrap_or(0),
    })
}

/// The number in front of "requests"; `None` if the part is about something else.
fn requests(part: &str) -> Option<Result<u64, Misfit>> {
    let number = part
        .trim()
        .strip_suffix("requests")
        .or_else(|| part.trim().strip_suffix("request"))?;
    let digits: String = number.trim().chars().filter(|c| *c != '_').collect();
    let number = digits.parse().ok().filter(|number| *number > 0);
    Some(number.ok_or_else(|| {
        Misfit::new("there is no whole number in front of \"requests\"")
            .hint("write \"500 requests\"")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_a_share_and_a_hold() {
        let held = |seconds, requests| Hold::For {
            time: Duration::from_secs(seconds),
            requests,
        };
        for (text, weight, hold) in [
            ("1% for 10m", "1%", held(600, 0)),
            ("5% for 20m and 500 requests", "5%", held(1200, 500)),
            ("5% for 500 requests and 20m", "5%", held(1200, 500)),
            (" 0.1 %  for  1h30m ", "0.1%", held(5400, 0)),
            ("5% for 10_000 requests", "5%", held(0, 10_000)),
            ("50% until promoted", "50%", Hold::UntilPromoted),
            ("0% until promoted", "0%", Hold::UntilPromoted),
            ("100%", "100%", held(0, 0)),
        ] {
            let step = step(text).unwrap();
            assert_eq!(
                (step.weight, step.hold),
                (weight.parse().unwrap(), hold),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_step_is_told_why() {
        for (text, reason) in [
            ("", "percent sign"),
            ("5", "percent sign"),
            ("120%", "at most"),
            ("5% 10m", "does not follow a share"),
            ("5% for 10", "no unit"),
            ("5% for", "empty"),
            ("5% for ever", "number in front"),
            ("5% for 10m and 20m", "the same twice"),
            ("5% for 0 requests", "no whole number"),
            ("5% for some requests", "no whole number"),
            ("5% until monday", "something else"),
        ] {
            let misfit = step(text).unwrap_err();
            assert!(misfit.reason.contains(reason), "{text}: {}", misfit.reason);
        }
    }
}
