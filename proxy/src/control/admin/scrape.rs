//! Metrics for those who come by for them.

use std::sync::Arc;

use hyper::header;
use hyper::http::request::Parts;

use super::Hub;
use super::problem::Problem;
use super::reply::{self, Reply};
use crate::telemetry::metrics::Format;

/// Counts everything in a thread of its own: with a thousand routes that takes a while, in which
/// the control thread has decisions to make. One scrape at a time, since each takes memory.
pub(super) async fn scrape(hub: &Arc<Hub>, head: &Parts) -> Result<Reply, Problem> {
    let accept = head.headers.get_all(header::ACCEPT).iter();
    let accept: Vec<&str> = accept.filter_map(|value| value.to_str().ok()).collect();
    let format = Format::accepted(&accept.join(","));
    let _turn = hub.scraping.lock().await;
    let scraped = Arc::clone(hub);
    let metrics = tokio::task::spawn_blocking(move || scraped.metrics.render(format)).await;
    match metrics {
        Ok(Ok(metrics)) => Ok(reply::metrics(format, metrics)),
        Ok(Err(_)) | Err(_) => Err(Problem::internal()),
    }
}
