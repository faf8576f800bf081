//! What an `Accept` field asks for (RFC 9110 §12.5.1).

/// How much of all that matches `wanted` weighs most; zero if nothing does.
pub(crate) fn weight_of(accept: &str, wanted: impl Fn(&str) -> bool) -> f64 {
    let matching = ranges(accept).filter(|(name, _)| wanted(name));
    matching.map(|(_, weight)| weight).fold(0.0, f64::max)
}

/// The media ranges of the field without their parameters, each with its weight. What is
/// no number weighs nothing, and neither is it said.
fn ranges(accept: &str) -> impl Iterator<Item = (&str, f64)> {
    accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next()?;
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        let weight = weight.map_or(Some(1.0), |text| text.parse().ok())?;
        Some((name, weight))
    })
}
