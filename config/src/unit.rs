//! `"5%"`, `"250ms"`, `"64KiB"`, `"stable + 0.1pp hard"`, `p99.9`: words into numbers.

use std::time::Duration;

use haldane_decide::weight::Weight;

mod limit;
mod moment;
mod step;

pub(crate) use limit::{
    LATENCY_LIMIT, LATENCY_MARGIN, RATE_LIMIT, RATE_MARGIN, SIGNAL_LIMIT, latency_bound,
    latency_margin, quantile, rate_limit, rate_margin, signal_limit,
};
pub(crate) use moment::{MOMENT, moment};
pub(crate) use step::{STEP, step};

/// What a value may be, for messages.
#[derive(Debug)]
pub(crate) struct Kind {
    /// With its article: `a duration`.
    pub(crate) what: &'static str,
    /// As it is written in the file.
    pub(crate) example: &'static str,
    /// What a bare number may have meant, with `{}` for the number.
    pub(crate) units: &'static [&'static str],
}

impl Kind {
    pub(crate) fn expected(&self) -> String {
        format!("expected {}, such as {}", self.what, self.example)
    }

    /// What is wrong with a bare number.
    pub(crate) fn without_unit(&self, number: &str) -> String {
        // What only needs quotes or a colon has no unit that could be missing.
        if self
            .units
            .iter()
            .any(|unit| unit.starts_with("{}") && unit.len() > 2)
        {
            format!("the bare number {number} has no unit")
        } else {
            format!("the bare number {number} is not {}", self.what)
        }
    }

    pub(crate) fn with_units(&self, number: &str) -> String {
        let choices: Vec<String> = self
            .units
            .iter()
            .map(|unit| format!("\"{}\"", unit.replace("{}", number)))
            .collect();
        format!("write {}", choices.join(" or "))
    }
}

/// Why a text is not of its kind.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Misfit {
    /// A fragment that fits after "… is not a duration:".
    pub(crate) reason: String,
    pub(crate) hint: Option<String>,
}

impl Misfit {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

pub(crate) const SHARE: Kind = Kind {
    what: "a share",
    example: "\"12.5%\"",
    units: &["{}%"],
};
pub(crate) const DURATION: Kind = Kind {
    what: "a duration",
    example: "\"10s\"",
    units: &["{}s", "{}ms"],
};
pub(crate) const SIZE: Kind = Kind {
    what: "a size",
    example: "\"64KiB\"",
    units: &["{}B", "{}KiB"],
};
pub(crate) const CHANCE: Kind = Kind {
    what: "a probability",
    example: "\"0.1%\"",
    units: &["{}%"],
};

/// A share of traffic: `"12.5%"`.
pub(crate) fn share(text: &str) -> Result<Weight, Misfit> {
    text.trim()
        .parse()
        .map_err(|error: haldane_decide::weight::InvalidWeight| {
            let misfit = Misfit::new(error.to_string());
            if decimal(text.trim()).is_some() {
                misfit.hint(SHARE.with_units(text.trim()))
            } else {
                misfit
            }
        })
}

/// A percentage as a ratio: 0.001 for `"0.1%"`. More than none, and less than all.
pub(crate) fn percent(text: &str) -> Result<f64, Misfit> {
    let text = text.trim();
    let Some(number) = text.strip_suffix('%') else {
        let misfit = Misfit::new("it has no unit");
        return Err(if decimal(text).is_some() {
            misfit.hint(SHARE.with_units(text))
        } else {
            misfit
        });
    };
    match ratio(number.trim_end(), 2) {
        None => Err(Misfit::new(
            "there is no decimal number before the percent sign",
        )),
        Some(rate) if rate > 0.0 && rate < 1.0 => Ok(rate),
        Some(_) => Err(Misfit::new("it must lie between 0% and 100%")),
    }
}

/// A probability of more than none, and at most this: `"5%"`.
pub(crate) fn chance(text: &str, (most, shown): (f64, &str)) -> Result<f64, Misfit> {
    match percent(text)? {
        chance if chance <= most => Ok(chance),
        _ => Err(Misfit::new(format!("it is more than {shown}"))),
    }
}

/// A decimal number without sign and exponent, as digits and the power of ten that they
/// are to be divided by: `12.50` is (1250, 2). At most 15 digits, which an `f64` holds.
fn decimal(text: &str) -> Option<(u64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() > 15 {
        return None;
    }
    let number = format!("{whole}{fraction}").parse().ok()?;
    Some((number, u32::try_from(fraction.len()).ok()?))
}

/// A decimal number, divided by ten to the `shift`.
#[expect(
    clippy::cast_precision_loss,
    reason = "`decimal` gives at most 15 digits"
)]
fn ratio(text: &str, shift: u32) -> Option<f64> {
    let (digits, scale) = decimal(text)?;
    let power = i32::try_from(scale + shift).ok()?;
    // One division of two exact numbers: "99.9" becomes the double nearest to 0.999.
    Some(digits as f64 / 10_f64.powi(power))
}

/// The leading number of `text`, and the rest without the spaces between.
fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// The longest duration that can be written.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A duration: `"250ms"`, `"10s"`, `"1.5s"`, `"1m30s"`; at most 366 days.
pub(crate) fn duration(text: &str) -> Result<Duration, Misfit> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(Misfit::new("it is empty"));
    }
    let mut total = Duration::ZERO;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let Some((digits, scale)) = decimal(number) else {
            return Err(Misfit::new("it needs a number in front of each unit"));
        };
        let end = after
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(after.len());
        let nanos = unit_nanos(&after[..end], number)?;
        if nanos >= last {
            return Err(Misfit::new("larger units come first, each once").hint("write \"1m30s\""));
        }
        last = nanos;
        let exact = u128::from(digits) * u128::from(nanos) / 10_u128.pow(scale);
        let part = u64::try_from(exact).map_or(Duration::MAX, Duration::from_nanos);
        total = total.saturating_add(part);
        rest = after[end..].trim_start();
    }
    if total > DURATION_MAX {
        return Err(Misfit::new("it is longer than 366 days"));
    }
    Ok(total)
}

fn unit_nanos(unit: &str, number: &str) -> Result<u64, Misfit> {
    const SECOND: u64 = 1_000_000_000;
    let wrong = |suggested: &str| {
        let misfit = Misfit::new(format!("\"{}\" is no unit", crate::file::shortened(unit)));
        Err(misfit.hint(format!("write \"{number}{suggested}\"")))
    };
    match unit {
        "ms" => Ok(SECOND / 1000),
        "s" => Ok(SECOND),
        "m" => Ok(60 * SECOND),
        "h" => Ok(3600 * SECOND),
        "d" => Ok(24 * 3600 * SECOND),
        "" => Err(Misfit::new("it has no unit").hint(DURATION.with_units(number))),
        "msec" | "millis" | "milliseconds" | "Ms" | "MS" => wrong("ms"),
        "S" | "sec" | "secs" | "second" | "seconds" => wrong("s"),
        "M" | "min" | "mins" | "minute" | "minutes" => wrong("m"),
        "H" | "hr" | "hrs" | "hour" | "hours" => wrong("h"),
        "D" | "day" | "days" => wrong("d"),
        _ => Err(
            Misfit::new(format!("\"{}\" is no unit", crate::file::shortened(unit)))
                .hint("units are ms, s, m, h and d"),
        ),
    }
}

/// A duration as it is written: in the largest unit that makes it a whole number.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let fits = units
        .iter()
        .find(|(_, length)| millis >= *length && millis.is_multiple_of(*length));
    fits.map_or_else(
        || "0s".to_owned(),
        |(unit, length)| format!("{}{unit}", millis / length),
    )
}

/// A size in bytes: `"512B"`, `"64KiB"`, `"1MiB"`, `"1GiB"`.
pub(crate) fn size(text: &str) -> Result<u64, Misfit> {
    let text = text.trim();
    let (number, unit) = split_number(text);
    let Some((digits, scale)) = decimal(number) else {
        return Err(Misfit::new("it needs a number in front of the unit"));
    };
    let bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" => return Err(Misfit::new("it has no unit").hint(SIZE.with_units(number))),
        _ => {
            let misfit = Misfit::new(format!("\"{}\" is no unit", crate::file::shortened(unit)));
            return Err(
                match unit.bytes().next().map(|byte| byte.to_ascii_lowercase()) {
                    Some(first @ (b'k' | b'm' | b'g')) => misfit.hint(format!(
                        "write \"{number}{}iB\": sizes are in powers of 1024",
                        char::from(first.to_ascii_uppercase())
                    )),
                    _ => misfit.hint("units are B, KiB, MiB and GiB"),
                },
            );
        }
    };
    let (product, divisor) = (u128::from(digits) * u128::from(bytes), 10_u128.pow(scale));
    if product % divisor != 0 {
        return Err(Misfit::new("it is not a whole number of bytes"));
    }
    u64::try_from(product / divisor).map_err(|_| Misfit::new("it is too large"))
}

#[cfg(test)]
mod tests;
