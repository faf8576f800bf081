//! What upstreams speak, and which answers of it are failures.

use crate::file::{Table, Value};
use crate::report::{Finding, Report};
use crate::suggest::nearest;
use crate::types::{GrpcStatuses, UpstreamProtocol};
use crate::unit::Kind;

const STATUS: Kind = Kind {
    what: "a gRPC status",
    example: "\"UNAVAILABLE\"",
    units: &[],
};

/// `upstream_protocol`.
pub(super) fn upstream_protocol(
    table: &Table<'_>,
    report: &mut Report,
) -> Option<UpstreamProtocol> {
    let choices = [
        ("http1", UpstreamProtocol::Http1),
        ("h2", UpstreamProtocol::H2),
    ];
    table.read(
        report,
        "upstream_protocol",
        UpstreamProtocol::default(),
        |value, report| value.choice(report, &choices),
    )
}

/// `grpc_failures`; an empty list is none.
pub(super) fn grpc_failures(table: &Table<'_>, report: &mut Report) -> Option<GrpcStatuses> {
    table.read(
        report,
        "grpc_failures",
        GrpcStatuses::DEFAULT,
        |value, report| {
            if value.is_empty_list() {
                return Some(GrpcStatuses(0));
            }
            let items = value.items(report, GrpcStatuses::NAMES.len())?;
            let read: Vec<_> = items.iter().map(|item| status(item, report)).collect();
            let bits = read
                .into_iter()
                .try_fold(0, |bits, bit| Some(bits | bit?))?;
            Some(GrpcStatuses(bits))
        },
    )
}

fn status(value: &Value<'_>, report: &mut Report) -> Option<u32> {
    let text = value.text(report, &STATUS)?;
    let known = GrpcStatuses::NAMES.iter().position(|name| *name == text);
    match known {
        Some(0) => {
            let finding = Finding::new("OK is no failure").hint("leave it out");
            value.reject(report, finding)
        }
        Some(number) => Some(1 << number),
        None => {
            let finding = Finding::new(format!("{} is no gRPC status", value.describe()));
            let finding = finding.allowed(format!(
                "expected one of {}",
                GrpcStatuses::NAMES[1..].join(", ")
            ));
            let upper = text.to_ascii_uppercase();
            let near = nearest(&upper, GrpcStatuses::NAMES.iter().copied());
            value.reject(
                report,
                match near {
                    Some(name) => finding.hint(format!("did you mean \"{name}\"?")),
                    None => finding,
                },
            )
        }
    }
}
