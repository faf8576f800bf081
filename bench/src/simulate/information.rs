//! How few canary requests any test could need: `ln(1/alpha)` nats over the nats of one request.
//!
//! Wald's bound on the mean sample size of a test of power one, Lorden's for a change.

/// What one canary request tells in nats, with the stable requests that come with it, to a
/// test that must hold for any rate the two versions share:
/// `[w KL(canary ‖ both) + (1 - w) KL(stable ‖ both)] / w`.
pub(crate) fn concurrent(canary: f64, stable: f64, weight: f64) -> f64 {
    let both = weight * canary + (1.0 - weight) * stable;
    (weight * divergence(canary, both) + (1.0 - weight) * divergence(stable, both)) / weight
}

/// What one canary request tells in nats to a test that knows stable's rate for ever.
pub(crate) fn frozen(canary: f64, stable: f64) -> f64 {
    divergence(canary, stable)
}

/// [`concurrent`] for densities on a common grid instead of two outcomes.
pub(crate) fn concurrent_densities(canary: &[f64], stable: &[f64], weight: f64) -> f64 {
    let nats = |own: f64, both: f64| {
        if own > 0.0 {
            own * (own / both).ln()
        } else {
            0.0
        }
    };
    let point = |(&canary, &stable): (&f64, &f64)| {
        let both = weight * canary + (1.0 - weight) * stable;
        weight * nats(canary, both) + (1.0 - weight) * nats(stable, both)
    };
    canary.iter().zip(stable).map(point).sum::<f64>() / weight
}

/// The fewest canary requests on average; without end if a request tells nothing.
pub(crate) fn requests(nats: f64, alpha: f64) -> f64 {
    if nats > 0.0 {
        (1.0 / alpha).ln() / nats
    } else {
        f64::INFINITY
    }
}

/// Kullback and Leibler's divergence of two coins.
fn divergence(own: f64, other: f64) -> f64 {
    let nats = |own: f64, other: f64| {
        if own > 0.0 {
            own * (own / other).ln()
        } else {
            0.0
        }
    };
    nats(own, other) + nats(1.0 - own, 1.0 - other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_reference() {
        let rows = [
            (0.01, 0.001, 562.1, 491.08),
            (0.05, 0.001, 62.06, 46.73),
            (0.5, 0.001, 4.42, 2.5),
            (1.0, 0.000_001, 1.74, 0.5),
        ];
        for (canary, stable, robust, fixed) in rows {
            // The reference prints its last row for a stable that hardly ever fails.
            let found = requests(concurrent(canary, stable, 0.05), 0.001);
            assert!(
                (found / robust - 1.0).abs() < 0.01,
                "{found} is not {robust}"
            );
            let found = requests(frozen(canary, stable), 0.001);
            assert!((found / fixed - 1.0).abs() < 0.01, "{found} is not {fixed}");
        }
    }

    #[test]
    fn equal_versions_tell_nothing() {
        assert_eq!(requests(concurrent(0.3, 0.3, 0.05), 0.001), f64::INFINITY);
        assert_eq!(requests(frozen(0.3, 0.3), 0.001), f64::INFINITY);
    }

    #[test]
    fn two_cells_of_a_density_are_two_outcomes() {
        let cells = concurrent_densities(&[0.2, 0.8], &[0.1, 0.9], 0.05);
        assert!((cells - concurrent(0.2, 0.1, 0.05)).abs() < 1e-12);
    }
}
