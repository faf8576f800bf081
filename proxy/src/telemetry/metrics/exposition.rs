//! OpenMetrics or Prometheus text, as the scraper asks.
//!
//! The library writes OpenMetrics. The older format differs in what is about
//! families: it calls a counter by its whole name, and knows no unit and no end.

use std::fmt::{self, Write};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::marks::{Marks, marked};
use crate::accept::weight_of;

/// A text format for metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4: what browsers and older scrapers read.
    Prometheus,
}

impl Format {
    /// The format that an `Accept` field prefers (RFC 9110 §12.5.1). OpenMetrics must
    /// be named; `*/*` means the format that everything reads.
    pub(crate) fn accepted(accept: &str) -> Self {
        let best = |wanted: &str| weight_of(accept, |name| name.eq_ignore_ascii_case(wanted));
        let open = best("application/openmetrics-text");
        if open > 0.0 && open >= best("text/plain") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The value of `Content-Type`.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// All that is registered. Exemplars are known to OpenMetrics only.
    pub(super) fn write(self, registry: &Registry, marks: &Marks) -> Result<String, fmt::Error> {
        let mut text = String::new();
        marks.take();
        text::encode(&mut text, registry)?;
        match self {
            Self::OpenMetrics => marked(&text, marks.take()),
            Self::Prometheus => prometheus_text(&text),
        }
    }
}

/// OpenMetrics as Prometheus text: `# HELP x` of a counter becomes `# HELP x_total`.
fn prometheus_text(open: &str) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(open.len());
    // The kind of a family comes after its help.
    let mut help = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take() {
                writeln!(text, "# HELP {name}{suffix} {help}")?;
            }
            writeln!(text, "# TYPE {name}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            writeln!(text, "{line}")?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_the_scraper_prefers() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0;q=0.5,\
                            application/openmetrics-text;version=0.0.1;q=0.4,\
                            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            (prometheus_2, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "Application/OpenMetrics-Text; version=1.0.0",
                Format::OpenMetrics,
            ),
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            (
                "text/plain, application/openmetrics-text;q=0.5",
                Format::Prometheus,
            ),
            ("application/openmetrics-text;q=0", Format::Prometheus),
            (
                "application/openmetrics-text;q=nonsense",
                Format::Prometheus,
            ),
            ("text/html", Format::Prometheus),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn counters_have_their_whole_name_in_prometheus_text() {
        let open = "# HELP x Help.\n# TYPE x counter\nx_total{a=\"# HELP\"} 1\n\
                    # HELP y_seconds Y.\n# TYPE y_seconds gauge\n# UNIT y_seconds seconds\n\
                    y_seconds 2.0\n# EOF\n";
        assert_eq!(
            prometheus_text(open).as_deref(),
            Ok(
                "# HELP x_total Help.\n# TYPE x_total counter\nx_total{a=\"# HELP\"} 1\n\
                # HELP y_seconds Y.\n# TYPE y_seconds gauge\ny_seconds 2.0\n"
            )
        );
    }
}
