//! Who was on the canary in this generation, and who saw an error there.

use std::sync::Arc;

use haldane_config::LedgerDetail;
use haldane_decide::generation::Generation;
use haldane_decide::ledger::{Exposed, Page};
use hyper::http::request::Parts;
use serde::Serialize;

use super::problem::Problem;
use super::reply::{Reply, json};
use crate::live::Route;

/// So many hashes stand in one reply, unless the question says otherwise.
const PAGE: usize = 1000;
/// And no more than this.
const PAGE_MAX: usize = 10_000;

#[derive(Serialize)]
struct View {
    schema: &'static str,
    route: Arc<str>,
    generation: u32,
    canary: Option<Arc<str>>,
    ledger: &'static str,
    users: Count,
    saw_error: Count,
    requests_without_key: u64,
    #[serde(flatten)]
    page: Option<PageView>,
}

#[derive(Serialize)]
struct Count {
    count: u64,
    /// Whether that is the number, and no estimate.
    exact: bool,
}

#[derive(Serialize)]
struct PageView {
    keys: Vec<KeyView>,
    /// What `after` has to be to see more.
    next: Option<String>,
}

#[derive(Serialize)]
struct KeyView {
    key: String,
    /// Absent if it is not known.
    saw_error: Option<bool>,
}

/// Shows the ledger of a route.
pub(super) fn exposure(route: &Route, head: &Parts) -> Result<Reply, Problem> {
    let config = &route.config;
    let asked = Asked::of(head)?;
    let generation = route.setting().generation;
    let tells_keys = config.ledger == LedgerDetail::Keys;
    let at = Generation(generation);
    let (exposed, exact, page) = {
        let ledger = route.ledger();
        let page = tells_keys.then(|| ledger.page(at, asked.after, asked.limit));
        (ledger.exposed(at), ledger.is_exact(at), page)
    };
    let Exposed {
        users,
        saw_error,
        requests_without_key,
    } = exposed;
    json(&View {
        schema: "haldane.exposure/1",
        route: Arc::clone(&config.name),
        generation,
        canary: config
            .canary
            .as_ref()
            .map(|version| Arc::clone(&version.name)),
        ledger: if tells_keys { "keys" } else { "counts" },
        users: Count {
            count: users,
            exact: exact.0,
        },
        saw_error: Count {
            count: saw_error,
            exact: exact.1,
        },
        requests_without_key,
        page: page.map(PageView::of),
    })
}

impl PageView {
    fn of(page: Page) -> Self {
        let text = |key: u64| format!("{key:016x}");
        let keys = page.keys.into_iter().map(|(key, saw_error)| KeyView {
            key: text(key),
            saw_error,
        });
        Self {
            keys: keys.collect(),
            next: page.next.map(text),
        }
    }
}

/// Which part of the hashes is asked for.
struct Asked {
    after: Option<u64>,
    limit: usize,
}

impl Asked {
    fn of(head: &Parts) -> Result<Self, Problem> {
        let mut asked = Self {
            after: None,
            limit: PAGE,
        };
        let query = head.uri.query().unwrap_or_default();
        let hint = "the parameters are after=KEY, the 16 digits in `next`, and limit=1 to 10000";
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let is_read = match part.split_once('=') {
                Some(("after", key)) if key.len() == 16 => {
                    asked.after = u64::from_str_radix(key, 16).ok();
                    asked.after.is_some()
                }
                Some(("limit", limit)) => {
                    let limit = limit.parse().ok();
                    let limit = limit.filter(|limit| (1..=PAGE_MAX).contains(limit));
                    asked.limit = limit.unwrap_or(PAGE);
                    limit.is_some()
                }
                _ => false,
            };
            if !is_read {
                return Err(Problem::query(query, hint));
            }
        }
        Ok(asked)
    }
}
