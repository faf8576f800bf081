//! How rollouts ended: what delivery is measured by.

use std::fmt;
use std::sync::Arc;

use haldane_decide::time::Timestamp;
use prometheus_client::encoding::DescriptorEncoder;

use super::Metric;
use super::buckets::Buckets;
use super::table::{LEAD_TIME, OVERDUE, ROLLOUT_DURATION, ROLLOUTS};
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

/// What is to be known of rollouts that are complete.
pub(super) fn completed(
    encoder: &mut DescriptorEncoder<'_>,
    routes: &[Arc<Route>],
    now: Timestamp,
) -> fmt::Result {
    let all = routes.iter().filter_map(|route| {
        let canary = route.config.canary.as_ref()?;
        Some((route, canary, route.completed_at()))
    });
    let all: Vec<_> = all.collect();
    let mut metric = Metric::open(encoder, &LEAD_TIME)?;
    for (route, canary, completed) in &all {
        if let (Some(committed), Some(completed)) = (canary.provenance.commit_time, *completed) {
            let seconds = completed.since(committed).as_secs_f64();
            metric.gauge(&[("route", &*route.config.name)], seconds)?;
        }
    }
    let mut metric = Metric::open(encoder, &OVERDUE)?;
    for (route, _, completed) in &all {
        let waits = completed.map(|completed| now.since(completed));
        let overdue = waits.is_some_and(|waits| waits > route.config.expires);
        let labels = [("route", &*route.config.name)];
        metric.gauge(&labels, if overdue { 1.0 } else { 0.0 })?;
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
