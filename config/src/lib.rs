//! Turns `haldane.toml` into types that cannot be wrong.
//!
//! [`load`] takes a text and the flags, and gives a [`Config`] or *every* violation at
//! once, each with its line, a caret and what helps:
//!
//! ```
//! use haldane_config::{Overrides, Source, load};
//!
//! let source = Source {
//!     name: "haldane.toml".to_owned(),
//!     text: "lisen = \":8080\"\n[[route]]\nstable = \"http://127.0.0.1:3000\"\n".to_owned(),
//! };
//! let Err(diagnostics) = load(Some(&source), &Overrides::default()) else { panic!() };
//! assert!(diagnostics.to_string().contains("haldane.toml:1:1: error: lisen: unknown key `lisen`"));
//! ```
//!
//! In the order in which a text goes through them:
//!
//! | module | what it does |
//! |---|---|
//! | `source` | reads the text, within limits |
//! | `overrides` | lays the flags over the document |
//! | `keys` | the one table of every key there is |
//! | `file` | values and tables as written, with their places |
//! | `unit` | `"5%"`, `"250ms"`, `"1.2x stable"`: words into numbers |
//! | `resolve` | every rule, one file for each part of the configuration |
//! | `types` | the result |
//! | `diagnostic` | what is wrong, shown |
//! | `change` | what differs between two of them |
//! | `advice` | what it asks of its gates that they cannot do |
//!
//! Nothing here binds, dials or resolves a name; the only files whose content is used
//! besides the configuration are those with a token or a URL. The files for TLS must be
//! readable, but what is in them is for those who use it.

mod advice;
mod change;
mod diagnostic;
mod file;
mod keys;
mod overrides;
mod report;
mod resolve;
mod source;
mod suggest;
mod types;
mod unit;

pub use advice::advice;
pub use change::{Difference, Part, RouteDifference};
pub use diagnostic::{Diagnostic, Diagnostics, Place, Severity};
pub use keys::known_keys;
pub use overrides::Overrides;
pub use resolve::{Loaded, load};
pub use source::{SOURCE_BYTES_MAX, Source};
pub use types::{
    AccessAlways, AccessFormat, AccessOutput, AccessSpec, Admin, AdminAddress, ClientTls, Config,
    Drain, Ejection, Flag, Force, GrpcStatuses, HealthCheck, KeySource, LedgerDetail, Limits,
    Listen, Log, LogFormat, Networks, NotifyEvent, NotifyFormat, NotifyTarget, OnMissing,
    OutsideGate, Pair, PathMatch, PreHook, Provenance, Question, Remote, RemoteUrl, RouteConfig,
    RouteMatch, RuleMatch, SaltSource, Secret, ServerTls, Shield, Sticky, Tap, TargetingRule,
    Timeouts, Unusable, UpstreamAddress, UpstreamProtocol, Url, Version,
};

/// The reference configuration: every key with what it means and its default.
pub const REFERENCE: &str = include_str!("../haldane.toml");

/// The shape of a configuration as JSON Schema (draft 2020-12), without words.
pub const SCHEMA: &str = include_str!("../schema.json");
