//! How rollouts ended: what delivery is measured by.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::DescriptorEncoder;

use super::Metric;
use super::buckets::Buckets;
use super::table::{ROLLOUT_DURATION, ROLLOUTS};
use crate::live::Route;
use crate::live::deliveries::{Deliveries, Ending, Lengths, ROLLOUT_BOUNDS};

/// By route; those that never had a canary have nothing to tell.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, routes: &[Arc<Route>]) -> fmt::Result {
    let told: Vec<(&str, Deliveries)> = routes
        .iter()
        .map(|route| (route, route.deliveries()))
        .filter(|(route, deliveries)| {
            let has_ended = |ending| deliveries.by(ending).ended > 0;
            route.config.canary.is_some() || Ending::ALL.into_iter().any(has_ended)
        })
        .map(|(route, deliveries)| (&*route.config.name, deliveries))
        .collect();
    let mut metric = Metric::open(encoder, &ROLLOUTS)?;
    for (route, deliveries) in &told {
        for ending in Ending::ALL {
            let labels = [("route", *route), ("result", ending.as_str())];
            metric.counter(&labels, deliveries.by(ending).ended)?;
        }
    }
    let mut metric = Metric::open(encoder, &ROLLOUT_DURATION)?;
    for (route, deliveries) in &told {
        for ending in Ending::ALL {
            let labels = [("route", *route), ("result", ending.as_str())];
            metric.histogram(&labels, &buckets(deliveries.by(ending)))?;
        }
    }
    Ok(())
}

fn buckets(lengths: &Lengths) -> Buckets {
    let bounds = ROLLOUT_BOUNDS.into_iter().chain([f64::INFINITY]);
    Buckets {
        sum: lengths.sum,
        count: lengths.counts.iter().sum(),
        counts: bounds.zip(lengths.counts).collect(),
    }
}
