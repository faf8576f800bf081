//! What gates compare with: `"stable + 0.1pp hard"`, `"1.2x stable"`, `"service + 0.01pp"`.

use std::time::Duration;

use haldane_decide::gate::spec::{LatencyBound, Quantile, RateBound, RateLimit, RateMargin};

use super::{Kind, Misfit, decimal, duration, percent, ratio};

pub(crate) const RATE_LIMIT: Kind = Kind {
    what: "a limit for a failure rate",
    example: "\"1%\", \"stable + 0.1pp\" or \"1.5x stable\"",
    units: &["{}%", "stable + {}pp", "{}x stable"],
};
pub(crate) const RATE_MARGIN: Kind = Kind {
    what: "a margin for a failure rate",
    example: "\"service + 0.01pp\" or \"stable + 0.1pp\"",
    units: &["service + {}pp", "stable + {}pp"],
};
pub(crate) const LATENCY_LIMIT: Kind = Kind {
    what: "a limit for a latency",
    example: "\"1.2x stable\" or \"500ms\"",
    units: &["{}x stable", "{}ms"],
};
pub(crate) const LATENCY_MARGIN: Kind = Kind {
    what: "a margin for a latency",
    example: "\"1.05x stable\"",
    units: &["{}x stable"],
};
pub(crate) const SIGNAL_LIMIT: Kind = Kind {
    what: "a limit for a signal",
    example: "\"stable - 1pp\"",
    units: &["stable - {}pp"],
};

/// A limit for a failure rate: `"1%"`, `"stable + 0.1pp"` or `"1.5x stable"`, each
/// optionally followed by `hard`.
pub(crate) fn rate_limit(text: &str) -> Result<RateLimit, Misfit> {
    let text = text.trim();
    let (bound, hard) = match text.strip_suffix("hard") {
        Some(bound) if bound.ends_with(' ') => (bound.trim_end(), true),
        _ => (text, false),
    };
    Ok(RateLimit {
        bound: rate_bound(bound)?,
        hard,
    })
}

fn rate_bound(text: &str) -> Result<RateBound, Misfit> {
    if let Some(difference) = text.strip_prefix("stable") {
        return ABOVE_STABLE.read(difference).map(RateBound::AboveStable);
    }
    if let Some(times) = text.strip_suffix("stable") {
        return match times_stable(times, "1.5x stable")? {
            times if times > 1.0 => Ok(RateBound::TimesStable(times)),
            _ => Err(not_above_stable()),
        };
    }
    if text.ends_with("pp") {
        return Err(difference_from_nothing(text, &["stable +"]));
    }
    if let Some(misfit) = factor_of_nothing(text) {
        return Err(misfit);
    }
    if decimal(text).is_some() {
        return Err(Misfit::new("it has no unit").hint(RATE_LIMIT.with_units(text)));
    }
    percent(text).map(RateBound::Absolute)
}

/// A margin for a failure rate: `"service + 0.01pp"` or `"stable + 0.1pp"`.
pub(crate) fn rate_margin(text: &str) -> Result<RateMargin, Misfit> {
    let text = text.trim();
    if text.ends_with("hard") {
        return Err(Misfit::new("a margin is never \"hard\""));
    }
    if let Some(difference) = text.strip_prefix("service") {
        return ABOVE_SERVICE.read(difference).map(RateMargin::Service);
    }
    if let Some(difference) = text.strip_prefix("stable") {
        return ABOVE_STABLE.read(difference).map(RateMargin::AboveStable);
    }
    if text.ends_with("pp") {
        return Err(difference_from_nothing(text, &["service +", "stable +"]));
    }
    if decimal(text).is_some() {
        return Err(Misfit::new("it has no unit").hint(RATE_MARGIN.with_units(text)));
    }
    Err(Misfit::new("a margin is a difference").hint("write \"service + 0.01pp\""))
}

/// A limit for a share of good results: how far it may lie below stable's. `"stable - 1pp"`
/// is 0.01.
pub(crate) fn signal_limit(text: &str) -> Result<f64, Misfit> {
    let text = text.trim();
    if let Some(difference) = text.strip_prefix("stable") {
        return BELOW_STABLE.read(difference);
    }
    if text.ends_with("pp") {
        return Err(difference_from_nothing(text, &["stable -"]));
    }
    if decimal(text).is_some() {
        return Err(Misfit::new("it has no unit").hint(SIGNAL_LIMIT.with_units(text)));
    }
    Err(Misfit::new("a signal is compared by a difference").hint("write \"stable - 1pp\""))
}

/// A difference in percentage points from something.
struct Difference {
    of: &'static str,
    sign: char,
    example: &'static str,
}

const ABOVE_SERVICE: Difference = Difference {
    of: "service",
    sign: '+',
    example: "service + 0.01pp",
};
const ABOVE_STABLE: Difference = Difference {
    of: "stable",
    sign: '+',
    example: "stable + 0.1pp",
};
const BELOW_STABLE: Difference = Difference {
    of: "stable",
    sign: '-',
    example: "stable - 1pp",
};

impl Difference {
    /// The `+ 0.1pp` of `stable + 0.1pp`, as a ratio.
    fn read(&self, text: &str) -> Result<f64, Misfit> {
        let Self { of, sign, example } = self;
        let example = format!("write \"{example}\"");
        let Some(number) = text.trim().strip_prefix(*sign).map(str::trim) else {
            let misfit = Misfit::new(format!("after \"{of}\" comes \"{sign}\" and a difference"));
            return Err(misfit.hint(example));
        };
        if let Some(number) = number.strip_suffix('%') {
            let misfit = Misfit::new("a difference between rates is in percentage points");
            let number = number.trim_end();
            return Err(if decimal(number).is_some() {
                misfit.hint(format!("write \"{of} {sign} {number}pp\""))
            } else {
                misfit.hint(example)
            });
        }
        let number = number.strip_suffix("pp").map(str::trim_end);
        match number.and_then(|number| ratio(number, 2)) {
            None => Err(Misfit::new("the difference is a decimal number and \"pp\"").hint(example)),
            Some(difference) if difference > 0.0 && difference < 1.0 => Ok(difference),
            Some(_) => Err(Misfit::new("the difference must lie between 0pp and 100pp")),
        }
    }
}

/// Why `0.1pp` is not enough; with the starts that would do.
fn difference_from_nothing(text: &str, starts: &[&str]) -> Misfit {
    let misfit = Misfit::new("\"pp\" is a difference, but from what?");
    let number = text.strip_suffix("pp").unwrap_or(text).trim();
    if decimal(number).is_none() {
        return misfit;
    }
    let choices: Vec<String> = starts
        .iter()
        .map(|start| format!("\"{start} {number}pp\""))
        .collect();
    misfit.hint(format!("write {}", choices.join(" or ")))
}

/// The `1.5x` of `1.5x stable`.
fn times_stable(text: &str, example: &str) -> Result<f64, Misfit> {
    const TIMES_MAX: f64 = 1000.0;
    let number = text.trim_end().strip_suffix('x').map(str::trim_end);
    match number.and_then(|number| ratio(number, 0)) {
        None => Err(
            Misfit::new("before \"stable\" comes a decimal number and \"x\"")
                .hint(format!("write \"{example}\"")),
        ),
        Some(times) if times <= TIMES_MAX => Ok(times),
        Some(_) => Err(Misfit::new("it is more than 1000x")),
    }
}

fn not_above_stable() -> Misfit {
    Misfit::new("it must be more than 1x: a canary as good as stable has to pass")
}

/// The hint for a factor that does not say of what.
fn factor_of_nothing(text: &str) -> Option<Misfit> {
    let number = text.strip_suffix('x')?;
    decimal(number.trim_end())?;
    let misfit = Misfit::new("it does not say what it is a multiple of");
    Some(misfit.hint(format!("write \"{text} stable\"")))
}

/// A limit for a latency: `"1.2x stable"` or `"500ms"`.
pub(crate) fn latency_bound(text: &str) -> Result<LatencyBound, Misfit> {
    let text = text.trim();
    if let Some(times) = text.strip_suffix("stable") {
        return match times_stable(times, "1.5x stable")? {
            times if times > 1.0 => Ok(LatencyBound::TimesStable(times)),
            _ => Err(not_above_stable()),
        };
    }
    if text.starts_with("stable") {
        return Err(Misfit::new("a latency is compared by a factor").hint("write \"1.2x stable\""));
    }
    if decimal(text).is_some() {
        return Err(Misfit::new("it has no unit").hint(LATENCY_LIMIT.with_units(text)));
    }
    if let Some(misfit) = factor_of_nothing(text) {
        return Err(misfit);
    }
    if text.ends_with("hard") {
        return Err(Misfit::new("limits for latency are never \"hard\""));
    }
    match duration(text)? {
        Duration::ZERO => Err(Misfit::new("nothing is faster than zero")),
        limit => Ok(LatencyBound::Absolute(limit)),
    }
}

/// A margin for a latency: `"1.05x stable"` is 1.05.
pub(crate) fn latency_margin(text: &str) -> Result<f64, Misfit> {
    let text = text.trim();
    if let Some(times) = text.strip_suffix("stable") {
        return match times_stable(times, "1.05x stable")? {
            times if times >= 1.0 => Ok(times),
            _ => Err(Misfit::new(
                "it is less than 1x: a canary as good as stable has to pass",
            )),
        };
    }
    if decimal(text).is_some() {
        return Err(Misfit::new("it has no unit").hint(LATENCY_MARGIN.with_units(text)));
    }
    Err(factor_of_nothing(text).unwrap_or_else(|| {
        Misfit::new("a margin is a multiple of stable's latency").hint("write \"1.05x stable\"")
    }))
}

/// A quantile: `p50`, `p99.9`.
pub(crate) fn quantile(text: &str) -> Result<Quantile, Misfit> {
    let Some(number) = text.strip_prefix('p') else {
        let misfit = Misfit::new("it does not begin with \"p\"");
        return Err(if decimal(text).is_some() {
            misfit.hint(format!("write p{text}"))
        } else {
            misfit
        });
    };
    ratio(number, 2)
        .ok_or_else(|| Misfit::new("there is no decimal number after \"p\""))
        .and_then(|ratio| {
            Quantile::from_ratio(ratio)
                .ok_or_else(|| Misfit::new("it must lie between p0 and p100"))
        })
}
