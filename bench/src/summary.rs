//! The findings of several verbs as one summary in Markdown.

use std::fmt::Write;

use serde_json::Value;

use crate::{case::Kind, proxies::Proxy, report::Table};

/// The columns, in their order.
const PROXIES: [Proxy; 5] = [
    Proxy::Haldane,
    Proxy::Nginx,
    Proxy::Envoy,
    Proxy::L4,
    Proxy::Haproxy,
];

/// Ratios of CPU time to haproxy, and what came through at that.
pub(crate) fn ratios(kinds: &[Kind], results: &[Value]) -> String {
    let proxies = present(results);
    let mut head: Vec<String> = vec!["CPU per request, to haproxy".to_owned()];
    head.extend(proxies.iter().map(|proxy| title(*proxy).to_owned()));
    head.push("haldane to relay".to_owned());
    head.push("requests/s: haldane, haproxy".to_owned());
    let row = |kind: &Kind| {
        let of = |proxy: Proxy| {
            let wanted =
                |result: &&Value| result["case"] == kind.name() && result["proxy"] == proxy.name();
            results.iter().find(wanted)
        };
        let mut row = vec![kind.title().to_owned()];
        row.extend(
            proxies
                .iter()
                .map(|proxy| of(*proxy).map_or_else(none, |it| cost(*proxy, it))),
        );
        let median = |proxy, what: &str| of(proxy).and_then(|it| it[what]["median"].as_f64());
        row.push(median(Proxy::Haldane, "ratio_to_l4").map_or_else(none, |it| format!("{it:.2}")));
        let rates = [Proxy::Haldane, Proxy::Haproxy].map(|proxy| {
            median(proxy, "requests_per_second").map_or_else(none, |it| format!("{it:.0}"))
        });
        row.push(rates.join(", "));
        row
    };
    markdown(&head, kinds.iter().map(row))
}

/// What `latency`, `memory` and `start` have found.
pub(crate) fn absolutes(latency: &[Value], memory: &[Value], start: &[Value]) -> String {
    let proxies = present(latency);
    let mut head = vec![String::new()];
    head.extend(proxies.iter().map(|proxy| title(*proxy).to_owned()));
    let row = |name: String, what: &dyn Fn(Proxy) -> Option<String>| {
        let mut row = vec![name];
        row.extend(
            proxies
                .iter()
                .map(|proxy| what(*proxy).unwrap_or_else(none)),
        );
        row
    };
    let of = |results: &'_ [Value], proxy: Proxy, wanted: &dyn Fn(&Value) -> bool| {
        let is_it = |result: &&Value| result["proxy"] == proxy.name() && wanted(result);
        results.iter().find(is_it).cloned()
    };
    let mut rows = Vec::new();
    for (at, name) in ["p50", "p99", "p99.9"].iter().enumerate() {
        rows.push(row(format!("added {name}"), &|proxy| {
            let us = of(latency, proxy, &|_| true)?["percentiles"][at]["us"].as_f64()?;
            Some(format!("{us:.0} µs"))
        }));
    }
    let mut counts: Vec<u64> = memory
        .iter()
        .filter_map(|result| result["connections"].as_u64())
        .collect();
    counts.sort_unstable();
    counts.dedup();
    for count in counts {
        rows.push(row(format!("memory, {count} idle connections"), &|proxy| {
            let kib = of(memory, proxy, &|it| it["connections"] == count)?["pss_kib"].as_f64()?;
            Some(format!("{:.1} MiB", kib / 1024.0))
        }));
    }
    rows.push(row("start to the first answer".to_owned(), &|proxy| {
        let ms = of(start, proxy, &|_| true)?["median_ms"].as_f64()?;
        Some(format!("{ms:.0} ms"))
    }));
    markdown(&head, rows)
}

/// A table as it is.
pub(crate) fn table(table: &Table) -> String {
    let rows = table.rows.iter().cloned();
    format!("{}\n\n{}", table.title, markdown(&table.columns, rows))
}

fn cost(proxy: Proxy, result: &Value) -> String {
    let median = |what: &str| result[what]["median"].as_f64();
    let cpu_us = median("cpu_us_per_request").unwrap_or(f64::NAN);
    match (proxy, median("ratio_to_haproxy")) {
        (Proxy::Haproxy, _) => format!("1 ({cpu_us:.1} µs)"),
        (Proxy::Haldane, Some(ratio)) => format!("**{ratio:.2}** ({cpu_us:.1} µs)"),
        (_, Some(ratio)) => format!("{ratio:.2}"),
        (_, None) => format!("{cpu_us:.1} µs"),
    }
}

fn present(results: &[Value]) -> Vec<Proxy> {
    let is_there = |proxy: &Proxy| results.iter().any(|result| result["proxy"] == proxy.name());
    PROXIES.into_iter().filter(is_there).collect()
}

fn title(proxy: Proxy) -> &'static str {
    match proxy {
        Proxy::L4 => "relay of bytes",
        Proxy::Envoy | Proxy::Haldane | Proxy::Haproxy | Proxy::Nginx => proxy.name(),
    }
}

fn markdown(head: &[String], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = String::new();
    let _infallible = writeln!(text, "| {} |", head.join(" | "));
    let _infallible = writeln!(text, "|{}", "---|".repeat(head.len()));
    for row in rows {
        let _infallible = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

fn none() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ratios_stand_in_the_row_of_their_case() {
        let result = |case: &str, proxy: &str, ratio: f64| {
            json!({
                "case": case, "proxy": proxy, "ratio_to_haproxy": { "median": ratio },
                "ratio_to_l4": { "median": 1.5 }, "cpu_us_per_request": { "median": 12.34 },
                "requests_per_second": { "median": 1000.4 },
            })
        };
        let results = [
            result("get", "haproxy", 1.0),
            result("get", "haldane", 0.8),
            result("tls", "haldane", 0.7),
        ];
        let expected = "| CPU per request, to haproxy | haldane | haproxy | haldane to relay | requests/s: haldane, haproxy |\n\
            |---|---|---|---|---|\n\
            | GET, 128 B | **0.80** (12.3 µs) | 1 (12.3 µs) | 1.50 | 1000, 1000 |\n\
            | GET, 128 B, TLS | **0.70** (12.3 µs) | – | 1.50 | 1000, – |\n";
        assert_eq!(ratios(&[Kind::Get, Kind::Tls], &results), expected);
    }

    #[test]
    fn absolutes_have_a_row_for_each_number_of_connections() {
        let latency = [json!({
            "proxy": "haldane",
            "percentiles": [{ "us": 1.0 }, { "us": 2.0 }, { "us": 3.0 }],
        })];
        let memory = [0, 1000].map(|connections| {
            json!({ "proxy": "haldane", "connections": connections, "pss_kib": 2048 })
        });
        let start = [json!({ "proxy": "haldane", "median_ms": 3.4 })];
        let expected = "|  | haldane |\n|---|---|\n| added p50 | 1 µs |\n| added p99 | 2 µs |\n\
            | added p99.9 | 3 µs |\n| memory, 0 idle connections | 2.0 MiB |\n\
            | memory, 1000 idle connections | 2.0 MiB |\n| start to the first answer | 3 ms |\n";
        assert_eq!(absolutes(&latency, &memory, &start), expected);
    }
}
