//! From the document to [`Config`]: every rule, and all its violations at once.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use toml::de::DeTable;

use crate::diagnostic::{Diagnostics, Severity};
use crate::file::{Table, Value};
use crate::keys;
use crate::overrides::Overrides;
use crate::report::{Finding, Origins, Report};
use crate::source::{SOURCE_BYTES_MAX, Source, too_large};
use crate::types::{Admin, AdminAddress, Config, Drain, Limits};
use crate::unit::{self, DURATION, SIZE};

mod access;
mod address;
mod flag;
mod gate;
mod health;
mod listeners;
mod log;
mod names;
mod notify;
mod plan;
mod protocol;
mod provenance;
pub(crate) mod remote;
mod rollout;
mod route;
mod rule;
mod shield;
mod socket_file;
mod state;
mod sticky;
mod tls;
mod version;

use address::{Listener, listen_addresses, networks};
use listeners::{check_listeners, warn_unbelieved};
use socket_file::admin_address;

/// A configuration that can be used, and what looks wrong about it all the same.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Only warnings.
    pub warnings: Diagnostics,
}

/// Reads a configuration from a file's text, with `overrides` laid over it; from the
/// overrides alone without a file.
///
/// # Errors
///
/// Every violation at once, warnings included; only a text that is no TOML at all is
/// refused at its first mistake. Relative paths of files, such as `admin.token_file`,
/// start from the working directory.
pub fn load(source: Option<&Source>, overrides: &Overrides) -> Result<Loaded, Diagnostics> {
    let empty = Source {
        name: String::new(),
        text: String::new(),
    };
    let source = source.unwrap_or(&empty);
    if source.text.len() > SOURCE_BYTES_MAX {
        return Err(too_large(&source.name));
    }
    let mut report = Report::new(Origins::new(source.clone(), overrides.source()));
    let mut document = match DeTable::parse(&source.text) {
        Ok(document) => document.into_inner(),
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            report.error(
                span,
                "",
                Finding::new("this is not TOML").allowed(error.message()),
            );
            return Err(report.finish());
        }
    };
    overrides.apply(&mut document, source, &mut report);
    let config = config(&Table::root(&document, &mut report), &mut report);
    let found = report.finish();
    match config {
        Some(config) if found.errors() == 0 => Ok(Loaded {
            config,
            warnings: found,
        }),
        _ => {
            debug_assert!(
                found.0.iter().any(|item| item.severity == Severity::Error),
                "refused without a reason"
            );
            Err(found)
        }
    }
}

/// Everything is read before anything is missed, so that one run tells all.
fn config(root: &Table<'_>, report: &mut Report) -> Option<Config> {
    let mut certificates = tls::Named::read(root, report);
    let listen = listen_addresses(root, &mut certificates, report);
    certificates.warn_unused(report);
    let workers = workers(root, report);
    let trusted_proxies = root.read(
        report,
        "trusted_proxies",
        Default::default(),
        |value, report| {
            // "None" is said by leaving it out, and by templates with an empty list.
            if value.is_empty_list() {
                return Some(Default::default());
            }
            networks(value, report)
        },
    );
    let range = (Duration::from_secs(1), Duration::from_secs(3600));
    let dns_refresh = read(
        Some(root),
        report,
        ("dns_refresh", Duration::from_secs(10)),
        duration_within(range),
    );
    let drain = section(root, report, (&keys::DRAIN, drain));
    let limits = section(root, report, (&keys::LIMITS, limits));
    let admin = section(root, report, (&keys::ADMIN, admin));
    let ops = section(root, report, (&keys::OPS, ops));
    let log = section(root, report, (&keys::LOG, log::log));
    let state_dir = root.read(report, "state_dir", None, |value, report| {
        state::path(value, report).map(Some)
    });
    let notify = notify::targets(root, report);
    let routes = route::routes(root, report);
    let hand_over = socket_file::hand_over(root, report);

    let beside = [
        admin.as_ref().map(|(_, listener)| listener.clone()),
        ops.clone().flatten(),
        hand_over.clone().flatten(),
    ];
    check_listeners(listen.as_deref(), beside, report);
    warn_unbelieved(listen.as_deref(), trusted_proxies.as_ref(), report);

    Some(Config {
        listen: listen?
            .into_iter()
            .map(|listener| listener.address)
            .collect(),
        workers: workers?,
        trusted_proxies: trusted_proxies?,
        dns_refresh: dns_refresh?,
        drain: drain?,
        limits: limits?,
        admin: admin?.0,
        ops: ops?.map(|listener| listener.address),
        hand_over: hand_over?.and_then(|listener| match listener.address {
            AdminAddress::Unix(path) => Some(path),
            AdminAddress::Tcp(_) => None,
        }),
        routes: routes?,
        log: log?,
        notify: notify?,
        state_dir: state_dir?,
    })
}

/// How one table of the top level is read. It gets `None` if it is not in the document.
type Section<T> = (
    &'static keys::Keys,
    fn(Option<&Table<'_>>, &mut Report) -> Option<T>,
);

fn section<T>(root: &Table<'_>, report: &mut Report, (keys, read): Section<T>) -> Option<T> {
    match root.get(keys.path) {
        Some(value) => {
            let table = value.table(report, keys)?;
            read(Some(&table), report)
        }
        None => read(None, report),
    }
}

/// [`Table::read`] for a table that may be absent.
fn read<'a, T>(
    table: Option<&Table<'a>>,
    report: &mut Report,
    (key, default): (&str, T),
    parse: impl FnOnce(&Value<'a>, &mut Report) -> Option<T>,
) -> Option<T> {
    match table {
        Some(table) => table.read(report, key, default, parse),
        None => Some(default),
    }
}

fn workers(root: &Table<'_>, report: &mut Report) -> Option<Option<NonZeroUsize>> {
    root.read(report, "workers", None, |value, report| {
        let number = value.integer(report, 1..=1024)?;
        Some(usize::try_from(number).ok().and_then(NonZeroUsize::new))
    })
}

fn drain(table: Option<&Table<'_>>, report: &mut Report) -> Option<Drain> {
    // Zero is meant: a drain that does not wait.
    let range = (Duration::ZERO, Duration::from_secs(3600));
    let linger = read(
        table,
        report,
        ("linger", Duration::from_secs(5)),
        duration_within(range),
    );
    let timeout = read(
        table,
        report,
        ("timeout", Duration::from_secs(25)),
        duration_within(range),
    );
    Some(Drain {
        linger: linger?,
        timeout: timeout?,
    })
}

fn limits(table: Option<&Table<'_>>, report: &mut Report) -> Option<Limits> {
    let connections = read(
        table,
        report,
        ("connections", 10_000),
        count(1..=10_000_000),
    );
    let range = (Duration::from_millis(1), Duration::from_secs(24 * 3600));
    let header_timeout = read(
        table,
        report,
        ("header_timeout", Duration::from_secs(10)),
        duration_within(range),
    );
    let idle_timeout = read(
        table,
        report,
        ("idle_timeout", Duration::from_secs(60)),
        duration_within(range),
    );
    let header_bytes = read(
        table,
        report,
        ("header_bytes", 64 * 1024),
        size_within((1024..=1024 * 1024, "\"1KiB\" to \"1MiB\"")),
    );
    let target_bytes = read(
        table,
        report,
        ("target_bytes", 16 * 1024),
        size_within((64..=1024 * 1024, "\"64B\" to \"1MiB\"")),
    );
    let headers = read(table, report, ("headers", 100), count(1..=1000));
    let streams = read(table, report, ("streams", 100), count(1..=10_000));
    let connection_requests = read(
        table,
        report,
        ("connection_requests", 100_000),
        count(1..=1_000_000_000),
    );
    let upstream_requests = read(
        table,
        report,
        ("upstream_requests", 10_000),
        count(1..=10_000_000),
    );
    // Zero is meant: no body is kept.
    let replay_bytes = read(
        table,
        report,
        ("replay_bytes", 64 * 1024),
        size_within((0..=1024 * 1024, "\"0B\" to \"1MiB\"")),
    );
    Some(Limits {
        connections: connections?,
        header_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
        header_bytes: header_bytes?,
        target_bytes: target_bytes?,
        headers: headers?,
        streams: u32::try_from(streams?).ok()?,
        connection_requests: connection_requests?,
        upstream_requests: upstream_requests?,
        replay_bytes: replay_bytes?,
    })
}

fn admin(
    table: Option<&Table<'_>>,
    report: &mut Report,
) -> Option<(Admin, Listener<AdminAddress>)> {
    let default = Listener {
        address: AdminAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 7411))),
        written: None,
        key: "admin.listen".to_owned(),
    };
    let listener = read(table, report, ("listen", default), admin_address);
    let token = read(table, report, ("token_file", None), |value, report| {
        remote::token(value, report).map(Some)
    });
    let (listener, token) = (listener?, token?);
    let token_file = token.as_ref().map(|(_, path)| path.clone());
    if token.is_none()
        && let AdminAddress::Tcp(address) = listener.address
        && !address.ip().to_canonical().is_loopback()
        && let Some(written) = &listener.written
    {
        let finding = Finding::new(
            "`admin.listen` is reachable from outside, but there is no `admin.token_file`",
        );
        let finding = finding
            .allowed("without a token: expected a loopback address, such as \"127.0.0.1:7411\"");
        report.error(
            written.clone(),
            &listener.key,
            finding.hint("anybody who reaches it could move traffic: add `token_file = \"…\"`"),
        );
    }
    Some((
        Admin {
            listen: listener.address.clone(),
            token: token.map(|(token, _)| token),
            token_file,
        },
        listener,
    ))
}

fn ops(table: Option<&Table<'_>>, report: &mut Report) -> Option<Option<Listener<AdminAddress>>> {
    let Some(table) = table else {
        return Some(None);
    };
    let value = table.require(report, "listen", "\"0.0.0.0:7412\"")?;
    admin_address(&value, report).map(Some)
}

/// Reads a duration from `least` to `most`.
fn duration_within(
    (least, most): (Duration, Duration),
) -> impl Fn(&Value<'_>, &mut Report) -> Option<Duration> {
    move |value, report| {
        let duration = value.parse(report, &DURATION, unit::duration)?;
        if (least..=most).contains(&duration) {
            return Some(duration);
        }
        let message = if duration.is_zero() {
            "a duration of zero makes no sense here".to_owned()
        } else {
            format!("{} is out of range", value.describe())
        };
        let (least, most) = (unit::show_duration(least), unit::show_duration(most));
        let allowed = format!("expected a duration from \"{least}\" to \"{most}\"");
        value.reject(report, Finding::new(message).allowed(allowed))
    }
}

/// Reads a size within a range, which is also given as it is written.
fn size_within(
    (range, written): (std::ops::RangeInclusive<u64>, &'static str),
) -> impl Fn(&Value<'_>, &mut Report) -> Option<usize> {
    move |value, report| {
        let bytes = value.parse(report, &SIZE, unit::size)?;
        if range.contains(&bytes) {
            return usize::try_from(bytes).ok();
        }
        let finding = Finding::new(format!("{bytes} bytes are out of range"));
        let allowed = format!("expected a size from {written}");
        value.reject(report, finding.allowed(allowed))
    }
}

/// Reads a whole number within `range`.
fn count(
    range: std::ops::RangeInclusive<u64>,
) -> impl Fn(&Value<'_>, &mut Report) -> Option<usize> {
    move |value, report| {
        value
            .integer(report, range.clone())
            .and_then(|number| usize::try_from(number).ok())
    }
}
