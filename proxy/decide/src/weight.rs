//! `Weight`: the canary's share in parts per million; stable has the rest.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The canary's share of traffic in parts per million, 0 to 1 000 000.
///
/// Stable has the rest, so there is no pair of weights that could disagree.
/// Written as a percentage with at most four decimals: `"12.5%"`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Weight(u32);

impl Weight {
    /// Every request goes to the canary.
    pub const FULL: Self = Self(1_000_000);
    /// No request goes to the canary.
    pub const ZERO: Self = Self(0);

    /// A weight of `parts` per million; `None` above one million.
    #[must_use]
    pub const fn from_parts_per_million(parts: u32) -> Option<Self> {
        if parts <= Self::FULL.0 {
            Some(Self(parts))
        } else {
            None
        }
    }

    /// The share in parts per million.
    #[must_use]
    pub const fn parts_per_million(self) -> u32 {
        self.0
    }

    /// The share as a ratio from 0 to 1.
    #[must_use]
    pub fn as_ratio(self) -> f64 {
        f64::from(self.0) / f64::from(Self::FULL.0)
    }

    /// Whether the canary gets nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// A text that is not a share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidWeight {
    /// More than 100 %.
    AboveFull,
    /// Not a decimal number before the percent sign.
    NotANumber,
    /// No percent sign: `5` could mean 5 % or a ratio.
    NoPercentSign,
    /// Finer than 0.0001 %, which is one part per million.
    TooFine,
}

impl fmt::Display for InvalidWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AboveFull => "a share is at most \"100%\"",
            Self::NoPercentSign => "a share needs a percent sign, as in \"5%\"",
            Self::NotANumber => "a share is a decimal number and a percent sign, as in \"12.5%\"",
            Self::TooFine => "a share has at most four decimals: 0.0001% is the resolution",
        })
    }
}

impl Error for InvalidWeight {}

impl FromStr for Weight {
    type Err = InvalidWeight;

    fn from_str(text: &str) -> Result<Self, InvalidWeight> {
        let number = text
            .strip_suffix('%')
            .ok_or(InvalidWeight::NoPercentSign)?
            .trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err(InvalidWeight::NotANumber);
        }
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > 4 {
            return Err(InvalidWeight::TooFine);
        }
        let whole: u32 = whole.parse().map_err(|_| InvalidWeight::AboveFull)?;
        let fraction: u32 = format!("{decimals:0<4}")
            .parse()
            .map_err(|_| InvalidWeight::NotANumber)?;
        whole
            .checked_mul(10_000)
            .and_then(|parts| parts.checked_add(fraction))
            .and_then(Self::from_parts_per_million)
            .ok_or(InvalidWeight::AboveFull)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 10_000, self.0 % 10_000);
        if fraction == 0 {
            return write!(f, "{whole}%");
        }
        let decimals = format!("{fraction:04}");
        write!(f, "{whole}.{}%", decimals.trim_end_matches('0'))
    }
}

impl Serialize for Weight {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
